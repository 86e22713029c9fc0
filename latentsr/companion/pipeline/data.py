"""Whose images the study uses: `latentsr data use | reset | status | rescue`.

``data.dvc`` imports a folder into ``data/``: ``assets/phantoms``, or after `use` ``assets/own``,
where the user's files are gathered. ``sets.yaml`` says how each set is read.

No file that somebody puts into ``data/`` by hand, or changes there, is lost. The out of
``data.dvc`` has ``persist: true``: DVC refuses the import where such a file stands in its way. When
the imported folder changes, though, DVC copies over what is there; so whatever rewrites that
folder calls `before_import` first: `use`, `reset` and the stage of the phantoms, whose out is
``persist: true`` too, because DVC then runs its command instead of restoring it.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from latentsr.companion.pipeline.params import read as read_params
from latentsr.datasets import SetEntry, list_images, read_images, read_sets, recognise, sampled
from latentsr.datasets.folder import visible_files
from latentsr.datasets.records import LEFT_OUT
from latentsr.datasets.sets import (
    ADAPTERS,
    NAME_WORDS,
    PHANTOM_SETS,
    READING,
    is_name,
    validated,
)

PHANTOMS, OWN, RESCUED = "assets/phantoms", "assets/own", "data-rescued"
DATA_DVC = """\
desc: images of the study; see `latentsr data --help`
deps:
- path: {source}
outs:
- path: data
  persist: true
"""
SETS_YAML = """\
# The sets of the study; written by `latentsr data use NAME=DIR ...` and `latentsr data reset`.
source: {source}               # phantoms: the embedded images; own: yours, in assets/own
names: [{names}]    # the sets in use, in this order
sets:   # folder: inside data/; allow_images: may pages of the book show images of the set?
"""
SETTING = re.compile(r"(?P<name>[^.=]+)\.(?P<key>[^.=]+)=(?P<value>.+)")
SETTABLE = [field.name for field in fields(SetEntry) if field.name not in ("adapter", "folder")]
KINDS = ("added", "modified", "unknown")  # unknown: the cache lacks the list of what was imported
ALWAYS = ("adapter", "folder", "anatomy", "split_by", "allow_images")


def config_files(source: str, entries: Mapping[str, SetEntry]) -> dict[str, str]:
    """Return the contents of ``data.dvc`` and ``sets.yaml`` for an imported folder."""
    text = SETS_YAML.format(source=source.removeprefix("assets/"), names=", ".join(entries))
    for name, entry in entries.items():
        row = {k: v for k, v in asdict(entry).items() if k in ALWAYS or k in entry.not_default()}
        flow = yaml.safe_dump({name: row}, default_flow_style=None, sort_keys=False, width=200)
        text += f"  {flow}"
    return {"sets.yaml": text, "data.dvc": DATA_DVC.format(source=source)}


DEFAULTS = config_files(PHANTOMS, PHANTOM_SETS)


def imported_folder(root: Path = Path()) -> str:
    """Return the folder that ``data.dvc`` imports."""
    try:
        return str(yaml.safe_load((root / "data.dvc").read_text())["deps"][0]["path"])
    except (yaml.YAMLError, KeyError, TypeError):
        advice = "`git checkout data.dvc` brings it back"
        raise ValueError(f"data.dvc: cannot be read; {advice}") from None


def added_by_hand(root: Path = Path()) -> list[Path]:
    """List what is in ``data/`` and not of its import: added or changed by hand, as DVC sees it.

    Links to a folder or to nothing are listed too. What the next import would write is not.
    """
    from dvc.repo import Repo

    data, source = root / "data", root / imported_folder(root)
    if data.is_symlink() or not data.exists():
        return [data] if data.is_symlink() else []
    with Repo(str(root)) as repo:
        changes = repo.data_status(granular=True, untracked_files="no")["uncommitted"]
    changed = [root / name for kind in KINDS for name in changes.get(kind, ())]
    links = [path for path in data.rglob("*") if path.is_symlink() and not path.is_file()]

    def is_next(path: Path) -> bool:
        twin = source / path.relative_to(data)
        return twin.is_file() and filecmp.cmp(path, twin, shallow=False)

    return sorted({*links, *(path for path in changed if path.is_file() and not is_next(path))})


def rescue(root: Path = Path()) -> list[str]:
    """Move what was put into ``data/`` by hand to ``data-rescued/<number>/``; say so in a line.

    The files of the import that it replaced come back at the next ``dvc repro``.
    """
    if not (paths := added_by_hand(root)):
        return []
    rescued = root / RESCUED
    rescued.mkdir(exist_ok=True)
    (rescued / ".gitignore").write_text("*\n")  # may be anybody's images: never into git
    numbers = [int(path.name) for path in rescued.iterdir() if path.name.isdigit()]
    target = rescued / str(max(numbers, default=0) + 1)
    for path in paths:
        new = target / path.relative_to(root)
        new.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # a link is kept as a link, to the same place
            new.symlink_to(os.path.abspath(path.parent / path.readlink()))
            path.unlink()
        else:
            shutil.move(path, new)
    return [
        f"data/ held {len(paths)} file(s) not of its import ({paths[0].relative_to(root)}, ...): "
        f"moved to {target.relative_to(root)}; to study your images: latentsr data use NAME=DIR"
    ]


def before_import(root: Path = Path(), folder: str = "") -> list[str]:
    """Rescue and empty ``data/``, before the imported folder (only if it is ``folder``) changes."""
    if folder and imported_folder(root) != folder:
        return []
    lines = rescue(root)
    shutil.rmtree(root / "data", ignore_errors=True)  # what is left DVC can write again
    return lines


def _switch(root: Path, texts: Mapping[str, str]) -> list[str]:
    """Write each file whole or not at all; results of sets that the study lost leave ``results/``.

    Later stages depend on whole folders, and would run again for what lies there from before.
    """
    names = yaml.safe_load(texts["sets.yaml"])["names"]
    folders = [*root.glob("results/*/arms/*"), *root.glob("results/*/autoencoders/*")]
    gone = [folder for folder in folders if folder.name not in names]
    for folder in gone:
        shutil.rmtree(folder)
    for page in root.glob("results/*/notebooks/0[23]_*.ipynb"):
        run = re.sub("^(02_autoencoders|03_[a-z]+(_arm)?)_", "", page.stem)
        if (run if page.stem.startswith("02") else run.rpartition("_")[0]) not in names:
            page.unlink()
    for name, text in texts.items():
        part = root / f".{name}.part"
        part.write_text(text)
        part.replace(root / name)
    sets = ", ".join(sorted({folder.name for folder in gone}))
    return [f"results of {sets} left results/; the cache keeps them"] if gone else []


def _asked(
    pairs: list[str], settings: Mapping[str, str]
) -> tuple[dict[str, Path], dict[str, dict[str, Any]], list[str]]:
    """Read the arguments of `use`: folders by set, keys given for each set, and problems."""
    folders: dict[str, Path] = {}
    problems = [] if pairs else ["no set: NAME=DIR is needed at least once"]
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
    given: dict[str, dict[str, Any]] = {name: {} for name in folders}
    for option, setting in settings.items():
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


def _entry(
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


def _gather(
    name: str, entry: SetEntry, folder: Path, params: Any, lines: list[str]
) -> tuple[list[Path], list[str], str]:
    """Read every image of a set once, noting in ``lines`` what is passed over.

    Returns the files to copy, a line for each image that cannot be read, and how many can.
    """
    records = list_images(name, entry, folder, params)
    huge = entry.adapter == "mimic_cxr"  # half a terabyte: only what the study samples is copied
    limits = {"train": params.train_images, "test": params.test_images}
    wanted = limits if huge else dict.fromkeys(limits)
    bad: list[str] = []
    used = sampled(name, entry, records, params.hr_px, wanted, bad)
    lines += dict.fromkeys(bad)  # slices of a volume may all say the same
    usable = sum(1 for _ in read_images(name, entry, used, params.hr_px, lines))
    paths = {path for record in used for path in record.files}
    if entry.adapter == "folder":
        manifest = folder / "manifest.csv"
        listed = {manifest, *(path for record in records for path in record.files)}
        if left := [path for path in visible_files(folder) if path not in listed]:
            why = "manifest.csv does not name" if manifest.is_file() else "of no kind that is read:"
            first = left[0].relative_to(folder)
            lines.append(f"set {name}: {why} {len(left)} files, {first} the first")
    count = f"{entry.adapter}, {usable} images in {len(paths)} files"
    if ADAPTERS[entry.adapter].tables:
        paths |= set(folder.glob(ADAPTERS[entry.adapter].tables))
    return sorted(paths), [line.replace(f"{folder}/", "") for line in bad], count


def use(
    pairs: list[str],
    split_by_image: list[str],
    root: Path = Path(),
    settings: list[str] | None = None,
) -> list[str]:
    """Make the study use these folders, ``["knee=DIR", ...]``, in place of all sets so far.

    Layouts of MRNet, BraTS 2023 and MIMIC-CXR-JPG are recognised; any other folder is read by the
    ``folder`` adapter. ``settings`` are keys of ``sets.yaml``, ``["knee.axis=0", ...]``; those
    that say how files are read stay for a set of the same name. Every image is read once; nothing
    is touched before all is well.

    Raises
    ------
    ValueError
        All problems, one line each.
    """
    options = {f"--split-by-image {name}": f"{name}.split_by=image" for name in split_by_image}
    options |= {f"--set {setting}": setting for setting in settings or []}
    folders, given, problems = _asked(pairs, options)
    if problems:
        raise ValueError("\n".join(problems))
    params = read_params(root / "params.yaml")["data"]
    source, before = read_sets(root / "sets.yaml")
    entries: dict[str, SetEntry] = {}
    files: dict[str, tuple[Path, list[Path], list[str]]] = {}
    counts: list[str] = []
    lines: list[str] = []
    for name, place in folders.items():
        adapter, folder = recognise(place)
        former = before.get(name) if source == "own" else None
        try:
            entries[name], kept = _entry(name, adapter, given[name], former)
            paths, bad, count = _gather(name, entries[name], folder, params, lines)
        except ValueError as error:
            problems.append(str(error))
            continue
        files[name] = folder, paths, bad
        counts.append(f"{name} ({count})")
        lines += kept
    if problems:
        raise ValueError("\n".join(problems))

    staging = root / "assets/.own.part"
    shutil.rmtree(staging, ignore_errors=True)
    for name, (folder, paths, bad) in files.items():
        for path in paths:
            new = staging / name / path.relative_to(folder)
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new)  # no link: the user's file may change, the study's must not
        if bad:
            (staging / name).mkdir(parents=True, exist_ok=True)
            (staging / name / LEFT_OUT).write_text("".join(f"{line}\n" for line in bad))
            list_images(name, entries[name], staging / name, params)  # enough left?
    lines += before_import(root)
    shutil.rmtree(root / OWN, ignore_errors=True)
    staging.replace(root / OWN)
    lines += _switch(root, config_files(OWN, entries))
    return [*lines, f"the study now uses {', '.join(counts)}, gathered in {OWN}; next: make repro"]


def reset(root: Path = Path()) -> list[str]:
    """Go back to the embedded phantoms; ``assets/own`` stays until the next `use`."""
    lines = before_import(root) + _switch(root, DEFAULTS)
    then = "next: make repro, which brings data.dvc and dvc.lock back too"
    return [*lines, f"the study now uses the embedded phantoms; {then}"]


def status(root: Path = Path()) -> Iterator[str]:
    """Yield which sets the study uses, where they are, and what is in ``data/`` by hand."""
    source, entries = read_sets(root / "sets.yaml")
    yield f"source: {source} (data.dvc imports {imported_folder(root)})"
    for name, entry in entries.items():
        folder = root / "data" / entry.folder
        files = sum(path.is_file() for path in folder.rglob("*"))
        there = f"{files} files" if folder.is_dir() else "not there yet"
        yield f"{name}: {entry.adapter}, data/{entry.folder} ({there})"
    if paths := added_by_hand(root):
        yield f"not of the import: {len(paths)} file(s) in data/, the first {paths[0]}"
