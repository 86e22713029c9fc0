"""Run a notebook as a stage of the pipeline, through papermill; draw the phantoms as one."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from latentsr.companion.pipeline import data, params
from latentsr.companion.pipeline.notebook import (
    IN_STAGE,
    LESSONS,
    SCRATCH,
    STEMS,
    arguments_of,
    grid,
    label,
    note,
    slugify,
)
from latentsr.datasets import read_sets

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
    minutes = round((time.monotonic() - started) / 60, 3)
    memory = {"minutes": minutes, "peak_memory_mb": round(peak / 1e6)}
    note(f"{profile}/{slugify(label)}", memory)


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

    profile, name = params.read(Path("params.yaml")), label(stem, run)
    results = Path("results") / profile["profile"]
    out = results / "notebooks" / f"{name}.ipynb"
    places = {"inputs": "data" if stem == "01_data" else str(results), "outputs": str(results)}
    arguments = arguments_of(stem, Path("params.yaml"), {**places, **run})
    inline = "module://matplotlib_inline.backend_inline"
    threads = str(profile["threads"])
    os.environ.update({IN_STAGE: "1", "OMP_NUM_THREADS": threads, "MPLBACKEND": inline})
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = SCRATCH / "failed" / f"{slugify(name)}.ipynb"
    failed.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            Path("notebooks") / f"{stem}.ipynb",
            failed,
            parameters=arguments,
            kernel_name="python3",
            progress_bar=False,
            cwd=".",
            extra_arguments=["--log-level=40"],  # errors only
        )
    except DeadKernelError:
        why = "its kernel was killed, most often for want of memory"
        raise ValueError(f"{name}: {why}") from None
    except papermill.PapermillExecutionError as error:
        why = f"{error.ename}: {error.evalue}" if error.ename != "ValueError" else error.evalue
        raise ValueError(f"{name}: {why} (the notebook as it failed: {failed})") from None
    temporary = out.with_suffix(".tmp")
    nbformat.write(byte_stable(nbformat.read(failed, as_version=4)), temporary)
    failed.unlink()
    os.replace(temporary, out)
    note_run(results.name, name, started)
    return out


def check_point(stem: str, run: Mapping[str, str]) -> None:
    """Refuse, before a kernel starts, a grid point that the study lacks."""
    settings = params.read(Path("params.yaml"))
    points = list(grid(stem, settings, list(read_sets(Path("sets.yaml"))[1])))
    if run not in points:
        options = (" ".join(f"--{k} {v}" for k, v in point.items()) for point in points)
        allowed = "; ".join(filter(None, options)) or "no options"
        raise ValueError(f"{stem}: {run}; allowed are {allowed}")


def draw_phantoms(folder: Path = Path(data.PHANTOMS)) -> Path:
    """Draw the embedded images of params.yaml from scratch; what is in data/ by hand is moved."""
    from latentsr import phantoms

    profile, started = params.read(Path("params.yaml")), time.monotonic()
    for line in data.before_import(folder=data.PHANTOMS):
        print(line)
    shutil.rmtree(folder, ignore_errors=True)
    phantoms.write(folder, **vars(profile["phantoms"]))
    note_run(profile["profile"], "phantoms", started)
    return folder


def stop(error: Exception) -> NoReturn:
    """End a stage with one line; `make repro` repeats it below what DVC has to say."""
    REASON.parent.mkdir(parents=True, exist_ok=True)
    REASON.write_text(f"{error}\n")
    sys.exit(str(error))


def main() -> None:
    """Run ``python -m latentsr.companion.pipeline.stage NOTEBOOK [--dataset SET] [--vae VAE]``."""
    known = ["phantoms", *STEMS, *LESSONS]
    parser = argparse.ArgumentParser(description="Run one stage of the pipeline.")
    parser.add_argument("stem", help="phantoms, or a notebook, for instance 03_train_arm")
    parser.add_argument("--dataset")
    parser.add_argument("--vae")
    options = {key: value for key, value in vars(parser.parse_args()).items() if value}
    if (stem := options.pop("stem")) not in known:
        parser.error(f"notebook {stem!r}; known are {', '.join(known)}")
    try:
        if stem == "phantoms":
            print(draw_phantoms())
        else:
            check_point(stem, options)
            print(execute(stem, options))
    except (ValueError, OSError) as error:
        stop(error)


if __name__ == "__main__":
    main()
