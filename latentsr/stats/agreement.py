"""How far two images agree: limits of agreement of their mean intensity, scores inside a region."""

from __future__ import annotations

from math import nan, sqrt

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import as_pair
from latentsr.stats.intervals import MIN_SUBJECTS, measured

Z95 = 1.96  # standard deviations between the bias and a limit
PROPORTIONAL = (
    "slope slope_low slope_high intercept sd_about "
    "least lower_at_least upper_at_least most lower_at_most upper_at_most"
).split()


def limits(differences: ArrayLike, confidence: float = 0.95) -> dict[str, float]:
    r"""Return the limits of agreement of differences ``(n,)``, one a subject, each with its interval.

    .. math:: \bar d \pm 1.96 s, \qquad
        \mathrm{SE} = s \sqrt{1 / n + 1.96^2 / (2 (n - 1))}

    with Student's t for the intervals of ``bias``, ``lower`` and ``upper`` (Bland and Altman 1999,
    section 2.2); nan below six subjects. The unit is that of the differences.

    >>> agreed = limits([-1.0, 0.0, 1.0] * 4)
    >>> round(agreed["bias"], 3), round(agreed["upper"], 3)
    (0.0, 1.671)
    """
    d = measured(differences)
    n, bias = len(d), float(d.mean())
    sd = float(d.std(ddof=1)) if n > 1 else nan
    t = float(scipy.stats.t.ppf((1 + confidence) / 2, n - 1)) if n >= MIN_SUBJECTS else nan
    row: dict[str, float] = {"n_subjects": n}
    for name, z in (("bias", 0.0), ("lower", -Z95), ("upper", Z95)):
        middle = bias + z * sd if z else bias
        half = t * sd * sqrt(1 / n + z**2 / (2 * max(n - 1, 1)))
        row |= {name: middle, f"{name}_low": middle - half, f"{name}_high": middle + half}
    return row


def proportional_limits(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> dict[str, float]:
    r"""Return how the difference a - b follows the mean (a + b) / 2, ``(n,)`` each.

    .. math:: a_i - b_i = \alpha + \beta m_i + \varepsilon_i, \quad m_i = (a_i + b_i) / 2, \qquad
        \hat\alpha + \hat\beta m \pm 1.96 s, \quad s^2 = \frac{\sum \hat\varepsilon_i^2}{n - 2}

    by least squares, with Student's t of n - 2 for the slope. Where its interval excludes 0 the
    bias is proportional, and these limits, given at the ``least`` and the ``most`` mean, hold while
    the spread is the same all along (Bland and Altman 1999, section 3.2). nan below six subjects.

    >>> fit = proportional_limits([1.1, 2.2, 3.3, 4.4, 5.5, 6.6], [1.0, 2, 3, 4, 5, 6])
    >>> round(fit["slope"], 4), round(fit["upper_at_most"], 4)  # SR is 1.1 times HR: 0.1 / 1.05
    (0.0952, 0.6)
    """
    x, y = measured(a), measured(b)
    if len(x) < MIN_SUBJECTS:
        return dict.fromkeys(PROPORTIONAL, nan)
    mean, d = (x + y) / 2, x - y
    fit = scipy.stats.linregress(mean, d)
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(x) - 2) * fit.stderr
    about = d - fit.intercept - fit.slope * mean
    sd = np.sqrt(np.sum(about**2) / (len(x) - 2))
    values = [fit.slope, fit.slope - half, fit.slope + half, fit.intercept, sd]
    for at in (mean.min(), mean.max()):
        middle = fit.intercept + fit.slope * at
        values += [at, middle - Z95 * sd, middle + Z95 * sd]
    return dict(zip(PROPORTIONAL, map(float, values), strict=True))


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
            mse = np.mean((x - y)[region] ** 2) if region.any() else nan
            with np.errstate(divide="ignore"):
                row[f"psnr_{name}_db"] = float(-10 * np.log10(mse))
            row[f"ssim_{name}"] = float(ssim[region].mean()) if region.any() else nan
        rows.append(row)
    return pd.DataFrame(rows)
