import compvis
import pytest
import torch

from latentsr.autoencoders import layouts as architectures

F4, F8 = (1, 2, 4), (1, 2, 4, 4)
LAYOUTS = {  # channels of the image, of the latent, multipliers, rank of LoRA
    "medvae-4-1": (1, 1, F4, 0),
    "medvae-4-3": (3, 3, F4, 4),
    "medvae-4-4": (1, 4, F4, 0),
    "medvae-8-1": (1, 1, F8, 0),
    "medvae-8-4": (3, 4, F8, 4),
    "kl-f4": (3, 3, F4, 0),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_converted_models_compute_what_the_reference_computes(name):
    channels, latent, multipliers, rank = LAYOUTS[name]
    reference, state = compvis.random_state(channels, latent, multipliers, rank=rank)
    model = architectures.build(state)
    image = torch.rand(1, channels, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        mean, expected = model.encode(image).latent_dist.mean, reference.encode(image)
        back, again = model.decode(expected).sample, reference.decode(expected)
    assert mean.shape == (1, latent, 24 // 2 ** (len(multipliers) - 1), mean.shape[-1])
    for found, wanted in ((mean, expected), (back, again)):
        assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.max() - wanted.min())


def test_lora_is_merged_and_matters():
    reference, state = compvis.random_state(1, 1, (1, 2), rank=4)
    without = {key: value for key, value in state.items() if "lora" not in key}
    with pytest.raises(ValueError, match="neither encoder.down_blocks.0.resnets.0.conv2.weight"):
        architectures.build(without)  # X.conv.weight is not X.weight
    image = torch.rand(1, 1, 16, 16)
    merged = architectures.build(state)
    for name, parameter in reference.named_parameters():
        if "lora_up" in name:
            parameter.zero_()
    plain = architectures.build(reference.state_dict())
    with torch.no_grad():
        with_lora, base = (m.encode(image).latent_dist.mean for m in (merged, plain))
    assert not torch.allclose(with_lora, base, atol=1e-3)


@pytest.mark.parametrize("prefix", ["first_stage_model.", "vae.", ""])
def test_a_full_checkpoint_gives_its_autoencoder(prefix):
    _, state = compvis.random_state(1, 1, (1, 2))
    more = {"loss.logvar": torch.zeros(1), "loss.discriminator.main.0.weight": torch.zeros(1)}
    full = {f"{prefix}{key}": value for key, value in (state | more).items()}
    if prefix:
        full |= {"model.diffusion_model.out.2.bias": torch.zeros(1)}
    architectures.build(full)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("quant_conv.bias"), r"1 keys missing \(quant_conv.bias\)"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 keys unexpected \(extra\)"),
        (lambda s: s.update({"encoder.down.1.attn.0.q.weight": torch.zeros(1)}), "unexpected"),
        (
            lambda s: s.update({"quant_conv.bias": torch.zeros(5)}),
            r"1 keys of another shape \(quant_conv.bias\)",
        ),
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
    ],
)
def test_missing_and_unexpected_keys_stop(change, message):
    _, state = compvis.random_state(1, 1, (1, 2))
    change(state)
    with pytest.raises(ValueError, match=message):
        architectures.build(state)


@pytest.mark.parametrize("old_names", [True, False])
def test_stable_diffusion_loads_as_diffusers_loads_it(tmp_path, old_names):
    from diffusers import AutoencoderKL
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    widths = (32, 32, 64)
    model = AutoencoderKL(
        block_out_channels=widths,
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
    for ours in (
        architectures.build(state),
        architectures.build_as_configured(dict(model.config), state),
    ):
        with torch.no_grad():
            codes = theirs.encode(image).latent_dist
            assert torch.equal(ours.eval().encode(image).latent_dist.mean, codes.mean)
            assert torch.equal(ours.decode(codes.mean).sample, theirs.decode(codes.mean).sample)


def test_taesd_loads_as_diffusers_loads_it(tmp_path):
    from diffusers import AutoencoderTiny
    from safetensors.torch import load_file

    torch.manual_seed(0)
    AutoencoderTiny().save_pretrained(tmp_path)
    state = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    ours, theirs = architectures.build(state), AutoencoderTiny.from_pretrained(tmp_path)
    image = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        codes = theirs.encode(image).latents
        assert torch.equal(ours.encode(image).latents, codes)
        assert torch.equal(ours.decode(codes).sample, theirs.decode(codes).sample)
    state["encoder.layers.99.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"unexpected \(encoder.layers.99.weight\)"):
        architectures.build(state)


def test_other_classes_and_other_groups_are_refused():
    with pytest.raises(ValueError, match="_class_name 'VQModel'; AutoencoderKL and"):
        architectures.build_as_configured({"_class_name": "VQModel"}, {})
    _, state = compvis.random_state(1, 1, (1, 2))
    small = {k: v[:8] if k.endswith("down.0.block.0.conv2.weight") else v for k, v in state.items()}
    with pytest.raises(ValueError, match=r"widths \(8, 64\): its 32 groups"):
        architectures.build(small)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s, k: s.pop(f"{k}.lora_down.weight"),
            "no .*lora_down.weight beside its other half",
        ),
        (lambda s, k: s.update({f"{k}.lora_up.bias": torch.zeros(3)}), "unexpected .*lora_up.bias"),
        (lambda s, k: s.update({f"{k}.lora_mid.weight": torch.zeros(3)}), "unexpected .*lora_mid"),
        (
            lambda s, k: s.update({f"{k}.lora_up.weight": torch.zeros(3, 4, 1, 1)}),
            r"lora: \(3, 4\)",
        ),
        (lambda s, k: s.update({"encoder.conv_in.weight": torch.zeros(3)}), "not a known layout"),
    ],
)
def test_lora_is_as_strict_as_the_rest(change, message):
    _, state = compvis.random_state(1, 1, (1, 2), rank=4)
    change(state, "encoder.mid.attn_1.q")
    with pytest.raises(ValueError, match=message):
        architectures.build(state)


def test_lora_of_a_half_checkpoint_is_merged_in_float32():
    _, state = compvis.random_state(1, 1, (1, 2), rank=4)
    half = {key: value.half() for key, value in state.items()}
    key = "encoder.mid.attn_1.q"
    up, down = (half[f"{key}.lora_{way}.weight"].double().flatten(1) for way in ("up", "down"))
    wanted = half[f"{key}.conv.weight"].double().flatten(1) + up @ down
    found = architectures.merge_lora(half)[f"{key}.weight"].double().flatten(1)
    assert float((found - wanted).abs().max()) < 1e-6
