"""Own images: what `latentsr data use` was asked for, and which files of a folder are gathered."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from latentsr.datasets import SetEntry, list_images, read_images, sampled
from latentsr.datasets.folder import visible_files
from latentsr.datasets.sets import ADAPTERS, NAME_WORDS, READING, is_name, validated

SETTING = re.compile(r"(?P<name>[^.=]+)\.(?P<key>[^.=]+)=(?P<value>.+)")
SETTABLE = [field.name for field in fields(SetEntry) if field.name not in ("adapter", "folder")]


def asked(
    pairs: list[str], split_by_image: list[str], settings: list[str]
) -> tuple[dict[str, Path], dict[str, dict[str, Any]], list[str]]:
    """Read the arguments of `latentsr data use`: set -> folder, set -> keys given for it, problems."""
    folders, problems = {}, []
    for pair in pairs:
        name, _, folder = pair.partition("=")
        if not is_name(name) or not folder:
            problems.append(f"{pair!r}: NAME=DIR is needed, with a NAME of {NAME_WORDS}")
        elif name in folders:
            problems.append(f"{pair!r}: set {name} is named twice")
        elif not Path(folder).is_dir():
            word = "is not a folder" if Path(folder).exists() else "is not there"
            problems.append(f"{pair!r}: {folder} {word}; the path of a folder is needed")
        folders[name] = Path(folder)
    if not pairs:
        problems.append("no set: NAME=DIR is needed at least once")
    given: dict[str, dict[str, Any]] = {name: {} for name in folders}
    options = [(f"--split-by-image {name}", f"{name}.split_by=image") for name in split_by_image]
    options += [(f"--set {setting}", setting) for setting in settings]
    for option, setting in options:
        match = SETTING.fullmatch(setting)
        if not match or match["key"] not in SETTABLE:
            allowed = f"NAME.KEY=VALUE is needed, with a KEY of {', '.join(SETTABLE)}"
            problems.append(f"{option}: {allowed}")
        elif match["name"] not in folders:
            problems.append(f"{option}: no such set; given are {', '.join(folders)}")
        else:
            try:
                given[match["name"]][match["key"]] = yaml.safe_load(match["value"])
            except yaml.YAMLError:
                problems.append(f"{option}: {match['value']!r} is not YAML; write a plain value")
    return folders, given, problems


def entry_of(
    name: str, adapter: str, given: dict[str, Any], before: SetEntry | None
) -> tuple[SetEntry, list[str]]:
    """Return the set's entry, and a line where it keeps how the set was read until now."""
    kept = {}
    if before and before.adapter == adapter:
        keys = [key for key in READING if key not in given]
        kept = {key: value for key, value in before.not_default().items() if key in keys}
    values = {"adapter": adapter, "folder": name, "anatomy": ADAPTERS[adapter].anatomy}
    listed = ", ".join(f"{key}: {value}" for key, value in kept.items())
    lines = [f"set {name}: read as before, {listed}"] if kept else []
    return validated(SetEntry, {**values, **kept, **given}, f"--set {name}."), lines


def _unlisted(name: str, folder: Path, used: set[Path]) -> list[str]:
    """Say which files are passed over: a manifest may have forgotten them."""
    manifest = folder / "manifest.csv"
    left = [path for path in visible_files(folder) if path not in used | {manifest}]
    if not left:
        return []
    why = "manifest.csv does not name" if manifest.is_file() else "of no kind that is read:"
    return [f"set {name}: {why} {len(left)} files, {left[0].relative_to(folder)} the first"]


def gathered(
    name: str, entry: SetEntry, folder: Path, params: Any, told: list[str]
) -> tuple[list[tuple[Path, str]], list[str], str]:
    """Read every image of a set once.

    Returns each file to copy and its place, a line for each image left out, and how many are not.
    """
    records = list_images(name, entry, folder, params)
    huge = entry.adapter == "mimic_cxr"  # half a terabyte: only what the study samples is copied
    limits = {"train": params.train_images, "test": params.test_images}
    wanted = limits if huge else dict.fromkeys(limits)
    bad: list[str] = []
    used = sampled(name, entry, records, params.hr_px, wanted, bad)
    told += dict.fromkeys(bad)  # slices of a volume may all say the same
    usable = sum(1 for _ in read_images(name, entry, used, params.hr_px, told))
    paths = {path for record in used for path in record.files}
    if entry.adapter == "folder":
        told += _unlisted(name, folder, {path for record in records for path in record.files})
    count = f"{entry.adapter}, {usable} images in {len(paths)} files"
    if ADAPTERS[entry.adapter].tables:
        paths |= set(folder.glob(ADAPTERS[entry.adapter].tables))
    places = [(path, path.relative_to(folder).as_posix()) for path in sorted(paths)]
    return places, [line.replace(f"{folder}/", "") for line in bad], count
