"""How far two images agree: limits of agreement of their mean intensity, scores inside a region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import as_pair
from latentsr.stats.intervals import MIN_SUBJECTS, mean_interval, measured

SPREAD = 1.96  # standard deviations between the bias and a limit


@dataclass(frozen=True)
class Limits:
    """Bias and limits of agreement, each with its interval; the unit is that of the differences."""

    n_subjects: int
    bias: float
    bias_low: float
    bias_high: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float


def limits(differences: ArrayLike, confidence: float = 0.95) -> Limits:
    r"""Return the limits of agreement of differences ``(n,)``, one a subject.

    .. math:: \bar d \pm 1.96 s, \qquad
        \mathrm{SE} = s \sqrt{1 / n + 1.96^2 / (2 (n - 1))}

    with Student's t for the intervals of bias and limits (Bland and Altman 1999, section 2.2);
    nan below six subjects.

    >>> found = limits([-1.0, 0.0, 1.0] * 4)
    >>> round(found.bias, 3), round(found.upper, 3)
    (0.0, 1.671)
    """
    d = measured(differences)
    n = len(d)
    bias, sd = float(d.mean()), float(d.std(ddof=1)) if n > 1 else nan
    reach_bias = reach_limit = nan
    if n >= MIN_SUBJECTS:
        t = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1))
        reach_bias = t * sd / sqrt(n)
        reach_limit = t * sd * sqrt(1 / n + SPREAD**2 / (2 * (n - 1)))
    ends = []
    for middle, reach in (
        (bias, reach_bias),
        (bias - SPREAD * sd, reach_limit),
        (bias + SPREAD * sd, reach_limit),
    ):
        ends += [middle, middle - reach, middle + reach]
    return Limits(n, *ends)


@dataclass(frozen=True)
class Sloping:
    """Bias along the mean, with its slope's interval, and limits at the least and the most mean."""

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    sd_about: float
    least: float
    lower_at_least: float
    upper_at_least: float
    most: float
    lower_at_most: float
    upper_at_most: float


def sloping_limits(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Sloping:
    r"""Return how the difference a - b follows the mean (a + b) / 2, ``(n,)`` each.

    .. math:: a_i - b_i = \alpha + \beta m_i + \varepsilon_i, \quad m_i = (a_i + b_i) / 2, \qquad
        \hat\alpha + \hat\beta m \pm 1.96 s, \quad s^2 = \frac{\sum \hat\varepsilon_i^2}{n - 2}

    by least squares, with Student's t of n - 2 for the slope. Where its interval excludes 0 the
    bias hangs on the magnitude: level limits do not describe it, these do, as long as the spread
    about the line is the same all along (Bland and Altman 1999, section 3.2). nan below six
    subjects.

    >>> found = sloping_limits([1.1, 2.2, 3.3, 4.4, 5.5, 6.6], [1.0, 2, 3, 4, 5, 6])
    >>> round(found.slope, 4), round(found.upper_at_most, 4)  # SR is 1.1 times HR: 0.1 / 1.05
    (0.0952, 0.6)
    """
    x, y = measured(a), measured(b)
    if len(x) < MIN_SUBJECTS:
        return Sloping(*[nan] * 11)
    mean, d = (x + y) / 2, x - y
    fit = scipy.stats.linregress(mean, d)
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(x) - 2) * fit.stderr
    about = d - fit.intercept - fit.slope * mean
    sd = float(np.sqrt(np.sum(about**2) / (len(x) - 2)))
    ends = []
    for at in (float(mean.min()), float(mean.max())):
        middle = float(fit.intercept + fit.slope * at)
        ends += [at, middle - SPREAD * sd, middle + SPREAD * sd]
    slope = float(fit.slope)
    return Sloping(slope, slope - half, slope + half, float(fit.intercept), sd, *ends)


def mean_intensity(
    sr: ArrayLike, hr: ArrayLike, subjects: NDArray[np.str_], rows: NDArray[np.int_] | None = None
) -> pd.DataFrame:
    """Return mean intensity of SR and HR ``(N, H, W)``, averaged by subject: columns sr and hr.

    ``rows`` says which HR image each SR image meets; its subject is the one of that image.
    """
    a, b = as_pair(sr, hr)
    rows = np.arange(len(a)) if rows is None else rows
    means = pd.DataFrame({"sr": a.mean((-2, -1)), "hr": b[rows].mean((-2, -1))})
    return means.groupby(subjects[rows]).mean()


def by_region(sr: ArrayLike, hr: ArrayLike, mask: NDArray[np.bool_]) -> pd.DataFrame:
    """Score images ``(N, H, W)`` inside a mask and outside, image by image.

    PSNR in dB of the pixels of a region, 10 log10(1 / mean((SR - HR)^2)); SSIM (Wang and others
    2004) as the mean of scikit-image's map (7 x 7 windows) over it. nan for a region without pixels.

    >>> hr, mask = np.zeros((1, 8, 8)), np.zeros((1, 8, 8), bool)
    >>> mask[0, :4] = True
    >>> by_region(0.1 * mask, hr, mask)[["psnr_inside_db", "psnr_outside_db"]].values.tolist()
    [[20.0, inf]]
    """
    from skimage.metrics import structural_similarity

    a, b = as_pair(sr, hr)
    rows = []
    for x, y, inside in zip(a, b, mask.astype(bool), strict=True):
        ssim = structural_similarity(x, y, data_range=1.0, full=True)[1]
        row = {}
        for name, region in (("inside", inside), ("outside", ~inside)):
            there = bool(region.any())
            mse = float(np.mean((x - y)[region] ** 2)) if there else nan
            with np.errstate(divide="ignore"):
                row[f"psnr_{name}_db"] = float(-10 * np.log10(mse))
            row[f"ssim_{name}"] = float(ssim[region].mean()) if there else nan
        rows.append(row)
    return pd.DataFrame(rows)


def over_regions(
    first: pd.DataFrame, second: pd.DataFrame, subjects: NDArray[np.str_], seed: int,
    confidence: float = 0.95,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield a row a measure of `by_region`: both arms' means and the gap, over subjects.

    Each has its interval (`stats.mean_interval`), named ``first_low`` and so on, the gap's ``low``
    and ``high``. An image that lacks the region in question takes no part, and is not counted.
    """
    for measure in first:
        sides = pd.DataFrame({"first": first[measure], "second": second[measure]})
        known = sides.notna().all(axis=1)
        means = sides[known].groupby(np.asarray(subjects)[known]).mean()
        row: dict[str, Any] = {"measure": measure}
        for side in means:
            low, high, _ = mean_interval(means[side], seed, confidence)
            row |= {str(side): means[side].mean(), f"{side}_low": low, f"{side}_high": high}
        gap = means["second"] - means["first"]
        low, high, method = mean_interval(gap, seed, confidence)
        row |= {"gap": gap.mean(), "low": low, "high": high, "interval_method": method}
        yield row | {"n_subjects": len(gap), "n_images": int(known.sum())}
