"""`latentsr verify-data`: what lies in a folder beside what its data set should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentsr.datasets import adapters, formats, pixels
from latentsr.datasets.adapters import Record
from latentsr.datasets.pixels import Array
from latentsr.datasets.sets import LAYOUTS

QUICK = 50  # images that are opened without --full, evenly spread
EXPECTED = {  # as the data sets' own pages give them
    "mrnet": {"exams in train": 1130, "exams in test": 120},
    "mimic_cxr": {"images in metadata": 377110},
}
SHAPES = {"mrnet": ("uint8", (None, 256, 256)), "brats": (None, (240, 240, 155))}


@dataclass(frozen=True)
class Finding:
    """One row of the report; ``expected`` is empty where nothing is known."""

    what: str
    found: str
    expected: str = ""
    good: bool = True


def records_of(layout: str, root: Path) -> list[Record]:
    """List a folder by its layout, one slice a volume."""
    if layout == "brats":
        scans = adapters.brats_scans(root).items()
        listed = [adapters.scan_slices(scan, *place, "train", 1) for scan, place in scans]
        return [record for records in listed for record in records]
    if layout == "folder":
        return adapters.folder(root, split_by="image", slices=1, test_fraction=0.2, seed=0)
    return {"mrnet": adapters.mrnet, "mimic_cxr": adapters.mimic_cxr}[layout](root)


def _counts(layout: str, root: Path, records: Sequence[Record]) -> Iterator[Finding]:
    expected = EXPECTED.get(layout, {})
    counts = {"images listed": len(records), "subjects": len({r.subject_id for r in records})}
    if layout == "mrnet":
        for split in ("train", "test"):
            counts[f"exams in {split}"] = sum(r.split == split for r in records)
    if layout == "brats":
        counts["with a segmentation"] = sum(r.mask is not None for r in records)
    if layout == "mimic_cxr":
        counts["images in metadata"] = adapters.mimic_rows(root)
    for what, count in counts.items():
        wanted = expected.get(what)
        told = "" if wanted is None else f"{wanted:,}"
        yield Finding(what, f"{count:,}", told, wanted in (None, count))


def _wrong(layout: str, record: Record, image: Array) -> str:
    """Say what is wrong with an image that could be read; "" where nothing is."""
    dtype, shape = SHAPES.get(layout, (None, ()))
    if shape:
        header = formats.opened(record.path, "npy" if layout == "mrnet" else "nifti")
        known = [(a, b) for a, b in zip(shape, header.shape, strict=True) if a is not None]
        if any(a != b for a, b in known):
            return f"shape {header.shape}; {shape} is expected"
    if dtype and str(image.dtype) != dtype:
        return f"pixels of type {image.dtype}; {dtype} is expected"
    if not np.isfinite(image).all():
        return f"{int((~np.isfinite(image)).sum())} pixels are not finite"
    if np.ptp(image) == 0:
        return f"all pixels are {image.flat[0]}"
    if record.mask and (mask := record.mask()).shape != image.shape:
        return f"mask of shape {mask.shape} for an image of shape {image.shape}"
    return ""


def _opened(
    layout: str, records: Sequence[Record], progress: Callable[[], object]
) -> Iterator[tuple[Record, str, tuple[int, ...]]]:
    """Read images and masks; yield each with what is wrong with it and its shape."""
    for record in records:
        progress()
        try:
            image = record.read()
            yield record, _wrong(layout, record, image), image.shape
        except Exception as error:  # noqa: BLE001 - every reader raises its own kinds
            yield record, formats.told(error), ()


def verify(
    layout: str, root: Path, *, full: bool = False, progress: Callable[[], object] = lambda: None
) -> tuple[list[Finding], list[str]]:
    """Compare a folder with what its layout should hold; return findings and problem lines.

    Parameters
    ----------
    layout : {"mrnet", "brats", "mimic_cxr", "folder"}
    root : Path
        As the layout wants it.
    full : bool
        Read every image; else `QUICK` of them, evenly spread.
    progress : callable
        Called after every image.

    Raises
    ------
    ValueError
        When the layout is unknown or the folder cannot be listed at all.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout: {layout!r}; allowed are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise ValueError(f"{root}: not a folder")
    records = records_of(layout, root)
    findings = list(_counts(layout, root, records))
    step = 1 if full else max(1, -(-len(records) // QUICK))
    looked = list(_opened(layout, records[::step], progress))
    problems = [f"{record.path}: {told}" for record, told, _ in looked if told]
    if sizes := [shape for *_, shape in looked if len(shape) == 2]:
        height, width = min(sizes, key=lambda shape: (min(shape), max(shape)))
        findings.append(Finding("smallest image, pixels", f"{height} x {width}"))
    good = f"{len(looked) - len(problems)} of {len(looked)}"
    findings.append(Finding("images that can be used", good, f"{len(looked)}", not problems))
    return findings, problems


def contact_sheet(
    layout: str, root: Path, *, count: int = 48, across: int = 8, side_px: int = 128
) -> Array:
    """Return one picture of ``count`` images, evenly spread over a folder, as the study sees them.

    Prepared as the study prepares them, at ``side_px``, with the layout's own settings; one that
    cannot be used is a grey square. ``(rows * side_px, across * side_px)`` uint8.
    """
    records = records_of(layout, root)
    places = np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int)
    anatomy, tiles = LAYOUTS[layout].anatomy, []
    for place in places:
        try:
            tile = pixels.prepare_pixels(records[place].read(), anatomy, side_px)
        except Exception:  # noqa: BLE001 - `verify` says what is wrong with it
            tile = np.full((side_px, side_px), 0.5, np.float32)
        tiles.append(tile)
    rows = -(-len(tiles) // across)
    tiles += [np.zeros_like(tiles[0])] * (rows * across - len(tiles))
    grid = np.stack(tiles).reshape(rows, across, side_px, side_px)
    whole = grid.transpose(0, 2, 1, 3).reshape(rows * side_px, across * side_px)
    return (255 * whole).round().astype(np.uint8)
