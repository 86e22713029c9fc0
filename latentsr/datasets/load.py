"""One set, checked and read: its images turned into the arrays of a study."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from latentsr.datasets import pixels
from latentsr.datasets.checks import list_problems
from latentsr.datasets.pixels import Array
from latentsr.datasets.reading import guarded, list_images, read_images, sampled
from latentsr.datasets.records import LEFT_OUT, Record
from latentsr.datasets.sets import SetEntry
from latentsr.degrade import degrade
from latentsr.io import new_array, settle

LESS = "without the images that were left out"
SETTLE = 100  # images that are written before they leave memory


def load_set(
    name: str,
    entry: SetEntry,
    data_root: Path,
    *,
    hr_px: int,
    lr_px: int,
    train_images: int | None,
    test_images: int | None,
    brain_slices: int,
    test_fraction: float,
    operator: str,
    seed: int,
    folder: Path | None = None,
    left_out: list[str] | None = None,
) -> dict[str, Array]:
    """Read, check and prepare one set.

    ``entry`` is the set's entry of ``sets.yaml``; its folder is looked for in ``data_root``.
    ``train_images`` and ``test_images`` limit a split (None: all): every subject's first image is
    taken before any subject's second, in the order of the ids. ``test_fraction`` and ``seed``
    are for sets that bring no split of their own. With a ``folder`` each array is an npy file
    there, so that no set has to fit into memory. ``left_out`` collects a line for every image
    that is not used, by `latentsr data use` or here: see `read_images`.

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
    root = data_root / entry.folder
    if folder is not None:  # nothing of an earlier run may stay beside the new arrays
        shutil.rmtree(folder, ignore_errors=True)
    records = list_images(
        name, entry, root, brain_slices=brain_slices, test_fraction=test_fraction, seed=seed
    )
    left_out = [] if left_out is None else left_out
    if (root / LEFT_OUT).is_file():
        left_out += (root / LEFT_OUT).read_text().splitlines()
    limits = {"train": train_images, "test": test_images}
    records = sampled(name, entry, records, hr_px, limits, left_out)
    less = f"after the limit of {train_images} and {test_images} images"
    for problem in list_problems(name, entry, records):
        raise ValueError(f"{problem}; here {LESS if left_out else less}")
    arrays: dict[str, Array] = {}

    def allocate(key: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Array:
        arrays[key] = new_array(folder / f"{key}.npy" if folder else None, shape, dtype)
        return arrays[key]

    hr = allocate("hr", (len(records), hr_px, hr_px))
    lr = allocate("lr", (len(records), lr_px, lr_px))
    mask = twin = None
    if any(record.mask for record in records):
        mask = allocate("mask", hr.shape, bool)
    twins = data_root / "noise_free" / name
    if any((twins / f"{record.image_id}.png").is_file() for record in records):
        twin = allocate("noise_free", hr.shape)
    kept: list[Record] = []
    for record, image, region in read_images(name, entry, records, hr_px, left_out):
        row = len(kept)
        kept.append(record)
        hr[row], lr[row] = image, degrade(image[None], lr_px, operator)[0]
        if mask is not None and region is not None:
            mask[row] = region
        if twin is not None:
            twin[row] = _noise_free(twins / f"{record.image_id}.png", hr_px)
        if len(kept) % SETTLE == 0:
            settle(*arrays.values())
    if len(kept) < len(records):
        for problem in list_problems(name, entry, kept):
            raise ValueError(f"{problem}; here {LESS}")
        for key in arrays:
            arrays[key] = _shortened(
                arrays[key], folder / f"{key}.npy" if folder else None, len(kept)
            )
    for key in ("image_id", "subject_id", "split"):
        values = np.array([getattr(record, key) for record in kept])
        allocate(key, values.shape, values.dtype)[:] = values
    return arrays


def _shortened(array: Array, path: Path | None, rows: int) -> Array:
    """Keep the first rows of an array, on disk where it lies there."""
    if path is None:
        return array[:rows]
    short = new_array(part := path.with_suffix(".part"), (rows, *array.shape[1:]), array.dtype)
    for start in range(0, rows, SETTLE):
        short[start : start + SETTLE] = array[start : min(start + SETTLE, rows)]
        settle(short, array)
    part.replace(path)
    return short


def _noise_free(path: Path, hr_px: int) -> Array:
    """Read a phantom's twin: 16-bit, already on the scale on which its noisy image is read."""
    if not path.is_file():
        return np.full((hr_px, hr_px), np.nan, np.float32)
    return guarded(path, lambda: pixels.prepare_pixels(pixels.read_image(path), "folder", hr_px))


def summary(entry: SetEntry, arrays: dict[str, Array], *, is_phantom: bool) -> dict[str, Any]:
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
    note = [f"a subject is an {entry.subject_word}"] if entry.subject_word == "exam" else []
    if entry.split_by == "image":
        note.append("test images share a subject with training images: read no claim from them")
    counts["note"] = "; ".join(["phantoms" if is_phantom else "own images", *note])
    counts["may_be_shown"] = is_phantom or entry.allow_images
    return counts
