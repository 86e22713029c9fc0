"""Images by spatial frequency: wavelet bands, on any device, and radial power spectra."""

from __future__ import annotations

import numpy as np
import pywt
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from latentsr.metrics.image import Floats

MODES = ("symmetric", "periodization")


def band_names(levels: int = 3) -> list[str]:
    """Return the subbands' names, coarsest first, in pywt's order (cA; cH, cV, cD of each level).

    Level 1 is the finest. LH (pywt's cH) is low-pass along rows and high-pass along columns, that
    is horizontal edges; HL (cV) vertical edges; HH (cD) diagonals.

    >>> band_names(2)
    ['LL2', 'LH2', 'HL2', 'HH2', 'LH1', 'HL1', 'HH1']
    """
    details = [f"{kind}{lev}" for lev in range(levels, 0, -1) for kind in ("LH", "HL", "HH")]
    return [f"LL{levels}", *details]


def _split(x: Tensor, axis: int, filters: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Filter one axis with (low, high) and keep every other sample, as pywt's dwt does."""
    x = x.movedim(axis, -1)
    length, taps = x.shape[-1], filters.shape[-1]
    if mode == "periodization":
        if length % 2:
            x, length = torch.cat([x, x[..., -1:]], -1), length + 1
        places = np.arange(taps // 2 - taps + 1, length + taps // 2 - 1) % length
    else:
        places = np.pad(np.arange(length), taps - 1, mode="symmetric")[1:]
    padded = x[..., torch.from_numpy(places).to(x.device)]
    both = padded.unfold(-1, taps, 2) @ filters.T  # (..., n, 2)
    return both[..., 0].movedim(-1, axis), both[..., 1].movedim(-1, axis)


def decompose(
    images: Tensor, wavelet: str = "haar", levels: int = 3, mode: str = "symmetric"
) -> dict[str, Tensor]:
    """Decompose ``(..., H, W)`` into its bands, named as in `band_names`.

    The coefficients of ``pywt.wavedec2``, of the dtype and on the device of ``images``.
    "periodization" of an orthogonal wavelet keeps sums of squares where the sides are divisible
    by ``2**levels``. ValueError for no levels, sides shorter than ``2**levels``, or an unknown
    wavelet or mode.

    >>> bands = decompose(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), levels=1)
    >>> {name: round(float(band[0, 0]), 6) for name, band in bands.items()}
    {'LL1': 1.0, 'LH1': 1.0, 'HL1': 0.0, 'HH1': 0.0}
    """
    if mode not in MODES:
        raise ValueError(f"mode: {mode!r}; allowed are {', '.join(MODES)}")
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"wavelet: {wavelet!r}; a discrete one of PyWavelets is needed, as haar")
    if levels < 1:
        raise ValueError(f"levels: {levels}; at least 1 is needed")
    if (side := min(images.shape[-2:])) < 2**levels:
        need = f"{levels} wavelet levels need at least {2**levels} px; lower levels"
        raise ValueError(f"image side: {side} px, but {need}")
    bank = np.array(pywt.Wavelet(wavelet).filter_bank[:2])[:, ::-1].copy()
    filters = torch.from_numpy(bank).to(images)  # (2, taps): correlation, so reversed
    details: list[Tensor] = []
    coarse = images
    for _ in range(levels):
        low, high = _split(coarse, -2, filters, mode)  # along columns of pixels
        coarse, vertical = _split(low, -1, filters, mode)
        horizontal, diagonal = _split(high, -1, filters, mode)
        details = [horizontal, vertical, diagonal, *details]
    return dict(zip(band_names(levels), [coarse, *details], strict=True))


def _energy(x: Tensor) -> Tensor:
    return x.square().sum((-2, -1))


def compare_bands(
    images: Tensor, reference: Tensor, wavelet: str = "haar", levels: int = 3
) -> dict[str, dict[str, Tensor]]:
    r"""Compare images with their reference band by band; ``(N, H, W)`` in, ``(N,)`` out each.

    With A and B the band of image and reference, summed over its coefficients:

    - ``psnr_db``: :math:`10 \log_{10}(\max|B|^2 / \overline{(A - B)^2})`, the peak that of the
      reference's own band, image by image (the paper's measure); inf where they are equal, nan
      where B is zero throughout;
    - ``psnr_set_peak_db``: the same with one peak for all images, the largest \|B\| of the set,
      so that a dull image does not count as hard;
    - ``energy_ratio``: :math:`\sum A^2 / \sum B^2`, below 1 where detail is missing;
    - ``coherence``: :math:`\sum A B / \sqrt{\sum A^2 \sum B^2}`, 1 where the detail is the
      right one, whatever its strength. A band PSNR alone rewards shrinking what is uncertain.

    >>> image = torch.eye(8)[None].double()
    >>> band = compare_bands(0.9 * image, image, levels=1)["HH1"]
    >>> [round(float(band[key]), 3) for key in ("psnr_db", "energy_ratio", "coherence")]
    [26.021, 0.81, 1.0]
    """
    if images.shape != reference.shape:
        raise ValueError(f"images {tuple(images.shape)}, reference {tuple(reference.shape)}")
    of_images = decompose(images.double(), wavelet, levels)
    scores = {}
    for name, b in decompose(reference.double(), wavelet, levels).items():
        a = of_images[name]
        mse = (a - b).square().mean((-2, -1))
        peak = b.abs().amax((-2, -1))
        scores[name] = {
            "psnr_db": torch.where(peak > 0, 10 * torch.log10(peak**2 / mse), torch.nan),
            "psnr_set_peak_db": 10 * torch.log10(peak.max() ** 2 / mse),
            "energy_ratio": _energy(a) / _energy(b),
            "coherence": (a * b).sum((-2, -1)) / torch.sqrt(_energy(a) * _energy(b)),
        }
    return scores


def band_squared_errors(
    images: Tensor, reference: Tensor, wavelet: str = "haar", levels: int = 3
) -> dict[str, Tensor]:
    """Split each image's summed squared error into bands that add up to it, ``(N,)`` each.

    By Parseval's theorem, which asks for an orthogonal wavelet, periodization and sides divisible
    by ``2**levels``; ValueError where one is not given.

    >>> error = torch.rand(2, 16, 24, generator=torch.Generator().manual_seed(0)).double()
    >>> parts = band_squared_errors(error, torch.zeros_like(error), "db4", 2)
    >>> bool(torch.allclose(sum(parts.values()), error.square().sum((1, 2))))
    True
    """
    if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
        raise ValueError(f"wavelet: {wavelet!r}; shares of the error need an orthogonal one")
    if any(side % 2**levels for side in images.shape[-2:]):
        sides = " x ".join(map(str, images.shape[-2:]))
        raise ValueError(f"sides: {sides}; divisible by {2**levels} is needed for {levels} levels")
    bands = decompose(images.double() - reference.double(), wavelet, levels, "periodization")
    return {name: _energy(band) for name, band in bands.items()}


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
