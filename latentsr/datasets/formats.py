"""Files of any kind, opened by what is in them: pictures, arrays, NIfTI volumes, DICOM series."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentsr.datasets import dicom, nifti, pixels
from latentsr.datasets.pixels import Array

# a file that is called so must be an image, whatever is in it
SUFFIXES = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".npz", ".dcm")
MAGIC = (
    (b"\x89PNG", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"II+\0", "picture"),
    (b"MM\0+", "picture"),
    (b"\x93NUMPY", "npy"),
)
PERCENTILES = (0.5, 99.5)
INTENSITIES = ("auto", "range", "minmax", "percentile", "window")


def stem(name: str) -> str:
    """Return a file's name without the ending of an image; other dots are part of the name.

    >>> stem("a/scan.v2.nii.gz"), stem("1.2.840.1")
    ('a/scan.v2', '1.2.840.1')
    """
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)]


def kind(path: Path) -> str | None:
    """Tell a file by its first bytes: picture, npy, npz, nifti, dicom, or None.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = (file.write(b"\\x93NUMPY"), file.flush())
    ...     kind(Path(file.name))
    'npy'
    """
    with path.open("rb") as file:
        head = file.read(540)
    for magic, found in MAGIC:
        if head.startswith(magic):
            return found
    if head.startswith(b"PK\x03\x04"):
        return "npz" if path.suffix.lower() == ".npz" or _holds_arrays(path) else None
    if head.startswith(b"\x1f\x8b"):
        try:
            head = nifti.unpacked(path, 4)
        except (OSError, EOFError, zlib.error):
            return "nifti" if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if nifti.header_size(head):
        return "nifti"
    bare = head[:4] == b"\x08\x00\x05\x00" or head[:4] == b"\x08\x00\x00\x00"  # without preamble
    named = path.suffix.lower() == ".dcm" and len(head) > 132
    return "dicom" if head[128:132] == b"DICM" or bare or named else None


def _holds_arrays(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


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


def _series(
    paths: Iterable[Path], key_of: Callable[[Path], Hashable], problems: dict[Path, str]
) -> Iterator[Stack]:
    """Gather DICOM files into their series, each in the order of its slices.

    A series is what shares patient, series UID and ``key_of``; without a UID what lies in one
    folder. Projections (CR, DX, MG) and files of several frames stand for themselves.
    """
    groups: dict[Hashable, list[dicom.Slice]] = {}
    for path in paths:
        try:
            found = dicom.header(path)
        except Exception as error:  # noqa: BLE001 - pydicom raises many kinds
            problems[path] = told(error)
            continue
        if found is None:
            continue
        alone = path if found.alone else None
        key = (found.patient, found.uid or path.parent, key_of(path), alone)
        groups.setdefault(key, []).append(found)
    for members in groups.values():
        ordered = sorted(members, key=lambda one: (one.place or 0, one.number, one.path))
        first = ordered[0]
        places = [one.place for one in ordered if one.place is not None]
        odd = [one for one in ordered if one.shape != first.shape]
        if odd:
            problems[odd[0].path] = f"slice of shape {odd[0].shape} in a series of {first.shape}"
            continue
        if len(set(places)) < len(places):
            problems[first.path] = (
                f"a series of {len(ordered)} slices at {len(set(places))} positions (echoes, "
                "phases?); name the files that are meant in a manifest.csv"
            )
            continue
        files = tuple(one.path for one in ordered)
        if len(files) == 1:
            yield Stack("dicom", files, first.shape, first.pixel_mm, first.patient)
        else:
            mm = first.pixel_mm and (math.nan, *first.pixel_mm)
            yield Stack("dicom", files, (len(files), *first.shape), mm, first.patient)


def opened(path: Path, found: str) -> Stack:
    """Read what the header of a picture, an array or a NIfTI file says; voxels stay where they are.

    Raises
    ------
    ValueError, OSError
        Whatever is wrong with it, without its name.
    """
    if found == "picture":
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            return Stack(found, (path,), (frames,) * (frames > 1) + picture.size[::-1])
    if found == "nifti":
        import nibabel

        header = nifti.header(path)
        shape = nifti.without_ones(header.get_data_shape())
        axes = nibabel.io_orientation(header.get_best_affine())[:, 0].astype(int)
        zooms = [float(value) for value in header.get_zooms()]
        turned = [int(np.flatnonzero(axes == axis)[0]) for axis in range(3)][: len(shape)]
        return _checked(
            Stack(
                found,
                (path,),
                tuple(shape[axis] for axis in turned) if len(shape) == 3 else shape,
                tuple(zooms[axis] for axis in turned) if len(shape) == 3 else tuple(zooms[:2]),
            ),
            header.get_data_dtype(),
        )
    if found == "npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return _checked(Stack(found, (path,), array.shape), array.dtype)
    if not zipfile.is_zipfile(path):
        raise ValueError("a damaged zip archive; replace or remove it")
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            names = ", ".join(archive.files) or "none"
            raise ValueError(f"{len(archive.files)} arrays in it ({names}); one is needed")
        array = archive[archive.files[0]]
        return _checked(Stack(found, (path,), array.shape), array.dtype)


def _checked(stack: Stack, dtype: np.dtype[Any]) -> Stack:
    if len(stack.shape) not in (2, 3) or 0 in stack.shape:
        raise ValueError(f"array of shape {stack.shape}; two or three axes, none empty, are needed")
    if dtype.kind not in "uif":
        raise ValueError(f"numbers of type {dtype}; integers or floats are needed")
    return stack


def told(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    found = (str(error).strip().splitlines() or ["no message"])[0]
    if type(error) is ValueError and "mmap" not in found:
        return found
    return f"cannot be read ({type(error).__name__}: {found})"


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
    series: list[Path] = []
    for path in paths:
        try:
            found = kind(path)
            if found == "dicom":
                series.append(path)
            elif found:
                stacks.append(opened(path, found))
            elif named or path.name.lower().endswith(SUFFIXES):
                problems[path] = "cannot be read (no kind of image that is known); remove it"
        except Exception as error:  # noqa: BLE001 - Pillow, NumPy, nibabel: each has its own
            problems[path] = told(error)
    if series:
        dicom.library()  # one line where it is missing, not one a file
    return [*stacks, *_series(series, key_of, problems)], problems
