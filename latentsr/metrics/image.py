"""Scores against a reference, one float64 number per image, and the table that lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d

from latentsr.degrade import degrade

Floats = NDArray[np.float64]

# Wang, Simoncelli & Bovik 2003: the exponents of the five scales, finest first.
WANG_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def as_pair(image: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    """Return both as float64 ``(..., H, W)``; refuse arrays of different shapes."""
    a, b = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    if a.shape != b.shape or a.ndim < 2:
        shapes = f"image {a.shape} and reference {b.shape}"
        raise ValueError(f"{shapes}: give (..., H, W) of one shape; pair them by image id first")
    return a, b


def psnr_db(image: ArrayLike, reference: ArrayLike, data_range: float = 1.0) -> Floats:
    r"""Peak signal-to-noise ratio of each image.

    .. math:: \mathrm{PSNR} = 10 \log_{10}(R^2 / \mathrm{MSE})

    with R the `data_range` and the MSE over each image's own pixels: ``(..., H, W)`` in, ``(...)``
    out, dB; inf where both are identical. The mean over images is not the PSNR of a batch.

    >>> float(psnr_db(np.full((2, 2), 0.1), np.zeros((2, 2))).round(6))
    20.0
    """
    a, b = as_pair(image, reference)
    mse = np.mean((a - b) ** 2, axis=(-2, -1))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(data_range**2 / mse))


def error_parts(
    image: ArrayLike, reconstruction: ArrayLike, reference: ArrayLike
) -> dict[str, Floats]:
    r"""Split each image's mean squared error at the autoencoder's reconstruction.

    .. math:: \overline{(s - r)^2} = \overline{(d - r)^2} + \overline{(s - d)^2}
              + 2\,\overline{(d - r)(s - d)}

    with s the image, d the reconstruction (decode(encode(HR))) and r the reference: what the
    autoencoder loses, what the diffusion model's latent adds, and the cross term.
    ``(..., H, W)`` in, ``(...)`` out.

    >>> s, d, r = np.full((2, 2), 0.5), np.full((2, 2), 0.4), np.full((2, 2), 0.1)
    >>> {name: round(float(part), 3) for name, part in error_parts(s, d, r).items()}
    {'mse_decode': 0.09, 'mse_latent': 0.01, 'mse_cross': 0.06}
    """
    s, r = as_pair(image, reference)
    d, _ = as_pair(reconstruction, reference)
    lost, added = d - r, s - d
    parts = {"decode": lost**2, "latent": added**2, "cross": 2 * lost * added}
    return {f"mse_{name}": np.mean(part, axis=(-2, -1)) for name, part in parts.items()}


def ms_ssim_setting(side_px: int) -> tuple[int, int]:
    """Return (scales, window_px) for the shorter side: 5 and 11 from 176 px on, else 3 and 7."""
    return (5, 11) if side_px >= 176 else (3, 7)


def ms_ssim_weights(scales: int) -> Floats:
    """Return Wang's five exponents as printed, or for fewer scales the first ones, made to sum to 1.

    >>> ms_ssim_weights(3).round(4).tolist()
    [0.0711, 0.453, 0.476]
    """
    if not 1 <= scales <= len(WANG_WEIGHTS):
        raise ValueError(f"scales: {scales}, but 1 to {len(WANG_WEIGHTS)} are allowed")
    weights = np.array(WANG_WEIGHTS[:scales])
    return weights if scales == len(WANG_WEIGHTS) else weights / weights.sum()


def _halved(x: Floats) -> Floats:
    """Average 2 x 2 blocks of pixels; an odd last row or column is dropped."""
    height, width = x.shape[-2] // 2, x.shape[-1] // 2
    even = x[..., : 2 * height, : 2 * width]
    return np.asarray(even.reshape(*x.shape[:-2], height, 2, width, 2).mean(axis=(-3, -1)))


def _structure(a: Floats, b: Floats, window_px: int, sigma_px: float, data_range: float) -> Floats:
    """Return the mean contrast-structure term and the mean SSIM, stacked ``(2, ...)``."""
    half = window_px // 2
    taps = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma_px**2))
    taps /= taps.sum()

    def blur(x: Floats) -> Floats:
        rows = correlate1d(x, taps, axis=-2, mode="mirror")
        return np.asarray(correlate1d(rows, taps, axis=-1, mode="mirror"))

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a = np.maximum(blur(a * a) - mean_a**2, 0)
    var_b = np.maximum(blur(b * b) - mean_b**2, 0)
    contrast = (2 * (blur(a * b) - mean_a * mean_b) + c2) / (var_a + var_b + c2)
    ssim = contrast * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    height, width = a.shape[-2:]
    inside = contrast[..., half : height - half, half : width - half]
    return np.stack([inside.mean(axis=(-2, -1)), ssim.mean(axis=(-2, -1))])


def ms_ssim(
    image: ArrayLike,
    reference: ArrayLike,
    scales: int | None = None,
    window_px: int | None = None,
    *,
    sigma_px: float = 1.5,
    data_range: float = 1.0,
) -> Floats:
    r"""Multi-scale structural similarity of each image, with a Gaussian window.

    .. math:: \prod_{j<M} c_j^{w_j} \cdot s_M^{w_M}

    with :math:`c_j` the mean contrast-structure term at scale j and :math:`s_M` the mean SSIM at the
    coarsest (negative means count as 0), w the `ms_ssim_weights`, K1 = 0.01 and K2 = 0.03. The next
    scale averages 2x2 blocks (an odd last row or column is dropped). ``(..., H, W)`` in units of
    `data_range` in, ``(...)`` out, 0 to 1. ``scales`` and the window's odd side ``window_px`` are by
    default `ms_ssim_setting` of the image; ``sigma_px`` is the window's SD.

    Equals torchmetrics 1.9, whose window has the size that its sigma implies (11 for 1.5): contrast
    terms over whole windows only, the coarsest SSIM over all pixels with mirrored borders.

    >>> ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    >>> float(ms_ssim(ramp, ramp).round(12)), bool(ms_ssim(ramp, ramp / 2) < 1)
    (1.0, True)
    """
    a, b = as_pair(image, reference)
    side = min(a.shape[-2:])
    own_scales, own_window_px = ms_ssim_setting(side)
    scales = own_scales if scales is None else scales
    window_px = own_window_px if window_px is None else window_px
    weights = ms_ssim_weights(scales)
    if window_px < 1 or window_px % 2 == 0:
        raise ValueError(f"window_px: {window_px}, but it must be odd and positive")
    if side // 2 ** (scales - 1) < window_px:
        need = f"{scales} scales with a {window_px} px window need at least"
        need_px = window_px * 2 ** (scales - 1)
        raise ValueError(f"image side: {side} px, but {need} {need_px} px; choose fewer or smaller")
    score = np.ones(a.shape[:-2])
    for scale, weight in enumerate(weights):
        terms = _structure(a, b, window_px, sigma_px, data_range)
        score = score * np.maximum(terms[int(scale == scales - 1)], 0) ** weight
        a, b = _halved(a), _halved(b)
    return score


def gmsd(image: ArrayLike, reference: ArrayLike) -> Floats:
    r"""Gradient magnitude similarity deviation: a perceptual index without learnt weights.

    .. math:: \mathrm{SD}\left[\frac{2 g_a g_b + c}{g_a^2 + g_b^2 + c}\right]

    with g the magnitude of the Prewitt gradient of the image after averaging 2 x 2 pixels and
    taking every second, and c = 170 / 255^2 (Xue, Zhang, Mou & Bovik, IEEE TIP 23, 2014).
    ``(..., H, W)`` in [0, 1]; the result is ``(...)``, 0 for identical images, and grows with what
    the eye calls distortion.

    >>> ramp = np.linspace(0, 1, 32 * 32).reshape(32, 32)
    >>> float(gmsd(ramp, ramp)), bool(gmsd(ramp, ramp**2) > 0)
    (0.0, True)
    """
    magnitudes = []
    for x in as_pair(image, reference):
        half = x
        for axis in (-2, -1):  # the mean of a pixel and the next; beyond the image is 0
            half = correlate1d(half, np.full(2, 0.5), axis=axis, mode="constant", origin=-1)
        half = half[..., ::2, ::2]
        gradients = []
        for along, across in ((-2, -1), (-1, -2)):
            mean = correlate1d(half, np.full(3, 1 / 3), axis=along, mode="constant")
            gradients.append(correlate1d(mean, [1.0, 0, -1], axis=across, mode="constant"))
        magnitudes.append(np.hypot(*gradients))
    g_a, g_b = magnitudes
    c = 170 / 255**2
    similarity = (2 * g_a * g_b + c) / (g_a**2 + g_b**2 + c)
    return np.asarray(similarity.std(axis=(-2, -1), ddof=1))


def compare_latents(latents: ArrayLike, reference: ArrayLike, pool: int = 1) -> dict[str, Floats]:
    r"""Compare latents ``(N, C, h, w)`` with those of the true images, one number per image.

    Both are averaged over ``pool`` x ``pool`` places first. Then ``psnr_db``,

    .. math:: \mathrm{PSNR} = 10 \log_{10}(R^2 / \mathrm{MSE})

    with the MSE over an image's whole latent and R the range of all reference latents at this
    scale; ``cosine`` of the angle between the two latents, over all of an image's values (0 where
    one is all 0); ``cosine_by_place``, over the channels of a place, averaged over places.

    >>> z = np.zeros((1, 2, 1, 1)); z[0, 0] = 1.0
    >>> {k: v.round(2).item() for k, v in compare_latents(z + 0.1, z).items()}
    {'psnr_db': 20.0, 'cosine': 1.0, 'cosine_by_place': 1.0}
    """
    a, b = as_pair(latents, reference)
    count, channels, height, width = a.shape
    if height % pool or width % pool:
        raise ValueError(f"latents of {height} x {width}: {pool} does not divide both sides")
    blocks = (count, channels, height // pool, pool, width // pool, pool)
    a, b = (z.reshape(blocks).mean(axis=(3, 5)) for z in (a, b))  # (N, C, h / pool, w / pool)

    def cosine(axis: int | tuple[int, ...]) -> Floats:
        norms = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
        return np.asarray((a * b).sum(axis) / np.where(norms > 0, norms, 1))

    with np.errstate(divide="ignore"):
        decibel = 10 * np.log10(np.ptp(b) ** 2 / ((a - b) ** 2).mean(axis=(1, 2, 3)))
    by_place = cosine(1).mean(axis=(1, 2))
    return {"psnr_db": decibel, "cosine": cosine((1, 2, 3)), "cosine_by_place": by_place}


@dataclass(frozen=True)
class Metric:
    """A score of SR images; it is measured wherever the array that it needs is available."""

    function: Callable[[Any, Any], Floats]  # of images and what they are compared with
    label: str  # with its unit
    against: str = "hr"  # "reconstruction", or an array of the test images


METRICS = {  # by column; a new row appears in scores, tables and the quality page
    "psnr_db": Metric(psnr_db, "PSNR, dB"),
    "psnr_own_decode_db": Metric(psnr_db, "PSNR against reconstruction, dB", "reconstruction"),
    "psnr_noise_free_db": Metric(psnr_db, "PSNR against the twin, dB", "noise_free"),
    "ms_ssim": Metric(ms_ssim, "MS-SSIM"),
    "gmsd": Metric(gmsd, "GMSD (0: equal)"),
    "lr_consistency_db": Metric(psnr_db, "LR consistency, dB", "lr"),
}
QUALITY = {name: m.label for name, m in METRICS.items() if m.against != "reconstruction"}


def score_images(
    images: NDArray[np.float32],
    test: Mapping[str, NDArray[Any]],
    reconstruction: NDArray[np.float32],
    operator: str = "bicubic",
) -> dict[str, Floats]:
    """Score super-resolved images ``(M, H, W)``: every metric that applies, then `error_parts`.

    ``test`` holds the test images' arrays: ``hr``, ``lr``, on phantoms ``noise_free`` too. Against
    a smaller image it is the SR image made small again by ``operator`` that counts.
    """
    references = {**test, "reconstruction": reconstruction}
    scores = {}
    for name, metric in METRICS.items():
        if metric.against in references:
            reference = references[metric.against]
            smaller = reference.shape[-1] < images.shape[-1]
            sized = degrade(images, reference.shape[-1], operator) if smaller else images
            scores[name] = metric.function(sized, reference)
    return scores | error_parts(images, reconstruction, test["hr"])
