"""The images of a set: listed, checked, chosen, read, and turned into the arrays of a study."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from latentsr.datasets import pixels
from latentsr.datasets.pixels import Array
from latentsr.datasets.records import LEFT_OUT, MIN_PER_SPLIT, Record, limited
from latentsr.datasets.sets import ADAPTERS, SetEntry
from latentsr.degrade import degrade
from latentsr.io import flush_memmaps, new_array

LESS = "without the images that were left out"
MANY = 20  # problems listed before the rest is counted
MEND = " (replace or remove it, or leave such files out: --set {name}.on_error=skip)"
SETTLE = 100  # images that are written before they leave memory
TWELVE_BITS = 2**12


@dataclass(frozen=True)
class Preparation:
    """How images are chosen and prepared: the block ``data`` of params.yaml.

    ``train_images`` and ``test_images`` limit a split (None: all): every subject's first image is
    taken before any subject's second, in the order of the ids. ``test_fraction`` and
    ``split_seed`` are for sets that bring no split of their own.
    """

    hr_px: int
    lr_px: int
    train_images: int | None = None
    test_images: int | None = None
    brain_slices: int = 5
    test_fraction: float = 0.27
    operator: str = "bicubic"
    split_seed: int = 42


def list_images(name: str, entry: SetEntry, root: Path, how: Preparation) -> list[Record]:
    """List a set's images by its adapter, free of `list_problems`; nothing is decoded."""
    if not root.is_dir():
        raise ValueError(f"set {name}: folder {root} is not there; run dvc repro data.dvc")
    drawn = {"test_fraction": how.test_fraction, "seed": how.split_seed}
    options = {**asdict(entry), **drawn, "brain_slices": how.brain_slices}
    try:
        records = ADAPTERS[entry.adapter].listed(root, **options)
    except ValueError as error:
        raise ValueError(f"set {name}: {error}") from None
    if (root / LEFT_OUT).is_file():  # tables still name what was not gathered
        records = [r for r in records if all(path.is_file() for path in r.files)]
    _refuse(list_problems(name, entry, records))
    return records


def list_problems(name: str, entry: SetEntry, records: Sequence[Record]) -> list[str]:
    """Say where an id is there twice, a subject in both splits, or subjects are too few."""
    problems = []
    paths: dict[str, Path] = {}
    sides: dict[str, str] = {}
    tables = ADAPTERS[entry.adapter].tables
    for record in records:
        if other := paths.get(record.image_id):
            where = f"{other} and {record.path}; rename one"
            if other == record.path:  # a table names it twice
                where = f"{record.path}; mend {tables or 'the folder'}"
            problems.append(f"set {name}: image id {record.image_id} is there twice: {where}")
        paths[record.image_id] = record.path
        side = sides.setdefault(record.subject_id, record.split)
        if side != record.split and entry.split_by == "subject":
            sides[record.subject_id] = record.split
            both = f"subject {record.subject_id} is in {side} and in {record.split}"
            mend = f"; mend {tables}" if tables else ""
            problems.append(f"set {name}: {both}; a subject must be on one side{mend}")
    units = {(r.split, r.image_id if entry.split_by == "image" else r.subject_id) for r in records}
    counts = {side: sum(split == side for split, _ in units) for side in ("train", "test")}
    if min(counts.values()) < MIN_PER_SPLIT:
        word, total = f"{entry.subject_word}s", len({unit for _, unit in units})
        there = f"{total} {word}, {counts['train']} in train and {counts['test']} in test"
        needs = f"at least {2 * MIN_PER_SPLIT} are needed, {MIN_PER_SPLIT} a split"
        by_image = entry.adapter == "folder" and entry.split_by == "subject"
        if by_image and len(records) >= 2 * MIN_PER_SPLIT:
            needs += f", or split_by: image (latentsr data use {name}=DIR --split-by-image {name})"
        else:
            needs += f"; add {word}"
        problems.append(f"set {name}: {there}; {needs}")
    return problems


def _refuse(problems: Iterable[str], more: str = "") -> None:
    """Raise all problems, one line each and each once, if there are any."""
    lines = [f"{line}{more}" for line in dict.fromkeys(problems)]  # slices may all say the same
    if len(lines) > MANY:
        lines[MANY:] = [f"and {len(lines) - MANY} more problems"]
    if lines:
        raise ValueError("\n".join(lines))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one line that names it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - Pillow, NumPy, nibabel, zlib: each has its own
        raise ValueError(f"{path}: {pixels.one_line(error)}") from None


def _prepared(record: Record, entry: SetEntry, hr_px: int) -> tuple[Array, Array | None, int]:
    """Return image, mask if there is one, and the largest value of a 16-bit image (else 0)."""
    with _named(record.path):
        image = record.read()
        hr = pixels.prepare_pixels(image, entry.anatomy, hr_px, entry.square)
    peak = int(image.max()) if image.dtype == np.uint16 and entry.anatomy != "brain" else 0
    if record.mask is None or record.mask_path is None:
        return hr, None, peak
    with _named(record.mask_path):
        mask = record.mask()
        pixels.check_mask(mask, image)
        return hr, pixels.prepare_mask(mask, hr_px), peak


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
    name: str, entry: SetEntry, records: Sequence[Record], hr_px: int, left_out: list[str]
) -> Iterator[tuple[Record, Array, Array | None]]:
    """Yield each record with its image, prepared, and its mask.

    An image that equals one of the other split pixel by pixel is passed over, with a line in
    ``left_out``: it would be tested on what was trained on.

    The error after the last image names every file that cannot be used, a line each, and 16-bit
    files that use 12 bits of 16.
    """
    problems: list[str] = []
    peaks: list[int] = []
    earlier: dict[bytes, Record] = {}
    for record in records:
        try:
            hr, mask, peak = _prepared(record, entry, hr_px)
        except ValueError as error:
            problems.append(f"set {name}: {error}{MEND.format(name=name)}")
            continue
        twin = earlier.setdefault(sha256(hr.tobytes()).digest(), record)
        if twin.split != record.split:
            same = f"the same pixels as {twin.image_id} in {twin.split}"
            left_out.append(f"set {name}: {record.image_id}: left out of {record.split}, {same}")
            continue
        peaks.append(peak)
        yield record, hr, mask
    if not problems and 0 < max(peaks, default=0) < TWELVE_BITS:
        dark = f"16-bit files, but no pixel above {max(peaks)} of 65535 (12-bit data?)"
        problems.append(f"set {name}: {dark}; scale the pixels to the full range")
    _refuse(problems)


def load_set(
    name: str,
    entry: SetEntry,
    data_root: Path,
    how: Preparation,
    *,
    folder: Path | None = None,
    left_out: list[str] | None = None,
) -> dict[str, Array]:
    """Read, check and prepare one set of ``data_root``.

    With ``folder`` each array is an npy file there, so that no set has to fit into memory;
    ``left_out`` gets a line for every image that is not used, by `latentsr data use` or here.

    Returns
    -------
    dict with image_id, subject_id, split (N,) str, hr (N, hr_px, hr_px) and lr (N, lr_px, lr_px)
    float32 in [0, 1]; mask (N, hr_px, hr_px) bool where the set has masks; noise_free like hr,
    nan where an image has no twin, for phantoms. Training images come first.

    Raises
    ------
    ValueError
        Lines naming the set and the file or key, what was found and what is needed.
    """
    root, twins = data_root / entry.folder, data_root / "noise_free" / name
    if folder is not None:  # nothing of an earlier run may stay beside the new arrays
        shutil.rmtree(folder, ignore_errors=True)
    records = list_images(name, entry, root, how)
    left_out = [] if left_out is None else left_out
    if (root / LEFT_OUT).is_file():
        left_out += (root / LEFT_OUT).read_text().splitlines()
    limits = {"train": how.train_images, "test": how.test_images}
    records = sampled(name, entry, records, how.hr_px, limits, left_out)
    less = f"after the limit of {how.train_images} and {how.test_images} images"
    _refuse(list_problems(name, entry, records)[:1], f"; here {LESS if left_out else less}")
    arrays: dict[str, Array] = {}

    def allocate(key: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> None:
        arrays[key] = new_array(folder / f"{key}.npy" if folder else None, shape, dtype)

    allocate("hr", (len(records), how.hr_px, how.hr_px))
    allocate("lr", (len(records), how.lr_px, how.lr_px))
    if any(record.mask for record in records):
        allocate("mask", arrays["hr"].shape, bool)
    if any((twins / f"{record.image_id}.png").is_file() for record in records):
        allocate("noise_free", arrays["hr"].shape)
    kept: list[Record] = []
    for record, image, mask in read_images(name, entry, records, how.hr_px, left_out):
        row = len(kept)
        kept.append(record)
        arrays["hr"][row] = image
        arrays["lr"][row] = degrade(image[None], how.lr_px, how.operator)[0]
        if mask is not None:
            arrays["mask"][row] = mask
        if "noise_free" in arrays:
            arrays["noise_free"][row] = _noise_free(twins / f"{record.image_id}.png", how.hr_px)
        if len(kept) % SETTLE == 0:
            flush_memmaps(*arrays.values())
    if len(kept) < len(records):
        _refuse(list_problems(name, entry, kept)[:1], f"; here {LESS}")
        for key, longer in list(arrays.items()):
            if folder:  # the longer array keeps its file while it is open
                (folder / f"{key}.npy").unlink()
            allocate(key, (len(kept), *longer.shape[1:]), longer.dtype)
            for start in range(0, len(kept), SETTLE):
                arrays[key][start : start + SETTLE] = longer[: len(kept)][start : start + SETTLE]
                flush_memmaps(arrays[key], longer)
    for key in ("image_id", "subject_id", "split"):
        values = np.array([getattr(record, key) for record in kept])
        allocate(key, values.shape, values.dtype)
        arrays[key][:] = values
    return arrays


def _noise_free(path: Path, hr_px: int) -> Array:
    """Read a phantom's twin: 16-bit, already on the scale on which its noisy image is read."""
    if not path.is_file():
        return np.full((hr_px, hr_px), np.nan, np.float32)
    with _named(path):
        return pixels.prepare_pixels(pixels.read_image(path), "folder", hr_px)


def summary(entry: SetEntry, arrays: Mapping[str, Array], *, is_phantom: bool) -> dict[str, Any]:
    """Count images and subjects of a loaded set: its entry in ``sets.json``."""
    counts: dict[str, Any] = {
        "adapter": entry.adapter,
        "split_by": entry.split_by,
        "is_phantom": is_phantom,
        "allow_images": entry.allow_images,
        "subject_word": entry.subject_word,
    }
    for split in ("train", "test"):
        rows = arrays["split"] == split
        counts[f"n_{split}_images"] = int(rows.sum())
        counts[f"n_{split}_subjects"] = len(set(arrays["subject_id"][rows].tolist()))
    note = ["phantoms" if is_phantom else "own images"]
    if entry.subject_word == "exam":
        note.append("a subject is an exam")
    if entry.split_by == "image":
        note.append("test images share a subject with training images: read no claim from them")
    counts["note"] = "; ".join(note)
    counts["may_be_shown"] = is_phantom or entry.allow_images
    return counts
