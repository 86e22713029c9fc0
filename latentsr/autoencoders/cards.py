"""Latent cards: what an autoencoder is, what it costs, and what its latents of a set look like."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from latentsr.autoencoders import registry
from latentsr.autoencoders.latents import Images, Scaling
from latentsr.autoencoders.model import Autoencoder
from latentsr.metrics import frequency, hallucination


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
    """Describe one autoencoder on one set.

    Parameters
    ----------
    training : Tensor
        Raw latents of the training images ``(N, C, h, w)``.
    reconstructed, hr : ndarray
        ``decode(encode(HR))`` and HR, of the test images ``(M, H, W)``.

    Returns
    -------
    dict
        Geometry, latent size, parameters and cost; mean, SD and excess kurtosis of each channel
        (mean and SD are the scale that arms use); the share of latents that are not finite; PSNR
        in dB of the wavelet bands (mean over images); and the noise floor: mean + 2 SD of the
        absolute reconstruction error.
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
