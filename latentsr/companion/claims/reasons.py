"""What in the data makes a verdict of the ledger, in figures of the run: a clause a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import factorial, isnan
from typing import TYPE_CHECKING

import pandas as pd

from latentsr.plots.labels import in_words

if TYPE_CHECKING:
    from latentsr.companion.claims.ledger import Part

Found = Mapping[str, float]
NO_SUPPORT = ("opposite", "inconclusive", "not attainable")


def because(part: Part, word: str, found: Found) -> str:
    """Say what a verdict rests on; empty where the claim is supported, but for an association."""
    if part.rule == "association":
        return _association(part, found)
    if word not in NO_SUPPORT:
        return _difference(part, word, found) if disagree(part, found) else ""
    clauses = {
        "difference": _difference,
        "equivalence": _equivalence,
        "significance": _significance,
        "independence": _independence,
        "spread": _spread,
    }
    return clauses[part.rule](part, word, found)


def with_others(
    part: Part, found: Found, told: str, turned: Mapping[str, tuple[str, Found]]
) -> str:
    """Add to a row's reason the wavelets with which its verdict turns (`claims.turned`)."""
    if not turned:
        return told
    also = [
        f"{wavelet} makes it {word}, {other['value']:+.3g} "
        f"[{other['below']:+.3g}, {other['above']:+.3g}]"
        for wavelet, (word, other) in turned.items()
    ]
    return f"{told or _difference(part, '', found)}; but {', '.join(also)}"


def _levels(found: Found) -> str:
    if isnan(found["first"]) or isnan(found["second"]):
        return ""
    return f"{found['second']:.4g} against {found['first']:.4g}, "


def _over(found: Found) -> str:
    if not isnan(found["n_seeds"]):
        return f" over {found['n_seeds']:.0f} training seeds"
    return "" if isnan(found["n_subjects"]) else f" over {found['n_subjects']:.0f} subjects"


def _difference(part: Part, word: str, found: Found) -> str:
    interval = f"[{found['below']:+.3g}, {found['above']:+.3g}]"
    text = f"{_levels(found)}{found['value']:+.3g} "
    text += f"with a mean difference in {interval}" if part.sign_by else interval
    text += _over(found)
    if disagree(part, found):
        text += (
            f"; its own interval [{found['low']:+.3g}, {found['high']:+.3g}] holds 0: that is wide "
            "for the spread that d divides by, which so few subjects tell badly"
        )
    if word == "inconclusive" and not isnan(found["detectable_db"]):
        text += f", who would show a difference of {found['detectable_db']:.2g} dB in 80% of cases"
    return text


def which_interval(part: Part, found: Found) -> str:
    """Say of a row's interval what it is, where it is not the run's usual one, or not alone."""
    if isnan(found["low"]):
        return ""
    if disagree(part, found):
        decides = f"[{found['below']:.3g}, {found['above']:.3g}]"
        return f"of d, its side that of the mean difference {decides}"
    return part.interval


def disagree(part: Part, found: Found) -> bool:
    """Tell whether a figure's own interval holds 0 where the interval that decides does not."""
    decided = found["below"] > 0 or found["above"] < 0
    return bool(part.sign_by) and decided and found["low"] <= 0 <= found["high"]


def _equivalence(part: Part, word: str, found: Found) -> str:
    interval = f"[{found['below']:+.3g}, {found['above']:+.3g}]"
    which = f" {part.interval}" if part.interval else ""
    text = f"{_levels(found)}{found['value']:+.3g} {interval}{which}{_over(found)}"
    text += "" if isnan(found["T"]) else f" at T = {found['T']:.0f}"
    least, most = sorted(abs(found[end]) / found["margin"] for end in ("below", "above"))
    if word == "opposite":
        return f"{text}, at least {least:.2g} times the margin of ±{found['margin']:g}"
    return f"{text}, its far end {most:.2g} times the margin of ±{found['margin']:g}"


def _spread(part: Part, word: str, found: Found) -> str:
    text = (
        f"{found['value']:.2g} [{found['below']:.2g}, {found['above']:.2g}] over "
        f"{found['n_seeds']:.0f} training seeds, which leave {found['n_seeds'] - 1:.0f} degrees of "
        "freedom; "
    )
    end, side = ("below", "lower") if word == "opposite" else ("above", "upper")
    times = found[end] / found["margin"]
    return f"{text}its {side} end is {times:.2g} times the bound of {found['margin']:g}"


def _significance(part: Part, word: str, found: Found) -> str:
    if word == "not attainable":
        needed = next(n for n in range(1, 2000) if 2.0 ** (1 - n) < part.threshold)
        return (
            f"{found['n_subjects']:.0f} subjects give p = {found['smallest_p']:.2g} at best, all of "
            f"one sign; it takes {needed}"
        )
    side = f"mean difference [{found['below']:+.3g}, {found['above']:+.3g}]"
    return f"p = {found['value']:.2g}, {side}{_over(found)}"


def _independence(part: Part, word: str, found: Found) -> str:
    text = (
        f"rho = {found['value']:+.2g}{_ends(found['below'], found['above'])} over "
        f"{found['n_vaes']:.0f} autoencoders, p = {found['p']:.2g}"
    )
    if word == "not attainable":
        needed = next(n for n in range(2, 20) if 2 / factorial(n) < part.threshold)
        text += f", {found['smallest_p']:.2g} at best; it takes {needed} autoencoders"
    return text


def _ends(low: float, high: float) -> str:
    return "" if isnan(low) else f" [{low:+.2g}, {high:+.2g}]"


def _association(part: Part, found: Found) -> str:
    rests = f"{found['n_points']:.0f} points in {found['n_groups']:.0f} sets"
    text = (
        f"r = {found['value']:.2g} [{found['below']:.2g}, {found['above']:.2g}] over {rests}, which "
        "are no independent draws; "
    )
    ends = _ends(found["within_low"], found["within_high"])
    over = f" over the {found['n_vaes']:.0f} autoencoders that every set has"
    over += ", too few for an interval" * (not ends)
    few = found["n_points"] < part.min_points
    text += f"fewer than {part.min_points} points confirm nothing; " if few else ""
    return text + (
        f"within sets {found['within_slope']:+.2g}{ends} dB a dB{over}; a set left out is predicted to "
        f"{found['left_out_rmse']:.2g} dB, by no difference to {found['no_difference_rmse']:.2g} dB"
    )


def reasons(table: pd.DataFrame, behind: Mapping[str, str]) -> Iterator[str]:
    """Yield the reasons of a ledger, `claims.table`: a line a claim, then one a part and verdict.

    ``behind`` holds the ledger's sentence on what lies behind a claim's rows.
    """
    told = table[table["because"].fillna("") != ""]
    for claim, rows in told.groupby("claim", sort=False):
        yield f"{claim}: {behind[str(claim)]}"
        for (part, word), some in rows.groupby(["part", "verdict"], sort=False):
            places = []
            for (name, text), alike in some.groupby(["dataset", "because"], sort=False):
                kinds = [in_words(kind) for kind in alike["lr_condition"] if kind != "all"]
                where = [*([] if name == "all" else [str(name)]), *kinds]
                places.append(f"{', '.join(where) or 'all sets'}: {text}")
            yield f"  {part}: {word}, because " + "; ".join(places)
