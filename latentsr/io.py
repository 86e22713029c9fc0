"""Per-image tables: their identifying columns, reading a prepared set, pairing by image."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping
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

    Raises
    ------
    ValueError
        When the file does not hold each of them, each id once, or holds a value that is not finite.
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


def settle(*arrays: NDArray[Any]) -> None:
    """Write what lies on disk of these arrays out of memory; they can go on being used."""
    for array in arrays:
        if isinstance(array, np.memmap):
            array.flush()
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def test_images(data: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Keep the test rows of every array of a prepared set, in memory."""
    rows = data["split"] == "test"
    return {key: np.array(values[rows]) for key, values in data.items()}


def table(
    test: Mapping[str, NDArray[Any]], identity: Mapping[str, Any], measures: Mapping[str, Any]
) -> pd.DataFrame:
    """Make the per-image table of one arm: identifying columns, then the measures.

    Raises
    ------
    ValueError
        When a measure is NaN: nothing unmeasured enters a mean.
    """
    ids = {key: test[key] for key in ("image_id", "subject_id")}
    frame = pd.DataFrame({**ids, **identity, **measures})
    frame = frame[[*ID_COLUMNS, *(key for key in frame if key not in ID_COLUMNS)]]
    for name in measures:
        if count := int(frame[name].isna().sum()):
            raise ValueError(f"{name}: {count} of {len(frame)} values are NaN in {dict(identity)}")
    return frame


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
            every = sum(each.values())
            of = frame["dataset"].map(each) if "dataset" in frame else every
            frame = frame.assign(**{column: of})
    return frame


def write_table(frame: pd.DataFrame, path: Path, sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a table as csv.

    ``sets`` is what ``sets.json`` says of the sets in the table. Where test images of one of them
    share a subject with training images, a last column ``split_by`` says so, row by row where
    the table has a column ``dataset``.
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
    text = json.dumps(record, indent=2, sort_keys=True).replace("NaN", "null")
    path.write_text(text + "\n")


def paired(frame: pd.DataFrame, column: str, first: str, second: str, measure: str) -> pd.DataFrame:
    """Pair two arms' rows by image id; the result holds ``a``, ``b`` and ``subject_id``.

    Raises
    ------
    ValueError
        When the arms were not scored on the same images, each once and of one subject.

    Examples
    --------
    >>> rows = {"image_id": ["x", "x"], "subject_id": ["p", "p"], "vae": ["u", "v"], "psnr_db": [1, 3]}
    >>> paired(pd.DataFrame(rows), "vae", "u", "v", "psnr_db")[["a", "b"]].values.tolist()
    [[1, 3]]
    """
    sides = []
    for value in (first, second):
        side = frame[frame[column] == value].set_index("image_id")
        if side.index.has_duplicates or side.empty:
            raise ValueError(f"{column} {value}: {len(side)} rows, but one an image is needed")
        sides.append(side)
    a, b = sides
    if set(a.index) != set(b.index):
        raise ValueError(f"{first} and {second} were scored on different images")
    b = b.loc[a.index]
    if not a["subject_id"].equals(b["subject_id"]):
        raise ValueError(f"{first} and {second} give an image two subjects")
    return pd.DataFrame({"subject_id": a["subject_id"], "a": a[measure], "b": b[measure]})


def same_images(frame: pd.DataFrame, arms: list[str]) -> None:
    """Make sure that all arms of a set were scored on the same images, each once.

    ``arms`` are the columns that tell the arms of a set apart.

    Raises
    ------
    ValueError
        Naming the first arm that differs, and an image.

    Examples
    --------
    >>> rows = {"dataset": ["x"] * 3, "vae": ["u", "u", "v"], "image_id": ["1", "2", "1"]}
    >>> same_images(pd.DataFrame(rows), ["vae"])
    Traceback (most recent call last):
    ...
    ValueError: x, v: not scored on the images of x, u (2)
    """
    for name, rows in frame.groupby("dataset", sort=False):
        first: tuple[str, set[str]] | None = None
        for arm, part in rows.groupby(arms, sort=False):
            told = ", ".join(map(str, (name, *(arm if isinstance(arm, tuple) else (arm,)))))
            if part["image_id"].duplicated().any():
                twice = part["image_id"][part["image_id"].duplicated()].iloc[0]
                raise ValueError(f"{told}: image {twice} was scored twice")
            images = set(part["image_id"])
            first = first or (told, images)
            if images != first[1]:
                odd = sorted(images ^ first[1])[0]
                raise ValueError(f"{told}: not scored on the images of {first[0]} ({odd})")


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
    keys = ("dataset", "vae", "condition_vae", "lr_condition", "protocol", "seed")
    return {**dict(zip(keys, named, strict=True)), **more}


def subject_mean(frame: pd.DataFrame, by: list[str], measures: list[str]) -> pd.DataFrame:
    """Average over a subject's images first, then over subjects; refuse values that are NaN."""
    for measure in measures:
        if unknown := int(frame[measure].isna().sum()):
            raise ValueError(
                f"{measure}: {unknown} of {len(frame)} values are NaN, no mean of them"
            )
    subjects = frame.groupby([*by, "subject_id"], sort=False)[measures].mean()
    return subjects.groupby(by, sort=False).mean()
