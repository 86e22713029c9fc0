"""Files of any kind, opened by their content; volumes, their slices and their scaling to [0, 1]."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageSequence

from latentsr.datasets import dicom, pixels
from latentsr.datasets.pixels import Array, one_line

PERCENTILES = (0.5, 99.5)
# a file that is called so must be an image, whatever is in it
SUFFIXES = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".npz", ".dcm")
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NIFTI_SIZES = {348: "Nifti1Image", 540: "Nifti2Image"}  # bytes of the header


def stem(name: str) -> str:
    """Return a file's name without the ending of an image; other dots are part of the name.

    >>> stem("a/scan.v2.nii.gz"), stem("1.2.840.1")
    ('a/scan.v2', '1.2.840.1')
    """
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)]


def _unpacked(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path) if packed else path.open("rb"))


def _nifti_class(head: bytes) -> str | None:
    little, big = (int.from_bytes(head[:4], order) for order in ("little", "big"))
    return NIFTI_SIZES.get(little) or NIFTI_SIZES.get(big)


def nifti(path: Path) -> Any:
    """Open a NIfTI image, packed or not, whatever its name; its voxels are not read yet."""
    import nibabel

    file = _unpacked(path)
    head = file.read(348)
    if not (kind := _nifti_class(head)):
        raise ValueError("no NIfTI header; replace or remove it")
    if b"ni1\0" in head[344:] or b"ni2\0" in head[4:8]:
        raise ValueError("a header whose voxels lie in another file (.img); convert it to .nii")
    file.seek(0)
    return getattr(nibabel, kind).from_stream(file)


def kind(path: Path) -> str | None:
    """Tell a file by its first bytes: picture, npy, npz, nifti, dicom, or None."""
    with path.open("rb") as file:
        head = file.read(540)
    if head.startswith(PICTURES):
        return "picture"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK\x03\x04"):
        names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else [""]
        arrays = all(name.endswith(".npy") for name in names)
        return "npz" if arrays or path.suffix.lower() == ".npz" else None
    if head.startswith(b"\x1f\x8b"):
        try:
            with _unpacked(path) as unpacked:
                head = unpacked.read(4)
        except (OSError, EOFError, zlib.error):
            return "nifti" if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if _nifti_class(head):
        return "nifti"
    bare = head.startswith((b"\x08\x00\x05\x00", b"\x08\x00\x00\x00"))  # without preamble
    named = path.suffix.lower() == ".dcm" and len(head) > 132
    return "dicom" if head[128:132] == b"DICM" or bare or named else None


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
        rest = [mm for axis, mm in enumerate(self.pixel_mm) if not place or axis != place[0]]
        return tuple(rest[::-1] if self.kind == "nifti" else rest)

    def volume(self, window: bool = False) -> Array:
        """Read all of it, before any scaling; NIfTI turned to x right, y front, z head."""
        return _volume(self, window, self._modified_ns())

    def read(self, place: tuple[int, int] | None, intensity: str) -> Array:
        """Read a slice upright: integers as they are ("range"), or floats scaled to [0, 1].

        "auto" is "percentile" for NIfTI, DICOM and arrays, and "range" for pictures and arrays of
        unsigned 8 or 16 bit.
        """
        if intensity == "window" and self.kind != "dicom":
            raise ValueError("intensity: 'window' is for DICOM files; use percentile or minmax")
        if intensity == "range" and self.kind == "dicom":
            raise ValueError("intensity: 'range' is not for DICOM files; use percentile or window")
        volume = self.volume(intensity == "window")
        image = volume if place is None else np.take(volume, place[1], axis=place[0])
        if self.kind == "nifti":
            image = image[::-1, ::-1].T  # head or front first, the patient's right on the left
        if intensity == "auto":
            unsigned = volume.dtype.kind == "u" and volume.dtype.itemsize <= 2
            counts = self.kind in ("npy", "npz") and unsigned
            intensity = "range" if self.kind == "picture" or counts else "percentile"
        if intensity in ("range", "window"):
            return image
        pixels.check_finite(image)
        if intensity == "minmax":
            low, high = float(image.min()), float(image.max())
        else:
            low, high = _percentiles(self, self._modified_ns())
        if not high > low:
            mend = "use another intensity rule, or leave it out"
            raise ValueError(f"{intensity}: both limits are {low:g}, nothing to scale by; {mend}")
        return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)

    def _modified_ns(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self.paths)


@lru_cache(maxsize=2)  # the slices of a volume are read one after another
def _volume(stack: Stack, window: bool, _modified_ns: tuple[int, ...]) -> Array:
    path = stack.paths[0]
    if stack.kind == "picture":
        return _pages(path)
    if stack.kind in ("npy", "npz"):
        array = _array(path, stack.kind)
        return np.array(array, array.dtype.newbyteorder("="))  # in memory, whatever its byte order
    if stack.kind == "nifti":
        import nibabel

        return np.asarray(nibabel.as_closest_canonical(nifti(path)).dataobj).reshape(stack.shape)
    slices = []
    for path in stack.paths:
        try:
            slices.append(dicom.grey_values(path, window))
        except Exception as error:  # noqa: BLE001 - pydicom and its decoders raise many kinds
            where = f"{path.name}: " if len(stack.paths) > 1 else ""
            raise ValueError(f"{where}{one_line(error)}") from None
    return slices[0] if len(slices) == 1 else np.stack(slices)


@lru_cache(maxsize=4)
def _percentiles(stack: Stack, _modified_ns: tuple[int, ...]) -> tuple[float, float]:
    volume = stack.volume()
    low, high = np.percentile(volume[np.isfinite(volume)], PERCENTILES)
    return float(low), float(high)


def _pages(path: Path) -> Array:
    with Image.open(path) as image:
        pages = [pixels.grey(page) for page in ImageSequence.Iterator(image)]
    if len({(page.shape, str(page.dtype)) for page in pages}) > 1:
        raise ValueError(f"{len(pages)} pages of different sizes or types; all must be alike")
    return pages[0] if len(pages) == 1 else np.stack(pages)


def _array(path: Path, kind: str) -> Array:
    if kind == "npy":
        return cast(Array, np.load(path, mmap_mode="r", allow_pickle=False))
    if not zipfile.is_zipfile(path):
        raise ValueError("a damaged zip archive; replace or remove it")
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            names = ", ".join(archive.files) or "none"
            raise ValueError(f"{len(archive.files)} arrays in it ({names}); one is needed")
        return cast(Array, archive[archive.files[0]])


def opened(path: Path, kind: str) -> Stack:
    """Read what the header of a picture, an array or a NIfTI file says; voxels stay where they are."""
    if kind == "picture":
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            return Stack(kind, (path,), (frames,) * (frames > 1) + picture.size[::-1])
    if kind == "nifti":
        import nibabel

        image = nifti(path)
        shape, dtype = [int(length) for length in image.shape], image.get_data_dtype()
        while len(shape) > 2 and shape[-1] == 1:  # files of one time point or one slice
            shape.pop()
        order = [*range(len(shape))]
        if len(shape) == 3:
            order = np.argsort(nibabel.io_orientation(image.affine)[:, 0]).tolist()
        mm = tuple(float(image.header.get_zooms()[axis]) for axis in order)
        stack = Stack(kind, (path,), tuple(shape[axis] for axis in order), mm)
    else:
        array = _array(path, kind)
        stack, dtype = Stack(kind, (path,), array.shape), array.dtype
    if len(stack.shape) not in (2, 3) or 0 in stack.shape:
        raise ValueError(f"array of shape {stack.shape}; two or three axes, none empty, are needed")
    pixels.check_numbers(dtype)
    return stack


def find(
    paths: Iterable[Path],
    *,
    named: bool = False,
    key_of: Callable[[Path], Hashable] = lambda path: None,
) -> tuple[list[Stack], dict[Path, str]]:
    """Open the headers of files; return pictures and volumes, and what is wrong with the rest.

    A file of no known kind is passed over, unless its own name claims one, or ``named`` says that
    somebody listed it. DICOM files of one series are gathered where ``key_of`` agrees too.
    """
    stacks: list[Stack] = []
    problems: dict[Path, str] = {}
    slices: list[Path] = []
    for path in paths:
        try:
            its_kind = kind(path)
            if its_kind == "dicom":
                slices.append(path)
            elif its_kind:
                stacks.append(opened(path, its_kind))
            elif named or path.name.lower().endswith(SUFFIXES):
                problems[path] = "cannot be read (no kind of image that is known); remove it"
        except Exception as error:  # noqa: BLE001 - Pillow, NumPy, nibabel: each has its own
            problems[path] = one_line(error)
    if slices:
        dicom.library()  # one line where it is missing, not one a file
        whole, bad = dicom.series(slices, key_of)
        problems |= bad
        for group in whole:
            shape, mm = group[0].shape, group[0].pixel_mm
            if len(group) > 1:
                shape, mm = (len(group), *shape), mm and (math.nan, *mm)
            files = tuple(one.path for one in group)
            stacks.append(Stack("dicom", files, shape, mm, group[0].patient))
    return stacks, problems
