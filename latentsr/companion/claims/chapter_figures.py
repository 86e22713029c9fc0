"""A row of the ledger, looked up in what the chapters measured: its figure and its interval."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from latentsr.stats.intervals import MIN_SUBJECTS

if TYPE_CHECKING:
    from latentsr.companion.claims.ledger import Part

MORE = (
    "p smallest_p within_slope within_low within_high left_out_rmse no_difference_rmse "
    "n_subjects n_images first second detectable_db n_points n_groups n_vaes n_seeds T margin"
).split()
NEEDED = {  # of a record, beside its figure and interval; null where it cannot be had
    "association": "within_low within_high left_out_rmse no_difference_rmse n_points".split(),
    "independence": ["p", "smallest_p"],
    "significance": ["smallest_p"],
    "spread": ["n_seeds"],
}
NOT_RELEASED = "the released protocol was not run"  # how a part's `absent` begins
Record = Mapping[str, Any]


def recorded(part: Part, metrics: Record, **place: str) -> Record | None:
    """Look up a part's record in the metrics of all chapters; None where it was not measured.

    A part that does not say when its record is ``absent`` always has one, and so has one of the
    released arm where chapter 4 has that arm. A record's figure may be null below six subjects,
    and a rank correlation's where rates do not differ.
    """
    *keys, last = part.source.format(**place).split("/")
    node: Any = metrics
    for key in keys:
        node = (node or {}).get(key)
    found = (node or {}).get(last)
    facts = metrics.get("sets", {})
    sets = [place["dataset"]] if place.get("dataset") in facts else list(facts)
    if not found:
        ran = (metrics.get("04") or {}).get("protocols", {})
        released = any("released" in ran.get(name, {}) for name in sets)
        fitted = part.rule == "association" and last in (node or {})  # null: too few points
        if not part.absent:
            raise ValueError("not in the chapter's file, where it always is")
        if part.absent.startswith(NOT_RELEASED) and released and not fitted:
            raise ValueError("not in the chapter's file, though chapter 4 has the released arm")
        return None
    if (name := part.fields[0]) not in found:
        raise ValueError(f"its {name} is missing")
    if found[name] is None:
        few = min((facts[one]["n_test_subjects"] for one in sets), default=0) < MIN_SUBJECTS
        if not (few or part.rule == "independence"):
            raise ValueError(f"its {name} is null")
        return None
    return found


def sd_interval(sd: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return the interval of an SD s over n values of a normal distribution.

    .. math:: [s \sqrt{(n - 1) / \chi^2_{1 - \alpha/2}}, s \sqrt{(n - 1) / \chi^2_{\alpha/2}}]

    with n - 1 degrees of freedom. Reference: NIST/SEMATECH e-Handbook, section 7.2.3.1.

    >>> [round(end, 2) for end in sd_interval(1.0, 3)]  # chi-square of 2: 0.0506 and 7.378
    [0.52, 6.28]
    """
    from scipy.stats import chi2

    tail = (1 - confidence) / 2
    low, high = (sd * ((n - 1) / chi2.ppf(q, n - 1)) ** 0.5 for q in (1 - tail, tail))
    return float(low), float(high)


def measured(part: Part, record: Record | None) -> dict[str, float] | None:
    """Read what the ledger needs from a part's record.

    Returns value, low and high; below and above, the interval that decides the direction; p,
    and the rest of `MORE`; nan for what the record does not hold. The margin of an equivalence is
    the part's tolerance, or the record's own; the interval of a spread is `sd_interval`.

    >>> from latentsr.companion.claims.ledger import Part
    >>> part = Part("C", "", "", "difference", source="05/gap/{dataset}")
    >>> measured(part, {"mean": 1, "low": 0.5, "high": 1.5})["below"]
    0.5
    """
    if record is None:
        return None
    ends = part.fields[1:] if part.rule != "spread" else ()
    needed = (*filter(None, ends), *NEEDED.get(part.rule, ()))
    if lost := [key for key in needed if key not in record]:
        raise ValueError(f"no {lost[0]}")
    names = ("value", "low", "high", "below", "above", *MORE)
    keys = (*part.fields, *(part.sign_by or part.fields[1:]), *MORE)
    values = {name: record.get(key) for name, key in zip(names, keys, strict=True)}
    given = {name: nan if value is None else float(value) for name, value in values.items()}
    if not isnan(part.tolerance):
        given["margin"] = part.tolerance
    if part.rule == "spread":
        low, high = sd_interval(given["value"], int(given["n_seeds"]))
        given |= {"low": low, "high": high, "below": low, "above": high}
    if part.rule == "equivalence" and isnan(given["margin"]):
        raise ValueError("no margin")
    return given
