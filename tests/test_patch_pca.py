"""Patch PCA and ridge regression against scikit-learn and the formulas they rest on."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.metrics import r2_score

from latentsr.degrade import degrade
from latentsr.stats import lr_regression, patch_pca, predictors
from latentsr.stats.lr_regression import Ridge
from latentsr.stats.patch_pca import PatchPCA


def smooth(rng, count=30, side=32):
    """Images in [0, 1] with most of their power in low frequencies."""
    spectrum = np.fft.rfft2(rng.normal(size=(count, side, side)))
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    images = np.fft.irfft2(spectrum / (0.02 + radius) ** 1.5, (side, side))
    return (0.5 + 0.12 * images / images.std()).clip(0, 1).astype(np.float32)


def test_components_and_variances_equal_scikit_learn(rng):
    training = patch_pca.drawn(list(smooth(rng)), 4, 900, rng)
    ours, theirs = PatchPCA.fit(training, 5), PCA(16).fit(training)
    scale = (len(training) - 1) / len(training)  # theirs divides by n - 1
    np.testing.assert_allclose(ours.variances, theirs.explained_variance_ * scale, atol=1e-12)
    alike = np.abs(np.sum(ours.basis.T * theirs.components_[:5], axis=1))
    np.testing.assert_allclose(alike, 1, atol=1e-6)


@pytest.mark.parametrize("components", [1, 3, 15, 16])
def test_the_error_is_the_sum_of_the_variances_dropped(rng, components):
    images = smooth(rng)
    training = patch_pca.patches(images, 4).reshape(-1, 16)
    vae = PatchPCA.fit(training, 16).truncated(components)
    back = (training - vae.mean) @ vae.basis @ vae.basis.T + vae.mean
    error = ((back - training) ** 2).sum(1).mean()
    assert error == pytest.approx(vae.variances[components:].sum(), abs=1e-12)
    inside = images.clip(0.2, 0.8)
    unclipped = vae.decode(vae.encode(inside))
    assert unclipped.shape == images.shape and unclipped.min() >= 0
    if components == 16:
        np.testing.assert_allclose(unclipped, inside, atol=1e-12)


def test_patches_come_back_in_their_places(rng):
    images = rng.random((2, 8, 12))
    cut = patch_pca.patches(images, 4)
    assert cut.shape == (2, 2, 3, 16)
    np.testing.assert_array_equal(cut[1, 1, 2].reshape(4, 4), images[1, 4:, 8:])
    np.testing.assert_array_equal(patch_pca.joined(cut), images)
    with pytest.raises(ValueError, match="patches of 8 do not tile"):
        patch_pca.patches(images, 8)


@pytest.mark.parametrize("penalty", [0.0, 1e-4, 0.3])
def test_ridge_equals_scikit_learn_and_solves_its_normal_equations(rng, penalty):
    x, y = rng.normal(3, 2, (200, 7)), rng.normal(size=(200, 3))
    fitted = Ridge.fit(x, y, penalty)
    strength = penalty * len(x) * x.var(0).mean()
    theirs = SklearnRidge(alpha=strength).fit(x, y)
    np.testing.assert_allclose(fitted.predict(x), theirs.predict(x), atol=1e-8)
    a, b = x - x.mean(0), y - y.mean(0)
    gradient = a.T @ (a @ fitted.weights - b) + strength * fitted.weights
    np.testing.assert_allclose(gradient, 0, atol=1e-8)


def test_a_window_holds_the_pixels_around_its_place(rng):
    lr = rng.random((2, 6, 6))
    found = lr_regression.windows(lr, 3, 1).reshape(2, 3, 3, 4, 4)
    np.testing.assert_array_equal(found[1, 1, 1], lr[1, 1:5, 1:5])
    np.testing.assert_array_equal(found[0, 0, 0], np.pad(lr[0], 1, "edge")[:4, :4])
    with pytest.raises(ValueError, match="4 places a side do not divide"):
        lr_regression.windows(lr, 4)


def test_explained_equals_scikit_learn(rng):
    truth = rng.normal(size=(50, 3))
    guess = truth + rng.normal(size=(50, 3))
    wanted = r2_score(truth, guess, multioutput="raw_values")
    np.testing.assert_allclose(lr_regression.explained(guess, truth), wanted)


def test_predictability_of_what_lr_tells_and_of_noise(rng):
    lr = smooth(rng, 40, 8)
    is_training = np.arange(40) < 30
    told = np.stack([lr, 1 - 2 * lr], 1)  # (N, 2, 8, 8)
    noise = rng.normal(size=told.shape)
    assert lr_regression.predictability(told, lr, is_training) > 0.99
    assert lr_regression.predictability(noise, lr, is_training) < 0.05
    both = np.stack([lr, noise[:, 0]], 1)
    assert lr_regression.predictability(both, lr, is_training) == pytest.approx(0.5, abs=0.03)
    fine = np.kron(told, np.ones((2, 2)))  # a latent finer than the LR image
    assert lr_regression.predictability(fine, lr, is_training) > 0.99


@pytest.fixture
def prepared(rng):
    hr = smooth(rng, 50, 64)
    ids = np.arange(50).astype(str)
    split = np.where(np.arange(50) < 35, "train", "test")
    lr = degrade(hr, 16, "bicubic")
    return {"hr": hr, "lr": lr, "image_id": ids, "subject_id": ids, "split": split}


def test_super_resolution_reaches_what_ceiling_and_lr_allow(prepared, rng):
    ours = [*prepared["hr"][prepared["split"] == "train"]]
    vaes = {"ours": list(patch_pca.members(ours, rng, ((4, 1), (4, 6), (8, 24))))}
    table = patch_pca.score(prepared, vaes).set_index(["arm", "vae"])
    assert set(table["n_subjects"]) == {15}
    pixels, latent = table.loc["lr_pixels"], table.loc["lr_latent"]
    assert (pixels["psnr_db"] < pixels["ceiling_db"]).all() and (table["excess_mse"] > 0).all()
    assert (latent["psnr_db"] < pixels["psnr_db"]).all()  # an LR copy holds no more than LR
    assert (pixels["psnr_db"] < pixels["limit_db"] + 0.2).all()
    assert pixels.loc["ours f4c1", "predictability"] > pixels.loc["ours f4c6", "predictability"]
    assert pixels["ceiling_db"].is_monotonic_increasing
    assert pixels.loc["ours f4c6", "limit_db"] - pixels.loc["ours f4c6", "psnr_db"] < 0.3


def test_a_run_draws_from_both_sources(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(patch_pca, "FAMILY", ((4, 2),))
    monkeypatch.setattr(patch_pca, "FITTED_ON", 500)
    for key, array in prepared.items():
        (tmp_path / "data/knee").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"data/knee/{key}.npy", array)
    table = patch_pca.of_run(tmp_path, ["knee"], 0)
    assert list(table["vae"].unique()) == ["photographs f4c2", "training images f4c2"]
    pd.testing.assert_frame_equal(table, patch_pca.of_run(tmp_path, ["knee"], 0))


def test_the_slope_is_told_on_both_sides_of_the_limit():
    ceiling = [20.0, 21, 22, 24, 26, 28]
    points = pd.DataFrame({"arm": "x", "dataset": "knee", "ceiling_db": ceiling, "limit_db": 23.0})
    points["psnr_db"] = [20.0, 20.5, 21, 22.5, 22.5, 22.7]
    (row,) = predictors.around_limit(points).to_dict("records")
    assert row["below"] == pytest.approx(0.5) and row["above"] == pytest.approx(0.05)
    assert (row["n_below"], row["n_above"]) == (3, 3)
    told = predictors.worth(predictors.around_limit(points))["x"]
    assert "in SR, +0.50 dB [0.50, 0.50] below the limit (3 points), above it +0.05 dB [" in told
    assert row["above_low"] < 0.05 < row["above_high"]
    few = predictors.around_limit(points[:4])
    assert np.isnan(few["above"].item()) and few["n_above"].item() == 1


def test_the_excess_error_holds_nothing_of_the_ceilings():
    """Where SR adds the same error to every ceiling, PSNR follows the ceiling, the excess does not."""
    rows = {"arm": "x", "dataset": ["a"] * 4 + ["b"] * 4, "vae": [*"uvwz"] * 2}
    lost = np.tile([1e-3, 2e-3, 4e-3, 8e-3], 2)
    added = np.tile([3.1e-3, 3e-3, 3e-3, 3.1e-3], 2)
    scored = pd.DataFrame(rows | {"subject_id": "p", "mse_latent": added, "mse_cross": 0.0})
    scored["psnr_db"] = -10 * np.log10(lost + added)
    points = predictors.responses(scored).reset_index()
    points["ceiling_db"] = -10 * np.log10(lost)
    found = predictors.compare(points, ["ceiling_db"]).set_index("response")["within_r"]
    assert found["psnr_db"] > 0.9 and abs(found["excess_mse"]) < 0.05
    table = predictors.compare(points, ["ceiling_db"])
    said = predictors.best_rule(table, "x")
    assert said.startswith("ceiling_db (within-set r +") and "foretells a set left out best" in said
    assert predictors.best_rule(table, "x", "excess_mse") == "nothing foretells a set left out"
    assert predictors.best_rule(table, "other") == "too few points"


def test_a_rule_is_told_with_its_ties_and_with_what_it_rests_on():
    columns = "arm response predictor n_vaes within_r skill_set_left_out skill_vae_left_out".split()
    rows = [("x", "psnr_db", "ceiling_db", 6, -0.8, 0.56, 0.4),
            ("x", "psnr_db", "budget", 6, -0.9, 0.699, 0.7),
            ("x", "psnr_db", "predictability", 6, 0.9, 0.704, 0.8),
            ("x", "excess_mse", "ceiling_db", 6, 0.9, 0.58, 0.7),
            ("x", "excess_mse", "budget", 6, -0.2, -0.1, 0.7)]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns).assign(n_vaes_of_each_set=6)
    fewer = predictors.best_rule(table.assign(n_vaes_of_each_set=2), "x")
    assert "rules on 6 autoencoders, 2 of them on every set, picked after the fact" in fewer
    said = predictors.best_rule(table, "x")
    assert "budget (within-set r -0.90" in said and "predictability (within-set r +0.90" in said
    assert "alike (skill 0.70)" in said and "6 autoencoders, picked after the fact" in said
    assert "a higher one goes with worse SR" in said
    assert "picked" not in predictors.best_rule(table.assign(n_vaes=7), "x")
    no_finding = predictors.best_rule(table, "x", "excess_mse")
    assert (
        no_finding == "nothing foretells a set left out, but with the positive r that is no finding"
    )
    trip = table[table.predictor == "ceiling_db"].assign(
        predictor="round_trip_db", skill_set_left_out=0.5
    )
    said = predictors.against_ceiling(pd.concat([table, trip]), "x")
    assert "no better than the HR ceiling (skill 0.50 against 0.56, 6 autoencoders)" in said
