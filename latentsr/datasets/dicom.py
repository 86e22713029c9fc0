"""DICOM files: what their headers say, which of them make a series, and their grey values."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latentsr.datasets.pixels import Array, one_line

PROJECTIONS = ("CR", "DX", "MG")  # one picture a file, however many share a series


def library() -> Any:
    """Return pydicom, or say how to install it."""
    try:
        import pydicom.pixels
    except ImportError:
        raise ValueError("DICOM files need `pip install 'latentsr[dicom]'`") from None
    return pydicom


def _dataset(path: Path, *, only_header: bool) -> Any:
    """Read a DICOM file, with preamble or without."""
    data = library().dcmread(path, stop_before_pixels=only_header, force=True)
    if "TransferSyntaxUID" not in data.file_meta:  # a file without preamble does not say
        implicit, little = data.original_encoding
        uid = library().uid
        plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        data.file_meta.TransferSyntaxUID = plain if little else uid.ExplicitVRBigEndian
    return data


def grey_values(path: Path, window: bool) -> Array:
    """Read pixels after slope, intercept and, if asked, window; MONOCHROME1 turned round."""
    data = _dataset(path, only_header=False)
    if data.get("SamplesPerPixel", 1) != 1:
        raise ValueError(f"{data.get('PhotometricInterpretation')} pixels; grey is needed")
    stored = library().pixels.apply_modality_lut(data.pixel_array, data)
    values = np.asarray(stored, np.float64)
    inverted = data.get("PhotometricInterpretation") == "MONOCHROME1"
    if not window:
        return -values if inverted else values
    if "WindowWidth" not in data or "WindowCenter" not in data:
        raise ValueError("intensity: 'window', but it has no window; use percentile")
    centre, width = (float(np.ravel(data[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
    # the linear function of the standard, part 3, C.11.2.1.2
    values = np.clip((values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)
    return 1 - values if inverted else values


class Slice(NamedTuple):
    """What the header of a DICOM file says."""

    path: Path
    group: tuple[Hashable, ...]  # what files of one series share
    patient: str
    position_mm: float | None  # along the normal of the slice
    number: float
    shape: tuple[int, ...]
    pixel_mm: tuple[float, ...] | None


def header(path: Path) -> Slice | None:
    """Read the header of a DICOM file; None for one without an image (DICOMDIR, reports)."""
    data = _dataset(path, only_header=True)
    if "Rows" not in data or "Columns" not in data:
        if "MediaStorageSOPClassUID" in data.file_meta or "SOPClassUID" in data:
            return None
        raise ValueError("cannot be read (no DICOM image in it); replace or remove it")
    where, turned = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    position = None
    if where and turned:
        normal = np.cross(*np.array(turned, float).reshape(2, 3))
        position = round(float(normal @ np.array(where, float)), 3)
    frames = int(data.get("NumberOfFrames") or 1)
    spacing = data.get("PixelSpacing")
    mm = tuple(float(value) for value in spacing) if spacing else None
    alone = frames > 1 or data.get("Modality") in PROJECTIONS
    patient, uid = str(data.get("PatientID", "")), str(data.get("SeriesInstanceUID", ""))
    return Slice(
        path,
        group=(patient, uid or path.parent, path if alone else None),
        patient=patient,
        position_mm=position,
        number=float(data.get("InstanceNumber") or 0),
        shape=(frames,) * (frames > 1) + (int(data.Rows), int(data.Columns)),
        pixel_mm=(math.nan, *mm) if mm and frames > 1 else mm,
    )


def series(
    paths: Iterable[Path], key_of: Callable[[Path], Hashable]
) -> tuple[list[list[Slice]], dict[Path, str]]:
    """Gather files into series, each in the order of its slices; and say what is wrong with some.

    A series is what shares patient, series UID and ``key_of``; without a UID what lies in one
    folder. Projections (CR, DX, MG) and files of several frames stand for themselves.
    """
    groups: dict[Hashable, list[Slice]] = {}
    problems: dict[Path, str] = {}
    for path in paths:
        try:
            one = header(path)
        except Exception as error:  # noqa: BLE001 - pydicom raises many kinds
            problems[path] = one_line(error)
            continue
        if one:
            groups.setdefault((*one.group, key_of(path)), []).append(one)
    whole = []
    for group in groups.values():
        ordered = sorted(group, key=lambda one: (one.position_mm or 0, one.number, one.path))
        first = ordered[0]
        places = [one.position_mm for one in ordered if one.position_mm is not None]
        odd = [one for one in ordered if one.shape != first.shape]
        if odd:
            problems[odd[0].path] = f"slice of shape {odd[0].shape} in a series of {first.shape}"
        elif len(set(places)) < len(places):
            problems[first.path] = (
                f"a series of {len(ordered)} slices at {len(set(places))} positions (echoes, "
                "phases?); name the files that are meant in a manifest.csv"
            )
        else:
            whole.append(ordered)
    return whole, problems
