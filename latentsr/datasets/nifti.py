"""One NIfTI file, told by its header and not by its name."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np

from latentsr.datasets.pixels import Array

NIFTI_HEADERS = {348: "Nifti1", 540: "Nifti2"}  # bytes


def unpacked(path: Path, size: int = -1) -> bytes:
    """Read a file, or the first bytes of it, unpacked where it is packed."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opened = gzip.open(path) if packed else path.open("rb")
    with opened as file:
        return bytes(file.read(size))


def header_size(head: bytes) -> int | None:
    """Return the size that the first bytes of a NIfTI header state, None where there is none."""
    sizes = (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    return next((size for size in sizes if size in NIFTI_HEADERS), None)


def header(path: Path) -> Any:
    """Read a NIfTI header; which kind it is is told by its size, not by the file's name."""
    import nibabel

    head = unpacked(path, 1024)
    size = header_size(head)
    if size is None:
        raise ValueError("no NIfTI header; replace or remove it")
    found = getattr(nibabel, f"{NIFTI_HEADERS[size]}Header").from_fileobj(
        io.BytesIO(head), check=False
    )
    if found["magic"].item().startswith(b"ni"):
        raise ValueError("a header whose voxels lie in another file (.img); convert it to .nii")
    return found


def pixel_mm(path: Path) -> tuple[float, float] | None:
    """Read the pixel size (rows, columns) of an axial slice as it is stored; None where unknown."""
    try:
        across, down, *_ = header(path).get_zooms()
    except Exception:  # noqa: BLE001 - who reads the voxels says what is wrong with the file
        return None
    return float(down), float(across)


def canonical(path: Path) -> Array:
    """Read a NIfTI volume with its axes turned: x to the right, y to the front, z to the head."""
    import nibabel

    size = header_size(unpacked(path, 4))
    kind = NIFTI_HEADERS[size or 348]
    image = getattr(nibabel, f"{kind}Image").from_bytes(unpacked(path))
    volume = np.asarray(nibabel.as_closest_canonical(image).dataobj)
    return volume.reshape(without_ones(volume.shape))


def stored(path: Path) -> Array:
    """Read a NIfTI volume as it is stored, whatever its axes."""
    import nibabel

    return np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop axes of length 1 at the end, as NIfTI files of one time point have them."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(int(length) for length in shape)
