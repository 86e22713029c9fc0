"""Files of any kind, opened by what is in them: pictures, arrays, NIfTI volumes, DICOM series."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentsr.datasets import dicom, nifti
from latentsr.datasets.stacks import Stack, told

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
