"""Patch PCA and regression from LR against scikit-learn and the formulas they rest on."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from latentsr.stats import patch_pca
from latentsr.stats.patch_pca import PatchPCA


def smooth(rng, count=30, side=32):
    """Images in [0, 1] with most of their power in low frequencies."""
    spectrum = np.fft.rfft2(rng.normal(size=(count, side, side)))
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    images = np.fft.irfft2(spectrum / (0.02 + radius) ** 1.5, (side, side))
    return (0.5 + 0.12 * images / images.std()).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("components", [1, 3, 15, 16])
def test_the_error_is_the_sum_of_the_variances_dropped(rng, components):
    """Pearson 1901, on the patches that the components were fitted on."""
    images = list(smooth(rng))
    training = patch_pca.draw_patches(images, 4, 900, np.random.default_rng(1))
    [vae] = patch_pca.fit_family(images, [(4, components)], np.random.default_rng(1), 900)
    back = (training - vae.mean) @ vae.basis.T @ vae.basis + vae.mean
    variances = np.linalg.eigvalsh(np.cov(training.T, bias=True))[::-1]
    error = ((back - training) ** 2).sum(1).mean()
    assert error == pytest.approx(variances[components:].sum(), abs=1e-12)


def test_the_family_nests_and_draws_once_a_side(rng):
    images = list(smooth(rng, 5))
    vaes = list(patch_pca.fit_family(images, [(4, 3), (8, 5), (4, 6)], rng, 500))
    assert [(vae.side, len(vae.basis)) for vae in vaes] == [(4, 3), (8, 5), (4, 6)]
    np.testing.assert_array_equal(vaes[2].basis[:3], vaes[0].basis)
    for vae in vaes:
        np.testing.assert_allclose(vae.basis @ vae.basis.T, np.eye(len(vae.basis)), atol=1e-12)


def test_all_components_give_the_images_back_in_their_places(rng):
    images = rng.random((2, 8, 12))
    cut = patch_pca.patches(images, 4)
    assert cut.shape == (2, 2, 3, 16)
    np.testing.assert_array_equal(cut[1, 1, 2].reshape(4, 4), images[1, 4:, 8:])
    vae = PatchPCA(np.full(16, 0.3), np.linalg.qr(rng.normal(size=(16, 16)))[0])
    np.testing.assert_allclose(vae.decode(vae.encode(images)), images, atol=1e-12)
    assert vae.decode(9 * vae.encode(images)).max() == 1
    with pytest.raises(ValueError, match="patches of 8 do not tile"):
        patch_pca.patches(images, 8)


def test_a_window_holds_the_pixels_around_its_place(rng):
    lr = rng.random((2, 6, 6))
    cut = patch_pca.windows(lr, 3, 1).reshape(2, 3, 3, 4, 4)
    np.testing.assert_array_equal(cut[1, 1, 1], lr[1, 1:5, 1:5])
    np.testing.assert_array_equal(cut[0, 0, 0], np.pad(lr[0], 1, "edge")[:4, :4])
    with pytest.raises(ValueError, match="4 places a side do not divide"):
        patch_pca.windows(lr, 4)


def test_latents_are_predicted_by_the_normal_equations_of_ridge(rng):
    lr, latents = rng.random((20, 8, 8)), rng.normal(size=(20, 4, 4, 3))
    x, y = patch_pca.windows(lr, 4), latents.reshape(-1, 3)
    a, b = x - x.mean(0), y - y.mean(0)
    penalty = 1e-4 * np.trace(a.T @ a) / a.shape[1]
    weights = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b)
    expected = (y.mean(0) + a @ weights).reshape(latents.shape)
    predicted = patch_pca.predict_latents(latents, lr, lr)
    np.testing.assert_allclose(predicted, expected, atol=1e-9)
    theirs = Ridge(penalty).fit(x, y).predict(x)
    np.testing.assert_allclose(predicted.reshape(-1, 3), theirs, atol=1e-8)
    r2 = patch_pca.explained_variance(predicted, latents)
    assert r2 == pytest.approx(r2_score(y, predicted.reshape(-1, 3)))


def test_predictability_of_what_lr_tells_and_of_noise(rng):
    lr = smooth(rng, 40, 8)
    is_training = np.arange(40) < 30
    linear = np.stack([lr, 1 - 2 * lr], 1)  # (N, 2, 8, 8)
    noise = rng.normal(size=linear.shape)
    assert patch_pca.predictability(linear, lr, is_training) > 0.99
    assert patch_pca.predictability(noise, lr, is_training) < 0.05
    both = np.stack([lr, noise[:, 0]], 1)
    assert patch_pca.predictability(both, lr, is_training) == pytest.approx(0.5, abs=0.03)
    fine = np.kron(linear, np.ones((2, 2)))  # a latent finer than the LR image
    assert patch_pca.predictability(fine, lr, is_training) > 0.99


def test_at_most_so_many_training_images_are_taken_evenly():
    rows = patch_pca.subsample(np.arange(200) >= 100, 3)
    assert rows.tolist() == [100, 150, 199]
    assert patch_pca.subsample(np.arange(5) < 3).tolist() == [0, 1, 2]
