"""Records: one image of a set each, before it is read; drawing splits and walking folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

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
    whole: Callable[[], Array] | None = None  # reads the volume, where the image is a slice of one
    fault: str = ""  # what reading says of a file that is known to be bad

    @property
    def files(self) -> list[Path]:
        """Every file that the image comes from, its mask's too."""
        return [path for path in (self.path, self.mask_path, *self.series) if path]


def _fail(told: str) -> Array:
    raise ValueError(told)


def broken(image_id: str, subject_id: str, split: str, path: Path, told: str) -> Record:
    """List a file that is known to be bad: reading it says what is wrong."""
    return Record(image_id, subject_id, split, path, partial(_fail, told), fault=told)


def seeded_split(units: Sequence[str], test_fraction: float, seed: int) -> set[str]:
    """Draw the units (subjects, or images) of the test split.

    Examples
    --------
    >>> len(seeded_split([f"p{i}" for i in range(44)], 0.27, 42))
    12
    """
    names = sorted(set(units))
    count = max(MIN_PER_SPLIT, round(len(names) * test_fraction))
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[i] for i in order[:count]}


def walk(root: Path) -> Iterator[Path]:
    """Yield what lies below a folder, at any depth; links to folders are followed, loops are not.

    Raises
    ------
    ValueError
        Where a folder may not be read: what lies in it would be missing without a word.
    """

    def stop(error: OSError) -> None:
        told = f"cannot be read ({type(error).__name__}: {error.strerror})"
        raise ValueError(
            f"{error.filename}: {told}; mend its permissions or move it away"
        ) from None

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
    rank: dict[str, int] = {}
    ranked = []
    for record in sorted((r for r in records if r.split == split), key=lambda r: r.image_id):
        rank[record.subject_id] = rank.get(record.subject_id, 0) + 1
        ranked.append((rank[record.subject_id], record.image_id, record))
    good = (item[2] for item in sorted(ranked, key=lambda item: item[:2]) if usable(item[2]))
    return sorted(islice(good, count), key=lambda r: r.image_id)
