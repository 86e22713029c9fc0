"""Whose images the study uses: `latentsr data use | reset | status`, and the guard of `data/`.

``data.dvc`` imports a folder into ``data/``: ``assets/phantoms``, or after `use` ``assets/own``,
where the user's files are gathered. ``sets.yaml`` says how each set is read.

The guard: no file that somebody puts into ``data/`` by hand, or changes there, is lost.

1. The out of ``data.dvc`` has ``persist: true``. Without it DVC deletes such files at the next
   ``dvc repro`` without a word; with it the import is refused ("unable to remove ... without a
   confirmation") and nothing is touched.
2. That holds while the imported folder stays the same. When it changes, DVC copies over what is
   there: new files win over changed ones, and files of the former import stay. So whatever
   rewrites the imported folder calls `before_import` first: `use`, `reset`, and the command of
   the phantoms stage. That stage's out is ``persist: true`` too, because DVC never
   restores such a stage from its run cache but always runs the command.
3. `rescue_strangers` moves what is not of the last import to ``data-rescued/<number>/`` and says
   so. ``make repro`` calls it first, so that there a stranger never stops the pipeline.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from latentsr.datasets import SetEntry, list_images, read_images, read_sets, recognise, sampled
from latentsr.datasets.adapters import images_below
from latentsr.datasets.records import LEFT_OUT
from latentsr.datasets.sets import (
    FOLDER_ONLY,
    LAYOUTS,
    NAME_WORDS,
    PHANTOM_SETS,
    is_name,
    set_entry,
)
from latentsr.params import read as read_params

PHANTOMS, OWN, RESCUED = "assets/phantoms", "assets/own", "data-rescued"
SETTING = re.compile(r"(?P<name>[^.=]+)\.(?P<key>[^.=]+)=(?P<value>.+)")
SETTABLE = [field.name for field in fields(SetEntry) if field.name not in ("adapter", "folder")]
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


def _texts(source: str, entries: dict[str, SetEntry]) -> dict[str, str]:
    """Return the contents of ``data.dvc`` and ``sets.yaml`` for an imported folder."""
    head = SETS_YAML.format(source=source.removeprefix("assets/"), names=", ".join(entries))
    rows = ({name: _told(entry)} for name, entry in entries.items())
    flow: dict[str, Any] = {"default_flow_style": None, "sort_keys": False, "width": 200}
    body = "".join(f"  {yaml.safe_dump(row, **flow)}" for row in rows)
    return {"sets.yaml": head + body, "data.dvc": DATA_DVC.format(source=source)}


def _told(entry: SetEntry) -> dict[str, Any]:
    """Write an entry without what few sets need and this one leaves as it is."""
    usual = asdict(SetEntry("folder", "", ""))
    kept = ("adapter", "folder", "anatomy", "split_by", "allow_images")
    return {k: v for k, v in asdict(entry).items() if k in kept or v != usual[k]}


DEFAULTS = _texts(PHANTOMS, PHANTOM_SETS)


def _switch(root: Path, texts: dict[str, str]) -> list[str]:
    """Write each file so that it is either the old or the new one, never half; say what went.

    Results of sets that the study no longer has go (the cache keeps them): later stages depend on
    whole folders, and would run again for what lies there from before.
    """
    gone: set[str] = set()
    names = yaml.safe_load(texts["sets.yaml"])["names"]
    for folder in (*root.glob("results/*/arms/*"), *root.glob("results/*/autoencoders/*")):
        if folder.name not in names:
            gone.add(folder.name)
            shutil.rmtree(folder)
    for page in root.glob("results/*/notebooks/0[23]_*.ipynb"):
        run = page.stem.removeprefix("02_autoencoders_").removeprefix("03_train_arm_")
        if (run if page.stem.startswith("02") else run.rpartition("_")[0]) not in names:
            page.unlink()
    for name, text in texts.items():
        part = root / f".{name}.part"
        part.write_text(text)
        part.replace(root / name)
    told = f"results of {', '.join(sorted(gone))} left results/; the cache keeps them"
    return [told] if gone else []


def _imported(root: Path) -> tuple[str, dict[str, str]]:
    """Return the imported folder and the md5 of each file of the last import, as DVC noted it."""
    try:
        stage: dict[str, Any] = yaml.safe_load((root / "data.dvc").read_text())
    except yaml.YAMLError:
        raise ValueError("data.dvc: not YAML; `git checkout data.dvc` brings it back") from None
    digest = stage["outs"][0].get("md5", "")
    listing = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    files = json.loads(listing.read_text()) if digest and listing.is_file() else []
    return stage["deps"][0]["path"], {entry["relpath"]: entry["md5"] for entry in files}


def _files(folder: Path) -> Iterator[Path]:
    """Walk files and links, links to folders included and not followed."""
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        yield from (Path(where) / name for name in sorted(files + links))


def _is_known(path: Path, relative: str, source: Path, listing: dict[str, str]) -> bool:
    """Is this file what the last import wrote, or what the next one would write?"""
    if not path.is_file():  # a link to a folder, or to nothing
        return False
    twin = source / relative
    if twin.is_file() and filecmp.cmp(path, twin, shallow=False):
        return True
    if relative not in listing:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest() == listing[relative]


def strangers(root: Path = Path()) -> list[Path]:
    """List what stands in ``data/`` and is not of the last import: added or changed by hand."""
    data = root / "data"
    if data.is_symlink():
        return [data]
    source, listing = _imported(root)
    return [
        path
        for path in _files(data)
        if not _is_known(path, path.relative_to(data).as_posix(), root / source, listing)
    ]


def rescue_strangers(root: Path = Path()) -> list[str]:
    """Move strangers out of ``data/`` to ``data-rescued/<number>/``; return a line if any.

    The files of the import that they replaced come back at the next ``dvc repro``.
    """
    if not (found := strangers(root)):
        return []
    rescued = root / RESCUED
    rescued.mkdir(exist_ok=True)
    (rescued / ".gitignore").write_text("*\n")  # may be anybody's images: never into git
    taken = [int(path.name) for path in rescued.iterdir() if path.name.isdigit()]
    target = rescued / str(max(taken, default=0) + 1)
    for path in found:
        new = target / path.relative_to(root)
        new.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # a link is kept as a link, to the same place
            new.symlink_to(os.path.abspath(path.parent / path.readlink()))
            path.unlink()
        else:
            shutil.move(path, new)
    first = found[0].relative_to(root)
    return [
        f"data/ held {len(found)} file(s) not of its import ({first}, ...): moved to"
        f" {target.relative_to(root)}; to study your images: latentsr data use NAME=DIR"
    ]


def before_import(root: Path = Path()) -> list[str]:
    """Rescue strangers and empty ``data/``: to be called before the imported folder changes."""
    lines = rescue_strangers(root)
    if (root / "data").is_dir():
        shutil.rmtree(root / "data")  # strangers are gone: what is left DVC can write again
    return lines


def before_phantoms(root: Path = Path()) -> list[str]:
    """Do `before_import` if ``data.dvc`` imports the phantoms: before they are rewritten."""
    if (root / "data.dvc").is_file() and _imported(root)[0] == PHANTOMS:
        return before_import(root)
    return []


def _pairs(
    pairs: list[str], split_by_image: list[str], settings: list[str]
) -> tuple[dict[str, Path], dict[str, dict[str, Any]], list[str]]:
    """Read the arguments of `use`: set -> folder, set -> keys given for it, problems."""
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
    asked = [(f"--split-by-image {name}", f"{name}.split_by=image") for name in split_by_image]
    for option, setting in [*asked, *((f"--set {setting}", setting) for setting in settings)]:
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
        told = _told(before)
        kept = {key: told[key] for key in (*FOLDER_ONLY, "on_error") if key in told}
        kept = {key: value for key, value in kept.items() if key not in given}
    values = {"adapter": adapter, "folder": name, "anatomy": LAYOUTS[adapter].anatomy}
    listed = ", ".join(f"{key}: {value}" for key, value in kept.items())
    lines = [f"set {name}: read as before, {listed}"] if kept else []
    return set_entry(f"--set {name}", {**values, **kept, **given}), lines


def _unlisted(name: str, folder: Path, used: set[Path]) -> list[str]:
    """Say which files are passed over: a manifest may have forgotten them."""
    manifest = folder / "manifest.csv"
    left = [path for path in images_below(folder) if path not in used | {manifest}]
    if not left:
        return []
    why = "manifest.csv does not name" if manifest.is_file() else "of no kind that is read:"
    return [f"set {name}: {why} {len(left)} files, {left[0].relative_to(folder)} the first"]


def _listing(params: Any) -> dict[str, Any]:
    return {
        "brain_slices": params.brain_slices,
        "test_fraction": params.test_fraction,
        "seed": params.split_seed,
    }


def _gathered(
    name: str, entry: SetEntry, folder: Path, params: Any, told: list[str]
) -> tuple[list[tuple[Path, str]], list[str], str]:
    """Read every image of a set once.

    Returns each file to copy and its place, a line for each image left out, and how many are not.
    """
    records = list_images(name, entry, folder, **_listing(params))
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
    if LAYOUTS[entry.adapter].tables:
        paths |= set(folder.glob(LAYOUTS[entry.adapter].tables))
    places = [(path, path.relative_to(folder).as_posix()) for path in sorted(paths)]
    return places, [line.replace(f"{folder}/", "") for line in bad], count


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
    folders, given, problems = _pairs(pairs, split_by_image, settings or [])
    if problems:
        raise ValueError("\n".join(problems))
    params = read_params(root / "params.yaml")["data"]
    source, before = read_sets(root / "sets.yaml")
    entries: dict[str, SetEntry] = {}
    files: dict[str, list[tuple[Path, str]]] = {}
    left_out: dict[str, list[str]] = {}
    counts: dict[str, str] = {}
    told: list[str] = []
    for name, place in folders.items():
        adapter, folder = recognise(place)
        former = before.get(name) if source == "own" else None
        try:
            entries[name], lines = _entry(name, adapter, given[name], former)
            gathered = _gathered(name, entries[name], folder, params, told)
            files[name], left_out[name], counts[name] = gathered
        except ValueError as error:
            problems.append(str(error))
            continue
        told += lines
    if problems:
        raise ValueError("\n".join(problems))

    staging = root / "assets/.own.part"
    shutil.rmtree(staging, ignore_errors=True)
    for name, listed in files.items():
        for path, relative in listed:
            new = staging / name / relative
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new)  # no link: the user's file may change, the study's must not
        if left_out[name]:
            (staging / name).mkdir(parents=True, exist_ok=True)
            (staging / name / LEFT_OUT).write_text("".join(f"{line}\n" for line in left_out[name]))
            list_images(name, entries[name], staging / name, **_listing(params))  # enough left?
    lines = before_import(root)
    shutil.rmtree(root / OWN, ignore_errors=True)
    staging.replace(root / OWN)
    lines += _switch(root, _texts(OWN, entries))
    sets = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return [*told, *lines, f"the study now uses {sets}, gathered in {OWN}; next: make repro"]


def reset(root: Path = Path()) -> list[str]:
    """Go back to the embedded phantoms; ``assets/own`` stays until the next `use`."""
    lines = before_import(root)
    lines += _switch(root, DEFAULTS)
    then = "next: make repro, which brings data.dvc and dvc.lock back too"
    return [*lines, f"the study now uses the embedded phantoms; {then}"]


def status(root: Path = Path()) -> list[str]:
    """Say which sets the study uses, where they are, and whether ``data/`` holds strangers."""
    source, entries = read_sets(root / "sets.yaml")
    lines = [f"source: {source} (data.dvc imports {_imported(root)[0]})"]
    for name, entry in entries.items():
        folder = root / "data" / entry.folder
        there = f"{sum(1 for _ in _files(folder))} files" if folder.is_dir() else "not there yet"
        lines.append(f"{name}: {entry.adapter}, data/{entry.folder} ({there})")
    if found := strangers(root):
        lines.append(f"not of the import: {len(found)} file(s) in data/, the first {found[0]}")
    return lines
