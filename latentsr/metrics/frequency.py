"""Radial power spectra: how much power images have at each spatial frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from latentsr.metrics.image import Floats


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
