"""BraTS 2023 GLI: scans of several volumes each, wherever they lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from latentsr.datasets import nifti, pixels
from latentsr.datasets.records import Record, broken, seeded_split, walk

KINDS = ("t1n", "t1c", "t2w", "t2f", "seg")
SCAN = re.compile(
    rf"(BraTS-GLI-(\d{{5}})-\d{{3}})(-({'|'.join(KINDS)})\.nii(\.gz)?)?"
)  # a volume, or the folder of a scan
DEPTH = 155


@dataclass(frozen=True)
class Scan:
    """One time point of a patient; ``fault`` says why the study cannot use it."""

    name: str
    patient: str
    t2w: Path
    seg: Path | None = None
    kinds: frozenset[str] = frozenset()  # of its volumes
    fault: str = ""


def is_t2w(name: str) -> bool:
    """Tell whether a file or folder is called as the T2w volume of a scan.

    >>> is_t2w("BraTS-GLI-00001-000-t2w.nii.gz"), is_t2w("BraTS-GLI-00001-000")
    (True, False)
    """
    match = SCAN.fullmatch(name)
    return bool(match and match[4] == "t2w")


def volume(folder_path: Path, stem: str) -> Path | None:
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


def find_scans(root: Path) -> list[Scan]:
    """Find every scan at any depth, in the order of their names; what lacks a volume is at fault.

    A scan without segmentation is at fault where others have one: its empty mask would say that
    there is no tumour.
    """
    places: dict[str, Path] = {}  # a scan: the folder of its T2w volume, or of any other
    t2w: dict[str, Path] = {}
    patients: dict[str, str] = {}
    for found in sorted(walk(root)):
        if not (match := SCAN.fullmatch(found.name)):
            continue
        if (above := SCAN.fullmatch(found.parent.name)) and above[4]:  # of a folder X.nii
            continue
        scan, patient, kind = match.group(1, 2, 4)
        patients[scan] = patient
        if kind == "t2w":
            if scan in t2w:
                raise ValueError(f"{found}: scan {scan} is there twice, also as {t2w[scan]}")
            t2w[scan] = found
        if kind == "t2w" or scan not in t2w:
            places[scan] = found.parent if kind else found
    if not t2w:
        raise ValueError(f"{root}: no BraTS-GLI-XXXXX-YYY-t2w.nii.gz in it, at any depth")
    scans = [_scan(name, patients[name], places[name]) for name in sorted(patients)]
    if any(scan.seg for scan in scans):
        lacks = "no segmentation beside it, though other scans have one; get it again"
        scans = [s if s.seg or s.fault else replace(s, fault=lacks) for s in scans]
    return scans


def _scan(name: str, patient: str, place: Path) -> Scan:
    scan = Scan(name, patient, place / f"{name}-t2w.nii.gz")
    try:
        found = {kind: volume(place, f"{name}-{kind}") for kind in KINDS}
    except ValueError as error:
        return replace(scan, fault=str(error))
    scan = replace(scan, seg=found["seg"], kinds=frozenset(k for k, path in found.items() if path))
    if path := found["t2w"]:
        return replace(scan, t2w=path)
    lacks = f"not there, though scan {name} has a folder or other volumes; get it again"
    return replace(scan, fault=lacks)


def scan_slices(scan: Scan, split: str, slices: int) -> list[Record]:
    """List the slices of the middle half of one scan; the mask is any label above 0.

    A scan at fault is one record; reading it says what is wrong.
    """
    if scan.fault:
        return [broken(scan.name, scan.patient, split, scan.t2w, scan.fault)]
    whole, seg = partial(nifti.stored, scan.t2w), scan.seg
    pixel_mm = nifti.pixel_mm(scan.t2w)
    return [
        Record(
            f"{scan.name}_z{z:03d}",
            scan.patient,
            split,
            scan.t2w,
            partial(pixels.read_slice, scan.t2w, z),
            partial(pixels.read_label, seg, z) if seg else None,
            seg,
            pixel_mm,
            whole=whole,
        )
        for z in pixels.middle_half_slices(DEPTH, slices).tolist()
    ]


def brats(
    root: Path, *, slices: int, test_fraction: float, seed: int, split_by: str = "subject"
) -> list[Record]:
    """List a BraTS 2023 GLI folder: ``slices`` axial T2w slices of the middle half of each scan.

    In BraTS-GLI-XXXXX-YYY XXXXX is the patient and YYY the time point. Patients are split by
    ``seed`` and keep all their scans on one side. Training uses every scan; a test patient
    gives the earliest one only, so that each test patient weighs ``slices`` images. With
    ``split_by`` "image" scans are split instead, all of them used, as the paper's code does: a
    patient's follow-up may then be on the other side. The mask is any label above 0. Scans are
    looked for at any depth below ``root``; one that lacks a volume is listed all the same, and
    reading its record says so.
    """
    scans = find_scans(root)
    unit = {scan.name: scan.name if split_by == "image" else scan.patient for scan in scans}
    test = seeded_split([*unit.values()], test_fraction, seed)
    records, seen = [], set()
    for scan in scans:
        split = "test" if unit[scan.name] in test else "train"
        if split == "train" or scan.patient not in seen or split_by == "image":
            records += scan_slices(scan, split, slices)
        seen.add(scan.patient)
    return records
