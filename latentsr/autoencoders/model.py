"""A frozen autoencoder behind one interface: grey images in and out, whatever its model is."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TOLERANCE = 1e-3  # of grey values beyond 0 and 1


# keeps a GPU from rounding convolutions to TF32: latents and images are the CPU's to 1e-4
exact = partial(torch.backends.cudnn.flags, enabled=True, allow_tf32=False)


class Autoencoder:
    """A frozen autoencoder: grey images (B, 1, H, W) in [0, 1] to float32 latents and back.

    ``model`` is diffusers' AutoencoderKL or AutoencoderTiny, whose own images are in [-1, 1] and
    may have three channels: a grey image is repeated, and the mean over channels comes back.
    """

    def __init__(self, name: str, model: Any):
        self.name, self.model = name, model.eval().requires_grad_(False)
        self.latent_channels = int(model.config["latent_channels"])
        self.image_channels = int(model.config["in_channels"])
        self.factor = 2 ** (len(model.config["block_out_channels"]) - 1)
        channels_out = int(model.config["out_channels"])
        if self.image_channels not in (1, 3) or channels_out != self.image_channels:
            ends = f"{self.image_channels} channels in, {channels_out} out"
            raise ValueError(f"vae {name}: {ends}; 1 or 3 are read")

    def __repr__(self) -> str:
        return f"Autoencoder({self.name!r}, {self.geometry}, {self.dtype}, {self.device})"

    @property
    def geometry(self) -> str:
        return f"f{self.factor}c{self.latent_channels}"

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def _falls_back(self) -> bool:
        """Go on in float32 if it was float16 until now, with a warning."""
        if self.dtype != torch.float16:
            return False
        warnings.warn(f"vae {self.name}: float16 overflowed; float32 from here on", stacklevel=3)
        self.model.float()
        return True

    @torch.no_grad()
    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode to the posterior mean ``(B, C, ceil(H / factor), ceil(W / factor))``.

        Sides of the images ``(B, 1, H, W)`` in [0, 1] are padded by edge values to a multiple of
        the factor. With a CPU ``generator`` the posterior is sampled; AutoencoderTiny has none.
        """
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(f"images: shape {tuple(images.shape)}, but (B, 1, H, W) is needed")
        if len(images) and (images.min() < -TOLERANCE or images.max() > 1 + TOLERANCE):
            span = f"{float(images.min()):g} to {float(images.max()):g}"
            raise ValueError(f"images: grey values {span}; 0 to 1 are needed")
        pad_h, pad_w = (-images.shape[-2]) % self.factor, (-images.shape[-1]) % self.factor
        padded = functional.pad(images, (0, pad_w, 0, pad_h), mode="replicate")
        channels = (padded.to(self.device) * 2 - 1).expand(-1, self.image_channels, -1, -1)
        with exact():
            encoded = self.model.encode(channels.to(self.dtype))
        if hasattr(encoded, "latents"):  # AutoencoderTiny
            latents = encoded.latents.float()
        else:
            latents = encoded.latent_dist.mean.float()
            if generator is not None:
                noise = torch.randn(latents.shape, generator=generator).to(latents)
                latents = latents + encoded.latent_dist.std.float() * noise
        if torch.isfinite(latents).all():
            return latents
        if not torch.isfinite(images).all():
            raise ValueError("images: a pixel is not finite")
        if self._falls_back():
            return self.encode(images, generator)
        raise ValueError(f"vae {self.name}: a latent is not finite; encode in float32")

    @torch.no_grad()
    def decode(
        self, latents: Tensor, size: tuple[int, int] | None = None, *, tile_px: int | None = None
    ) -> Tensor:
        """Decode latents ``(B, C, h, w)`` to images ``(B, 1, H, W)`` clipped to [0, 1].

        ``size`` crops to the image that was encoded, where its sides were padded. ``tile_px``
        decodes overlapping tiles of this side one after another, for images that do not fit into
        memory. Tiles differ from the whole: nothing that is measured is decoded so.
        """
        if latents.ndim != 4 or latents.shape[1] != self.latent_channels:
            needed = f"(B, {self.latent_channels}, h, w) is needed"
            raise ValueError(f"latents: shape {tuple(latents.shape)}, but {needed}")
        if tile_px is not None:
            if not isinstance(tile_px, int) or tile_px < 1 or tile_px % (4 * self.factor):
                raise ValueError(
                    f"tile_px: {tile_px}; a multiple of {4 * self.factor} px is needed"
                )
            self.model.enable_tiling()
            self.model.tile_sample_min_size = tile_px
            self.model.tile_latent_min_size = tile_px // self.factor
        try:
            with exact():
                decoded = self.model.decode(latents.to(self.device, self.dtype)).sample
        finally:
            if tile_px is not None:
                self.model.disable_tiling()
        images = (decoded.float().mean(1, keepdim=True) + 1) / 2  # (B, 1, H, W)
        if not torch.isfinite(images).all():
            if not torch.isfinite(latents).all():
                raise ValueError("latents: a number is not finite")
            if self._falls_back():
                return self.decode(latents, size, tile_px=tile_px)
            raise ValueError(f"vae {self.name}: a decoded pixel is not finite; decode in float32")
        height, width = size or images.shape[-2:]
        if height > images.shape[-2] or width > images.shape[-1]:
            whole = tuple(images.shape[-2:])
            raise ValueError(f"size: {height, width}; at most {whole} were decoded")
        return images[..., :height, :width].clamp(0, 1)
