"""How the low-resolution image enters the denoiser, and the grid all arms share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


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
