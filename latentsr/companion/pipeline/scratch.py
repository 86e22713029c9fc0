"""Making the smoke inputs of a notebook that is run by hand, under ``.scratch``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

from latentsr import phantoms
from latentsr.companion.pipeline import notebook, params
from latentsr.companion.pipeline.repro import needed_for, stage_graph

SMOKE, SETS = Path("profiles/smoke.yaml"), ["knee", "brain", "chest"]
DATA, RESULTS, DONE = (notebook.SCRATCH / name for name in ("data", "smoke", "done"))
FIRST_LOOK = (
    "a smoke run: tiny images, hardly trained; its numbers mean nothing\n"
    'for the study: `make repro`, then inputs = "results/mini"'
)


def run_cells(stem: str, given: Mapping[str, Any], until: str = "") -> dict[str, Any]:
    """Run a notebook's code cells in this process, with ``given`` for its parameters cell.

    It ends before the first cell tagged ``until``. Returns the names that were defined.
    """
    path = Path("notebooks") / f"{stem}.ipynb"
    namespace: dict[str, Any] = {"__name__": "__notebook__"}
    for cell in json.loads(path.read_text())["cells"]:
        if until in (tags := cell["metadata"].get("tags", [])):
            break
        if "parameters" in tags:
            namespace.update(given)
        elif cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(path), "exec"), namespace)  # noqa: S102
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
    return namespace


def lesson(stem: str, outputs: Path) -> dict[str, Any]:
    """Run a lesson up to its exercises, for its solutions; return the names it defines."""
    declared = notebook.parameters(Path("notebooks") / f"{stem}.ipynb")
    return run_cells(stem, {**declared, "outputs": str(outputs)}, until="answer")


def chapters_for(stem: str, graph: Mapping[str, set[str]]) -> list[str]:
    """Return the chapters whose outputs ``stem`` reads by ``dvc.yaml``, in order; itself last.

    >>> [chapter[:2] for chapter in chapters_for("11_lesions", stage_graph())]
    ['01', '02', '03', '04', '11']
    """
    stages = {name.split("@")[0] for name in needed_for(notebook.stage_name(stem), graph)}
    chapters = [chapter for chapter in notebook.STEMS if notebook.stage_name(chapter) in stages]
    return sorted(
        chapters, key=lambda chapter: len(needed_for(notebook.stage_name(chapter), graph))
    )


def _fingerprint(stems: list[str]) -> str:
    """Hash what a scratch result depends on: its chapters, smoke profile, package, weights."""
    package = Path(__file__).parents[2]
    files = [*(Path("notebooks") / f"{stem}.ipynb" for stem in stems), SMOKE]
    files += sorted(path for path in package.rglob("*") if path.suffix in (".py", ".json"))
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _make(stem: str, run: dict[str, str]) -> str:
    """Run one chapter once, with the smoke profile; return a line that says how long it took."""
    started = time.monotonic()
    places = {"inputs": str(DATA if stem == "01_data" else RESULTS), "outputs": str(RESULTS)}
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        run_cells(stem, notebook.arguments_of(stem, SMOKE, {**places, **run}))
    return f"{notebook.label(stem, run)}: {time.monotonic() - started:.0f} s"


def upstream(stem: str, itself: bool = False) -> None:
    """Make what ``stem`` reads, with the smoke profile, under ``.scratch``; reuse what is there.

    With ``itself`` the chapter's own results too, for its exercises.
    """
    os.environ.update({notebook.IN_STAGE: "1", "MPLBACKEND": "agg", "TQDM_DISABLE": "1"})
    os.environ["OMP_NUM_THREADS"] = "1"  # one core a run
    settings = params.read(SMOKE)
    DONE.mkdir(parents=True, exist_ok=True)

    def is_done(name: str, sha: str) -> bool:
        return (DONE / name).exists() and (DONE / name).read_text() == sha

    sha = phantoms.parameters_sha256() + str(settings["phantoms"])
    if not is_done("phantoms", sha):
        print("making smoke phantoms ...", flush=True)
        shutil.rmtree(DATA, ignore_errors=True)
        phantoms.write(DATA, **vars(settings["phantoms"]))
        (DONE / "phantoms").write_text(sha)
    graph = stage_graph()
    chapters = chapters_for(stem, graph)
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for chapter in chapters if itself else chapters[:-1]:
            sha = _fingerprint(chapters_for(chapter, graph))
            if is_done(chapter, sha):
                continue
            runs = list(notebook.grid(chapter, settings, SETS))
            for line in pool.map(_make, [chapter] * len(runs), runs):
                print(line, flush=True)
            (DONE / chapter).write_text(sha)


if __name__ == "__main__":
    notebook.SCRATCH.mkdir(exist_ok=True)
    try:
        with open(notebook.SCRATCH / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two chapters opened at once take turns
            upstream(sys.argv[1], itself="--itself" in sys.argv)
            if sys.argv[1] != "01_data":  # which reads images alone, and trains nothing
                print(FIRST_LOOK)
    except ValueError as error:
        sys.exit(str(error))
