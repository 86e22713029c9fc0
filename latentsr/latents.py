"""Latents of a data set: encoding in batches, the cache, scaling and cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.degrade import upsample
from latentsr.vaes import Autoencoder

Images = NDArray[np.float32]


def encode_all(vae: Autoencoder, images: Images, batch: int) -> Tensor:
    """Encode images ``(N, H, W)`` in [0, 1] to posterior means ``(N, C, h, w)``."""
    pieces = torch.from_numpy(np.ascontiguousarray(images))[:, None].split(batch)  # (N, 1, H, W)
    return torch.cat([vae.encode(piece).cpu() for piece in pieces])


def decode_all(vae: Autoencoder, latents: Tensor, batch: int) -> Images:
    """Decode latents ``(N, C, h, w)`` to images ``(N, H, W)`` in [0, 1]."""
    pieces = [vae.decode(piece).cpu() for piece in latents.split(batch)]
    return torch.cat(pieces)[:, 0].numpy()


def of_lr(vae: Autoencoder, lr: Images, hr_px: int, batch: int) -> dict[str, Images]:
    """Return the latents of LR images ``(N, h, w)``, at their own size and enlarged to HR size."""
    images = {"lr": lr, "upsampled": upsample(lr, hr_px)}
    return {key: encode_all(vae, value, batch).numpy() for key, value in images.items()}


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
