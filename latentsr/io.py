"""Per-image tables: their identifying columns, reading a prepared set, pairing by image."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

ID_COLUMNS = "image_id subject_id dataset vae condition_vae lr_condition protocol seed".split()
TEXT = {"image_id": str, "subject_id": str}  # "0001" must not become 1


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an npz file whole, or open a folder of npy files, whose arrays stay on disk."""
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def new_array(
    path: Path | None, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Return zeros to be filled: on disk as an npy file, or in memory without a path."""
    if path is None:
        return np.zeros(shape, dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)


def read_images(path: Path, key: str, image_ids: Iterable[str]) -> NDArray[np.float64]:
    """Read one stack of an npz file with the rows in the order of these ids, ``(N, H, W)``.

    ValueError where the file does not hold each id once, or holds a value that is not finite.
    """
    archive, wanted = read_arrays(path), list(image_ids)
    place = {image: row for row, image in enumerate(archive["image_id"])}
    if len(place) < len(archive["image_id"]):
        raise ValueError(f"{path}: an image id is there twice; make it again")
    if missing := [image for image in wanted if image not in place]:
        raise ValueError(f"{path}: holds no image {missing[0]}; make it again")
    stack: NDArray[np.float64] = archive[key][[place[image] for image in wanted]].astype(np.float64)
    finite = np.isfinite(stack).reshape(len(wanted), -1).all(axis=1)  # (N,)
    if not finite.all():
        image = wanted[int(np.argmin(finite))]
        raise ValueError(f"{path}: {key} of image {image} holds NaN or infinity; make it again")
    return stack


def flush_memmaps(*arrays: NDArray[Any]) -> None:
    """Write what lies on disk of these arrays out of memory; they can go on being used."""
    for array in arrays:
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            array.flush()
            array.base.madvise(mmap.MADV_DONTNEED)


def test_images(data: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Keep the test rows of every array of a prepared set, in memory."""
    rows = data["split"] == "test"
    return {key: np.array(values[rows]) for key, values in data.items()}


def table(
    test: Mapping[str, NDArray[Any]], identity: Mapping[str, Any], measures: Mapping[str, Any]
) -> pd.DataFrame:
    """Make the per-image table of one arm: identifying columns, then the measures.

    ValueError where a measure is NaN: nothing unmeasured enters a mean.
    """
    ids = {key: test[key] for key in ("image_id", "subject_id")}
    frame = pd.DataFrame({**ids, **identity, **measures})
    frame = frame[[*ID_COLUMNS, *(key for key in frame if key not in ID_COLUMNS)]]
    _refuse_nan(frame, measures)
    return frame


def _refuse_nan(frame: pd.DataFrame, measures: Iterable[str]) -> None:
    for name in measures:
        if count := int(frame[name].isna().sum()):
            arm = frame.loc[frame[name].isna()].iloc[0].reindex(ID_COLUMNS[2:]).dropna().to_dict()
            raise ValueError(f"{name}: {count} of {len(frame)} values are NaN, first in {arm}")


def read_tables(paths: Iterable[Path]) -> pd.DataFrame:
    """Read per-image tables and stack them; only an empty cell is a missing value.

    A subject may be called NA or null, which pandas by itself would take for missing and leave out.
    """
    how: dict[str, Any] = {"dtype": TEXT, "keep_default_na": False, "na_values": [""]}
    return pd.concat([pd.read_csv(path, **how) for path in paths], ignore_index=True)


def with_counts(frame: pd.DataFrame, sets: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Add n_subjects and n_images, the test subjects and images behind a row, where missing.

    Those of the row's set, or of all sets where the table has no column ``dataset``.

    >>> facts = {"x": {"n_test_subjects": 12, "n_test_images": 60}}
    >>> with_counts(pd.DataFrame({"dataset": ["x"], "n_subjects": [9]}), facts).values.tolist()
    [['x', 9, 60]]
    """
    for column, key in (("n_subjects", "n_test_subjects"), ("n_images", "n_test_images")):
        if column not in frame:
            each = {name: fact[key] for name, fact in sets.items()}
            known = frame["dataset"].map(each) if "dataset" in frame else sum(each.values())
            frame = frame.assign(**{column: known})
    return frame


def write_table(frame: pd.DataFrame, path: Path, sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a table as csv; ``sets`` is what ``sets.json`` says of the sets in it.

    Where test images of a set share a subject with training images, a last column ``split_by``
    says so, row by row where the table has a column ``dataset``.
    """
    by_image = [name for name, fact in sets.items() if fact["split_by"] == "image"]
    if by_image:
        names = frame.get("dataset", pd.Series(["all"] * len(frame)))
        shared = names.isin([*by_image, "all"]).map({True: "image", False: "subject"})
        frame = frame.assign(split_by=shared.to_numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)


def write_metrics(record: Mapping[str, Any], path: Path) -> None:
    """Write a chapter's numbers as JSON, for later chapters; what was not measured is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_nan_to_none(record), indent=2, sort_keys=True) + "\n")


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value


def same_images(frame: pd.DataFrame, arms: list[str]) -> None:
    """Make sure that all arms of a set, told apart by the columns ``arms``, share their images.

    ValueError names the first arm scored on other images, or on an image twice, and an image.

    >>> rows = {"dataset": ["x"] * 3, "vae": ["u", "u", "v"], "image_id": ["1", "2", "1"]}
    >>> same_images(pd.DataFrame(rows), ["vae"])
    Traceback (most recent call last):
    ...
    ValueError: x, v: not scored on the images of x, u (2)
    """
    for _, rows in frame.groupby("dataset", sort=False):
        first: tuple[str, set[str]] | None = None
        for key, part in rows.groupby(["dataset", *arms], sort=False):
            arm = ", ".join(map(str, key))
            if (twice := part["image_id"].duplicated()).any():
                raise ValueError(f"{arm}: image {part['image_id'][twice].iloc[0]} was scored twice")
            images = set(part["image_id"])
            first = first or (arm, images)
            if other := sorted(images ^ first[1]):
                raise ValueError(f"{arm}: not scored on the images of {first[0]} ({other[0]})")


def identity(
    dataset: str,
    vae: str = "",
    condition_vae: str = "",
    lr_condition: str = "",
    protocol: str = "",
    seed: int | str = "",
    **more: str,
) -> dict[str, Any]:
    """Return the identifying values of a table; what does not apply stays empty."""
    named = (dataset, vae, condition_vae, lr_condition, protocol, seed)
    return dict(zip(ID_COLUMNS[2:], named, strict=True)) | more


def subject_mean(frame: pd.DataFrame, by: list[str], measures: list[str]) -> pd.DataFrame:
    """Average over a subject's images first, then over subjects; refuse values that are NaN."""
    _refuse_nan(frame, measures)
    subjects = frame.groupby([*by, "subject_id"], sort=False)[measures].mean()
    return subjects.groupby(by, sort=False).mean()
