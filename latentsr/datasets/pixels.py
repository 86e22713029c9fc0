"""Grey images: read, scaled to [0, 1], made square, and brought to HR size by Lanczos."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

Array = NDArray[Any]
ANATOMIES = ("knee", "brain", "chest", "folder")
BRAIN_LEAST = 240 / 256  # BraTS slices have 240 pixels a side and the paper enlarges them to 256
PHOTOGRAPHS = (  # of scikit-image's data folder; not medical, not drawn, terms of use stated
    "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png "
    "grass.png gravel.png hubble_deep_field.jpg rocket.jpg"
).split()


def middle_half_slices(depth: int, count: int) -> NDArray[np.int_]:
    """Return ``count`` evenly spaced slice indices of the middle half of a volume; one: the middle.

    >>> middle_half_slices(155, 5).tolist()
    [39, 58, 77, 96, 115]
    """
    if count == 1:
        return np.array([(depth - 1) // 2])
    return np.linspace(depth * 0.25, depth * 0.75 - 1, count).round().astype(int)


def one_line(error: Exception) -> str:
    """Say in one line what is wrong with a file.

    >>> one_line(ValueError("3 pages")), one_line(OSError("broken"))
    ('3 pages', 'cannot be read (OSError: broken)')
    """
    text = " ".join(str(error).split()) or "no message"
    plain = type(error) is ValueError and "mmap" not in text
    return text if plain else f"cannot be read ({type(error).__name__}: {text})"


def check_numbers(dtype: DTypeLike) -> None:
    """Refuse what is no grey value: complex numbers, truth values, objects."""
    if np.dtype(dtype).kind not in "uif":
        raise ValueError(f"numbers of type {dtype}; integers or floats are needed")


def check_finite(image: Array) -> None:
    """Refuse NaN and infinity."""
    if count := int((~np.isfinite(image)).sum()):
        raise ValueError(f"{count} pixels are not finite (nan or inf); every pixel needs a number")


def check_mask(mask: Array, image: Array) -> None:
    """Refuse a mask of another shape than its image."""
    if mask.shape != image.shape:
        both = f"mask of shape {mask.shape} for an image of shape {image.shape}"
        raise ValueError(f"{both}; they must be equal")


def square(image: Array, how: str = "crop") -> Array:
    """Return the middle square of an image, or the image in the middle of a black square.

    >>> square(np.array([[1, 2, 3]])).tolist(), square(np.array([[1, 2, 3]]), "pad").tolist()
    ([[2]], [[0, 0, 0], [1, 2, 3], [0, 0, 0]])
    """
    if how == "pad":
        side = max(image.shape)
        before = [(side - length) // 2 for length in image.shape]
        rest = zip(before, image.shape, strict=True)
        return np.pad(image, [(edge, side - length - edge) for edge, length in rest])
    side = min(image.shape)
    top, left = ((length - side) // 2 for length in image.shape)
    return image[top : top + side, left : left + side]


def _unit_range(image: Array) -> Array:
    """Scale by the range of the dtype; floats must lie in [0, 1] already."""
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        return (image.astype(np.float64) - limits.min) / (limits.max - limits.min)
    if image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"float pixels from {image.min():.4g} to {image.max():.4g}; allowed are 0 to 1"
        )
    return image


def prepare_pixels(
    image: Array, anatomy: str, hr_px: int, how: str = "crop"
) -> NDArray[np.float32]:
    """Prepare an image (H, W) as the study sees it: square, (hr_px, hr_px), float32 in [0, 1].

    Integers are scaled by the range of their type (uint8 by 255); floats lie in [0, 1]. A brain
    slice is scaled by its own minimum and maximum instead, and may be enlarged a little, from 240
    pixels to 256 as the paper does. ``how`` an oblong image becomes square: "crop" or "pad".
    Refused are images not 2-D, non-finite, constant where min and max are needed, or smaller than
    ``hr_px``.

    >>> prepare_pixels(np.array([[0, 255], [51, 0]], np.uint8), "knee", 2).round(1).tolist()
    [[0.0, 1.0], [0.20000000298023224, 0.0]]
    """
    if anatomy not in ANATOMIES:
        raise ValueError(f"anatomy: {anatomy!r}; allowed are {', '.join(ANATOMIES)}")
    if image.ndim != 2:
        raise ValueError(f"image of shape {image.shape}; a grey image (height, width) is needed")
    least = math.ceil(hr_px * BRAIN_LEAST) if anatomy == "brain" else hr_px
    if (max(image.shape) if how == "pad" else min(image.shape)) < least:
        size = " x ".join(map(str, image.shape))
        raise ValueError(f"{size} pixels; at least {least} a side are needed (hr_px: {hr_px})")
    check_finite(image)
    if anatomy == "brain":
        low, high = float(image.min()), float(image.max())
        if low == high:
            raise ValueError(f"all pixels are {low:g}; a slice with an image in it is needed")
        scaled = (image.astype(np.float64) - low) / (high - low)
    else:
        scaled = _unit_range(image)
    whole = Image.fromarray(square(scaled, how).astype(np.float32))
    resized = np.asarray(whole.resize((hr_px, hr_px), Image.Resampling.LANCZOS), np.float32)
    return np.clip(resized, 0.0, 1.0)


def prepare_mask(mask: Array, hr_px: int) -> NDArray[np.bool_]:
    """Crop a mask (H, W) like its image and resize it by nearest neighbour to (hr_px, hr_px)."""
    whole = Image.fromarray(square(mask).astype(np.uint8))
    return np.asarray(whole.resize((hr_px, hr_px), Image.Resampling.NEAREST)) > 0


def grey(image: Image.Image) -> Array:
    """Return an opened picture as (H, W) uint8, uint16 or float32; refuse colour."""
    if image.mode in ("L", "F") or image.mode.startswith("I;16"):
        return np.array(image)
    if image.mode == "I":  # how older Pillows read 16-bit PNG
        wide: Array = np.array(image)
        if wide.min() < 0 or wide.max() >= 2**16:
            raise ValueError("32-bit integer pixels; 8 or 16-bit grey is needed")
        return wide.astype(np.uint16)
    rgba: Array = np.array(image.convert("RGBA"))  # (H, W, 4)
    if np.ptp(rgba[..., :3], axis=2).any() or (rgba[..., 3] < 255).any():
        raise ValueError(f"colour or transparent pixels (mode {image.mode}); grey is needed")
    return rgba[..., 0]


def read_image(path: Path) -> Array:
    """Read a grey PNG, JPEG or TIFF file of one picture, see `grey`."""
    with Image.open(path) as image:
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise ValueError(f"{frames} frames; one image a file is needed")
        return grey(image)


def photographs() -> list[NDArray[np.float32]]:
    """Return the grey photographs (H, W) in [0, 1] that come inside installed packages."""
    import skimage
    import sklearn.datasets

    paths = [Path(skimage.__file__).parent / "data" / name for name in PHOTOGRAPHS]
    folder = Path(sklearn.datasets.__file__).parent / "images"
    paths += [folder / "china.jpg", folder / "flower.jpg"]
    images = [np.asarray(Image.open(path).convert("L"), np.float32) for path in paths]
    return [image / np.float32(255) for image in images]
