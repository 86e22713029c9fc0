"""HR -> LR operators and their plain counterparts back to HR size: the baselines of the study."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

OPERATORS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
Images = NDArray[np.float32]


def _resize(images: Images, side_px: int | tuple[int, int], operator: str) -> Images:
    if operator not in OPERATORS:
        raise ValueError(f"operator: {operator!r}; allowed are {', '.join(OPERATORS)}")
    height, width = images.shape[1:]
    if isinstance(side_px, int):
        side_px = (side_px, max(1, round(side_px * width / height)))
    resized = [
        # Pillow takes (width, height); mode "F" computes in float and antialiases when shrinking
        Image.fromarray(np.asarray(image, np.float32)).resize(side_px[::-1], OPERATORS[operator])
        for image in images
    ]
    out = np.stack([np.asarray(image, np.float32) for image in resized])  # (N, h, w)
    return np.clip(out, 0.0, 1.0)


def degrade(hr: Images, lr_px: int | tuple[int, int], operator: str = "bicubic") -> Images:
    """Shrink HR images to LR size with Pillow's antialiased resampling.

    Parameters
    ----------
    hr : (N, H, W) float32
        In [0, 1].
    lr_px : int or (int, int)
        Height of the LR images in pixels (the width keeps the shape), or (height, width).
    operator : {"bicubic", "lanczos"}
        Keys' cubic with a = -0.5, or Lanczos with 3 lobes.

    Returns
    -------
    (N, h, w) float32, clipped to [0, 1]: both kernels overshoot at edges.

    Examples
    --------
    >>> degrade(np.full((1, 8, 8), 0.25, np.float32), 2).tolist()
    [[[0.25, 0.25], [0.25, 0.25]]]
    """
    return _resize(hr, lr_px, operator)


def upsample(lr: Images, hr_px: int | tuple[int, int], method: str = "bicubic") -> Images:
    """Enlarge LR images (N, h, w) to HR size (N, H, W); arguments as in `degrade`."""
    return _resize(lr, hr_px, method)
