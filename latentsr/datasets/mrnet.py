"""MRNet v1.0: knee MRI, an npy file for each exam and plane, and tables that name the exams."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from latentsr.datasets.pixels import Array
from latentsr.datasets.records import Adapter, CheckRow, Record, broken, csv_rows

CASE = re.compile(r"\d{1,4}")
EXAMS = {"train": 1130, "test": 120}


def records(root: Path) -> list[Record]:
    """List the middle sagittal slice of each exam that ``*-abnormal.csv`` names.

    ``train-abnormal.csv`` and ``valid-abnormal.csv`` (no header) make the splits "train" and
    "test". MRNet ships no patient ids: a subject is an exam. An exam that is not there is listed
    all the same; reading its record says so.
    """
    listed = []
    for folder, split in (("train", "train"), ("valid", "test")):
        table = root / f"{folder}-abnormal.csv"
        if not table.is_file():
            raise ValueError(f"{table}: not found; it names the exams of this split")
        for line, row in enumerate(csv_rows(table), start=1):
            if not CASE.fullmatch(row[0].strip()):
                wanted = "a number of four digits is needed, in a table without header"
                raise ValueError(f"{table}: line {line}: case {row[0]!r}; {wanted}")
            case = row[0].strip().zfill(4)
            path = root / folder / "sagittal" / f"{case}.npy"
            if path.is_file():
                read, volume = partial(_middle_slice, path), partial(np.load, path)
                listed.append(Record(case, case, split, path, read, volume=volume))
            else:
                message = f"not there, though {table.name} names exam {case}; get it again"
                listed.append(broken(case, case, split, path, message))
    return sorted(listed, key=lambda record: record.image_id)


def _middle_slice(path: Path) -> Array:
    """Read slice S // 2 of an exam (S, 256, 256)."""
    exam = np.load(path, mmap_mode="r")
    if exam.dtype.kind in "iu" and exam.dtype != np.uint8:
        raise ValueError(f"{exam.dtype} values; MRNet's exams are uint8, read others as a folder")
    if exam.ndim != 3 or 0 in exam.shape:
        raise ValueError(f"array of shape {exam.shape}; (slices, height, width) is needed")
    return np.array(exam[len(exam) // 2])


def _root_of(path: Path, root: Path) -> Path | None:
    inner = path.parents[1]
    both = path.parts[-2:] == ("train", "sagittal") and (inner / "valid/sagittal").is_dir()
    return inner if both else None


def _inventory(root: Path, slices: int) -> tuple[list[CheckRow], list[Record]]:
    listed, count = records(root), CheckRow.count
    strays = set(root.glob("*/sagittal/*.npy")) - {record.path for record in listed}
    rows = [
        count(f"exams in {split}", sum(r.split == split for r in listed), expected)
        for split, expected in EXAMS.items()
    ]
    rows.append(count("sagittal series of them", sum(not r.fault for r in listed), len(listed)))
    rows.append(count("sagittal series in no table", len(strays), 0))
    for plane in ("axial", "coronal"):
        there = sum(1 for _ in root.glob(f"*/{plane}/*.npy"))
        rows.append(count(f"{plane} series", there, len(listed), "not read here"))
    return rows, listed


ADAPTER = Adapter(
    name="mrnet",
    records=records,
    subject_word="exam",
    anatomy="knee",
    tables="*-abnormal.csv",
    root_of=_root_of,
    part=r"/(?:train|valid)/(?:sagittal|coronal|axial)/\d{4}\.npy$",
    lacks="MRNet, but train/sagittal and valid/sagittal are not both there",
    inventory=_inventory,
    shape=(None, 256, 256),
    dtype="uint8",
    own_split=True,
)
