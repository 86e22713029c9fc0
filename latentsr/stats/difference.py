"""The difference of two arms, paired by image, over subjects; and whether something changes it."""

from __future__ import annotations

from collections.abc import Sequence
from math import asin, inf, nan, sin, sqrt
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike

from latentsr.stats.intervals import DESCRIPTIVE, mean_interval, paired_interval, t_interval
from latentsr.stats.paired import cohen_h, paired_summary

COLUMNS = "first second gap low high interval_method n_subjects n_images".split()


def paired_images(
    scored: pd.DataFrame,
    over: str,
    pair: Sequence[str],
    measure: str = "psnr_db",
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Pair two arms' rows by image id; columns ``by``, image_id, subject_id, first, second, gap.

    ``over`` is the column of which ``pair`` holds two values; ``gap`` is second - first. The
    result is itself a per-image table: paired again over one of ``by``, with ``gap`` for measure,
    it gives the change of a difference. ValueError where the arms were not scored on the same
    images, each once and of one subject.

    >>> rows = {"image_id": ["x", "x"], "subject_id": ["p", "p"], "vae": ["u", "v"], "psnr_db": [1, 3]}
    >>> paired_images(pd.DataFrame(rows), "vae", ["u", "v"]).values.tolist()
    [['x', 'p', 1, 3, 2]]
    """
    sides = []
    for arm in pair:
        side = scored[scored[over] == arm].set_index([*by, "image_id"])
        if side.empty or side.index.has_duplicates:
            raise ValueError(f"{over} {arm}: {len(side)} rows, but one an image is needed")
        sides.append(side)
    first, second = sides
    if len(first) != len(second) or not first.index.isin(second.index).all():
        raise ValueError(f"{pair[0]} and {pair[1]} were scored on different images")
    second = second.loc[first.index]
    if not first["subject_id"].equals(second["subject_id"]):
        raise ValueError(f"{pair[0]} and {pair[1]} give an image two subjects")
    both = first[["subject_id"]].assign(first=first[measure], second=second[measure])
    return both.assign(gap=both["second"] - both["first"]).reset_index()


def paired_difference(
    scored: pd.DataFrame,
    over: str,
    pair: Sequence[str],
    measure: str = "psnr_db",
    by: Sequence[str] = (),
    *,
    seed: int,
    confidence: float = 0.95,
    margin: float | None = None,
) -> pd.DataFrame:
    """Return second minus first of a pair of arms, paired by image, averaged by subject.

    A row for every combination of the columns ``by`` (set, arm, band, step, seed): these, the means
    ``first`` and ``second``, their ``gap``, low, high, interval_method, n_subjects, n_images
    (`COLUMNS`), then tests and effect sizes of `paired_summary`; with a ``margin`` of equivalence,
    in the measure's unit, its further columns too. Per-image rows as in `paired_images`.

    >>> ids = list("abcdef")
    >>> arm = pd.DataFrame({"image_id": ids, "subject_id": ids, "psnr_db": [1.0, 2, 3, 4, 5, 6]})
    >>> scored = pd.concat([arm.assign(vae="v"), arm.assign(vae="u", psnr_db=0.0)])
    >>> paired_difference(scored, "vae", ["u", "v"], seed=0)[COLUMNS[:5]].round(2).values.tolist()
    [[0.0, 3.5, 3.5, 1.54, 5.46]]
    """
    images = paired_images(scored, over, pair, measure, by)
    rows = []
    for key, part in images.groupby(list(by), sort=False) if by else [((), images)]:
        sides = part["first"], part["second"], list(part["subject_id"])
        summary = paired_summary(*sides, seed=seed, confidence=confidence, margin=margin)
        rows.append(dict(zip(by, key, strict=True)) | summary)
    return pd.DataFrame(rows)


def change_verdicts(
    gaps: pd.DataFrame, reference: Any, margin: float, seed: int | None = None
) -> pd.DataFrame:
    """Return how far each arm's difference is from the reference's, and whether within a margin.

    ``gaps`` holds the difference of a pair: a row a unit, subject or training seed, and a column an
    arm, each held against the column ``reference`` unit by unit. Intervals are `mean_interval` of
    this ``seed`` over subjects, and without it `t_interval` over training seeds.

    A row an arm: the 90% interval of ``change`` gives ``verdict``, see `verdict`, and
    ``verdict_5_percent`` with 5% of the reference's difference for margin; ``excludes_0`` says
    whether the 95% interval does, ``settling_n`` how many units would settle what is inconclusive
    (`expected_n`, `required_seeds`).

    >>> gaps = pd.DataFrame({"reference": [2.0, 2.1, 1.9], "flow": [2.3, 2.41, 2.19]})
    >>> table = change_verdicts(gaps, "reference", 0.15)
    >>> table[["arm", "change", "verdict", "unit"]].round(3).values.tolist()
    [['flow', 0.3, 'beyond the margin', '3 training seeds']]
    """
    rows, n = [], len(gaps)
    for arm in gaps.columns.drop(reference):
        d = gaps[arm] - gaps[reference]
        if seed is None:
            (low, high), method = t_interval(d, 0.90), "Student t"
            wide_low, wide_high = t_interval(d)
        else:
            low, high, method = mean_interval(d, seed, 0.90)
            wide_low, wide_high, _ = mean_interval(d, seed)
        word = verdict(low, high, margin, method)
        row = {"arm": arm, "change": d.mean(), "low": low, "high": high, "verdict": word}
        five_percent = 0.05 * abs(gaps[reference].mean())
        row["verdict_5_percent"] = verdict(low, high, five_percent, method)
        row["excludes_0"] = wide_low > 0 or wide_high < 0
        if seed is None:
            row |= {"unit": f"{n} training seeds", "settling_unit": "seeds of both", "n_seeds": n}
            row["settling_n"] = required_seeds(word, d.mean(), d.std(), margin)
        else:
            row |= {"unit": "subjects", "settling_unit": "subjects"}
            row["settling_n"] = expected_n(word, low, high, margin, n)
        rows.append(row)
    return pd.DataFrame(rows)


def change_over_seeds(gaps: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return both levels, the difference and its change of arms that were trained again.

    ``gaps`` has columns arm, seed, first, second and gap, one arm being "reference". A row an arm,
    means over the seeds, with `change_verdicts`; first ``reference, mean of n seeds``.
    """
    by_seed = gaps.pivot(index="seed", columns="arm", values="gap")
    levels = gaps.groupby("arm", sort=False)[["first", "second", "gap"]].mean()
    levels = levels.loc[["reference", *levels.index.drop("reference")]].reset_index()
    mean = f"reference, mean of {len(by_seed)} seeds"
    changes = change_verdicts(by_seed, "reference", margin).assign(against=mean)
    table = levels.merge(changes, how="left", on="arm", validate="one_to_one")
    return table.replace({"arm": {"reference": mean}})


def verdict(low: float, high: float, margin: float, method: str = "") -> str:
    """Hold an interval to a margin on both sides of zero; a ``method`` without interval is returned.

    >>> verdict(-0.1, 0.1, 0.15), verdict(0.2, 0.3, 0.15), verdict(0.1, 0.3, 0.15)
    ('equivalent', 'beyond the margin', 'inconclusive')
    """
    if method == DESCRIPTIVE:
        return method
    if -margin < low and high < margin:
        return "equivalent"
    return "beyond the margin" if low > margin or high < -margin else "inconclusive"


def compare_rates(
    a: ArrayLike, b: ArrayLike, margin: float, seed: int, confidence: float = 0.95
) -> dict[str, Any]:
    """Compare the rates of two arms, means by subject ``(n,)``: are they alike within ``margin``?

    ``mean`` is `cohen_h` of the mean rates with its `paired_interval` (pixels of an image are
    correlated, so no pixel counts as n). ``alike`` is the `verdict` of the interval of two one-sided
    tests (Schuirmann 1987; 1 - 2 alpha, ``tost_low`` to ``tost_high``). ``margin_share`` is the
    margin as a share of pixels, at a's rate.

    >>> a = np.array([0.1, 0.2, 0.3] * 3)
    >>> compare_rates(a, a + 1e-6, 0.02, seed=0)["alike"]
    'equivalent'
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low, high, method = paired_interval(cohen_h, x, y, seed, confidence)
    row: dict[str, Any] = {"mean": float(cohen_h(x, y)), "low": low, "high": high}
    tost_low, tost_high, _ = paired_interval(cohen_h, x, y, seed, 2 * confidence - 1)
    word = verdict(tost_low, tost_high, margin, method)
    row |= {"n_subjects": len(x), "tost_low": tost_low, "tost_high": tost_high}
    row |= {"interval_method": method, "margin": margin}
    row["alike"] = "beyond" if word == "beyond the margin" else word
    share = float(x.mean())
    row |= {"first": share, "second": float(y.mean())}
    return row | {"margin_share": sin(asin(sqrt(share)) + margin / 2) ** 2 - share}


def expected_n(verdict: str, low: float, high: float, margin: float, n: int) -> float:
    """Return how many units would settle an inconclusive verdict, NaN where it is settled.

    With the same mean and spread the half-width falls as the root of n, until the interval is
    wholly inside or wholly outside the margin.

    >>> expected_n("inconclusive", -0.1, 0.2, 0.1, 10)  # half-width 0.15 to 0.05: 9 times
    90.0
    """
    room = abs(margin - abs((low + high) / 2))
    if verdict != "inconclusive":
        return nan
    return float(np.ceil(n * ((high - low) / 2 / room) ** 2 - 1e-9)) if room else inf


def required_seeds(verdict: str, change: float, sd: float, margin: float) -> float:
    r"""Return how many training seeds of both would settle an inconclusive verdict, else NaN.

    With n seeds of the arm and of the reference, whose differences vary with SD s from seed to
    seed, the half-width is :math:`t_{n-1} s / \sqrt{n}`: the smallest n that puts it below the room
    up to the margin.

    >>> required_seeds("inconclusive", 1.1, 1.0, 0.15)  # 5: 2.132 x 0.447; 6: 2.015 x 0.408 < 0.95
    6.0
    """
    room = abs(margin - abs(change))
    if verdict != "inconclusive" or sd != sd:
        return nan
    if not room:
        return inf
    n = max(2, int((scipy.stats.norm.ppf(0.95) * sd / room) ** 2))  # t is wider
    while scipy.stats.t.ppf(0.95, n - 1) * sd / np.sqrt(n) >= room:
        n += 1
    return float(n)
