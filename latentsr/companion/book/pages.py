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
from latentsr.companion.book import provenance
from latentsr.companion.book.markdown import markdown_table
from latentsr.companion.claims import page as claims_page
from latentsr.companion.pipeline import notebook
from latentsr.plots.labels import set_counts, shared_subjects, with_interval

SHOWN_ROWS, SHOWN_COLUMNS = 40, 14  # a larger table is offered as a file only
DIVERGED = 1.2  # smoothed loss at the end over its lowest
IDENTIFIERS = {"image_id", "subject_id"}
PAPER = "https://arxiv.org/abs/2604.12152"
FRONT_FIGURES = ("04_target_condition", "04_protocols")
PROTOCOLS = ("released", "lr_pixels", "longer")  # kinds of models in the answer, in its order
API = {  # a page each: parts of the package, as folders or files
    "images": ("datasets", "phantoms", "degrade.py", "io.py"),
    "autoencoders": ("autoencoders",),
    "diffusion": ("diffusion", "experiments"),
    "measures": ("metrics", "stats"),
    "plots": ("plots",),
    "companion": ("companion",),
}
Sets = Mapping[str, Mapping[str, Any]]


def files_anchor(stem: str) -> str:
    """Name the place of a chapter on the page of figures and tables."""
    return f"files-{Path(stem).name[:2].lower()}"


def caption(figure: Path, sets: Sets) -> str:
    """Return how many subjects and images are behind a figure, from the record beside it.

    A set's split, where the record has none, is its test images.
    """
    record = figure.with_suffix(".json")
    texts: dict[str, list[str]] = {}
    for row in json.loads(record.read_text()) if record.exists() else ():
        if row["dataset"] in sets:
            counts = {
                f"n_test_{key.removeprefix('n_')}": v for key, v in row.items() if "n_" in key
            }
            words = set_counts(row["dataset"], {**sets[row["dataset"]], **counts})
            texts.setdefault(row.get("split", "test").capitalize(), []).append(words)
    return " ".join(f"{split} images: {'; '.join(text)}." for split, text in texts.items())


def captions(roots: Sequence[Path], sets: Sets) -> dict[str, str]:
    """Return the `caption` of every figure by its alternative text."""
    texts = [path for root in roots for path in root.glob("figures/*/*.txt")]
    return {path.read_text().strip(): caption(path, sets) for path in texts}


def _figure(source: Path, folder: Path, listed: Sequence[provenance.Stage], caption: str,
            place: str = "") -> str:  # fmt: skip
    """Copy a figure (SVG and 300-dpi PNG) and show it, its words, and a link to what makes it.

    ``place`` is the way from the page to ``folder``.
    """
    alt = source.with_suffix(".txt").read_text().strip()
    for suffix in (".svg", ".png", ".csv"):
        shutil.copy(source.with_suffix(suffix), folder)
    maker = provenance.anchor(provenance.made_by(source.as_posix(), listed).name)
    files = f"{{download}}`300-dpi PNG <{place}{source.stem}.png>`, "
    files += f"{{download}}`its numbers <{place}{source.stem}.csv>`, "
    words = " ".join(filter(None, (alt, caption, f"{files}[how it is made](#{maker})")))
    return f"```{{figure}} {place}{source.name}\n:alt: {alt}\n:width: 100%\n\n{words}\n```\n\n"


def _table(source: Path, folder: Path, may_be_shown: bool, warning: str) -> str:
    """Offer a table as a file, and show it when it is small.

    One that lists single images or subjects stays out where a set's images may not be shown.
    """
    table = pd.read_csv(source)
    if table.empty or (IDENTIFIERS & set(table.columns) and not may_be_shown):
        return ""
    shutil.copy(source, folder)
    size = f"{table.shape[0]} rows, {table.shape[1]} columns{warning}"
    small = table.shape[0] <= SHOWN_ROWS and table.shape[1] <= SHOWN_COLUMNS
    below = markdown_table(table) if small else ""
    return f"{{download}}`{source.name} <{source.name}>` ({size})\n\n{below}"


def results_page(roots: Sequence[Path], folder: Path, sets: Sets) -> str:
    """Write the page of all figures, tables and metrics, chapter by chapter."""
    may_be_shown = all(facts["may_be_shown"] for facts in sets.values())
    shared = ", ".join(shared_subjects(sets))
    warning = f"; test and training share subjects in {shared}" if shared else ""
    listed, words = provenance.stages(roots[0].name), captions(roots, sets)

    def in_order(path: Path) -> tuple[str, int, str]:
        """Sort figures by kind, then in the order of the sets, then by name."""
        for place, name in enumerate(sets):
            if match := re.search(rf"_{name}(?=_|$)", path.stem):
                return path.stem[: match.start()], place, path.stem
        return path.stem, 0, ""

    page = f"# Figures, tables, numbers\n\n{sets_table(sets)}"
    page += "What the run wrote, in the order of the chapters.\n\n"
    for stem in (*notebook.STEMS, *notebook.LESSONS):
        number = Path(stem).name[:2]
        parts = []
        drawn = [path for root in roots for path in (root / "figures" / number).glob("*.svg")]
        for path in sorted(drawn, key=in_order):
            alt = path.with_suffix(".txt").read_text().strip()
            parts.append(_figure(path, folder, listed, words[alt]))
        for path in sorted((roots[0] / "tables").glob(f"{number}_*.csv")):
            parts.append(_table(path, folder, may_be_shown, warning))
        if (metrics := roots[0] / "metrics" / f"{number}.json").exists():
            shutil.copy(metrics, folder)
            parts.append(f"{{download}}`{metrics.name} <{metrics.name}>` (numbers, JSON)\n\n")
        if number == "03" and parts:  # one or two figures a model
            parts = ["`````{dropdown} Figures of every model\n", *parts, "`````\n\n"]
        title = notebook.block_name(stem).replace("_", " ").replace("vae", "VAE")
        title = f"{number.lstrip('0')} {title[0].upper()}{title[1:]}"
        text = "".join(parts) or "Nothing of this chapter is shown apart from its page.\n\n"
        page += f"({files_anchor(stem)})=\n\n## {title}\n\n{text}"
    return page


def _by_set(table: pd.DataFrame, sets: Sets, column: str, value: str) -> pd.DataFrame:
    """Return estimates with their intervals as text: a row a set, a column each of ``column``."""
    text = [with_interval(*row) for row in table[[value, "low", "high"]].to_numpy()]
    wide = table.assign(text=text).pivot(index="dataset", columns=column, values="text")
    wide = wide.reindex(list(sets))[list(dict.fromkeys(table[column]))]
    wide.index = pd.Index([shared_subjects(sets).get(name, name) for name in sets], name="set")
    return wide.fillna("–")


def answer_table(results: Path, sets: Sets) -> str:
    """Write the PSNR difference of the main pair by set (row) and protocol, with intervals."""
    table = pd.read_csv(results / "tables" / "04_protocols.csv").query("measure == 'psnr_db'")
    wide = _by_set(table[table["kind"].isin(PROTOCOLS)], sets, "arm", "gap")
    wide["test subjects"] = [f"{s['n_test_subjects']} {s['subject_word']}s" for s in sets.values()]
    return markdown_table(wide.reset_index())


def differences_table(results: Path, sets: Sets) -> str:
    """Write the difference of the main pair by set (row): released, then by LR condition."""
    table = pd.read_csv(results / "tables" / "04_gaps.csv").query("measure == 'psnr_db'")
    whole = pd.read_csv(results / "tables" / "04_protocols.csv").query("measure == 'psnr_db'")
    whole = whole[whole["kind"] == "released"].assign(lr_condition="released")
    table = pd.concat([whole.rename(columns={"gap": "mean_difference"}), table])
    return markdown_table(_by_set(table, sets, "lr_condition", "mean_difference").reset_index())


def limits_table(results: Path) -> str:
    """Write what besides the autoencoder may decide: reconstruction, short training, steps."""
    models = pd.read_csv(results / "tables" / "04_every_arm.csv")
    headline = pd.read_csv(results / "tables" / "04_headline.csv")
    costs = pd.read_csv(results / "tables" / "04_costs.csv")
    steps = json.loads((results / "metrics" / "07.json").read_text())
    sunk = headline[headline["ceiling"] < headline["bicubic"]]
    diverged = costs[costs["loss_over_lowest"] > DIVERGED]
    rows: dict[str, object] = {
        "models": len(models),
        "models below bicubic interpolation": int((models["psnr_db"] < models["bicubic"]).sum()),
        "autoencoders whose reconstruction is below bicubic": len(sunk),
        "trainings whose loss rose again": len(diverged),
    }
    for row in diverged.itertuples():
        rows[f"loss rose again: {row.dataset}, {row.vae}, {row.arm}"] = "not to be compared"
    where = f"difference on {steps['dataset']} under {steps['lr_condition']}, dB"
    for calls, gap in steps["gap_by_steps"]["spaced"].items():
        rows[f"{where}: {calls} sampling steps"] = f"{gap['mean']:+.2f}"
    again = steps["retrained"]
    rows[f"{where}: {again['steps']} training steps"] = f"{again['gap_db']:+.2f}"
    return markdown_table(pd.DataFrame(rows.items(), columns=["what", "this run"]))


def sets_table(sets: Sets) -> str:
    """Write what the sets of this run are, and how many images and subjects they have."""
    rows = []
    for name, facts in sets.items():
        row = {"set": name, "images are": "phantoms" if facts["is_phantom"] else "the user's own"}
        row["subject"] = facts.get("subject_word", "subject")
        for split in ("train", "test"):
            for unit in ("subjects", "images"):
                row[f"{split} {unit}"] = facts[f"n_{split}_{unit}"]
        rows.append(row | {"note": facts.get("note", "")})
    return markdown_table(pd.DataFrame(rows))


def autoencoders_table(used: Collection[str]) -> str:
    """Write which autoencoders there are, and which of them this run uses."""
    rows = [
        {
            "name": name,
            "geometry": registry.spec(name).geometry,
            "trained on": registry.trained_on(name),
            "published at": registry.spec(name).source or "this package",
            "licence": registry.spec(name).licence,
            "in this run": "yes" if name in used else "",
        }
        for name in registry.NAMES
    ]
    return f"````{{div}} wide-table\n{markdown_table(pd.DataFrame(rows))}````\n"


def images_line(sets: Sets) -> str:
    """Say which of the test images are phantoms."""
    phantoms = [name for name, facts in sets.items() if facts["is_phantom"]]
    if not phantoms:
        return "All images are the user's own."
    which = "All test images" if len(phantoms) == len(sets) else ", ".join(phantoms)
    return f"{which} are phantoms: drawn by a computer, no patient is in them."


def profile_line(results: Path, sets: Sets) -> str:
    """Say which profile a copy was built from, and which of its images are phantoms."""
    use = "For research and teaching only: not a medical device; nothing here may guide care."
    text = f"Built from the profile **{results.name}**. {images_line(sets)} {use}\n"
    if results.name == "smoke":
        tiny = "Tiny images, a few training steps: the smoke profile tests that all runs."
        text += f"\n```{{warning}}\n{tiny} Its numbers mean nothing.\n```\n"
    return text


def api_page(name: str) -> str:
    """Write the page of one part of the package: each module, from its docstrings."""
    root = Path(__file__).parents[2]
    text = f"# API: {name}\n"
    for part in API[name]:
        files = [root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py"))
        for path in files:
            if path.name.startswith("__") or "def " not in path.read_text():
                continue
            module = ".".join(("latentsr", *path.relative_to(root).with_suffix("").parts))
            directive = f".. automodule:: {module}\n   :members:"
            text += f"\n## {module.removeprefix('latentsr.')}\n\n"
            text += f"```{{eval-rst}}\n{directive}\n```\n"
    return text


def write(roots: Sequence[Path], settings: Mapping[str, Any], sets: Sets, folder: Path) -> None:
    """Write every generated page and fragment into ``folder``.

    ``roots`` are the folders of a run that hold figures; the first holds tables and metrics too.
    """
    results, listed = roots[0], provenance.stages(roots[0].name)
    first, second = map(registry.display_name, settings["vae_swap"].main_vaes)
    ledger = results / "tables" / "10_claims.csv"
    pair = f"PSNR of `{second}` minus PSNR of `{first}`, in dB, against the true image.\n\n"
    standing = (
        f"Where a claim says SD-VAE, `{first}` stands in this run, and `{second}` for MedVAE. "
        "The column *subjects* counts test subjects, *paper* is the paper's own value; the other "
        "columns are ways of showing the LR image, explained under {doc}`protocols`.\n\n"
    )
    download = f"{{download}}`{ledger.name} <generated/{ledger.name}>`\n\n"
    vaes = map(registry.display_name, settings["autoencoders"].vaes)
    fragments = {
        "profile": profile_line(results, sets),
        "paper": f"[The paper on arXiv]({PAPER})\n",
        "sets": sets_table(sets),
        "answer": pair + answer_table(results, sets),
        "claims_short": claims_page.in_short(ledger),
        "claims_table": download + standing + claims_page.sections(ledger),
        "gaps": pair + differences_table(results, sets),
        "limits": limits_table(results),
        "autoencoders": autoencoders_table(set(vaes)),
        "results": results_page(roots, folder, sets),
        **{f"api_{name}": api_page(name) for name in API},
    }
    kinds = "figures/*/*.svg", "figures/*/*.csv"
    drawn = [path for root in roots for kind in kinds for path in sorted(root.glob(kind))]
    tables = [*sorted(results.glob("tables/*.csv")), *sorted(results.glob("metrics/*.json"))]
    files = [path.as_posix() for path in (*drawn, *tables)]
    offered = {path.name for path in folder.iterdir()}
    fragments["provenance"] = provenance.page(files, listed, offered)
    words = captions(roots, sets)
    for name in FRONT_FIGURES:
        source = results / "figures" / "04" / f"{name}.svg"
        alt = source.with_suffix(".txt").read_text().strip()
        fragments[name] = _figure(source, folder, listed, words[alt], "generated/")
    for name, text in fragments.items():
        (folder / f"{name}.md").write_text(text)
