"""Means over subjects and their intervals: a measure is averaged over a subject's images first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike

from latentsr.metrics.image import Floats

MIN_SUBJECTS, MIN_BOOTSTRAP = 6, 20
DESCRIPTIVE = "descriptive only"


def measured(values: ArrayLike) -> Floats:
    """Return `values` as float64; refuse NaN and infinity, which are never filled in."""
    array = np.asarray(values, np.float64)
    for word, bad in (("NaN", np.isnan(array)), ("infinite", np.isinf(array))):
        if bad.any():
            raise ValueError(f"not measured: {bad.sum()} of {array.size} values are {word}")
    return array


def subject_means(values: ArrayLike, subjects: Sequence[str]) -> pd.Series:
    """Average `values` ``(N,)`` over each subject's images; a Series indexed by sorted subject.

    >>> subject_means([1.0, 3.0, 5.0], ["a", "a", "b"]).tolist()
    [2.0, 5.0]
    """
    array = measured(values)
    if array.shape != (count := len(subjects),) or not count:
        raise ValueError(f"values {array.shape}, subjects {count}: give one of each an image")
    return pd.Series(array).groupby(np.asarray(subjects), sort=True).mean()


def t_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return Student's t interval of the mean of values ``(n,)``, one a subject (Student 1908).

    .. math:: \bar d \pm t_{n - 1} s / \sqrt n

    >>> [round(end, 4) for end in t_interval([1, 2, 3, 4, 5, 6])]
    [1.5367, 5.4633]
    """
    d = measured(values)
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(d) - 1) * scipy.stats.sem(d)
    return float(d.mean() - half), float(d.mean() + half)


def mean_interval(
    differences: ArrayLike, seed: int, confidence: float = 0.95
) -> tuple[float, float, str]:
    """Return (low, high, method) of the mean over subjects, ``(n,)``.

    BCa bootstrap (Efron 1987; 9,999 resamples) from 20 subjects on, `t_interval` from 6, nan
    below: descriptive only. Equal differences have no spread: both ends are the mean.

    >>> low, high, method = mean_interval([1, 2, 3, 4, 5, 6], seed=0)
    >>> round(low, 4), round(high, 4), method
    (1.5367, 5.4633, 'Student t')
    """
    return _interval(np.mean, (measured(differences),), "Student t", seed, confidence)


def paired_interval(
    statistic: Callable[..., Any], a: ArrayLike, b: ArrayLike, seed: int, confidence: float = 0.95
) -> tuple[float, float, str]:
    r"""Return (low, high, method) of a statistic of two arms over the same subjects, ``(n,)`` each.

    ``statistic`` takes both arms and an axis. As `mean_interval`, with whole subjects resampled;
    from 6 subjects Student's t of the jackknife's pseudo-values (Miller 1974),

    .. math:: p_k = n \hat\theta - (n - 1) \hat\theta_{-k}

    Their coverage is simulated in `benchmarks/coverage.py`, for pooled d up to 20.

    >>> from latentsr.stats.paired import cohen_d_pooled
    >>> a, b = [2.0, 4, 6, 8, 9, 12], [1.0, 4, 4, 7, 9, 9]
    >>> low, high, method = paired_interval(cohen_d_pooled, a, b, seed=0)
    >>> round(low, 3), round(high, 3), method
    (-0.05, 0.693, 'jackknife t')
    """
    return _interval(statistic, (measured(a), measured(b)), "jackknife t", seed, confidence)


def _interval(
    statistic: Callable[..., Any],
    arms: tuple[Floats, ...],
    t_method: str,
    seed: int,
    confidence: float,
) -> tuple[float, float, str]:
    n = len(arms[0])
    if n < MIN_SUBJECTS:
        return nan, nan, DESCRIPTIVE
    if all(np.ptp(arm) == 0 for arm in arms):
        value = float(statistic(*arms))
        return value, value, "no spread"
    if n < MIN_BOOTSTRAP:
        if len(arms) == 1:
            return *t_interval(arms[0], confidence), t_method
        left_out = [statistic(*(np.delete(arm, k) for arm in arms)) for k in range(n)]
        pseudo_values = n * statistic(*arms) - (n - 1) * np.array(left_out)
        return *t_interval(pseudo_values, confidence), t_method
    ends = scipy.stats.bootstrap(
        arms,
        statistic,
        paired=True,
        vectorized=True,
        method="BCa",
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(ends.low), float(ends.high), "BCa"


def mixed_mean(
    differences: ArrayLike, subjects: Sequence[str], confidence: float = 0.95
) -> tuple[float, float, float, float]:
    r"""Return (mean, low, high, share) of a model with one random intercept a subject, by REML.

    .. math:: d_{ij} = \mu + u_i + e_{ij}, \quad \text{share} = \sigma_u^2 / (\sigma_u^2 + \sigma_e^2)

    ``differences`` ``(N,)`` are per image j of subject i; ``share`` of their variance lies between
    subjects. Laird and Ware 1982; the interval is Wald's, too narrow for a dozen subjects. nan below
    six subjects, where no subject has two images, or where the fit fails.

    >>> d = [value + e for value in (1, 2, 3, 4, 5, 6) for e in (-0.5, 0.5)]
    >>> mean, low, high, share = mixed_mean(d, [s for s in "abcdef" for _ in range(2)])
    >>> round(mean, 2), round(low, 2), round(high, 2), round(share, 2)  # 3.5 -+ 1.96 sqrt(3.5 / 6)
    (3.5, 2.0, 5.0, 0.87)
    """
    import warnings

    from statsmodels.regression.mixed_linear_model import MixedLM
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    d, groups = measured(differences), np.asarray(subjects)
    counts = pd.Series(groups).value_counts()
    if len(counts) < MIN_SUBJECTS or counts.max() < 2 or np.ptp(d) == 0:
        return nan, nan, nan, nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        try:
            fit = MixedLM(d, np.ones((len(d), 1)), groups=groups).fit(reml=True)
        except np.linalg.LinAlgError:
            return nan, nan, nan, nan
    between = float(np.asarray(fit.cov_re)[0, 0])
    low, high = map(float, fit.conf_int(1 - confidence)[0])
    return float(fit.fe_params[0]), low, high, between / (between + float(fit.scale))
