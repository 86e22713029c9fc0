"""Filters, ideal observers and searches for lesions, where the truth is known."""

import numpy as np
import pytest
import scipy.stats

from latentsr.metrics import lesions, observers
from latentsr.metrics.lesions import Lesion
from latentsr.metrics.observers import HR, HR_IDEAL, LR_IDEAL, Search

NOISE = 0.01


def detect(image, sd_px):
    weights = observers.spot_filter(sd_px)
    return observers.detections(observers.filter_response(image, weights), sd_px)


def test_the_filter_finds_a_spot_and_is_silent_on_flat_tissue():
    flat = np.full((2, 33, 33), 0.4, np.float32)
    flat[1] = lesions.with_lesion(flat[:1], Lesion(0, 9, 20, 1.5, 0.2, 1))
    none, one = (detect(image, 1.5) for image in flat)
    assert np.abs(none[:, 0]).max(initial=0) < 1e-6
    assert one[0].tolist() == pytest.approx([0.2, 9, 20], rel=1e-3)
    assert observers.max_near(one, Lesion(0, 10, 21, 1.5, 0.2, 1)) == one[0, 0]
    assert observers.max_near(one[:1], Lesion(0, 9, 23, 1.5, 0.2, 1)) == -np.inf


def test_detections_are_places_that_no_near_one_exceeds(rng):
    response = rng.normal(size=(40, 40))
    where = np.zeros((40, 40), bool)
    where[10:30, 10:30] = True
    peaks = observers.detections(response, 1.0, where)
    assert len(peaks) and (np.diff(peaks[:, 0]) <= 0).all()
    for value, row, column in peaks:
        y, x = int(row), int(column)
        near = response[y - 3 : y + 4, x - 3 : x + 4]
        assert where[y, x] and value == response[y, x] == near.max()


def test_the_threshold_lets_the_share_through(rng):
    images = [detect(image, 1.0) for image in rng.random((200, 20, 20), np.float32)]
    limit = observers.threshold(images, 0.05)
    assert sum(one[0, 0] > limit for one in images) == 10


def test_hotelling_is_the_best_linear_filter_against_its_anatomy(rng):
    """Against striped anatomy its signal-to-noise is that of K^-1, above the spot's."""
    stripes = np.sin(np.arange(40) / 2.0 + 2 * np.pi * rng.random((30, 1)))
    hr = 0.45 + 0.1 * stripes[:, None, :] + 0.01 * rng.normal(size=(30, 40, 40))
    hr = hr.astype(np.float32)
    best, plain = observers.hotelling_filter(1.5, hr, 0), observers.spot_filter(1.5)
    shape = observers.spot(1.5)
    assert np.sum(best * shape) == pytest.approx(1) == pytest.approx(np.sum(plain * shape))
    spread = [
        np.std([observers.filter_response(image, w)[10:30, 10:30] for image in hr])
        for w in (best, plain)
    ]
    assert spread[0] < 0.2 * spread[1]
    flat = observers.filter_response(np.full((20, 20), 0.4, np.float32), best)
    assert np.abs(flat).max() < 0.02  # the mean carries hardly anything


@pytest.mark.parametrize("operator", ["bicubic", "gaussian"])
def test_the_ideal_observer_responds_with_d_prime(rng, operator):
    matrix = lesions.operator_matrix(32, 8, operator)
    signal = 0.07 * Lesion(0, 13, 18, 1.5, 0.07, 0.0).template(32)
    response = observers.ideal_response(signal, matrix, 1.5, NOISE)
    assert response[13, 18] == pytest.approx(lesions.detectability(signal, matrix, NOISE))
    assert np.unravel_index(response.argmax(), response.shape) == (13, 18)
    noise = NOISE * rng.normal(size=(1500, 32, 32))
    drawn = [observers.ideal_response(one, matrix, 1.5, NOISE)[13, 18] for one in noise]
    assert scipy.stats.kstest(drawn, "norm").pvalue > 0.01
    # of HR d' is the spot's norm over the noise, which no degradation can raise
    of_hr = observers.ideal_response(signal, np.eye(32), 1.5, NOISE)[13, 18]
    assert of_hr == pytest.approx(np.linalg.norm(signal) / NOISE) and of_hr > response[13, 18]


def test_a_search_with_the_background_known(rng):
    """Eight flat images with a lesion each at d' 1 and 16; arms that keep all, invent, lose all."""
    flat = np.full((8, 48, 48), 0.4, np.float32)
    matrix = lesions.operator_matrix(48, 12, "bicubic")
    inserted = lesions.insert_lesions(flat, matrix, NOISE, (1.5,), (1.0, 16.0), rng)
    hr = np.stack([*flat, *(lesions.with_lesion(flat, lesion) for lesion in inserted)])
    invented = hr + 0.2 * Lesion(0, 24, 24, 1.5, 1.0, 0.0).template(48).astype(np.float32)
    lost = np.full_like(hr, 0.4)
    images = {("copy", "x"): hr, ("more", "x"): invented, ("less", "x"): lost, HR: hr}
    searches = observers.search_background_known(images, inserted, matrix, NOISE, 0)
    assert list(searches) == [*(key for key in images if key != HR), HR, LR_IDEAL, HR_IDEAL]
    for key in (HR, LR_IDEAL, HR_IDEAL):
        search = searches[key]
        limit = observers.threshold(search.negatives, 0.05)
        assert len(search.negatives) == 80 and len(search.lesions) == 160  # ten draws of noise
        assert (search.false_marks(limit) > 0).mean() == pytest.approx(0.05, abs=0.0126)
        assert search.of_level(16.0).hit_rate(limit) == 1
        assert search.of_level(1.0).hit_rate(limit) < 0.3
        curve = np.array(search.free_response())
        assert (np.diff(curve, axis=0) >= 0).all()
    limit = observers.threshold(searches[HR].negatives, 0.05)
    for arm, hits, false in (("copy", 1, 0), ("less", 0, 0), ("more", 1, 1)):
        search = searches[arm, "x"].of_level(16.0)
        assert search.hit_rate(limit) == hits and search.false_marks(limit).tolist() == [false] * 8
    there = Lesion(0, 24, 24, 1.5, 0.2, 16.0)
    invented_there = Search(searches["more", "x"].negatives, [], [there])
    assert invented_there.hit_rate(limit, lesion_free=True) == 1


def test_spread_where_a_lesion_was_lost_finds_it_and_noise_does_not(rng):
    hr = np.full((40, 40), 0.4, np.float32)
    lesion = Lesion(0, 14, 20, 1.5, 0.1, 4.0)
    noise = [observers.auroc_at_lesion(rng.random((40, 40)), hr, lesion) for _ in range(200)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.08)
    knowing = 0.1 * rng.random((40, 40)) + lesion.template(40)
    assert observers.auroc_at_lesion(knowing, hr, lesion) > 0.99


def test_false_positives_are_counted_once_and_sought_among_other_places(rng):
    hr = np.full((40, 40), 0.4, np.float32)
    spots = [Lesion(0, 14, 14, 1.5, 0.2, 4.0), Lesion(0, 24, 25, 1.5, 0.2, 4.0)]
    sr = hr + sum(0.2 * spot.template(40) for spot in spots).astype(np.float32)
    by_error, count = observers.auroc_at_false_positives(sr - hr, sr, hr, 1.5, 0.1)
    assert by_error > 0.95 and count == 2
    missing, none = observers.auroc_at_false_positives(sr - hr, hr, hr, 1.5, 0.1)
    assert none == 0 and np.isnan(missing)
    assert observers.auroc(np.array([0.9, 0.4, 0.6, 0.4]), np.arange(4) < 2) == 0.625  # a tie: half
