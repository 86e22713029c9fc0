"""Means over subjects and their intervals: a measure is averaged over a subject's images first."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

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
    if array.shape != (len(subjects),) or not len(subjects):
        raise ValueError(
            f"values {array.shape}, subjects {len(subjects)}: give one of each an image"
        )
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
    d = measured(differences)
    if len(d) < MIN_SUBJECTS:
        return nan, nan, DESCRIPTIVE
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0]), "no spread"
    if len(d) < MIN_BOOTSTRAP:
        return *t_interval(d, confidence), "Student t"
    ends = scipy.stats.bootstrap(
        (d,), np.mean, confidence_level=confidence, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(ends.low), float(ends.high), "BCa"


def mixed_mean(
    differences: ArrayLike, subjects: Sequence[str], confidence: float = 0.95
) -> tuple[float, float, float, float]:
    r"""Return (mean, low, high, share) of a model with one random intercept a subject, by REML.

    .. math:: d_{ij} = \mu + u_i + e_{ij}, \quad \text{share} = \sigma_u^2 / (\sigma_u^2 + \sigma_e^2)

    ``differences`` ``(N,)`` are per image j of subject i; ``share`` is the share of the variance that lies
    between subjects (the intraclass correlation). Laird and Ware 1982; the interval is Wald's: it
    takes the normal's 1.96 where a dozen subjects ask for t's 2.20, and is too narrow there. nan
    below six subjects, where no subject has two images, or where the fit fails.

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
    low, high = fit.conf_int(1 - confidence)[0]
    share = between / (between + float(fit.scale))
    return float(fit.fe_params[0]), float(low), float(high), share


# Weights of (natural f8, phantom f8, natural f4, phantom f4).
CONTRASTS = {
    "domain": (-0.5, 0.5, -0.5, 0.5),
    "geometry": (-0.5, -0.5, 0.5, 0.5),
    "interaction": (1, -1, -1, 1),
    "domain_at_f8": (-1, 1, 0, 0),
    "domain_at_f4": (0, 0, -1, 1),
    "geometry_at_natural": (-1, 0, 1, 0),
    "geometry_at_phantom": (0, -1, 0, 1),
    "gap": (-1, 0, 0, 1),
}


def factorial(
    natural_f8: pd.Series,
    phantom_f8: pd.Series,
    natural_f4: pd.Series,
    phantom_f4: pd.Series,
    seed: int,
    confidence: float = 0.95,
) -> pd.DataFrame:
    r"""Split the gap into domain and geometry, from per-subject means (`subject_means`).

    .. math:: d_i = \sum_c w_c \, y_{ic}, \quad \text{estimate} = \bar d

    over the four cells c of a subject i: contrasts of a 2 x 2 factorial design (Fisher 1935,
    chapter 6), within subjects.

    Rows (see `CONTRASTS`): main effects, averaged over the other factor; interaction = domain at f4
    minus domain at f8; the four simple effects; gap = domain + geometry = either path of simple
    effects. Columns estimate, low, high, interval_method.

    >>> base = pd.Series([20.0, 21, 22, 23, 24, 25])  # a phantom domain adds 1, f4 2, both 1 more
    >>> effects = factorial(base, base + 1, base + 2, base + 4, seed=0)["estimate"]
    >>> effects[["domain", "geometry", "interaction", "gap"]].tolist()
    [1.5, 2.5, 1.0, 4.0]
    """
    cells = (natural_f8, phantom_f8, natural_f4, phantom_f4)
    if not all(cell.index.equals(natural_f8.index) for cell in cells):
        raise ValueError("factorial: the four cells hold different subjects; use the same images")
    table = np.stack([measured(cell) for cell in cells])  # (4, n)
    rows = {}
    for name, weights in CONTRASTS.items():
        d = np.asarray(weights) @ table  # (n,)
        rows[name] = (float(d.mean()), *mean_interval(d, seed, confidence))
    columns = ["estimate", "low", "high", "interval_method"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def mean_of_samples(samples: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    r"""Return what the mean of k samples would score: a and b of MSE(k) = a + b / k, each image.

    .. math:: b = \overline{\mathrm{Var}_K(s)}, \qquad a = \overline{(\bar s_K - r)^2} - b / K

    from K samples ``(K, ..., H, W)``, with the unbiased variance over samples; then a + b / k is
    the mean of the squared error over all choices of k of them. a is what no number of samples
    takes away, b what one sample pays for being a sample. ``(...)`` out, both.

    >>> a, b = mean_of_samples(np.array([[[0.0]], [[0.2]]]), np.zeros((1, 1)))
    >>> float(a.round(3)), float(b.round(3))  # one sample: (0 + 0.04) / 2, both: 0.01
    (0.0, 0.02)
    """
    drawn, r = np.asarray(samples, np.float64), np.asarray(reference, np.float64)
    count = len(drawn)
    if count < 2 or drawn.shape[1:] != r.shape:
        raise ValueError(f"samples {drawn.shape}: two or more of the reference's shape {r.shape}")
    b = drawn.var(axis=0, ddof=1).mean(axis=(-2, -1))
    a = np.mean((drawn.mean(axis=0) - r) ** 2, axis=(-2, -1)) - b / count
    return np.asarray(a), np.asarray(b)
