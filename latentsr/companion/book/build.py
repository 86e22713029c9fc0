"""The last stage: executed notebooks, figures and tables become a book."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentsr.autoencoders import registry
from latentsr.companion.book import pages, provenance, slider
from latentsr.companion.pipeline import notebook, params, repro
from latentsr.companion.pipeline.stage import note_run, stop

BOOK, WORK = Path("book"), notebook.SCRATCH / "book"
EXERCISES = Path("notebooks/exercises")
SPECIMEN = "03_train_arm"  # of whose many runs the book shows the first
LABEL = ' aria-label="Toggle hidden content"'  # it hides the words a folded cell shows from readers
MINUTES = '<div class="run-minutes"></div>'  # where the page Status shows what stages took
FOOTER = '<footer class="bd-footer-content">'  # of every page of the theme


def chapters(settings: Mapping[str, Any], sets: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (executed notebook, name in the book, run): of chapter 3 one specimen, else every run.

    The first run of a chapter keeps the chapter's own name, so that links between chapters hold.
    """
    for stem in notebook.STEMS:
        runs = list(notebook.grid(stem, settings, sets))
        for number, run in enumerate(runs[:1] if stem == SPECIMEN else runs):
            label = notebook.label(stem, run)
            name = label.replace("/", "_") if number else stem
            words = (registry.display_name(v) if k == "vae" else v for k, v in run.items())
            yield label, name, ", ".join(words)
    yield from ((stem, stem, "") for stem in notebook.LESSONS)


def _alternative_texts(cell: Mapping[str, Any]) -> list[str]:
    """Return the alternative texts of a cell's figures."""
    metadata = (output.get("metadata", {}) for output in cell.get("outputs", ()))
    return [alt for one in metadata if (alt := one.get("image/png", {}).get("alt"))]


def placed(text: str) -> str:
    """Return a notebook's text with its links as they lead from the book.

    In a clone its pages lie in ``book/``, beside ``notebooks/``; in the book they are one above
    it. Solutions are folded up below the exercises, not pages of their own.

    >>> placed("the [glossary](../../book/glossary.md). [Solutions](solutions/01.ipynb) lie beside it.")
    'the [glossary](../../glossary.md). Below each lies its solution, folded up.'
    """
    text = re.sub(r"\]\(((?:\.\./)+)book/", r"](\1", text)
    folded = "Below each lies its solution, folded up."
    return re.sub(r"\[Solutions\]\([^)]*solutions/[^)]*\)[^.]*\.", folded, text)


def _prepare(cell: dict[str, Any]) -> None:
    """Give a cell what MyST looks for in it: words of its figure, names of its buttons."""
    for alt in _alternative_texts(cell):
        cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
    tags = cell["metadata"].get("tags", [])
    if "check" in tags:
        prompts = {"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
        cell["metadata"]["mystnb"] = prompts
    if "injected-parameters" in tags:  # they stand below those as shipped
        _, *values = "".join(cell["source"]).split("\n")  # papermill's own first line
        cell["source"] = "\n".join(["# of this run, in place of the values above", *values])


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _is_picture(output: Mapping[str, Any]) -> bool:
    return "image/png" in output.get("data", {})


def _written(content: Mapping[str, Any], cells: list[dict[str, Any]]) -> str:
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    return json.dumps({**content, "cells": cells}, indent=1, ensure_ascii=False) + "\n"


def titled(
    text: str, run: str, stem: str, captions: Mapping[str, str] | None = None, runs: int = 1
) -> str:
    """Return a notebook whose heading names its run, for instance ``# 2 Autoencoders (knee)``.

    Below each figure stand a link to what makes it and its caption (``captions`` by alternative
    text); at the end, where the chapter's files are. Of a chapter with ``runs`` of which one is
    shown, the page says so.
    """
    content = json.loads(text)
    name = "background" if stem in notebook.LESSONS else notebook.stage_name(stem)
    stage, files = provenance.anchor(name), pages.files_anchor(stem)
    cells: list[dict[str, Any]] = []
    for cell in content["cells"]:
        _prepare(cell)
        cells.append(cell)
        if any(map(_is_picture, cell.get("outputs", ()))):
            cell["outputs"].sort(key=_is_picture)  # the caption follows its figure, not a table
            counts = {(captions or {}).get(alt, ""): None for alt in _alternative_texts(cell)}
            links = f"[How this figure is made](#{stage}) · [its files](#{files})"
            cells.append(_markdown(" · ".join(filter(None, (links, *counts)))))
    where = f"[figures in vector form and at 300 dpi, tables as CSV](#{files})"
    cells.append(_markdown(f"**Files of this chapter**: {where}; [command and inputs](#{stage})."))
    heading, *rest = "".join(cells[0]["source"]).split("\n")
    if runs > 1:
        rest += ["", f"*A specimen: one of {runs} runs. [Figures of all of them](#{files}).*"]
    cells[0]["source"] = "\n".join([f"{heading} ({run})" if run else heading, *rest])
    return _written(content, cells)


def exercise_page(exercise: str, solution: str) -> str:
    """Return a chapter's exercises, or a lesson, with the solution of each below it, folded up."""
    page, solved = json.loads(exercise), json.loads(solution)

    def tagged(tag: str) -> list[str]:
        cells = (c for c in solved["cells"] if tag in c["metadata"].get("tags", []))
        return ["".join(cell["source"]) for cell in cells]

    below = iter(zip(tagged("answer"), tagged("why"), strict=True))
    cells = []
    for cell in page["cells"]:
        _prepare(cell)
        cells.append(cell)
        if "check" in cell["metadata"].get("tags", []):
            code, why = next(below)
            fold = "::::{dropdown} Solution\n:class-container: solution"
            cells.append(_markdown(f"{fold}\n\n```python\n{code}\n```\n\n{why}\n::::"))
    return _written(page, cells)


def _solutions(stem: str) -> str:
    return (EXERCISES / "solutions" / f"{Path(stem).name}.ipynb").read_text()


def gather(settings: Mapping[str, Any], results: Path) -> None:
    """Fill book/notebooks and book/generated anew from the files of one profile's run."""
    mend = f"not there; run `make repro PROFILE={results.name}` first"
    information = results / "data" / "sets.json"
    if not information.exists():
        raise ValueError(f"{information}: {mend}")
    sets = json.loads(information.read_text())
    for folder in (BOOK / "notebooks", BOOK / "generated"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for kind in ("background", "exercises"):
        (BOOK / "notebooks" / kind).mkdir()
    arms = [registry.arm_dir(vae) for vae in settings["autoencoders"].arms]
    roots = [results, *(results / "autoencoders" / name for name in sets)]
    roots += [results / "arms" / name / arm for name in sets for arm in arms]
    captions = pages.captions(roots, sets)
    for label, name, run in chapters(settings, list(sets)):
        source = results / "notebooks" / f"{label}.ipynb"
        stem = next(stem for stem in (*notebook.STEMS, *notebook.LESSONS) if label.startswith(stem))
        if not source.exists():
            raise ValueError(f"{source}: {mend}")
        text = source.read_text()
        for vae in settings["autoencoders"].vaes:  # the places of own files are nobody's business
            text = text.replace(vae, registry.display_name(vae))
        if stem in notebook.LESSONS:
            text = exercise_page(text, _solutions(stem))
        count = len(list(notebook.grid(stem, settings, list(sets)))) if stem == SPECIMEN else 1
        page = placed(titled(text, run, stem, captions, count))
        (BOOK / "notebooks" / f"{name}.ipynb").write_text(page)
    for asked in EXERCISES.glob("*.ipynb"):
        text = exercise_page(asked.read_text(), _solutions(asked.stem))
        (BOOK / "notebooks" / "exercises" / asked.name).write_text(placed(text))
    pages.write(roots, settings, sets, BOOK / "generated")
    slider.write(results, sets, settings["vae_swap"].main_vaes, BOOK / "generated")


def build(settings: Mapping[str, Any]) -> Path:
    """Write ``results/<profile>/book``: the same bytes for the same inputs, free of local paths.

    Raises
    ------
    ValueError
        When a file of the run is missing, jupyter-book warns, or a page names this machine's paths.
    """
    results = Path("results") / settings["profile"]
    gather(settings, results)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    command = [tool, "build", str(BOOK), "--all", "-W", "--keep-going", "--path-output", str(WORK)]
    with open(log := WORK / "build.log", "w") as lines:
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}
        code = subprocess.run(command, stdout=lines, stderr=lines, env=fixed).returncode
    if code:
        text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text())  # colours
        warnings = [line for line in text.splitlines() if "WARNING" in line or "ERROR" in line]
        raise ValueError(f"book: {warnings[0] if warnings else 'not built'} (all warnings: {log})")
    html = WORK / "_build" / "html"
    sets = json.loads((results / "data" / "sets.json").read_text())
    note = f'<p class="images-note">{pages.images_line(sets)}</p>'
    for page in (html / ".buildinfo", *html.rglob("*.map")):  # a hash of settings; debugging aids
        page.unlink(missing_ok=True)
    for page in html.rglob("*.html"):
        text = page.read_text().replace(FOOTER, f"{FOOTER}{note}")
        page.write_text(text.replace(LABEL, ""))
    for page in html.rglob("*"):
        if page.suffix in {".html", ".js", ".ipynb"} and str(Path.cwd()) in page.read_text():
            raise ValueError(f"book: {page.relative_to(html)} names the folder {Path.cwd()}")
    shutil.rmtree(out := results / "book", ignore_errors=True)
    shutil.copytree(html, out)
    return out


def minutes_table(profile: str) -> str:
    """Return an HTML table of what the runs of a profile took on this machine, stage by stage."""
    rows: dict[str, list[dict[str, float]]] = {}
    for path in sorted((notebook.NOTES / profile).glob("*.json")):
        stem = next((s for s in notebook.STEMS if path.stem.startswith(s)), path.stem)
        rows.setdefault(stem, []).append(json.loads(path.read_text()))
    if not rows:
        return "<p>Nothing was computed on this machine: the cache held all results.</p>"
    head = "<tr><th>stage</th><th>runs</th><th>minutes</th><th>memory, GB</th></tr>"
    for stem, runs in rows.items():
        minutes = sum(run["minutes"] for run in runs)
        memory = [run["peak_memory_mb"] / 1000 for run in runs if "peak_memory_mb" in run]
        cells = stem, len(runs), f"{minutes:.1f}", f"{max(memory):.1f}" if memory else "–"
        head += f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return f'<table class="table">{head}</table>'


def publish(profile: str, minutes: Mapping[str, float] | None = None) -> Path:
    """Copy a built book to ``book/_build/html`` and fill in what was measured on this machine."""
    source, target = Path("results") / profile / "book", BOOK / "_build" / "html"
    if not source.is_dir():
        raise ValueError(f"{source}: not there; run `make repro PROFILE={profile}` first")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    record = repro.record(profile, minutes or {})
    stored = {**record, **notebook.notes()}
    (target.parent / "run_record.json").write_text(json.dumps(stored, indent=2) + "\n")
    line = " · ".join(f"{key} {value}" for key, value in record.items() if key != "minutes")
    stamped = f'<p class="run-record">This run: {line}.</p>'
    for page in target.rglob("*.html"):
        text = page.read_text()
        new = text.replace(repro.PLACEHOLDER, stamped)
        if MINUTES in new:
            new = new.replace(MINUTES, minutes_table(profile))
        if new != text:
            page.write_text(new)
    return target


def main() -> None:
    """Build the book of the profile in params.yaml."""
    try:
        started, settings = time.monotonic(), params.read(Path("params.yaml"))
        print(build(settings))
        note_run(settings["profile"], "book", started)
    except (ValueError, OSError) as error:
        stop(error)


if __name__ == "__main__":
    main()
