"""HR -> LR operators and their plain counterparts back to HR size: the baselines of the study."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
OPERATORS = (*PILLOW, "gaussian", "kspace")
GAUSSIAN_SD = 0.4  # HR pixels for each HR pixel that an LR pixel covers
Images = NDArray[np.float32]


def _resize(images: Images, side_px: tuple[int, int], operator: str) -> Images:
    # Pillow takes (width, height); mode "F" computes in float and antialiases when shrinking
    floats = (Image.fromarray(np.asarray(image, np.float32)) for image in images)
    resized = (np.asarray(image.resize(side_px[::-1], PILLOW[operator])) for image in floats)
    return np.stack([*resized])  # (N, h, w)


def _gaussian_rows(long_px: int, short_px: int) -> NDArray[np.float64]:
    """Return weights ``(short, long)``: a Gaussian around the place of each LR pixel, sum 1."""
    ratio = long_px / short_px
    centre = (np.arange(short_px) + 0.5) * ratio - 0.5  # HR coordinates of LR pixel centres
    distance = np.arange(long_px)[None, :] - centre[:, None]
    weights = np.exp(-0.5 * (distance / (GAUSSIAN_SD * ratio)) ** 2)
    return weights / weights.sum(1, keepdims=True)


def _kspace_rows(long_px: int, short_px: int) -> NDArray[np.complex128]:
    """Return ``(short, long)``: DFT, its low frequencies, inverse DFT at the LR pixel centres."""
    kept = np.arange(-((short_px - 1) // 2), (short_px - 1) // 2 + 1)  # without a lone Nyquist line
    there = np.exp(-2j * np.pi * np.outer(kept, np.arange(long_px)) / long_px) / long_px
    centre = (np.arange(short_px) + 0.5) * long_px / short_px - 0.5
    return np.exp(2j * np.pi * np.outer(centre, kept) / long_px) @ there


def degrade(hr: Images, lr_px: int | tuple[int, int], operator: str = "bicubic") -> Images:
    """Shrink HR images (N, H, W) in [0, 1] to LR images (N, h, w), clipped to [0, 1].

    ``lr_px`` is their height (the width keeps the shape), or (height, width). "bicubic" is Keys'
    cubic with a = -0.5 and "lanczos" has 3 lobes, both antialiased, by Pillow; "gaussian" has an
    SD of 0.4 x H / h HR pixels and is read at the LR pixel centres; "kspace" keeps the frequencies
    below h / 2 cycles a field of view, as a scanner of lower resolution samples. LR pixel centres
    lie where Pillow puts them, in every operator; all but the Gaussian overshoot at edges.

    >>> degrade(np.full((1, 8, 8), 0.25, np.float32), 2).tolist()
    [[[0.25, 0.25], [0.25, 0.25]]]
    """
    size = _size(hr, lr_px)
    if operator in PILLOW:
        return np.clip(_resize(hr, size, operator), 0.0, 1.0)
    if operator not in OPERATORS:
        raise ValueError(f"operator: {operator!r}; allowed are {', '.join(OPERATORS)}")
    rows = _gaussian_rows if operator == "gaussian" else _kspace_rows
    down, across = (rows(*pair) for pair in zip(hr.shape[1:], size, strict=True))
    small = np.real(down @ hr.astype(np.float64) @ across.T)  # (N, h, w)
    return np.clip(small, 0.0, 1.0).astype(np.float32)


def upsample(lr: Images, hr_px: int | tuple[int, int], method: str = "bicubic") -> Images:
    """Enlarge LR images (N, h, w) to HR size (N, H, W) by "bicubic" or "lanczos"."""
    if method not in PILLOW:
        raise ValueError(f"method: {method!r}; allowed are {', '.join(PILLOW)}")
    return np.clip(_resize(lr, _size(lr, hr_px), method), 0.0, 1.0)


def check_pairs(
    hr: Images, lr: Images, image_ids: Sequence[str], operator: str, tolerance: float = 1e-4
) -> None:
    """Make sure that every LR image is made from the HR image of its id, and from no other.

    ``hr`` (N, H, W), ``lr`` (N, h, w). The operator is applied again to each HR image; its own LR
    image must be equal within ``tolerance`` and no other may come closer. The first image that
    does not fit is named.
    """
    again = degrade(hr, lr.shape[1:], operator).reshape(len(hr), -1).astype(np.float64)
    flat = lr.reshape(len(lr), -1).astype(np.float64)  # (N, h * w)
    largest = np.abs(again - flat).max(1)
    distance = (again**2).sum(1)[:, None] + (flat**2).sum(1)[None, :] - 2 * again @ flat.T  # (N, N)
    for row, name in enumerate(image_ids):
        nearest = image_ids[int(distance[row].argmin())]
        if largest[row] > tolerance:
            raise ValueError(
                f"{name}: its LR image is not its HR image made small by {operator} (largest "
                f"difference {largest[row]:.3g}; the nearest LR image is that of {nearest})"
            )
        if distance[row].min() < distance[row, row] - 1e-9 * max(1.0, distance[row, row]):
            raise ValueError(f"{name}: the LR image of {nearest} is nearer to it than its own")


def nearest_is_own(images: Images, lr: Images, operator: str) -> NDArray[np.bool_]:
    """Return which images ``(N, H, W)``, made small, correlate most with their own LR image.

    ``lr`` (N, h, w). Pearson's r over pixels against every LR image of the stack. A poor image may
    fail by being poor, so this warns of mixed-up names; it proves nothing.

    >>> hr = np.random.default_rng(0).random((3, 8, 8), np.float32)
    >>> nearest_is_own(hr[[0, 2, 1]], degrade(hr, 4), "bicubic").tolist()
    [True, False, False]
    """
    small = degrade(images, lr.shape[1:], operator)
    flat = [np.reshape(stack, (len(stack), -1)).astype(np.float64) for stack in (small, lr)]
    a, b = (rows - rows.mean(1, keepdims=True) for rows in flat)
    b /= np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    return np.asarray((a @ b.T).argmax(1) == np.arange(len(lr)))


def _size(images: Images, side_px: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(side_px, int):
        return side_px
    height, width = images.shape[1:]
    return side_px, max(1, round(side_px * width / height))


class _Callable(ModuleType):
    """Let ``latentsr.degrade(hr, lr_px)`` mean the function of the same name."""

    def __call__(self, *args: Any, **options: Any) -> Images:
        return degrade(*args, **options)


sys.modules[__name__].__class__ = _Callable
