"""Files of any kind, opened by what is in them: pictures, arrays, NIfTI volumes, DICOM series."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentsr.datasets import pixels
from latentsr.datasets.pixels import Array

SUFFIXES = {  # a file that is called so must be one, whatever is in it
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".npz", ".nii", ".dcm", ".dicom"),
}
MAGIC = (
    (b"\x89PNG", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
)
NIFTI_HEADERS = (348, 540)  # bytes, of versions 1 and 2
PERCENTILES = (0.5, 99.5)
INTENSITIES = ("auto", "range", "minmax", "percentile", "window")


def kind(path: Path) -> str | None:
    """Tell a file by its first bytes: picture, npy, npz, nifti, dicom, or None.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = (file.write(b"\\x93NUMPY"), file.flush())
    ...     kind(Path(file.name))
    'npy'
    """
    with path.open("rb") as file:
        head = file.read(352)
    if head[128:132] == b"DICM":
        return "dicom"
    for magic, found in MAGIC:
        if head.startswith(magic):
            return found
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as file:
                head = file.read(4)
        except (OSError, EOFError, zlib.error):
            return "nifti"  # nothing else here is packed so; reading it will say what is wrong
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    if sizes & set(NIFTI_HEADERS):
        return "nifti"
    return "dicom" if path.suffix.lower() in (".dcm", ".dicom") and len(head) > 132 else None


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
        if low > high:  # less than one slice: the middle one
            low = high = (depth - 1) // 2
        places = np.linspace(low, high, count).round().astype(int)
        return [(along, int(index)) for index in np.unique(places)]

    def spacing(self, place: tuple[int, int] | None) -> tuple[float, ...] | None:
        """Return the pixel size (rows, columns) in mm of a slice."""
        if self.pixel_mm is None or place is None:
            return self.pixel_mm
        rest = tuple(mm for axis, mm in enumerate(self.pixel_mm) if axis != place[0])
        return rest[::-1] if self.kind == "nifti" else rest

    def read(self, place: tuple[int, int] | None, intensity: str) -> Array:
        """Read a slice upright: integers as they are ("range"), or floats scaled to [0, 1]."""
        whole = _whole(self.kind, self.paths, intensity == "window", _modified(self.paths))
        image = whole if place is None else np.take(whole, place[1], axis=place[0])
        if place is not None and self.kind == "nifti":
            image = image[::-1, ::-1].T  # head or front first, the patient's right on the left
        if intensity == "window" and self.kind != "dicom":
            raise ValueError("intensity: 'window' is for DICOM files; use percentile or minmax")
        if intensity == "auto":
            plain = self.kind in ("picture", "npy", "npz")
            known = self.kind == "picture" or whole.dtype in (np.uint8, np.uint16)
            intensity = "percentile"
            if plain and (known or _in_unit_range(whole)):
                intensity = "range"
        if intensity in ("range", "window"):
            return image
        if intensity == "minmax":
            low, high = float(np.nanmin(image)), float(np.nanmax(image))
        else:
            low, high = _limits(self.kind, self.paths, _modified(self.paths))
        if not high > low:
            raise ValueError(f"all pixels are {low:g}; an image with something in it is needed")
        return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)


def _modified(paths: Sequence[Path]) -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns for path in paths)


def _in_unit_range(array: Array) -> bool:
    return (
        np.issubdtype(array.dtype, np.floating) and 0 <= np.nanmin(array) <= np.nanmax(array) <= 1
    )


@lru_cache(maxsize=2)  # the slices of a volume are read one after another
def _whole(
    kind: str, paths: tuple[Path, ...], window: bool, _modified_ns: tuple[int, ...]
) -> Array:
    if kind == "picture":
        return _picture(paths[0])
    if kind == "npy":
        return np.load(paths[0], allow_pickle=False)
    if kind == "npz":
        with np.load(paths[0], allow_pickle=False) as archive:
            return archive[archive.files[0]]
    if kind == "nifti":
        return np.asarray(_canonical(paths[0]).dataobj)
    slices = []
    for path in paths:
        try:
            slices.append(_dicom_pixels(path, window))
        except Exception as error:  # noqa: BLE001 - pydicom and its decoders raise many kinds
            raise ValueError(f"{path.name}: {told(error)}") from None
    return slices[0] if len(slices) == 1 else np.stack(slices)


@lru_cache(maxsize=4)
def _limits(kind: str, paths: tuple[Path, ...], modified: tuple[int, ...]) -> tuple[float, float]:
    low, high = np.nanpercentile(_whole(kind, paths, False, modified), PERCENTILES)
    return float(low), float(high)


def _canonical(path: Path) -> Any:
    """Open a NIfTI file with its axes turned: x to the right, y to the front, z to the head."""
    import nibabel

    return nibabel.as_closest_canonical(nibabel.load(path))


def _picture(path: Path) -> Array:
    with Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames == 1:
            return pixels.grey(image)
        pages = []
        for frame in range(frames):
            image.seek(frame)
            pages.append(pixels.grey(image))
    if len({page.shape for page in pages}) > 1:
        raise ValueError(f"{frames} pages of different sizes; one size is needed")
    return np.stack(pages)


def _dicom() -> Any:
    try:
        import pydicom.pixels
    except ImportError:
        raise ValueError("DICOM files need `pip install 'latentsr[dicom]'`") from None
    return pydicom


def _dicom_pixels(path: Path, window: bool) -> Array:
    """Read pixels after slope, intercept and, if asked, window; MONOCHROME1 turned round."""
    data = _dicom().dcmread(path, force=True)
    apply = _dicom().pixels
    if data.get("SamplesPerPixel", 1) != 1:
        raise ValueError(f"{data.get('PhotometricInterpretation')} pixels; grey is needed")
    values = np.asarray(apply.apply_modality_lut(data.pixel_array, data), np.float64)
    if window:
        if "WindowWidth" not in data:
            raise ValueError("intensity: 'window', but it has no WindowWidth; use percentile")
        values = apply.apply_voi_lut(values, data)
        low, high = float(values.min()), float(values.max())
        values = (values - low) / max(high - low, 1e-12)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() + values.min() - values
    return values


def _dicom_header(path: Path) -> tuple[str, str, tuple[float, ...], tuple[int, ...], Any]:
    """Return series, subject, place in the series, shape and pixel size of one DICOM file."""
    data = _dicom().dcmread(path, stop_before_pixels=True, force=True)
    if "Rows" not in data:
        raise ValueError("a DICOM file without an image; remove it")
    where, turned = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    along = 0.0
    if where is not None and turned is not None:
        normal = np.cross(*np.array(turned, float).reshape(2, 3))
        along = float(normal @ np.array(where, float))
    place = (along, float(data.get("InstanceNumber") or 0))
    frames = int(data.get("NumberOfFrames") or 1)
    shape = (frames,) * (frames > 1) + (int(data.Rows), int(data.Columns))
    spacing = data.get("PixelSpacing")
    sizes = tuple(float(mm) for mm in spacing) if spacing else None
    return (
        str(data.get("SeriesInstanceUID", "")),
        str(data.get("PatientID", "")),
        place,
        shape,
        sizes,
    )


def opened(path: Path, found: str) -> Stack:
    """Read what a file's header says; pixels stay where they are.

    Raises
    ------
    ValueError, OSError
        Whatever is wrong with it, without its name.
    """
    if found == "picture":
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            return Stack(found, (path,), (frames,) * (frames > 1) + picture.size[::-1])
    if found == "npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return _checked(Stack(found, (path,), array.shape))
    if found == "npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("a damaged zip archive; replace or remove it")
        with np.load(path, allow_pickle=False) as archive:
            if len(archive.files) != 1:
                names = ", ".join(archive.files) or "none"
                raise ValueError(f"{len(archive.files)} arrays in it ({names}); one is needed")
            return _checked(Stack(found, (path,), archive[archive.files[0]].shape))
    image = _canonical(path)
    mm = tuple(float(value) for value in image.header.get_zooms()[:3])
    return _checked(Stack(found, (path,), image.shape, mm))


def _checked(stack: Stack) -> Stack:
    if len(stack.shape) not in (2, 3) or 0 in stack.shape:
        raise ValueError(f"array of shape {stack.shape}; two or three axes, none empty, are needed")
    return stack


def _series(paths: Iterable[Path], problems: dict[Path, str]) -> Iterator[Stack]:
    """Gather DICOM files into their series, each in the order of its slices."""
    groups: dict[tuple[Path, str], list[tuple[tuple[float, ...], Path]]] = {}
    facts: dict[tuple[Path, str], tuple[str, tuple[int, ...], Any]] = {}
    for path in paths:
        try:
            uid, subject, place, shape, sizes = _dicom_header(path)
        except Exception as error:  # noqa: BLE001 - pydicom raises many kinds
            problems[path] = told(error)
            continue
        key = (path.parent, uid or path.name)
        if facts.setdefault(key, (subject, shape, sizes))[1] != shape:
            problems[path] = f"slice of shape {shape} in a series of {facts[key][1]}"
            continue
        groups.setdefault(key, []).append((place, path))
    for key, members in groups.items():
        subject, shape, sizes = facts[key]
        ordered = tuple(path for _, path in sorted(members))
        alone = len(ordered) == 1
        mm = sizes if sizes is None or alone else (float("nan"), *sizes)
        yield Stack("dicom", ordered, shape if alone else (len(ordered), *shape), mm, subject)


def told(error: Exception) -> str:
    """Say in one line what is wrong with a file."""
    found = (str(error).strip().splitlines() or ["no message"])[0]
    if isinstance(error, ValueError):
        return found
    return f"cannot be read ({type(error).__name__}: {found}); replace or remove it"


def find(paths: Iterable[Path]) -> tuple[list[Stack], dict[Path, str]]:
    """Open the headers of files; return pictures and volumes, and what is wrong with the rest.

    A file of no known kind is passed over, unless its name claims one.
    """
    stacks, problems, dicom = [], {}, []
    for path in paths:
        try:
            found = kind(path)
            if found == "dicom":
                dicom.append(path)
            elif found:
                stacks.append(opened(path, found))
            elif path.suffix.lower() in SUFFIXES or path.name.lower().endswith(".nii.gz"):
                problems[path] = (
                    "cannot be read (no kind of image that is known); replace or remove it"
                )
        except Exception as error:  # noqa: BLE001 - Pillow, NumPy, nibabel: each has its own
            problems[path] = told(error)
    return [*stacks, *_series(dicom, problems)], problems
