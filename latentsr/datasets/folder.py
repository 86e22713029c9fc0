"""Any folder of grey pictures, arrays, NIfTI volumes and DICOM files, told by their content."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from latentsr.datasets import files
from latentsr.datasets.records import (
    LEFT_OUT,
    Adapter,
    Record,
    broken,
    csv_columns,
    paths_below,
    seeded_split,
)


def _manifest(manifest: Path) -> dict[Path, tuple[str, str]]:
    """Return file -> (subject, split or "") of a manifest, each file inside the folder."""
    rows: dict[Path, tuple[str, str]] = {}
    for line, row in enumerate(csv_columns(manifest, ("file", "subject"), ("split",)), start=2):
        name, subject, split = row["file"], row["subject"], row.get("split", "")
        where, relative = f"{manifest}: line {line}", PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{where}: file {name!r} lies outside the folder; keep it inside")
        if not subject:
            raise ValueError(f"{where}: no subject for {name!r}; every file needs one")
        if split not in ("", "train", "test"):
            raise ValueError(f"{where}: split {split!r}; allowed are train, test")
        if (path := manifest.parent / relative) in rows:
            raise ValueError(f"{where}: file {name!r} is listed twice; keep one of the lines")
        rows[path] = (subject, split)
    if 0 < sum(not split for _, split in rows.values()) < len(rows):
        raise ValueError(f"{manifest}: split is filled in some lines only; fill all or none")
    return rows


def visible_files(root: Path) -> list[Path]:
    """List the files of a folder at any depth, but hidden ones: what is read without a manifest."""
    return sorted(
        path
        for path in paths_below(root)
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    )


def records(
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
    along ``axis`` are taken, scaled as ``intensity`` says (see `files.Stack.read`). A file
    that cannot be opened is listed all the same; reading its record says what is wrong.
    """
    manifest = root / "manifest.csv"
    given = _manifest(manifest) if manifest.is_file() else {}
    if (root / LEFT_OUT).is_file():
        given = {path: row for path, row in given.items() if path.is_file()}
    there = [path for path in given if path.is_file()]
    paths = there if manifest.is_file() else visible_files(root)
    stacks, problems = files.find(paths, named=bool(given), key_of=given.get)
    absent = "not there, though manifest.csv names it; mend the name or put it there"
    problems |= {path: absent for path in given if not path.is_file()}
    listed = []
    for stack in stacks:
        path = stack.paths[0]
        stem = files.stem(path.relative_to(root).as_posix())
        subject, split = given.get(path, (stack.subject or stem, ""))
        for place in stack.chosen(axis, fraction, slices):
            name = (stem if place is None else f"{stem}_{place[1]:03d}").replace("/", "-")
            record = Record(name, subject, split, path, partial(stack.read, place, intensity))
            volume = None if place is None else stack.volume
            mm = stack.spacing(place)
            listed.append(replace(record, pixel_mm=mm, series=stack.paths, volume=volume))
    for path, problem in problems.items():
        name = path.relative_to(root).as_posix()
        subject, split = given.get(path, (name, ""))
        listed.append(broken(name, subject, split, path, problem))
    if not listed:
        kinds = "PNG, JPEG, TIFF, NPY, NPZ, NIfTI and DICOM"
        raise ValueError(f"{root}: no image in it; allowed are {kinds}, at any depth")
    units = [r.subject_id if split_by == "subject" else r.image_id for r in listed]
    test = seeded_split(units, test_fraction, seed)
    drawn = ("test" if unit in test else "train" for unit in units)
    whole = [replace(r, split=r.split or side) for r, side in zip(listed, drawn, strict=True)]
    return sorted(whole, key=lambda record: (record.image_id, record.subject_id))


ADAPTER = Adapter(name="folder", records=records, tables="manifest.csv")
