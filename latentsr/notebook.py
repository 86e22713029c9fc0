"""Running a notebook: as a pipeline stage through papermill, or by hand from JupyterLab."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from latentsr import params, registry

SCRATCH = Path(".scratch")
RUN_KEYS = ("inputs", "outputs", "dataset", "vae")  # parameters that are not in params.yaml
STEMS = (
    "01_data 02_autoencoders 03_train_arm 04_vae_swap 05_wavelets 06_hallucination 07_ablations "
    "08_statistics 09_screening 10_claims 11_lesions"
).split()
LESSONS = [  # background: no lesson reads a result, so no parameter of a profile reaches one
    f"background/{name}"
    for name in "L1_autoencoders L2_diffusion L3_conditions L4_wavelets L5_effect_sizes".split()
]
NOTES = SCRATCH / "run_record"  # what runs took on this machine; never part of their outputs
REASON = SCRATCH / "failed" / "reason.txt"  # why the last stage stopped
WIDGET = "application/vnd.jupyter.widget-view+json"
IN_STAGE = "LATENTSR_STAGE"  # set in the environment of a pipeline run


def repository() -> Path:
    """Return the folder that holds dvc.yaml, from here upwards."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").exists() and (folder / "notebooks").is_dir():
            return folder
    raise ValueError(f"{here}: not inside a clone of latentsr (no dvc.yaml here or above)")


def block_name(stem: str) -> str:
    """Return the block of params.yaml that belongs to a notebook: its name without the number."""
    return stem.split("_", 1)[1]


def parameters(path: Path) -> dict[str, Any]:
    """Read the names and literal values of a notebook's parameters cell.

    Raises
    ------
    ValueError
        When there is no such cell, or a line is not ``name = literal``.
    """
    for cell in json.loads(path.read_text())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            tree = ast.parse("".join(cell["source"]))
            break
    else:
        raise ValueError(f"{path}: no cell is tagged `parameters`")
    found = {}
    for line in tree.body:
        if not (isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)):
            raise ValueError(f"{path}: the parameters cell holds more than `name = value`")
        found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def arguments_of(stem: str, profile: Path, run: Mapping[str, str]) -> dict[str, Any]:
    """Collect a notebook's parameters: its block of a params file and the run's own keys.

    A lesson keeps its own, but for where its figures go.

    Raises
    ------
    ValueError
        When they are not exactly the names of the notebook's parameters cell.
    """
    notebook = Path("notebooks") / f"{stem}.ipynb"
    declared = parameters(notebook)
    if stem in LESSONS:
        return {**declared, "outputs": run["outputs"]}
    given = {**vars(params.read(profile)[block_name(stem)]), **run}
    for key in given:
        if key not in declared:
            raise ValueError(f"{notebook}: parameter {key!r} is not in its parameters cell")
    if missing := [key for key in declared if key not in given]:
        raise ValueError(f"{notebook}: no value for parameter {', '.join(missing)}")
    return given


def grid(stem: str, settings: Mapping[str, Any], sets: list[str]) -> Iterator[dict[str, str]]:
    """Yield the grid points at which a notebook is run: one a set, or one a set and arm."""
    if stem == "02_autoencoders":
        yield from ({"dataset": name} for name in sets)
    elif stem == "03_train_arm":
        arms = settings["autoencoders"].arms
        yield from ({"dataset": name, "vae": vae} for name in sets for vae in arms)
    else:
        yield {}


def flat(label: str) -> str:
    """Name a file after a run: a label may hold a path.

    >>> flat("background/L1_x"), flat("03_train_arm_knee_/my data/x.ckpt")
    ('background_L1_x', '03_train_arm_knee__my_data_x.ckpt')
    """
    return re.sub(r"[/ ]", "_", label)


def label(stem: str, run: Mapping[str, str]) -> str:
    """Name an executed notebook, for instance ``03_train_arm_knee_natural-f8c4``."""
    return "_".join([stem, *(run[key] for key in ("dataset", "vae") if key in run)])


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


def profile_of(results: Path) -> tuple[Path, dict[str, Any]]:
    """Return the parameters file of a run that lies in ``results/<profile>``, and its content."""
    now, shipped = Path("params.yaml"), Path("profiles") / f"{results.name}.yaml"
    if (current := params.read(now))["profile"] == results.name:
        return now, current
    if not shipped.exists():
        raise ValueError(f"inputs: {results} has a profile that is neither {now} nor in profiles/")
    return shipped, params.read(shipped)


def start(stem: str, namespace: MutableMapping[str, Any]) -> tuple[Path, Path]:
    """Open a notebook: go to the repository, make sure its inputs are there, set the threads.

    Called with ``globals()``. In the pipeline the parameters stand as given. By hand, with the
    parameters as shipped, missing smoke inputs are made under ``.scratch``; with ``inputs`` set
    to ``results/<profile>``, the parameters of that profile are taken instead (but for those that
    were changed in the notebook), and outputs go to ``.scratch/<profile>``.

    Returns
    -------
    tuple of Path
        Where to read and where to write.
    """
    os.chdir(repository())
    if os.environ.get(IN_STAGE):
        return Path(namespace["inputs"]), Path(namespace["outputs"])
    inputs = Path(namespace["inputs"])
    if inputs.parts[:1] == ("results",):
        if not inputs.is_dir():
            raise ValueError(
                f"inputs: {inputs} is not there; run `make repro PROFILE={inputs.name}`"
            )
        if stem == "01_data":
            raise ValueError("inputs: chapter 1 reads images, not results; leave it as it was")
        found, profile = profile_of(inputs)
        block = block_name(stem)
        shipped = vars(params.read(Path("profiles/smoke.yaml"))[block])
        own = {
            key: namespace[key]
            for key in shipped
            if namespace.get(key, shipped[key]) != shipped[key]
        }
        namespace.update(vars(profile[block]) | own)
        but = (
            ", but " + ", ".join(f"{key} = {value!r}" for key, value in own.items()) if own else ""
        )
        print(f"reading {inputs} with the parameters of {found}{but}")
        return inputs, SCRATCH / inputs.name
    _make_smoke(stem)
    return inputs, Path(namespace["outputs"])


def _make_smoke(stem: str, *options: str) -> None:
    """Make the smoke inputs of a chapter under ``.scratch``, and say what takes the time."""
    command = [sys.executable, "-m", "latentsr.scratch", stem, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
    if process.returncode:
        raise ValueError(f"{stem}: its inputs could not be made (see the lines above)")


def results(stem: str, inputs: str) -> Path:
    """Open the exercises to a chapter: go to the repository and return where its results lie.

    Those of ``results/<profile>`` as they are; smoke results are made under ``.scratch``, the
    chapter's own among them.
    """
    os.chdir(repository())
    folder = Path(inputs)
    if folder.parts[:1] == SCRATCH.parts:
        _make_smoke(stem, "--itself")
    elif not (folder / "data").is_dir():
        raise ValueError(f"inputs: {inputs} is not there; run `make repro PROFILE={folder.name}`")
    return folder


def lesson(outputs: str) -> Path:
    """Open a lesson: go to the repository; return where its figures go."""
    os.chdir(repository())
    return Path(outputs)


def _profile_behind(inputs: Path) -> dict[str, Any]:
    by_hand = inputs.parts[:1] == SCRATCH.parts
    return params.read(Path("profiles/smoke.yaml")) if by_hand else profile_of(inputs)[1]


def study(inputs: Path) -> dict[str, Any]:
    """Return the parameters of the run that lies in ``inputs``, all blocks in one dict.

    Later chapters need a few of earlier chapters' parameters (which arms, which conditions);
    they come from the profile that made the files, never from a listing of them. ``arms`` are
    those that were run under every LR condition.
    """
    profile = _profile_behind(inputs)
    blocks = ("data", "autoencoders", "train_arm", "vae_swap")
    found = {key: value for block in blocks for key, value in vars(profile[block]).items()}
    found["arms"] = [vae for vae in found["arms"] if vae not in found["pixels_only"]]
    return found


def runs_all(inputs: Path) -> bool:
    """Return whether the run in ``inputs`` was asked for what takes hours (``ablations.run``)."""
    return bool(_profile_behind(inputs)["ablations"].run == "all")


def arm_folders(inputs: Path) -> dict[str, str]:
    """Return where each arm of a run lies below its set's folder, by the arm's name in tables."""
    return {registry.label(vae): registry.folder(vae) for vae in study(inputs)["arms"]}


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
    """Run ``python -m latentsr.notebook NOTEBOOK [--dataset SET] [--vae VAE]``."""
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
