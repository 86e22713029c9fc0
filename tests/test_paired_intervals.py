"""Cohen's h of rates against statsmodels, and when two rates count as alike."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_effectsize

from latentsr.stats.paired_intervals import cohen_h, compare_rates


def test_cohen_h_equals_statsmodels(rng):
    a, b = rng.random((2, 30)) / 2
    assert cohen_h(a, b) == pytest.approx(proportion_effectsize(b.mean(), a.mean()))


@pytest.mark.parametrize(
    ("shift", "spread", "n", "word"),
    [
        (0.0, 0.001, 30, "equivalent"),
        (0.1, 0.001, 30, "beyond"),
        (-0.1, 0.001, 12, "beyond"),
        (0.0, 0.001, 12, "equivalent"),
        (0.0, 0.1, 30, "inconclusive"),
        (0.0, 0.1, 12, "inconclusive"),
        (0.0, 0.001, 5, "descriptive only"),
    ],
)
def test_rates_are_alike_by_their_interval_alone(rng, shift, spread, n, word):
    a = 0.3 + 0.05 * rng.random(n)
    result = compare_rates(a, a + shift + spread * rng.normal(size=n), 0.02, 0)
    assert result["alike"] == word and result["n_subjects"] == n
    if n >= 6:
        assert result["low"] < result["mean"] < result["high"]


def test_the_margin_as_a_share_of_pixels():
    result = compare_rates([0.5] * 6, [0.5] * 6, 0.02, 0)
    assert result["margin_share"] == pytest.approx(0.01, rel=1e-3)  # steepest at one half
    assert result["interval_method"] == "no spread" and result["alike"] == "equivalent"


@pytest.mark.slow
def test_the_interval_of_h_covers_its_truth(rng):
    """Skewed rates, 12 and 40 subjects: within three standard errors of 0.93 or better."""
    for n in (12, 40):
        inside, runs = 0, 300
        for run in range(runs):
            common = rng.beta(2, 12, size=n)
            a, b = common * 0.9, np.clip(common * 1.1 + 0.01 * rng.random(n), 0, 1)
            truth = cohen_h([2 / 14 * 0.9], [2 / 14 * 1.1 + 0.005])
            result = compare_rates(a, b, 0.02, run)
            inside += result["low"] <= truth <= result["high"]
        assert inside / runs > 0.93 - 3 * np.sqrt(0.93 * 0.07 / runs), (n, inside / runs)
