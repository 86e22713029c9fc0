"""Where in the frequency plane two images differ: wavelet-subband PSNR and radial power spectra."""

from __future__ import annotations

import numpy as np
import pywt
from numpy.typing import ArrayLike

from latentsr.metrics import Floats, as_pair


def band_names(levels: int = 3) -> list[str]:
    """Return the subbands' names, coarsest first, in pywt's order (cA; cH, cV, cD of each level).

    Level 1 is the finest. LH (pywt's cH) is low-pass along rows and high-pass along columns, that
    is horizontal edges; HL (cV) vertical edges; HH (cD) diagonals.

    >>> band_names(2)
    ['LL2', 'LH2', 'HL2', 'HH2', 'LH1', 'HL1', 'HH1']
    """
    details = [f"{kind}{lev}" for lev in range(levels, 0, -1) for kind in ("LH", "HL", "HH")]
    return [f"LL{levels}", *details]


def subbands(image: ArrayLike, wavelet: str = "haar", levels: int = 3) -> dict[str, Floats]:
    """Decompose ``(..., H, W)`` into its named wavelet subbands (pywt, symmetric borders).

    >>> bands = subbands([[1.0, 1.0], [0.0, 0.0]], levels=1)
    >>> {name: float(band[0, 0].round(6)) for name, band in bands.items()}
    {'LL1': 1.0, 'LH1': 1.0, 'HL1': 0.0, 'HH1': 0.0}
    """
    array = np.asarray(image, np.float64)
    if min(array.shape[-2:]) < 2**levels:
        raise ValueError(
            f"image side: {min(array.shape[-2:])} px, but {levels} wavelet levels need at least"
            f" {2**levels} px; lower levels"
        )
    coarse, *details = pywt.wavedec2(array, wavelet, mode="symmetric", level=levels, axes=(-2, -1))
    arrays = [coarse, *(band for level in details for band in level)]
    return dict(zip(band_names(levels), arrays, strict=True))


def subband_psnr_db(
    image: ArrayLike, reference: ArrayLike, wavelet: str = "haar", levels: int = 3
) -> dict[str, Floats]:
    r"""PSNR of each wavelet subband of each image.

    .. math:: 10 \log_{10}\left(\max|B|^2 / \mathrm{mean}((A - B)^2)\right)

    with A and B the subband of the image and of the reference, both ``(..., H, W)``; ``(...)`` dB
    for each of `band_names`. The peak is the reference band's own, image by image: compare arms
    within a band, not bands. inf where the bands are identical, nan where B is all zero.

    >>> bands = subband_psnr_db(np.eye(8) * 0.9, np.eye(8), levels=1)
    >>> round(float(bands["HH1"]), 3)  # peak 1, errors 0.1 in 4 of 16 coefficients
    26.021
    """
    a, b = as_pair(image, reference)
    bands_a, bands_b = subbands(a, wavelet, levels), subbands(b, wavelet, levels)
    scores = {}
    for name, true in bands_b.items():
        peak = np.abs(true).max(axis=(-2, -1))
        mse = np.mean((bands_a[name] - true) ** 2, axis=(-2, -1))
        with np.errstate(divide="ignore", invalid="ignore"):
            scores[name] = np.where(peak > 0, 10 * np.log10(peak**2 / mse), np.nan)
    return scores


def radial_spectrum(image: ArrayLike) -> tuple[Floats, Floats]:
    r"""Mean power on rings of equal spatial frequency.

    .. math:: P(k) = \mathrm{mean}_{|f| \in \mathrm{ring}\,k}
              \left|\mathrm{DFT}[w (x - \bar x)]\right|^2 / \sum w^2

    with w the (periodic) Hann window and x ``(..., H, W)``. Ring k holds the frequencies nearest to
    k/N cycles per pixel, N the shorter side, k = 1 to N/2: the mean and the corners are left out.
    White noise of variance s^2 has P = s^2 on every ring. Returns cycles per pixel ``(K,)`` and
    power ``(..., K)`` in squared units of the image.

    >>> wave = np.cos(2 * np.pi * 8 * np.arange(32) / 32) * np.ones((32, 1))
    >>> frequency, power = radial_spectrum(wave)
    >>> float(frequency[power.argmax()])
    0.25
    """
    array = np.asarray(image, np.float64)
    height, width = array.shape[-2:]
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in (height, width)))
    centred = array - array.mean(axis=(-2, -1), keepdims=True)
    power = np.abs(np.fft.fft2(centred * window)) ** 2 / np.sum(window**2)  # (..., H, W)
    side = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.floor(radius * side + 0.5).astype(int)  # (H, W)
    rings = np.arange(1, side // 2 + 1)
    means = [power[..., ring == k].mean(axis=-1) for k in rings]
    return rings / side, np.stack(means, axis=-1)
