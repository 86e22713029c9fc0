"""How the low-resolution image enters the denoiser, and the grid all arms share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

RIDGE = 1e-5  # of standardised features, per sample; small, so that what is there is recovered


def to_grid(x: Tensor, grid_px: int) -> Tensor:
    """Bring ``(B, C, H, H)`` to the common grid: blocks of pixels move into channels, lossless.

    >>> to_grid(torch.zeros(2, 3, 32, 32), 16).shape
    torch.Size([2, 12, 16, 16])
    """
    side = x.shape[-1]
    if side < grid_px or side % grid_px:
        raise ValueError(
            f"grid: {side} x {side} cannot be folded onto {grid_px} x {grid_px}; "
            "use another LR condition or a coarser grid"
        )
    return functional.pixel_unshuffle(x, side // grid_px)


def from_grid(x: Tensor, side: int) -> Tensor:
    """Undo `to_grid` for a square of ``side``."""
    return functional.pixel_shuffle(x, side // x.shape[-1])


def on_grid(lr_condition: str, condition: Tensor, grid_px: int) -> Tensor:
    """Bring a condition to the grid: ``(B, K, grid_px, grid_px)``, not standardised.

    ``lr_latent``: the LR image through the VAE at its own size; its latent ``(B, C, h / f, w / f)``
    is interpolated bilinearly (as released). ``upsampled_latent``: the bicubically upsampled LR
    image through the VAE ``(B, C, H / f, W / f)``, folded like the target. ``lr_pixels``: the LR
    image itself ``(B, 1, h, w)``, folded.
    """
    if lr_condition == "lr_latent":
        size = (grid_px, grid_px)
        return functional.interpolate(condition, size, mode="bilinear", align_corners=False)
    return to_grid(condition, grid_px)


def linear_probe_psnr_db(condition: Tensor, lr: Tensor, is_training: Tensor) -> NDArray[np.float64]:
    """Return how well a linear probe gets the LR image back, in dB for every test image ``(M,)``.

    Ridge regression, fitted on the training images, of the LR pixels ``(N, H, W)`` of a place of
    the grid on the condition ``(N, K, h, w)`` of that place and its eight neighbours; H is a
    multiple of h, or h of H. PSNR of range 1 after clipping.
    """
    from sklearn.linear_model import Ridge

    side = condition.shape[-1]
    if side > lr.shape[-1]:  # a grid finer than the LR image: the mean of the places of a pixel
        condition = functional.avg_pool2d(condition, side // lr.shape[-1])
        side = lr.shape[-1]
    training = condition[is_training]
    sd = training.std((0, 2, 3)).clamp_min(1e-6)[:, None, None]
    condition = (condition - training.mean((0, 2, 3))[:, None, None]) / sd
    padded = functional.pad(condition.double(), (1, 1, 1, 1), mode="replicate")
    features = functional.unfold(padded, 3).transpose(1, 2)  # (N, h * w, K * 9)
    pixels = to_grid(lr[:, None], side).double().flatten(2).transpose(1, 2)  # (N, h * w, r * r)
    x, y = features[is_training].flatten(0, 1), pixels[is_training].flatten(0, 1)
    probe = Ridge(RIDGE * len(x), solver="cholesky").fit(x.numpy(), y.numpy())
    estimate = probe.predict(features[~is_training].flatten(0, 1).numpy()).clip(0, 1)
    error = (torch.from_numpy(estimate).view_as(pixels[~is_training]) - pixels[~is_training]) ** 2
    return (-10 * torch.log10(error.mean((1, 2)))).numpy()
