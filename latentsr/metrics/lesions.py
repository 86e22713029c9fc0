"""Inserted lesions of known detectability: what super-resolution keeps of them.

A lesion is a round Gaussian spot added to a true image; the image with it and the image without
it are twins. Its detectability is that of an ideal observer of the *LR* image: signal and
background known, the noise of the HR image carried through the degradation. So it says what any
method could know, before any method is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from latentsr.degrade import degrade
from latentsr.metrics.image import Floats, as_pair

Images = NDArray[np.float32]
GREY = (0.15, 0.75)  # mean of the image where a lesion may be: inside the body, not at its limits
BRIGHT = 0.95  # no pixel near a lesion is so bright: grey values end at 1
MARGIN = 0.2  # share of the side that is kept free at every border


@dataclass(frozen=True)
class Lesion:
    """One spot: in which image, where, how wide, how strong, how detectable."""

    image: int  # row of the image
    row: int
    column: int
    sd_px: float
    contrast: float  # of its peak; images lie in [0, 1]
    detectability: float  # d' of the ideal observer of the LR image

    def template(self, side_px: int) -> Floats:
        """Return the spot with a peak of 1, ``(side, side)``."""
        y, x = np.mgrid[:side_px, :side_px]
        square = (y - self.row) ** 2 + (x - self.column) ** 2
        return np.asarray(np.exp(-square / (2 * self.sd_px**2)))


def reach_px(sd_px: float) -> int:
    """Return how far a spot of this SD reaches: three SD."""
    return max(1, round(3 * sd_px))


def operator_matrix(long_px: int, short_px: int, operator: str) -> Floats:
    """Return the degradation along one axis as a matrix ``(short, long)``; rows sum to 1.

    From its response to impulses on grey, which its clipping leaves alone; operators are separable
    and linear.
    """
    impulses = 0.5 + 0.25 * np.eye(long_px)
    lines = np.repeat(impulses[:, :, None], long_px, axis=2).astype(np.float32)
    small = degrade(lines, short_px, operator)[:, :, 0].astype(np.float64)
    return np.asarray((small - 0.5).T / 0.25)


def detectability(signal: Floats, matrix: Floats, noise_sd: float) -> float:
    r"""Return d' of an ideal observer of the LR image who knows signal and background.

    .. math:: d'^2 = s^T \Sigma^{-1} s, \quad s = D h, \quad \Sigma = \sigma^2 D D^T

    with h the signal in the HR image ``(H, W)``, D the degradation (``matrix`` along both axes)
    and white noise of SD sigma in the HR image. Barrett and Myers 2004, section 13.2.

    >>> round(detectability(np.full((4, 4), 0.1), np.eye(4), 0.1), 6)  # 16 pixels of one SD each
    4.0
    """
    cholesky = np.linalg.cholesky(matrix @ matrix.T)
    degraded = matrix @ signal @ matrix.T
    whitened = np.linalg.solve(cholesky, np.linalg.solve(cholesky, degraded).T)
    return float(np.linalg.norm(whitened) / noise_sd)


def insert_lesions(
    hr: Images,
    matrix: Floats,
    noise_sd: float,
    sizes_px: Sequence[float],
    levels: Sequence[float],
    rng: np.random.Generator,
) -> list[Lesion]:
    """Choose a place per size in every image ``(N, H, W)`` and the contrasts that give ``levels``.

    An image without a `possible` place gets no lesion of that size.
    """
    side = hr.shape[-1]
    edge = round(MARGIN * side)
    lesions = []
    for image, pixels in enumerate(hr):
        for sd_px in sizes_px:
            where = possible(pixels, sd_px)
            for _ in range(200):
                row, column = (int(v) for v in rng.integers(edge, side - edge, 2))
                if where[row, column]:
                    unit = Lesion(image, row, column, sd_px, 1.0, 0.0)
                    d_prime = detectability(unit.template(side), matrix, noise_sd)
                    lesions += [
                        replace(unit, contrast=level / d_prime, detectability=level)
                        for level in levels
                    ]
                    break
    return lesions


def with_lesion(hr: Images, lesion: Lesion) -> Images:
    """Return the lesion's image ``(H, W)`` with the lesion in it; ``hr`` is the whole stack."""
    image = hr[lesion.image].astype(np.float64)
    return np.clip(image + lesion.contrast * lesion.template(len(image)), 0, 1).astype(np.float32)


def contrast_recovery(
    sr_with: Images, sr_without: Images, hr_with: Images, hr_without: Images, lesion: Lesion
) -> float:
    r"""Return which share of a lesion's contrast SR shows: 1 all of it, 0 nothing.

    .. math:: \langle w, S_+ - S_- \rangle / \langle w, H_+ - H_- \rangle

    with w the lesion's template, S and H the twins ``(H, W)`` of super-resolution (from the same
    sampling noise) and of the true image.
    """
    in_sr = np.subtract(*as_pair(sr_with, sr_without))
    in_hr = np.subtract(*as_pair(hr_with, hr_without))
    w = lesion.template(in_sr.shape[-1])
    return float((w * in_sr).sum() / (w * in_hr).sum())


def possible(image: Images, sd_px: float) -> NDArray[np.bool_]:
    """Return where in an image ``(H, W)`` a lesion of this size may lie: inside the body.

    The mean over three SD around it is neither dark nor bright, and no pixel there is at the limit.
    """
    from scipy import ndimage

    pixels, side = image.astype(np.float64), len(image)
    window, edge = 2 * reach_px(sd_px) + 1, round(MARGIN * side)
    mean = ndimage.uniform_filter(pixels, window)
    inside = np.zeros(pixels.shape, bool)
    inside[edge : side - edge, edge : side - edge] = True
    dark_enough = ndimage.maximum_filter(pixels, window) < BRIGHT
    return np.asarray(inside & (GREY[0] < mean) & (mean < GREY[1]) & dark_enough)
