"""Does a gap stay when something else is changed, and when arms are trained again? (Claim C4)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr import io as scores
from latentsr.stats import intervals as stats

SAMPLED_ONLY = ("ancestral sampling", "DPM-Solver++")  # ablations that train nothing


def change_of_gap(
    arms: Mapping[str, pd.DataFrame],
    main_vaes: Sequence[str],
    reference: str,
    margin_db: float,
    seed: int,
    confidence: float = 0.90,
    measure: str = "psnr_db",
) -> pd.DataFrame:
    """Return gap(arm) - gap(reference) of every arm, and whether it is within a margin.

    Paired by image, over subjects. The 90% interval inside the margin is "equivalent", wholly
    outside "beyond the margin", else "inconclusive"; below six subjects "descriptive only".
    ``verdict_5_percent`` takes 5% of the reference's gap for margin; ``excludes_0`` says whether
    the 95% interval does. ``settling_n`` is how many of ``settling_unit``, here subjects, would
    settle what is inconclusive, see `settling_n`. All of it is conditional on the trained weights.
    """

    def gap(rows: pd.DataFrame) -> pd.Series:
        pair = scores.paired(rows, "vae", main_vaes[0], main_vaes[1], measure)
        return (pair["b"] - pair["a"]).groupby(pair["subject_id"]).mean()

    start, found = gap(arms[reference]), []
    for name, rows in arms.items():
        if name == reference:
            continue
        d = stats.measured(gap(rows).sub(start))
        low, high, method = stats.mean_interval(d, seed, confidence)
        wide_low, wide_high, _ = stats.mean_interval(d, seed, 0.95)
        margins = {"verdict": margin_db, "verdict_5_percent": 0.05 * abs(start.mean())}
        row = {"arm": name, "gap": d.mean(), "low": low, "high": high}
        row |= {key: verdict(low, high, m, method) for key, m in margins.items()}
        row |= {"excludes_0": wide_low > 0 or wide_high < 0, "unit": "subjects"}
        row["settling_n"] = settling_n(row["verdict"], (low, high), margin_db, len(d))
        row["settling_unit"] = "subjects"
        found.append(row)
    return pd.DataFrame(found)


def settling_n(verdict: str, ends: tuple[float, float], margin: float, n: int) -> float:
    """Return how many units would settle an inconclusive verdict, NaN where it is settled.

    With the same mean and spread the half-width falls as the root of n, until the interval is
    wholly inside or wholly outside the margin.

    >>> settling_n("inconclusive", (-0.1, 0.2), 0.1, 10)  # half-width 0.15 to 0.05: 9 times
    90.0
    """
    middle, half = sum(ends) / 2, (ends[1] - ends[0]) / 2
    room = abs(margin - abs(middle))
    if verdict != "inconclusive":
        return float("nan")
    return float(np.ceil(n * (half / room) ** 2 - 1e-9)) if room else float("inf")


def settling_seeds(verdict: str, change: float, sd: float, margin: float) -> float:
    r"""Return how many training seeds of both would settle an inconclusive verdict, else NaN.

    With n seeds of the ablation and of the reference, whose gaps differ with SD s from seed to
    seed, the half-width is :math:`t_{n-1} s / \sqrt{n}`: the smallest n that puts it below the room
    up to the margin.

    >>> settling_seeds("inconclusive", 1.1, 1.0, 0.15)  # 5: 2.132 x 0.447; 6: 2.015 x 0.408 < 0.95
    6.0
    """
    from scipy import stats as distributions

    room = abs(margin - abs(change))
    if verdict != "inconclusive" or sd != sd:
        return float("nan")
    if not room:
        return float("inf")
    n = max(2, int((distributions.norm.ppf(0.95) * sd / room) ** 2))  # t is wider
    while distributions.t.ppf(0.95, n - 1) * sd / np.sqrt(n) >= room:
        n += 1
    return float(n)


def change_over_seeds(gaps: pd.DataFrame, margin_db: float) -> pd.DataFrame:
    r"""Return gap(arm) - gap(reference) of arms that were trained anew, over n training seeds.

    Paired by seed, so only seeds count, and the mean over subjects is one number each: the 90%
    interval is :math:`\bar d \pm t_{n-1} s / \sqrt{n}`. Verdicts as in `change_of_gap`; with three
    seeds the honest answer is most often "inconclusive", and ``settling_n`` says how many seeds of
    both would settle it. ``n_seeds`` is n.

    Parameters
    ----------
    gaps : DataFrame
        Columns arm, seed, first, second and gap, a row an arm and seed; one arm is "reference".

    Returns
    -------
    DataFrame
        A row an arm, the reference first, as ``reference, mean of n seeds`` and without a change:
        first, second and gap are means over the seeds.

    References
    ----------
    Student, The Probable Error of a Mean, 1908.
    """
    from scipy import stats as distributions

    by_seed = gaps.pivot(index="seed", columns="arm", values="gap")
    levels = gaps.groupby("arm", sort=False)[["first", "second", "gap"]].mean()
    n, start = len(by_seed), by_seed["reference"]
    mean = f"reference, mean of {n} seeds"
    margins = {"verdict": margin_db, "verdict_5_percent": 0.05 * abs(start.mean())}
    found = [pd.DataFrame(levels.loc[["reference"]]).assign(arm=mean)]
    for name in [name for name in levels.index if name != "reference"]:
        d = by_seed[name] - start
        half, half_95 = (distributions.t.ppf(q, n - 1) * d.std() / n**0.5 for q in (0.95, 0.975))
        low, high = d.mean() - half, d.mean() + half
        row: dict[str, Any] = {"arm": name, "change": d.mean(), "low": low, "high": high}
        row |= {key: verdict(low, high, margin) for key, margin in margins.items()}
        row |= {"excludes_0": bool(abs(d.mean()) > half_95), "unit": f"{n} training seeds"}
        row["settling_n"] = settling_seeds(row["verdict"], d.mean(), d.std(), margin_db)
        row |= {"settling_unit": "seeds of both", "n_seeds": n, "against": mean}
        found.append(levels.loc[[name]].assign(**row))
    return pd.concat(found).set_index("arm").reset_index()


def verdict(low: float, high: float, margin: float, method: str = "") -> str:
    """Hold an interval to a margin on both sides of zero; a ``method`` without interval is returned.

    >>> verdict(-0.1, 0.1, 0.15), verdict(0.2, 0.3, 0.15), verdict(0.1, 0.3, 0.15)
    ('equivalent', 'beyond the margin', 'inconclusive')
    """
    if method == stats.DESCRIPTIVE:
        return method
    if -margin < low and high < margin:
        return "equivalent"
    return "beyond the margin" if low > margin or high < -margin else "inconclusive"


def over_seeds(gaps_by_seed: pd.DataFrame) -> pd.DataFrame:
    """Return mean and SD over training seeds of both arms and of the gap: rows a condition.

    ``gaps_by_seed`` is that of `gaps`, with arms named ``condition, seed k``.

    >>> arms = ["lr_pixels, seed 1", "lr_pixels, seed 2"]
    >>> table = pd.DataFrame({"arm": arms, "first": [20.0, 22.0], "second": 25.0, "gap": [5.0, 3.0]})
    >>> over_seeds(table).round(2).loc["lr_pixels", ("gap", "std")].item()
    1.41
    """
    condition = gaps_by_seed["arm"].str.partition(",")[0].rename("lr_condition")
    return gaps_by_seed.groupby(condition)[["first", "second", "gap"]].agg(["mean", "std", "count"])


def effects_over_seeds(effects: pd.DataFrame) -> pd.DataFrame:
    """Return every effect of every training seed, their mean and their SD: rows (condition, effect).

    ``effects`` has columns arm (``condition, seed k``), effect and estimate; the SD of one seed
    is NaN.

    >>> arms = [f"lr_pixels, seed {k}" for k in (1, 2, 3)]
    >>> table = pd.DataFrame({"arm": arms, "effect": "domain", "estimate": [1.0, 2.0, 3.0]})
    >>> effects_over_seeds(table).loc[("lr_pixels", "domain")].to_dict()
    {'seed 1': 1.0, 'seed 2': 2.0, 'seed 3': 3.0, 'mean': 2.0, 'sd': 1.0}
    """
    named = effects["arm"].str.split(", ", n=1, expand=True)
    rows = effects.assign(lr_condition=named[0], seed=named[1])
    wide = rows.pivot_table(
        index=["lr_condition", "effect"], columns="seed", values="estimate", sort=False
    ).rename_axis(columns=None)
    return wide.assign(mean=wide.mean(axis=1), sd=wide.std(axis=1))
