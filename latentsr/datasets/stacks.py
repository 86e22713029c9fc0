"""Pictures and volumes as files hold them: which slices are taken, how grey values are scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from latentsr.datasets import dicom, nifti, pixels
from latentsr.datasets.pixels import Array

PERCENTILES = (0.5, 99.5)
INTENSITIES = ("auto", "range", "minmax", "percentile", "window")


@dataclass(frozen=True)
class Stack:
    """A picture or a volume: one file, or the files of a DICOM series in their order."""

    kind: str
    paths: tuple[Path, ...]
    shape: tuple[int, ...]  # (H, W), or three axes
    pixel_mm: tuple[float, ...] | None = None  # of each axis, where the file says
    subject: str = ""  # where the file says

    def chosen(self, axis: str, fraction: float, count: int) -> list[tuple[int, int] | None]:
        """Return (axis, index) of ``count`` even slices of the middle ``fraction``; None: 2-D."""
        if len(self.shape) == 2:
            return [None]
        along = int(axis) if axis != "auto" else 2 if self.kind == "nifti" else 0
        depth = self.shape[along]
        edge = depth * (1 - fraction) / 2
        low, high = math.ceil(edge), math.floor(depth - edge - 1)
        if low > high or count == 1:  # the middle one
            low = high = (depth - 1) // 2
        places = np.linspace(low, high, count).round().astype(int)
        return [(along, int(index)) for index in np.unique(places)]

    def spacing(self, place: tuple[int, int] | None) -> tuple[float, ...] | None:
        """Return the pixel size (rows, columns) in mm of a slice."""
        if self.pixel_mm is None:
            return None
        rest = tuple(
            mm for axis, mm in enumerate(self.pixel_mm) if place is None or axis != place[0]
        )
        return rest[::-1] if self.kind == "nifti" else rest

    def whole(self) -> Array:
        """Read all of it, before any scaling."""
        return _whole(self.kind, self.paths, False, _modified(self.paths))

    def read(self, place: tuple[int, int] | None, intensity: str) -> Array:
        """Read a slice upright: integers as they are ("range"), or floats scaled to [0, 1].

        "auto" is "percentile" for NIfTI, DICOM and arrays, and "range" for pictures and arrays of
        unsigned 8 or 16 bit.
        """
        if intensity == "window" and self.kind != "dicom":
            raise ValueError("intensity: 'window' is for DICOM files; use percentile or minmax")
        if intensity == "range" and self.kind == "dicom":
            raise ValueError("intensity: 'range' is not for DICOM files; use percentile or window")
        window = intensity == "window"
        whole = _whole(self.kind, self.paths, window, _modified(self.paths))
        image = whole if place is None else np.take(whole, place[1], axis=place[0])
        if self.kind == "nifti":
            image = image[::-1, ::-1].T  # head or front first, the patient's right on the left
        if intensity == "auto":
            unsigned = whole.dtype.kind == "u" and whole.dtype.itemsize <= 2
            counts = self.kind in ("npy", "npz") and unsigned
            intensity = "range" if self.kind == "picture" or counts else "percentile"
        if intensity in ("range", "window"):
            return image
        if not np.isfinite(image).all():
            raise ValueError(f"{int((~np.isfinite(image)).sum())} pixels are not finite (nan, inf)")
        if intensity == "minmax":
            low, high = float(image.min()), float(image.max())
        else:
            low, high = _limits(self.kind, self.paths, _modified(self.paths))
        if not high > low:
            raise ValueError(
                f"{intensity}: both limits are {low:g}, so nothing is left to scale by; "
                "use another intensity rule, or leave it out"
            )
        return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)


def _modified(paths: Sequence[Path]) -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns for path in paths)


@lru_cache(maxsize=2)  # the slices of a volume are read one after another
def _whole(
    kind: str, paths: tuple[Path, ...], window: bool, _modified_ns: tuple[int, ...]
) -> Array:
    if kind == "picture":
        return _picture(paths[0])
    if kind == "npy":
        return _native(np.load(paths[0], allow_pickle=False))
    if kind == "npz":
        with np.load(paths[0], allow_pickle=False) as archive:
            return _native(archive[archive.files[0]])
    if kind == "nifti":
        return nifti.canonical(paths[0])
    slices = []
    for path in paths:
        try:
            slices.append(dicom.pixels_of(path, window))
        except Exception as error:  # noqa: BLE001 - pydicom and its decoders raise many kinds
            where = f"{path.name}: " if len(paths) > 1 else ""
            raise ValueError(f"{where}{told(error)}") from None
    return slices[0] if len(slices) == 1 else np.stack(slices)


def _native(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


@lru_cache(maxsize=4)
def _limits(kind: str, paths: tuple[Path, ...], modified: tuple[int, ...]) -> tuple[float, float]:
    whole = _whole(kind, paths, False, modified)
    low, high = np.percentile(whole[np.isfinite(whole)], PERCENTILES)
    return float(low), float(high)


def _picture(path: Path) -> Array:
    with Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames == 1:
            return pixels.grey(image)
        pages = []
        for frame in range(frames):
            image.seek(frame)
            pages.append(pixels.grey(image))
    kinds = {(page.shape, str(page.dtype)) for page in pages}
    if len(kinds) > 1:
        raise ValueError(f"{frames} pages of different sizes or types; all must be alike")
    return np.stack(pages)


def told(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    found = (str(error).strip().splitlines() or ["no message"])[0]
    if type(error) is ValueError and "mmap" not in found:
        return found
    return f"cannot be read ({type(error).__name__}: {found})"
