"""Does a measure that needs no diffusion training predict super-resolution quality?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from math import atanh, nan, sqrt, tanh
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import Floats
from latentsr.stats.intervals import measured


def fisher_interval(r: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a correlation of n independent points, tanh(atanh r +- z/sqrt(n-3)).

    nan below 4 points; both ends are r where abs(r) = 1. Reference: Fisher 1921.

    >>> low, high = fisher_interval(0.82, 6)
    >>> round(low, 2), round(high, 2)
    (0.03, 0.98)
    """
    if n < 4:
        return nan, nan
    if abs(r) >= 1:
        return r, r
    half = scipy.stats.norm.ppf((1 + confidence) / 2) / sqrt(n - 3)
    return tanh(atanh(r) - half), tanh(atanh(r) + half)


def spearman_interval(rho: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return the interval of a rank correlation of n independent points, by Fisher's z.

    .. math:: \tanh(\mathrm{atanh} \rho \pm z \sqrt{(1 + \rho^2 / 2) / (n - 3)})

    An approximation. nan below 4 points and where abs(rho) = 1, of which atanh is infinite: a few
    points are often in perfect order by chance. Reference: Bonett and Wright 2000.

    >>> [round(end, 4) for end in spearman_interval(0.5, 12)]  # 0.5493 +- 1.96 * 0.3536
    [-0.1427, 0.8461]
    """
    if n < 4 or abs(rho) > 1 - 1e-9:
        return nan, nan
    half = scipy.stats.norm.ppf((1 + confidence) / 2) * sqrt((1 + rho**2 / 2) / (n - 3))
    return tanh(atanh(rho) - half), tanh(atanh(rho) + half)


def spearman(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
    """Return rho, two-sided p and the smallest p attainable with these ranks (Spearman 1904).

    Up to 8 points both p count all n! orders; beyond, p is the t approximation, the smallest nan.

    >>> spearman([1, 2, 3, 4], [1, 2, 3, 4])
    (1.0, 0.08333333333333333, 0.08333333333333333)
    """
    a, b = (scipy.stats.rankdata(measured(v)) for v in (x, y))
    rho = float(np.corrcoef(a, b)[0, 1])
    if len(a) > 8:
        return rho, float(scipy.stats.spearmanr(a, b).pvalue), nan
    a, b = a - a.mean(), b - b.mean()
    products = np.abs(np.array(list(permutations(b))) @ a)
    p, smallest = (float(np.mean(products >= x - 1e-9)) for x in (abs(a @ b), products.max()))
    return rho, p, smallest


def _centred(values: Floats, groups: NDArray[np.str_], rows: Any = True) -> Floats:
    """Subtract from each value its group's mean, over ``rows`` alone where given."""
    same = (groups[:, None] == groups) & rows  # (n, n): points of the same group
    return values - same @ values / same.sum(axis=1)


def _slope(x: Floats, y: Floats) -> float:
    """Return the slope through 0 of centred points; nan where all x are 0 but for rounding."""
    return float(x @ y / (x @ x)) if np.abs(x).max(initial=0) > 1e-12 else nan


def _slope_interval(x: Floats, y: Floats, freedom: int, confidence: float) -> tuple[float, float]:
    """Return Student's t interval of `_slope`; nan without degrees of freedom."""
    slope = _slope(x, y)
    if freedom < 1 or slope != slope:
        return nan, nan
    error = sqrt(float(np.sum((y - slope * x) ** 2)) / freedom / float(x @ x))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return slope - half, slope + half


def regress(
    predictor: ArrayLike,
    response: ArrayLike,
    groups: Sequence[str],
    confidence: float = 0.95,
    vaes: Sequence[str] | None = None,
) -> dict[str, float]:
    """Regress `response` on `predictor`, over all points and within groups (data sets).

    Points ``(n,)``, one for each VAE x set. `within_slope` has an intercept per group (fixed
    effect; Mundlak 1978). Its interval, Student's t, is over the `n_vaes` autoencoders that every
    group has, where ``vaes`` names each point's: of the line through their means over groups, less
    the groups' means. Without ``vaes`` points are taken for independent, as they always are for r
    and rho; where autoencoders have merits of their own that is too narrow.

    Leave one group out (cross-validation, Stone 1974): the within-group slope of the others
    predicts the left-out group's differences from its own mean. `left_out_rmse` is the error over
    all points, `no_difference_rmse` that of predicting 0, both in units of the response; nan where
    no other group holds two predictors.

    >>> fit = regress([1.0, 2.0, 5.0, 6.0], [1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"])
    >>> [round(fit[key], 4) for key in ("within_slope", "slope", "left_out_rmse")]
    [1.0, 0.0588, 0.0]
    """
    x, y, labels = measured(predictor), measured(response), np.asarray(groups)
    if not x.shape == y.shape == labels.shape or x.ndim != 1 or len(x) < 3:
        raise ValueError(f"regress: {x.shape} points; give 3 or more, each with response and group")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError("regress: all predictors or all responses are equal; nothing to correlate")
    if vaes is not None and len(vaes) != len(x):
        raise ValueError(f"regress: {len(vaes)} autoencoders for {len(x)} points; name each")
    own_x, own_y, names = _centred(x, labels), _centred(y, labels), np.unique(labels)
    errors = np.empty_like(y)
    for name in names:
        out = labels == name
        errors[out] = own_y[out] - _slope(own_x[~out], own_y[~out]) * own_x[out]
    within, n_vaes = _slope(own_x, own_y), nan
    if vaes is None:
        ends = _slope_interval(own_x, own_y, len(x) - len(names) - 1, confidence)
    else:
        points = pd.DataFrame({"vae": vaes, "group": labels, "x": own_x, "y": own_y})
        common = points.groupby("vae").filter(lambda own: own["group"].nunique() == len(names))
        means = common.groupby("vae")[["x", "y"]].mean()
        n_vaes = len(means)
        mean_x, mean_y = (means - means.mean()).to_numpy().T
        ends = _slope_interval(mean_x, mean_y, n_vaes - 2, confidence)
    r, slope = float(np.corrcoef(x, y)[0, 1]), _slope(x - x.mean(), y)
    rho, p, smallest_p = spearman(x, y)
    r_low, r_high = fisher_interval(r, len(x), confidence)
    rho_low, rho_high = spearman_interval(rho, len(x), confidence)
    row = {"n_points": len(x), "n_groups": len(names), "n_vaes": n_vaes}
    row |= {"pearson_r": r, "r_low": r_low, "r_high": r_high, "r2": r**2}
    row |= {"spearman_rho": rho, "rho_low": rho_low, "rho_high": rho_high}
    row |= {"spearman_p": p, "smallest_spearman_p": smallest_p}
    row |= {"slope": slope, "intercept": float(y.mean() - slope * x.mean())}
    row |= {"within_slope": within, "within_low": ends[0], "within_high": ends[1]}
    row["left_out_rmse"] = float(np.sqrt(np.mean(errors**2)))
    return row | {"no_difference_rmse": float(np.sqrt(np.mean(own_y**2)))}


def within_correlation(predictor: ArrayLike, response: ArrayLike, groups: Sequence[str]) -> float:
    """Return Pearson's r of both after each group's mean is taken away; nan without spread.

    >>> within_correlation([1.0, 2.0, 5.0, 6.0], [1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"])
    1.0
    """
    x, y = (_centred(measured(v), np.asarray(groups)) for v in (predictor, response))
    norm = sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if np.abs(x).max(initial=0) > 1e-12 and norm else nan


def leave_one_unit_out(
    predictor: ArrayLike, response: ArrayLike, groups: Sequence[str], units: Sequence[str]
) -> tuple[float, float]:
    """Predict each unit (an autoencoder) from the others; return two errors over all points.

    The others' within-group slope, through their mean in the same group, predicts the unit left out
    (Stone 1974); the second error is that of their mean alone. nan where they have no slope.

    >>> x, groups, units = [1.0, 2.0, 3.0], ["a"] * 3, ["u", "v", "w"]
    >>> leave_one_unit_out(x, [2.0, 4.0, 6.0], groups, units)
    (0.0, 2.449489742783178)
    """
    x, y = measured(predictor), measured(response)
    labels, names = np.asarray(groups), np.asarray(units)
    errors, null = np.empty_like(y), np.empty_like(y)
    for unit in np.unique(names):
        out = names == unit
        own_x, own_y = (_centred(v, labels, ~out) for v in (x, y))
        null[out] = own_y[out]
        errors[out] = own_y[out] - _slope(own_x[~out], own_y[~out]) * own_x[out]
    return float(np.sqrt(np.mean(errors**2))), float(np.sqrt(np.mean(null**2)))


def skill_table(
    points: pd.DataFrame, predictors: Sequence[str], responses: Sequence[str]
) -> pd.DataFrame:
    """Regress every response on every predictor within each arm; columns arm, dataset, vae, ...

    ``within_r`` is Pearson's r within sets; the skills are 1 - (error / error of predicting no
    difference)^2 for a set left out and for an autoencoder left out; nan where there are too few
    points.

    >>> rows = {"arm": ["x"] * 6, "dataset": [*"aaabbb"], "vae": [*"uvwuvw"]}
    >>> rows |= {"one": [1.0, 2.0, 3.0, 5.0, 6.0, 7.0], "psnr_db": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]}
    >>> skill_table(pd.DataFrame(rows), ["one"], ["psnr_db"]).iloc[0, 3:].tolist()
    [6.0, 3.0, 3.0, 1.0, 1.0, 1.0]
    """
    rows = []
    for arm, part in points.groupby("arm", sort=False):
        sets, vaes = list(part["dataset"]), list(part["vae"])
        counts = {"n_points": len(part), "n_vaes": len(set(vaes))}
        counts["n_vaes_of_each_set"] = part.groupby("dataset")["vae"].nunique().min()
        for response, predictor in product(responses, predictors):
            x, y = part[predictor], part[response]
            row = {"arm": arm, "response": response, "predictor": predictor, **counts}
            row["within_r"] = within_correlation(x, y, sets)
            row |= {"skill_set_left_out": nan, "skill_vae_left_out": nan}
            if len(x) >= 3 and np.ptp(x) > 0:
                fit = regress(x, y, sets)
                ratio = fit["left_out_rmse"] / fit["no_difference_rmse"]
                row["skill_set_left_out"] = 1 - ratio**2
                if len(set(vaes)) > 2:
                    error, null = leave_one_unit_out(x, y, sets, vaes)
                    row["skill_vae_left_out"] = 1 - (error / null) ** 2
            rows.append(row)
    return pd.DataFrame(rows)
