"""Two arms over the same subjects: tests of their difference, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from latentsr.metrics.image import Floats
from latentsr.stats.intervals import (
    DESCRIPTIVE,
    MIN_SUBJECTS,
    mean_interval,
    measured,
    mixed_mean,
    paired_interval,
    subject_means,
    t_interval,
)


def cohen_d_z(differences: ArrayLike) -> float:
    """Return mean / SD of the paired differences (n - 1); nan without spread (Cohen 1988).

    >>> cohen_d_z([1.0, 2.0, 3.0])
    2.0
    """
    d = measured(differences)
    return float(d.mean() / d.std(ddof=1)) if len(d) > 1 and np.ptp(d) > 0 else nan


def cohen_d_pooled(a: ArrayLike, b: ArrayLike, axis: int = -1) -> Any:
    """Return mean difference / sqrt((SD_a^2 + SD_b^2) / 2) along an axis (Cohen 1988, chapter 2).

    Unlike d_z it ignores the pairing; nan without spread.

    >>> float(cohen_d_pooled([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]))
    1.0
    """
    x, y = measured(a), measured(b)
    if x.shape[axis] < 2:
        return nan
    variance = (x.var(axis, ddof=1) + y.var(axis, ddof=1)) / 2
    return (x.mean(axis) - y.mean(axis)) / np.sqrt(np.where(variance > 0, variance, nan))


def cohen_h(a: Any, b: Any, axis: int = -1) -> Any:
    r"""Return Cohen's h of the mean rates of two arms, b against a (Cohen 1988, chapter 6).

    .. math:: h = 2 \arcsin \sqrt{\bar b} - 2 \arcsin \sqrt{\bar a}

    ``a`` and ``b`` are shares, averaged along ``axis``; h lies between -pi and pi.

    >>> round(float(cohen_h([0.1, 0.3], [0.4, 0.6])), 4)  # of the shares 0.2 and 0.5
    0.6435
    """
    means = (np.clip(np.mean(np.asarray(x), axis=axis), 0, 1) for x in (a, b))
    first, second = (2 * np.arcsin(np.sqrt(mean)) for mean in means)
    return second - first


def rank_biserial(differences: ArrayLike) -> float:
    """Return (R+ - R-) / (R+ + R-) of the signed ranks (Kerby 2014), zeros dropped; nan if all are.

    >>> rank_biserial([3.0, 2.0, -1.0])  # (5 - 1) / 6
    0.6666666666666666
    """
    d = measured(differences)
    ranks = scipy.stats.rankdata(np.abs(d[d != 0]))
    return float(np.sum(np.sign(d[d != 0]) * ranks) / ranks.sum()) if len(ranks) else nan


def wilcoxon(differences: ArrayLike) -> tuple[float, str]:
    r"""Return the two-sided signed-rank p and its method; zeros are dropped (Wilcoxon 1945).

    .. math:: p = \min(1, 2 P(W \le \min(R_+, R_-)))

    with R+ and R- the rank sums of positive and negative differences. Exact without zeros or ties,
    else the normal approximation with tie and without continuity correction; 1 where all are zero.

    >>> wilcoxon([1, 2, 3, 4, 5, 6])
    (0.03125, 'exact')
    """
    d = measured(differences)
    if not d.any():
        return 1.0, "exact"
    if (d == 0).any() or len(np.unique(np.abs(d))) < len(d):
        return float(scipy.stats.wilcoxon(d[d != 0], method="asymptotic").pvalue), "approx"
    # the tail of the small side, since scipy's two-sided p cancels to 0.0 at n = 60
    tails = (
        scipy.stats.wilcoxon(s * d, alternative="less", method="exact").pvalue for s in (1, -1)
    )
    return min(1.0, 2 * float(min(tails))), "exact"


def smallest_wilcoxon_p(n: int, method: str) -> float:
    """Return the two-sided p of n differences of one sign, method 'exact' or 'approx' (no ties).

    >>> smallest_wilcoxon_p(12, "exact")
    0.00048828125
    """
    if method not in ("exact", "approx") or n < 1:
        raise ValueError(f"n {n}, method {method!r}: n from 1 on with exact or approx is allowed")
    if method == "exact":
        return min(1.0, 2.0 ** (1 - n))
    z = (n * (n + 1) / 4) / sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return float(2 * scipy.stats.norm.sf(z))


def equivalence_p(a: ArrayLike, b: ArrayLike, margin: float) -> float:
    r"""Return the TOST p that the mean of a - b ``(n,)`` lies within +-`margin`; nan for n < 6.

    .. math:: p = \max(P(T > \frac{\bar d + m}{s / \sqrt n}), P(T < \frac{\bar d - m}{s / \sqrt n}))

    with Student's T of n - 1 degrees of freedom (Schuirmann 1987): below 0.05 where the 90%
    interval of the mean lies within the margin m.

    >>> d = [-1.0, 1.0] * 10  # mean 0, SD 1.026: t = 0.5 / (1.026 / sqrt(20)) = 2.179, 19 df
    >>> round(equivalence_p(d, [0.0] * 20, 0.5), 3)
    0.021
    """
    from statsmodels.stats.weightstats import ttost_paired

    if margin <= 0:
        raise ValueError(f"margin: {margin}, but it must be positive, in the unit of the values")
    x, y = measured(a), measured(b)
    return float(ttost_paired(x, y, -margin, margin)[0]) if len(x) >= MIN_SUBJECTS else nan


def holm(p_values: ArrayLike) -> Floats:
    r"""Return Holm's step-down adjusted p-values, in the order given (Holm 1979).

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    from statsmodels.stats.multitest import multipletests

    p = measured(p_values)
    return np.asarray(multipletests(p, method="holm")[1]) if len(p) else p


def minimum_detectable_difference(
    differences: ArrayLike, power: float = 0.8, alpha: float = 0.05
) -> float:
    r"""Return the mean difference that a paired t test of so many subjects would find.

    .. math:: \delta: \quad P(|T| > t_{n - 1, 1 - \alpha / 2}) = \text{power}

    with T noncentral t of n - 1 degrees of freedom and noncentrality :math:`\delta \sqrt n / s`
    (Cohen 1988, chapter 2), s the SD of these differences ``(n,)``; nan for n < 6.

    >>> round(minimum_detectable_difference([-1.0, 1.0] * 10), 3)  # SD 1.026, n = 20: 0.66 SD
    0.678
    """
    from statsmodels.stats.power import TTestPower

    d = measured(differences)
    if len(d) < MIN_SUBJECTS:
        return nan
    return float(TTestPower().solve_power(nobs=len(d), alpha=alpha, power=power) * d.std(ddof=1))


def paired_summary(
    first: ArrayLike,
    second: ArrayLike,
    subjects: Sequence[str],
    seed: int,
    confidence: float = 0.95,
    margin: float | None = None,
) -> dict[str, Any]:
    """Summarise second - first, all ``(N,)`` per image in the same order, over subjects.

    The means of both, their ``gap`` with its interval (`mean_interval`), Wilcoxon's p and the
    smallest attainable (nan below 6 subjects), and effect sizes. With a ``margin`` also an interval
    of pooled d, the p of equivalence, the minimum detectable difference, and, where subjects have
    several images, the intervals of `mixed_mean` beside `t_interval` on the means of subjects.

    >>> summary = paired_summary([0.0] * 6, [1.0, 2, 3, 4, 5, 6], list("abcdef"), seed=0)
    >>> summary["gap"], round(summary["low"], 4), summary["wilcoxon_p"], summary["rank_biserial"]
    (3.5, 1.5367, 0.03125, 1.0)
    """
    x, y = subject_means(first, subjects), subject_means(second, subjects)
    per_image = measured(second) - measured(first)
    # differences first: equal ones must stay tied, whatever the means' rounding
    d = subject_means(per_image, subjects).to_numpy()
    row: dict[str, Any] = {"first": float(x.mean()), "second": float(y.mean())}
    row["gap"] = float(d.mean())
    row["low"], row["high"], row["interval_method"] = mean_interval(d, seed, confidence)
    row |= {"n_subjects": len(d), "n_images": len(subjects)}
    row |= {"wilcoxon_p": nan, "wilcoxon_method": DESCRIPTIVE, "smallest_p": nan}
    if len(d) >= MIN_SUBJECTS:
        row["wilcoxon_p"], row["wilcoxon_method"] = wilcoxon(d)
        n = int(np.count_nonzero(d)) or 1
        row["smallest_p"] = smallest_wilcoxon_p(n, row["wilcoxon_method"])
    row |= {"d_z": cohen_d_z(d), "d_pooled": float(cohen_d_pooled(y, x))}
    row["rank_biserial"] = rank_biserial(d)
    if margin is None:
        return row
    row["d_low"], row["d_high"], row["d_method"] = paired_interval(
        cohen_d_pooled, y, x, seed, confidence
    )
    row["equivalence_p"] = equivalence_p(y, x, margin)
    row["detectable_db"] = minimum_detectable_difference(y - x)
    mean, *mixed = mixed_mean(per_image, subjects, confidence)
    row["mixed_low"], row["mixed_high"], row["between_share"] = mixed
    t_ends = t_interval(y - x, confidence) if np.isfinite(mean) else (nan, nan)
    return row | dict(zip(("t_low", "t_high"), t_ends, strict=True))
