"""The claims in short and the page of claims, written from the ledger of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.companion.book.markdown import escaped, markdown_table
from latentsr.companion.claims import ledger
from latentsr.companion.pipeline import notebook
from latentsr.plots.labels import CONDITION_LABELS

KEYS = ["part", "dataset", "subjects", "paper"]
IN_SHORT = {  # arms of the ledger, each a column of the table in short
    "released": "as released",
    "lr_pixels": "controlled",
    "longer": "controlled, longer",
    "all": "not by protocol",
}


def anchor(claim: str) -> str:
    """Name the place of a claim on the page of claims.

    >>> anchor("C5b")
    'claim-c5b'
    """
    return f"claim-{claim.lower()}"


def _in_short(rows: pd.DataFrame) -> str:
    """Write what the first part of a claim measured, set by set, and the verdicts of all parts.

    >>> rows = pd.DataFrame({"part": ["a", "a", "b"], "measured": [1.0, 2.5, 3.0]})
    >>> _in_short(rows.assign(verdict=["opposite", "opposite", "not tested (why)"]))
    '1.00 / 2.50: opposite 2, not tested 1'
    """
    if rows.empty:
        return "–"
    first = rows.loc[rows["part"] == rows["part"].iloc[0], "measured"].dropna()
    values = " / ".join(f"{value:.2f}" for value in first)
    counts = rows["verdict"].str.split(" (", regex=False).str[0].value_counts(sort=False)
    words = ", ".join(f"{word} {n}" for word, n in counts.items())
    return f"{values}: {words}" if values else ", ".join(map(str, counts.index))


def in_short(path: Path) -> str:
    """Write a row a claim: the paper's values and what was measured, a column a protocol."""
    table, titles = pd.read_csv(path), {part.id: part.claim for part in ledger.ledger()}
    lines = []
    for name, rows in table.groupby("claim", sort=False):
        first = rows[rows["part"] == rows["part"].iloc[0]].drop_duplicates("dataset")
        papers = [ledger.paper_figure(str(name), value) for value in first["paper"]]
        line = {"claim": f"{name}: {titles[str(name)]}"}
        line["paper"] = " / ".join(dict.fromkeys(filter(None, papers))) or "–"
        for arm, title in IN_SHORT.items():
            line[title] = _in_short(rows[rows["lr_condition"] == arm])
        lines.append(line)
    text = markdown_table(pd.DataFrame(lines))
    for name in table["claim"].unique():  # a link to the section of each
        text = text.replace(f"| {escaped(f'{name}: ')}", f"| [{name}](#{anchor(name)}) ", 1)
    order = " / ".join(dict.fromkeys(table["dataset"][table["dataset"] != "all"]))
    return (
        f"````{{div}} wide-table\n{text}````\n\nValues of the first part of each claim, in the "
        f"order {order}; verdicts of all its parts. A dash: the claim has no such part.\n"
    )


def _figure_and_verdict(row: Any) -> str:
    """Write one cell of the ledger: what was measured, its interval, the verdict."""
    if row.measured != row.measured:
        return str(row.verdict)
    interval = "" if row.low != row.low else f" [{row.low:.3g}, {row.high:.3g}]"
    if interval and isinstance(row.interval, str) and row.interval:
        interval += " (TOST)" if row.interval == ledger.TOST else f" {row.interval}"
    return f"{row.measured:.3g}{interval}: {row.verdict}"


def _in_words(condition: str) -> str:
    return CONDITION_LABELS.get(condition, condition).replace("\n", " ")


def _claim(rows: pd.DataFrame) -> str:
    """Write what was measured for one claim: LR conditions side by side, then parts of one arm.

    What was tested nowhere stands in one line a reason.
    """
    papers = [ledger.paper_figure(*row) for row in rows[["claim", "paper"]].values.tolist()]
    rows = rows.assign(here=[_figure_and_verdict(row) for row in rows.itertuples()])
    by_place = rows.groupby(["part", "dataset"])
    most = by_place["n_subjects"].transform("max")
    rows = rows.assign(paper=[paper or "–" for paper in papers], subjects=most.map(escaped))
    is_untested = (by_place["measured"].transform("count") == 0) & (
        by_place["verdict"].transform("nunique") == 1
    )
    tested = rows[~is_untested]
    in_columns = tested.groupby("part")["lr_condition"].transform("nunique") > 1
    tables = []
    if len(several := tested[in_columns]):
        wide = several.pivot(index=KEYS, columns="lr_condition", values="here")
        order = list(dict.fromkeys(map(tuple, several[KEYS].values.tolist())))
        wide = wide.loc[order, list(dict.fromkeys(several["lr_condition"]))]
        tables.append(wide.rename(columns=_in_words).reset_index())
    if len(general := tested[~in_columns]):
        arm = general["lr_condition"].replace("all", "none").map(_in_words)
        tables.append(general.assign(arm=arm)[[*KEYS, "arm", "here"]])
    text = "".join(f"````{{div}} wide-table\n{markdown_table(table)}````\n\n" for table in tables)
    sets = rows.groupby("part")["dataset"].unique()
    for verdict, untested in rows[is_untested].groupby("verdict", sort=False):
        names = []
        for part, of_part in untested.groupby("part", sort=False):
            missing = list(dict.fromkeys(of_part["dataset"]))
            where = "" if set(missing) == set(sets[part]) else f" ({', '.join(missing)})"
            names.append(f"{part}{where}")
        reason = str(verdict)
        text += f"{escaped(reason[:1].upper() + reason[1:])}: {escaped('; '.join(names))}.\n\n"
    return text


def _measured_in(claim: str) -> str:
    """Link the chapters whose numbers a claim rests on, and the page of what takes hours.

    >>> _measured_in("C3"), _measured_in("P2")
    (' See [chapter 5](notebooks/05_wavelets.ipynb).', '')
    """
    parts = [part for part in ledger.ledger() if part.id == claim]
    stems = {int(stem[:2]): stem for stem in notebook.STEMS}
    links = [f"[chapter {n}](notebooks/{stems[n]}.ipynb)" for n in parts[0].chapters]
    if any("ablations.run" in part.absent for part in parts):
        links.append("[Beyond the default run](measured.md)")
    return f" See {', '.join(links)}." if links else ""


def sections(path: Path) -> str:
    """Write a section a claim: what the paper says, what to keep in mind, what was measured."""
    first_parts = {part.id: part for part in reversed(ledger.ledger())}
    text = ""
    for name, rows in pd.read_csv(path).groupby("claim", sort=False):
        part = first_parts[str(name)]
        text += f"({part.id.lower()})=\n({anchor(part.id)})=\n\n## {part.id}: "
        text += f"{escaped(part.title)}\n\n**{escaped(part.claim)}**{_measured_in(part.id)}\n\n"
        text += f"{escaped(part.note)}\n\n" if part.note else ""
        text += _claim(rows)
        if rows["because"].notna().any():
            text += f"*{escaped(part.behind)}* Row by row: {{doc}}`notebooks/10_claims`.\n\n"
    return text
