"""Adapters: one function a layout, each listing the images of a set as records of one kind.

Nothing is decoded here: a record's ``read`` opens its file when it is called.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from latentsr.datasets import formats, pixels
from latentsr.datasets.records import LEFT_OUT, Record, broken, seeded_split, walk
from latentsr.datasets.scans import brats

__all__ = ["brats", "folder", "images_below", "mimic_cxr", "mrnet"]

CASE = re.compile(r"\d{1,4}")
FRONTAL = ("PA", "AP")
MIMIC_ID = re.compile(r"[\w-]+")  # each is a part of a path


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a csv or csv.gz file as text, so that 0042 stays 0042."""
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                yield from (row for row in csv.reader(text, strict=True) if row)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error})") from None


def _table(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """Yield the named columns of each row, the only ones kept in memory."""
    rows = _rows(path)
    header = [cell.strip() for cell in next(rows, [])]
    if missing := [column for column in needed if column not in header]:
        found = ", ".join(header) or "none"
        raise ValueError(f"{path}: no column {', '.join(missing)}; columns found: {found}")
    places = {column: header.index(column) for column in (*needed, *optional) if column in header}
    for row in rows:  # a short row reads as empty cells
        yield {column: row[i].strip() if i < len(row) else "" for column, i in places.items()}


def mrnet(root: Path) -> list[Record]:
    """List an MRNet v1.0 folder: the middle sagittal slice of each exam.

    ``train-abnormal.csv`` and ``valid-abnormal.csv`` (no header) name the exams; train becomes
    "train", valid "test". MRNet ships no patient ids: a subject is an exam. An exam that is not
    there is listed all the same; reading its record says so.
    """
    records = []
    for folder_name, split in (("train", "train"), ("valid", "test")):
        table = root / f"{folder_name}-abnormal.csv"
        if not table.is_file():
            raise ValueError(f"{table}: not found; it names the exams of this split")
        for line, row in enumerate(_rows(table), start=1):
            if not CASE.fullmatch(row[0].strip()):
                wanted = "a number of four digits is needed, in a table without header"
                raise ValueError(f"{table}: line {line}: case {row[0]!r}; {wanted}")
            case = row[0].strip().zfill(4)
            path = root / folder_name / "sagittal" / f"{case}.npy"
            if path.is_file():
                read, whole = partial(pixels.read_middle_slice, path), partial(np.load, path)
                records.append(Record(case, case, split, path, read, whole=whole))
            else:
                told = f"not there, though {table.name} names exam {case}; get it again"
                records.append(broken(case, case, split, path, told))
    return sorted(records, key=lambda record: record.image_id)


def _mimic_table(root: Path, name: str) -> Path:
    """Find ``mimic-cxr-2.0.0-<name>.csv`` or its .gz (the name stayed 2.0.0 in release 2.1.0)."""
    for ending in (".csv.gz", ".csv"):
        if (path := root / f"mimic-cxr-2.0.0-{name}{ending}").is_file():
            return path
    raise ValueError(f"{root}: no mimic-cxr-2.0.0-{name}.csv or .csv.gz in it")


def mimic_views(root: Path) -> Counter[str]:
    """Count the images that the metadata of a MIMIC-CXR-JPG folder lists, by their view."""
    rows = _table(_mimic_table(root, "metadata"), ("dicom_id", "ViewPosition"))
    return Counter(row["ViewPosition"] for row in rows)


def mimic_listed(root: Path) -> Iterator[Record]:
    """Yield the PA and AP views that the tables of a MIMIC-CXR-JPG folder list, there or not.

    Their split is the official one: train, validate or test.
    """
    metadata, splits = _mimic_table(root, "metadata"), _mimic_table(root, "split")
    official = {row["dicom_id"]: row["split"] for row in _table(splits, ("dicom_id", "split"))}
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    for line, row in enumerate(_table(metadata, columns), start=2):
        if row["ViewPosition"] not in FRONTAL:
            continue
        for column in columns[:3]:
            if not MIMIC_ID.fullmatch(row[column]):
                wanted = "letters, digits and hyphens are allowed"
                raise ValueError(f"{metadata}: line {line}: {column} {row[column]!r}; {wanted}")
        dicom, patient, study = (row[column] for column in columns[:3])
        split = official.get(dicom)
        if split not in ("train", "validate", "test"):
            allowed = "allowed are train, validate, test"
            raise ValueError(f"{splits}: split of image {dicom} is {split!r}; {allowed}")
        path = root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{dicom}.jpg"
        yield Record(dicom, patient, split, path, partial(pixels.read_image, path))


def mimic_cxr(
    root: Path, *, split_by: str = "subject", test_fraction: float = 0.1, seed: int = 0
) -> list[Record]:
    """List a MIMIC-CXR-JPG folder: its PA and AP views in the official split.

    "validate" is left out, and so is every view of another name. With ``split_by`` "image" all
    images are split at random instead, whatever their patient, as the paper's code does. The
    tables list 377,110 images and most people hold a part of them: an image that is not on disk
    is passed over. Subjects are patients.
    """
    records = [
        record
        for record in mimic_listed(root)
        if (record.split != "validate" or split_by == "image") and record.path.is_file()
    ]
    if not records:
        metadata = _mimic_table(root, "metadata")
        raise ValueError(f"{root}: none of the frontal images of {metadata.name} is in files/")
    if split_by == "image":
        test = seeded_split([record.image_id for record in records], test_fraction, seed)
        records = [replace(r, split="test" if r.image_id in test else "train") for r in records]
    return sorted(records, key=lambda record: record.image_id)


def _manifest(root: Path, manifest: Path) -> list[tuple[str, str, str]]:
    """Rows (file, subject, split or "") of a manifest, each file inside the folder, there or not."""
    listed: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for line, row in enumerate(_table(manifest, ("file", "subject"), ("split",)), start=2):
        name, subject, split = row["file"], row["subject"], row.get("split", "")
        where = f"{manifest}: line {line}"
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{where}: file {name!r} lies outside the folder; keep it inside")
        if not subject:
            raise ValueError(f"{where}: no subject for {name!r}; every file needs one")
        if split not in ("", "train", "test"):
            raise ValueError(f"{where}: split {split!r}; allowed are train, test")
        if relative.as_posix() in seen:
            raise ValueError(f"{where}: file {name!r} is listed twice; keep one of the lines")
        seen.add(relative.as_posix())
        listed.append((relative.as_posix(), subject, split))
    if 0 < sum(not split for *_, split in listed) < len(listed):
        raise ValueError(f"{manifest}: split is filled in some lines only; fill all or none")
    return listed


def images_below(root: Path) -> list[Path]:
    """List the files of a folder at any depth, but hidden ones: what is read without a manifest."""
    return sorted(
        path
        for path in walk(root)
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    )


def folder(
    root: Path,
    *,
    split_by: str,
    test_fraction: float,
    seed: int,
    axis: str = "auto",
    slices: int = 5,
    fraction: float = 0.5,
    intensity: str = "auto",
) -> list[Record]:
    """List a folder of grey pictures and volumes, searched at any depth, told by their content.

    PNG, JPEG, TIFF (a page is a slice), NPY and NPZ, NIfTI, DICOM (files of a series are slices).
    An optional ``manifest.csv`` with columns file, subject and, if wanted, split (train or test)
    chooses the files; without it each file is a subject, or the patient that a DICOM file names.
    ``split_by`` "subject" keeps a subject on one side; "image" lets both sides share subjects,
    for sets with too few of them. Of a volume ``slices`` even slices of the middle ``fraction``
    along ``axis`` are taken, scaled as ``intensity`` says (see `stacks.Stack.read`). A file
    that cannot be opened is listed all the same; reading its record says what is wrong.
    """
    manifest, said = root / "manifest.csv", {}
    if manifest.is_file():
        said = {row[0]: row[1:] for row in _manifest(root, manifest)}
        if (root / LEFT_OUT).is_file():
            said = {name: rest for name, rest in said.items() if (root / name).is_file()}
        paths = [root / name for name in said if (root / name).is_file()]
    else:
        paths = images_below(root)
    names = {path: path.relative_to(root).as_posix() for path in paths}
    absent = {root / name: name for name in said if not (root / name).is_file()}
    stacks, problems = formats.find(
        paths, named=bool(said), key_of=lambda path: said.get(names[path])
    )
    records = []
    for stack in stacks:
        path = stack.paths[0]
        name, stem = names[path], formats.stem(names[path])
        subject, split = said.get(name, (stack.subject or stem, ""))
        for place in stack.chosen(axis, fraction, slices):
            image_id = (stem if place is None else f"{stem}_{place[1]:03d}").replace("/", "-")
            read, mm = partial(stack.read, place, intensity), stack.spacing(place)
            record = Record(image_id, subject, split, path, read, pixel_mm=mm, series=stack.paths)
            records.append(record if place is None else replace(record, whole=stack.whole))
    told = "not there, though manifest.csv names it; mend the name or put it there"
    for path, problem in (problems | dict.fromkeys(absent, told)).items():
        name = (names | absent)[path]
        subject, split = said.get(name, (name, ""))
        records.append(broken(name, subject, split, path, problem))
    if not records:
        kinds = "PNG, JPEG, TIFF, NPY, NPZ, NIfTI and DICOM"
        raise ValueError(f"{root}: no image in it; allowed are {kinds}, at any depth")
    units = [r.subject_id if split_by == "subject" else r.image_id for r in records]
    test = seeded_split(units, test_fraction, seed)
    drawn = ("test" if unit in test else "train" for unit in units)
    whole = [replace(r, split=r.split or side) for r, side in zip(records, drawn, strict=True)]
    return sorted(whole, key=lambda record: (record.image_id, record.subject_id))
