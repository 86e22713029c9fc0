"""Adapters: one function a layout, each listing the images of a set as records of one kind.

Nothing is decoded here: a record's ``read`` opens its file when it is called.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from latentsr.datasets import formats, pixels
from latentsr.datasets.pixels import Array

BRATS_SCAN = re.compile(r"(BraTS-GLI-(\d{5})-(\d{3}))-t2w\.nii(\.gz)?")
BRATS_DEPTH = 155
MIN_PER_SPLIT = 3


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

    @property
    def files(self) -> list[Path]:
        """Every file that the image comes from, its mask's too."""
        return [path for path in (self.path, self.mask_path, *self.series) if path]


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
    """Yield what lies below a folder, at any depth; links to folders are followed, loops are not."""
    inside = {root: {root.resolve()}}  # a folder: where it and all above it really lie
    for where, folders, files in os.walk(root, followlinks=True):
        above = inside.pop(Path(where))
        for name in [*folders]:
            path = Path(where) / name
            if (real := path.resolve()) in above:
                folders.remove(name)
            else:
                inside[path] = {*above, real}
        yield from (Path(where) / name for name in (*folders, *files))


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
    "train", valid "test". MRNet ships no patient ids: a subject is an exam.
    """
    records = []
    for folder_name, split in (("train", "train"), ("valid", "test")):
        table = root / f"{folder_name}-abnormal.csv"
        if not table.is_file():
            raise ValueError(f"{table}: not found; it names the exams of this split")
        for row in _rows(table):
            case = row[0].strip().zfill(4)
            path = root / folder_name / "sagittal" / f"{case}.npy"
            if not path.is_file():
                raise ValueError(f"{table}: names exam {case}, but {path} is not there")
            read = partial(pixels.read_middle_slice, path)
            records.append(Record(case, case, split, path, read))
    return sorted(records, key=lambda record: record.image_id)


def _nifti(folder_path: Path, stem: str) -> Path | None:
    """Find a volume; some copies of BraTS hold a folder ``X.nii`` with the one file in it."""
    for path in (folder_path / f"{stem}.nii.gz", folder_path / f"{stem}.nii"):
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file() and ".nii" in p.name]
            if len(inside) != 1:
                raise ValueError(f"{path}: {len(inside)} NIfTI files in this folder; one is needed")
            return inside[0]
        if path.is_file():
            return path
    return None


def brats_scans(root: Path) -> dict[str, tuple[str, Path]]:
    """Find the T2w volume of every scan, at any depth: scan -> (patient, file)."""
    scans: dict[str, tuple[str, Path]] = {}
    for found in sorted(walk(root)):
        inside = BRATS_SCAN.fullmatch(found.parent.name)  # of a folder X.nii, which is found too
        if inside or not (match := BRATS_SCAN.fullmatch(found.name)):
            continue
        scan, patient = match.group(1, 2)
        if scan in scans:
            raise ValueError(f"{found}: scan {scan} is there twice, also as {scans[scan][1]}")
        scans[scan] = (patient, found)
    if not scans:
        raise ValueError(f"{root}: no BraTS-GLI-XXXXX-YYY-t2w.nii.gz in it, at any depth")
    return scans


def scan_slices(scan: str, patient: str, found: Path, split: str, slices: int) -> list[Record]:
    """List the slices of the middle half of one scan; the mask is any label above 0."""
    path = _nifti(found.parent, f"{scan}-t2w") or found
    segmentation = _nifti(found.parent, f"{scan}-seg")
    records = []
    for z in pixels.middle_half_slices(BRATS_DEPTH, slices).tolist():
        mask = partial(pixels.read_label, segmentation, z) if segmentation else None
        read = partial(pixels.read_slice, path, z)
        image_id = f"{scan}_z{z:03d}"
        records.append(Record(image_id, patient, split, path, read, mask, segmentation))
    return records


def brats(
    root: Path, *, slices: int, test_fraction: float, seed: int, split_by: str = "subject"
) -> list[Record]:
    """List a BraTS 2023 GLI folder: ``slices`` axial T2w slices of the middle half of each scan.

    In BraTS-GLI-XXXXX-YYY XXXXX is the patient and YYY the time point. Patients are split by
    ``seed`` and keep all their scans on one side. Training uses every scan; a test patient
    gives the earliest one only, so that each test patient weighs ``slices`` images. With
    ``split_by`` "image" scans are split instead, all of them used, as the paper's code does: a
    patient's follow-up may then be on the other side. The mask is any label above 0. Scans are
    looked for at any depth below ``root``.
    """
    scans = brats_scans(root)
    unit = {scan: scan if split_by == "image" else patient for scan, (patient, _) in scans.items()}
    test = seeded_split([*unit.values()], test_fraction, seed)
    records, seen = [], set()
    for scan, (patient, found) in sorted(scans.items()):
        split = "test" if unit[scan] in test else "train"
        if split == "train" or patient not in seen or split_by == "image":
            records += scan_slices(scan, patient, found, split, slices)
        seen.add(patient)
    return records


def _mimic_table(root: Path, name: str) -> Path:
    """Find ``mimic-cxr-2.0.0-<name>.csv`` or its .gz (the name stayed 2.0.0 in release 2.1.0)."""
    for ending in (".csv.gz", ".csv"):
        if (path := root / f"mimic-cxr-2.0.0-{name}{ending}").is_file():
            return path
    raise ValueError(f"{root}: no mimic-cxr-2.0.0-{name}.csv or .csv.gz in it")


def mimic_rows(root: Path) -> int:
    """Count the images that the metadata of a MIMIC-CXR-JPG folder lists."""
    return sum(1 for _ in _table(_mimic_table(root, "metadata"), ("dicom_id",)))


def mimic_cxr(
    root: Path, *, split_by: str = "subject", test_fraction: float = 0.1, seed: int = 0
) -> list[Record]:
    """List a MIMIC-CXR-JPG folder: its PA and AP views in the official split.

    "validate" is left out. With ``split_by`` "image" all images are split at random instead,
    whatever their patient, as the paper's code does. The tables list 377,110 images and most
    people hold a part of them: an image that is not on disk is passed over. Subjects are patients.
    """
    metadata, splits = _mimic_table(root, "metadata"), _mimic_table(root, "split")
    official = {row["dicom_id"]: row["split"] for row in _table(splits, ("dicom_id", "split"))}
    records = []
    for row in _table(metadata, ("dicom_id", "subject_id", "study_id", "ViewPosition")):
        dicom, patient, study = row["dicom_id"], row["subject_id"], row["study_id"]
        split = official.get(dicom)
        if row["ViewPosition"] not in ("PA", "AP"):
            continue
        if split == "validate":
            if split_by == "subject":
                continue
        elif split not in ("train", "test"):
            allowed = "allowed are train, validate, test"
            raise ValueError(f"{splits}: split of image {dicom} is {split!r}; {allowed}")
        path = root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}" / f"{dicom}.jpg"
        if path.is_file():
            records.append(Record(dicom, patient, split, path, partial(pixels.read_image, path)))
    if not records:
        raise ValueError(f"{root}: none of the frontal images of {metadata.name} is in files/")
    if split_by == "image":
        test = seeded_split([record.image_id for record in records], test_fraction, seed)
        records = [replace(r, split="test" if r.image_id in test else "train") for r in records]
    return sorted(records, key=lambda record: record.image_id)


def _manifest(root: Path, manifest: Path) -> list[tuple[str, str, str]]:
    """Rows (file, subject, split or "") of a manifest, each file checked to be in the folder."""
    listed: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for line, row in enumerate(_table(manifest, ("file", "subject"), ("split",)), start=2):
        name, subject, split = row["file"], row["subject"], row.get("split", "")
        where = f"{manifest}: line {line}"
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{where}: file {name!r} lies outside the folder; keep it inside")
        if not (root / name).is_file():
            raise ValueError(
                f"{where}: file {name!r} is not in {root}; mend the name or put it there"
            )
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


def _failing(told: str) -> Array:
    raise ValueError(told)


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
    along ``axis`` are taken, scaled as ``intensity`` says (see `formats.Stack.read`). A file
    that cannot be opened is listed all the same; reading its record says what is wrong.
    """
    manifest, said = root / "manifest.csv", {}
    if manifest.is_file():
        said = {row[0]: row[1:] for row in _manifest(root, manifest)}
        paths = [root / name for name in said]
    else:
        paths = images_below(root)
    names = {path: path.relative_to(root).as_posix() for path in paths}
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
            records.append(
                Record(image_id, subject, split, path, read, pixel_mm=mm, series=stack.paths)
            )
    for path, told in problems.items():
        name = names[path]
        subject, split = said.get(name, (name, ""))
        records.append(Record(name, subject, split, path, partial(_failing, told)))
    if not records:
        kinds = "PNG, JPEG, TIFF, NPY, NPZ, NIfTI and DICOM"
        raise ValueError(f"{root}: no image in it; allowed are {kinds}, at any depth")
    units = [r.subject_id if split_by == "subject" else r.image_id for r in records]
    test = seeded_split(units, test_fraction, seed)
    drawn = ("test" if unit in test else "train" for unit in units)
    whole = [replace(r, split=r.split or side) for r, side in zip(records, drawn, strict=True)]
    return sorted(whole, key=lambda record: (record.image_id, record.subject_id))


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
