"""From a name or a file to an autoencoder: files are read without running what is in them."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from latentsr.autoencoders import fetch, layouts
from latentsr.autoencoders.model import Autoencoder
from latentsr.autoencoders.registry import PUBLISHED, SHIPPED


class Inert(dict[Any, Any]):
    """An object of a class that is not read; it keeps items, and does nothing."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__()

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def add(self, item: Any) -> None: ...

    def __hash__(self) -> int:  # type: ignore[override]  # Lightning keys callbacks by class
        return id(self)


def _view(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """Give a storage its shape; torch refuses a view that leaves the storage."""
    flat = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
    return flat.as_strided(tuple(size), tuple(stride), offset)


READ: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): _view,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch", "Size"): tuple,
    ("collections", "OrderedDict"): OrderedDict,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, set, frozenset, tuple)
    },
}


class _Unpickler(pickle._Unpickler):
    """Unpickle tensors and plain containers; every other name becomes `Inert`, none is imported."""

    def find_class(self, module: str, name: str) -> Any:
        return READ.get((module, name), Inert)

    def load_build(self: Any) -> None:
        """Drop the state of a mapping; a file sets that of nothing else."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise pickle.UnpicklingError("it sets the state of a tensor or a function")

    dispatch = pickle._Unpickler.dispatch | {pickle.BUILD[0]: load_build}


READER = SimpleNamespace(Unpickler=_Unpickler, load=pickle.load, __name__="latentsr")


def read_checkpoint(path: Path) -> Any:
    """Read a ``.safetensors`` or a PyTorch file: tensors, numbers, text and plain containers.

    Whatever else a pickle holds (Lightning checkpoints hold callbacks and configuration objects)
    becomes an `Inert` mapping; no function that a file names is ever called. Files of PyTorch
    before 1.6, which are no zip archives, are read by its weights-only reader.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("constants.pkl") for name in archive.namelist()):
                    raise ValueError("a compiled model; its state dict is needed")
            return torch.load(path, "cpu", READER, weights_only=False)
    except Exception as error:  # a broken or hostile file may raise anything
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path}: cannot be read ({type(error).__name__}: {reason})") from None
    try:
        return torch.load(path, "cpu", weights_only=True)
    except Exception:  # torch's own words would advise to run what is in the file
        raise ValueError(
            f"{path}: cannot be read: neither safetensors nor a PyTorch file with tensors alone; "
            "download it again, or convert it with a PyTorch you trust it to"
        ) from None


def state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint: the file's own mapping or what lies under ``state_dict``."""
    content = read_checkpoint(path)
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(inner, Mapping) or not inner:
        raise ValueError(f"{path}: no state dict in it")
    odd = [str(k) for k, v in inner.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if odd:
        raise ValueError(f"{path}: {len(odd)} entries that are no tensors ({', '.join(odd[:5])})")
    return dict(inner)


@cache
def training_card(name: str) -> dict[str, Any]:
    """Return the JSON card that is shipped beside an autoencoder's weights."""
    return dict(json.loads(fetch.weights_path(name).with_suffix(".json").read_text()))


def read_model(name: str, path: Path) -> Any:
    """Build the model that a file or folder holds; of a registered name the geometry must fit."""
    row = SHIPPED.get(name) or PUBLISHED.get(name)
    weights = fetch.weights_file(path)
    state, config = state_dict(weights), None if row else _configuration(path, weights)
    model = layouts.from_config(config, state) if config else layouts.from_state_dict(state)
    if row and (geometry := Autoencoder(name, model).geometry) != row.geometry:
        raise ValueError(f"{path}: an autoencoder {geometry}, but {name} is {row.geometry}")
    return model


def _configuration(path: Path, weights: Path) -> Any:
    """Read what lies beside the weights, or what `save_autoencoder` wrote into them; else None."""
    settings = weights.parent / "config.json"
    if settings.is_file():
        try:
            config = json.loads(settings.read_text())
            if path.is_dir() or str(config.get("_class_name")).startswith("Autoencoder"):
                return config
        except (OSError, ValueError, AttributeError) as error:
            raise ValueError(f"{settings}: cannot be read ({type(error).__name__})") from None
    if weights.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(weights, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("config", "null"))
    return None


def load_autoencoder(
    name: str, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Autoencoder:
    """Load an autoencoder: a shipped one, a published one, or the path of one's own.

    Parameters
    ----------
    name : str
        A name of the registry, ``hf/OWNER/NAME/REVISION``, or the path of a diffusers folder, a
        single CompVis checkpoint or a safetensors file. Another one is never taken instead.
    dtype : torch.dtype
        float32 or bfloat16; float16 goes on in float32 after its first overflow.

    Raises
    ------
    ValueError
        One line: nothing at that place, another digest than known, keys that do not fit.

    Examples
    --------
    >>> load_autoencoder("phantom-f4c3").encode(torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 3, 16, 16])
    """
    if problem := fetch.missing(name):
        raise ValueError(problem)
    path = fetch.weights_path(name)
    try:
        if name in SHIPPED:
            model = layouts.build_small(SHIPPED[name].factor, SHIPPED[name].latent_channels)
            if (actual := fetch.digest(path)) != (card := training_card(name)["sha256"]):
                raise ValueError(f"{path} has sha256 {actual}, its card {card}")
            layouts.load_strictly(model, state_dict(path))
        else:
            fetch.check(name, path)
            model = read_model(name, path)
    except Exception as error:  # diffusers and torch raise many kinds
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        reason = str(error).split("\n")[0].removeprefix(f"{name}: ")
        raise ValueError(f"vae {name}: {kind}{reason}") from None
    model.to(device)
    if dtype != torch.float32:  # diffusers' own .to() warns of modules to keep where there are none
        nn.Module.to(model, dtype)
    return Autoencoder(name, model)


def save_autoencoder(vae: Autoencoder, path: Path) -> None:
    """Write an autoencoder as one safetensors file, its configuration among the metadata."""
    from safetensors.torch import save_file

    state = {key: value.cpu().contiguous() for key, value in vae.model.state_dict().items()}
    config = {"_class_name": type(vae.model).__name__}
    config |= {key: value for key, value in vae.model.config.items() if not key.startswith("_")}
    save_file(state, path, {"config": json.dumps(config)})
