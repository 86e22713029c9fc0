"""Latents of a data set: encoding in batches, the cache, scaling and cards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.degrade import upsample
from latentsr.scores import new_array
from latentsr.vaes import Autoencoder

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
    codes: Images | None = None
    for start in range(0, len(images), batch):
        piece = np.array(images[start : start + batch])
        if enlarge_px is not None:
            piece = upsample(piece, enlarge_px)
        found = vae.encode(torch.from_numpy(piece)[:, None]).cpu().numpy()  # of (B, 1, H, W)
        if codes is None:
            codes = new_array(path, (len(images), *found.shape[1:]))
        codes[start : start + batch] = found
    if codes is None:
        raise ValueError("images: none to encode")
    return torch.from_numpy(codes)


def decode_all(vae: Autoencoder, latents: Tensor, batch: int) -> Images:
    """Decode latents ``(N, C, h, w)`` to images ``(N, H, W)`` in [0, 1]."""
    pieces = [vae.decode(piece).cpu() for piece in latents.split(batch)]
    return torch.cat(pieces)[:, 0].numpy()


def keep(
    vae: Autoencoder, hr: Images, lr: Images, batch: int, folder: Path | None = None
) -> dict[str, Tensor]:
    """Encode HR images, LR images at their own size, and LR images enlarged to HR size.

    With a ``folder`` they are written there, as ``hr.npy``, ``lr.npy`` and ``upsampled.npy``.
    """
    jobs = {"hr": (hr, None), "lr": (lr, None), "upsampled": (lr, hr.shape[-1])}
    paths = {key: folder / f"{key}.npy" if folder else None for key in jobs}
    return {
        key: encode_all(vae, images, batch, paths[key], enlarge_px)
        for key, (images, enlarge_px) in jobs.items()
    }


@dataclass(frozen=True)
class Scaling:
    r"""Per-channel standardisation :math:`(z - \mu_c) / \sigma_c`, ``mean`` and ``sd`` (C,)."""

    mean: Tensor
    sd: Tensor

    @staticmethod
    def fit(training: Tensor) -> Scaling:
        """Take mean and SD of every channel of training tensors ``(N, C, h, w)``.

        Examples
        --------
        >>> scaling = Scaling.fit(torch.tensor([[[[1.0, 3.0]]]]))
        >>> scaling.apply(torch.tensor([[[[3.0]]]])).item()
        1.0
        """
        sd = training.std((0, 2, 3), correction=0).clamp_min(1e-6)
        return Scaling(training.mean((0, 2, 3)), sd)

    def apply(self, latents: Tensor) -> Tensor:
        return (latents - self.mean[:, None, None]) / self.sd[:, None, None]

    def undo(self, scaled: Tensor) -> Tensor:
        return scaled * self.sd[:, None, None] + self.mean[:, None, None]


def card(vae: Autoencoder, training: Tensor, error: Images) -> dict[str, Any]:
    """Describe one VAE on one set.

    Parameters
    ----------
    training : Tensor
        Raw latents of the training images ``(N, C, h, w)``.
    error : ndarray
        ``decode(encode(HR)) - HR`` of the test images ``(M, H, W)``.

    Returns
    -------
    dict
        Per-channel mean, SD and excess kurtosis, numbers a pixel, parameters, and the noise
        floor: mean + 2 SD of the absolute reconstruction error.
    """
    scaling = Scaling.fit(training)
    fourth = ((training.double() - scaling.mean[:, None, None]) ** 4).mean((0, 2, 3))
    absolute = np.abs(error.astype(np.float64))
    return {
        "vae": vae.name,
        "factor": vae.factor,
        "latent_channels": vae.latent_channels,
        "numbers_a_pixel": vae.latent_channels / vae.factor**2,
        "parameters": sum(p.numel() for p in vae.model.parameters()),
        "channel_mean": scaling.mean.tolist(),
        "channel_sd": scaling.sd.tolist(),
        "channel_kurtosis": (fourth / scaling.sd.double() ** 4 - 3).tolist(),
        "noise_floor": float(absolute.mean() + 2 * absolute.std()),
    }
