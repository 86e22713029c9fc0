"""The table of claims in short: one row a claim, from the ledger of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from latentsr.companion.book.markdown import escaped, markdown_table
from latentsr.companion.claims import ledger as claims

Table = pd.DataFrame
PROTOCOLS = ("released", "controlled")
KINDS = ("released", "lr_pixels", "longer")  # arms behind the answer, in its order
WHOLE = ("C3",)  # asks for both halves


def _column(rows: Table, protocol: str) -> tuple[Table, str]:
    """Choose the rows of one claim that stand for a protocol, and the mark they need."""
    is_released = rows["lr_condition"] == "released"
    released, others = rows[is_released], rows[~is_released]
    first = others[others["part"].isin(others["part"].head(1))]
    if protocol == "controlled":
        near, mark = first[first["lr_condition"] == "lr_pixels"], ""
    else:
        near, mark = first[first["lr_condition"] == "lr_latent"], "*"
        if len(released) and (released["measured"].notna().any() or near.empty):
            return released[released["part"] == released["part"].iloc[0]], ""
    if len(first) and (first["lr_condition"] == "all").all():
        return first, "†"
    return near, mark


def _parts(rows: Table, protocol: str) -> Table:
    """Choose the rows of all parts of one claim that stand for a protocol."""
    arms = {"released": ["released"], "controlled": ["lr_pixels", "all"]}
    return rows[rows["lr_condition"].isin(arms[protocol])]


def _whole(rows: Table) -> Table:
    """Give one verdict a set to a claim that needs all its parts: the least favourable."""

    def least(verdicts: pd.Series) -> str:
        word = verdicts.str.split(" (", regex=False).str[0]
        order = ("opposite", "inconclusive", "not attainable")
        return next((bad for bad in order if (word == bad).any()), str(word.iloc[0]))

    return rows.groupby("dataset", sort=False)["verdict"].agg(least).reset_index()


def _figures(values: pd.Series) -> str:
    shown = ["–" if value != value else f"{value:.2f}" for value in values]
    return "–" if set(shown) <= {"–"} else " / ".join(shown)


def _verdicts(rows: Table) -> str:
    """Count the verdicts over sets, without their reasons.

    >>> _verdicts(pd.DataFrame({"verdict": ["opposite", "not tested (why)", "opposite"]}))
    'opposite 2, not tested 1'
    """
    short = rows["verdict"].str.split(" (", regex=False).str[0].value_counts(sort=False)
    return (
        str(short.index[0]) if len(short) == 1 else ", ".join(f"{k} {n}" for k, n in short.items())
    )


def _told(found: Sequence[Table]) -> str:
    """Write the verdicts of both protocols: once where they are the same, or of the one there is.

    >>> _told([pd.DataFrame({"verdict": []}), pd.DataFrame({"verdict": ["opposite"]})])
    'controlled: opposite'
    """
    words = {p: _verdicts(rows) for p, rows in zip(PROTOCOLS, found, strict=True) if len(rows)}
    if len(words) == len(PROTOCOLS) and len(set(words.values())) == 1:
        return words[PROTOCOLS[0]]
    return "; ".join(f"{protocol}: {word}" for protocol, word in words.items())


def claims_in_short(path: Path) -> str:
    """Write a row a claim: the paper's figure, the released and the controlled one, the verdicts.

    Of each claim its first part stands here, in brackets; for the released protocol the part that
    measures it, where it was run. Of claims in `WHOLE` the verdict is on all their parts.
    Figures are in the order of the sets.
    """
    said = {part.id: part for part in reversed(claims.ledger())}  # the first part of each
    table, ledger = [], pd.read_csv(path)
    for name, rows in ledger.groupby("claim", sort=False):
        cells = {protocol: _column(rows, protocol) for protocol in PROTOCOLS}
        first = next((found for found, _ in cells.values() if len(found)), rows)
        one = _told([found for found, _ in cells.values()])
        part, paper = said[str(name)], _figures(first["paper"])
        if part.bound == part.bound:
            paper = claims.paper_figure(part.id, None)
        if name in WHOLE:
            one = f"{_told([_whole(_parts(rows, protocol)) for protocol in PROTOCOLS])} ‡"
        said_of = f"{name}: {part.claim} ({part.part})"
        row = {"claim": said_of, "the paper's": paper}
        row |= {
            p: _figures(found["measured"]) + (mark if found["measured"].notna().any() else "")
            for p, (found, mark) in cells.items()
        }
        table.append(row | {"verdict": one, "id": str(name)})
    text = markdown_table(pd.DataFrame(table).drop(columns="id"))
    for row in table:  # a link to the section of each
        start = escaped(f"{row['id']}: ")
        text = text.replace(f"| {start}", f"| [{row['id']}](#{anchor(row['id'])}) ", 1)
    order = " / ".join(dict.fromkeys(ledger["dataset"][ledger["dataset"] != "all"]))
    return (
        f"````{{div}} wide-table\n{text}````\n\nFigures: {order}. \\* only the LR condition is as "
        "released. † not by protocol: see the claim. ‡ a claim of several parts: the figure is "
        "the first one's, the verdict the least favourable of all. A dash: no figure.\n"
    )


def anchor(claim: str) -> str:
    """Name the place of a claim on the page of claims.

    >>> anchor("C5b")
    'claim-c5b'
    """
    return f"claim-{claim.lower()}"
