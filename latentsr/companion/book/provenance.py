"""Which stage of dvc.yaml makes a file, by which command and from what."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

FEW = 12  # a longer list is folded up
PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")
WORDS = {
    "item.dataset": "set",
    "item.vae": "vae",
    "names[0]": "first set",
    "key": "n",
    "item": "name",
}
INTRODUCTION = """# What makes which figure

Every figure, table and file of numbers of this book, by the stage of `dvc.yaml` that makes it.
`dvc repro STAGE` runs a stage and whatever it waits for. Words in angle brackets stand for what a
stage runs once for. A file with a link can be downloaded.

"""


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline; words in angle brackets stand for the axes of its grid."""

    name: str
    desc: str
    command: str
    inputs: Sequence[str]
    outs: Sequence[str]


def stages(profile: str, path: Path = Path("dvc.yaml")) -> list[Stage]:
    """Read the stages of the pipeline, ``${profile}`` filled in."""

    def filled(entry: object) -> str:
        text = str(next(iter(entry)) if isinstance(entry, dict) else entry)
        text = text.replace("${profile}", profile)
        return PLACEHOLDER.sub(lambda match: f"<{WORDS[match[1]]}>", text)

    listed = []
    for name, entry in yaml.safe_load(path.read_text())["stages"].items():
        entry = entry.get("do", entry)
        outs = [filled(out) for key in ("outs", "metrics") for out in entry.get(key, ())]
        inputs = [filled(dep) for dep in entry.get("deps", ())]
        listed.append(Stage(name, entry.get("desc", ""), filled(entry["cmd"]), inputs, outs))
    return listed


def made_by(path: str, listed: Sequence[Stage]) -> Stage:
    """Return the stage one of whose outputs is the file, or holds it.

    Raises
    ------
    ValueError
        When no stage makes it.

    Examples
    --------
    >>> score = Stage("score", "", "", (), ["results/mini/arms/<set>/<vae>"])
    >>> made_by("results/mini/arms/knee/natural-f8c4/scores.csv", [score]).name
    'score'
    """
    for stage in listed:
        for out in stage.outs:
            pattern = re.sub(r"<[^>]+>", "[^/]+", re.escape(out))
            if re.match(rf"{pattern}(/|$)", path):
                return stage
    raise ValueError(f"{path}: no stage of dvc.yaml makes it; list it under outs")


def anchor(stage: str) -> str:
    """Name the place of a stage on the page.

    >>> anchor("vae_swap")
    'stage-vae-swap'
    """
    return f"stage-{stage.replace('_', '-')}"


def _listing(items: Sequence[str], what: str) -> str:
    """Write a list, folded up where it is long."""
    lines = "".join(f"- {item}\n" for item in items)
    return lines if len(items) <= FEW else f":::{{dropdown}} {len(items)} {what}\n{lines}:::\n"


def page(files: Sequence[str], listed: Sequence[Stage], offered: Collection[str] = ()) -> str:
    """Write the page that lists, stage by stage, which of ``files`` it makes, how and from what.

    Files whose name is in ``offered`` lie beside the page and can be downloaded, figures at 300
    dpi too.
    """

    def linked(file: str) -> str:
        name = Path(file).name
        png = Path(name).with_suffix(".png").name
        if name not in offered:
            return f"`{file}`"
        text = f"{{download}}`{file} <{name}>`"
        is_figure = name.endswith(".svg") and png in offered
        return f"{text}, {{download}}`PNG <{png}>`" if is_figure else text

    makers = [(made_by(file, listed).name, file) for file in files]
    text = INTRODUCTION
    for stage in listed:
        own = [linked(file) for maker, file in makers if maker == stage.name]
        read = [f"`{i}`" for i in stage.inputs if i.startswith(("notebooks/", "results/", "data"))]
        text += (
            f"({anchor(stage.name)})=\n## {stage.name}\n\n"
            f"What it does: {stage.desc}. Run it: `dvc repro {stage.name}`.\n\n"
            f"**It calls** `{stage.command}`\n\n"
            f"**It reads**\n\n{_listing(read, 'files and folders') or 'Parameters only.'}\n\n"
            f"**It makes**\n\n{_listing(own or [f'`{out}`' for out in stage.outs], 'files')}\n"
        )
    return text
