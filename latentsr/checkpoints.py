"""Reading checkpoint files without running anything that is in them."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
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


def _tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *unused: Any
) -> Tensor:
    """Give a storage its shape; torch refuses a view that leaves the storage."""
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _parameter(tensor: Tensor, *unused: Any) -> Tensor:
    return tensor


class _Reader(pickle.Unpickler):
    """Unpickle tensors and plain containers; every other name becomes `Inert`."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(archive.open(f"{folder}data.pkl"), encoding="utf-8")
        self.archive, self.folder = archive, folder
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _parameter
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name == "Size":
            return tuple
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module in ("builtins", "__builtin__") and name in CONTAINERS:
            return CONTAINERS[name]
        return Inert

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"{kind} of {dtype}")
        if key not in self.storages:
            data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
            values = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            if len(values) < count:
                raise pickle.UnpicklingError(f"storage {key} has {len(values)} of {count} values")
            self.storages[key] = values
        return self.storages[key]


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        places = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(places) != 1:
            raise pickle.UnpicklingError(f"{len(places)} data.pkl in it")
        return _Reader(archive, places[0].removesuffix("data.pkl")).load()


def read(path: Path) -> Any:
    """Read a ``.safetensors`` or a PyTorch file: tensors, numbers, text and plain containers.

    Whatever else a pickle holds (Lightning checkpoints hold callbacks and configuration objects)
    becomes an `Inert` mapping; no function that a file names is ever called.

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
        return torch.load(path, map_location="cpu", weights_only=True)  # torch before 1.6
    except Exception as error:  # a broken or hostile file may raise anything
        said = str(error).split("\n")[0]
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {said})") from None


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
