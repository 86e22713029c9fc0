r"""The noising process: schedules of the signal share, and what a network predicts of it.

Notation: a = cumulative signal share at a time, :math:`z = \sqrt{a} x_0 + \sqrt{1 - a} \epsilon`;
for rectified flow, with s = (t + 1) / 1000, :math:`z = (1 - s) x_0 + s \epsilon`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

NUM_TRAIN_TIMESTEPS = 1000
SCHEDULES = ("cosine", "linear", "released")
PREDICTIONS = ("x0", "v", "epsilon", "flow", "one_step")
LARGEST_NOISE_TO_SIGNAL = 50.0  # where a prediction of epsilon may start, see `first_time`
HALF_THE_GRID = -2 * log(
    2
)  # shift of the log-SNR for twice the latents a side, see `signal_shares`


def check_name(what: str, name: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not known.

    >>> check_name("schedule", "sine", SCHEDULES)
    Traceback (most recent call last):
    ValueError: schedule: 'sine'; allowed are cosine, linear, released
    """
    if name not in allowed:
        raise ValueError(f"{what}: {name!r}; allowed are {', '.join(allowed)}")


def signal_shares(schedule: str = "cosine", log_snr_shift: float = 0.0) -> Tensor:
    r"""Return the signal share a of every time, ``(1000,)``; t = 0 is nearly clean.

    Parameters
    ----------
    schedule : {"cosine", "linear", "released"}
        diffusers' ``squaredcos_cap_v2``, or its ``linear`` from 1e-4 to 0.02, or the cosine
        schedule as the paper's authors wrote it, see `released_shares`.
    log_snr_shift : float
        Added to :math:`\log(a / (1 - a))`. With -2 ln 2 the means of 2 x 2 latents have the noise
        that single latents have without: so much more noise a grid of twice the side can bear.

    References
    ----------
    Hoogeboom, Heek & Salimans, simple diffusion, ICML 2023, section 3.1.

    Examples
    --------
    >>> shifted, plain = signal_shares("linear", HALF_THE_GRID), signal_shares("linear")
    >>> noise_to_signal = (1 - shifted[500]) / shifted[500] / 4  # of the mean of four latents
    >>> bool(torch.isclose(noise_to_signal, (1 - plain[500]) / plain[500]))
    True
    """
    from diffusers import DDPMScheduler

    check_name("schedule", schedule, SCHEDULES)
    if schedule == "released":
        shares = released_shares()
    else:
        name = {"cosine": "squaredcos_cap_v2", "linear": "linear"}[schedule]
        shares = DDPMScheduler(NUM_TRAIN_TIMESTEPS, beta_schedule=name).alphas_cumprod
    if log_snr_shift == 0:
        return shares
    exact = shares.double()
    return torch.sigmoid(torch.logit(exact) + log_snr_shift).float()


def released_shares() -> Tensor:
    r"""Return the signal shares of the paper's released code, ``(1000,)``, t = 0 nearly clean.

    :math:`\cos^2\left(\frac{x / (T + 1) + s}{1 + s} \cdot \frac{\pi}{2}\right)` with s = 0.008
    on T + 1 points x from 0 to T + 1, as a product of steps of at least 1e-4.
    """
    count = NUM_TRAIN_TIMESTEPS + 1
    place = torch.linspace(0, count, count, dtype=torch.float64) / count
    share = torch.cos((place + 0.008) / 1.008 * torch.pi / 2) ** 2
    return (share[1:] / share[:-1]).clamp(1e-4, 1).cumprod(0).float()


def betas(shares: Tensor) -> Tensor:
    """Return each time's own noise variance, as diffusers' schedulers want it."""
    before = torch.cat([torch.ones_like(shares[:1]), shares[:-1]])
    return 1 - shares / before


def _weights(prediction: str, times: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of x0 and epsilon in z, ``(B, 1, 1, 1)``."""
    check_name("prediction", prediction, PREDICTIONS)
    if prediction == "one_step":  # nothing of the image, and no noise either
        signal = noise = torch.zeros(len(times), dtype=shares.dtype, device=times.device)
    elif prediction == "flow":
        noise = (times + 1).to(shares.dtype) / NUM_TRAIN_TIMESTEPS
        signal = 1 - noise
    else:
        share = shares.to(times.device)[times]
        signal, noise = share.sqrt(), (1 - share).sqrt()
    return signal[:, None, None, None], noise[:, None, None, None]


def noised(
    clean: Tensor, noise: Tensor, times: Tensor, shares: Tensor, prediction: str = "x0"
) -> Tensor:
    """Return z of images ``(B, C, h, w)`` at times ``(B,)``; of a one-step regression, zeros."""
    signal, rest = _weights(prediction, times, shares)
    return signal * clean + rest * noise


def wanted(prediction: str, clean: Tensor, noise: Tensor, times: Tensor, shares: Tensor) -> Tensor:
    r"""Return what a network of this kind should predict, ``(B, C, h, w)``.

    x0 itself; :math:`v = \sqrt{a} \epsilon - \sqrt{1 - a} x_0`; :math:`\epsilon`; or the flow's
    velocity :math:`\epsilon - x_0`. A one-step regression predicts x0.
    """
    check_name("prediction", prediction, PREDICTIONS)
    if prediction == "epsilon":
        return noise
    if prediction == "flow":
        return noise - clean
    if prediction == "v":
        signal, rest = _weights(prediction, times, shares)
        return signal * noise - rest * clean
    return clean


def clean_of(prediction: str, out: Tensor, z: Tensor, times: Tensor, shares: Tensor) -> Tensor:
    """Return the x0 that a prediction ``out`` at z stands for, the inverse of `wanted`."""
    if prediction in ("x0", "one_step"):
        return out
    signal, rest = _weights(prediction, times, shares)
    if prediction == "epsilon":
        return (z - rest * out) / signal
    if prediction == "flow":  # z = x0 + s (eps - x0)
        return z - rest * out
    return signal * z - rest * out


def first_time(prediction: str, shares: Tensor) -> int:
    """Return the time at which a walk starts: 999, but for epsilon no worse than 50 to 1.

    At t = 999 of the cosine schedule an error of epsilon is one of x0 2e4 times as large.

    >>> first_time("v", signal_shares()), first_time("epsilon", signal_shares())
    (999, 986)
    """
    check_name("prediction", prediction, PREDICTIONS)
    if prediction != "epsilon":
        return NUM_TRAIN_TIMESTEPS - 1
    ratio = ((1 - shares) / shares).sqrt()
    return int(torch.nonzero(ratio <= LARGEST_NOISE_TO_SIGNAL).max())
