"""Reading checkpoint files without running anything that is in them."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

STORAGES = {
    f"{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}
CONTAINERS = {"dict": dict, "list": list, "set": set, "frozenset": frozenset, "tuple": tuple}


class Inert(dict[Any, Any]):
    """Stands for an object of a class that is not read; it keeps items, and does nothing."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def add(self, item: Any) -> None: ...

    def __hash__(self) -> int:  # type: ignore[override]  # Lightning keys callbacks by class
        return id(self)


class _Fixed:
    """What the reader itself puts into a pickle; a file can neither change nor extend it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it sets the state of a tensor or a function")


class _Made(_Fixed):
    """A tensor or a storage while the file is still being read."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


class _Rebuild(_Fixed):
    """Stands for torch's functions that give a storage its shape."""

    __slots__ = ("parameter",)

    def __init__(self, parameter: bool):
        self.parameter = parameter

    def __call__(self, made: _Made, *how: Any) -> _Made:
        if self.parameter:
            return made
        offset, size, stride = how[:3]
        # torch refuses a view that leaves the storage
        return _Made(made.tensor.as_strided(tuple(size), tuple(stride), offset))


def _finished(found: Any) -> Any:
    """Put the tensors themselves into what was read."""
    if isinstance(found, _Made):
        return found.tensor
    if isinstance(found, dict):
        for key in list(found):
            found[key] = _finished(found[key])
        return found
    if isinstance(found, (list, tuple)):
        return type(found)(_finished(item) for item in found)
    return found


class _Reader(pickle.Unpickler):
    """Unpickle tensors and plain containers; every other name becomes `Inert`."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(archive.open(f"{folder}data.pkl"), encoding="utf-8")
        self.archive, self.folder = archive, folder
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _Rebuild(False)
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _Rebuild(True)
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name == "Size":
            return tuple
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module in ("builtins", "__builtin__") and name in CONTAINERS:
            return CONTAINERS[name]
        return Inert

    def persistent_load(self, pid: Any) -> _Made:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"{kind} of {dtype}")
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            values = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            if len(values) < count:
                raise pickle.UnpicklingError(f"storage {key} has {len(values)} of {count} values")
            self.storages[key] = values
        return _Made(self.storages[key])


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        places = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(places) != 1:
            raise pickle.UnpicklingError(f"{len(places)} data.pkl in it")
        return _finished(_Reader(archive, places[0].removesuffix("data.pkl")).load())


def read(path: Path) -> Any:
    """Read a ``.safetensors`` or a PyTorch file: tensors, numbers, text and plain containers.

    Whatever else a pickle holds (Lightning checkpoints hold callbacks and configuration objects)
    becomes an `Inert` mapping; no function that a file names is ever called. Files of PyTorch
    before 1.6, which are no zip archives, are read by its own weights-only reader, which refuses
    all but tensors and containers.

    Raises
    ------
    ValueError
        One line, where the file is not there or cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path):
            return _read_zip(path)
    except Exception as error:  # a broken or hostile file may raise anything
        said = str(error).split("\n")[0]
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {said})") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch's own words would advise to run what is in the file
        raise ValueError(
            f"{path}: cannot be read: neither safetensors nor a PyTorch file with tensors alone; "
            "download it again, or convert it with a PyTorch you trust it to"
        ) from None


def state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint: the file's own mapping or what lies under ``state_dict``.

    Raises
    ------
    ValueError
        Where there is none, or where it holds anything but tensors.
    """
    found = read(path)
    inner = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(inner, Mapping) or not inner:
        raise ValueError(f"{path}: no state dict in it")
    if odd := [key for key in inner if not isinstance(key, str)]:
        raise ValueError(f"{path}: {odd[0]!r} is no name of a tensor")
    if strange := [str(key) for key, value in inner.items() if not isinstance(value, Tensor)]:
        shown = ", ".join(strange[:5])
        raise ValueError(f"{path}: {len(strange)} entries that are no tensors ({shown})")
    return dict(inner)


def metadata(path: Path) -> dict[str, str]:
    """Return the text that a safetensors file carries beside its tensors; {} for other files."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}
