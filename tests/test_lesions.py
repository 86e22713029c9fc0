"""The ideal observer against simulation; contrast recovery on images where it is known."""

import numpy as np
import pytest

from latentsr.degrade import degrade
from latentsr.metrics import lesions
from latentsr.metrics.lesions import Lesion


@pytest.mark.parametrize("operator", ["bicubic", "lanczos", "gaussian", "kspace"])
def test_the_matrix_does_what_the_operator_does(rng, operator):
    matrix = lesions.operator_matrix(32, 8, operator)
    image = 0.4 + 0.2 * rng.random((1, 32, 32), np.float32)
    small = degrade(image, 8, operator)[0]
    np.testing.assert_allclose(matrix @ image[0] @ matrix.T, small, atol=1e-5)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)


def test_detectability_is_what_an_ideal_observer_reaches(rng):
    """Likelihood ratios of simulated LR images are d' apart, in units of their SD."""
    matrix, sd = lesions.operator_matrix(24, 6, "bicubic"), 0.05
    signal = 0.06 * Lesion(0, 11, 13, 2.0, 1.0, 0.0).template(24)
    expected = lesions.detectability(signal, matrix, sd)
    both = np.kron(matrix, matrix)
    degraded = both @ signal.ravel()
    weights = np.linalg.solve(sd**2 * both @ both.T, degraded)
    noise = sd * rng.normal(size=(4000, 576)) @ both.T
    without, with_it = noise @ weights, (noise + degraded) @ weights
    d_prime = (with_it.mean() - without.mean()) / without.std()
    assert d_prime == pytest.approx(expected, rel=0.05) and 0.5 < expected < 20


def test_contrasts_give_the_levels_asked_for(rng):
    hr = np.full((2, 40, 40), 0.4, np.float32)
    matrix = lesions.operator_matrix(40, 10, "bicubic")
    inserted = lesions.insert_lesions(hr, matrix, 0.01, (1.0, 2.0), (0.5, 4.0), rng)
    assert len(inserted) == 8 and {lesion.image for lesion in inserted} == {0, 1}
    for lesion in inserted:
        signal = lesion.contrast * lesion.template(40)
        assert lesions.detectability(signal, matrix, 0.01) == pytest.approx(lesion.detectability)
        image = lesions.with_lesion(hr, lesion)
        assert image[lesion.row, lesion.column] == pytest.approx(0.4 + lesion.contrast, abs=1e-6)
    black = np.zeros((1, 40, 40), np.float32)
    assert lesions.insert_lesions(black, matrix, 0.01, (1.0,), (1.0,), rng) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_recovery_of_a_known_share(rng, share):
    hr = np.full((1, 30, 30), 0.4, np.float32)
    lesion = Lesion(0, 14, 15, 1.5, 0.2, 1.0)
    image = lesions.with_lesion(hr, lesion)
    sr = hr[0] + 0.1 * rng.random((30, 30), np.float32)
    kept = sr + np.float32(share) * (image - hr[0])
    recovery = lesions.contrast_recovery(kept, sr, image, hr[0], lesion)
    assert recovery == pytest.approx(share, abs=1e-5)


def test_a_place_is_possible_where_a_lesion_would_be_inserted():
    hr = np.full((1, 40, 40), 0.4, np.float32)
    hr[0, :, :20] = 0.0  # outside the body
    matrix = lesions.operator_matrix(40, 10, "bicubic")
    where = lesions.possible(hr[0], 1.5)
    assert where.any() and not where[:, :16].any() and not where[:8].any()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        for spot in lesions.insert_lesions(hr, matrix, 0.01, (1.5,), (1.0,), rng):
            assert where[spot.row, spot.column]
