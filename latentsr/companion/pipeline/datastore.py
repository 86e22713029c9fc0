"""Whose images the study uses: `latentsr data use | reset | status`.

``data.dvc`` imports a folder into ``data/``: ``assets/phantoms``, or after `use` ``assets/own``,
where the user's files are gathered. ``sets.yaml`` says how each set is read. What somebody put
into ``data/`` by hand is guarded by `strangers`.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from latentsr.companion.pipeline import own_images, strangers
from latentsr.companion.pipeline.params import read as read_params
from latentsr.companion.pipeline.strangers import PHANTOMS
from latentsr.datasets import SetEntry, list_images, read_sets, recognise
from latentsr.datasets.records import LEFT_OUT
from latentsr.datasets.sets import PHANTOM_SETS

OWN = "assets/own"
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
    always = ("adapter", "folder", "anatomy", "split_by", "allow_images")
    return {k: v for k, v in asdict(entry).items() if k in always or k in entry.not_default()}


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
    folders, given, problems = own_images.asked(pairs, split_by_image, settings or [])
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
            entries[name], lines = own_images.entry_of(name, adapter, given[name], former)
            gathered = own_images.gathered(name, entries[name], folder, params, told)
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
            list_images(name, entries[name], staging / name, params)  # enough left?
    lines = strangers.before_import(root)
    shutil.rmtree(root / OWN, ignore_errors=True)
    staging.replace(root / OWN)
    lines += _switch(root, _texts(OWN, entries))
    sets = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return [*told, *lines, f"the study now uses {sets}, gathered in {OWN}; next: make repro"]


def reset(root: Path = Path()) -> list[str]:
    """Go back to the embedded phantoms; ``assets/own`` stays until the next `use`."""
    lines = strangers.before_import(root)
    lines += _switch(root, DEFAULTS)
    then = "next: make repro, which brings data.dvc and dvc.lock back too"
    return [*lines, f"the study now uses the embedded phantoms; {then}"]


def status(root: Path = Path()) -> list[str]:
    """Say which sets the study uses, where they are, and whether ``data/`` holds strangers."""
    source, entries = read_sets(root / "sets.yaml")
    lines = [f"source: {source} (data.dvc imports {strangers.imported(root)[0]})"]
    for name, entry in entries.items():
        folder = root / "data" / entry.folder
        there = (
            f"{sum(1 for _ in strangers.files(folder))} files"
            if folder.is_dir()
            else "not there yet"
        )
        lines.append(f"{name}: {entry.adapter}, data/{entry.folder} ({there})")
    if found := strangers.found(root):
        lines.append(f"not of the import: {len(found)} file(s) in data/, the first {found[0]}")
    return lines
