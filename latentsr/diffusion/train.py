"""Training a denoiser: noising, loss and loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentsr.diffusion import process

# Raise it when a change here, in process.py or in networks.py changes the numbers of a training:
# weights and unfinished states that were kept under another version are never taken up.
TRAINING_VERSION = 1
LOSSES = {"l1": functional.l1_loss, "l2": functional.mse_loss}


@dataclass(frozen=True)
class Settings:
    """How a denoiser is trained; ``steps`` optimiser steps of one-cycle AdamW.

    ``prediction`` is one of `process.PREDICTIONS`, ``schedule`` and ``log_snr_shift`` as in
    `process.alphas_cumprod`; ``loss`` is "l1" or "l2".
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
    """Return the identity of a training: settings, first weights, data, versions.

    The first weights hold the shape of the network and the seed of its weights; the versions are
    `TRAINING_VERSION` and those of the two libraries that decide the bits.
    """
    from diffusers import __version__ as diffusers_version

    versions = f"{TRAINING_VERSION} torch {torch.__version__} diffusers {diffusers_version}"
    digest = sha256(f"{settings!r} {versions}".encode())
    for name, tensor in {"target": target, "condition": condition, **denoiser.state_dict()}.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train(
    denoiser: nn.Module,
    target: Tensor,
    condition: Tensor,
    settings: Settings,
    *,
    device: str = "cpu",
    progress: Callable[[], object] = lambda: None,
    checkpoint_dir: Path | None = None,
    save_every_s: float = 60.0,
) -> list[float]:
    r"""Train in place, by default to predict x0 with the L1 loss :math:`|net(z_t, c, t) - x_0|_1`.

    Order and times come from one CPU generator, noise from another: arms of one seed get the same
    images and times, whatever the shape of their targets. Under `torchrun` every process draws the
    whole batch and takes its share, so the number of devices changes a result only by rounding.

    Parameters
    ----------
    target, condition : Tensor
        Scaled training tensors ``(N, C, h, w)`` and ``(N, K, h, w)`` on the common grid.
    device : str
        "cpu" or "cuda", one of them in a process (Accelerate keeps it).
    progress : callable
        Called after every step, for a progress bar.
    checkpoint_dir : Path, optional
        Holds the state of unfinished trainings, each named by its `fingerprint` and written whole
        or not at all every ``save_every_s`` seconds. A training that was killed goes on from there,
        on the CPU to the same bits.

    Returns
    -------
    list of float
        The loss of every step.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=device == "cpu")
    assert accelerator.device.type == torch.device(device).type  # noqa: S101 - one type a process
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    if settings.batch % accelerator.num_processes:
        allowed = f"a multiple of {accelerator.num_processes} processes is needed"
        raise ValueError(f"train_arm.batch: {settings.batch}; {allowed}")
    process.check_name("loss", settings.loss, list(LOSSES))
    identity = fingerprint(denoiser, target, condition, settings) if checkpoint_dir else ""
    path = checkpoint_dir / f"{identity[:24]}.pt" if checkpoint_dir else None
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
    alphas = process.alphas_cumprod(settings.schedule, settings.log_snr_shift)
    net.train()
    plain = accelerator.unwrap_model(net)
    average = {k: v.clone() for k, v in plain.state_dict().items()} if settings.ema_decay else {}
    losses: list[float] = []
    parts: dict[str, Any] = {"weights": plain, "optimiser": optimiser, "schedule": schedule}
    if path and path.exists():
        state = torch.load(path, map_location=accelerator.device, weights_only=True)
        if state["identity"] != identity:
            raise ValueError(f"{path}: the state of another training; remove it")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        order.set_state(state["order"].cpu())
        noises.set_state(state["noises"].cpu())
        average, losses = state["average"], state["losses"]
        for _ in losses:
            progress()
    saved = time.monotonic()
    for step in range(len(losses), settings.steps):
        rows = torch.randint(len(target), (settings.batch,), generator=order)
        times = torch.randint(process.NUM_TRAIN_TIMESTEPS, (settings.batch,), generator=order)
        x0, kind = target[rows], settings.prediction
        noise = torch.randn(x0.shape, generator=noises)
        if kind == "one_step":
            times = torch.full_like(times, process.NUM_TRAIN_TIMESTEPS - 1)
        noisy = process.add_noise(x0, noise, times, alphas, kind)
        wanted = process.training_target(kind, x0, noise, times, alphas)
        batch = (noisy, condition[rows], times, wanted)
        noisy, lr, times, wanted = (tensor[share].to(accelerator.device) for tensor in batch)
        loss = LOSSES[settings.loss](net(noisy, lr, times), wanted)
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
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"order": order.get_state(), "noises": noises.get_state(), "losses": losses}
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".part")
            torch.save(state | {"identity": identity, "average": average}, fresh)
            fresh.replace(path)
            saved = time.monotonic()
        progress()
    if average:
        plain.load_state_dict(average)
    if path and accelerator.is_main_process:
        path.unlink(missing_ok=True)
    net.eval()
    return losses
