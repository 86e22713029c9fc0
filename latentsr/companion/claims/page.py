"""The page of claims: a section a claim, written from the ledger of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.companion.book import front
from latentsr.companion.book.markdown import escaped, markdown_table
from latentsr.companion.claims import ledger as claims
from latentsr.companion.pipeline import notebook
from latentsr.plots import style as figures


def _figure_and_verdict(row: Any) -> str:
    """Write one cell of the ledger: what was measured, its interval, the verdict."""
    if row.measured != row.measured:
        return str(row.verdict)
    interval = "" if row.low != row.low else f" [{row.low:.3g}, {row.high:.3g}]"
    if interval and isinstance(row.interval, str) and row.interval:
        interval += " (TOST)" if row.interval == claims.TOST else f" {row.interval}"
    return f"{row.measured:.3g}{interval}: {row.verdict}"


def _in_words(condition: str) -> str:
    return figures.CONDITION_LABELS.get(condition, condition).replace("\n", " ")


def _claim(rows: pd.DataFrame) -> str:
    """Write what was measured for one claim: LR conditions side by side, then parts of one arm.

    What was tested nowhere is told in one line a reason.
    """
    rows = rows.assign(found=[_figure_and_verdict(row) for row in rows.itertuples()])
    rows["paper"] = [
        claims.paper_figure(str(claim), figure) or "–"
        for claim, figure in rows[["claim", "paper"]].values.tolist()
    ]
    seen = rows.groupby(["part", "dataset"])["n_subjects"].transform("max")
    rows["subjects"] = [escaped(value) for value in seen]
    keys = ["part", "dataset", "subjects", "paper"]
    by_row = rows.groupby(["part", "dataset"])
    silent = rows.measured.isna() & (by_row["measured"].transform("count") == 0)
    silent &= by_row["verdict"].transform("nunique") == 1
    shown = []
    spoken = rows[~silent]
    side_by_side = spoken.groupby("part")["lr_condition"].transform("nunique") > 1
    if len(several := spoken[side_by_side]):
        wide = several.pivot(index=keys, columns="lr_condition", values="found")
        order = list(dict.fromkeys(map(tuple, several[keys].values.tolist())))
        wide = wide.loc[order, list(dict.fromkeys(several.lr_condition))]
        shown.append(wide.rename(columns=_in_words).reset_index())
    if len(general := spoken[~side_by_side]):
        arm = general["lr_condition"].replace("all", "none").map(_in_words)
        general = general.assign(arm=arm)
        shown.append(general.rename(columns={"found": "here"})[[*keys, "arm", "here"]])
    text = "".join(f"````{{div}} wide-table\n{markdown_table(part)}````\n\n" for part in shown)
    sets = rows.groupby("part")["dataset"].unique()
    for verdict, untold in rows[silent].groupby("verdict", sort=False):
        named = []
        for part, of_part in untold.groupby("part", sort=False):
            missing = list(dict.fromkeys(of_part.dataset))
            where = "" if set(missing) == set(sets[part]) else f" ({', '.join(missing)})"
            named.append(f"{part}{where}")
        first = str(verdict)
        text += f"{escaped(first[:1].upper() + first[1:])}: {escaped('; '.join(named))}.\n\n"
    return text


def _measured_in(claim: str) -> str:
    """Link the chapters whose numbers a claim rests on, and the page of what takes hours.

    >>> _measured_in("C3"), _measured_in("P2")
    (' See [chapter 5](notebooks/05_wavelets.ipynb).', '')
    >>> _measured_in("R6").split(", ")[1]
    '[What hours of training say](measured.md).'
    """
    parts = [part for part in claims.ledger() if part.id == claim]
    numbers = sorted({part.source[:2] for part in parts} - {""})
    stems = [stem for number in numbers for stem in notebook.STEMS if stem.startswith(number)]
    links = [f"[chapter {int(stem[:2])}](notebooks/{stem}.ipynb)" for stem in stems]
    if any("ablations.run" in part.absent for part in parts):
        links.append("[What hours of training say](measured.md)")
    return f" See {', '.join(links)}." if links else ""


def sections(path: Path) -> str:
    """Write a section a claim: what the paper says, what to keep in mind, what was measured."""
    said = {part.id: part for part in claims.ledger()}
    text = ""
    for name, rows in pd.read_csv(path).groupby("claim", sort=False):
        part = said[str(name)]
        head = f"({str(name).lower()})=\n({front.anchor(str(name))})=\n\n## {name}"
        text += f"{head}: {escaped(part.title)}\n\n**{escaped(part.claim)}**"
        text += f"{_measured_in(str(name))}\n\n"
        text += f"{escaped(part.note)}\n\n" if part.note else ""
        text += _claim(rows)
        if rows["because"].notna().any():
            text += f"*{escaped(part.behind)}* Row by row: {{doc}}`notebooks/10_claims`.\n\n"
    return text
