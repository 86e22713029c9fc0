"""Paired statistics over subjects: a measure is averaged over a subject's images first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike

from latentsr.metrics import Floats

MIN_SUBJECTS, MIN_BOOTSTRAP, MAX_EXACT = 6, 20, 60
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
    """Return Student's t interval of the mean of values ``(n,)``, one a subject.

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

    BCa bootstrap (9,999 resamples) from 20 subjects on, Student t from 6, nan below: descriptive
    only. Equal differences have no spread: both ends are the mean.

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


def cohen_d_z(differences: ArrayLike) -> float:
    """Return mean / SD of the paired differences (n - 1); nan without spread (Cohen 1988).

    >>> cohen_d_z([1.0, 2.0, 3.0])
    2.0
    """
    d = measured(differences)
    return float(d.mean() / d.std(ddof=1)) if len(d) > 1 and np.ptp(d) > 0 else nan


def cohen_d_pooled(a: ArrayLike, b: ArrayLike) -> float:
    """Return mean difference / sqrt((SD_a^2 + SD_b^2) / 2): unlike d_z it ignores the pairing.

    >>> cohen_d_pooled([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    1.0
    """
    x, y = measured(a), measured(b)
    if len(x) < 2 or (variance := (x.var(ddof=1) + y.var(ddof=1)) / 2) == 0:
        return nan
    return float((x.mean() - y.mean()) / sqrt(variance))


def _signed_ranks(differences: ArrayLike) -> tuple[Floats, Floats]:
    """Return the non-zero differences and the ranks of their magnitudes."""
    d = measured(differences)
    d = d[d != 0]
    return d, scipy.stats.rankdata(np.abs(d))


def rank_biserial(differences: ArrayLike) -> float:
    """Return (R+ - R-) / (R+ + R-) of the signed ranks (Kerby 2014), zeros dropped; nan if all are.

    >>> rank_biserial([3.0, 2.0, -1.0])  # (5 - 1) / 6
    0.6666666666666666
    """
    d, ranks = _signed_ranks(differences)
    return float(np.sum(np.sign(d) * ranks) / ranks.sum()) if len(d) else nan


def wilcoxon(differences: ArrayLike) -> tuple[float, str]:
    r"""Return the two-sided signed-rank p and its method; zeros are dropped (zero_method 'wilcox').

    .. math:: p = \min(1, 2 P(W \le \min(R_+, R_-)))

    with R+ and R- the rank sums of positive and negative differences (Wilcoxon 1945); n of one sign
    give 2^(1 - n).

    Exact for up to 60 differences without zeros or ties, else the normal approximation with tie
    and without continuity correction. The exact tail is summed from the small side (scipy 1.17
    takes 1 - cdf and gives 0.0 at n = 60). All-zero differences give p = 1.

    >>> wilcoxon([1, 2, 3, 4, 5, 6])
    (0.03125, 'exact')
    """
    d, ranks = _signed_ranks(differences)
    ties = len(np.unique(ranks)) < len(ranks)
    if len(d) == 0:
        return 1.0, "exact"
    if ties or len(d) < np.size(differences) or len(d) > MAX_EXACT:
        return float(scipy.stats.wilcoxon(d, method="asymptotic").pvalue), "approx"
    share = np.ones(1)  # share[w]: probability of a rank sum w
    for rank in range(1, len(d) + 1):
        share = (np.pad(share, (0, rank)) + np.pad(share, (rank, 0))) / 2
    smaller = int(min(ranks[d > 0].sum(), ranks[d < 0].sum()))
    return min(1.0, 2 * float(share[: smaller + 1].sum())), "exact"


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

    x, y = measured(a), measured(b)
    if margin <= 0:
        raise ValueError(f"margin: {margin}, but it must be positive, in the unit of the values")
    return float(ttost_paired(x, y, -margin, margin)[0]) if len(x) >= MIN_SUBJECTS else nan


def holm(p_values: ArrayLike) -> Floats:
    r"""Return Holm's step-down adjusted p-values, in the order given (Holm 1979).

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) p_{(j)})

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(measured(p_values), method="holm")[1])


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


def minimum_detectable(differences: ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the mean difference that a paired t test of so many subjects would find.

    With probability ``power``, at the spread that these differences ``(n,)`` have; nan for n < 6.

    >>> round(minimum_detectable([-1.0, 1.0] * 10), 3)  # SD 1.026, n = 20: 0.66 SD
    0.678
    """
    from statsmodels.stats.power import TTestPower

    d = measured(differences)
    if len(d) < MIN_SUBJECTS:
        return nan
    return float(TTestPower().solve_power(nobs=len(d), alpha=alpha, power=power) * d.std(ddof=1))


@dataclass(frozen=True)
class PairedSummary:
    """What `paired_summary` measured; differences are a minus b, over subjects."""

    n_subjects: int
    n_images: int
    mean_difference: float
    low: float
    high: float
    interval_method: str
    wilcoxon_p: float
    wilcoxon_method: str
    smallest_p: float
    d_z: float
    d_pooled: float
    rank_biserial: float


def paired_summary(
    a: ArrayLike, b: ArrayLike, subjects: Sequence[str], seed: int, confidence: float = 0.95
) -> PairedSummary:
    """Summarise a - b; `a`, `b` and `subjects` ``(N,)`` are per image, in the same order of ids.

    Intervals as in `mean_interval`; p, its method and the smallest p attainable with it as in
    `wilcoxon` (nan below 6 subjects); effect sizes as in `cohen_d_z`, `cohen_d_pooled` and
    `rank_biserial`, where the references stand.

    >>> found = paired_summary([1.0, 2, 3, 4, 5, 6], [0.0] * 6, list("abcdef"), seed=0)
    >>> found.mean_difference, round(found.low, 4), found.wilcoxon_p, found.rank_biserial
    (3.5, 1.5367, 0.03125, 1.0)
    """
    x, y = subject_means(a, subjects), subject_means(b, subjects)
    # differences first: equal ones must stay tied, whatever the means' rounding
    d = subject_means(measured(a) - measured(b), subjects).to_numpy()
    p, method, smallest = nan, DESCRIPTIVE, nan
    if len(d) >= MIN_SUBJECTS:
        p, method = wilcoxon(d)
        smallest = smallest_wilcoxon_p(int(np.count_nonzero(d)) or 1, method)
    low, high, interval_method = mean_interval(d, seed, confidence)
    effects = cohen_d_z(d), cohen_d_pooled(x, y), rank_biserial(d)
    counts = len(d), len(subjects), float(d.mean())
    return PairedSummary(*counts, low, high, interval_method, p, method, smallest, *effects)


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

    over the four cells c of a subject i: contrasts of a 2 x 2 within-subject factorial design.

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
