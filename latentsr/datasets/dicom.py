"""One DICOM file: what its header says, and its grey values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentsr.datasets.pixels import Array

PROJECTIONS = ("CR", "DX", "MG")  # one picture a file, however many share a series


def library() -> Any:
    """Return pydicom, or say how to install it."""
    try:
        import pydicom.pixels
    except ImportError:
        raise ValueError("DICOM files need `pip install 'latentsr[dicom]'`") from None
    return pydicom


def dataset(path: Path, *, only_header: bool) -> Any:
    """Read a DICOM file, with preamble or without."""
    data = library().dcmread(path, stop_before_pixels=only_header, force=True)
    if "TransferSyntaxUID" not in data.file_meta:  # a file without preamble does not say
        implicit, little = data.original_encoding
        uid = library().uid
        plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        data.file_meta.TransferSyntaxUID = plain if little else uid.ExplicitVRBigEndian
    return data


def _lacking(syntax: Any) -> str:
    """Say what is needed to decode compressed pixels; "" where it is installed."""
    try:
        if library().pixels.get_decoder(syntax).is_available:
            return ""
    except NotImplementedError:
        return "pydicom has no decoder for it; use another copy"
    plugin = "pylibjpeg-openjpeg" if "2000" in syntax.name else "pylibjpeg-libjpeg"
    return f"a decoder for it is needed: `pip install pylibjpeg {plugin}`"


def pixels_of(path: Path, window: bool) -> Array:
    """Read pixels after slope, intercept and, if asked, window; MONOCHROME1 turned round."""
    data = dataset(path, only_header=False)
    if data.get("SamplesPerPixel", 1) != 1:
        raise ValueError(f"{data.get('PhotometricInterpretation')} pixels; grey is needed")
    try:
        stored = data.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError):
        syntax = data.file_meta.TransferSyntaxUID
        if syntax.is_compressed and (needs := _lacking(syntax)):
            raise ValueError(f"{syntax.name}: {needs}, or decompress the file") from None
        raise
    values = np.asarray(library().pixels.apply_modality_lut(stored, data), np.float64)
    dark = data.get("PhotometricInterpretation") == "MONOCHROME1"
    if window:
        if "WindowWidth" not in data or "WindowCenter" not in data:
            raise ValueError("intensity: 'window', but it has no window; use percentile")
        centre, width = (
            float(np.atleast_1d(data[key].value)[0]) for key in ("WindowCenter", "WindowWidth")
        )
        # the linear function of the standard, part 3, C.11.2.1.2
        values = np.clip((values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)
        return 1 - values if dark else values
    return -values if dark else values


@dataclass(frozen=True)
class Slice:
    """What the header of a DICOM file says."""

    path: Path
    uid: str
    patient: str
    place: float | None  # along the normal of the slice, mm
    number: float
    shape: tuple[int, ...]
    pixel_mm: tuple[float, ...] | None
    alone: bool  # several frames, or a projection: not a slice of a series


def header(path: Path) -> Slice | None:
    """Read the header of a DICOM file; None for one without an image (DICOMDIR, reports)."""
    data = dataset(path, only_header=True)
    if "Rows" not in data or "Columns" not in data:
        if "MediaStorageSOPClassUID" in data.file_meta or "SOPClassUID" in data:
            return None
        raise ValueError("cannot be read (no DICOM image in it); replace or remove it")
    where, turned = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    place = None
    if where and turned:
        normal = np.cross(*np.array(turned, float).reshape(2, 3))
        place = round(float(normal @ np.array(where, float)), 3)
    frames = int(data.get("NumberOfFrames") or 1)
    spacing = data.get("PixelSpacing")
    sizes = tuple(float(mm) for mm in spacing) if spacing else None
    if sizes and frames > 1:
        sizes = (math.nan, *sizes)
    return Slice(
        path,
        str(data.get("SeriesInstanceUID", "")),
        str(data.get("PatientID", "")),
        place,
        float(data.get("InstanceNumber") or 0),
        (frames,) * (frames > 1) + (int(data.Rows), int(data.Columns)),
        sizes,
        frames > 1 or data.get("Modality") in PROJECTIONS,
    )
