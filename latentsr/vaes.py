"""Autoencoders: reading a checkpoint, encoding and decoding grey images."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from latentsr.registry import EXTERNAL, SPECS, spec

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WEIGHTS = Path(__file__).parent / "weights"
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


class Autoencoder:
    """A frozen autoencoder behind one interface: grey images (B, 1, H, W) in [0, 1]."""

    def __init__(self, name: str, model: AutoencoderKL, factor: int):
        self.name, self.model, self.factor = name, model.eval().requires_grad_(False), factor
        self.latent_channels = int(model.config["latent_channels"])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode to the posterior mean, or to one sample of the posterior.

        Parameters
        ----------
        images : Tensor
            ``(B, 1, H, W)`` in [0, 1]; sides are padded by edge values to a multiple of the factor.
        generator : torch.Generator, optional
            A CPU generator; when given, the posterior is sampled with it.

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
        pad_h, pad_w = (-images.shape[-2]) % self.factor, (-images.shape[-1]) % self.factor
        padded = functional.pad(images, (0, pad_w, 0, pad_h), mode="replicate")
        posterior = self.model.encode(padded.to(self.device) * 2 - 1).latent_dist
        latents = posterior.mean
        if generator is not None:
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            latents = latents + posterior.std * noise
        if not torch.isfinite(latents).all():
            raise ValueError(f"vae {self.name}: a latent is not finite; encode in float32")
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Decode latents ``(B, C, h, w)`` to images ``(B, 1, H, W)`` clipped to [0, 1].

        ``size`` crops to the image that was encoded, where its sides were padded.
        """
        images = (self.model.decode(latents.to(self.device)).sample + 1) / 2
        if size is not None:
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


def load(name: str, device: str = "cpu") -> Autoencoder:
    """Load a registered autoencoder from the package, checked against its card.

    Raises
    ------
    ValueError
        For an unknown name, a file whose sha256 is not the card's, or missing or unexpected keys.
    """
    from hashlib import sha256

    from safetensors.torch import load as load_tensors

    if name in EXTERNAL:
        raise ValueError(f"vae {name}: this version reads only the shipped autoencoders")
    entry = spec(name)
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        raise ValueError(
            f"vae {name}: no weights at {path}; `make pretrain` makes them, then copy them there"
        )
    raw = path.read_bytes()
    if (found := sha256(raw).hexdigest()) != card(name)["sha256"]:
        raise ValueError(f"vae {name}: {path} has sha256 {found}, its card {card(name)['sha256']}")
    model = build(entry.factor, entry.latent_channels)
    state = {key: value.float() for key, value in load_tensors(raw).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise ValueError(f"vae {name}: missing keys {missing}, unexpected keys {unexpected}")
    return Autoencoder(name, model.to(device), entry.factor)
