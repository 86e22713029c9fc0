"""Making the smoke inputs of a notebook that is run by hand, under ``.scratch``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

from latentsr import phantoms
from latentsr.companion.book import provenance
from latentsr.companion.pipeline import notebook, params

SMOKE, SETS = Path("profiles/smoke.yaml"), ["knee", "brain", "chest"]
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
        if cell["cell_type"] != "code":
            continue
        if "parameters" in tags:
            namespace.update(given)
        else:
            exec(compile("".join(cell["source"]), str(path), "exec"), namespace)  # noqa: S102
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
    return namespace


def lesson(stem: str, outputs: Path) -> dict[str, Any]:
    """Run a lesson up to its exercises, for its solutions; return the names it defines."""
    declared = notebook.parameters(Path("notebooks") / f"{stem}.ipynb")
    return run_cells(stem, {**declared, "outputs": str(outputs)}, until="answer")


def chapters_for(stem: str) -> list[str]:
    """Return the chapters whose outputs ``stem`` reads by ``dvc.yaml``, in order; itself last.

    >>> chapters_for("05_wavelets")
    ['01_data', '02_autoencoders', '03_train_arm', '04_vae_swap', '05_wavelets']
    >>> [chapter[:2] for chapter in chapters_for("11_lesions")]
    ['01', '02', '03', '04', '11']
    """

    def folders(texts: Sequence[str]) -> set[Path]:
        return {Path(text.split("${")[0]) for text in texts if text.startswith("results/")}

    listed = {stage.name: stage for stage in provenance.stages("smoke")}
    wanted: list[str] = []
    read: set[Path] = set()
    for chapter in reversed(notebook.STEMS):
        stage = listed[notebook.block_name(chapter)]
        made = folders(stage.outs)
        if chapter == stem or any(
            one.is_relative_to(other) or other.is_relative_to(one) for one in made for other in read
        ):
            wanted.append(chapter)
            read |= folders(stage.inputs)
    return wanted[::-1]


def _fingerprint(stem: str) -> str:
    """Hash what a scratch result depends on: its chapters, smoke profile, package, weights."""
    files = [Path("notebooks") / f"{chapter}.ipynb" for chapter in chapters_for(stem)]
    here = Path(__file__).parents[2]
    files += [
        SMOKE,
        *sorted(here.rglob("*.py")),
        *sorted(here.rglob("*.json")),
    ]
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _make(job: tuple[str, dict[str, str]]) -> str:
    """Run one chapter once, with the smoke profile; return a line that says how long it took."""
    stem, run = job
    started = time.monotonic()
    place = notebook.SCRATCH / "smoke"
    inputs = notebook.SCRATCH / "data" if stem == "01_data" else place
    places = {"inputs": str(inputs), "outputs": str(place)}
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        run_cells(stem, notebook.arguments_of(stem, SMOKE, {**places, **run}))
    return f"{notebook.label(stem, run)}: {time.monotonic() - started:.0f} s"


def upstream(stem: str, itself: bool = False) -> None:
    """Make what ``stem`` reads, with the smoke profile, under ``.scratch``; reuse what is there.

    With ``itself`` the chapter's own results too, for its exercises.
    """
    from tqdm import tqdm

    quiet = {notebook.IN_STAGE: "1", "MPLBACKEND": "agg", "TQDM_DISABLE": "1"}
    os.environ.update({**quiet, "OMP_NUM_THREADS": "1"})  # one core a run
    settings = params.read(SMOKE)
    data, done = notebook.SCRATCH / "data", notebook.SCRATCH / "done"
    done.mkdir(parents=True, exist_ok=True)
    sha = phantoms.parameters_sha256() + json.dumps(vars(settings["phantoms"]))
    if not (marker := done / "phantoms").exists() or marker.read_text() != sha:
        print("making smoke phantoms ...", flush=True)
        shutil.rmtree(data, ignore_errors=True)
        phantoms.write(data, **vars(settings["phantoms"]))
        marker.write_text(sha)
    chapters = chapters_for(stem) if itself else chapters_for(stem)[:-1]
    shas = {chapter: _fingerprint(chapter) for chapter in chapters}
    jobs = {
        chapter: [(chapter, run) for run in notebook.grid(chapter, settings, SETS)]
        for chapter, sha in shas.items()
        if not (done / chapter).exists() or (done / chapter).read_text() != sha
    }
    shown: dict[str, Any] = {"desc": "inputs", "leave": False, "disable": not jobs}
    with (
        tqdm(total=sum(map(len, jobs.values())), **shown) as bar,
        ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
    ):
        for chapter, runs in jobs.items():
            for line in pool.map(_make, runs):
                with tqdm.external_write_mode():
                    print(line, flush=True)
                bar.update()
            (done / chapter).write_text(shas[chapter])


if __name__ == "__main__":
    notebook.SCRATCH.mkdir(exist_ok=True)
    try:
        with open(notebook.SCRATCH / "lock", "w") as lock:
            # two chapters opened at once take turns
            fcntl.flock(lock, fcntl.LOCK_EX)
            upstream(sys.argv[1], itself="--itself" in sys.argv)
            if sys.argv[1] != "01_data":  # which reads images alone, and trains nothing
                print(FIRST_LOOK)
    except ValueError as error:
        sys.exit(str(error))
