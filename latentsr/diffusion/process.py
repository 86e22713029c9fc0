r"""The noising process: noise schedules, and what a network predicts.

With :math:`\bar\alpha` the cumulative signal share of a time,
:math:`z = \sqrt{\bar\alpha} x_0 + \sqrt{1 - \bar\alpha} \epsilon`; for rectified flow, with
s = (t + 1) / 1000, :math:`z = (1 - s) x_0 + s \epsilon`. In all signatures ``x0``, ``noise``, ``z``
and ``output`` are ``(B, C, h, w)``, ``timesteps`` ``(B,)`` and ``alphas`` ``(1000,)``, the signal
share of every time, t = 0 nearly clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

NUM_TRAIN_TIMESTEPS = 1000
SCHEDULES = ("cosine", "linear", "released")
PREDICTIONS = ("x0", "v", "epsilon", "flow", "one_step")
MAX_NOISE_TO_SIGNAL = 50.0  # where a prediction of epsilon may start
LOGSNR_SHIFT_2X = -2 * log(2)  # for a grid of twice the side


def check_name(what: str, name: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not known.

    >>> check_name("schedule", "sine", SCHEDULES)
    Traceback (most recent call last):
    ValueError: schedule: 'sine'; allowed are cosine, linear, released
    """
    if name not in allowed:
        raise ValueError(f"{what}: {name!r}; allowed are {', '.join(allowed)}")


def alphas_cumprod(schedule: str = "cosine", log_snr_shift: float = 0.0) -> Tensor:
    r"""Return the cumulative signal share of every time, ``(1000,)``; t = 0 is nearly clean.

    "cosine" is diffusers' ``squaredcos_cap_v2``; "linear" goes from 1e-4 to 0.02; "released" is
    the authors' :math:`\cos^2\left(\frac{x / (T + 1) + s}{1 + s} \cdot \frac{\pi}{2}\right)` with
    s = 0.008 on T + 1 points x from 0 to T + 1, as a product of steps of at least 1e-4. The shift
    is added to the log-SNR: with -2 ln 2 the means of 2 x 2 latents have the noise that single
    latents have without (Hoogeboom, Heek & Salimans, simple diffusion, ICML 2023, section 3.1).

    >>> shifted, plain = alphas_cumprod("linear", LOGSNR_SHIFT_2X), alphas_cumprod("linear")
    >>> noise_to_signal = (1 - shifted[500]) / shifted[500] / 4  # of the mean of four latents
    >>> bool(torch.isclose(noise_to_signal, (1 - plain[500]) / plain[500]))
    True
    """
    from diffusers import DDPMScheduler

    check_name("schedule", schedule, SCHEDULES)
    if schedule == "released":
        count = NUM_TRAIN_TIMESTEPS + 1
        position = torch.linspace(0, count, count, dtype=torch.float64) / count
        share = torch.cos((position + 0.008) / 1.008 * torch.pi / 2) ** 2
        alphas = (share[1:] / share[:-1]).clamp(1e-4, 1).cumprod(0).float()
    else:
        name = {"cosine": "squaredcos_cap_v2", "linear": "linear"}[schedule]
        alphas = DDPMScheduler(NUM_TRAIN_TIMESTEPS, beta_schedule=name).alphas_cumprod
    if log_snr_shift == 0:
        return alphas
    return torch.sigmoid(torch.logit(alphas.double()) + log_snr_shift).float()


def betas(alphas: Tensor) -> Tensor:
    """Return the noise variance that each time adds ``(1000,)``, as diffusers' schedulers want it."""
    before = torch.cat([torch.ones_like(alphas[:1]), alphas[:-1]])
    return 1 - alphas / before


def signal_and_noise(prediction: str, timesteps: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of x0 and of the noise in z, ``(B, 1, 1, 1)``.

    A one-step regression is given zeros: neither image nor noise.
    """
    check_name("prediction", prediction, PREDICTIONS)
    if prediction == "one_step":
        signal = noise = torch.zeros(len(timesteps), dtype=alphas.dtype, device=timesteps.device)
    elif prediction == "flow":
        noise = (timesteps + 1).to(alphas.dtype) / NUM_TRAIN_TIMESTEPS
        signal = 1 - noise
    else:
        share = alphas.to(timesteps.device)[timesteps]
        signal, noise = share.sqrt(), (1 - share).sqrt()
    return signal[:, None, None, None], noise[:, None, None, None]


def add_noise(
    x0: Tensor, noise: Tensor, timesteps: Tensor, alphas: Tensor, prediction: str = "x0"
) -> Tensor:
    """Return z at the given times ``(B, C, h, w)``."""
    signal, rest = signal_and_noise(prediction, timesteps, alphas)
    return signal * x0 + rest * noise


def training_target(
    prediction: str, x0: Tensor, noise: Tensor, timesteps: Tensor, alphas: Tensor
) -> Tensor:
    r"""Return what a network of this kind should predict, ``(B, C, h, w)``.

    x0 (of a one-step regression too); :math:`v = \sqrt{\bar\alpha} \epsilon -
    \sqrt{1 - \bar\alpha} x_0`; :math:`\epsilon`; or the flow's velocity :math:`\epsilon - x_0`.
    """
    signal, rest = signal_and_noise(prediction, timesteps, alphas)
    if prediction == "epsilon":
        return noise
    if prediction == "flow":
        return noise - x0
    return signal * noise - rest * x0 if prediction == "v" else x0


def to_x0(prediction: str, output: Tensor, z: Tensor, timesteps: Tensor, alphas: Tensor) -> Tensor:
    """Return the x0 that a network's output at z implies: the inverse of `training_target`."""
    if prediction in ("x0", "one_step"):
        return output
    signal, rest = signal_and_noise(prediction, timesteps, alphas)
    if prediction == "epsilon":
        return (z - rest * output) / signal
    if prediction == "flow":  # z = x0 + s (eps - x0)
        return z - rest * output
    return signal * z - rest * output


def start_timestep(prediction: str, alphas: Tensor) -> int:
    """Return the time at which sampling starts: 999, but for epsilon no worse than 50 to 1.

    At t = 999 of the cosine schedule an error of epsilon is one of x0 2e4 times as large.

    >>> start_timestep("v", alphas_cumprod()), start_timestep("epsilon", alphas_cumprod())
    (999, 986)
    """
    check_name("prediction", prediction, PREDICTIONS)
    if prediction != "epsilon":
        return NUM_TRAIN_TIMESTEPS - 1
    ratio = ((1 - alphas) / alphas).sqrt()
    return int(torch.nonzero(ratio <= MAX_NOISE_TO_SIGNAL).max())
