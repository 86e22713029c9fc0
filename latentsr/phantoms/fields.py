"""Building blocks of the phantoms: random textures, ridges, soft shapes and noise.

Lengths are in native pixels, brightness on [0, 1], (y, x) order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import fft
from scipy.interpolate import CubicSpline
from scipy.ndimage import distance_transform_edt, gaussian_filter

Field = NDArray[np.floating[Any]]
Rng = np.random.Generator
MARGIN_PX = 12  # distances outside an outline are known up to here


@dataclass(frozen=True)
class Phantom:
    """One computer-made image; `mask` holds the tumour labels (0 to 3) of a brain slice."""

    image: Field
    noise_free: Field
    mask: NDArray[np.uint8] | None = None


@lru_cache(maxsize=64)  # most textures of an anatomy share their arguments
def _gain(
    fast: tuple[int, int],
    slope: float,
    periods_px: tuple[float, float],
    stretch: float,
    angle_rad: float,
) -> Field:
    """Amplitude of a texture at the frequencies of a real FFT."""
    ky = fft.fftfreq(fast[0])[:, None].astype(np.float32)
    kx = fft.rfftfreq(fast[1])[None].astype(np.float32)
    cos, sin = float(np.cos(angle_rad)), float(np.sin(angle_rad))
    along, across = kx * cos + ky * sin, ky * cos - kx * sin
    k = np.hypot(along * stretch, across)
    short, long = min(periods_px), max(periods_px)
    with np.errstate(divide="ignore"):
        gain = np.where(k > 0, k ** (slope / 2), np.float32(0))
    k4 = np.square(np.square(k))
    gain *= np.exp(k4 * (-(short**4) / 2)) * (1 - np.exp(k4 * -(long**4)))
    return np.asarray(gain)


def texture(
    rng: Rng,
    shape: tuple[int, int],
    slope: float,
    periods_px: tuple[float, float],
    stretch: float = 1.0,
    angle_rad: float = 0.0,
) -> Field:
    """Gaussian noise of SD 1, power ~ k**slope between two periods, drawn out along an angle."""
    fast = fft.next_fast_len(shape[0], real=True), fft.next_fast_len(shape[1], real=True)
    gain = _gain(fast, slope, periods_px, stretch, angle_rad)
    white = rng.standard_normal(fast, dtype=np.float32)
    field = fft.irfft2(fft.rfft2(white) * gain, s=fast)[: shape[0], : shape[1]]
    return np.asarray(field / field.std(), dtype=np.float32)


def ridges(field: Field, width_px: float | Field) -> Field:
    """Lines of one width along the zero crossings of a field: 1 on the line, 0 away from it."""
    gy, gx = np.gradient(field)
    distance_px = np.abs(field) / (np.hypot(gy, gx) + 1e-3 * field.std())
    return np.asarray(np.exp(-((distance_px / width_px) ** 2)), dtype=np.float32)


def closed_curve(points: NDArray[np.float64], samples: int = 200) -> NDArray[np.float64]:
    """A smooth closed curve through (y, x) points."""
    knots = np.r_[points, points[:1]]
    spline = CubicSpline(np.arange(len(knots)), knots, bc_type="periodic")
    return np.asarray(spline(np.linspace(0, len(points), samples, endpoint=False)))


def open_curve(points: NDArray[np.float64], samples: int = 60) -> NDArray[np.float64]:
    """A smooth open curve through (y, x) points."""
    spline = CubicSpline(np.arange(len(points)), points)
    return np.asarray(spline(np.linspace(0, len(points) - 1, samples)))


def depth(shape: tuple[int, int], outline: NDArray[np.float64], wobble: Field | float = 0) -> Field:
    """Distance in pixels to a closed outline, positive inside; `wobble` roughens the edge."""
    lo = np.clip(np.floor(outline.min(0)).astype(int) - MARGIN_PX, 0, np.array(shape) - 1)
    hi = np.clip(np.ceil(outline.max(0)).astype(int) + MARGIN_PX, 1, shape)
    fine = Image.new("L", (int(hi[1] - lo[1]) * 4, int(hi[0] - lo[0]) * 4))
    ImageDraw.Draw(fine).polygon(
        [((x + 0.5) * 4, (y + 0.5) * 4) for y, x in outline - lo], fill=255
    )
    inside = np.asarray(fine.reduce(4)) > 127
    d = distance_transform_edt(inside) - distance_transform_edt(~inside)
    whole = np.full(shape, -float(MARGIN_PX), np.float32)
    whole[lo[0] : hi[0], lo[1] : hi[1]] = gaussian_filter(
        (d - 0.5 * np.sign(d)).astype(np.float32), 0.7
    )
    return np.asarray(whole + wobble, dtype=np.float32)


def cover(depth_px: Field, edge_px: float = 1.0) -> Field:
    """Coverage in [0, 1] of what lies at positive depth, over a soft edge."""
    return np.asarray(np.clip(depth_px / edge_px + 0.5, 0, 1), dtype=np.float32)


def paint(canvas: Field, value: Field | float, alpha: Field) -> Field:
    """Lay a value over a canvas."""
    return np.asarray(canvas + alpha * (value - canvas), dtype=np.float32)


def strokes(
    shape: tuple[int, int], lines: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> Field:
    """Thickness of round tubes: each line is its (y, x) points and a radius at each of them."""
    total = np.zeros(shape, np.float32)
    rows, columns = (np.arange(n, dtype=np.float32) for n in shape)
    for points, radii in lines:
        pad = np.asarray(radii)[: len(points) - 1, None] + 1.5
        ends = np.minimum(points[:-1], points[1:]), np.maximum(points[:-1], points[1:])
        low = np.clip(np.floor(ends[0] - pad), 0, None).astype(int).tolist()
        high = np.clip(np.ceil(ends[1] + pad) + 1, 0, shape).astype(int).tolist()
        for (a, b), r, (y0, x0), (y1, x1) in zip(
            pairwise(points.tolist()), np.asarray(radii).tolist(), low, high, strict=False
        ):
            if y0 >= y1 or x0 >= x1:
                continue
            y, x = rows[y0:y1, None] - a[0], columns[None, x0:x1] - a[1]
            dy, dx = b[0] - a[0], b[1] - a[1]
            scale = 1 / max(dy * dy + dx * dx, 1e-9)
            t = np.minimum(np.maximum(y * (dy * scale) + x * (dx * scale), 0), 1)
            gap2 = np.square(y - t * dy) + np.square(x - t * dx)
            # a tube narrower than a pixel shows as a fainter line of one pixel
            seen = max(r, 0.7)
            tube = np.sqrt(np.maximum(1 - gap2 / (seen + 0.3) ** 2, 0)) * (r * r / seen)
            window = total[y0:y1, x0:x1]
            np.maximum(window, tube, out=window)
    return total


def rician(rng: Rng, image: Field, sd: float) -> Field:
    """Magnitude of a complex MR signal with Gaussian noise on both parts."""
    real = image + sd * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = sd * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.hypot(real, imaginary), 0, 1).astype(np.float32)
