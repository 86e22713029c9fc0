"""Which stage of dvc.yaml makes a file, by which command and from what."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from latentsr.autoencoders import registry
from latentsr.companion.book.markdown import escaped
from latentsr.companion.pipeline import notebook, repro

FEW = 12  # a longer list is folded up
BLANK = re.compile(r"\$\{(?:item\.\w+|item|key)\}")


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline; ``${item...}`` and ``${key}`` stand for the axes of its grid."""

    name: str
    desc: str
    command: str
    inputs: Sequence[str]
    outs: Sequence[str]
    axis: Mapping[Any, str] = field(default_factory=dict)  # of a foreach: ${item} by ${key}


def stages(profile: str, path: Path = Path("dvc.yaml")) -> list[Stage]:
    """Read the stages of the pipeline, ``${profile}`` filled in."""

    def filled(entry: Any) -> str:
        text = next(iter(entry)) if isinstance(entry, dict) else entry
        return str(text).replace("${profile}", profile)

    found = []
    for name, raw in yaml.safe_load(path.read_text())["stages"].items():
        axis, raw = raw.get("foreach", {}), raw.get("do", raw)
        outs = [filled(entry) for key in ("outs", "metrics") for entry in raw.get(key, ())]
        inputs = [filled(entry) for entry in raw.get("deps", ())]
        found.append(Stage(name, raw.get("desc", ""), raw["cmd"], inputs, outs, axis))
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


def _sentence(text: str) -> str:
    """Give a description its capital letter and its full stop.

    >>> _sentence("does it foretell?"), _sentence("tests")
    ('Does it foretell?', 'Tests.')
    """
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"


def labels(stage: Stage, settings: Mapping[str, Any], sets: Sequence[str]) -> list[str]:
    """Name every run of a stage: its notebook at each point of its grid, or the stage itself."""
    for stem in notebook.STEMS:
        if notebook.block_name(stem) == stage.name:
            return [notebook.label(stem, run) for run in notebook.grid(stem, settings, list(sets))]
    return notebook.LESSONS if stage.name == "background" else [stage.name]


def points(
    stage: Stage, settings: Mapping[str, Any], sets: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return what the placeholders of a stage stand for in each of its runs, by DVC's name of it.

    Examples
    --------
    >>> lesson = Stage("background", "", "L${key}_${item}", (), (), {2: "diffusion"})
    >>> points(lesson, {}, [])
    {'background@2': {'key': '2', 'item': 'diffusion'}}
    """
    if stage.axis:
        pairs = stage.axis.items()
        return {f"{stage.name}@{key}": {"key": str(key), "item": item} for key, item in pairs}
    found = {}
    for stem in notebook.STEMS:
        if notebook.block_name(stem) == stage.name:
            for run in notebook.grid(stem, settings, list(sets)):  # own files: their label only
                told = {key: registry.label(v) if key == "vae" else v for key, v in run.items()}
                name = "@".join(filter(None, (stage.name, "-".join(told.values()))))
                found[name] = {f"item.{key}": value for key, value in told.items()}
    return found or {stage.name: {}}


def expanded(texts: Sequence[str], runs: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Fill in the placeholders, each run in turn; what comes out alike is listed once.

    >>> expanded(["a/${item.dataset}", "b"], {"s@x": {"item.dataset": "x"}, "s@y": {"item.dataset": "y"}})
    ['a/x', 'a/y', 'b']
    """
    made = []
    for text in texts:
        for run in runs.values():
            filled = text
            for key, value in run.items():
                filled = filled.replace(f"${{{key}}}", value)
            made.append(filled)
    return list(dict.fromkeys(made))


def _folded(items: Sequence[str], what: str) -> str:
    """Write a list, folded up where it is long."""
    lines = "".join(f"- {item}\n" for item in items)
    return lines if len(items) <= FEW else f":::{{dropdown}} {len(items)} {what}\n{lines}:::\n"


def page(
    files: Sequence[str],
    listed: Sequence[Stage],
    settings: Mapping[str, Any],
    sets: Sequence[str],
    offered: Collection[str] = (),
) -> str:
    """Write the page that lists, stage by stage, what each makes of ``files``, how and from what.

    What the runs took is filled in when the book is published. Files whose name is in ``offered``
    lie beside the page and can be downloaded, figures at 300 dpi too.
    """

    def told(file: str) -> str:
        name = Path(file).name
        if name not in offered:
            return f"`{file}`"
        text = f"{{download}}`{file} <{name}>`"
        png = Path(name).with_suffix(".png").name
        return (
            f"{text}, {{download}}`PNG <{png}>`"
            if name.endswith(".svg") and png in offered
            else text
        )

    makers = [(made_by(file, listed), file) for file in files]
    text = (
        "# What makes which figure\n\nEvery figure, table and file of numbers of this book, by the "
        "stage of `dvc.yaml` that makes it. `dvc repro STAGE` runs a stage and whatever it waits "
        "for. A file with a link can be downloaded. A dash for a stage's minutes: not measured on "
        "this machine ([status](../status.md)). The figures of [hours of training](#made-apart)"
        " come from a run of their own.\n\n"
    )
    for stage in listed:
        first = {"names[0]": sets[0]}
        grid = {name: run | first for name, run in points(stage, settings, sets).items()}
        own = [file for maker, file in makers if maker.name == stage.name]
        read = [
            f"`{name}`"
            for name in expanded(stage.inputs, grid)
            if name.startswith(("notebooks/", "results/", "data"))
        ]
        commands = [
            f"`{command}`" + (f" (`dvc repro {name}`)" if len(grid) > 1 else "")
            for name, run in grid.items()
            for command in expanded([stage.command], {name: run})
        ]
        minutes = repro.slot("minutes", labels(stage, settings, sets))
        text += (
            f"({anchor(stage.name)})=\n## {stage.name}\n\n{_sentence(stage.desc)} "
            f"Run it: `dvc repro {stage.name}`. Minutes on this machine: {minutes}.\n\n"
            f"**It calls**\n\n{_folded(commands, 'commands')}\n"
            f"**It reads**\n\n{_folded(read, 'files and folders') or 'Parameters only.'}\n\n"
            f"**It makes**\n\n{_folded([told(f) for f in own or expanded(stage.outs, grid)], 'files')}\n"
        )
    return text


def status(listed: Sequence[Stage], runs: Mapping[str, Sequence[str]]) -> str:
    """Write the table of stages with what each took, to be filled in when the book is published."""
    text = (
        "| stage | what it does | runs | minutes | memory, GB |\n| :-- | :-- | --: | --: | --: |\n"
    )
    for stage in listed:
        took = (repro.slot(what, runs[stage.name]) for what in ("minutes", "memory"))
        cells = escaped(stage.name), escaped(stage.desc), str(len(runs[stage.name])), *took
        text += f"| {' | '.join(cells)} |\n"
    return text


def anchor(stage: str) -> str:
    """Name the place of a stage on the page.

    >>> anchor("vae_swap")
    'stage-vae-swap'
    """
    return f"stage-{stage.replace('_', '-')}"
