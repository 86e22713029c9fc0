"""The ledger: the paper's claims beside what a run measured, with a verdict and its grounds."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from math import factorial, isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from latentsr.companion.claims import KEYS, read_evidence
from latentsr.stats.intervals import MIN_SUBJECTS

PAPER_SETS, PAPER_VAES = ("knee", "brain", "chest"), ["sd-vae-ft-ema", "medvae-4-3"]
CHAPTERS = ("04", "05", "06", "07", "08", "09", "12")
COLUMNS = (
    "claim part dataset lr_condition paper measured low high interval n_subjects n_images margin "
    "verdict because"
).split()
DIRECTIONS = ("same direction", "opposite", "inconclusive")
NO_SUPPORT = ("opposite", "inconclusive", "not attainable")
DESCRIPTIVE = "inconclusive (descriptive only)"
TOST = "of two one-sided tests"  # a narrower interval than all others of the ledger
CONDITIONS = "conditions"  # in claims.yaml: a row for each LR condition of the run
NOT_RELEASED = "the released protocol was not run"
ABSENT = {"released": NOT_RELEASED, "longer": 'the arm "longer" was not run'}
NEEDED = {  # beside the estimate
    "association": "n_points",
    "equivalence": "margin",
    "independence": "smallest_p",
    "significance": "smallest_p",
    "spread": "n_seeds",
}
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Part:
    """One testable part of a claim in one arm; the keys are explained at the head of claims.yaml."""

    id: str
    claim: str
    part: str
    rule: str = "difference"
    title: str = ""
    note: str = ""
    behind: str = ""
    chapters: Sequence[int] = ()
    quantity: str = ""
    reference: str = ""
    factor: str = ""
    variant: str = ""
    arm: str = "all"
    why: str = ""
    absent: str = ""
    interval: str = ""
    exact: bool = True
    bound: float = nan
    tolerance: float = nan
    threshold: float = nan
    min_points: int = 8
    paper: Mapping[str, float] = field(default_factory=dict)


@cache
def ledger() -> list[Part]:
    """Read claims.yaml: of each test its parts in its first arm, then in the next."""
    parts = []
    for claim in yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text()):
        tests, not_released = claim.pop("tests"), claim.pop("not_released", "")
        if not_released:
            title = "the same under the released protocol"
            tests.append({"why": not_released, "arms": {"released": title}})
        for test in tests:
            several, arms = test.pop("parts", [{}]), test.pop("arms")
            for (arm, title), one in product(arms.items(), several):
                keys = {**claim, **test, **one}
                keys |= keys.pop("evidence", {})
                absent = keys.pop("absent", {})
                if not isinstance(absent, str):
                    absent = (ABSENT | absent).get(arm, "")
                words = {key: keys.pop(key, "") for key in ("name", "released")}
                title = title.format(**words, factor=keys.get("factor"))
                parts.append(Part(**keys, part=title, arm=arm, absent=absent))
    return parts


def paper_figure(claim: str, figure: float | None) -> str:
    """Write what the paper states for a row: its bound where the claim has one, else its figure.

    >>> paper_figure("C4", 0), paper_figure("R7", 2.905), paper_figure("C3", None)
    ('within ±0.15', '2.905', '')
    """
    bound = next(part.bound for part in ledger() if part.id == claim)
    if not isnan(bound):
        return f"within ±{bound:g}"
    return "" if figure is None or isnan(figure) else f"{figure:.4g}"


def sd_interval(sd: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return the interval of an SD s over n values of a normal distribution.

    .. math:: [s \sqrt{(n - 1) / \chi^2_{1 - \alpha/2}}, s \sqrt{(n - 1) / \chi^2_{\alpha/2}}]

    with n - 1 degrees of freedom. Reference: NIST/SEMATECH e-Handbook, section 7.2.3.1.

    >>> [round(end, 2) for end in sd_interval(1.0, 3)]  # chi-square of 2: 0.0506 and 7.378
    [0.52, 6.28]
    """
    from scipy.stats import chi2

    most, least = chi2.interval(confidence, n - 1)[::-1]
    return float(sd * ((n - 1) / most) ** 0.5), float(sd * ((n - 1) / least) ** 0.5)


def direction(part: Part, figure: float, row: Row) -> str:
    """Give the verdict on a claim's direction, for runs that are not the paper's own."""
    low, high = row.get("sign_low", nan), row.get("sign_high", nan)
    if part.rule in ("independence", "significance"):
        p = row["p" if part.rule == "independence" else "estimate"]
        if isnan(p):
            return DESCRIPTIVE
        if row["smallest_p"] > part.threshold:
            return "not attainable"
        if p >= part.threshold:
            return "inconclusive"
        refuted = part.rule == "independence" or high < 0
        return "opposite" if refuted else "same direction"
    if isnan(low):
        return DESCRIPTIVE
    if part.rule in ("equivalence", "spread"):
        margin = row.get("margin", part.tolerance)
        inside = -margin < low and high < margin
        outside = low > margin or high < -margin
    else:
        inside, outside = (low > 0, high < 0) if figure > 0 else (high < 0, low > 0)
    if part.rule == "association":  # harder sets alone can make a correlation over sets
        predicts = row["left_out_rmse"] < row["no_difference_rmse"]
        ends = (row["within_low"] * figure, row["within_high"] * figure)
        inside = inside and predicts and min(ends) > 0
        if row["n_points"] < part.min_points or isnan(ends[0]):
            return "opposite" if outside else "not attainable"
    return "same direction" if inside else "opposite" if outside else "inconclusive"


def reproduction(part: Part, figure: float, row: Row, half_width: float) -> str:
    """Give the verdict on a claim's figure, for the paper's own data and autoencoders only."""
    if not part.exact or part.rule == "significance":
        word = direction(part, figure, row)
        names = {"same direction": "reproduced", "opposite": "deviates"}
        return names.get(word, word) if part.exact else word
    low, high = row["low"], row["high"]
    if isnan(low):
        return "inconclusive (no interval)"
    if part.rule == "equivalence":
        margin = row.get("margin", part.tolerance)
        if max(abs(low - figure), abs(high - figure)) < margin:
            return "reproduced"
        outside = low > figure + margin or high < figure - margin
        return "deviates" if outside else "inconclusive"
    if not low <= figure <= high:
        return "deviates"
    return "reproduced" if (high - low) / 2 <= half_width * abs(figure) else "inconclusive"


def verdict(
    part: Part, row: Row, sets: Mapping[str, Row], mains: Sequence[str], width: float
) -> str:
    """Give a row's verdict: why it was not tested, or the words its kind of run allows.

    ``sets`` is what sets.json says of the sets behind the row, ``mains`` the main autoencoders.
    """
    name = row["dataset"]
    if any(fact["split_by"] == "image" for fact in sets.values()):
        return "not tested (test images share a subject with training images)"
    if isnan(row["estimate"]):
        return f"not tested ({part.absent or row['reason']})"
    if name not in part.paper or not set(sets) <= set(PAPER_SETS):
        return "no counterpart in the paper"
    if min(fact["n_test_subjects"] for fact in sets.values()) < MIN_SUBJECTS:
        return DESCRIPTIVE
    if list(mains) != PAPER_VAES or any(fact["is_phantom"] for fact in sets.values()):
        return direction(part, part.paper[name], row)
    return reproduction(part, part.paper[name], row, width)


def completed(part: Part, row: Row, has_released: bool) -> dict[str, Any]:
    """Add what decides a row: the interval of its sign, a spread's interval, the part's margin.

    Raises
    ------
    ValueError
        When the run has no such evidence and should have, or the number that its rule needs.
    """
    full = dict(row)
    needed = NEEDED.get(part.rule, "estimate")
    if isnan(row["estimate"]):
        lost = has_released and part.absent.startswith(NOT_RELEASED)
        if not row["reason"] and (lost or not part.absent):
            raise ValueError("not measured, though the run has its arm")
        return full
    if isnan(full[needed]):
        raise ValueError(f"without {needed}")
    if part.rule == "spread":
        full["low"], full["high"] = sd_interval(row["estimate"], int(row["n_seeds"]))
        full["margin"] = part.tolerance
    for end in ("low", "high"):
        full[f"sign_{end}"] = full[end] if isnan(row[f"sign_{end}"]) else row[f"sign_{end}"]
    return full


def planned(sets: Sequence[str], conditions: Sequence[str]) -> pd.DataFrame:
    """Return a row a part, set and arm, with the keys of its evidence; ``row`` numbers its part."""
    rows = []
    for number, part in enumerate(ledger()):
        own = [name for name in sets if name in part.paper or name not in PAPER_SETS]
        keys = {key: getattr(part, key, "") for key in KEYS} | {"row": number}
        for name in ["all"] if part.why or "all" in part.paper else own:
            for arm in conditions if part.arm == CONDITIONS else [part.arm]:
                rows.append(keys | {"dataset": name, "arm": arm})
    return pd.DataFrame(rows)


def rows(
    evidence: pd.DataFrame, sets: Mapping[str, Row], study: Row, half_width: float
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the ledger; ``study`` names the ``main_vaes`` and ``lr_conditions``."""
    is_main = evidence["wavelet"] == ""
    plan = planned(list(sets), study["lr_conditions"])
    joined = plan.merge(evidence[is_main], how="left", on=KEYS, validate="many_to_one")
    others = dict(list(evidence[~is_main].sort_values("wavelet").groupby(KEYS[:-1])))
    levels = evidence[(evidence["quantity"] == "psnr_db") & (evidence["arm"] == "released")]
    released = {*levels["dataset"], *(["all"] if len(levels) else [])}
    for row in joined.fillna({"reason": ""}).to_dict("records"):
        part, name = ledger()[row["row"]], row["dataset"]
        facts = {name: sets[name]} if name in sets else sets
        head = {"claim": part.id, "part": part.part, "dataset": name, "lr_condition": row["arm"]}
        if part.why:
            yield head | {"interval": "", "verdict": f"not tested ({part.why})"}
            continue
        try:
            full = completed(part, row, name in released)
        except ValueError as error:
            place = f"claim {part.id}, {part.part}, {name}, {row['arm']}: {part.quantity}"
            raise ValueError(f"{place}: {error}; run the chapter again") from None
        word = verdict(part, full, facts, study["main_vaes"], half_width)
        head |= {"paper": part.paper.get(name) if part.exact else None, "verdict": word}
        if isnan(full["estimate"]):
            yield head | {"interval": ""}
            continue
        turned = others.get(tuple(row[key] for key in KEYS[:-1]), evidence[:0])
        numbers = {key: full[key] for key in COLUMNS if key in full and key not in head}
        numbers |= {"measured": full["estimate"], "interval": interval_words(part, full)}
        yield head | numbers | {"because": because(part, word, full, turned.to_dict("records"))}


def table(results: Path, reproduced_half_width: float) -> pd.DataFrame:
    """Return the ledger of a run: a row a part of a claim, a set and an LR condition.

    Raises
    ------
    ValueError
        When a chapter that the ledger draws on has not been run, or its file is broken.
    """
    facts = [results / "data" / "sets.json", results / "metrics" / "04.json"]
    try:
        sets, study = (json.loads(path.read_text()) for path in facts)
        evidence = read_evidence(results / "evidence" / f"{name}.csv" for name in CHAPTERS)
    except (OSError, ValueError) as error:
        again = f"run `make repro PROFILE={results.name}` again"
        raise ValueError(f"{results}: evidence that cannot be read ({error}); {again}") from None
    return pd.DataFrame(rows(evidence, sets, study, reproduced_half_width), columns=COLUMNS)


def disagree(row: Row) -> bool:
    """Tell whether a figure's own interval holds 0 where the interval of its sign does not."""
    return (row["sign_low"] > 0 or row["sign_high"] < 0) and row["low"] <= 0 <= row["high"]


def interval_words(part: Part, row: Row) -> str:
    """Say of a row's interval what it is, where it is not the run's usual one, or not alone."""
    if isnan(row["low"]):
        return ""
    sign = f"[{row['sign_low']:.3g}, {row['sign_high']:.3g}]"
    return f"of d, its side that of the mean difference {sign}" if disagree(row) else part.interval


def because(part: Part, word: str, row: Row, wavelets: Sequence[Row] = ()) -> str:
    """State the figures that a verdict rests on: always of an association, else if it is no support.

    ``wavelets`` is the same evidence by other wavelets; those that turn the verdict are named.
    """
    turned = []
    for other in wavelets if word in DIRECTIONS else ():
        full = completed(part, other, has_released=False)
        if (turn := direction(part, next(iter(part.paper.values())), full)) != word:
            turned.append(f"{other['wavelet']} makes it {turn}, {_estimate(full)}")
    if word not in NO_SUPPORT and not (turned or part.rule == "association" or disagree(row)):
        return ""
    return f"{_grounds(part, word, row)}{'; but ' * bool(turned)}{', '.join(turned)}"


def _interval(low: float, high: float, form: str = "+.3g") -> str:
    return "" if isnan(low) else f" [{low:{form}}, {high:{form}}]"


def _estimate(row: Row, form: str = "+.3g") -> str:
    return f"{row['estimate']:{form}}{_interval(row['sign_low'], row['sign_high'], form)}"


def _grounds(part: Part, word: str, row: Row) -> str:
    """Fill the template of a part's rule with the row's numbers."""
    levels = "" if isnan(row["first"]) else f"{row['second']:.4g} against {row['first']:.4g}, "
    over = "" if isnan(row["n_subjects"]) else f" over {row['n_subjects']:.0f} subjects"
    over = over if isnan(row["n_seeds"]) else f" over {row['n_seeds']:.0f} training seeds"
    sign = _interval(row["sign_low"], row["sign_high"])
    ends = [abs(row[end]) / row["margin"] for end in ("sign_low", "sign_high")]
    if part.rule == "difference":
        named = "" if row["sign_low"] == row["low"] else " with a mean difference in"
        text = f"{levels}{row['estimate']:+.3g}{named}{sign}{over}"
        if disagree(row):
            text += (
                f"; its own interval{_interval(row['low'], row['high'])} holds 0: that is wide for "
                "the spread that d divides by, which so few subjects tell badly"
            )
        shows = f", who would show a difference of {row['detectable_db']:.2g} dB in 80% of cases"
        return text + shows * (word == "inconclusive" and not isnan(row["detectable_db"]))
    if part.rule == "equivalence":
        steps = row["num_inference_steps"]
        text = f"{levels}{_estimate(row)} {part.interval}".rstrip() + over
        text += "" if isnan(steps) else f" at T = {steps:.0f}"
        side = f"its far end {max(ends):.2g}"
        side = f"at least {min(ends):.2g}" if word == "opposite" else side
        return f"{text}, {side} times the margin of ±{row['margin']:g}"
    if part.rule == "spread":
        side, times = ("lower", min(ends)) if word == "opposite" else ("upper", max(ends))
        free = f", which leave {row['n_seeds'] - 1:.0f} degrees of freedom; its {side} end is "
        return (
            f"{_estimate(row, '.2g')}{over}{free}{times:.2g} times the bound of {row['margin']:g}"
        )
    if part.rule == "significance":
        if word != "not attainable":
            return f"p = {row['estimate']:.2g}, mean difference{sign}{over}"
        needed = next(n for n in range(1, 2000) if 2.0 ** (1 - n) < part.threshold)
        best = f"{row['n_subjects']:.0f} subjects give p = {row['smallest_p']:.2g} at best"
        return f"{best}, all of one sign; it takes {needed}"
    if part.rule == "independence":
        text = f"rho = {_estimate(row, '+.2g')} over {row['n_vaes']:.0f} autoencoders"
        needed = next(n for n in range(2, 20) if 2 / factorial(n) < part.threshold)
        best = f", {row['smallest_p']:.2g} at best; it takes {needed} autoencoders"
        return f"{text}, p = {row['p']:.2g}{best * (word == 'not attainable')}"
    within = _interval(row["within_low"], row["within_high"], "+.2g")
    few = f"fewer than {part.min_points} points confirm nothing; "
    return (
        f"r = {_estimate(row, '.2g')} over {row['n_points']:.0f} points in {row['n_groups']:.0f} sets, "
        f"which are no independent draws; {few * (row['n_points'] < part.min_points)}"
        f"within sets {row['within_slope']:+.2g}{within} dB a dB over the {row['n_vaes']:.0f} "
        f"autoencoders that every set has{', too few for an interval' * (not within)}; a set left out "
        f"is predicted to {row['left_out_rmse']:.2g} dB, by no difference to "
        f"{row['no_difference_rmse']:.2g} dB"
    )


def lines(ledger_table: pd.DataFrame) -> Iterator[str]:
    """Write a ledger for a terminal: a heading a part, a line a set and LR condition.

    What was not measured for one reason takes one line, with its places.
    """
    for (claim, part), tested in ledger_table.groupby(["claim", "part"], sort=False):
        yield f"{claim}: {part}"
        measured = tested["measured"].notna()
        for row in tested[measured].to_dict("records"):
            paper = paper_figure(str(claim), row["paper"])
            here = f"{row['measured']:.4g}{_interval(row['low'], row['high'], '.4g')}"
            here += f" {row['interval']}" if row["interval"] else ""
            stated = f"paper {paper}, " if paper else ""
            yield f"  {_place(row)}: {stated}here {here}: {row['verdict']}"
        for word, silent in tested[~measured].groupby("verdict", sort=False):
            places = "; ".join(_place(row) for row in silent.to_dict("records"))
            if len(silent) == (~measured).sum() > 1:
                places = "elsewhere" if measured.any() else "everywhere"
            yield f"  {places}: {word}"


def _place(row: Mapping[Hashable, Any]) -> str:
    return ", ".join(dict.fromkeys((row["dataset"], row["lr_condition"])))
