"""The regression of SR quality on a cheap measure, against scipy, statsmodels and the paper."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.formula.api as smf

from latentsr.stats import screening
from latentsr.stats.screening import fisher_interval, regress, spearman, spearman_interval


def points(rng, slope=0.5, noise=0.3, n=5):
    groups = np.repeat(["knee", "brain", "chest"], n)
    offset = np.repeat([20.0, 27.0, 29.0], n)
    x = offset + rng.normal(0, 2, 3 * n)
    return x, 3 + offset + slope * (x - offset) + noise * rng.normal(size=3 * n), groups


def test_the_papers_own_intervals_and_the_edges():
    for (r, n), printed in {(0.82, 6): (0.03, 0.98), (0.83, 15): (0.55, 0.94)}.items():
        assert np.round(fisher_interval(r, n), 2).tolist() == list(printed)
    assert np.isnan(fisher_interval(0.5, 3)).all() and fisher_interval(-1.0, 9) == (-1.0, -1.0)


def test_the_interval_of_rho_is_that_of_its_authors():
    """The example of `ci.spear` in Bonett's own R package statpsych; and one by hand."""
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    rho = spearman(x, y)[0]
    assert rho == pytest.approx(0.8699639, abs=1e-7)
    assert spearman_interval(rho, 15) == pytest.approx((0.5840951, 0.9638297), abs=1e-6)
    low, high = spearman_interval(0.5, 12)  # atanh 0.549306 +- 1.959964 sqrt(1.125 / 9)
    assert (np.arctanh(low), np.arctanh(high)) == pytest.approx((-0.143645, 1.242257), abs=1e-5)
    assert spearman_interval(0.5, 12, 0.9)[0] > low and fisher_interval(0.5, 12)[0] > low
    assert np.isnan([spearman_interval(0.5, 3), spearman_interval(-1.0, 9)]).all()


def test_the_interval_over_autoencoders_equals_statsmodels(rng):
    x, y, groups = points(rng, n=5)
    vaes = [*"uvwxz"] * 3
    got = regress(x, y, list(groups), 0.9, vaes)
    centred = pd.DataFrame({"x": x, "y": y, "vae": vaes})
    centred[["x", "y"]] -= centred[["x", "y"]].groupby(groups).transform("mean")
    means = centred.groupby("vae").mean()
    expected = smf.ols("y ~ x", means).fit().conf_int(0.1).loc["x"]
    assert (got["within_low"], got["within_high"]) == pytest.approx(tuple(expected))
    assert got["n_vaes"] == 5 and got["within_slope"] == regress(x, y, list(groups))["within_slope"]
    two = regress(x[:4], y[:4], ["a", "a", "b", "b"], 0.95, ["u", "v"] * 2)
    assert two["n_vaes"] == 2 and np.isnan([two["within_low"], two["within_high"]]).all()
    more = regress([*x, 30.0], [*y, 40.0], [*groups, "knee"], 0.9, [*vaes, "only here"])
    assert more["n_vaes"] == 5 and more["n_points"] == 16
    assert (more["within_low"], more["within_high"]) == pytest.approx(
        (got["within_low"], got["within_high"])
    )
    with pytest.raises(ValueError, match="regress: 2 autoencoders for 15 points"):
        regress(x, y, list(groups), vaes=["u", "v"])


@pytest.mark.parametrize("n_vaes", [4, 6])
def test_autoencoders_and_not_points_are_the_unit(rng, n_vaes):
    """Three sets; half of the variance of the misses belongs to the autoencoder."""
    vaes, sets, count = [*map(str, range(n_vaes))] * 3, np.repeat([*"abc"], n_vaes), 300
    covered = {"points": 0, "vaes": 0}
    for _ in range(count):
        x = np.tile(rng.normal(size=n_vaes), (3, 1)) + rng.normal(scale=0.2, size=(3, n_vaes))
        y = 0.3 * x + rng.normal(size=n_vaes) + rng.normal(size=(3, n_vaes))
        for unit, named in (("points", None), ("vaes", vaes)):
            fit = regress(x.ravel(), y.ravel(), sets, vaes=named)
            covered[unit] += fit["within_low"] < 0.3 < fit["within_high"]
    three_errors = 3 * (0.95 * 0.05 / count) ** 0.5
    assert covered["vaes"] / count == pytest.approx(0.95, abs=three_errors)
    assert covered["points"] / count < 0.95 - three_errors


@pytest.mark.parametrize("confidence", [0.95, 0.9])
def test_regress_equals_scipy_and_statsmodels(rng, confidence):
    x, y, groups = (v[:-1] for v in points(rng))  # groups of unequal size
    got = regress(x, y, groups, confidence)
    line = scipy.stats.linregress(x, y)
    assert (got["n_points"], got["n_groups"]) == (14, 3)
    assert (got["slope"], got["intercept"]) == pytest.approx((line.slope, line.intercept))
    assert (got["pearson_r"], got["r2"]) == pytest.approx((line.rvalue, line.rvalue**2))
    interval = scipy.stats.pearsonr(x, y).confidence_interval(confidence)
    assert (got["r_low"], got["r_high"]) == pytest.approx(tuple(interval))
    rank = scipy.stats.spearmanr(x, y)
    assert (got["spearman_rho"], got["spearman_p"]) == pytest.approx((rank.statistic, rank.pvalue))
    ends = spearman_interval(got["spearman_rho"], 14, confidence)
    assert (got["rho_low"], got["rho_high"]) == ends
    fixed = smf.ols("y ~ x + C(g)", pd.DataFrame({"x": x, "y": y, "g": groups})).fit()
    assert got["within_slope"] == pytest.approx(fixed.params["x"]) and fixed.df_resid == 14 - 3 - 1
    expected = fixed.conf_int(1 - confidence).loc["x"]
    assert (got["within_low"], got["within_high"]) == pytest.approx(tuple(expected))


def test_leave_one_group_out_equals_a_loop(rng):
    x, y, groups = points(rng)
    frame = pd.DataFrame({"x": x, "y": y, "g": groups})
    squared, nothing = [], []
    for label in frame.g.unique():
        rest, out = frame[frame.g != label], frame[frame.g == label]
        slope = smf.ols("y ~ x + C(g)", rest).fit().params["x"]
        centred = out.y - out.y.mean()
        squared += list((centred - slope * (out.x - out.x.mean())) ** 2)
        nothing += list(centred**2)
    got = regress(x, y, groups)
    assert got["left_out_rmse"] == pytest.approx(np.sqrt(np.mean(squared)))
    assert got["no_difference_rmse"] == pytest.approx(np.sqrt(np.mean(nothing)))
    assert got["left_out_rmse"] < got["no_difference_rmse"]


def test_what_too_few_points_do_not_have():
    points = [1.0, 2.0, 4.0], [1.0, 3.0, 5.0]
    one_each = regress(*points, ["a", "b", "c"])
    assert np.isnan([one_each["within_slope"], one_each["left_out_rmse"]]).all()
    assert one_each["no_difference_rmse"] == 0
    bare = regress(*points, ["a", "a", "b"])  # no degrees of freedom
    assert bare["within_slope"] == 2 and np.isnan([bare["within_low"], bare["within_high"]]).all()
    assert np.isnan(regress(*points, ["a"] * 3)["left_out_rmse"])
    exact = regress([1.0, 2.0, 4.0], [1.0, 2.0, 4.0], ["a"] * 3)
    assert (exact["within_low"], exact["within_high"]) == pytest.approx((1, 1))


@pytest.mark.parametrize("n, printed", [(4, "0.083"), (5, "0.017"), (6, "0.0028")])
def test_smallest_spearman_p(n, printed):
    rho, p, smallest = spearman(range(n), [-i for i in range(n)])
    assert rho == pytest.approx(-1) and p == smallest and f"{smallest:.2g}" == printed


def test_exact_spearman_equals_scipys_permutation_test(rng):
    x, y = rng.random((2, 6))
    x[3] = x[1]  # a tie
    expected = scipy.stats.permutation_test(
        (x,),
        lambda order: scipy.stats.spearmanr(order, y).statistic,
        permutation_type="pairings",
        n_resamples=np.inf,
    ).pvalue
    assert spearman(x, y)[1] == pytest.approx(expected)
    assert np.isnan(spearman(range(9), range(9))[2])


@pytest.mark.parametrize(
    "x, y, groups, message",
    [
        ([1.0, 2.0], [1.0, 2.0], ["a", "a"], "3 or more"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], ["a"], "3 or more"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], ["a"] * 3, "nothing to correlate"),
        ([1.0, np.nan, 1.0], [1.0, 2.0, 3.0], ["a"] * 3, "not measured: 1 of 3 values are NaN"),
    ],
)
def test_regress_refuses(x, y, groups, message):
    with pytest.raises(ValueError, match=message):
        regress(x, y, groups)


def test_leaving_an_autoencoder_out_equals_a_fit_without_it():
    rng = np.random.default_rng(6)
    groups, units = np.repeat(["a", "b", "c"], 4), np.tile(["u", "v", "w", "z"], 3)
    x, y = rng.normal(size=(2, 12))
    misses, plain = [], []
    for unit in "uvwz":
        rest = units != unit
        dummies = np.stack([groups == g for g in "abc"], 1).astype(float)
        design = np.column_stack([x, dummies])
        weights = np.linalg.lstsq(design[rest], y[rest], rcond=None)[0]
        misses += list(y[~rest] - design[~rest] @ weights)
        means = np.array([y[rest & (groups == g)].mean() for g in groups[~rest]])
        plain += list(y[~rest] - means)
    wanted = tuple(float(np.sqrt(np.mean(np.square(v)))) for v in (misses, plain))
    assert screening.leave_one_unit_out(x, y, list(groups), list(units)) == pytest.approx(wanted)


def test_within_correlation_ignores_how_hard_a_set_is():
    x, y = np.random.default_rng(7).normal(size=(2, 9))
    groups = list("aaabbbccc")
    shift = np.repeat([0.0, 10.0, -5.0], 3)
    plain = screening.within_correlation(x, y, groups)
    assert screening.within_correlation(x + shift, y - shift, groups) == pytest.approx(plain)
    centred = [v - np.repeat(v.reshape(3, 3).mean(1), 3) for v in (x, y)]
    assert plain == pytest.approx(np.corrcoef(*centred)[0, 1])
    assert np.isnan(screening.within_correlation(shift, y, groups))


def test_the_excess_error_holds_nothing_of_the_ceilings():
    """Where SR adds the same error to every ceiling, PSNR follows the ceiling, the excess does not."""
    lost = np.tile([1e-3, 2e-3, 4e-3, 8e-3], 2)
    added = np.tile([3.1e-3, 3e-3, 3e-3, 3.1e-3], 2)
    points = pd.DataFrame({"arm": "x", "dataset": [*"aaaabbbb"], "vae": [*"uvwz"] * 2})
    points = points.assign(ceiling_db=-10 * np.log10(lost), excess_mse=added)
    points["psnr_db"] = -10 * np.log10(lost + added)
    table = screening.skill_table(points, ["ceiling_db"], ["psnr_db", "excess_mse"])
    table = table.set_index("response")
    assert table.loc["psnr_db", "within_r"] > 0.9
    assert abs(table.loc["excess_mse", "within_r"]) < 0.05
    assert table.loc["psnr_db", "skill_set_left_out"] > 0.9
    assert table.loc["excess_mse", "skill_set_left_out"] == pytest.approx(0, abs=1e-9)
    assert (table["n_points"] == 8).all() and (table["n_vaes_of_each_set"] == 4).all()
    few = screening.skill_table(points[:2], ["ceiling_db"], ["psnr_db"])
    assert few[["skill_set_left_out", "skill_vae_left_out"]].isna().all(axis=None)
