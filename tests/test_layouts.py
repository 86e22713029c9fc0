"""State dicts of every known layout, against references and against diffusers."""

import compvis
import pytest
import torch

from latentsr.autoencoders import layouts

F4, F8 = (1, 2, 4), (1, 2, 4, 4)
LAYOUTS = {  # channels of the image, of the latent, multipliers, rank of LoRA
    "medvae-4-1": (1, 1, F4, 0),
    "medvae-4-3": (3, 3, F4, 4),
    "medvae-4-4": (1, 4, F4, 0),
    "medvae-8-4": (3, 4, F8, 4),
    "kl-f4": (3, 3, F4, 0),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_converted_models_compute_what_the_reference_computes(name):
    channels, latent, multipliers, rank = LAYOUTS[name]
    reference, state = compvis.random_state(channels, latent, multipliers, rank=rank)
    model = layouts.from_state_dict(state)
    image = torch.rand(1, channels, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        mean, expected = model.encode(image).latent_dist.mean, reference.encode(image)
        back, expected_back = model.decode(expected).sample, reference.decode(expected)
    assert mean.shape == (1, latent, 24 // 2 ** (len(multipliers) - 1), mean.shape[-1])
    for actual, wanted in ((mean, expected), (back, expected_back)):
        assert float((actual - wanted).abs().max()) < 1e-4 * float(wanted.max() - wanted.min())


@pytest.mark.parametrize("prefix", ["first_stage_model.", "vae.", ""])
def test_a_full_checkpoint_gives_its_autoencoder(prefix):
    _, state = compvis.random_state(1, 1, (1, 2))
    more = {"loss.logvar": torch.zeros(1), "loss.discriminator.main.0.weight": torch.zeros(1)}
    full = {f"{prefix}{key}": value for key, value in (state | more).items()}
    if prefix:
        full |= {"model.diffusion_model.out.2.bias": torch.zeros(1)}
    layouts.from_state_dict(full)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("quant_conv.bias"), r"1 keys missing \(quant_conv.bias\)"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 keys unexpected \(extra\)"),
        (lambda s: s.update({"encoder.down.1.attn.0.q.weight": torch.zeros(1)}), "unexpected"),
        (lambda s: s.update({"quant_conv.bias": torch.zeros(5)}), r"of another shape \(quant_conv"),
        (lambda s: s["quant_conv.bias"].fill_(float("nan")), r"1 tensors that are not finite"),
        (lambda s: s.pop("post_quant_conv.weight"), r"1 keys missing \(post_quant_conv.weight\)"),
        (
            lambda s: [s.pop("encoder.conv_in.weight"), s.pop("quant_conv.bias")],
            r"2 keys missing \(encoder.conv_in.weight, quant_conv.bias\)$",
        ),
        (
            lambda s: [s.pop(key) for key in [*s] if "decoder" in key or key.startswith("post")],
            r"\d+ keys missing \(decoder.conv_in.bias, .*post_quant_conv.weight\)$",
        ),
        (lambda s: s.clear(), "no encoder among its 0 tensors"),
        (
            lambda s: s.update({"encoder.down.0.block.0.conv2.weight": torch.zeros(8, 8, 3, 3)}),
            r"widths \(8, 64\): its 32 groups",
        ),
    ],
)
def test_missing_and_unexpected_keys_stop(change, message):
    _, state = compvis.random_state(1, 1, (1, 2))
    change(state)
    with pytest.raises(ValueError, match=message):
        layouts.from_state_dict(state)


@pytest.mark.parametrize("old_names", [True, False])
def test_stable_diffusion_loads_as_diffusers_loads_it(tmp_path, old_names):
    from diffusers import AutoencoderKL
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=2,
    )
    model.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    if old_names:  # as stabilityai/sd-vae-ft-ema was saved
        words = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value."}
        for new, old in {**words, ".to_out.0.": ".proj_attn."}.items():
            state = {key.replace(new, old): value for key, value in state.items()}
        save_file(state, path)
    theirs = AutoencoderKL.from_pretrained(tmp_path).eval()
    image = torch.rand(1, 3, 16, 24) * 2 - 1
    by_config = layouts.from_config({**model.config, "_class_name": "AutoencoderKL"}, state)
    for ours in (layouts.from_state_dict(state), by_config):
        with torch.no_grad():
            posterior = theirs.encode(image).latent_dist
            assert torch.equal(ours.eval().encode(image).latent_dist.mean, posterior.mean)
            decoded = theirs.decode(posterior.mean).sample
            assert torch.equal(ours.decode(posterior.mean).sample, decoded)
    with pytest.raises(ValueError, match="_class_name 'VQModel'; allowed are AutoencoderKL and"):
        layouts.from_config({"_class_name": "VQModel"}, state)


def test_taesd_loads_as_diffusers_loads_it(tmp_path):
    from diffusers import AutoencoderTiny
    from safetensors.torch import load_file

    torch.manual_seed(0)
    AutoencoderTiny().save_pretrained(tmp_path)
    state = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    ours, theirs = layouts.from_state_dict(state), AutoencoderTiny.from_pretrained(tmp_path)
    image = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        latents = theirs.encode(image).latents
        assert torch.equal(ours.encode(image).latents, latents)
        assert torch.equal(ours.decode(latents).sample, theirs.decode(latents).sample)
    state["encoder.layers.99.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"unexpected \(encoder.layers.99.weight\)"):
        layouts.from_state_dict(state)


LAYER = "encoder.mid.attn_1.q"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (f"{LAYER}.lora_down.weight", None, "no .*lora_down.weight beside its other half"),
        (f"{LAYER}.lora_up.bias", (3,), "unexpected .*lora_up.bias"),
        (f"{LAYER}.lora_mid.weight", (3,), "unexpected .*lora_mid"),
        (f"{LAYER}.lora_up.weight", (3, 4, 1, 1), r"lora: \(3, 4\)"),
        ("encoder.conv_in.weight", (3,), "not a known layout"),
    ],
)
def test_lora_is_as_strict_as_the_rest(key, value, message):
    _, state = compvis.random_state(1, 1, (1, 2), rank=4)
    state.pop(key) if value is None else state.update({key: torch.zeros(value)})
    with pytest.raises(ValueError, match=message):
        layouts.from_state_dict(state)


def test_lora_of_a_half_checkpoint_is_merged_in_float32():
    _, state = compvis.random_state(1, 1, (1, 2), rank=4)
    half = {key: value.half() for key, value in state.items()}
    up, down = (half[f"{LAYER}.lora_{way}.weight"].double().flatten(1) for way in ("up", "down"))
    expected = half[f"{LAYER}.conv.weight"].double().flatten(1) + up @ down
    merged = layouts.merge_lora(half)[f"{LAYER}.weight"].double().flatten(1)
    assert float((merged - expected).abs().max()) < 1e-6
    without = {key: value for key, value in state.items() if "lora" not in key}
    with pytest.raises(ValueError, match="neither encoder.down_blocks.0.resnets.0.conv2.weight"):
        layouts.from_state_dict(without)  # X.conv.weight is not X.weight
