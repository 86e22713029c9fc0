"""Records: one image of a set each, before it is read; the adapters and splits that make them."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from latentsr.datasets.pixels import Array

MIN_PER_SPLIT = 3
LEFT_OUT = ".left-out"  # in a set that `data use` gathered: a line for each image it left out


@dataclass(frozen=True)
class Record:
    """One image of a set, before it is read; ``mask`` reads a lesion mask where there is one."""

    image_id: str
    subject_id: str
    split: str  # "train" | "test"
    path: Path
    read: Callable[[], Array]
    mask: Callable[[], Array] | None = None
    mask_path: Path | None = None
    pixel_mm: tuple[float, ...] | None = None  # rows, columns, where the file says
    series: tuple[Path, ...] = ()  # all files of a DICOM series
    volume: Callable[[], Array] | None = None  # where the image is a slice of one
    mask_volume: Callable[[], Array] | None = None
    fault: str = ""  # what reading says of a file that is known to be bad

    @property
    def files(self) -> list[Path]:
        """Every file that the image comes from, its mask's too."""
        return [path for path in (self.path, self.mask_path, *self.series) if path]


@dataclass(frozen=True)
class CheckRow:
    """One row of what `verify` reports; ``expected`` is empty where nothing is known."""

    what: str
    value: str
    expected: str = ""
    good: bool = True
    note: str = ""

    @classmethod
    def count(cls, what: str, value: int, expected: int | None = None, note: str = "") -> CheckRow:
        """Compare a count with the expected one; a row with a ``note`` is good whatever it is."""
        wanted = "" if expected is None else f"{expected:,}"
        return cls(what, f"{value:,}", wanted, bool(note) or expected in (None, value), note)


@dataclass(frozen=True)
class Adapter:
    """All that is known of one layout on disk; the rest follows from it.

    ``records(root, *, ...)`` lists the images and decodes nothing; of the options ``split_by``,
    ``test_fraction``, ``seed``, ``brain_slices``, ``axis``, ``slices``, ``fraction`` and
    ``intensity`` it is given those that it names. ``root_of(path, root)`` returns the folder of
    the set when a path below ``root`` shows that it is one. ``part`` and ``lacks`` tell a part of
    such a set from a plain folder. ``inventory(root, slices)`` counts what is there for `verify`.
    """

    name: str
    records: Callable[..., list[Record]]
    subject_word: str = "subject"
    anatomy: str = "folder"  # how grey values are scaled, see `prepare_pixels`
    tables: str = ""  # glob of the files needed besides images
    root_of: Callable[[Path, Path], Path | None] = lambda path, root: None
    part: str = ""  # regular expression of a path that only this set has
    lacks: str = ""  # what is not there when the set is not recognised all the same
    inventory: Callable[[Path, int], tuple[list[CheckRow], list[Record]]] | None = None
    shape: tuple[int | None, ...] = ()  # of each volume
    dtype: str = ""  # of the pixels
    labels: tuple[int, ...] = ()  # of a segmentation
    own_split: bool = False

    @property
    def options(self) -> set[str]:
        """Return which options of `records` this layout takes."""
        return set(signature(self.records).parameters) - {"root"}

    def listed(self, root: Path, **options: Any) -> list[Record]:
        """List the images of a folder with those options that the layout takes."""
        return self.records(root, **{k: v for k, v in options.items() if k in self.options})


def _fail(message: str) -> Array:
    raise ValueError(message)


def broken(image_id: str, subject_id: str, split: str, path: Path, message: str) -> Record:
    """List a file that is known to be bad: reading it says what is wrong."""
    return Record(image_id, subject_id, split, path, partial(_fail, message), fault=message)


def seeded_split(units: Sequence[str], test_fraction: float, seed: int) -> set[str]:
    """Draw the units (subjects, or images) of the test split.

    >>> len(seeded_split([f"p{i}" for i in range(44)], 0.27, 42))
    12
    """
    names = sorted(set(units))
    count = max(MIN_PER_SPLIT, round(len(names) * test_fraction))
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[i] for i in order[:count]}


def paths_below(root: Path) -> Iterator[Path]:
    """Yield what lies below a folder, at any depth; links to folders are followed, loops are not.

    A folder that may not be read is an error: what lies in it would be missing without a word.
    """

    def stop(error: OSError) -> None:
        problem = f"cannot be read ({type(error).__name__}: {error.strerror})"
        raise ValueError(f"{error.filename}: {problem}; mend its permissions or move it away")

    inside = {root: {root.resolve()}}  # a folder: where it and all above it really lie
    for where, folders, files in os.walk(root, followlinks=True, onerror=stop):
        above = inside.pop(Path(where))
        for name in [*folders]:
            path = Path(where) / name
            if (real := path.resolve()) in above:
                folders.remove(name)
            else:
                inside[path] = {*above, real}
        yield from (Path(where) / name for name in (*folders, *files))


def limited(
    records: Sequence[Record],
    split: str,
    count: int | None,
    usable: Callable[[Record], bool] = lambda record: True,
) -> list[Record]:
    """Keep at most ``count`` usable images of a split: every subject's first, then the second, ..."""
    earlier: Counter[str] = Counter()  # images of a subject
    ranked = []
    for record in sorted((r for r in records if r.split == split), key=lambda r: r.image_id):
        ranked.append((earlier[record.subject_id], record))
        earlier[record.subject_id] += 1
    good = (record for _, record in sorted(ranked, key=lambda pair: pair[0]) if usable(record))
    return sorted(islice(good, count), key=lambda r: r.image_id)


def csv_rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a csv or csv.gz file as text, so that 0042 stays 0042."""
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                yield from (row for row in csv.reader(text, strict=True) if row)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error})") from None


def csv_columns(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """Yield the named columns of each row, the only ones kept in memory."""
    rows = csv_rows(path)
    header = [cell.strip() for cell in next(rows, [])]
    if missing := [column for column in needed if column not in header]:
        there = ", ".join(header) or "none"
        raise ValueError(f"{path}: no column {', '.join(missing)}; columns found: {there}")
    places = {column: header.index(column) for column in (*needed, *optional) if column in header}
    for row in rows:  # a short row reads as empty cells
        yield {column: row[i].strip() if i < len(row) else "" for column, i in places.items()}
