"""Run a notebook as a stage of the pipeline, through papermill."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from latentsr.companion.pipeline import params
from latentsr.companion.pipeline.notebook import (
    IN_STAGE,
    LESSONS,
    SCRATCH,
    STEMS,
    arguments_of,
    flat,
    grid,
    label,
)

NOTES = SCRATCH / "run_record"  # what runs took on this machine; never part of their outputs
REASON = SCRATCH / "failed" / "reason.txt"  # why the last stage stopped
WIDGET = "application/vnd.jupyter.widget-view+json"


def byte_stable(notebook: Any) -> Any:
    """Drop from an executed notebook whatever differs between two equal runs."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":  # standard error holds progress bars and their times
            kept = [out for out in cell.outputs if out.get("name") != "stderr"]
            kept = [out for out in kept if WIDGET not in out.get("data", {})]  # bars: random ids
            cell.outputs = kept[:1]
            for out in kept[1:]:  # where a stream is cut in pieces depends on timing
                last = cell.outputs[-1]
                if out.output_type == last.output_type == "stream":
                    last.text += out.text
                else:
                    cell.outputs.append(out)
    return notebook


def note_run(profile: str, label: str, started: float) -> None:
    """Keep what a run took: minutes since ``started``, and the memory of its largest process.

    The memory is that of this process and of those it waited for, in MB (10^6 bytes).
    """
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    whose = resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF
    peak = max(resource.getrusage(which).ru_maxrss for which in whose) * unit
    took = {
        "minutes": round((time.monotonic() - started) / 60, 3),
        "peak_memory_mb": round(peak / 1e6),
    }
    path = NOTES / profile / f"{flat(label)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(took) + "\n")


def execute(stem: str, run: Mapping[str, str]) -> Path:
    """Run one notebook of the pipeline with the parameters of params.yaml.

    Returns
    -------
    Path
        The executed copy, ``results/<profile>/notebooks/<label>.ipynb``; it appears whole or not
        at all. A failing copy is kept under ``.scratch/failed``.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    profile = params.read(Path("params.yaml"))
    results = Path("results") / profile["profile"]
    out = results / "notebooks" / f"{label(stem, run)}.ipynb"
    first = stem == "01_data"
    places = {"inputs": "data" if first else str(results), "outputs": str(results)}
    given = arguments_of(stem, Path("params.yaml"), {**places, **run})
    threads = str(profile["threads"])
    inline = "module://matplotlib_inline.backend_inline"
    os.environ.update({IN_STAGE: "1", "OMP_NUM_THREADS": threads, "MPLBACKEND": inline})
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = SCRATCH / "failed" / f"{flat(label(stem, run))}.ipynb"
    failed.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            Path("notebooks") / f"{stem}.ipynb",
            failed,
            parameters=given,
            kernel_name="python3",
            progress_bar=False,
            cwd=".",
            extra_arguments=["--log-level=40"],  # errors only
        )
    except DeadKernelError:
        raise ValueError(
            f"{label(stem, run)}: its kernel was killed, most often for want of memory"
        ) from None
    except papermill.PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}" if error.ename != "ValueError" else error.evalue
        raise ValueError(
            f"{label(stem, run)}: {reason} (the notebook as it failed: {failed})"
        ) from None
    temporary = out.with_suffix(".tmp")
    nbformat.write(byte_stable(nbformat.read(failed, as_version=4)), temporary)
    failed.unlink()
    os.replace(temporary, out)
    note_run(results.name, label(stem, run), started)
    return out


def check_point(stem: str, run: Mapping[str, str]) -> None:
    """Refuse, before a kernel starts, a grid point that the study lacks."""
    try:
        sets = [str(name) for name in yaml.safe_load(Path("sets.yaml").read_text())["names"]]
    except (yaml.YAMLError, TypeError, KeyError):
        raise ValueError("sets.yaml: cannot be read; `latentsr data reset` mends it") from None
    settings = params.read(Path("params.yaml"))
    points = list(grid(stem, settings, sets))
    if run not in points:
        options = (" ".join(f"--{k} {v}" for k, v in point.items()) for point in points)
        listed = "; ".join(filter(None, options)) or "no options"
        raise ValueError(f"{stem}: {run}; allowed are {listed}")


def stop(error: Exception) -> NoReturn:
    """End a stage with one line; `make repro` repeats it below what DVC has to say."""
    REASON.parent.mkdir(parents=True, exist_ok=True)
    REASON.write_text(f"{error}\n")
    sys.exit(str(error))


def main() -> None:
    """Run ``python -m latentsr.companion.pipeline.stage NOTEBOOK [--dataset SET] [--vae VAE]``."""
    parser = argparse.ArgumentParser(description="Run one notebook of the pipeline.")
    parser.add_argument("stem", help="for instance 03_train_arm")
    parser.add_argument("--dataset")
    parser.add_argument("--vae")
    given = parser.parse_args()
    if given.stem not in (known := [*STEMS, *LESSONS]):
        parser.error(f"notebook {given.stem!r}; known are {', '.join(known)}")
    run = {key: value for key in ("dataset", "vae") if (value := getattr(given, key))}
    try:
        check_point(given.stem, run)
        print(execute(given.stem, run))
    except (ValueError, OSError) as error:
        stop(error)


if __name__ == "__main__":
    main()
