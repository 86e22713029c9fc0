"""The paper's claims, row by row, beside what a run measured, with a verdict a row."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from latentsr.companion.claims import chapter_figures, reasons
from latentsr.stats.intervals import MIN_SUBJECTS

PAPER_SETS, PAPER_VAES = ("knee", "brain", "chest"), ["sd-vae-ft-ema", "medvae-4-3"]
CHAPTERS = ("04", "05", "06", "07", "08", "09")
COLUMNS = (
    "claim part dataset lr_condition paper measured low high interval n_subjects n_images margin "
    "verdict because"
).split()
DIRECTIONS = ("same direction", "opposite", "inconclusive")
DESCRIPTIVE = "inconclusive (descriptive only)"
TOST = "of two one-sided tests"  # a narrower interval than all others of the ledger
ARMS = {"released": "released", "longer": "longer", "controlled": "lr_pixels"}  # by source
ARMS |= {kind: kind for kind in ("lr_latent", "upsampled_latent", "lr_pixels")}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One testable part of a claim; the keys are explained at the head of claims.yaml."""

    id: str
    claim: str
    part: str
    rule: str
    title: str = ""
    note: str = ""
    behind: str = ""
    source: str = ""
    why: str = ""
    absent: str = ""
    arm: str = ""
    exact: bool = True
    bound: float = nan
    tolerance: float = nan
    threshold: float = nan
    min_points: int = 8
    paper: Mapping[str, float] = field(default_factory=dict)
    level: str = ""
    fields: Sequence[str] = ("mean", "low", "high")
    sign_by: Sequence[str] = ()

    @property
    def stands_under(self) -> str:
        """The arm that a part without ``{lr_condition}`` is of; all: it needs no denoiser.

        >>> Part("C", "", "", "", source="08/gap/psnr_db/{dataset}/longer").stands_under
        'longer'
        """
        named = [ARMS[key] for key in self.source.split("/") if key in ARMS]
        return self.arm or (named[0] if named else "all")

    @property
    def interval(self) -> str:
        """Which interval decides and is shown, where it is not the run's usual one."""
        return TOST if self.fields[1].startswith("tost") else self.level


@cache
def ledger() -> list[Part]:
    """Read claims.yaml, one entry a part."""
    rows = yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text())
    return [Part(**{**row, **part}) for row in rows for part in row.pop("parts")]


def paper_figure(claim: str, figure: float | None) -> str:
    """Write what the paper states for a row: its bound where the claim has one, else its figure.

    >>> paper_figure("C4", 0), paper_figure("R7", 2.905), paper_figure("C3", None)
    ('within ±0.15', '2.905', '')
    """
    bound = next(part.bound for part in ledger() if part.id == claim)
    if not isnan(bound):
        return f"within ±{bound:g}"
    return "" if figure is None or isnan(figure) else f"{figure:.4g}"


def direction(part: Part, figure: float, found: Record) -> str:
    """Give the verdict on a claim's direction, for runs that are not the paper's own."""
    if part.rule in ("independence", "significance"):
        p = found["p" if part.rule == "independence" else "value"]
        if isnan(p):
            return DESCRIPTIVE
        if found["smallest_p"] > part.threshold:
            return "not attainable"
        if p >= part.threshold:
            return "inconclusive"
        refuted = part.rule == "independence" or found["above"] < 0
        return "opposite" if refuted else "same direction"
    low, high = found["below"], found["above"]
    if isnan(low):
        return DESCRIPTIVE
    if part.rule in ("equivalence", "spread"):
        margin = found.get("margin", part.tolerance)
        inside = -margin < low and high < margin
        outside = low > margin or high < -margin
    else:
        inside, outside = (low > 0, high < 0) if figure > 0 else (high < 0, low > 0)
    if part.rule == "association":  # harder sets alone can make a correlation over sets
        foretells = found["left_out_rmse"] < found["no_difference_rmse"]
        ends = (found["within_low"] * figure, found["within_high"] * figure)
        inside = inside and foretells and min(ends) > 0
        if found["n_points"] < part.min_points or isnan(ends[0]):
            return "opposite" if outside else "not attainable"
    return "same direction" if inside else "opposite" if outside else "inconclusive"


def reproduction(part: Part, figure: float, found: Record, half_width: float) -> str:
    """Give the verdict on a claim's figure, for the paper's own data and autoencoders only."""
    if not part.exact or part.rule == "significance":
        word = direction(part, figure, found)
        names = {"same direction": "reproduced", "opposite": "deviates"}
        return names.get(word, word) if part.exact else word
    low, high = found["low"], found["high"]
    if isnan(low):
        return "inconclusive (no interval)"
    if part.rule == "equivalence":
        margin = found.get("margin", part.tolerance)
        if max(abs(low - figure), abs(high - figure)) < margin:
            return "reproduced"
        apart = low > figure + margin or high < figure - margin
        return "deviates" if apart else "inconclusive"
    if not low <= figure <= high:
        return "deviates"
    return "reproduced" if (high - low) / 2 <= half_width * abs(figure) else "inconclusive"


def turned(part: Part, word: str, record: Record) -> dict[str, tuple[str, dict[str, float]]]:
    """Give the verdicts with other wavelets, where the record has them, that are not the row's.

    Nothing of a row whose verdict speaks of no direction: too few subjects, or not tested.
    """
    figure, words = next(iter(part.paper.values()), nan), {}
    for wavelet, leaf in record.get("by_wavelet", {}).items():
        found = chapter_figures.measured(part, leaf)
        if found and word in DIRECTIONS and (other := direction(part, figure, found)) != word:
            words[wavelet] = other, found
    return words


def verdict(part: Part, found: Record | None, name: str, metrics: Record, width: float) -> str:
    """Give a row's verdict: why it was not tested, or the words its kind of run allows."""
    sets = [name] if name in metrics["sets"] else list(metrics["sets"])
    facts = [metrics["sets"][one] for one in sets]
    if any(fact["split_by"] == "image" for fact in facts):
        return "not tested (test images share a subject with training images)"
    if found is None:
        return f"not tested ({part.absent or 'not in this run'})"
    if name not in part.paper or not set(sets) <= set(PAPER_SETS):
        return "no counterpart in the paper"
    if min(fact["n_test_subjects"] for fact in facts) < MIN_SUBJECTS:
        return DESCRIPTIVE
    if metrics["04"]["main_vaes"] != PAPER_VAES or any(fact["is_phantom"] for fact in facts):
        return direction(part, part.paper[name], found)
    return reproduction(part, part.paper[name], found, width)


def rows(metrics: Record, half_width: float) -> Iterator[dict[str, Any]]:
    """Yield the rows of the ledger from the sets and the metrics of all chapters."""
    first, second = metrics["04"]["main_vaes"]
    for part in ledger():
        arm = part.stands_under
        head = {"claim": part.id, "part": part.part, "dataset": "all", "lr_condition": arm}
        head["interval"] = ""
        if part.why:
            yield head | {"verdict": f"not tested ({part.why})"}
            continue
        sets = [s for s in metrics["sets"] if s in part.paper or s not in PAPER_SETS]
        kinds = metrics["04"]["lr_conditions"] if "{lr_condition}" in part.source else [arm]
        for name in sets if "{dataset}" in part.source else ["all"]:
            for kind in kinds:
                place = {"dataset": name, "lr_condition": kind}
                try:
                    record = chapter_figures.recorded(
                        part, metrics, first=first, second=second, **place
                    )
                    found = chapter_figures.measured(part, record)
                except (AttributeError, TypeError, KeyError, ValueError) as error:
                    raise ValueError(
                        f"claim {part.id}, {part.part}, {name}, {kind}: {part.source} holds no "
                        f"figure ({error if isinstance(error, ValueError) else type(error).__name__}"
                        "); run the chapter again"
                    ) from None
                known = (found or {}).items()
                seen: dict[str, Any] = {key: value for key, value in known if key in COLUMNS}
                word = verdict(part, found, name, metrics, half_width)
                if found:
                    told = reasons.because(part, word, found)
                    told = reasons.with_others(part, found, told, turned(part, word, record or {}))
                    seen = {**seen, "measured": found["value"], "because": told}
                    seen["interval"] = reasons.which_interval(part, found)
                yield (
                    head
                    | place
                    | seen
                    | {"paper": part.paper.get(name) if part.exact else None, "verdict": word}
                )


def table(results: Path, reproduced_half_width: float) -> pd.DataFrame:
    """Return the ledger of a run: a row a part of a claim, a set and an LR condition.

    Raises
    ------
    ValueError
        When a chapter that the ledger draws on has not been run, or its file is broken.
    """
    paths = {chapter: results / "metrics" / f"{chapter}.json" for chapter in CHAPTERS}
    paths["sets"] = results / "data" / "sets.json"
    for path in paths.values():
        if not path.exists():
            raise ValueError(f"{path}: not there; run `make repro PROFILE={results.name}` first")
    metrics = {}
    for key, path in paths.items():
        try:
            metrics[key] = json.loads(path.read_text())
        except ValueError as error:
            told = f"{path}: not JSON ({error}); run `make repro PROFILE={results.name}` again"
            raise ValueError(told) from None
    return pd.DataFrame(rows(metrics, reproduced_half_width), columns=COLUMNS)


def told(ledger_table: pd.DataFrame) -> Iterator[str]:
    """Say why, for all that is opposite, inconclusive or not attainable, and of associations.

    Below six subjects the verdict says itself why it is inconclusive.
    """
    return reasons.reasons(ledger_table, {part.id: part.behind for part in ledger()})


def lines(ledger_table: pd.DataFrame) -> Iterator[str]:
    """Write a ledger for a terminal: a heading a part, a line a set and LR condition.

    What was not measured for one reason takes one line, with its places.
    """
    for (claim, part), rows in ledger_table.groupby(["claim", "part"], sort=False):
        yield f"{claim}: {part}"
        for row in rows[rows["measured"].notna()].to_dict("records"):
            paper = paper_figure(str(claim), row["paper"])
            said = f"paper {paper}, " if paper else ""
            here = f"here {row['measured']:.4g}"
            here += "" if row["low"] != row["low"] else f" [{row['low']:.4g}, {row['high']:.4g}]"
            here += f" {row['interval']}" if row["interval"] else ""
            yield f"  {_place(row)}: {said}{here}: {row['verdict']}"
        untold = rows[rows["measured"].isna()]
        for verdict, silent in untold.groupby("verdict", sort=False):
            places = "; ".join(_place(row) for row in silent.to_dict("records"))
            if len(silent) == len(untold) > 1:
                places = "everywhere" if len(untold) == len(rows) else "elsewhere"
            yield f"  {places}: {verdict}"


def _place(row: Mapping[Hashable, Any]) -> str:
    return ", ".join(dict.fromkeys((row["dataset"], row["lr_condition"])))
