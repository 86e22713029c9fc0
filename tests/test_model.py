"""One interface for all autoencoders: any size, grey through colour, precision, tiles."""

import pytest
import torch

from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.load import load_autoencoder
from latentsr.autoencoders.model import Autoencoder
from latentsr.phantoms.prepared import prepared_phantom


def random_weights(factor, channels):
    """An autoencoder with random weights: good for shapes alone."""
    torch.manual_seed(0)
    return Autoencoder("random", build_small(factor, channels))


def of_three_channels(factor=4):
    """A model of three image channels, as Stable Diffusion's is, with random weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    levels = 3 if factor == 4 else 4
    return AutoencoderKL(
        block_out_channels=(32,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )


@pytest.mark.parametrize(("factor", "channels"), [(8, 4), (4, 3), (4, 1)])
@pytest.mark.parametrize("size", [(64, 64), (37, 61)])
def test_any_size_goes_through_and_back(factor, channels, size):
    vae, images = random_weights(factor, channels), torch.rand(2, 1, *size)
    latents = vae.encode(images)
    assert latents.shape == (2, channels, -(-size[0] // factor), -(-size[1] // factor))
    back = vae.decode(latents, size)
    assert back.shape == images.shape and 0 <= back.min() and back.max() <= 1
    assert repr(vae) == f"Autoencoder('random', f{factor}c{channels}, torch.float32, cpu)"


def test_posterior_mean_by_default_and_sampling_with_a_generator():
    vae, images = random_weights(4, 3), torch.rand(1, 1, 32, 32)
    mean = vae.encode(images)
    assert torch.equal(mean, vae.encode(images))
    samples = [vae.encode(images, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2]) and not torch.equal(samples[0], mean)


def test_grey_goes_through_colour_models():
    model, images = of_three_channels(), torch.rand(2, 1, 37, 61)
    vae = Autoencoder("colour", model)
    latents = vae.encode(images)
    assert latents.shape == (2, 4, 10, 16)
    padded = torch.nn.functional.pad(images, (0, 3, 0, 3), mode="replicate")
    by_hand = model.encode(padded.repeat(1, 3, 1, 1) * 2 - 1).latent_dist.mean
    assert torch.allclose(latents, by_hand, atol=1e-6)
    decoded = (model.decode(latents).sample.mean(1, keepdim=True) / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(vae.decode(latents, (37, 61)), decoded[..., :37, :61], atol=1e-6)


def test_an_autoencoder_without_posterior():
    from diffusers import AutoencoderTiny

    vae, images = Autoencoder("tiny", AutoencoderTiny()), torch.rand(1, 1, 37, 61)
    latents = vae.encode(images)
    assert vae.geometry == "f8c4" and latents.shape == (1, 4, 5, 8)
    assert torch.equal(latents, vae.encode(images, torch.Generator().manual_seed(1)))
    assert vae.decode(latents, (37, 61)).shape == images.shape


class Overflows(torch.nn.Module):
    """A model whose activations leave float16's range."""

    def __init__(self):
        super().__init__()
        self.inner = of_three_channels().to(torch.float16)
        self.config = self.inner.config

    def encode(self, x):
        if x.dtype == torch.float16:
            return type("Encoded", (), {"latents": torch.full((1, 4, 8, 8), float("inf"))})
        return self.inner.encode(x)

    def decode(self, z):
        decoded = self.inner.decode(z)
        if z.dtype == torch.float16:
            decoded.sample[..., 0, 0] = float("nan")
        return decoded


def test_bfloat16_is_near_and_float16_falls_back():
    images = torch.rand(1, 1, 32, 32)
    expected = Autoencoder("x", of_three_channels()).encode(images)
    half = Autoencoder("x", of_three_channels().to(torch.bfloat16)).encode(images)
    assert half.dtype == torch.float32
    assert float((half - expected).abs().max()) < 0.05 * float(expected.abs().max())
    encoder, decoder = (Autoencoder("x", Overflows()) for _ in range(2))
    with pytest.warns(UserWarning, match="vae x: float16 overflowed; float32 from here on"):
        latents = encoder.encode(images)
    assert float((latents - expected).abs().max()) < 0.05 * float(expected.abs().max())
    with pytest.warns(UserWarning, match="vae x: float16 overflowed"):
        decoded = decoder.decode(expected)
    assert torch.isfinite(decoded).all() and encoder.dtype == decoder.dtype == torch.float32


@pytest.mark.parametrize("name", ["phantom-f4c3", "phantom-f8c4"])
def test_tiles_come_near_the_whole(name):
    vae = load_autoencoder(name)
    latents = vae.encode(torch.from_numpy(prepared_phantom("chest", 0, 5)[0])[None, None])
    whole, tiled = vae.decode(latents), vae.decode(latents, tile_px=64)
    assert 0 < float((tiled - whole).abs().mean()) < 0.04
    assert torch.equal(vae.decode(latents), whole)  # tiling does not stay on


NAN = float("nan")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda v: v.encode(torch.rand(1, 3, 32, 32)), r"images: shape \(1, 3, 32, 32\)"),
        (lambda v: v.encode(torch.full((1, 1, 8, 8), NAN)), "images: a pixel is not finite"),
        (lambda v: v.encode(torch.rand(1, 1, 8, 8) * 3), "images: grey values .*; 0 to 1 are"),
        (lambda v: v.encode(torch.rand(1, 1, 8, 8) - 1), "images: grey values .*; 0 to 1 are"),
        (lambda v: v.decode(torch.zeros(1, 4, 2, 2)), r"shape \(1, 4, 2, 2\), but \(B, 3, h, w\)"),
        (lambda v: v.decode(torch.full((1, 3, 2, 2), NAN)), "latents: a number is not finite"),
        (lambda v: v.decode(torch.zeros(1, 3, 2, 2), (9, 8)), r"\(9, 8\); at most \(8, 8\) were"),
        (lambda v: v.decode(torch.zeros(1, 3, 8, 8), tile_px=0), "a multiple of 16 px is needed"),
        (lambda v: v.decode(torch.zeros(1, 3, 8, 8), tile_px=24), "a multiple of 16 px is needed"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, message):
    with pytest.raises(ValueError, match=message) as caught:
        run(random_weights(4, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ends", [(4, 4), (2, 3), (3, 6)])
def test_other_channels_than_one_or_three_are_refused(ends):
    model = of_three_channels()
    model.register_to_config(in_channels=ends[0], out_channels=ends[1])
    with pytest.raises(ValueError, match="channels in, . out; 1 or 3 are read"):
        Autoencoder("x", model)
