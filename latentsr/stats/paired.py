"""Two arms over the same subjects: tests of their difference, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from latentsr.metrics.image import Floats
from latentsr.stats.intervals import (
    DESCRIPTIVE,
    MIN_SUBJECTS,
    mean_interval,
    measured,
    subject_means,
)

MAX_EXACT = 60  # differences of an exact signed-rank test


def cohen_d_z(differences: ArrayLike) -> float:
    """Return mean / SD of the paired differences (n - 1); nan without spread (Cohen 1988).

    >>> cohen_d_z([1.0, 2.0, 3.0])
    2.0
    """
    d = measured(differences)
    return float(d.mean() / d.std(ddof=1)) if len(d) > 1 and np.ptp(d) > 0 else nan


def cohen_d_pooled(a: ArrayLike, b: ArrayLike) -> float:
    """Return mean difference / sqrt((SD_a^2 + SD_b^2) / 2) (Cohen 1988, chapter 2).

    Unlike d_z it ignores the pairing.

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


def minimum_detectable(differences: ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    r"""Return the mean difference that a paired t test of so many subjects would find.

    .. math:: \delta: \quad P(|T| > t_{n - 1, 1 - \alpha / 2}) = \text{power}

    with T noncentral t of n - 1 degrees of freedom and noncentrality :math:`\delta \sqrt n / s`
    (Cohen 1988, chapter 2), s the SD of these differences ``(n,)``; nan for n < 6.

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
