"""BraTS 2023 GLI: brain MRI, scans of several NIfTI volumes each, wherever they lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from latentsr.datasets.files import nifti
from latentsr.datasets.pixels import Array, middle_half_slices
from latentsr.datasets.records import Adapter, CheckRow, Record, broken, paths_below, seeded_split

KINDS = ("t1n", "t1c", "t2w", "t2f", "seg")
# a volume, or the folder of a scan
SCAN = re.compile(rf"(BraTS-GLI-(\d{{5}})-\d{{3}})(-({'|'.join(KINDS)})\.nii(\.gz)?)?")
SCANS, DEPTH = 1251, 155


@dataclass
class Scan:
    """One time point of a patient; ``fault`` says why the study cannot use it."""

    name: str
    patient: str
    t2w: Path
    volumes: dict[str, Path] = field(default_factory=dict)  # by kind
    fault: str = ""


def find_scans(root: Path) -> list[Scan]:
    """Find every scan at any depth, in the order of their names; what lacks a volume is at fault.

    A scan without segmentation is at fault where others have one: its empty mask would say that
    there is no tumour.
    """
    scans: dict[str, Scan] = {}
    for path in sorted(paths_below(root)):
        match, above = SCAN.fullmatch(path.name), SCAN.fullmatch(path.parent.name)
        if not match or (above and above[4]):  # inside a folder X.nii
            continue
        name, patient, kind = match.group(1, 2, 4)
        folder = path.parent if kind else path
        scan = scans.setdefault(name, Scan(name, patient, folder / f"{name}-t2w.nii.gz"))
        if kind == "t2w" and kind in scan.volumes:
            raise ValueError(f"{path}: scan {name} is there twice, also as {scan.volumes[kind]}")
        if kind:
            inside = [path]
            if path.is_dir():  # some copies of BraTS hold a folder X.nii with the one file in it
                inside = [p for p in sorted(path.iterdir()) if p.is_file() and ".nii" in p.name]
            if len(inside) != 1:
                scan.fault = f"{path}: {len(inside)} NIfTI files in this folder; one is needed"
            scan.volumes[kind] = inside[0] if inside else path
    if not any("t2w" in scan.volumes for scan in scans.values()):
        raise ValueError(f"{root}: no BraTS-GLI-XXXXX-YYY-t2w.nii.gz in it, at any depth")
    masked = any("seg" in scan.volumes for scan in scans.values())
    for scan in scans.values():
        scan.t2w = scan.volumes.get("t2w", scan.t2w)
        if "t2w" not in scan.volumes:
            there = f"scan {scan.name} has a folder or other volumes"
            scan.fault = f"not there, though {there}; get it again"
        elif masked and "seg" not in scan.volumes and not scan.fault:
            scan.fault = "no segmentation beside it, though other scans have one; get it again"
    return [scans[name] for name in sorted(scans)]


@lru_cache(maxsize=2)  # image and mask: the slices of a volume are read one after another
def _voxels(path: Path, _modified_ns: int) -> Array:
    return np.asarray(nifti(path).dataobj)


def _read_volume(path: Path) -> Array:
    return _voxels(path, path.stat().st_mtime_ns)


def _read_slice(path: Path, index: int) -> Array:
    """Read one axial slice of a volume (X, Y, Z) as (rows, columns) = (Y, X)."""
    volume = _read_volume(path)
    if volume.ndim != 3:
        raise ValueError(f"volume of shape {volume.shape}; three axes are needed")
    if index >= volume.shape[2]:
        raise ValueError(f"volume of {volume.shape[2]} slices; those to be sampled lie beyond")
    return volume[:, :, index].T


def _read_mask(path: Path, index: int) -> Array:
    return _read_slice(path, index) > 0


def _slices(scan: Scan, split: str, count: int) -> list[Record]:
    """List ``count`` slices of the middle half of a scan; one record for a scan at fault."""
    if scan.fault:
        return [broken(scan.name, scan.patient, split, scan.t2w, scan.fault)]
    seg = scan.volumes.get("seg")
    try:
        across, down, *_ = map(float, nifti(scan.t2w).header.get_zooms())
        pixel_mm = (down, across)
    except Exception:  # noqa: BLE001 - who reads the voxels says what is wrong with the file
        pixel_mm = None
    return [
        Record(
            image_id=f"{scan.name}_z{z:03d}",
            subject_id=scan.patient,
            split=split,
            path=scan.t2w,
            read=partial(_read_slice, scan.t2w, z),
            mask=partial(_read_mask, seg, z) if seg else None,
            mask_path=seg,
            pixel_mm=pixel_mm,
            volume=partial(_read_volume, scan.t2w),
            mask_volume=partial(_read_volume, seg) if seg else None,
        )
        for z in middle_half_slices(DEPTH, count).tolist()
    ]


def records(
    root: Path, *, brain_slices: int, split_by: str, test_fraction: float, seed: int
) -> list[Record]:
    """List ``brain_slices`` axial T2w slices of the middle half of each scan, at any depth.

    In BraTS-GLI-XXXXX-YYY XXXXX is the patient and YYY the time point. Patients are split by
    ``seed`` and keep all their scans on one side. Training uses every scan; a test patient gives
    the earliest one only, so that each weighs the same. With ``split_by`` "image" scans are split
    instead, all of them used, as the paper's code does: a patient's follow-up may then be on the
    other side. The mask is any label above 0. A scan that lacks a volume is listed all the same,
    and reading its record says so.
    """
    scans = find_scans(root)
    unit = {scan.name: scan.name if split_by == "image" else scan.patient for scan in scans}
    test = seeded_split([*unit.values()], test_fraction, seed)
    listed: list[Record] = []
    patients: set[str] = set()
    for scan in scans:
        split = "test" if unit[scan.name] in test else "train"
        if split == "train" or scan.patient not in patients or split_by == "image":
            listed += _slices(scan, split, brain_slices)
        patients.add(scan.patient)
    return listed


def _root_of(path: Path, root: Path) -> Path | None:
    match = SCAN.fullmatch(path.name)
    return root if match and match[4] == "t2w" else None


def _inventory(root: Path, slices: int) -> tuple[list[CheckRow], list[Record]]:
    scans, count = find_scans(root), CheckRow.count
    rows = [count("scans", len(scans), SCANS)]
    rows.append(count("patients", len({scan.patient for scan in scans})))
    for kind in KINDS:
        there = sum(kind in scan.volumes for scan in scans)
        note = "" if kind in ("t2w", "seg") else "not read here"
        rows.append(count(f"scans with {kind}", there, len(scans), note))
    return rows, [record for scan in scans for record in _slices(scan, "train", slices)]


ADAPTER = Adapter(
    name="brats",
    records=records,
    subject_word="patient",
    anatomy="brain",
    root_of=_root_of,
    part=r"/BraTS-GLI-\d{5}-\d{3}-\w+\.nii",
    lacks="BraTS, but no volume -t2w.nii.gz is there",
    inventory=_inventory,
    shape=(240, 240, DEPTH),
    labels=(0, 1, 2, 3),
)
