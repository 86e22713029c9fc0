"""The front page's parts that a run writes: the answer, how sure it is, the claims in short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.companion.book.markdown import escaped, markdown_table
from latentsr.companion.claims import ledger as claims
from latentsr.plots import style as figures
from latentsr.stats.attribution import with_interval
from latentsr.stats.intervals import MIN_SUBJECTS

Table = pd.DataFrame
PROTOCOLS = ("released", "controlled")
KINDS = ("released", "lr_pixels", "longer")  # arms behind the answer, in its order
WHOLE = ("C3",)  # asks for both halves


def counted(rows: Table) -> str:
    """Say on how many sets the whole interval lies above zero, and on how many below.

    >>> counted(pd.DataFrame({"low": [0.5, -1.0, -2.0], "high": [1.0, 1.0, -1.0]}))
    'PSNR rises on 1 of 3 sets and falls on 1'
    """
    up, down = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    return f"PSNR rises on {up} of {len(rows)} sets and falls on {down}"


def span(values: pd.Series) -> str:
    """Write the least and the largest of some effects in dB."""
    return f"{values.min():+.2f} to {values.max():+.2f} dB"


def answer(results: Path, sets: Mapping[str, Mapping[str, Any]], mains: Sequence[str]) -> str:
    """Write what the swap does under both protocols, and what of it is seen and what denoised."""
    gaps = pd.read_csv(results / "tables" / "04_protocols.csv").query("measure == 'psnr_db'")
    parts = pd.read_csv(results / "tables" / "04_target_condition.csv")
    named = dict(zip(gaps["kind"], gaps["arm"], strict=True))
    of = {named[kind]: gaps[gaps["kind"] == kind] for kind in KINDS if kind in named}
    said = [f"{name}, {counted(rows)}" for name, rows in of.items()]
    text = (
        f"**The answer of this run.** With `{mains[1]}` in place of `{mains[0]}`: as "
        f"{'; '.join(said)} (counting whole intervals)."
    )
    effects = parts.set_index(["dataset", "effect"])["estimate"].unstack()
    if len(effects):
        text += (
            " With the released way of showing the LR image, and all else controlled, the gap "
            f"has two parts at this training length: what is **seen** through the autoencoder is "
            f"worth {span(effects['condition'])}, what is **denoised** {span(effects['target'])}."
        )
    rows = []
    for name in sets:
        row = {"PSNR gap, dB": figures.shared(sets).get(name, name)}
        for protocol, table in of.items():
            for effect in table.loc[table["dataset"] == name, ["gap", "low", "high"]].to_numpy():
                row[protocol] = with_interval(*effect)
        row["test subjects"] = f"{sets[name]['n_test_subjects']} {sets[name]['subject_word']}s"
        rows.append(row)
    return f"{text}\n\n{markdown_table(pd.DataFrame(rows).fillna(''))}"


def how_sure(results: Path, sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Write in one paragraph what the answer rests on, and what its intervals leave out."""
    levels = pd.read_csv(results / "tables" / "04_every_arm.csv")
    below = int((levels["psnr_db"] < levels["bicubic"]).sum())
    few = [name for name, facts in sets.items() if facts["n_test_subjects"] < MIN_SUBJECTS]
    closed = list(figures.shared(sets))
    text = (
        "**How sure.** Brackets are intervals over test subjects, for one trained autoencoder and "
        "one trained denoiser a cell: another training is a source of change that they leave out. "
    )
    text += f"Too few subjects for an interval: {', '.join(few)}. " if few else ""
    text += f"Test images share subjects with training: {', '.join(closed)}. " if closed else ""
    return (
        f"{text}Trainings are short, and {below} of {len(levels)} arms stay below bicubic "
        "interpolation; with longer ones a controlled gap shrinks and can change its sign "
        "([before you quote a row](claims.md#before-you-quote-a-row)).\n"
    )


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
