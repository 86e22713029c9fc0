import json
from dataclasses import asdict
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentsr import pretrain, registry, vaes


def random_weights(factor, channels):
    """An autoencoder with random weights: good for shapes alone."""
    torch.manual_seed(0)
    return vaes.Autoencoder("random", vaes.build(factor, channels), factor)


@pytest.mark.parametrize(("factor", "channels"), [(8, 4), (4, 3), (4, 1)])
@pytest.mark.parametrize("size", [(64, 64), (37, 61)])
def test_any_size_goes_through_and_back(factor, channels, size):
    vae = random_weights(factor, channels)
    images = torch.rand(2, 1, *size)
    codes = vae.encode(images)
    assert codes.shape == (2, channels, -(-size[0] // factor), -(-size[1] // factor))
    back = vae.decode(codes, size)
    assert back.shape == images.shape
    assert 0 <= back.min() and back.max() <= 1


def test_posterior_mean_by_default_and_sampling_with_a_generator():
    vae, images = random_weights(4, 3), torch.rand(1, 1, 32, 32)
    mean = vae.encode(images)
    assert torch.equal(mean, vae.encode(images))
    drawn = [vae.encode(images, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], mean)


def test_colour_and_non_finite_are_refused():
    vae = random_weights(4, 3)
    with pytest.raises(ValueError, match=r"images: shape \(1, 3, 32, 32\)"):
        vae.encode(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="vae random: a latent is not finite"):
        vae.encode(torch.full((1, 1, 32, 32), float("nan")))


def test_unknown_name():
    with pytest.raises(ValueError, match="vae: unknown name 'sdvae'; known are natural-f8c4, "):
        registry.spec("sdvae")


def test_the_thirteen():
    assert len(registry.SPECS) == 13
    assert registry.spec("phantom-f4c3-without-brain").trained_on == ("knee", "chest")
    assert registry.spec("natural-f8c4-s1").seed == 1
    assert registry.corners(registry.SPECS) == registry.CORNERS[0]
    assert registry.corners([*registry.EXTERNAL, "natural-f8c4"]) == registry.CORNERS[1]
    for spec in registry.SPECS.values():
        model = vaes.build(spec.factor, spec.latent_channels)
        assert sum(p.numel() for p in model.parameters()) <= 950_000


@pytest.mark.parametrize("name", vaes.shipped())
def test_shipped_weights(name):
    card, vae = vaes.card(name), vaes.load(name)
    path = vaes.WEIGHTS / f"{name}.safetensors"
    assert sha256(path.read_bytes()).hexdigest() == card["sha256"]
    assert {str(tensor.dtype) for tensor in load_file(path).values()} == {"torch.float16"}
    assert card["geometry"] == registry.spec(name).geometry
    ramp = torch.linspace(0.1, 0.9, 64).expand(1, 1, 64, 64)
    untrained = random_weights(vae.factor, vae.latent_channels)
    error, random_error = (
        float((v.decode(v.encode(ramp)) - ramp).abs().mean()) for v in (vae, untrained)
    )
    assert error < min(0.035, random_error / 5)  # a ramp is unlike anything they were trained on


def test_all_are_shipped_with_the_recipe_that_make_pretrain_follows():
    assert vaes.shipped() == list(registry.SPECS)
    for name in registry.SPECS:
        card = vaes.card(name)
        assert card["recipe"] == asdict(pretrain.Recipe())
        assert card["trained_on"] == list(registry.spec(name).trained_on)
    pixels = [vaes.card(name)["training_pixels"] for name in registry.SPECS]
    assert max(pixels) - min(pixels) < pretrain.IMAGE_PX**2  # phantoms come whole
    files = vaes.WEIGHTS.glob("*.safetensors")
    assert sum(path.stat().st_size for path in files) < 22e6


def shipped_copy(tmp_path, monkeypatch, change):
    name = "natural-f8c4"
    card = dict(vaes.card(name))
    state = load_file(vaes.WEIGHTS / f"{name}.safetensors")
    change(state)
    save_file(state, tmp_path / f"{name}.safetensors")
    card["sha256"] = sha256((tmp_path / f"{name}.safetensors").read_bytes()).hexdigest()
    (tmp_path / f"{name}.json").write_text(json.dumps(card))
    monkeypatch.setattr(vaes, "WEIGHTS", tmp_path)
    vaes.card.cache_clear()
    return name


def test_missing_and_unexpected_keys_stop(tmp_path, monkeypatch):
    def change(state):
        state["extra"] = state.pop("quant_conv.bias")

    name = shipped_copy(tmp_path, monkeypatch, change)
    try:
        with pytest.raises(
            ValueError, match=r"missing keys \['quant_conv.bias'\], unexpected.*extra"
        ):
            vaes.load(name)
    finally:
        vaes.card.cache_clear()


def test_a_changed_file_stops(tmp_path, monkeypatch):
    name = shipped_copy(tmp_path, monkeypatch, lambda state: None)
    with (tmp_path / f"{name}.safetensors").open("ab") as file:
        file.write(b"\0")
    try:
        with pytest.raises(ValueError, match="has sha256 .*, its card"):
            vaes.load(name)
    finally:
        vaes.card.cache_clear()
