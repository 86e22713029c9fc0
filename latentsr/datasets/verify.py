"""`latentsr verify-data`: what lies in a folder beside what its data set should have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from latentsr.datasets import adapters, formats, nifti, pixels, scans, stacks
from latentsr.datasets.pixels import Array
from latentsr.datasets.recognition import recognise
from latentsr.datasets.records import Record
from latentsr.datasets.sets import LAYOUTS

QUICK = 50  # images that are opened without --full, evenly spread
EXPECTED = {  # as the data sets' own pages give them; of BraTS as book/access.md cites
    "mrnet": {"exams in train": 1130, "exams in test": 120},
    "brats": {"scans": 1251},
    "mimic_cxr": {"images in metadata": 377110},
}
SHAPES: dict[str, tuple[int | None, ...]] = {"mrnet": (None, 256, 256), "brats": (240, 240, 155)}
TYPES = {"mrnet": "uint8", "mimic_cxr": "uint8"}
LABELS = {0.0, 1.0, 2.0, 3.0}  # of a BraTS segmentation
NOT_READ = "not read here"


@dataclass(frozen=True)
class Finding:
    """One row of the report; ``expected`` is empty where nothing is known."""

    what: str
    found: str
    expected: str = ""
    good: bool = True
    note: str = ""


@dataclass
class Look:
    """What opening some files gave so far."""

    opened: int = 0
    good: int = 0
    problems: list[str] = field(default_factory=list)
    sizes: set[tuple[int, ...]] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    labels: set[float] = field(default_factory=set)


def _count(what: str, found: int, expected: int | None = None, note: str = "") -> Finding:
    told = "" if expected is None else f"{expected:,}"
    return Finding(what, f"{found:,}", told, bool(note) or expected in (None, found), note)


def _mrnet(root: Path) -> tuple[list[Finding], list[Record]]:
    records, expected = adapters.mrnet(root), EXPECTED["mrnet"]
    rows = []
    for split in ("train", "test"):
        what = f"exams in {split}"
        rows.append(_count(what, sum(r.split == split for r in records), expected.get(what)))
    rows.append(_count("sagittal series of them", sum(not r.fault for r in records), len(records)))
    strays = set(root.glob("*/sagittal/*.npy")) - {record.path for record in records}
    rows.append(_count("sagittal series in no table", len(strays), 0))
    for plane in ("axial", "coronal"):
        there = sum(1 for _ in root.glob(f"*/{plane}/*.npy"))
        rows.append(_count(f"{plane} series", there, len(records), NOT_READ))
    return rows, records


def _brats(root: Path, slices: int) -> tuple[list[Finding], list[Record]]:
    found = scans.find_scans(root)
    rows = [_count("scans", len(found), EXPECTED["brats"].get("scans"))]
    rows.append(_count("patients", len({scan.patient for scan in found})))
    for kind in scans.KINDS:
        there = sum(kind in scan.kinds for scan in found)
        note = "" if kind in ("t2w", "seg") else NOT_READ
        rows.append(_count(f"scans with {kind}", there, len(found), note))
    return rows, [record for scan in found for record in scans.scan_slices(scan, "train", slices)]


def _mimic(root: Path) -> tuple[list[Finding], list[Record]]:
    views = adapters.mimic_views(root)
    listed = list(adapters.mimic_listed(root))
    there = [record for record in listed if record.path.is_file()]
    total = sum(views.values())
    return [
        _count("images in metadata", total, EXPECTED["mimic_cxr"].get("images in metadata")),
        _count("of other views", total - len(listed), note=NOT_READ),
        _count("frontal images listed", len(listed)),
        _count("frontal images on disk", len(there), len(listed)),
        _count("patients of those on disk", len({record.subject_id for record in there})),
    ], there


def _passed_over(root: Path, records: list[Record]) -> Finding:
    """Count the files that are read as nothing, whether a manifest leaves them out or not."""
    used = {path for record in records for path in record.files} | {root / "manifest.csv"}
    left = [path for path in adapters.images_below(root) if path not in used]
    one = f" ({left[0].relative_to(root)} the first)" if left else ""
    return _count(f"other files{one}", len(left), note=NOT_READ)


def _inner(layout: str, root: Path) -> Path:
    """Return the folder that holds the tables: archives unpack into folders of their own."""
    tables = LAYOUTS[layout].tables if layout != "folder" else ""
    if tables and not any(root.glob(tables)):
        known, inner = recognise(root)
        return inner if known == layout else root
    return root


def listed(layout: str, folder: Path, slices: int = 1) -> tuple[list[Finding], list[Record]]:
    """Count what a folder lists beside what it should, and list its images; nothing is opened."""
    root = _inner(layout, folder)
    if layout == "mrnet":
        return _mrnet(root)
    if layout == "brats":
        return _brats(root, slices)
    if layout == "mimic_cxr":
        return _mimic(root)
    drawn = {"split_by": "image", "test_fraction": 0.2, "seed": 0}
    records = adapters.folder(root, slices=slices, **drawn)  # type: ignore[arg-type]
    return [
        _count("images and volumes", len({record.path for record in records})),
        _count("volumes of them", len({r.path for r in records if r.whole})),
        _passed_over(root, records),
        _count("subjects", len({record.subject_id for record in records})),
    ], records


def _shape(layout: str, record: Record) -> tuple[int, ...]:
    """Read the shape of a volume from its header."""
    if layout == "brats":
        return tuple(nifti.header(record.path).get_data_shape())
    return formats.opened(record.path, "npy").shape


def _wrong(image: Array) -> str:
    if image.dtype.kind not in "uif":
        return f"numbers of type {image.dtype}; integers or floats are needed"
    if not np.isfinite(image).all():
        return f"{int((~np.isfinite(image)).sum())} pixels are not finite"
    if np.ptp(image) == 0:
        return f"all pixels are {image.flat[0]}"
    return ""


def _image(layout: str, record: Record, full: bool, hr_px: int, look: Look) -> str:
    """Read an image, with ``full`` its whole volume; say what is wrong with it, "" for nothing."""
    image = record.read()
    whole = record.whole() if full and record.whole else image
    look.types.add(str(whole.dtype))
    if wanted := SHAPES.get(layout):
        shape = whole.shape if whole.ndim == 3 else _shape(layout, record)
        fits = [want in (None, have) for want, have in zip(wanted, shape, strict=False)]
        if len(shape) != len(wanted) or not all(fits):
            return f"shape {shape}; {wanted} is expected"
    if layout in TYPES and str(whole.dtype) != TYPES[layout]:
        return f"pixels of type {whole.dtype}; {TYPES[layout]} is expected"
    if told := _wrong(whole):
        return told
    pixels.prepare_pixels(image, LAYOUTS[layout].anatomy, hr_px)
    look.sizes.add(image.shape)
    return ""


def _mask(record: Record, full: bool, look: Look) -> str:
    """Read a mask, with ``full`` the whole segmentation; say what is wrong with it."""
    if not record.mask or not record.mask_path:
        return ""
    mask = nifti.stored(record.mask_path) if full else record.mask()
    shape = _shape("brats", record) if full else record.read().shape
    if mask.shape != shape:
        return f"mask of shape {mask.shape} for an image of shape {shape}"
    labels = {float(label) for label in np.unique(mask)} if full else set()
    look.labels |= labels
    if strange := sorted(labels - LABELS):
        return f"label {strange[0]:g}; 0 to 3 are expected"
    return ""


def _open(layout: str, record: Record, full: bool, hr_px: int, look: Look) -> None:
    before = len(look.problems)
    checks: list[tuple[Path, Callable[[], str]]] = [
        (record.path, lambda: _image(layout, record, full, hr_px, look))
    ]
    if record.mask_path:
        checks.append((record.mask_path, lambda: _mask(record, full, look)))
    for path, check in checks:
        try:
            told = check()
        except Exception as error:  # noqa: BLE001 - every reader raises its own kinds
            told = stacks.told(error)
        if told:
            look.problems.append(f"{path}: {told}")
    look.opened += 1
    look.good += len(look.problems) == before


def verify(
    layout: str,
    root: Path,
    *,
    full: bool = False,
    hr_px: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[list[Finding], list[str]]:
    """Compare a folder with what its layout should hold; return findings and problem lines.

    Parameters
    ----------
    layout : {"mrnet", "brats", "mimic_cxr", "folder"}
    root : Path
        As the layout wants it.
    full : bool
        Open every image that the study may read, volumes and segmentations as a whole; else
        `QUICK` of them, evenly spread, and of a volume the middle slice.
    hr_px : int
        Side of the study's images: smaller ones are a problem.
    progress : callable
        Called after every image with how many were opened, and how many will be.

    Raises
    ------
    ValueError
        When the layout is unknown or the folder cannot be listed at all.
    KeyboardInterrupt
        When it is interrupted, with a line that says what was found until then.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: {layout!r}; allowed are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise ValueError(f"{root}: not a folder")
    findings, records = listed(layout, root)
    faults = [f"{record.path}: {record.fault}" for record in records if record.fault]
    look = Look(opened=len(faults), problems=[*faults])
    sound = [record for record in records if not record.fault]
    chosen = sound if full else sound[:: max(1, -(-len(sound) // QUICK))]
    try:
        for done, record in enumerate(chosen, start=1):
            _open(layout, record, full, hr_px, look)
            progress(done, len(chosen))
    except KeyboardInterrupt:
        total, count = len(faults) + len(chosen), len(look.problems)
        told = f"stopped after {look.opened} of {total} images: {look.good} can be used"
        told += f", {count} problems" * (count > 0)
        first = f", the first: {look.problems[0]}" if look.problems else ""
        raise KeyboardInterrupt(told + first) from None
    return [*findings, *_clashes(layout, records), *_seen(layout, look)], look.problems


def _clashes(layout: str, records: list[Record]) -> Iterable[Finding]:
    """Count what no set may have: an image twice, a subject in two splits of the set's own."""
    yield _count("images listed twice", len(records) - len({r.image_id for r in records}), 0)
    if layout in ("mrnet", "mimic_cxr"):
        pairs = {(record.subject_id, record.split) for record in records}
        both = len(pairs) - len({subject for subject, _ in pairs})
        yield _count(f"{LAYOUTS[layout].subject_word}s in two splits", both, 0)


def _seen(layout: str, look: Look) -> Iterable[Finding]:
    """Say what the opened files hold."""
    if look.types:
        wanted = TYPES.get(layout, "")
        good = not wanted or look.types == {wanted}
        yield Finding("pixel types as read", ", ".join(sorted(look.types)), wanted, good)
    if look.labels:
        good = look.labels <= LABELS
        yield Finding(
            "labels", ", ".join(f"{label:g}" for label in sorted(look.labels)), "0 to 3", good
        )
    if look.sizes:
        height, width = min(look.sizes, key=lambda shape: (min(shape), max(shape)))
        yield Finding("smallest image, pixels", f"{height} x {width}")
    good = look.good == look.opened
    yield Finding("of those looked at, can be used", f"{look.good:,}", f"{look.opened:,}", good)
