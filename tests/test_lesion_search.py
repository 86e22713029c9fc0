"""Searching for lesions: filters, the ideal observer and both readers, where the truth is known."""

import numpy as np
import pytest
import scipy.stats

from latentsr.metrics import lesion_search, lesions
from latentsr.metrics.lesion_search import HR, HR_IDEAL, LR_IDEAL
from latentsr.metrics.lesions import Lesion

NOISE = 0.01


def marks(image, sd_px):
    return lesion_search.marks(
        lesion_search.answers(image, lesion_search.spot_filter(sd_px)), sd_px
    )


def test_the_filter_finds_a_spot_and_is_silent_on_flat_tissue():
    flat = np.full((2, 33, 33), 0.4, np.float32)
    flat[1] = lesions.with_lesion(flat[:1], Lesion(0, 9, 20, 1.5, 0.2, 1))
    none, one = (marks(image, 1.5) for image in flat)
    assert np.abs(none[:, 0]).max(initial=0) < 1e-6
    assert one[0].tolist() == pytest.approx([0.2, 9, 20], rel=1e-3)


def test_marks_are_places_that_no_near_one_exceeds(rng):
    seen = rng.normal(size=(40, 40))
    where = np.zeros((40, 40), bool)
    where[10:30, 10:30] = True
    found = lesion_search.marks(seen, 1.0, where)
    assert len(found) and (np.diff(found[:, 0]) <= 0).all()
    for value, row, column in found:
        y, x = int(row), int(column)
        assert where[y, x] and value == seen[y, x] == seen[y - 3 : y + 4, x - 3 : x + 4].max()


def test_the_threshold_lets_the_share_through(rng):
    found = [marks(image, 1.0) for image in rng.random((200, 20, 20), np.float32)]
    limit = lesion_search.threshold(found, 0.05)
    assert sum(one[0, 0] > limit for one in found) == 10


def test_hotelling_is_the_best_linear_filter_against_its_anatomy(rng):
    """Against striped anatomy its signal-to-noise is that of K^-1, above the spot's."""
    stripes = np.sin(np.arange(40) / 2.0 + 2 * np.pi * rng.random((30, 1)))
    hr = (0.45 + 0.1 * stripes[:, None, :] + 0.01 * rng.normal(size=(30, 40, 40))).astype(
        np.float32
    )
    best = lesion_search.hotelling_filter(1.5, hr, 0)
    plain = lesion_search.spot_filter(1.5)
    shape = lesion_search.spot(1.5)
    assert np.sum(best * shape) == pytest.approx(1) == pytest.approx(np.sum(plain * shape))
    rest = [
        np.std([lesion_search.answers(image, w)[10:30, 10:30] for image in hr])
        for w in (best, plain)
    ]
    assert rest[0] < 0.2 * rest[1]
    flat = lesion_search.answers(np.full((20, 20), 0.4, np.float32), best)
    assert np.abs(flat).max() < 0.02  # the mean carries hardly anything


@pytest.mark.parametrize("operator", ["bicubic", "gaussian"])
def test_the_ideal_observer_answers_with_d_prime(rng, operator):
    matrix = lesions.operator_matrix(32, 8, operator)
    spot = Lesion(0, 13, 18, 1.5, 0.07, 0.0)
    signal = 0.07 * spot.template(32)
    seen = lesion_search.ideal_answers(signal, matrix, 1.5, NOISE)
    assert seen[13, 18] == pytest.approx(lesions.detectability(signal, matrix, NOISE))
    assert np.unravel_index(seen.argmax(), seen.shape) == (13, 18)
    noise = [lesion_search.ideal_answers(NOISE * rng.normal(size=(32, 32)), matrix, 1.5, NOISE)[13, 18]
             for _ in range(1500)]  # fmt: skip
    assert scipy.stats.kstest(noise, "norm").pvalue > 0.01


@pytest.fixture
def trial(rng):
    """Eight flat images with a lesion each at d' 1 and 16, an arm that keeps all, one that invents."""
    hr = np.full((8, 48, 48), 0.4, np.float32)
    matrix = lesions.operator_matrix(48, 12, "bicubic")
    spots = lesions.plant(hr, matrix, NOISE, (1.5,), (1.0, 16.0), rng)
    whole = np.stack([*hr, *(lesions.with_lesion(hr, spot) for spot in spots)])
    invented = whole + 0.2 * Lesion(0, 24, 24, 1.5, 1.0, 0.0).template(48).astype(np.float32)
    lost = np.full_like(whole, 0.4)
    images = {("copy", "x"): whole, ("more", "x"): invented, ("less", "x"): lost, HR: whole}
    return images, spots, 8, matrix


def test_the_ideal_observer_of_hr_sees_no_less_than_that_of_lr():
    """Of HR d' is the spot's norm over the noise, which no degradation can raise."""
    signal = 0.02 * Lesion(0, 24, 24, 1.5, 1.0, 0.0).template(48)
    hr = lesion_search.ideal_answers(signal, np.eye(48), 1.5, NOISE)[24, 24]
    assert hr == pytest.approx(np.linalg.norm(signal) / NOISE)
    for operator in ("bicubic", "gaussian"):
        matrix = lesions.operator_matrix(48, 12, operator)
        assert lesion_search.ideal_answers(signal, matrix, 1.5, NOISE)[24, 24] < hr


def test_a_reader_who_knows_the_anatomy(trial):
    images, spots, free, matrix = trial
    how = {"matrix": matrix, "noise_sd": NOISE, "false_share": 0.05, "seed": 0}
    table, curves = lesion_search.known_anatomy(images, spots, free, **how)
    at = table.set_index(["arm", "vae", "detectability"])
    for key in (HR, LR_IDEAL, HR_IDEAL):
        assert at.loc[(*key, 16.0), "marked"] == pytest.approx(0.05, abs=0.0126)  # of 80 draws
        assert at.loc[(*key, 16.0), "found"] == 1 and at.loc[(*key, 1.0), "found"] < 0.3
    assert at.loc[("copy", "x", 16.0), ["found", "false"]].tolist() == [1, 0]
    assert at.loc[("less", "x", 16.0), ["found", "false"]].tolist() == [0, 0]
    assert at.loc[("more", "x", 1.0), ["marked", "false"]].tolist() == [1, 1]
    assert at["limit"].drop([LR_IDEAL[1], HR_IDEAL[1]], level="vae").nunique() == 1, (
        "one limit for all arms"
    )
    assert (at["n_lesions"] == 8).all() and (at["n_subjects"] == 8).all()
    for _, part in curves.groupby(["arm", "vae", "detectability"]):
        assert part["false"].is_monotonic_increasing and part["found"].is_monotonic_increasing


def test_a_reader_without_the_anatomy_needs_more(rng, trial):
    _, spots, free, _ = trial
    rough = (0.45 + 0.05 * rng.normal(size=(8, 48, 48))).astype(np.float32)
    hr = np.stack([*rough, *(lesions.with_lesion(rough, spot) for spot in spots)])
    found = lesion_search.blind(
        hr, spots, free, training=rough, test=rough, false_share=0.25, seed=0
    ).set_index("filter")
    assert list(found.index) == ["spot", "Hotelling"] and (found["n_lesions"] == 8).all()
    unit = spots[0].contrast / spots[0].detectability
    assert (found["needed"] * unit < 1.5 * found["limit"]).all()
    assert (found["needed"] * unit > 0.5 * found["limit"]).all()
