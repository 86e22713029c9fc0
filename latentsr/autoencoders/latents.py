"""Latents of a data set: encoding in batches, their scale, and what they look like (the card)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.autoencoders import registry
from latentsr.autoencoders.model import Autoencoder
from latentsr.degrade import degrade, upsample
from latentsr.io import flush_memmaps, new_array
from latentsr.metrics import frequency, hallucination

Images = NDArray[np.float32]


def encode_all(
    vae: Autoencoder,
    images: Images,
    batch: int,
    path: Path | None = None,
    enlarge_px: int | None = None,
) -> Tensor:
    """Encode images ``(N, H, W)`` in [0, 1] to posterior means ``(N, C, h, w)``, batch by batch.

    With a ``path`` the latents are written to that npy file, and neither they nor images that
    lie on disk are ever in memory as a whole. ``enlarge_px`` enlarges the images first.
    """
    latents: Images | None = None
    for start in range(0, len(images), batch):
        piece = np.array(images[start : start + batch])
        if enlarge_px is not None:
            piece = upsample(piece, enlarge_px)
        encoded = vae.encode(torch.from_numpy(piece)[:, None]).cpu().numpy()  # of (B, 1, H, W)
        if latents is None:
            latents = new_array(path, (len(images), *encoded.shape[1:]))
        latents[start : start + batch] = encoded
        flush_memmaps(images, latents)
    if latents is None:
        raise ValueError("images: none to encode")
    return torch.from_numpy(latents)


def decode_all(vae: Autoencoder, latents: Tensor, batch: int) -> Images:
    """Decode latents ``(N, C, h, w)`` to images ``(N, H, W)`` in [0, 1]."""
    return torch.cat([vae.decode(piece).cpu() for piece in latents.split(batch)])[:, 0].numpy()


def encode_set(
    vae: Autoencoder, hr: Images, lr: Images, batch: int, folder: Path | None = None
) -> dict[str, Tensor]:
    """Encode HR images, LR images at their own size, and LR images enlarged to HR size.

    With a ``folder`` they are written there, as ``hr.npy``, ``lr.npy`` and ``upsampled.npy``.
    """
    jobs = {"hr": (hr, None), "lr": (lr, None), "upsampled": (lr, hr.shape[-1])}
    return {
        key: encode_all(vae, images, batch, folder and folder / f"{key}.npy", enlarge_px)
        for key, (images, enlarge_px) in jobs.items()
    }


def reconstruct_lr(vae: Autoencoder, lr: Images, batch: int) -> Images:
    """Encode and decode LR images ``(N, h, w)`` at their own size."""
    height, width = lr.shape[1:]
    return decode_all(vae, encode_all(vae, lr, batch), batch)[:, :height, :width]


def reconstruct_upsampled(
    vae: Autoencoder, lr: Images, hr_px: int, batch: int, operator: str = "bicubic"
) -> Images:
    """Encode and decode LR images ``(N, h, w)`` enlarged to ``hr_px``, and make them small again."""
    decoded = decode_all(vae, encode_all(vae, lr, batch, enlarge_px=hr_px), batch)
    return degrade(decoded[:, :hr_px, :hr_px], lr.shape[-1], operator)


@dataclass(frozen=True)
class Scaling:
    r"""Standardisation :math:`(z - \mu_c) / \sigma_c`, ``mean`` and ``sd`` (C,)."""

    mean: Tensor
    sd: Tensor

    @staticmethod
    def fit(training: Tensor, kind: str = "channel") -> Scaling:
        """Take mean and SD of training tensors ``(N, C, h, w)``.

        ``kind`` is "channel" (one pair a channel), "global" (one pair for all) or "none" (0 and 1).

        >>> training = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]])
        >>> Scaling.fit(training).mean.tolist(), Scaling.fit(training, "global").mean.tolist()
        ([2.0, 5.0], [3.5, 3.5])
        """
        channels = training.shape[1]
        if kind == "none":
            return Scaling(torch.zeros(channels), torch.ones(channels))
        if kind not in ("channel", "global"):
            raise ValueError(f"scaling: {kind!r}; allowed are channel, global and none")
        over = (0, 2, 3) if kind == "channel" else (0, 1, 2, 3)
        sd = training.std(over, correction=0).clamp_min(1e-6)
        return Scaling(training.mean(over).expand(channels), sd.expand(channels))

    def apply(self, latents: Tensor) -> Tensor:
        return (latents - self.mean[:, None, None]) / self.sd[:, None, None]

    def undo(self, scaled: Tensor) -> Tensor:
        return scaled * self.sd[:, None, None] + self.mean[:, None, None]


def gflop(vae: Autoencoder, side_px: int) -> tuple[float, float]:
    """Count what encoding and decoding one square image costs, in 10^9 FLOP; nothing is computed.

    Convolutions and matrix products are counted, a multiplication and its addition as two.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model, latent_px = copy.deepcopy(vae.model).to("meta"), side_px // vae.factor
    image = torch.empty((1, vae.image_channels, side_px, side_px), device="meta", dtype=vae.dtype)
    latent = image.new_empty((1, vae.latent_channels, latent_px, latent_px))
    counts = []
    for run, tensor in ((model.encode, image), (model.decode, latent)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run(tensor)
        counts.append(counter.get_total_flops() / 1e9)
    return counts[0], counts[1]


def card(vae: Autoencoder, training: Tensor, reconstructed: Images, hr: Images) -> dict[str, Any]:
    """Describe one autoencoder on one set: geometry, cost, latents, and what it loses.

    ``training`` are raw latents of the training images ``(N, C, h, w)``; ``reconstructed`` and
    ``hr`` are test images ``(M, H, W)``. Mean, SD and excess kurtosis are those of a channel; the
    PSNR of wavelet bands in dB is the mean over images.
    """
    scaling = Scaling.fit(training)
    fourth = ((training.double() - scaling.mean[:, None, None]) ** 4).mean((0, 2, 3))
    encode_gflop, decode_gflop = gflop(vae, hr.shape[-1])
    bands = frequency.compare_bands(torch.from_numpy(reconstructed), torch.from_numpy(hr))
    return {
        "vae": registry.display_name(vae.name),
        "trained_on": registry.trained_on(vae.name),
        "factor": vae.factor,
        "latent_channels": vae.latent_channels,
        "numbers_a_pixel": vae.latent_channels / vae.factor**2,
        "precision": str(vae.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in vae.model.parameters()),
        "encode_gflop": encode_gflop,
        "decode_gflop": decode_gflop,
        "channel_mean": scaling.mean.tolist(),
        "channel_sd": scaling.sd.tolist(),
        "channel_kurtosis": (fourth / scaling.sd.double() ** 4 - 3).tolist(),
        "non_finite_share": float((~torch.isfinite(training)).double().mean()),
        "subband_psnr_db": {name: float(band["psnr_db"].mean()) for name, band in bands.items()},
        "noise_floor": hallucination.noise_floor(reconstructed, hr),
    }
