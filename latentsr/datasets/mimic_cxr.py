"""MIMIC-CXR-JPG: chest radiographs in folders of patients and studies, and tables that list them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from latentsr.datasets.pixels import read_image
from latentsr.datasets.records import Adapter, CheckRow, Record, csv_columns, seeded_split

FRONTAL = ("PA", "AP")
ID = re.compile(r"[\w-]+")  # each is a part of a path
SPLITS = ("train", "validate", "test")
IMAGES = 377_110


def _table(root: Path, name: str) -> Path:
    """Find ``mimic-cxr-2.0.0-<name>.csv`` or its .gz (the name stayed 2.0.0 in release 2.1.0)."""
    for ending in (".csv.gz", ".csv"):
        if (path := root / f"mimic-cxr-2.0.0-{name}{ending}").is_file():
            return path
    raise ValueError(f"{root}: no mimic-cxr-2.0.0-{name}.csv or .csv.gz in it")


def _frontal(root: Path) -> Iterator[Record]:
    """Yield the PA and AP views that the tables list, there or not, with their official split."""
    metadata, splits = _table(root, "metadata"), _table(root, "split")
    official = {r["dicom_id"]: r["split"] for r in csv_columns(splits, ("dicom_id", "split"))}
    ids = ("dicom_id", "subject_id", "study_id")
    for line, row in enumerate(csv_columns(metadata, (*ids, "ViewPosition")), start=2):
        if row["ViewPosition"] not in FRONTAL:
            continue
        for column in ids:
            if not ID.fullmatch(row[column]):
                wanted = "letters, digits and hyphens are allowed"
                raise ValueError(f"{metadata}: line {line}: {column} {row[column]!r}; {wanted}")
        dicom, patient, study = (row[column] for column in ids)
        split = official.get(dicom, "")
        if split not in SPLITS:
            allowed = f"allowed are {', '.join(SPLITS)}"
            raise ValueError(f"{splits}: split of image {dicom} is {split!r}; {allowed}")
        path = root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{dicom}.jpg"
        yield Record(dicom, patient, split, path, partial(read_image, path))


def records(root: Path, *, split_by: str, test_fraction: float, seed: int) -> list[Record]:
    """List the PA and AP views of a folder in the official split; subjects are patients.

    "validate" is left out. With ``split_by`` "image" all images are split at random instead,
    whatever their patient, as the paper's code does. Most people hold a part of the set: an image
    that is not on disk is passed over.
    """
    listed = [
        record
        for record in _frontal(root)
        if (record.split != "validate" or split_by == "image") and record.path.is_file()
    ]
    if not listed:
        metadata = _table(root, "metadata").name
        raise ValueError(f"{root}: none of the frontal images of {metadata} is in files/")
    if split_by == "image":
        test = seeded_split([record.image_id for record in listed], test_fraction, seed)
        listed = [replace(r, split="test" if r.image_id in test else "train") for r in listed]
    return sorted(listed, key=lambda record: record.image_id)


def _root_of(path: Path, root: Path) -> Path | None:
    is_table = path.name.startswith("mimic-cxr-2.0.0-metadata.csv")
    return path.parent if is_table and (path.parent / "files").is_dir() else None


def _inventory(root: Path, slices: int) -> tuple[list[CheckRow], list[Record]]:
    total = sum(1 for _ in csv_columns(_table(root, "metadata"), ("dicom_id", "ViewPosition")))
    listed, count = list(_frontal(root)), CheckRow.count
    there = [record for record in listed if record.path.is_file()]
    return [
        count("images in metadata", total, IMAGES),
        count("of other views", total - len(listed), note="not read here"),
        count("frontal images listed", len(listed)),
        count("frontal images on disk", len(there), len(listed)),
        count("patients of those on disk", len({record.subject_id for record in there})),
    ], there


ADAPTER = Adapter(
    name="mimic_cxr",
    records=records,
    subject_word="patient",
    anatomy="chest",
    tables="mimic-cxr-2.0.0-*.csv*",
    root_of=_root_of,
    part=r"/p\d{2}/p\d{8}/s\d{8}/[^/]+\.jpg$",
    lacks=(
        "MIMIC-CXR-JPG, but its table mimic-cxr-2.0.0-metadata.csv (or .gz) is not there "
        "beside files/"
    ),
    inventory=_inventory,
    dtype="uint8",
    own_split=True,
)
