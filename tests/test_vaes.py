import json
import shutil
import threading
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from latentsr import pretrain
from latentsr.autoencoders import digests, registry, vae_fetching
from latentsr.autoencoders import layouts as architectures
from latentsr.autoencoders import load as vaes
from latentsr.companion.cli import main as cli


def random_weights(factor, channels):
    """An autoencoder with random weights: good for shapes alone."""
    torch.manual_seed(0)
    return vaes.Autoencoder("random", vaes.build(factor, channels))


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
    with pytest.raises(ValueError, match="images: a pixel is not finite"):
        vae.encode(torch.full((1, 1, 32, 32), float("nan")))


def coloured(factor=4):
    """A model of three image channels, as Stable Diffusion's is, with random weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    levels = 3 if factor == 4 else 4
    return AutoencoderKL(
        block_out_channels=(32,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )


def test_grey_goes_through_colour_models():
    model = coloured()
    vae, images = vaes.Autoencoder("colour", model), torch.rand(2, 1, 37, 61)
    codes = vae.encode(images)
    assert codes.shape == (2, 4, 10, 16)
    padded = torch.nn.functional.pad(images, (0, 3, 0, 3), mode="replicate")
    by_hand = model.encode(padded.repeat(1, 3, 1, 1) * 2 - 1).latent_dist.mean
    assert torch.allclose(codes, by_hand, atol=1e-6)
    decoded = (model.decode(codes).sample.mean(1, keepdim=True) / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(vae.decode(codes, (37, 61)), decoded[..., :37, :61], atol=1e-6)


def test_an_autoencoder_without_posterior():
    from diffusers import AutoencoderTiny

    vae, images = vaes.Autoencoder("tiny", AutoencoderTiny()), torch.rand(1, 1, 37, 61)
    assert vae.factor == 8
    codes = vae.encode(images)
    assert codes.shape == (1, 4, 5, 8)
    assert torch.equal(codes, vae.encode(images, torch.Generator().manual_seed(1)))
    assert vae.decode(codes, (37, 61)).shape == images.shape


def test_bfloat16_is_near_and_float16_falls_back():
    images = torch.rand(1, 1, 32, 32)
    wanted = vaes.Autoencoder("x", coloured()).encode(images)
    half = vaes.Autoencoder("x", coloured().to(torch.bfloat16))
    assert half.encode(images).dtype == torch.float32
    assert float((half.encode(images) - wanted).abs().max()) < 0.05 * float(wanted.abs().max())

    class Overflows(torch.nn.Module):
        """Stands for a model whose activations leave float16's range."""

        def __init__(self):
            super().__init__()
            self.inner = coloured().to(torch.float16)
            self.config = self.inner.config

        def encode(self, x):
            if x.dtype == torch.float16:
                return type("Found", (), {"latents": torch.full((1, 4, 8, 8), float("inf"))})
            return self.inner.encode(x)

        def decode(self, z):
            found = self.inner.decode(z)
            if z.dtype == torch.float16:
                found.sample[..., 0, 0] = float("nan")
            return found

    vae = vaes.Autoencoder("x", Overflows())
    with pytest.warns(UserWarning, match="vae x: float16 overflowed; float32 from here on"):
        again = vae.encode(images)
    assert float((again - wanted).abs().max()) < 0.05 * float(wanted.abs().max())
    assert vae.dtype == torch.float32
    vae = vaes.Autoencoder("x", Overflows())
    with pytest.warns(UserWarning, match="vae x: float16 overflowed"):
        decoded = vae.decode(wanted)
    assert torch.isfinite(decoded).all() and vae.dtype == torch.float32
    with pytest.raises(ValueError, match="latents: a number is not finite"):
        vae.decode(wanted * float("nan"))


@pytest.mark.parametrize("name", ["phantom-f4c3", "phantom-f8c4"])
def test_tiles_come_near_the_whole(name):
    vae = vaes.load(name)
    image = torch.from_numpy(pretrain.drawn("chest", 0, 5)[0])[None, None]
    codes = vae.encode(image)
    whole, tiled = vae.decode(codes), vae.decode(codes, tile_px=64)
    assert 0 < float((tiled - whole).abs().mean()) < 0.04
    assert torch.equal(vae.decode(codes), whole)  # tiling does not stay on


def test_any_file_of_ones_own_is_loaded_by_its_path(tmp_path):
    import compvis

    _, state = compvis.random_state(1, 1, (1, 2))
    torch.save({"state_dict": state}, tmp_path / "mine.ckpt")
    coloured().save_pretrained(tmp_path / "folder")
    assert vaes.load(str(tmp_path / "mine.ckpt")).latent_channels == 1
    assert vaes.load(str(tmp_path / "folder")).image_channels == 3
    for name, told in (("gone.ckpt", "no such file or folder"), ("", "config.json and")):
        with pytest.raises(ValueError, match=told) as caught:
            vaes.load(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["small", "colour", "tiny"])
def test_what_is_saved_is_loaded_again(tmp_path, kind):
    from diffusers import AutoencoderTiny

    models = {"colour": coloured, "tiny": AutoencoderTiny, "small": lambda: vaes.build(4, 1)}
    vae = vaes.Autoencoder("x", models[kind]())
    vaes.save(vae, tmp_path / "x.safetensors")
    images = torch.rand(1, 1, 32, 32)
    again = vaes.load(str(tmp_path / "x.safetensors"))
    assert torch.equal(again.encode(images), vae.encode(images))


def test_the_configuration_beside_a_file_is_used(tmp_path):
    """The number of groups stands in no tensor: the folder and the file in it must agree."""
    torch.manual_seed(3)
    vae = vaes.Autoencoder("x", vaes.build(4, 1))
    vae.model.save_pretrained(tmp_path / "mine")
    images = torch.rand(1, 1, 32, 32)
    for name in ("mine", "mine/diffusion_pytorch_model.safetensors"):
        assert torch.equal(vaes.load(str(tmp_path / name)).encode(images), vae.encode(images))
    (tmp_path / "mine/config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        vaes.load(str(tmp_path / "mine"))


@pytest.mark.parametrize("ends", [(4, 4), (2, 3), (3, 6)])
def test_other_channels_than_one_or_three_are_refused(ends):
    model = coloured()
    model.register_to_config(in_channels=ends[0], out_channels=ends[1])
    with pytest.raises(ValueError, match="channels in, . out; 1 or 3 are read"):
        vaes.Autoencoder("x", model)


@pytest.mark.parametrize("tile_px", [0, 4, 60, 100])
def test_tiles_that_do_not_fit_are_refused(tile_px):
    vae = vaes.load("natural-f8c4")
    with pytest.raises(ValueError, match="a multiple of 32 px is needed"):
        vae.decode(torch.zeros(1, 4, 32, 32), tile_px=tile_px)


def test_a_published_file_that_is_not_here_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = r"assets/vaes/kl-f4.ckpt is not there; `latentsr vaes fetch kl-f4` .* https://ommer-lab"
    with pytest.raises(ValueError, match=told):
        vaes.load("kl-f4")
    (tmp_path / "vaes.lock").write_text("taesd: {sha256: abc}")
    (tmp_path / "assets/vaes").mkdir(parents=True)
    (tmp_path / "assets/vaes/taesd.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="vae taesd: .* vaes.lock says abc"):
        vaes.load("taesd")


def test_a_folder_of_the_hub_is_fetched_and_locked(tmp_path, monkeypatch):
    """Against a local server in the hub's place, with random weights."""
    name = f"hf/someone/mine/{'7' * 40}/vae"
    served = tmp_path / "someone/mine/resolve" / ("7" * 40)
    vaes.build(4, 1).save_pretrained(served / "vae")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(ValueError, match=f"`latentsr vaes fetch {name}` gets it, or put into that"):
        vaes.load(name)
    assert "its sha256 is now in vaes.lock" in vae_fetching.fetch(name)
    assert "already at assets/vaes/hf" in vae_fetching.fetch(name)
    assert vaes.load(name).latent_channels == 1 and vae_fetching.note(name) is None
    assert registry.is_vae(name) and registry.label(name).startswith("mine-")
    shutil.rmtree(tmp_path / "clone/assets")
    assert "verified" in vae_fetching.fetch(name)
    shutil.rmtree(tmp_path / "clone/assets")
    vaes.build(4, 3).save_pretrained(served / "vae")
    with pytest.raises(ValueError, match=r"sha256 .*, vaes.lock says .*; kept at .*vae.mismatch"):
        vae_fetching.fetch(name)
    (tmp_path / "clone/vaes.lock").unlink()
    weights = served / "vae/diffusion_pytorch_model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="cannot be read"):
        vae_fetching.fetch(name)
    weights.write_bytes(good)  # mended on the server: the bad one is not taken again
    assert "its sha256 is now in vaes.lock" in vae_fetching.fetch(name)
    assert "hf/someone/mine" in CliRunner().invoke(cli.app, ["vaes", "list"]).stdout.replace(
        "\n", ""
    )
    shutil.rmtree(tmp_path / "clone/assets")
    shutil.rmtree(served)
    with pytest.raises(ValueError, match="status 404.*; or put config.json, diffusion") as caught:
        vae_fetching.fetch(name)
    assert "\n" not in str(caught.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="vaes fetch: 'hf/a/b/main'; allowed are sd-vae"):
        vae_fetching.fetch("hf/a/b/main")


@pytest.mark.parametrize(
    "name", [f"hf/a/b/{'7' * 40}/../../x", f"hf/a/../{'7' * 40}", "hf/a/b/main", "hf/a"]
)
def test_what_is_no_folder_of_the_hub(name):
    assert registry.hub_files(name) == {} and not registry.is_vae(name)


def random_medvae(path, channels):
    import compvis

    _, state = compvis.random_state(1, channels, (1, 2, 4))
    torch.save({"state_dict": state}, path)


def test_a_published_name_is_of_its_geometry_and_opened_before_it_is_locked(tmp_path, monkeypatch):
    """Fetched through a local server in the place of what is published; random weights."""
    monkeypatch.chdir(tmp_path)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("medvae-4-1", "sd-vae-ft-ema"):
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        changed = replace(
            registry.PUBLISHED[name], url=url + Path(registry.PUBLISHED[name].url).suffix
        )
        monkeypatch.setitem(registry.PUBLISHED, name, changed)
    random_medvae(tmp_path / "medvae-4-1.ckpt", 4)
    with pytest.raises(ValueError, match="an autoencoder f4c4, but medvae-4-1 is f4c1"):
        vae_fetching.fetch("medvae-4-1")
    assert not (tmp_path / "vaes.lock").exists()
    random_medvae(tmp_path / "medvae-4-1.ckpt", 1)
    assert "its sha256 is now in" in vae_fetching.fetch("medvae-4-1")
    coloured(8).save_pretrained(tmp_path)  # safetensors, and no digest in the lock file yet
    (tmp_path / "diffusion_pytorch_model.safetensors").rename(
        tmp_path / "sd-vae-ft-ema.safetensors"
    )
    assert "its sha256 is now in" in vae_fetching.fetch("sd-vae-ft-ema")
    vaes.place("medvae-4-3").write_text("<html>")  # put there by hand
    for look in (vae_fetching.fetch, vae_fetching.note):
        with pytest.raises(ValueError, match="medvae-4-3.ckpt: cannot be read"):
            look("medvae-4-3")
    assert digests.locked("medvae-4-3") is None
    with pytest.raises(ValueError, match="natural-f8c4 comes with the package"):
        vae_fetching.fetch("natural-f8c4")
    server.shutdown()
    server.server_close()


def test_what_cannot_be_meant_is_one_line():
    vae, broken = random_weights(4, 3), random_weights(4, 3)
    for images in (torch.rand(1, 1, 8, 8) * 3, torch.rand(1, 1, 8, 8) - 1):
        with pytest.raises(ValueError, match="images: grey values .*; 0 to 1 are needed"):
            vae.encode(images)
    with pytest.raises(ValueError, match=r"latents: shape \(1, 4, 2, 2\), but \(B, 3, h, w\)"):
        vae.decode(torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match=r"size: \(9, 8\); at most \(8, 8\) were decoded"):
        vae.decode(torch.zeros(1, 3, 2, 2), (9, 8))
    state = {key: value.clone() for key, value in broken.model.state_dict().items()}
    state["decoder.conv_out.bias"][0] = float("nan")
    with pytest.raises(
        ValueError, match=r"1 tensors that are not finite \(decoder.conv_out.bias\)"
    ):
        architectures.load_strictly(vae.model, state)


def test_a_configuration_of_something_else_beside_a_file_is_passed_over(tmp_path):
    random_medvae(tmp_path / "mine.ckpt", 1)
    for told in ({"a": 1}, {"_class_name": "UNet2DModel"}):
        (tmp_path / "config.json").write_text(json.dumps(told))
        assert vaes.load(str(tmp_path / "mine.ckpt")).latent_channels == 1


def test_equal_stems_have_different_labels():
    found = {registry.label(f"/data/{folder}/mine.ckpt") for folder in ("a", "b", "my c")}
    assert len(found) == 3 and all(label.startswith("mine-") for label in found)


def test_a_changed_file_of_ones_own_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vaes.lock").write_text("# kept\n" + "x:\n  sha256: '0012'\n")
    path = tmp_path / "mine.safetensors"
    vaes.save(vaes.Autoencoder("x", coloured()), path)
    assert vae_fetching.note("natural-f8c4") is None
    assert vae_fetching.note(str(path)) is None and vae_fetching.note(str(path)) is None
    vaes.load(str(path))
    vaes.save(vaes.Autoencoder("x", vaes.build(4, 1)), path)
    with pytest.raises(ValueError, match=r"mine.safetensors has sha256 .*, vaes.lock says"):
        vaes.load(str(path))
    assert vae_fetching.note(str(path)) == f"{path}: changed since the last run"
    vaes.load(str(path))
    lock = (tmp_path / "vaes.lock").read_text()
    assert lock.startswith("# kept\n") and digests.locked("x") == "0012"


def test_unknown_name():
    with pytest.raises(ValueError, match="vae: unknown name 'sdvae'; known are natural-f8c4, "):
        registry.spec("sdvae")


def test_the_thirteen():
    assert len(registry.SPECS) == 13
    assert registry.spec("phantom-f4c3-without-brain").trained_on == ("knee", "chest")
    assert registry.spec("natural-f8c4-s1").seed == 1
    assert registry.corners(registry.SPECS) == registry.CORNERS[0]
    assert registry.corners([*registry.PUBLISHED, "natural-f8c4"]) == registry.CORNERS[1]
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
    assert error < min(0.03, random_error / 5)  # a ramp is unlike anything they were trained on


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
        told = r"1 keys missing \(quant_conv.bias\); 1 keys unexpected \(extra\)"
        with pytest.raises(ValueError, match=told):
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
