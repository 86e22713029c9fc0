"""The last stage: executed notebooks, figures and tables become a book."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentsr import launch, notebook, pages, params, registry, run_record, slider

BOOK, WORK = Path("book"), notebook.SCRATCH / "book"
PLACEHOLDER = '<p class="run-record"></p>'  # stands in book/intro.md


def chapters(settings: Mapping[str, Any], sets: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (executed notebook, name in the book, run): of chapter 3 one specimen, else every run.

    The first run of a chapter keeps the chapter's own name, so that links between chapters hold.
    """
    for stem in notebook.STEMS:
        for number, run in enumerate(notebook.grid(stem, settings, sets)):
            if number and stem == "03_train_arm":
                break
            label = notebook.label(stem, run)
            name = label.replace("/", "_") if number else stem
            said = (registry.label(v) if k == "vae" else v for k, v in run.items())
            yield label, name, ", ".join(said)


def _described(cell: dict[str, Any]) -> None:
    """Hand the alternative text of a cell's figure to MyST, which looks for it in the cell."""
    for output in cell.get("outputs", ()):
        if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
            cell["metadata"]["mystnb"] = {"image": {"alt": alt}}


def titled(text: str, run: str) -> str:
    """Return a notebook whose heading names its run, for instance ``# 2 Autoencoders (knee)``."""
    content = json.loads(text)
    for cell in content["cells"]:
        _described(cell)
    heading, *rest = "".join(content["cells"][0]["source"]).split("\n")
    title = f"{heading} ({run})" if run else heading
    content["cells"][0]["source"] = "\n".join([title, *rest])
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


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
    for label, name, run in chapters(settings, list(sets)):
        source = results / "notebooks" / f"{label}.ipynb"
        if not source.exists():
            raise ValueError(f"{source}: {mend}")
        text = source.read_text()
        for vae in settings["autoencoders"].vaes:  # the places of own files are nobody's business
            text = text.replace(vae, registry.label(vae))
        (BOOK / "notebooks" / f"{name}.ipynb").write_text(titled(text, run))
    roots = [results, *(results / "autoencoders" / name for name in sets)]
    arms = [registry.folder(vae) for vae in settings["autoencoders"].arms]
    roots += [results / "arms" / name / arm for name in sets for arm in arms]
    pages.write(roots, sets, BOOK / "generated")
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
    for page in (html / ".buildinfo", *html.rglob("*.map")):  # a hash of settings; debugging aids
        page.unlink(missing_ok=True)
    for page in html.rglob("*"):
        if page.suffix in {".html", ".js", ".ipynb"} and str(Path.cwd()) in page.read_text():
            raise ValueError(f"book: {page.relative_to(html)} names the folder {Path.cwd()}")
    shutil.rmtree(out := results / "book", ignore_errors=True)
    shutil.copytree(html, out)
    return out


def publish(profile: str, minutes: Mapping[str, float] | None = None) -> Path:
    """Copy a built book to ``book/_build/html``, with the run record on its first page."""
    source, target = Path("results") / profile / "book", BOOK / "_build" / "html"
    if not source.is_dir():
        raise ValueError(f"{source}: not there; run `make repro PROFILE={profile}` first")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    found = run_record.collect(profile, minutes or {})
    (target.parent / "run_record.json").write_text(
        json.dumps({**found, **run_record.notes()}, indent=2) + "\n"
    )
    line = " · ".join(f"{key} {value}" for key, value in found.items())
    stamped = f'<p class="run-record">This run: {line}.</p>'
    text = (source / "intro.html").read_text().replace(PLACEHOLDER, stamped)
    (target / "intro.html").write_text(text)
    return target


def main() -> None:
    """Run ``python -m latentsr.book``: build the book of the profile in params.yaml."""
    try:
        print(build(params.read(Path("params.yaml"))))
    except (ValueError, OSError) as error:
        notebook.stop(error)


if __name__ == "__main__":
    main()
