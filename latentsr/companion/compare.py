"""Compare two runs: the same files, the same words, and numbers equal to a relative tolerance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

RELATIVE = 1e-9
ABSOLUTE = 1e-12  # below it a number is rounding: a difference of equal values
COMPARED = {".csv", ".json", ".npz", ".npy", ".safetensors", ".txt"}
LEFT_OUT = {"book", "notebooks"}  # pages: what they show stands in the files that are compared
Value = float | str


def leaves(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a file holds, by place: cells of a table, leaves of a JSON, arrays, lines."""
    if path.suffix == ".csv":
        import csv

        with path.open(newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        yield from ((f"header {name}", name) for name in header)
        for number, row in enumerate(rows):
            for name, cell in zip_longest(header, row, fillvalue=""):
                yield f"row {number}, {name}", cell
    elif path.suffix == ".json":
        yield from _flat(json.loads(path.read_text()), "")
    elif path.suffix in (".npz", ".npy"):
        loaded = np.load(path, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        yield from arrays.items()
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        yield from load_file(path).items()
    else:
        yield from ((f"line {number}", line) for number, line in enumerate(path.open()))


def _flat(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{place}/{number}")
    else:
        yield place, value


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def same(a: Any, b: Any, relative: float = RELATIVE) -> bool:
    """Return whether two leaves are equal: text exactly, numbers to a relative tolerance.

    >>> same("1.0", "1.0000000000001"), same("a", "b"), same("nan", "")
    (True, False, False)
    """
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return False
        if a.dtype.kind in "fc":
            return np.allclose(b, a, rtol=relative, atol=ABSOLUTE, equal_nan=True)
        return bool((a == b).all())
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return bool(a == b)
    return bool(np.isclose(y, x, rtol=relative, atol=ABSOLUTE, equal_nan=True))


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a word under its new name; the parts of a path and of a place are words too."""
    if not isinstance(value, str):
        return value
    for mark in ("/", ", "):
        if mark in value:
            return mark.join(str(renamed(part, names)) for part in value.split(mark))
    first, _, rest = value.partition(" ")
    if rest and first in ("header", "row"):
        return f"{first} {renamed(rest, names)}"
    return names.get(value, value)


def files(run: Path) -> dict[str, Path]:
    """Return the files of a run that are compared, by their path inside it."""
    if not run.is_dir():
        raise ValueError(f"compare: {run} is no folder; give the results of a run, results/mini")
    compared = {}
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run)
        if path.suffix in COMPARED and path.is_file() and inside.parts[0] not in LEFT_OUT:
            compared[inside.as_posix()] = path
    return compared


def differences(
    a: Path, b: Path, names: Mapping[str, str] | None = None, relative: float = RELATIVE
) -> Iterator[str]:
    """Yield one line for each file that is missing or differs, with the first place where it does.

    ``names`` maps words of ``a`` (files, columns, keys, cells) to those of ``b``.
    """
    names = names or {}
    left = {str(renamed(name, names)): path for name, path in files(a).items()}
    right = files(b)
    for name in sorted(left.keys() | right.keys()):
        if name not in right or name not in left:
            yield f"{name}: only in {a if name in left else b}"
            continue
        one = {str(renamed(place, names)): renamed(v, names) for place, v in leaves(left[name])}
        two = dict(leaves(right[name]))
        missing = [place for place in one.keys() ^ two.keys()]
        unlike = [p for p in one if p in two and not same(one[p], two[p], relative)]
        if missing or unlike:
            place = (unlike or missing)[0]
            counts = f"{len(unlike)} of {len(one)} values differ, {len(missing)} in one run only"
            values = f"{one.get(place, 'nothing')!s:.60} and {two.get(place, 'nothing')!s:.60}"
            yield f"{name}: {counts}; first {place}: {values}"
