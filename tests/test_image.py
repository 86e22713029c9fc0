"""Image and latent metrics against scikit-image, SciPy, torchmetrics and hand-worked numbers."""

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from latentsr.degrade import degrade
from latentsr.metrics.image import (
    METRICS,
    WANG_WEIGHTS,
    compare_latents,
    error_parts,
    gmsd,
    ms_ssim,
    ms_ssim_setting,
    ms_ssim_weights,
    psnr_db,
    score_images,
)


def pair(rng, height, width, noise=0.1, n=3):
    smooth = np.cumsum(np.cumsum(rng.normal(size=(n, height, width)), axis=1), axis=2)
    low, high = smooth.min(axis=(1, 2), keepdims=True), smooth.max(axis=(1, 2), keepdims=True)
    reference = (smooth - low) / (high - low)
    return np.clip(reference + noise * rng.normal(size=reference.shape), 0, 1), reference


def by_torchmetrics(image, reference, weights, kernel_size, sigma):
    a, b = (torch.from_numpy(x)[:, None] for x in (image, reference))
    return multiscale_structural_similarity_index_measure(
        a,
        b,
        kernel_size=kernel_size,
        sigma=sigma,
        data_range=1.0,
        betas=tuple(float(w) for w in weights),
        reduction="none",
    ).numpy()


@pytest.mark.parametrize("data_range", [1.0, 2.0])
def test_psnr_equals_skimage_image_by_image(rng, data_range):
    image, reference = pair(rng, 37, 31)
    expected = [
        peak_signal_noise_ratio(b, a, data_range=data_range)
        for a, b in zip(image, reference, strict=True)
    ]
    np.testing.assert_allclose(psnr_db(image, reference, data_range), expected, rtol=1e-12)


def test_psnr_keeps_leading_axes_and_identical_images_are_infinite(rng):
    image, reference = pair(rng, 8, 9, n=6)
    image[4] = reference[4]
    scores = psnr_db(image.reshape(2, 3, 8, 9), reference.reshape(2, 3, 8, 9))
    assert scores.shape == (2, 3) and scores.dtype == np.float64
    assert np.isinf(scores[1, 1]) and np.isfinite(scores).sum() == 5
    half = np.full((64, 64), 0.5, np.float16)  # computed in float64
    assert psnr_db(half, np.full((64, 64), 0.4)) == pytest.approx(20.0, abs=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "scales", "window_px", "sigma_px"),
    [(176, 176, 5, 11, 1.5), (183, 201, 5, 11, 1.5), (64, 64, 3, 7, 0.9), (37, 31, 3, 7, 0.9)],
)
def test_ms_ssim_equals_torchmetrics(rng, height, width, scales, window_px, sigma_px):
    """torchmetrics takes a 7 x 7 Gaussian window only for sigmas from 0.72 to 0.99."""
    image, reference = pair(rng, height, width)
    weights = ms_ssim_weights(scales)
    expected = by_torchmetrics(image, reference, weights, window_px, sigma_px)
    assert ms_ssim_setting(min(height, width)) == (scales, window_px)
    np.testing.assert_allclose(ms_ssim(image, reference, sigma_px=sigma_px), expected, rtol=1e-6)


def test_single_scale_one_pixel_window_by_hand():
    # A 1x1 window has no variance: SSIM = (2ab + c1) / (a^2 + b^2 + c1), c1 = 1e-4
    got = ms_ssim(np.full((2, 2), 0.5), np.full((2, 2), 0.25), scales=1, window_px=1)
    assert got == pytest.approx((0.25 + 1e-4) / (0.3125 + 1e-4), rel=1e-12)


def test_ms_ssim_is_symmetric_falls_with_noise_and_ignores_batching(rng):
    image, reference = pair(rng, 61, 53)
    scores = ms_ssim(image, reference)
    np.testing.assert_allclose(scores, ms_ssim(reference, image), rtol=1e-12)
    np.testing.assert_allclose(scores[1], ms_ssim(image[1], reference[1]), rtol=1e-12)
    noisier = reference + 2 * (image - reference)
    assert np.all(ms_ssim(noisier, reference) < scores) and np.all(scores < 1)


def test_negative_structure_counts_as_zero():
    stripes = np.indices((64, 64)).sum(axis=0) % 2.0
    assert ms_ssim(stripes, 1 - stripes) == 0


def test_settings_and_weights():
    assert [ms_ssim_setting(side) for side in (64, 128, 175, 176)] == [(3, 7)] * 3 + [(5, 11)]
    assert ms_ssim_weights(3).sum() == pytest.approx(1, abs=1e-15)
    assert ms_ssim_weights(3)[1] == pytest.approx(0.2856 / 0.6305)
    assert tuple(ms_ssim_weights(5)) == WANG_WEIGHTS


@pytest.mark.parametrize(
    "shape, options, message",
    [
        ((27, 64), {}, r"27 px, but 3 scales with a 7 px window need at least 28 px"),
        ((128, 128), {"scales": 5, "window_px": 11}, "need at least 176 px"),
        ((64, 64), {"window_px": 8}, "window_px: 8"),
        ((64, 64), {"scales": 6}, "scales: 6, but 1 to 5"),
    ],
)
def test_ms_ssim_refuses_in_one_line(shape, options, message):
    with pytest.raises(ValueError, match=message):
        ms_ssim(np.zeros(shape), np.zeros(shape), **options)
    with pytest.raises(ValueError, match="pair them by image id"):
        ms_ssim(np.zeros((3, *shape)), np.zeros((1, *shape)))


def by_torch(image, reference):
    """GMSD once more, step by step as the authors' Matlab code, with torch convolutions.

    A copy of it: github.com/vision4robotics/MKCT-tracker, implementation/GMSD_factor.m.
    """
    conv = torch.nn.functional.conv2d
    prewitt = torch.tensor([[1.0, 0, -1]] * 3, dtype=torch.float64) / 3
    maps = []
    for x in (image, reference):
        x = torch.from_numpy(x * 255)[:, None]
        padded = torch.nn.functional.pad(x, (0, 1, 0, 1))  # "same" with an even kernel
        half = conv(padded, torch.full((1, 1, 2, 2), 0.25, dtype=torch.float64))[..., ::2, ::2]
        across = conv(half, prewitt[None, None], padding=1)
        down = conv(half, prewitt.T[None, None], padding=1)
        maps.append((across**2 + down**2).sqrt())
    quality = (2 * maps[0] * maps[1] + 170) / (maps[0] ** 2 + maps[1] ** 2 + 170)
    return quality.flatten(1).std(1).numpy()


@pytest.mark.parametrize("height, width", [(64, 64), (37, 31)])
def test_gmsd_equals_another_implementation(rng, height, width):
    image, reference = pair(rng, height, width)
    np.testing.assert_allclose(gmsd(image, reference), by_torch(image, reference), rtol=1e-9)


def test_the_parts_of_an_error_add_up():
    rng = np.random.default_rng(3)
    image, own, reference = rng.random((3, 4, 7, 5))
    parts = error_parts(image, own, reference)
    whole = ((image - reference) ** 2).mean((1, 2))
    assert np.allclose(sum(parts.values()), whole, rtol=1e-12, atol=0)
    perfect = error_parts(own, own, reference)
    assert not perfect["mse_latent"].any() and not perfect["mse_cross"].any()


def test_every_metric_that_applies_is_scored_against_its_own_reference(rng):
    image, reference, other = (x.astype(np.float32) for x in rng.random((3, 2, 32, 32)))
    test = {"hr": reference, "lr": degrade(reference, 8, "gaussian")}
    scores = score_images(image, test, other, "gaussian")
    assert list(scores) == [
        *(name for name in METRICS if name != "psnr_noise_free_db"),
        *("mse_decode", "mse_latent", "mse_cross"),
    ]
    small = degrade(image, 8, "gaussian")
    expected = {
        "psnr_db": psnr_db(image, reference),
        "psnr_own_decode_db": psnr_db(image, other),
        "lr_consistency_db": psnr_db(small, test["lr"]),
        "ms_ssim": ms_ssim(image, reference),
        "mse_cross": error_parts(image, other, reference)["mse_cross"],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(scores[name], values)
    twin = score_images(image, test | {"noise_free": other}, other)["psnr_noise_free_db"]
    np.testing.assert_array_equal(twin, psnr_db(image, other))


@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 1, 4, 12)])
def test_latents_are_compared_as_by_other_implementations(rng, pool, shape):
    z = rng.normal(1, 2, shape)
    made = z + rng.normal(0, 0.5, shape)
    scores = compare_latents(made.astype(np.float32), z, pool)
    small = [block_reduce(side, (1, 1, pool, pool), np.mean) for side in (made, z)]
    span = np.ptp(small[1])
    for image, (a, b) in enumerate(zip(*small, strict=True)):
        columns = zip(a.reshape(len(a), -1).T, b.reshape(len(b), -1).T, strict=True)
        expected = {
            "psnr_db": peak_signal_noise_ratio(b, a, data_range=span),
            "cosine": 1 - distance.cosine(a.ravel(), b.ravel()),
            "cosine_by_place": np.mean(
                [u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in columns]
            ),
        }
        got = {name: values[image] for name, values in scores.items()}
        assert got == pytest.approx(expected, rel=1e-5)


def test_equal_opposite_and_empty_latents(rng):
    z = rng.normal(size=(2, 3, 4, 4))
    same = compare_latents(z, z)
    assert np.isinf(same["psnr_db"]).all()
    assert same["cosine"] == pytest.approx(1) == same["cosine_by_place"]
    assert compare_latents(-z, z)["cosine"] == pytest.approx(-1)
    assert compare_latents(np.zeros_like(z), z)["cosine"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="4 does not divide both sides"):
        compare_latents(np.zeros((1, 1, 6, 6)), np.zeros((1, 1, 6, 6)), 4)
