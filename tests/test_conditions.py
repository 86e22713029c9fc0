import pytest
import torch
from torch.nn import functional

from latentsr.diffusion import conditions


def test_the_grid_moves_each_block_of_pixels_into_channels():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    folded = conditions.to_grid(x, 2)
    assert folded[0, :, 0, 0].tolist() == [0, 1, 4, 5]  # rows 0, 1 x columns 0, 1
    assert folded[0, :, 1, 1].tolist() == [10, 11, 14, 15]


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 4, 16, 16), (5, 1, 32, 32)])
def test_grid_is_lossless(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(conditions.from_grid(conditions.to_grid(x, 16), shape[-1]), x)


@pytest.mark.parametrize("side", [8, 24])
def test_a_grid_that_does_not_fit_is_refused(side):
    with pytest.raises(ValueError, match=f"grid: {side} x {side} cannot be folded onto 16 x 16"):
        conditions.to_grid(torch.zeros(1, 1, side, side), 16)


@pytest.mark.parametrize(("channels", "factor"), [(4, 8), (3, 4)])
def test_every_condition_lies_on_the_grid(channels, factor):
    shown = {
        "lr_pixels": torch.rand(2, 1, 32, 32),
        "lr_latent": torch.rand(2, channels, 32 // factor, 32 // factor),
        "upsampled_latent": torch.rand(2, channels, 128 // factor, 128 // factor),
    }
    got = {kind: conditions.on_grid(kind, tensor, 16) for kind, tensor in shown.items()}
    assert got["lr_latent"].shape == (2, channels, 16, 16)
    assert got["lr_pixels"].shape == (2, 4, 16, 16)
    assert got["upsampled_latent"].numel() == shown["upsampled_latent"].numel()
    whole = functional.interpolate(shown["lr_latent"], 16, mode="bilinear", align_corners=False)
    assert torch.equal(got["lr_latent"], whole)


def blurred(lr):
    return functional.avg_pool2d(lr[:, None], 2)  # a quarter of the numbers


def test_what_a_condition_keeps_of_the_lr_image():
    generator = torch.Generator().manual_seed(3)
    lr = functional.interpolate(torch.rand(12, 1, 8, 8, generator=generator), 32, mode="bicubic")
    lr = (lr[:, 0] + 0.02 * torch.randn(12, 32, 32, generator=generator)).clamp(0, 1)
    training = torch.arange(12) < 8
    pixels = conditions.on_grid("lr_pixels", lr[:, None], 16)
    lossless = conditions.linear_probe_psnr_db(pixels, lr, training)
    less = conditions.linear_probe_psnr_db(blurred(lr), lr, training)
    nothing = conditions.linear_probe_psnr_db(torch.zeros(12, 1, 16, 16), lr, training)
    assert lossless.shape == (4,) and lossless.min() > 45
    assert (lossless > less + 5).all() and (less > nothing + 3).all()
    guess = lr[training].reshape(8, 16, 2, 16, 2).mean((0, 1, 3))[None]  # the constant alone
    guess = guess.repeat(1, 16, 1).reshape(1, 32, 2).repeat(1, 1, 16)
    by_hand = -10 * torch.log10(((guess - lr[~training]) ** 2).mean((1, 2)))
    torch.testing.assert_close(torch.tensor(nothing).float(), by_hand, atol=1e-3, rtol=0)
    fine = functional.interpolate(lr[:, None], 64, mode="nearest")
    assert conditions.linear_probe_psnr_db(fine, lr, training).min() > 45
