"""Autoencoders by name or path: where their weights lie, what is missing, reading, writing."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from latentsr.autoencoders.model import Autoencoder as Autoencoder
from latentsr.autoencoders.registry import PUBLISHED, SPECS, hub_files, spec

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WEIGHTS = Path(__file__).parents[1] / "weights"
FETCHED = Path("assets/vaes")  # in the repository; not part of it
BLOCK_CHANNELS = {4: (16, 32, 64), 8: (16, 32, 64, 64)}


def build(factor: int, latent_channels: int) -> AutoencoderKL:
    """Return an untrained grey AutoencoderKL of one of the small geometries."""
    from diffusers import AutoencoderKL

    channels = BLOCK_CHANNELS[factor]
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


@cache
def card(name: str) -> dict[str, Any]:
    """Return the JSON card that is shipped beside an autoencoder's weights."""
    path = WEIGHTS / f"{spec(name).name}.json"
    return dict(json.loads(path.read_text()))


def shipped() -> list[str]:
    """Names of the registered autoencoders whose weights are in the package."""
    return [name for name in SPECS if (WEIGHTS / f"{name}.safetensors").exists()]


def place(name: str) -> Path:
    """Return where the weights of an autoencoder lie, or would lie: its file or diffusers folder.

    ``name`` is one of the registry's, or the path of a user's own.
    """
    if name in SPECS:
        return WEIGHTS / f"{name}.safetensors"
    if name in PUBLISHED:
        entry = PUBLISHED[name]
        return FETCHED / f"{name}{Path(entry.inside or entry.url).suffix}"
    if hub_files(name):
        return FETCHED / name.replace("/", "--")
    return Path(name).expanduser()


def missing(name: str) -> str | None:
    """Say in one line what is missing of an autoencoder here; None when its weights are there."""
    path = place(name)
    if path.exists():
        return None
    if name in SPECS:
        return f"vae {name}: no weights at {path}; `make pretrain` makes them, then copy them there"
    if name in PUBLISHED:
        entry = PUBLISHED[name]
        what = f"{entry.inside} out of the archive" if entry.inside else "the file"
        return (
            f"vae {name}: {path} is not there; `latentsr vaes fetch {name}` gets it, "
            f"or put there {what} published at {entry.url}"
        )
    if files := hub_files(name):
        return (
            f"vae {name}: {path} is not there; `latentsr vaes fetch {name}` gets it, "
            f"or put into that folder {' and '.join(files.values())}"
        )
    return f"vae {name}: no such file or folder, and no registered name"


def _model(name: str, path: Path) -> Any:
    from latentsr.autoencoders import checkpoints, digests
    from latentsr.autoencoders import layouts as architectures

    if name in SPECS:
        raw = path.read_bytes()
        if (found := sha256(raw).hexdigest()) != card(name)["sha256"]:
            told = card(name)["sha256"]
            raise ValueError(f"{path} has sha256 {found}, its card {told}")
        model = build(SPECS[name].factor, SPECS[name].latent_channels)
        architectures.load_strictly(model, checkpoints.state_dict(path))
        return model
    digests.check(name, path)
    return opened(name, path)


def opened(name: str, path: Path) -> Any:
    """Open the file or folder of an autoencoder that is none of the package's own.

    Raises
    ------
    ValueError
        Where it cannot be read, or is of another geometry than the registry says of ``name``.
    """
    model = _opened(path, alone=name in PUBLISHED)
    if name in PUBLISHED:
        entry, found = PUBLISHED[name], Autoencoder(name, model)
        geometry = f"f{found.factor}c{found.latent_channels}"
        if geometry != entry.geometry:
            raise ValueError(f"{path}: an autoencoder {geometry}, but {name} is {entry.geometry}")
    return model


def _opened(path: Path, *, alone: bool) -> Any:
    """Build what a file or folder holds; a configuration beside a file counts unless ``alone``."""
    from latentsr.autoencoders import checkpoints, digests
    from latentsr.autoencoders import layouts as architectures

    weights = digests.weights(path)
    settings = weights.parent / "config.json"
    if path.is_dir() or (not alone and settings.is_file()):
        try:
            told = json.loads(settings.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise ValueError(f"{settings}: cannot be read ({type(error).__name__})") from None
        if not isinstance(told, dict):
            raise ValueError(f"{settings}: not the configuration of a model")
        if path.is_dir() or str(told.get("_class_name")).startswith("Autoencoder"):
            return architectures.build_as_configured(told, checkpoints.state_dict(weights))
    state = checkpoints.state_dict(path)
    if told := checkpoints.metadata(path).get("config"):  # written by `save`
        return architectures.build_as_configured(json.loads(told), state)
    return architectures.build(state)


def load(name: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Autoencoder:
    """Load an autoencoder: a shipped one, a published one, or the path of one's own.

    Parameters
    ----------
    name : str
        A name of the registry, or the path of a diffusers folder, of a single CompVis checkpoint
        or of a safetensors file.
    device : str
        "cpu" or "cuda".
    dtype : torch.dtype
        float32 or bfloat16; float16 goes on in float32 after its first overflow.

    Raises
    ------
    ValueError
        One line: nothing at that place, a file that is not what its card or the lock file says,
        missing or unexpected keys. Another autoencoder is never taken instead.
    """
    if problem := missing(name):
        raise ValueError(problem)
    try:
        model = _model(name, place(name))
    except Exception as error:  # noqa: BLE001 - diffusers and torch raise many kinds
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        said = str(error).split("\n")[0].removeprefix(f"{name}: ")
        raise ValueError(f"vae {name}: {kind}{said}") from None
    model.to(device)
    if dtype != torch.float32:  # diffusers' own .to() warns of modules to keep where there are none
        nn.Module.to(model, dtype)
    return Autoencoder(name, model)


def save(vae: Autoencoder, path: Path) -> None:
    """Write an autoencoder as one safetensors file, its configuration among the metadata."""
    from safetensors.torch import save_file

    state = {key: value.cpu().contiguous() for key, value in vae.model.state_dict().items()}
    told = {"_class_name": type(vae.model).__name__}
    told |= {key: value for key, value in vae.model.config.items() if not key.startswith("_")}
    save_file(state, path, {"config": json.dumps(told)})
