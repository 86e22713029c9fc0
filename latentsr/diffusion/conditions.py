"""How the low-resolution image enters the denoiser, and the grid all arms share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

RIDGE = 1e-5  # of standardised features; small, so that what is there is found


def to_grid(x: Tensor, grid_px: int) -> Tensor:
    """Bring ``(B, C, H, H)`` to the common grid: blocks of pixels move into channels, lossless.

    Examples
    --------
    >>> import torch
    >>> to_grid(torch.zeros(2, 3, 32, 32), 16).shape
    torch.Size([2, 12, 16, 16])

    Raises
    ------
    ValueError
        Where the grid is finer than ``x`` or does not divide it: numbers would have to be invented.
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


def on_grid(kind: str, shown: Tensor, grid_px: int) -> Tensor:
    """Bring what a denoiser is shown to the grid: ``(B, K, grid_px, grid_px)``, not standardised.

    ``lr_latent``: the LR image through the VAE at its own size; its latent ``(B, C, h / f, w / f)``
    is interpolated bilinearly (as released). ``upsampled_latent``: the bicubically upsampled LR
    image through the VAE ``(B, C, H / f, W / f)``, folded like the target. ``lr_pixels``: the LR
    image itself ``(B, 1, h, w)``, folded.
    """
    if kind == "lr_latent":
        size = (grid_px, grid_px)
        return functional.interpolate(shown, size, mode="bilinear", align_corners=False)
    return to_grid(shown, grid_px)


def recovered_psnr_db(condition: Tensor, lr: Tensor, is_training: Tensor) -> NDArray[np.float64]:
    """Return how well a condition gives the LR image back, in dB for every test image ``(M,)``.

    By ridge regression, fitted on the training images: the LR pixels of a place of the grid from
    the condition of that place and its eight neighbours. PSNR of range 1 after clipping.

    Parameters
    ----------
    condition : Tensor
        ``(N, K, h, w)``, what the denoiser is shown.
    lr : Tensor
        LR images ``(N, H, W)`` in [0, 1]; H a multiple of h, or h of H.
    is_training : Tensor
        ``(N,)`` bool; the others are tested.
    """
    side = condition.shape[-1]
    if side > lr.shape[-1]:  # a grid finer than the LR image: one place stands for its pixel
        condition = functional.avg_pool2d(condition, side // lr.shape[-1])
        side = lr.shape[-1]
    fitted = condition[is_training]
    spread = fitted.std((0, 2, 3)).clamp_min(1e-6)[:, None, None]
    condition = (condition - fitted.mean((0, 2, 3))[:, None, None]) / spread
    wanted = to_grid(lr[:, None], side).double()  # (N, r * r, h, w)
    padded = functional.pad(condition.double(), (1, 1, 1, 1), mode="replicate")
    near = functional.unfold(padded, 3)  # (N, K * 9, h * w)
    features = torch.cat([near, torch.ones_like(near[:, :1])], 1).transpose(1, 2)
    aims = wanted.flatten(2).transpose(1, 2)  # (N, h * w, r * r)
    x, y = features[is_training].flatten(0, 1), aims[is_training].flatten(0, 1)
    penalty = RIDGE * torch.eye(x.shape[1], dtype=x.dtype) * len(x)
    penalty[-1, -1] = 0  # the constant
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ y)
    guess = (features[~is_training] @ weights).clamp(0, 1)  # (M, h * w, r * r)
    error = ((guess - aims[~is_training]) ** 2).mean((1, 2))
    return (-10 * torch.log10(error)).numpy()
