"""Latent cards: what an autoencoder is, what it costs, and what its latents of a set look like."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr.autoencoders import registry
from latentsr.autoencoders.latents import Images, Scaling
from latentsr.autoencoders.load import Autoencoder
from latentsr.metrics import frequency, hallucination


def gflop(vae: Autoencoder, side_px: int) -> tuple[float, float]:
    """Count what encoding and decoding one square image costs, in 10^9 FLOP; nothing is computed.

    Convolutions and matrix products are counted, a multiplication and its addition as two.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = copy.deepcopy(vae.model).to("meta")
    latent_px = side_px // vae.factor
    shapes = {
        "encode": (1, vae.image_channels, side_px, side_px),
        "decode": (1, vae.latent_channels, latent_px, latent_px),
    }
    counts = []
    for way, shape in shapes.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            getattr(model, way)(torch.empty(shape, device="meta", dtype=vae.dtype))
        counts.append(counter.get_total_flops() / 1e9)
    return counts[0], counts[1]


def card(vae: Autoencoder, training: Tensor, decoded: Images, hr: Images) -> dict[str, Any]:
    """Describe one autoencoder on one set.

    Parameters
    ----------
    training : Tensor
        Raw latents of the training images ``(N, C, h, w)``.
    decoded, hr : ndarray
        ``decode(encode(HR))`` and HR, of the test images ``(M, H, W)``.

    Returns
    -------
    dict
        Geometry, budget, parameters and cost; mean, SD and excess kurtosis of each channel (mean
        and SD are the scale that arms use); the share of latents that are not finite; PSNR in dB
        of the wavelet bands (mean over images); and the noise floor: mean + 2 SD of the absolute
        reconstruction error.
    """
    scaling = Scaling.fit(training)
    fourth = ((training.double() - scaling.mean[:, None, None]) ** 4).mean((0, 2, 3))
    encode_gflop, decode_gflop = gflop(vae, hr.shape[-1])
    bands = frequency.compare_bands(torch.from_numpy(decoded), torch.from_numpy(hr))
    return {
        "vae": registry.label(vae.name),
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
        "subband_psnr_db": {band: float(found["psnr_db"].mean()) for band, found in bands.items()},
        "noise_floor": hallucination.noise_floor(decoded, hr),
    }


def densities(training: Tensor, bins: int = 48) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bin centres ``(K,)`` from -4 to 4 SD and each channel's density there ``(C, K)``."""
    scaled = Scaling.fit(training).apply(training)  # (N, C, h, w)
    edges = np.linspace(-4, 4, bins + 1)
    rows = [
        np.histogram(channel, edges)[0] / channel.numel() / np.diff(edges)
        for channel in scaled.transpose(0, 1)
    ]
    return (edges[1:] + edges[:-1]) / 2, np.stack(rows)


def milliseconds(vae: Autoencoder, side_px: int) -> tuple[float, float]:
    """Time encoding and decoding one square image by itself, once, in ms."""
    given = torch.zeros(1, 1, side_px, side_px)
    took = []
    for way in (vae.encode, vae.decode):
        started = time.perf_counter()
        given = way(given).cpu()  # waits for a GPU
        took.append(1000 * (time.perf_counter() - started))
    return took[0], took[1]
