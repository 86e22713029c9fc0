"""Signal that super-resolution adds or removes beyond an autoencoder's noise floor, and the audit
of how images are paired and whose floor is the threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import asin, nan, sin, sqrt
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import as_pair
from latentsr.stats.intervals import DESCRIPTIVE, MIN_SUBJECTS, mean_interval, measured
from latentsr.stats.paired_intervals import paired_interval

Name = TypeVar("Name")


def noise_floor(decoded: ArrayLike, hr: ArrayLike, floor_sd: float = 2.0) -> float:
    """Return mean + floor_sd * SD of ``|decode(encode(HR)) - HR|`` over all pixels ``(N, H, W)``.

    The threshold of the paper (arXiv 2604.12152).

    >>> noise_floor([[0.1, 0.3]], [[0.0, 0.0]])  # mean 0.2, SD 0.1
    0.4
    """
    error = np.abs(np.subtract(*as_pair(decoded, hr)))
    return float(error.mean() + floor_sd * error.std())


def rates(
    sr: ArrayLike, hr: ArrayLike, floor: float, region: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Measure added and removed signal image by image.

    The paper's rule (arXiv 2604.12152): a pixel is hallucinated (signal added) where SR - HR >
    floor and lost (signal removed) where HR - SR > floor (see `noise_floor`). `sr` and `hr` are
    ``(N, H, W)``. Returns N rows: ``hallucination_rate`` and ``loss_rate``, shares of the image's
    pixels, ``*_magnitude``, the difference summed over those pixels and divided by all pixels of
    the image (0 where there are none; magnitude / rate is the mean difference within the mask).
    With a ``region`` ``(N, H, W)`` its pixels alone count; nan for an image that has none.

    >>> rates([[[0.5, 0.0], [0.5, 0.5]]], [[[0.1, 0.6], [0.5, 0.45]]], floor=0.1).round(6).values
    array([[0.25, 0.1 , 0.25, 0.15]])
    """
    difference = np.subtract(*as_pair(sr, hr))
    inside = np.ones(difference.shape, bool) if region is None else region
    pixels = inside.sum(axis=(-2, -1))
    columns = {}
    for name, signed in (("hallucination", difference), ("loss", -difference)):
        mask = (signed > floor) & inside
        with np.errstate(invalid="ignore"):
            columns[f"{name}_rate"] = mask.sum(axis=(-2, -1)) / pixels
            columns[f"{name}_magnitude"] = np.where(mask, signed, 0).sum(axis=(-2, -1)) / pixels
    return pd.DataFrame(columns)


def in_regions(
    sr: ArrayLike, hr: ArrayLike, floor: float, mask: ArrayLike, subjects: Sequence[str], seed: int,
    confidence: float = 0.95,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield `rates` inside a mask ``(N, H, W)`` and outside: means over subjects, a row each.

    Each has its interval over subjects (`stats.mean_interval`), named ``*_low`` and ``*_high``.
    An image without such a region takes no part, and is not counted.
    """
    there = np.asarray(mask).astype(bool)
    for where, region in (("inside", there), ("outside", ~there)):
        found = rates(sr, hr, floor, region)
        row: dict[str, Any] = {"where": where}
        counts = {"n_images": int(found["loss_rate"].notna().sum())}
        means = found.groupby(np.asarray(subjects)).mean().dropna()
        for rate, values in means.items():
            low, high, _ = mean_interval(values, seed, confidence)
            row |= {str(rate): values.mean(), f"{rate}_low": low, f"{rate}_high": high}
        yield row | {"n_subjects": len(means), **counts}


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


def compare_rates(
    a: pd.Series, b: pd.Series, margin: float, seed: int, confidence: float = 0.95
) -> dict[str, Any]:
    """Compare the rates of two arms, means by subject: are they alike within ``margin``?

    ``mean`` is Cohen's h of the mean rates (`cohen_h`; Cohen 1988, chapter 6), with an interval
    over subjects (pixels of an image are correlated, so no pixel counts as n): BCa bootstrap from
    20 subjects on, from 6 Student's t of the jackknife's pseudo-values, else nan. ``alike`` is
    "equivalent" where the interval of two one-sided tests (Schuirmann 1987; 1 - 2 alpha,
    ``tost_low`` to ``tost_high``) lies inside the margin, "beyond" where it lies outside, else
    "inconclusive". ``margin_share`` is what the margin is as a share of pixels, at a's rate.

    >>> a, b = pd.Series([0.1, 0.2, 0.3] * 3), pd.Series([0.1, 0.2, 0.3] * 3)
    >>> compare_rates(a, b + 1e-6, 0.02, seed=0)["alike"]
    'equivalent'
    """
    x, y = (measured(side) for side in (a, b))
    h, n = float(cohen_h(x, y)), len(x)
    found: dict[str, Any] = {"mean": h, "low": nan, "high": nan, "n_subjects": n}
    found |= {"tost_low": nan, "tost_high": nan}
    found |= {"interval_method": DESCRIPTIVE, "alike": DESCRIPTIVE, "margin": margin}
    found |= {"first": float(x.mean()), "second": float(y.mean())}
    if n >= MIN_SUBJECTS:
        low, high, found["interval_method"] = paired_interval(cohen_h, x, y, seed, confidence)
        ends = paired_interval(cohen_h, x, y, seed, 2 * confidence - 1)[:2]
        inside, outside = max(map(abs, ends)) < margin, min(ends) > margin or max(ends) < -margin
        found["alike"] = "equivalent" if inside else "beyond" if outside else "inconclusive"
        found |= {"low": low, "high": high, "tost_low": ends[0], "tost_high": ends[1]}
    share = float(x.mean())
    found["margin_share"] = sin(asin(sqrt(share)) + margin / 2) ** 2 - share
    return found


def rate_map(image: ArrayLike, reference: ArrayLike, floor: float) -> NDArray[np.float64]:
    """Return in which share of images ``(N, H, W)`` a pixel was added or lost, ``(2, H, W)``.

    >>> rate_map(np.array([[[0.5, 0.0]], [[0.0, 0.0]]]), np.array([[[0.0, 0.5]]] * 2), 0.1).tolist()
    [[[0.5, 0.0]], [[0.0, 1.0]]]
    """
    a, b = as_pair(image, reference)
    return np.stack([(a - b > floor).mean(0), (b - a > floor).mean(0)])


def position_rule(names: Sequence[Name]) -> tuple[list[Name], float]:
    """Return the name that lookup by position gives to each image, and the share that move.

    Image i lies in the file ``hr_i``. A reader that lists the files lexicographically (hr_0, hr_1,
    hr_10, hr_2, ...) and takes line k of `names` (true name of image k) for the k-th file gives
    most images another one's name as soon as there are eleven.

    >>> given, share = position_rule(range(11))
    >>> given, round(share * 11)
    ([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2], 9)
    """
    if len(set(names)) != len(names) or not names:
        raise ValueError(
            f"names: {len(set(names))} different of {len(names)}, but each image needs its own"
        )
    listing = sorted(range(len(names)), key=lambda i: f"hr_{i}.npy")
    given = dict(zip(listing, names, strict=True))  # k-th file listed <- line k
    moved = sum(given[i] != name for i, name in enumerate(names))
    return [given[i] for i in range(len(names))], moved / len(names)


def partly_by_position(count: int, share: float, seed: int) -> NDArray[np.int_]:
    """Return whose image each of ``count`` meets when the rule moves only part of the names.

    ``share`` (0 to 1) of the images that `position_rule` moves, chosen by ``seed``, meet the next
    of the chosen ones on the rule's own way round; the others stay. With 1 it is the rule.

    >>> partly_by_position(12, 0.0, 0).tolist() == list(range(12))
    True
    >>> partly_by_position(12, 1.0, 0).tolist() == position_rule(range(12))[0]
    True
    """
    given = np.array(position_rule(range(count))[0])
    rows, moved = np.arange(count), np.flatnonzero(given != np.arange(count))
    chosen = set(
        np.random.default_rng(seed).permutation(moved)[: round(share * len(moved))].tolist()
    )
    for row in chosen:
        met = int(given[row])
        while met not in chosen:
            met = int(given[met])
        rows[row] = met
    return rows
