"""Does a measure that needs no diffusion training predict super-resolution quality?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import atanh, nan, sqrt, tanh

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import Floats
from latentsr.stats.intervals import measured


@dataclass(frozen=True)
class Regression:
    """What `regress` measured; errors and intercept in units of the response."""

    n_points: int
    n_groups: int
    n_vaes: float
    pearson_r: float
    r_low: float
    r_high: float
    r2: float
    spearman_rho: float
    rho_low: float
    rho_high: float
    spearman_p: float
    smallest_spearman_p: float
    slope: float
    intercept: float
    within_slope: float
    within_low: float
    within_high: float
    left_out_rmse: float
    no_difference_rmse: float
    r_note: str = "points of one set or autoencoder are not independent: r's interval is too narrow"


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
    r"""Return rho, two-sided p and the smallest p attainable with these ranks (Spearman 1904).

    .. math:: \rho = \mathrm{cov}(R_x, R_y) / (\mathrm{SD}(R_x) \, \mathrm{SD}(R_y))

    Up to 8 points both p count all n! orders; beyond, p is the t approximation, the smallest nan.

    >>> spearman([1, 2, 3, 4], [1, 2, 3, 4])
    (1.0, 0.08333333333333333, 0.08333333333333333)
    """
    a, b = (scipy.stats.rankdata(measured(v)) for v in (x, y))
    rho = float(np.corrcoef(a, b)[0, 1])
    if len(a) > 8:
        return rho, float(scipy.stats.spearmanr(a, b).pvalue), nan
    products = np.array(list(permutations(b - b.mean()))) @ (a - a.mean())
    size, seen = np.abs(products), abs(np.dot(a - a.mean(), b - b.mean()))
    p, smallest = (float(np.mean(size >= limit - 1e-9)) for limit in (seen, size.max()))
    return rho, p, smallest


def _slope(x: Floats, y: Floats) -> float:
    """Return the slope through 0 of centred points; nan where all x are 0 but for rounding."""
    return float(x @ y / (x @ x)) if np.abs(x).max(initial=0) > 1e-12 else nan


def _around_slope(
    slope: float, x: Floats, y: Floats, freedom: int, confidence: float
) -> tuple[float, float]:
    """Return Student's t interval of `_slope`; nan without degrees of freedom."""
    if freedom < 1 or slope != slope:
        return nan, nan
    misses = y - slope * x
    error = sqrt(float(misses @ misses) / freedom / float(x @ x))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return slope - half, slope + half


def _everywhere(units: NDArray[np.str_], groups: NDArray[np.str_]) -> list[str]:
    """Return the units that stand in every group."""
    return [u for u in np.unique(units) if set(groups[units == u]) == set(groups)]


def _over_units(
    x: Floats, y: Floats, units: NDArray[np.str_], confidence: float
) -> tuple[float, float]:
    """Return Student's t interval of the slope through the units' means; nan below three units."""
    names, place = np.unique(units, return_inverse=True)
    mean_x, mean_y = (np.bincount(place, v) / np.bincount(place) for v in (x, y))
    if len(names) < 3 or np.ptp(mean_x) < 1e-12:
        return nan, nan
    fit = scipy.stats.linregress(mean_x, mean_y)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, len(names) - 2)) * fit.stderr
    return float(fit.slope - half), float(fit.slope + half)


def regress(
    predictor: ArrayLike,
    response: ArrayLike,
    groups: Sequence[str],
    confidence: float = 0.95,
    vaes: Sequence[str] | None = None,
) -> Regression:
    """Regress `response` on `predictor`, over all points and within groups (data sets).

    Points ``(n,)``, one for each VAE x set. `within_slope` has an intercept a group (fixed effect;
    Mundlak 1978). Its interval is over the `n_vaes` autoencoders that every group has: ``vaes``
    names each point's, and the line goes through their means over groups (of differences from the
    group's mean), with Student's t and n_vaes - 2 degrees of freedom, nan without any. Without
    ``vaes`` points are taken for independent, with n - groups - 1 degrees of freedom, as they
    always are for r and rho; where autoencoders have merits of their own that is too narrow.

    Leave one group out (cross-validation, Stone 1974): the within-group slope of the other groups
    predicts the left-out group's differences from its own mean; `left_out_rmse` is the error over
    all points, `no_difference_rmse` that of predicting 0. nan where no other group holds two
    predictors.

    >>> fit = regress([1.0, 2.0, 5.0, 6.0], [1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"])
    >>> fit.within_slope, round(fit.slope, 4), fit.left_out_rmse, fit.no_difference_rmse
    (1.0, 0.0588, 0.0, 0.5)
    """
    x, y, labels = measured(predictor), measured(response), np.asarray(groups)
    if not x.shape == y.shape == labels.shape or x.ndim != 1 or len(x) < 3:
        raise ValueError(f"regress: {x.shape} points; give 3 or more, each with response and group")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError("regress: all predictors or all responses are equal; nothing to correlate")
    r = float(np.corrcoef(x, y)[0, 1])
    slope = _slope(x - x.mean(), y)
    if vaes is not None and len(vaes) != len(x):
        raise ValueError(
            f"regress: {len(vaes)} autoencoders for {len(x)} points; name each point's"
        )
    common = [] if vaes is None else _everywhere(np.asarray(vaes), labels)
    own = labels[:, None] == labels  # (n, n): points of the same group
    own_x, own_y = (v - own @ v / own.sum(axis=1) for v in (x, y))
    within, n_groups = _slope(own_x, own_y), len(np.unique(labels))
    rho, p, smallest = spearman(x, y)
    misses = np.empty_like(y)
    for label in np.unique(labels):
        out = labels == label
        misses[out] = own_y[out] - _slope(own_x[~out], own_y[~out]) * own_x[out]
    if vaes is None:
        ends = _around_slope(within, own_x, own_y, len(x) - n_groups - 1, confidence)
    else:
        of = np.isin(vaes, common)
        ends = _over_units(own_x[of], own_y[of], np.asarray(vaes)[of], confidence)
    return Regression(
        len(x),
        n_groups,
        nan if vaes is None else len(common),
        r,
        *fisher_interval(r, len(x), confidence),
        r**2,
        rho,
        *spearman_interval(rho, len(x), confidence),
        p,
        smallest,
        slope,
        float(y.mean() - slope * x.mean()),
        within,
        *ends,
        float(np.sqrt(np.mean(misses**2))),
        float(np.sqrt(np.mean(own_y**2))),
    )


def within_correlation(predictor: ArrayLike, response: ArrayLike, groups: Sequence[str]) -> float:
    """Return Pearson's r of both after each group's mean is taken away; nan without spread.

    >>> within_correlation([1.0, 2.0, 5.0, 6.0], [1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"])
    1.0
    """
    x, y = (measured(v) for v in (predictor, response))
    own = np.asarray(groups)[:, None] == np.asarray(groups)
    x, y = (v - own @ v / own.sum(axis=1) for v in (x, y))
    size = sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if np.abs(x).max(initial=0) > 1e-12 and size else nan


def left_out_unit(
    predictor: ArrayLike, response: ArrayLike, groups: Sequence[str], units: Sequence[str]
) -> tuple[float, float]:
    """Predict each unit (an autoencoder) from the others; return two errors over all points.

    The others' within-group slope, through their mean in the same group, predicts the unit left out
    (cross-validation, Stone 1974); the second error is that of their mean alone. nan where the
    others have no slope.

    >>> x, groups, units = [1.0, 2.0, 3.0], ["a"] * 3, ["u", "v", "w"]
    >>> left_out_unit(x, [2.0, 4.0, 6.0], groups, units)
    (0.0, 2.449489742783178)
    """
    x, y = (measured(v) for v in (predictor, response))
    labels, names = np.asarray(groups), np.asarray(units)
    misses, plain = np.full_like(y, nan), np.full_like(y, nan)
    for unit in np.unique(names):
        rest = names != unit
        own = (labels[:, None] == labels) & rest  # (n, n): the others of the same group
        mean_x, mean_y = (own @ v / own.sum(axis=1) for v in (x, y))
        slope = _slope((x - mean_x)[rest], (y - mean_y)[rest])
        out = ~rest
        plain[out] = y[out] - mean_y[out]
        misses[out] = plain[out] - slope * (x[out] - mean_x[out])
    return float(np.sqrt(np.mean(misses**2))), float(np.sqrt(np.mean(plain**2)))


def ceiling_against_rate(rates: pd.DataFrame, ceilings: pd.Series) -> pd.DataFrame:
    """Rank-correlate ceiling and rate of added signal over autoencoders, by set, arm and floor.

    ``rates`` has columns dataset, arm, floor_of, vae and hallucination_rate; ``ceilings`` is
    indexed by dataset and vae. Columns n_vaes, those that the cell has rates of, `spearman`'s rho,
    p and smallest_p, and low and high, `spearman_interval`; empty below three autoencoders or where
    the rates are all alike.
    """
    rows = []
    for (name, arm, owner), part in rates.groupby(["dataset", "arm", "floor_of"], sort=False):
        y = part.set_index("vae")["hallucination_rate"]
        row = {"dataset": name, "arm": arm, "floor_of": owner, "n_vaes": len(y)}
        found: Sequence[float | None] = (None,) * 5
        if len(y) >= 3 and y.nunique() > 1:
            found = spearman([ceilings[str(name), str(vae)] for vae in y.index], y)
            found = *found, *spearman_interval(found[0], len(y))
        names = "rho", "p", "smallest_p", "low", "high"
        rows.append({**row, **dict(zip(names, found, strict=True))})
    return pd.DataFrame(rows)
