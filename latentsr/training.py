"""Training a denoiser: noising, loss and loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional

from latentsr.denoisers import Denoiser

NUM_TRAIN_TIMESTEPS = 1000


def alphas_cumprod() -> Tensor:
    """Return the cumulative signal share of the cosine schedule, ``(1000,)``, t = 0 nearly clean."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(NUM_TRAIN_TIMESTEPS, beta_schedule="squaredcos_cap_v2").alphas_cumprod


def add_noise(clean: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    r"""Return :math:`\sqrt{a} x_0 + \sqrt{1 - a} \epsilon` for ``signal`` a of shape ``(B,)``."""
    share = signal[:, None, None, None]  # (B, 1, 1, 1)
    return share.sqrt() * clean + (1 - share).sqrt() * noise


@dataclass(frozen=True)
class Settings:
    """How a denoiser is trained; ``steps`` optimiser steps of one-cycle AdamW."""

    steps: int
    batch: int
    max_learning_rate: float
    weight_decay: float
    gradient_clip: float
    seed: int


def train(
    denoiser: Denoiser,
    target: Tensor,
    condition: Tensor,
    settings: Settings,
    *,
    device: str = "cpu",
    progress: Callable[[], object] | None = None,
) -> list[float]:
    r"""Train in place to predict x0 with the L1 loss :math:`|net(z_t, c, t) - x_0|_1`.

    Parameters
    ----------
    denoiser : Denoiser
        Changed in place and left on ``device``.
    target, condition : Tensor
        Scaled training tensors ``(N, C, h, w)`` and ``(N, K, h, w)`` on the common grid.
    device : str
        "cpu" or "cuda", one of them in a process (Accelerate keeps it).
    settings : Settings
        Optimiser and seed. Order and times come from one CPU generator, noise from another: arms of
        one seed see the same images and times, whatever the shape of their targets. Under
        `torchrun` every process draws the whole batch and takes its share of it, so
        that the number of devices changes a result only by rounding.
    progress : callable, optional
        Called after every step, for a progress bar.

    Returns
    -------
    list of float
        The loss of every step.

    Raises
    ------
    ValueError
        When the loss stops being finite, or processes cannot share a batch equally.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device == "cpu")
    assert accelerator.device.type == torch.device(device).type  # noqa: S101 - one type a process
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    if settings.batch % accelerator.num_processes:
        allowed = f"a multiple of {accelerator.num_processes} processes is needed"
        raise ValueError(f"train_arm.batch: {settings.batch}; {allowed}")
    optimiser = torch.optim.AdamW(
        denoiser.parameters(), settings.max_learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.max_learning_rate, total_steps=settings.steps
    )
    net, optimiser = accelerator.prepare(denoiser, optimiser)
    order, noises = (torch.Generator().manual_seed(settings.seed + k) for k in (0, 1))
    signal = alphas_cumprod()
    net.train()
    losses: list[float] = []
    for step in range(settings.steps):
        rows = torch.randint(len(target), (settings.batch,), generator=order)
        times = torch.randint(NUM_TRAIN_TIMESTEPS, (settings.batch,), generator=order)
        noise = torch.randn(target[rows].shape, generator=noises)
        noisy = add_noise(target[rows], noise, signal[times])
        batch = (noisy, condition[rows], times, target[rows])
        noisy, seen, times, clean = (tensor[share].to(accelerator.device) for tensor in batch)
        loss = functional.l1_loss(net(noisy, seen, times), clean)
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
        if not isfinite(losses[-1]):
            raise ValueError(f"training: loss {losses[-1]} at step {step}; lower max_learning_rate")
        optimiser.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(net.parameters(), settings.gradient_clip)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress()
    net.eval()
    return losses
