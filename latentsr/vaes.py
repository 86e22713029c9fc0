"""Autoencoders: finding and reading a checkpoint, encoding and decoding grey images."""

from __future__ import annotations

import json
import warnings
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentsr.registry import PUBLISHED, SPECS, hub_files, spec

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WEIGHTS = Path(__file__).parent / "weights"
FETCHED = Path("assets/vaes")  # in the repository; not part of it
TOLERANCE = 1e-3  # of grey values beyond 0 and 1
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


def _exact() -> Any:
    """Keep a GPU from rounding convolutions to TF32: latents and images are the CPU's to 1e-4."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


class Autoencoder:
    """A frozen autoencoder behind one interface: grey images (B, 1, H, W) in [0, 1].

    ``model`` is diffusers' AutoencoderKL or AutoencoderTiny, whose own images are in [-1, 1] and
    may have three channels: a grey image is repeated, and the mean over channels comes back.
    Latents are float32 whatever the precision of the model.
    """

    def __init__(self, name: str, model: Any):
        self.name, self.model = name, model.eval().requires_grad_(False)
        self.latent_channels = int(model.config["latent_channels"])
        self.image_channels = int(model.config["in_channels"])
        self.factor = 2 ** (len(model.config["block_out_channels"]) - 1)
        ends = self.image_channels, int(model.config["out_channels"])
        if ends not in ((1, 1), (3, 3)):
            raise ValueError(f"vae {name}: {ends[0]} channels in, {ends[1]} out; 1 or 3 are read")

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def _in_float32_now(self) -> bool:
        """Go on in float32 if it was float16 until now, and say so."""
        if self.dtype != torch.float16:
            return False
        warnings.warn(f"vae {self.name}: float16 overflowed; float32 from here on", stacklevel=3)
        self.model.float()
        return True

    @torch.no_grad()
    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode to the posterior mean, or to one sample of the posterior.

        Parameters
        ----------
        images : Tensor
            ``(B, 1, H, W)`` in [0, 1]; sides are padded by edge values to a multiple of the factor.
        generator : torch.Generator, optional
            A CPU generator; when given, the posterior is sampled with it. AutoencoderTiny has no
            posterior: its latent is the same with and without.

        Returns
        -------
        Tensor
            Latents ``(B, C, ceil(H / factor), ceil(W / factor))``.

        Raises
        ------
        ValueError
            When an image is not grey or a latent is not finite.
        """
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"images: shape {tuple(images.shape)}, but (B, 1, H, W) is needed")
        if len(images) and (images.min() < -TOLERANCE or images.max() > 1 + TOLERANCE):
            ends = f"{float(images.min()):g} to {float(images.max()):g}"
            raise ValueError(f"images: grey values {ends}; 0 to 1 are needed")
        pad_h, pad_w = (-images.shape[-2]) % self.factor, (-images.shape[-1]) % self.factor
        padded = functional.pad(images, (0, pad_w, 0, pad_h), mode="replicate")
        channels = (padded.to(self.device) * 2 - 1).expand(-1, self.image_channels, -1, -1)
        with _exact():
            found = self.model.encode(channels.to(self.dtype))
        if hasattr(found, "latents"):  # AutoencoderTiny
            latents = found.latents.float()
        else:
            latents = found.latent_dist.mean.float()
            if generator is not None:
                noise = torch.randn(latents.shape, generator=generator).to(latents)
                latents = latents + found.latent_dist.std.float() * noise
        if torch.isfinite(latents).all():
            return latents
        if self._in_float32_now():
            return self.encode(images, generator)
        if not torch.isfinite(images).all():
            raise ValueError("images: a pixel is not finite")
        raise ValueError(f"vae {self.name}: a latent is not finite; encode in float32")

    @torch.no_grad()
    def decode(
        self, latents: Tensor, size: tuple[int, int] | None = None, *, tile_px: int | None = None
    ) -> Tensor:
        """Decode latents ``(B, C, h, w)`` to images ``(B, 1, H, W)`` clipped to [0, 1].

        Parameters
        ----------
        latents : Tensor
            As `encode` gives them.
        size : (int, int), optional
            Crops to the image that was encoded, where its sides were padded.
        tile_px : int, optional
            Decode overlapping tiles of this side one after another, for images that do not fit
            into memory. Tiles differ from the whole, how much depends on the model and the
            tile, so nothing that is measured here is decoded so.
        """
        if latents.ndim != 4 or latents.shape[1] != self.latent_channels:
            needed = f"(B, {self.latent_channels}, h, w) is needed"
            raise ValueError(f"latents: shape {tuple(latents.shape)}, but {needed}")
        if tile_px is not None:
            if not isinstance(tile_px, int) or tile_px < 1 or tile_px % (4 * self.factor):
                allowed = f"a multiple of {4 * self.factor} px is needed"
                raise ValueError(f"tile_px: {tile_px}; {allowed}")
            self.model.enable_tiling()
            self.model.tile_sample_min_size = tile_px
            self.model.tile_latent_min_size = tile_px // self.factor
        try:
            with _exact():
                decoded = self.model.decode(latents.to(self.device, self.dtype)).sample
        finally:
            if tile_px is not None:
                self.model.disable_tiling()
        images = (decoded.float().mean(1, keepdim=True) + 1) / 2  # (B, 1, H, W)
        if not torch.isfinite(images).all():
            if torch.isfinite(latents).all() and self._in_float32_now():
                return self.decode(latents, size, tile_px=tile_px)
            if not torch.isfinite(latents).all():
                raise ValueError("latents: a number is not finite")
            raise ValueError(f"vae {self.name}: a decoded pixel is not finite; decode in float32")
        if size is not None:
            whole = tuple(images.shape[-2:])
            if size[0] > whole[0] or size[1] > whole[1]:
                raise ValueError(f"size: {tuple(size)}; at most {whole} were decoded")
            images = images[..., : size[0], : size[1]]
        return images.clamp(0, 1)


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
    from latentsr import architectures, checkpoints, fetching

    if name in SPECS:
        raw = path.read_bytes()
        if (found := sha256(raw).hexdigest()) != card(name)["sha256"]:
            told = card(name)["sha256"]
            raise ValueError(f"{path} has sha256 {found}, its card {told}")
        model = build(SPECS[name].factor, SPECS[name].latent_channels)
        architectures.load_strictly(model, checkpoints.state_dict(path))
        return model
    fetching.check(name, path)
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
    from latentsr import architectures, checkpoints, fetching

    weights = fetching.weights(path)
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
