"""The notebooks: which there are, with which parameters, and how one opens, in a stage or by hand."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from latentsr.autoencoders import registry
from latentsr.companion.pipeline import params

SCRATCH = Path(".scratch")
STEMS = (
    "01_data 02_autoencoders 03_train_arm 04_vae_swap 05_wavelets 06_hallucination 07_ablations "
    "08_statistics 09_screening 10_claims 11_lesions 12_long_ablations"
).split()
EXERCISES = STEMS[:-1]  # a default run measures nothing that chapter 12 could ask for
LESSONS = [  # background: no lesson reads a result, so no parameter of a profile reaches one
    f"background/{name}"
    for name in "L1_autoencoders L2_diffusion L3_conditions L4_wavelets L5_effect_sizes".split()
]
IN_STAGE = "LATENTSR_STAGE"  # set in the environment of a pipeline run
NOTES = SCRATCH / "run_record"  # what runs took on this machine; never part of their outputs


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


def stage_name(stem: str) -> str:
    """Return the stage of dvc.yaml that runs a notebook: named as its block, but for chapter 3.

    >>> stage_name("03_train_arm"), stage_name("04_vae_swap")
    ('score', 'vae_swap')
    """
    return {"03_train_arm": "score"}.get(stem, block_name(stem))


def parameters(path: Path) -> dict[str, Any]:
    """Read the names and literal values of a notebook's parameters cell."""
    for cell in json.loads(path.read_text())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            lines: Any = ast.parse("".join(cell["source"])).body
            return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    raise ValueError(f"{path}: no cell is tagged `parameters`")


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


def slugify(label: str) -> str:
    """Name a file after a run: a label may hold a path.

    >>> slugify("background/L1_x"), slugify("03_train_arm_knee_/my data/x.ckpt")
    ('background_L1_x', '03_train_arm_knee__my_data_x.ckpt')
    """
    return re.sub(r"[/ ]", "_", label)


def label(stem: str, run: Mapping[str, str]) -> str:
    """Name an executed notebook, for instance ``03_train_arm_knee_natural-f8c4``."""
    return "_".join([stem, *(run[key] for key in ("dataset", "vae") if key in run)])


def note(name: str, values: Mapping[str, Any]) -> None:
    """Keep what a run measured of this machine, for the record beside the book."""
    path = NOTES / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")


def notes() -> dict[str, Any]:
    """Return what the runs noted."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(NOTES.glob("*.json"))}


def profile_of(results: Path) -> tuple[Path, dict[str, Any]]:
    """Return the parameters file of a run that lies in ``results/<profile>``, and its content."""
    now, shipped = Path("params.yaml"), Path("profiles") / f"{results.name}.yaml"
    if (current := params.read(now))["profile"] == results.name:
        return now, current
    if not shipped.exists():
        raise ValueError(f"inputs: {results} has a profile that is neither {now} nor in profiles/")
    return shipped, params.read(shipped)


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"inputs: {folder} is not there; run `make repro PROFILE={folder.name}`")


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
        _require(inputs)
        if stem == "01_data":
            raise ValueError("inputs: chapter 1 reads images, not results; leave it as it was")
        file, profile = profile_of(inputs)
        block = block_name(stem)
        shipped = vars(params.read(Path("profiles/smoke.yaml"))[block])
        own = {k: namespace[k] for k, v in shipped.items() if namespace.get(k, v) != v}
        namespace.update(vars(profile[block]) | own)
        but = ", but ".join(["", *(f"{key} = {value!r}" for key, value in own.items())])
        print(f"reading {inputs} with the parameters of {file}{but}")
        return inputs, SCRATCH / inputs.name
    _make_smoke(stem)
    return inputs, Path(namespace["outputs"])


def _make_smoke(stem: str, *options: str) -> None:
    """Make the smoke inputs of a chapter under ``.scratch``, and say what takes the time."""
    command = [sys.executable, "-m", "latentsr.companion.pipeline.scratch", stem, *options]
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
    else:
        _require(folder)
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
    values: dict[str, Any] = {}
    for block in ("data", "autoencoders", "train_arm", "vae_swap"):
        values |= vars(profile[block])
    values["arms"] = [vae for vae in values["arms"] if vae not in values["pixels_only"]]
    return values


def block(inputs: Path, name: str) -> dict[str, Any]:
    """Return one block of the parameters of the run that lies in ``inputs``."""
    return dict(vars(_profile_behind(inputs)[name]))


def runs_all(inputs: Path) -> bool:
    """Return whether the run in ``inputs`` was asked for what takes hours (``ablations.run``)."""
    return bool(block(inputs, "ablations")["run"] == "all")


def arm_folders(inputs: Path) -> dict[str, str]:
    """Return where each arm of a run lies below its set's folder, by the arm's name in tables."""
    return {registry.display_name(vae): registry.arm_dir(vae) for vae in study(inputs)["arms"]}
