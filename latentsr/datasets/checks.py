"""What is wrong with a list of images, before any of them is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from latentsr.datasets.records import MIN_PER_SPLIT, Record
from latentsr.datasets.sets import LAYOUTS, SetEntry


def list_problems(name: str, entry: SetEntry, records: Sequence[Record]) -> Iterable[str]:
    """Find what is wrong with a list of records before any image is read, a line a problem.

    An image id that is there twice, a subject in both splits, too few subjects.
    """
    seen: dict[str, Path] = {}
    side: dict[str, str] = {}
    for record in records:
        if record.image_id in seen:
            other_path = seen[record.image_id]
            told = f"{other_path} and {record.path}; rename one"
            if other_path == record.path:  # a table names it twice
                told = f"{record.path}; mend {LAYOUTS[entry.adapter].tables or 'the folder'}"
            yield f"set {name}: image id {record.image_id} is there twice: {told}"
        seen[record.image_id] = record.path
        other = side.setdefault(record.subject_id, record.split)
        if other != record.split and entry.split_by == "subject":
            side[record.subject_id] = record.split
            both = f"is in {other} and in {record.split}"
            where = f"; mend {table}" if (table := LAYOUTS[entry.adapter].tables) else ""
            told = f"subject {record.subject_id} {both}; a subject must be on one side{where}"
            yield f"set {name}: {told}"
    yield from _too_few(name, entry, records)


def _too_few(name: str, entry: SetEntry, records: Sequence[Record]) -> Iterable[str]:
    """Say when a split has fewer subjects (or images, where those are split) than it needs."""
    of = {(r.split, r.image_id if entry.split_by == "image" else r.subject_id) for r in records}
    counts = {side: sum(split == side for split, _ in of) for side in ("train", "test")}
    if min(counts.values()) < MIN_PER_SPLIT:
        words, total = f"{entry.subject_word}s", len({unit for _, unit in of})
        found = f"{total} {words}, {counts['train']} in train and {counts['test']} in test"
        needs = f"at least {2 * MIN_PER_SPLIT} are needed, {MIN_PER_SPLIT} a split"
        by_image = entry.adapter == "folder" and entry.split_by == "subject"
        if by_image and len(records) >= 2 * MIN_PER_SPLIT:
            needs += f", or split_by: image (latentsr data use {name}=DIR --split-by-image {name})"
        else:
            needs += f"; add {words}"
        yield f"set {name}: {found}; {needs}"
