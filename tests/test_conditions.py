import pytest
import torch
from torch.nn import functional

from latentsr import conditions


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
