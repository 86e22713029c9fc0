"""The guard of ``data/``: what is not of its import is never lost.

No file that somebody puts into ``data/`` by hand, or changes there, goes without a word.

1. The out of ``data.dvc`` has ``persist: true``. Without it DVC deletes such files at the next
   ``dvc repro`` without a word; with it the import is refused ("unable to remove ... without a
   confirmation") and nothing is touched.
2. That holds while the imported folder stays the same. When it changes, DVC copies over what is
   there: new files win over changed ones, and files of the former import stay. So whatever
   rewrites the imported folder calls `before_import` first: `latentsr data use` and `reset`, and
   the command of the phantoms stage. That stage's out is ``persist: true`` too, because DVC never
   restores such a stage from its run cache but always runs the command.
3. `rescue` moves what is not of the last import to ``data-rescued/<number>/`` and says so.
   ``make repro`` calls it first, so that there a stranger never stops the pipeline.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PHANTOMS, RESCUED = "assets/phantoms", "data-rescued"


def imported(root: Path) -> tuple[str, dict[str, str]]:
    """Return the imported folder and the md5 of each file of the last import, as DVC noted it."""
    try:
        stage: dict[str, Any] = yaml.safe_load((root / "data.dvc").read_text())
    except yaml.YAMLError:
        raise ValueError("data.dvc: not YAML; `git checkout data.dvc` brings it back") from None
    digest = stage["outs"][0].get("md5", "")
    listing = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    entries = json.loads(listing.read_text()) if digest and listing.is_file() else []
    return stage["deps"][0]["path"], {entry["relpath"]: entry["md5"] for entry in entries}


def files(folder: Path) -> Iterator[Path]:
    """Walk files and links, links to folders included and not followed."""
    for where, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(where) / name).is_symlink()]
        yield from (Path(where) / name for name in sorted(names + links))


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


def found(root: Path = Path()) -> list[Path]:
    """List what stands in ``data/`` and is not of the last import: added or changed by hand."""
    data = root / "data"
    if data.is_symlink():
        return [data]
    source, listing = imported(root)
    return [
        path
        for path in files(data)
        if not _is_known(path, path.relative_to(data).as_posix(), root / source, listing)
    ]


def rescue(root: Path = Path()) -> list[str]:
    """Move strangers out of ``data/`` to ``data-rescued/<number>/``; return a line if any.

    The files of the import that they replaced come back at the next ``dvc repro``.
    """
    if not (strange := found(root)):
        return []
    rescued = root / RESCUED
    rescued.mkdir(exist_ok=True)
    (rescued / ".gitignore").write_text("*\n")  # may be anybody's images: never into git
    taken = [int(path.name) for path in rescued.iterdir() if path.name.isdigit()]
    target = rescued / str(max(taken, default=0) + 1)
    for path in strange:
        new = target / path.relative_to(root)
        new.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # a link is kept as a link, to the same place
            new.symlink_to(os.path.abspath(path.parent / path.readlink()))
            path.unlink()
        else:
            shutil.move(path, new)
    first = strange[0].relative_to(root)
    return [
        f"data/ held {len(strange)} file(s) not of its import ({first}, ...): moved to"
        f" {target.relative_to(root)}; to study your images: latentsr data use NAME=DIR"
    ]


def before_import(root: Path = Path()) -> list[str]:
    """Rescue strangers and empty ``data/``: to be called before the imported folder changes."""
    lines = rescue(root)
    if (root / "data").is_dir():
        shutil.rmtree(root / "data")  # strangers are gone: what is left DVC can write again
    return lines


def before_phantoms(root: Path = Path()) -> list[str]:
    """Do `before_import` if ``data.dvc`` imports the phantoms: before they are rewritten."""
    if (root / "data.dvc").is_file() and imported(root)[0] == PHANTOMS:
        return before_import(root)
    return []
