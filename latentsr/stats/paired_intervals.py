"""Intervals of what the means and spreads of two paired arms give: pooled d, Cohen's h."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, nan, sin, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from latentsr.stats.intervals import DESCRIPTIVE, MIN_BOOTSTRAP, MIN_SUBJECTS, measured

if TYPE_CHECKING:
    import pandas as pd

Statistic = Callable[..., Any]  # of two arrays and an axis over which subjects lie


def pooled_d(a: Any, b: Any, axis: int = -1) -> Any:
    """Return `paired_tests.cohen_d_pooled` of a minus b along an axis.

    >>> float(pooled_d([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]))
    1.0
    """
    variance = (np.var(a, axis=axis, ddof=1) + np.var(b, axis=axis, ddof=1)) / 2
    return (np.mean(a, axis=axis) - np.mean(b, axis=axis)) / np.sqrt(variance)


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


def paired_interval(
    statistic: Statistic, a: ArrayLike, b: ArrayLike, seed: int, confidence: float = 0.95
) -> tuple[float, float, str]:
    r"""Return (low, high, method) of a statistic of two arms over the same subjects, ``(n,)`` each.

    BCa bootstrap of whole subjects (9,999 resamples) from 20 on; from 6 Student's t of the
    jackknife's pseudo-values,

    .. math:: p_k = n \hat\theta - (n - 1) \hat\theta_{-k}

    (Miller 1974); nan below: descriptive only. How often they hold the truth is simulated in
    `benchmarks/coverage.py`, for pooled d up to 20: a large d less often than a small one, least
    where subjects are skewed. Beyond that nothing is known of them.

    >>> low, high, method = paired_interval(pooled_d, [2.0, 4, 6, 8, 9, 12], [1.0, 4, 4, 7, 9, 9], 0)
    >>> round(low, 3), round(high, 3), method
    (-0.05, 0.693, 'jackknife t')
    """
    x, y = measured(a), measured(b)
    n = len(x)
    if n < MIN_SUBJECTS:
        return nan, nan, DESCRIPTIVE
    if np.ptp(x) == np.ptp(y) == 0:
        value = float(statistic(x, y))
        return value, value, "no spread"
    if n < MIN_BOOTSTRAP:
        rest = [np.delete(np.arange(n), k) for k in range(n)]
        whole = statistic(x, y)
        pseudo = [n * whole - (n - 1) * statistic(x[k], y[k]) for k in rest]
        half = scipy.stats.t.ppf((1 + confidence) / 2, n - 1) * scipy.stats.sem(pseudo)
        return float(np.mean(pseudo) - half), float(np.mean(pseudo) + half), "jackknife t"
    ends = scipy.stats.bootstrap(
        (x, y), statistic, paired=True, vectorized=True, method="BCa", confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(ends.low), float(ends.high), "BCa"


def compare_rates(
    a: ArrayLike, b: ArrayLike, margin: float, seed: int, confidence: float = 0.95
) -> dict[str, Any]:
    """Compare the rates of two arms, means by subject ``(n,)``: are they alike within ``margin``?

    ``mean`` is `cohen_h` of the mean rates with its `paired_interval` (pixels of an image are
    correlated, so no pixel counts as n). ``alike`` is "equivalent" where the interval of two
    one-sided tests (Schuirmann 1987; 1 - 2 alpha, ``tost_low`` to ``tost_high``) lies inside the
    margin, "beyond" where it lies outside, else "inconclusive". ``margin_share`` is the margin as
    a share of pixels, at a's rate.

    >>> a = np.array([0.1, 0.2, 0.3] * 3)
    >>> compare_rates(a, a + 1e-6, 0.02, seed=0)["alike"]
    'equivalent'
    """
    x, y = measured(a), measured(b)
    low, high, method = paired_interval(cohen_h, x, y, seed, confidence)
    tost_low, tost_high, _ = paired_interval(cohen_h, x, y, seed, 2 * confidence - 1)
    if method == DESCRIPTIVE:
        alike = DESCRIPTIVE
    elif -margin < tost_low and tost_high < margin:
        alike = "equivalent"
    else:
        alike = "beyond" if tost_low > margin or tost_high < -margin else "inconclusive"
    share = float(x.mean())
    return {
        "mean": float(cohen_h(x, y)), "low": low, "high": high, "n_subjects": len(x),
        "tost_low": tost_low, "tost_high": tost_high, "interval_method": method, "alike": alike,
        "margin": margin, "first": share, "second": float(y.mean()),
        "margin_share": sin(asin(sqrt(share)) + margin / 2) ** 2 - share,
    }  # fmt: skip


def told_coverage(stated: pd.DataFrame, n: int) -> str:
    """Say what 95% intervals over n subjects are worth: the least coverage at the simulated n nearest.

    ``stated`` has the columns interval, truth, n and coverage of ``benchmarks/coverage.csv``.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"interval": "mean difference", "truth": 1, "n": [8, 8, 20]})
    >>> told_coverage(rows.assign(coverage=[0.95, 0.9, 0.93]), 8)
    '8 subjects (simulated: 8); at the worst mean difference 90.0%'
    """
    nearest = min(stated["n"], key=lambda size: abs(size - n))
    near = stated[stated["n"] == nearest]
    kinds = [
        f"{name}{f' of {truth:g}' if name == 'pooled d' else ''} {part['coverage'].min():.1%}"
        for (name, truth), part in near.groupby(["interval", "truth"], sort=False)
    ]
    few = n < MIN_SUBJECTS
    told = "too few subjects for an interval" if few else f"at the worst {', '.join(kinds)}"
    return f"{n} subjects (simulated: {nearest}); {told}"
