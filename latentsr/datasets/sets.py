"""``sets.yaml``: which sets the study uses and how each is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from latentsr.datasets.pixels import ANATOMIES
from latentsr.datasets.stacks import INTENSITIES

NAME = re.compile(r"[a-z][a-z0-9_-]*")
NAME_WORDS = "a-z, 0-9, _ and -, a letter first, and not a word such as all, no or null"
NOT_NAMES = set(
    "all first null none nan na true false yes no on off".split()
)  # mean something else
SOURCES = ("phantoms", "own")
VOLUMES = ("axis", "slices", "fraction", "intensity")  # how a folder's files become images
FOLDER_ONLY = (*VOLUMES, "square")


@dataclass(frozen=True)
class Layout:
    """A layout on disk: its word for a subject, its anatomy, which files besides images it needs."""

    subject_word: str
    anatomy: str
    tables: str = ""  # a glob


LAYOUTS = {  # one row an adapter
    "mrnet": Layout("exam", "knee", "*-abnormal.csv"),
    "brats": Layout("patient", "brain"),
    "mimic_cxr": Layout("patient", "chest", "mimic-cxr-2.0.0-*.csv*"),
    "folder": Layout("subject", "folder", "manifest.csv"),
}
CHOICES: dict[str, tuple[object, ...]] = {
    "adapter": tuple(LAYOUTS),
    "anatomy": ANATOMIES,
    "split_by": ("subject", "image"),
    "allow_images": (True, False),
    "axis": ("auto", "0", "1", "2"),
    "intensity": INTENSITIES,
    "square": ("crop", "pad"),
    "on_error": ("stop", "skip"),
}


@dataclass(frozen=True)
class SetEntry:
    """How a set is read; ``folder`` is relative to ``data/``."""

    adapter: str
    folder: str
    anatomy: str
    split_by: str = "subject"
    allow_images: bool = False  # may pages show images of this set?
    axis: str = "auto"  # of volumes in a folder: along which, how many slices, of which share
    slices: int = 5
    fraction: float = 0.5
    intensity: str = "auto"  # how a folder's images are brought to [0, 1]
    square: str = "crop"  # or pad: how an oblong image of a folder becomes square
    on_error: str = "stop"  # or skip: leave out what cannot be read, and list it

    @property
    def subject_word(self) -> str:
        return "image" if self.split_by == "image" else LAYOUTS[self.adapter].subject_word


def set_entry(where: str, values: Mapping[str, Any]) -> SetEntry:
    """Build one entry; a missing, unknown or wrong key is an error of one line."""
    allowed = [field.name for field in fields(SetEntry)]
    for key in values:
        if key not in allowed:
            raise ValueError(f"{where}.{key}: unknown key; allowed are {', '.join(allowed)}")
    if missing := [key for key in allowed[:3] if key not in values]:
        raise ValueError(f"{where}: missing key {', '.join(missing)}")
    values = dict(values)
    if type(values.get("axis")) is int:
        values["axis"] = str(values["axis"])
    if type(values.get("fraction")) is int:
        values["fraction"] = float(values["fraction"])
    entry = SetEntry(**values)
    if type(entry.folder) is not str or not entry.folder:
        raise ValueError(f"{where}.folder: {entry.folder!r}; a folder inside data/ is needed")
    for key, choices in CHOICES.items():
        value = getattr(entry, key)
        if type(value) is not type(choices[0]) or value not in choices:
            listed = ", ".join(str(choice).lower() for choice in choices)
            raise ValueError(f"{where}.{key}: {value!r}; allowed are {listed}")
    if type(entry.slices) is not int or entry.slices < 1:
        raise ValueError(
            f"{where}.slices: {entry.slices!r}; a number of slices from 1 on is needed"
        )
    if not isinstance(entry.fraction, float) or not 0 < entry.fraction <= 1:
        raise ValueError(f"{where}.fraction: {entry.fraction!r}; above 0, at most 1.0 is needed")
    if entry.adapter == "mrnet" and entry.split_by == "image":
        raise ValueError(
            f"{where}.split_by: 'image'; mrnet names no patients and has its own split"
        )
    usual = SetEntry("folder", "", "")
    for key in FOLDER_ONLY:
        if entry.adapter != "folder" and (value := getattr(entry, key)) != getattr(usual, key):
            raise ValueError(f"{where}.{key}: {value!r} is for adapter folder, not {entry.adapter}")
    parts = Path(str(entry.folder)).parts
    if Path(str(entry.folder)).is_absolute() or ".." in parts:
        raise ValueError(f"{where}.folder: {entry.folder!r}; a folder inside data/ is needed")
    return entry


def is_name(name: object) -> bool:
    """Tell whether a set may be called so: the name stands in files, tables and commands.

    >>> is_name("knee"), is_name("no"), is_name("-x"), is_name(2024)
    (True, False, False, False)
    """
    return isinstance(name, str) and bool(NAME.fullmatch(name)) and name not in NOT_NAMES


def read_sets(path: Path) -> tuple[str, dict[str, SetEntry]]:
    """Read ``sets.yaml``: the source ("phantoms" or "own") and the sets of the study in order."""
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = where.line + 1 if where else "?"
        raise ValueError(
            f"{path}: line {line} is not YAML; `latentsr data reset` mends it"
        ) from None
    for key, kind in (("source", str), ("names", list), ("sets", dict)):
        if not isinstance(raw, dict) or not isinstance(raw.get(key), kind):
            raise ValueError(f"{path}: {key} is not there or not a {kind.__name__}")
    if raw["source"] not in SOURCES:
        raise ValueError(f"{path}: source: {raw['source']!r}; allowed are {', '.join(SOURCES)}")
    if not raw["names"] or any(raw["names"].count(name) > 1 for name in raw["names"]):
        raise ValueError(f"{path}: names: {raw['names']!r}; at least one set is needed, each once")
    entries = {}
    for name in raw["names"]:
        if not is_name(name):
            raise ValueError(f"{path}: names: {name!r}; allowed are {NAME_WORDS}")
        if name not in raw["sets"]:
            known = ", ".join(raw["sets"])
            raise ValueError(f"{path}: names: unknown set name {name!r}; sets has {known}")
        if not isinstance(raw["sets"][name], dict):
            raise ValueError(
                f"{path}: sets.{name}: {raw['sets'][name]!r}; keys and values are needed"
            )
        entries[name] = set_entry(f"{path}: sets.{name}", raw["sets"][name])
    return raw["source"], entries


PHANTOM_SETS = {
    "knee": SetEntry("mrnet", "knee/MRNet-v1.0", "knee"),
    "brain": SetEntry("brats", "brain", "brain"),
    "chest": SetEntry("mimic_cxr", "chest", "chest"),
}


def study_sets(inputs: Path) -> tuple[str, dict[str, SetEntry]]:
    """Return source and sets of the study; scratch folders always hold the embedded phantoms."""
    if inputs.parts[0] == ".scratch":
        return "phantoms", PHANTOM_SETS
    source, entries = read_sets(Path("sets.yaml"))
    check_source(source, Path("data.dvc"))
    return source, entries


def check_source(source: str, data_dvc: Path) -> None:
    """Make sure that what ``sets.yaml`` calls the images is what ``data.dvc`` imports.

    Pages show phantoms without being asked, so nothing else may be called so.

    Raises
    ------
    ValueError
        Where the two differ.
    """
    try:
        imported = yaml.safe_load(data_dvc.read_text())["deps"][0]["path"]
    except (OSError, yaml.YAMLError, TypeError, KeyError, IndexError):
        raise ValueError(f"{data_dvc}: cannot be read; `latentsr data reset` mends it") from None
    if imported != f"assets/{source}":
        raise ValueError(
            f"sets.yaml: source: {source!r}, but {data_dvc} imports {imported}; `latentsr data use "
            "NAME=DIR` or `latentsr data reset` writes both"
        )
