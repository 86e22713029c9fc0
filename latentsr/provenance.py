"""Which stage of dvc.yaml makes a file, by which command and from what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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


def page(files: Sequence[str], profile: str, path: Path = Path("dvc.yaml")) -> str:
    """Write the page that lists, stage by stage, what each makes of ``files``, how and from what."""
    listed = stages(profile, path)
    makers = [(made_by(file, listed), file) for file in files]
    text = (
        "# What makes which figure\n\nEvery figure and table of this book, by the stage of "
        "`dvc.yaml` that makes it. `dvc repro STAGE` runs a stage and whatever it waits for; how "
        "long each took is on the first page.\n\n"
    )
    for stage in listed:
        own = [file for maker, file in makers if maker.name == stage.name]
        if not own:
            continue
        data = [
            name for name in stage.inputs if name.startswith(("results/", "data", "notebooks/"))
        ]
        runs = f"dvc repro {stage.name}"
        text += (
            f"({anchor(stage)})=\n## {stage.name}\n\n{stage.desc[:1].upper()}{stage.desc[1:]}.\n\n"
        )
        text += f"- run it: `{runs}`\n- it calls: `{stage.command}`\n"
        text += f"- it reads: {', '.join(f'`{name}`' for name in data)}\n- it makes:\n\n"
        text += "".join(f"  - `{file}`\n" for file in own) + "\n"
    return text


def anchor(stage: Stage) -> str:
    """Name the place of a stage on the page."""
    return f"stage-{stage.name.replace('_', '-')}"
