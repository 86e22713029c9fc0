"""Which stage of dvc.yaml makes a file, by which command and from what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latentsr import notebook, run_record
from latentsr.markdown import escaped

BLANK = re.compile(r"\$\{(?:item\.\w+|item|key)\}")


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline; ``${item...}`` and ``${key}`` stand for the axes of its grid."""

    name: str
    desc: str
    command: str
    inputs: Sequence[str]
    outs: Sequence[str]


def stages(profile: str, path: Path = Path("dvc.yaml")) -> list[Stage]:
    """Read the stages of the pipeline, ``${profile}`` filled in."""

    def filled(entry: Any) -> str:
        text = next(iter(entry)) if isinstance(entry, dict) else entry
        return str(text).replace("${profile}", profile)

    found = []
    for name, raw in yaml.safe_load(path.read_text())["stages"].items():
        raw = raw.get("do", raw)  # of a foreach
        outs = [filled(entry) for key in ("outs", "metrics") for entry in raw.get(key, ())]
        inputs = [filled(entry) for entry in raw.get("deps", ())]
        found.append(Stage(name, raw.get("desc", ""), raw["cmd"], inputs, outs))
    return found


def made_by(path: str, listed: Sequence[Stage]) -> Stage:
    """Return the stage one of whose outputs is the file, or holds it.

    Raises
    ------
    ValueError
        When no stage makes it.

    Examples
    --------
    >>> arms = Stage("train_arm", "", "", (), ["results/mini/arms/${item.dataset}/${item.vae}"])
    >>> made_by("results/mini/arms/knee/natural-f8c4/curve.csv", [arms]).name
    'train_arm'
    """
    for stage in listed:
        for out in stage.outs:
            pattern = "[^/]+".join(re.escape(text) for text in BLANK.split(out))
            if re.match(rf"{pattern}(/|$)", path):
                return stage
    raise ValueError(f"{path}: no stage of dvc.yaml makes it; list it under outs")


def labels(stage: Stage, settings: Mapping[str, Any], sets: Sequence[str]) -> list[str]:
    """Name every run of a stage: its notebook at each point of its grid, or the stage itself."""
    for stem in notebook.STEMS:
        if notebook.block_name(stem) == stage.name:
            return [notebook.label(stem, run) for run in notebook.grid(stem, settings, list(sets))]
    return notebook.LESSONS if stage.name == "background" else [stage.name]


def page(files: Sequence[str], listed: Sequence[Stage], runs: Mapping[str, Sequence[str]]) -> str:
    """Write the page that lists, stage by stage, what each makes of ``files``, how and from what.

    ``runs`` are the `labels` of each stage; what they took is filled in when the book is published.
    """
    makers = [(made_by(file, listed), file) for file in files]
    text = (
        "# What makes which figure\n\nEvery figure, table and file of numbers of this book, by the "
        "stage of `dvc.yaml` that makes it. `dvc repro STAGE` runs a stage and whatever it waits "
        "for. A dash for its minutes: not measured on this machine ([status](../status.md)).\n\n"
    )
    for stage in listed:
        own = [file for maker, file in makers if maker.name == stage.name] or stage.outs
        read = [
            name for name in stage.inputs if name.startswith(("notebooks/", "results/", "data"))
        ]
        text += (
            f"({anchor(stage.name)})=\n## {stage.name}\n\n{stage.desc[:1].upper()}{stage.desc[1:]}.\n\n"
            f"- run it: `dvc repro {stage.name}`\n- it calls: `{stage.command}`\n"
            f"- it reads: {', '.join(f'`{name}`' for name in read) or 'parameters only'}\n"
            f"- minutes on this machine: {run_record.slot('minutes', runs[stage.name])}\n"
            "- it makes:\n\n"
        )
        text += "".join(f"  - `{file}`\n" for file in own) + "\n"
    return text


def status(listed: Sequence[Stage], runs: Mapping[str, Sequence[str]]) -> str:
    """Write the table of stages with what each took, to be filled in when the book is published."""
    text = (
        "| stage | what it does | runs | minutes | memory, GB |\n| :-- | :-- | --: | --: | --: |\n"
    )
    for stage in listed:
        took = (run_record.slot(what, runs[stage.name]) for what in ("minutes", "memory"))
        cells = escaped(stage.name), escaped(stage.desc), str(len(runs[stage.name])), *took
        text += f"| {' | '.join(cells)} |\n"
    return text


def anchor(stage: str) -> str:
    """Name the place of a stage on the page.

    >>> anchor("vae_swap")
    'stage-vae-swap'
    """
    return f"stage-{stage.replace('_', '-')}"
