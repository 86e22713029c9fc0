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
from latentsr.companion.book import counts, launch, pages, provenance, slider
from latentsr.companion.pipeline import notebook, params, repro
from latentsr.companion.pipeline.stage import note_run, stop

BOOK, WORK = Path("book"), notebook.SCRATCH / "book"
EXERCISES = Path("notebooks/exercises")
SPECIMEN = "03_train_arm"  # of whose many runs the book shows the first
LABEL = ' aria-label="Toggle hidden content"'  # it hides the words a folded cell shows from readers
FOOTER = '<footer class="bd-footer-content">'  # of every page of the theme


def chapters(settings: Mapping[str, Any], sets: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (executed notebook, name in the book, run): of chapter 3 one specimen, else every run.

    The first run of a chapter keeps the chapter's own name, so that links between chapters hold.
    """
    for stem in notebook.STEMS:
        for number, run in enumerate(notebook.grid(stem, settings, sets)):
            if number and stem == SPECIMEN:
                break
            label = notebook.label(stem, run)
            name = label.replace("/", "_") if number else stem
            said = (registry.label(v) if k == "vae" else v for k, v in run.items())
            yield label, name, ", ".join(said)
    yield from ((stem, stem, "") for stem in notebook.LESSONS)


def _alts(cell: Mapping[str, Any]) -> list[str]:
    """Return the alternative texts of a cell's figures."""
    metadata = (output.get("metadata", {}) for output in cell.get("outputs", ()))
    return [alt for one in metadata if (alt := one.get("image/png", {}).get("alt"))]


def _described(cell: dict[str, Any]) -> None:
    """Hand the alternative text of a cell's figure to MyST, which looks for it in the cell."""
    for alt in _alts(cell):
        cell["metadata"]["mystnb"] = {"image": {"alt": alt}}


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


def _foldable(cell: dict[str, Any]) -> bool:
    """Name the button of an exercise's check; tell whether the cell is one."""
    if found := "check" in cell["metadata"].get("tags", []):
        words = ("Show", "Hide")
        cell["metadata"]["mystnb"] = {f"code_prompt_{w.lower()}": f"{w} the check" for w in words}
    return found


def _injected(cell: dict[str, Any]) -> None:
    """Say of the cell with a run's parameters what it is: it stands below those as shipped."""
    if "injected-parameters" in cell["metadata"].get("tags", []):
        _, *values = "".join(cell["source"]).split("\n")  # papermill's own first line
        cell["source"] = "\n".join(["# of this run, in place of the values above", *values])


def _words(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _is_picture(output: Mapping[str, Any]) -> bool:
    return "image/png" in output.get("data", {})


def titled(
    text: str,
    run: str,
    stem: str,
    drawn: Mapping[str, str] | None = None,
    sets: counts.Sets | None = None,
    runs: int = 1,
) -> str:
    """Return a notebook whose heading names its run, for instance ``# 2 Autoencoders (knee)``.

    Below each figure stand a link to what makes it and how many subjects and images of ``sets``
    are behind it; ``drawn`` gives a figure's file name by its alternative text. At the end stands
    where the chapter's files are. Of a chapter with ``runs`` of which one is shown, the page says
    so.
    """
    content = json.loads(text)
    lesson = stem in notebook.LESSONS
    stage = provenance.anchor("background" if lesson else notebook.block_name(stem))
    files, cells = pages.files_anchor(stem), []
    for cell in content["cells"]:
        _described(cell)
        _foldable(cell)
        _injected(cell)
        cells.append(cell)
        if any(map(_is_picture, cell.get("outputs", ()))):
            cell["outputs"].sort(key=_is_picture)  # the caption follows its figure, not a table
            names = filter(None, map((drawn or {}).get, _alts(cell)))
            told = dict.fromkeys(counts.behind(name, sets or {}) for name in names)
            words = f"[How this figure is made](#{stage}) · [its files](#{files})", *told
            cells.append(_words(" · ".join(filter(None, words))))
    where = f"[figures in vector form and at 300 dpi, tables as CSV](#{files})"
    cells.append(_words(f"**Files of this chapter**: {where}; [command and inputs](#{stage})."))
    heading, *rest = "".join(cells[0]["source"]).split("\n")
    title = f"{heading} ({run})" if run else heading
    if runs > 1:
        rest += ["", f"*A specimen: one of {runs} runs. [Figures of all of them](#{files}).*"]
    cells[0]["source"] = "\n".join([title, *rest])
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    return json.dumps({**content, "cells": cells}, indent=1, ensure_ascii=False) + "\n"


def _tagged(content: Mapping[str, Any], tag: str) -> list[str]:
    cells = (c for c in content["cells"] if tag in c["metadata"].get("tags", []))
    return ["".join(cell["source"]) for cell in cells]


def exercise_page(exercise: str, solution: str) -> str:
    """Return a chapter's exercises, or a lesson, with the solution of each below it, folded up."""
    page, solved = json.loads(exercise), json.loads(solution)
    below = iter(zip(_tagged(solved, "answer"), _tagged(solved, "why"), strict=True))
    cells = []
    for cell in page["cells"]:
        cells.append(cell)
        if _foldable(cell):
            code, why = next(below)
            fold = "::::{dropdown} Solution\n:class-container: solution"
            text = f"{fold}\n\n```python\n{code}\n```\n\n{why}\n::::"
            more = {"cell_type": "markdown", "id": f"solution-{len(cells)}", "metadata": {}}
            cells.append({**more, "source": text})
    return json.dumps({**page, "cells": cells}, indent=1, ensure_ascii=False) + "\n"


def _solutions(stem: str) -> str:
    return (EXERCISES / "solutions" / f"{Path(stem).name}.ipynb").read_text()


def gather(settings: Mapping[str, Any], results: Path) -> None:
    """Fill book/notebooks and book/generated anew from the files of one profile's run."""
    mend = f"not there; run `make repro PROFILE={results.name}` first"
    facts = results / "data" / "sets.json"
    if not facts.exists():
        raise ValueError(f"{facts}: {mend}")
    sets = json.loads(facts.read_text())
    for folder in (BOOK / "notebooks", BOOK / "generated"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    (BOOK / "notebooks" / "background").mkdir()
    roots = [results, *(results / "autoencoders" / name for name in sets)]
    arms = [registry.folder(vae) for vae in settings["autoencoders"].arms]
    roots += [results / "arms" / name / arm for name in sets for arm in arms]
    texts = [path for root in roots for path in root.glob("figures/*/*.txt")]
    drawn = {path.read_text().strip(): path.stem for path in texts}
    for label, name, run in chapters(settings, list(sets)):
        source = results / "notebooks" / f"{label}.ipynb"
        stem = next(stem for stem in (*notebook.STEMS, *notebook.LESSONS) if label.startswith(stem))
        if not source.exists():
            raise ValueError(f"{source}: {mend}")
        text = source.read_text()
        for vae in settings["autoencoders"].vaes:  # the places of own files are nobody's business
            text = text.replace(vae, registry.label(vae))
        if stem in notebook.LESSONS:
            text = exercise_page(text, _solutions(stem))
        shown = {run: sets[run]} if run in sets else sets
        shown = counts.of_chapter(stem[:2], results, shown)
        count = len(list(notebook.grid(stem, settings, list(sets)))) if stem == SPECIMEN else 1
        page = placed(titled(text, run, stem, drawn, shown, count))
        (BOOK / "notebooks" / f"{name}.ipynb").write_text(page)
    (BOOK / "notebooks" / "exercises").mkdir()
    for stem in notebook.STEMS:
        asked = EXERCISES / f"{stem}.ipynb"
        text = exercise_page(asked.read_text(), _solutions(stem))
        (BOOK / "notebooks" / "exercises" / asked.name).write_text(placed(text))
    pages.write(roots, settings, sets, BOOK / "generated")
    slider.write(results, sets, settings["vae_swap"].main_vaes, BOOK / "generated")
    launch.mark(BOOK / "notebooks", Path("notebooks"), BOOK / "_config.yml")


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
        found = [line for line in text.splitlines() if "WARNING" in line or "ERROR" in line]
        raise ValueError(f"book: {found[0] if found else 'not built'} (all warnings: {log})")
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


def publish(profile: str, minutes: Mapping[str, float] | None = None) -> Path:
    """Copy a built book to ``book/_build/html`` and fill in what was measured on this machine."""
    source, target = Path("results") / profile / "book", BOOK / "_build" / "html"
    if not source.is_dir():
        raise ValueError(f"{source}: not there; run `make repro PROFILE={profile}` first")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    found = repro.record(profile, minutes or {})
    (target.parent / "run_record.json").write_text(
        json.dumps({**found, **notebook.notes()}, indent=2) + "\n"
    )
    line = " · ".join(f"{key} {value}" for key, value in found.items() if key != "minutes")
    stamped = f'<p class="run-record">This run: {line}.</p>'
    for page in target.rglob("*.html"):
        text = page.read_text()
        now = repro.filled(text, profile).replace(repro.PLACEHOLDER, stamped)
        if now != text:
            page.write_text(now)
    return target


def main() -> None:
    """Run ``python -m latentsr.companion.book.build``: build the book of the profile in params.yaml."""
    try:
        started, settings = time.monotonic(), params.read(Path("params.yaml"))
        print(build(settings))
        note_run(settings["profile"], "book", started)
    except (ValueError, OSError) as error:
        stop(error)


if __name__ == "__main__":
    main()
