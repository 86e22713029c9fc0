"""A set's images, listed by its adapter, chosen, read and prepared, with what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from latentsr.datasets import adapters, pixels, stacks
from latentsr.datasets.checks import list_problems
from latentsr.datasets.pixels import Array
from latentsr.datasets.records import LEFT_OUT, Record, limited
from latentsr.datasets.sets import VOLUMES, SetEntry

MEND = " (replace or remove it, or leave such files out: --set {name}.on_error=skip)"
MANY = 20  # problems listed before the rest is counted
TWELVE_BITS = 2**12


def guarded(path: Path, read: Callable[[], Array]) -> Array:
    """Turn whatever goes wrong with a file into one line that names it."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - Pillow, NumPy, nibabel, zlib: each has its own
        raise ValueError(f"{path}: {stacks.told(error)}") from None


def _prepared(record: Record, entry: SetEntry, hr_px: int) -> tuple[Array, Array | None, int]:
    """Return image, mask if there is one, and the largest value of a 16-bit image (else 0)."""
    anatomy, image = entry.anatomy, guarded(record.path, record.read)
    hr = guarded(record.path, lambda: pixels.prepare_pixels(image, anatomy, hr_px, entry.square))
    peak = int(image.max()) if image.dtype == np.uint16 and anatomy != "brain" else 0
    if record.mask is None or record.mask_path is None:
        return hr, None, peak
    mask = guarded(record.mask_path, record.mask)
    if mask.shape != image.shape:
        found = f"mask of shape {mask.shape} for an image of shape {image.shape}"
        raise ValueError(f"{record.mask_path}: {found}; they must be equal")
    return hr, pixels.prepare_mask(mask, hr_px), peak


def _refuse(problems: list[str]) -> None:
    """Raise all problems, one line each and each once, if there are any."""
    problems = list(dict.fromkeys(problems))  # slices of a volume may all say the same
    if len(problems) > MANY:
        problems[MANY:] = [f"and {len(problems) - MANY} more problems"]
    if problems:
        raise ValueError("\n".join(problems))


def list_images(
    name: str, entry: SetEntry, root: Path, *, brain_slices: int, test_fraction: float, seed: int
) -> list[Record]:
    """List a set's images by its adapter; nothing is decoded.

    Raises
    ------
    ValueError
        Every problem of the list, one line each: the folder, ids, subjects in two splits, too few.
    """
    if not root.is_dir():
        raise ValueError(f"set {name}: folder {root} is not there; run dvc repro data.dvc")
    seeded = {"test_fraction": test_fraction, "seed": seed}
    options: dict[str, dict[str, Any]] = {
        "brats": {"slices": brain_slices, "split_by": entry.split_by, **seeded},
        "mimic_cxr": {"split_by": entry.split_by, **seeded},
        "folder": {key: getattr(entry, key) for key in ("split_by", *VOLUMES)} | seeded,
    }
    try:
        records = getattr(adapters, entry.adapter)(root, **options.get(entry.adapter, {}))
    except ValueError as error:
        raise ValueError(f"set {name}: {error}") from None
    if (root / LEFT_OUT).is_file():  # tables still name what was not gathered
        records = [r for r in records if all(path.is_file() for path in r.files)]
    _refuse(list(list_problems(name, entry, records)))
    return list(records)


def sampled(
    name: str,
    entry: SetEntry,
    records: Sequence[Record],
    hr_px: int,
    limits: Mapping[str, int | None],
    left_out: list[str],
) -> list[Record]:
    """Choose the images of a study, at most as many a split as ``limits`` says.

    With ``on_error: skip`` a file that cannot be used makes room for the next one; each gives a
    line in ``left_out``.
    """

    def usable(record: Record) -> bool:
        if entry.on_error == "skip":
            try:
                _prepared(record, entry, hr_px)
            except ValueError as error:
                left_out.append(f"set {name}: {error}")
                return False
        return True

    parts = (limited(records, split, count, usable) for split, count in limits.items())
    return [record for part in parts for record in part]


def read_images(
    name: str,
    entry: SetEntry,
    records: Sequence[Record],
    hr_px: int,
    left_out: list[str] | None = None,
) -> Iterator[tuple[Record, Array, Array | None]]:
    """Yield each record with its image, prepared, and its mask.

    A file that cannot be used is a problem; all are raised together after the last image. An
    image that equals one of the other split pixel by pixel is passed over, with a line in
    ``left_out``: it would be tested on what was trained on.

    Raises
    ------
    ValueError
        Every problem, one line each; and 16-bit files that use 12 bits of 16.
    """
    problems: list[str] = []
    told = left_out if left_out is not None else []
    peaks: list[int] = []
    seen: dict[bytes, Record] = {}
    for record in records:
        try:
            hr, mask, peak = _prepared(record, entry, hr_px)
        except ValueError as error:
            problems.append(f"set {name}: {error}{MEND.format(name=name)}")
            continue
        other = seen.setdefault(sha256(hr.tobytes()).digest(), record)
        if other.split != record.split:
            same = f"the same pixels as {other.image_id} in {other.split}"
            told.append(f"set {name}: {record.image_id}: left out of {record.split}, {same}")
            continue
        peaks.append(peak)
        yield record, hr, mask
    if not problems and 0 < max(peaks, default=0) < TWELVE_BITS:
        found = f"16-bit files, but no pixel above {max(peaks)} of 65535 (12-bit data?)"
        problems.append(f"set {name}: {found}; scale the pixels to the full range")
    _refuse(problems)
