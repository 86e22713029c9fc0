"""AUROC against scikit-learn; the spread of samples on images where the truth is known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from latentsr.metrics import lesions, uncertainty
from latentsr.metrics.lesions import Lesion


@pytest.mark.parametrize("decimals", [1, 8])  # with many ties and with none
def test_auroc_equals_scikit_learn(rng, decimals):
    sought = rng.random(300) < 0.2
    scores = (rng.random(300) + 0.3 * sought).round(decimals)
    assert uncertainty.auroc(scores, sought) == pytest.approx(roc_auc_score(sought, scores))


def test_auroc_without_a_place_sought_is_not_a_number():
    assert np.isnan(uncertainty.auroc([1.0, 2.0], [False, False]))
    assert np.isnan(uncertainty.auroc([1.0, 2.0], [True, True]))


def test_a_place_is_possible_where_plant_would_put_a_lesion(rng):
    hr = np.full((1, 40, 40), 0.4, np.float32)
    hr[0, :, :20] = 0.0  # outside the body
    matrix = lesions.operator_matrix(40, 10, "bicubic")
    where = lesions.possible(hr[0], 1.5)
    assert where.any() and not where[:, :16].any() and not where[:8].any()
    for seed in range(40):
        draw = np.random.default_rng(seed)
        for spot in lesions.plant(hr, matrix, 0.01, (1.5,), (1.0,), draw):
            assert where[spot.row, spot.column]


@pytest.fixture
def trial(rng):
    """Six lesion-free images and six with a lesion each that SR loses; one SR image invents."""
    hr = np.full((6, 40, 40), 0.4, np.float32)
    spots = [Lesion(k, 14 + k, 20, 1.5, 0.1, 4.0) for k in range(6)]
    whole = np.stack([*hr, *(lesions.with_lesion(hr, spot) for spot in spots)])
    sr = np.stack([*hr, *hr])  # nothing of any lesion arrives
    sr[:6] = [lesions.with_lesion(hr, Lesion(k, 24, 14, 1.5, 0.2, 4.0)) for k in range(6)]
    return sr, whole, spots


def test_a_spread_where_the_lesions_are_finds_them_and_noise_does_not(trial, rng):
    sr, hr, spots = trial
    noise = rng.normal(0, 1e-3, (8, *sr.shape))
    blind = uncertainty.table(sr + noise, hr, spots, 6, 0, 0.95).set_index("what")
    knowing = noise.copy()
    for place, spot in enumerate(spots, start=6):
        knowing[1:, place] += rng.normal(0, 0.1, (7, 1, 1)) * spot.template(40)
    told = uncertainty.table(sr + knowing, hr, spots, 6, 0, 0.95).set_index("what")
    assert told.loc["loss", "auroc_sd"] > 0.99 and 0.2 < blind.loc["loss", "auroc_sd"] < 0.8
    assert 0.2 < told.loc["loss", "auroc_twin"] < 0.8
    assert told.loc["loss", "auroc_error"] > 0.99  # it sees HR
    assert told.loc["invention", "auroc_error"] > 0.95
    assert told.loc["invention", "n_places"] == 6  # each spot once
    assert told.loc["loss", "n_places"] == 6 == told.loc["loss", "n_subjects"]
    assert told.loc["loss", "low"] <= told.loc["loss", "auroc_sd"] <= told.loc["loss", "high"]


def test_lesions_that_arrive_are_no_places_of_loss(trial):
    sr, hr, spots = trial
    arrived = np.stack([*sr[:6], *(sr[:6] + hr[6:] - hr[:6])])  # with the contrast of HR's
    samples = np.stack([arrived, arrived + 0.01])
    found = uncertainty.table(samples, hr, spots, 6, 0, 0.95).set_index("what")
    assert found.loc["loss", "n_places"] == 0 and np.isnan(found.loc["loss", "auroc_sd"])


def test_the_spread_is_the_sd_over_samples(rng):
    samples = rng.random((5, 2, 4, 4))
    np.testing.assert_allclose(
        uncertainty.between_samples(samples), samples.std(axis=0, ddof=1), atol=1e-12
    )


def test_sentences_have_the_ends_over_sets_and_arms():
    rows = [("loss", 0.5, 0.55, 3, 4), ("loss", 0.75, 0.5, 4, 4), ("invention", 0.8, np.nan, 6, 4)]
    names = ["what", "auroc_sd", "auroc_twin", "n_places", "n_images"]
    missing = ("invention", np.nan, np.nan, 0, 4)
    assert uncertainty.told(pd.DataFrame([*rows, missing], columns=names)) == [
        "loss: AUROC 0.50 to 0.75 over sets and arms, 0.25 at most from the twin's",
        "invention: AUROC 0.80 to 0.80 over sets and arms; 1.5 to 1.5 spots an image",
    ]
