"""Pages of the book written from the files of a run, so that no number is typed by hand."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.autoencoders import registry
from latentsr.companion.book import counts, front, provenance
from latentsr.companion.book.markdown import markdown_table
from latentsr.companion.book.provenance import Stage
from latentsr.companion.claims import page as claims_page
from latentsr.companion.pipeline import notebook
from latentsr.plots import style as figures
from latentsr.stats.attribution import ASTRAY, with_interval

SHOWN_ROWS, SHOWN_COLUMNS = 40, 14  # a larger table is offered as a file only
IDENTIFIERS = {"image_id", "subject_id"}
PAPER = "https://arxiv.org/abs/2604.12152"
FRONT_FIGURES = ("04_target_condition", "04_protocols")


def _figure(
    source: Path,
    folder: Path,
    listed: Sequence[Stage],
    sets: Mapping[str, Mapping[str, Any]],
    place: str = "",
) -> str:
    """Copy a figure (SVG and 300-dpi PNG) and show it, its words, and a link to what makes it.

    The caption tells the subjects and images too. ``place`` is the way from the page to
    ``folder``.
    """
    alt = source.with_suffix(".txt").read_text().strip()
    for suffix in (".svg", ".png"):
        shutil.copy(source.with_suffix(suffix), folder)
    png = source.with_suffix(".png").name
    options = f":alt: {alt}\n:width: 100%\n"
    maker = provenance.made_by(source.as_posix(), listed)
    links = f"{{download}}`300-dpi PNG <{place}{png}>`, [how it is made](#{provenance.anchor(maker.name)})"
    words = alt, counts.behind(source.stem, sets), links
    return (
        f"```{{figure}} {place}{source.name}\n{options}\n{' '.join(filter(None, words))}\n```\n\n"
    )


def _table(source: Path, folder: Path, may_be_shown: bool, warning: str) -> str:
    """Offer a table as a file, and show it when it is small.

    One that lists single images or subjects stays out where a set's images may not be shown.
    ``warning`` names sets whose test images share a subject with training.
    """
    table = pd.read_csv(source)
    if table.empty:
        return ""
    if IDENTIFIERS & set(table.columns) and not may_be_shown:
        return ""
    shutil.copy(source, folder)
    size = f"{table.shape[0]} rows, {table.shape[1]} columns{warning}"
    small = 0 < table.shape[0] <= SHOWN_ROWS and table.shape[1] <= SHOWN_COLUMNS
    shown = "\n\n" + markdown_table(table) if small else "\n\n"
    return f"{{download}}`{source.name} <{source.name}>` ({size}){shown}"


def results_page(roots: Sequence[Path], folder: Path, sets: Mapping[str, Any]) -> str:
    """Write the page of all figures, tables and metrics, chapter by chapter."""
    may_be_shown = all(facts["may_be_shown"] for facts in sets.values())
    shared = [name for name, facts in sets.items() if facts.get("split_by") == "image"]
    listed = provenance.stages(roots[0].name)
    warning = f"; test and training share subjects in {', '.join(shared)}" if shared else ""
    results, order = roots[0], list(sets)

    def in_order(path: Path) -> tuple[str, int, str]:
        """Sort figures by kind, then in the order of the sets, then by name."""
        for place, name in enumerate(order):
            if found := re.search(rf"_{name}(?=_|$)", path.stem):
                return path.stem[: found.start()], place, path.stem
        return path.stem, 0, ""

    page = "# Figures, tables, numbers\n\nWhat the run wrote, in the order of the chapters.\n\n"
    for stem in (*notebook.STEMS, *notebook.LESSONS):
        number = Path(stem).name[:2]
        drawn = [path for root in roots for path in (root / "figures" / number).glob("*.svg")]
        used = counts.of_chapter(number, results, sets)
        parts = [_figure(path, folder, listed, used) for path in sorted(drawn, key=in_order)]
        tables = sorted((results / "tables").glob(f"{number}_*.csv"))
        parts += [_table(path, folder, may_be_shown, warning) for path in tables]
        metrics = results / "metrics" / f"{number}.json"
        if metrics.exists():
            shutil.copy(metrics, folder)
            parts.append(f"{{download}}`{metrics.name} <{metrics.name}>` (numbers, JSON)\n\n")
        if number == "03" and parts:  # one or two figures an arm
            parts = ["`````{dropdown} Figures of every arm\n", *parts, "`````\n\n"]
        title = notebook.block_name(stem).replace("_", " ").replace("vae", "VAE")
        number = number.lstrip("0")
        page += f"({files_anchor(stem)})=\n\n## {number} {title[0].upper()}{title[1:]}\n\n"
        page += "".join(parts) or "Nothing of this chapter is shown apart from its page.\n\n"
    return page


def gaps_table(results: Path, sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the gap of the main autoencoders by set (row): released, then by LR condition."""
    gaps = pd.read_csv(results / "tables" / "04_gaps.csv").query("measure == 'psnr_db'")
    whole = pd.read_csv(results / "tables" / "04_protocols.csv").query("measure == 'psnr_db'")
    whole = whole[whole["arm"] == "released"].assign(lr_condition="released")
    gaps = pd.concat([whole.rename(columns={"gap": "mean_difference"}), gaps])
    text = list(map(with_interval, gaps.mean_difference, gaps.low, gaps.high))
    wide = gaps.assign(gap=text).pivot(index="dataset", columns="lr_condition", values="gap")
    order = [list(dict.fromkeys(gaps[key])) for key in ("dataset", "lr_condition")]
    named = wide.loc[order[0], order[1]].rename(index=figures.shared(sets))
    return markdown_table(named.reset_index())


def limits(results: Path) -> str:
    """Say what besides the autoencoder may decide the gaps: ceilings, short training, steps."""
    table = pd.read_csv(results / "tables" / "04_headline.csv")
    levels = pd.read_csv(results / "tables" / "04_every_arm.csv")
    below = int((levels["psnr_db"] < levels["bicubic"]).sum())
    sunk = table[table.ceiling < table.bicubic]
    names = ", ".join(f"`{row.vae}` on {row.dataset}" for row in sunk.itertuples()) or "none"
    found = json.loads((results / "metrics" / "07.json").read_text())
    spaced = {int(t): gap["mean"] for t, gap in found["gap_by_steps"]["spaced"].items()}
    steps = ", ".join(f"{spaced[t]:+.2f} dB at T = {t}" for t in sorted(spaced))
    again = found["retrained"]
    costs = pd.read_csv(results / "tables" / "04_costs.csv")
    astray = costs[costs["loss_over_lowest"] > ASTRAY]
    listed = "; ".join(f"{row.dataset}, {row.vae}, {row.arm}" for row in astray.itertuples())
    caution = f"- The loss rose again in the training of: {listed}. " if listed else ""
    caution += "Their figures say nothing of the autoencoder.\n" if listed else ""
    return (
        f"- {below} of {len(levels)} arms stay below bicubic interpolation; "
        f"autoencoders whose ceiling alone lies below it: {names}.\n"
        f"- On {found['dataset']} under `{found['lr_condition']}` the gap is, with T network calls, {steps}; "
        f"after a training of {again['steps']} steps it is {again['gap_db']:+.2f} dB.\n{caution}"
    )


def sets_table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Write what the sets of this run are, and how many images and subjects they have."""
    rows = [
        {
            "set": name,
            "images are": "phantoms" if facts["is_phantom"] else "the user's own",
            "subject": facts.get("subject_word", "subject"),
            **{
                f"{split} {unit}": facts[f"n_{split}_{unit}"]
                for split in ("train", "test")
                for unit in ("subjects", "images")
            },
            "note": facts.get("note", ""),
        }
        for name, facts in sets.items()
    ]
    return markdown_table(pd.DataFrame(rows))


def autoencoders_table(used: Collection[str]) -> str:
    """Write which autoencoders there are, and which of them this run uses."""
    shipped = "this package", "Apache-2.0"
    places = {name: (one.source, one.licence) for name, one in registry.PUBLISHED.items()}
    geometries = {name: one.geometry for name, one in registry.SPECS.items()}
    geometries |= {name: one.geometry for name, one in registry.PUBLISHED.items()}
    rows = [
        {
            "name": name,
            "geometry": geometry,
            "trained on": registry.trained_on(name),
            **dict(zip(("published at", "licence"), places.get(name, shipped), strict=True)),
            "in this run": "yes" if name in used else "",
        }
        for name, geometry in geometries.items()
    ]
    return f"````{{div}} wide-table\n{markdown_table(pd.DataFrame(rows))}````\n"


def files_anchor(stem: str) -> str:
    """Name the place of a chapter on the page of figures and tables."""
    return f"files-{Path(stem).name[:2].lower()}"


def images_line(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which of the test images are phantoms."""
    phantoms = [name for name, facts in sets.items() if facts["is_phantom"]]
    if len(phantoms) == len(sets):
        return "All test images are phantoms: drawn by a computer, no patient is in them."
    if not phantoms:
        return "All images are the user's own."
    return f"{', '.join(phantoms)} are phantoms: drawn by a computer, no patient is in them."


def profile_line(results: Path, sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which profile a copy was built from, and which of its images are phantoms."""
    images = images_line(sets)
    use = "For research and teaching only: not a medical device; nothing here may guide care."
    text = f"Built from the profile **{results.name}**. {images} {use}\n"
    if results.name == "smoke":
        tiny = "Tiny images, a few training steps: the smoke profile tests that all runs."
        text += f"\n```{{warning}}\n{tiny} Its numbers mean nothing.\n```\n"
    return text


def write(
    roots: Sequence[Path],
    settings: Mapping[str, Any],
    sets: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> None:
    """Write every generated page and fragment into ``folder``.

    ``roots`` are the folders of a run that hold figures; the first holds tables and metrics too.
    """
    results = roots[0]
    metrics = json.loads((results / "metrics" / "04.json").read_text())
    first, second = metrics["main_vaes"]
    ledger = results / "tables" / "10_claims.csv"
    drawn = [path for root in roots for path in sorted(root.glob("figures/*/*.svg"))]
    tables = [*sorted(results.glob("tables/*.csv")), *sorted(results.glob("metrics/*.json"))]
    listed = provenance.stages(results.name)
    runs = {stage.name: provenance.labels(stage, settings, list(sets)) for stage in listed}
    used = {name for tops in metrics["ceiling_psnr_db"].values() for name in tops}
    head, _, rest = results_page(roots, folder, sets).partition("\n\n")
    standing = (
        f"Where a claim says SD-VAE, `{first}` stands in this run, and `{second}` for MedVAE. "
        "The column *subjects* counts test subjects, *paper* is the paper's own figure; the other "
        "columns are ways of showing the LR image, explained under {doc}`protocols`.\n\n"
    )
    download = f"{{download}}`{ledger.name} <generated/{ledger.name}>`\n\n"
    caption = f"PSNR of `{second}` minus PSNR of `{first}`, in dB, against the true image.\n\n"
    fragments = {
        "profile": profile_line(results, sets),
        "paper": f"[The paper on arXiv]({PAPER})\n",
        "sets": sets_table(sets),
        "answer": front.answer(results, sets, (first, second)),
        "sure": front.how_sure(results, sets),
        "claims_short": front.claims_in_short(ledger),
        "claims_table": download + standing + claims_page.sections(ledger),
        "gaps": caption + gaps_table(results, sets),
        "limits": limits(results),
        "autoencoders": autoencoders_table(used),
        "stages": provenance.status(listed, runs),
        "results": f"{head}\n\n{sets_table(sets)}{rest}",
        "provenance": provenance.page(
            [path.as_posix() for path in (*drawn, *tables)],
            listed,
            settings,
            list(sets),
            {path.name for path in folder.iterdir()},
        ),
    }
    for name in FRONT_FIGURES:
        figure = results / "figures" / "04" / f"{name}.svg"
        fragments[name] = _figure(figure, folder, listed, sets, "generated/")
    for name, text in fragments.items():
        (folder / f"{name}.md").write_text(text)
