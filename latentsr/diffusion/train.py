"""Training a denoiser: noising, loss and loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentsr.diffusion import process as diffusion
from latentsr.diffusion.process import NUM_TRAIN_TIMESTEPS

LOSSES = {"l1": functional.l1_loss, "l2": functional.mse_loss}


@dataclass(frozen=True)
class Settings:
    """How a denoiser is trained; ``steps`` optimiser steps of one-cycle AdamW.

    ``prediction`` is one of `diffusion.PREDICTIONS`, ``schedule`` and ``log_snr_shift`` as in
    `diffusion.signal_shares`; ``loss`` is "l1" or "l2".
    """

    steps: int
    batch: int
    max_learning_rate: float
    weight_decay: float
    gradient_clip: float
    seed: int
    ema_decay: float = 0.0  # of the moving average of weights that is kept in the end; 0: none
    prediction: str = "x0"
    loss: str = "l1"
    schedule: str = "cosine"
    log_snr_shift: float = 0.0


def fingerprint(denoiser: nn.Module, target: Tensor, condition: Tensor, settings: Settings) -> str:
    """Return a hash of all that a training depends on: settings, data, first weights and code."""
    from diffusers import __version__ as diffusers_version

    versions = f"torch {torch.__version__} diffusers {diffusers_version}"
    found = sha256(f"{settings!r} {versions}".encode())
    for tensor in (target, condition, *denoiser.state_dict().values()):
        found.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for name in ("train.py", "networks.py", "process.py", "transformer.py"):
        found.update((Path(__file__).parent / name).read_bytes())
    return found.hexdigest()


def train(
    denoiser: nn.Module,
    target: Tensor,
    condition: Tensor,
    settings: Settings,
    *,
    device: str = "cpu",
    progress: Callable[[], object] | None = None,
    keep: Path | None = None,
    save_every_s: float = 60.0,
) -> list[float]:
    r"""Train in place, by default to predict x0 with the L1 loss :math:`|net(z_t, c, t) - x_0|_1`.

    Parameters
    ----------
    denoiser : nn.Module
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
    keep : Path, optional
        A folder for the state of a training that is not finished: weights, moving average,
        optimiser, schedule, step and generators, written whole or not at all. A training that
        was killed goes on from there, on the CPU to the same bits. The file's name is a hash of
        settings, data and code, so a state of another training is never taken up.
    save_every_s : float
        Seconds between two writes, the most that is lost.

    Returns
    -------
    list of float
        The loss of every step.

    Raises
    ------
    ValueError
        When the loss stops being finite, processes cannot share a batch equally, or the state
        that ``keep`` holds is of another training.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device == "cpu")
    assert accelerator.device.type == torch.device(device).type  # noqa: S101 - one type a process
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    if settings.batch % accelerator.num_processes:
        allowed = f"a multiple of {accelerator.num_processes} processes is needed"
        raise ValueError(f"train_arm.batch: {settings.batch}; {allowed}")
    optimiser = torch.optim.AdamW(
        denoiser.parameters(),
        settings.max_learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,  # a step in one pass: 6% of a small network's training on a CPU
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.max_learning_rate, total_steps=settings.steps
    )
    net, optimiser = accelerator.prepare(denoiser, optimiser)
    order, noises = (torch.Generator().manual_seed(settings.seed + k) for k in (0, 1))
    shares = diffusion.signal_shares(settings.schedule, settings.log_snr_shift)
    diffusion.check_name("loss", settings.loss, list(LOSSES))
    kind = settings.prediction
    net.train()
    plain = accelerator.unwrap_model(net)
    average = {k: v.clone() for k, v in plain.state_dict().items()} if settings.ema_decay else {}
    losses: list[float] = []
    made_of = fingerprint(denoiser, target, condition, settings)
    path = keep / f"{made_of[:24]}.pt" if keep else None
    if path and path.exists():
        state = torch.load(path, map_location=accelerator.device, weights_only=True)
        if state["made_of"] != made_of:
            raise ValueError(f"{path}: the state of another training; remove it")
        plain.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        for generator, found in zip((order, noises), state["generators"], strict=True):
            generator.set_state(found.cpu())
        average, losses = state["average"], state["losses"]
        for _ in losses:
            if progress is not None:
                progress()
    saved = time.monotonic()
    for step in range(len(losses), settings.steps):
        rows = torch.randint(len(target), (settings.batch,), generator=order)
        times = torch.randint(NUM_TRAIN_TIMESTEPS, (settings.batch,), generator=order)
        noise = torch.randn(target[rows].shape, generator=noises)
        if kind == "one_step":
            times = torch.full_like(times, NUM_TRAIN_TIMESTEPS - 1)
        noisy = diffusion.noised(target[rows], noise, times, shares, kind)
        aim = diffusion.wanted(kind, target[rows], noise, times, shares)
        batch = (noisy, condition[rows], times, aim)
        noisy, seen, times, aim = (tensor[share].to(accelerator.device) for tensor in batch)
        loss = LOSSES[settings.loss](net(noisy, seen, times), aim)
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
        if not isfinite(losses[-1]):
            raise ValueError(f"training: loss {losses[-1]} at step {step}; lower max_learning_rate")
        optimiser.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(net.parameters(), settings.gradient_clip)
        optimiser.step()
        schedule.step()
        for key, value in plain.state_dict().items() if average else ():
            average[key].lerp_(value, 1 - settings.ema_decay)
        if path and accelerator.is_main_process and time.monotonic() - saved >= save_every_s:
            state = {"made_of": made_of, "weights": plain.state_dict(), "average": average}
            state |= {"optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
            state |= {"generators": [order.get_state(), noises.get_state()], "losses": losses}
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, part := path.with_suffix(".part"))
            os.replace(part, path)
            saved = time.monotonic()
        if progress is not None:
            progress()
    if average:
        plain.load_state_dict(average)
    if path and accelerator.is_main_process:
        path.unlink(missing_ok=True)
    net.eval()
    return losses
