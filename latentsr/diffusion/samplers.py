"""Sampling: noise drawn per image, and walks from noise to the predicted image.

Notation: a = cumulative signal share at a time, z = sqrt(a) x0 + sqrt(1 - a) eps. Every walk takes
a network that predicts x0, see `predicts_clean`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentsr.diffusion import process as diffusion
from latentsr.diffusion.process import NUM_TRAIN_TIMESTEPS

if TYPE_CHECKING:
    from pandas import DataFrame

Net = Callable[[Tensor, Tensor, Tensor], Tensor]
SAMPLERS = ("ddim", "ddpm", "dpm++")
WALKS = ("spaced", "first")
DPM_FIRST = (
    995  # where log(signal / noise) of the cosine schedule passes -5.1, as DPM-Solver++ wants
)


def generators(image_ids: Sequence[str], seed: int) -> list[torch.Generator]:
    """Return a generator for each image that depends on its id and the seed alone."""
    made = []
    for image_id in image_ids:
        digest = sha256(f"{image_id}|{seed}".encode()).digest()
        made.append(torch.Generator().manual_seed(int.from_bytes(digest[:7], "big")))
    return made


def initial_noise(image_ids: Sequence[str], shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw N(0, 1) noise ``(B, *shape)``; each image's depends on its id and the seed alone.

    Examples
    --------
    >>> both = initial_noise(["a", "b"], (1, 2, 2), seed=0)
    >>> bool((both[1] == initial_noise(["b"], (1, 2, 2), seed=0)[0]).all())
    True
    """
    rows = [torch.randn(shape, generator=one) for one in generators(image_ids, seed)]
    return torch.stack(rows)


def timesteps(walk: str, num_steps: int, first: int = NUM_TRAIN_TIMESTEPS - 1) -> list[int]:
    """Return the descending times of a walk of ``num_steps`` network calls.

    ``spaced``: from t = 999 in equal steps (diffusers' "trailing" spacing). ``first``: the first
    entries of the 1000-step walk, 999, 998, ...: for few steps it ends in almost pure noise.
    Times above ``first`` become it, and are taken once.

    Examples
    --------
    >>> timesteps("spaced", 2), timesteps("first", 2), timesteps("spaced", 4, first=800)
    ([999, 499], [999, 998], [800, 749, 499, 249])
    """
    if not 1 <= num_steps <= NUM_TRAIN_TIMESTEPS:
        raise ValueError(f"num_steps: {num_steps}, but 1 to {NUM_TRAIN_TIMESTEPS} are allowed")
    diffusion.check_name("walk", walk, WALKS)
    if walk == "first":
        found = range(NUM_TRAIN_TIMESTEPS - 1, NUM_TRAIN_TIMESTEPS - 1 - num_steps, -1)
    else:
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(NUM_TRAIN_TIMESTEPS, timestep_spacing="trailing")
        scheduler.set_timesteps(num_steps)
        found = scheduler.timesteps.tolist()
    return list(dict.fromkeys(min(int(t), first) for t in found))


def signal_along(
    walks: Sequence[str], calls: Sequence[int], shares: Tensor | None = None
) -> DataFrame:
    """Return the cumulative signal share at every network call of some walks.

    Columns walk, T, call (1 to T), time and signal_share; ``shares`` as for `ddim`.

    >>> along = signal_along(["spaced", "first"], [2])
    >>> along[["walk", "call", "time"]].values.tolist()
    [['spaced', 1, 999], ['spaced', 2, 499], ['first', 1, 999], ['first', 2, 998]]
    """
    from pandas import DataFrame

    a = diffusion.signal_shares() if shares is None else shares
    rows = [
        {"walk": walk, "T": total, "call": call, "time": time, "signal_share": float(a[time])}
        for walk in walks
        for total in calls
        for call, time in enumerate(timesteps(walk, total), 1)
    ]
    return DataFrame(rows, columns=["walk", "T", "call", "time", "signal_share"])


def predicts_clean(net: Net, prediction: str, shares: Tensor) -> Net:
    """Turn a network that predicts x0, v, epsilon or a flow's velocity into one that predicts x0."""
    diffusion.check_name("prediction", prediction, diffusion.PREDICTIONS)
    if prediction in ("x0", "one_step"):
        return net

    def clean(z: Tensor, condition: Tensor, times: Tensor) -> Tensor:
        return diffusion.clean_of(prediction, net(z, condition, times), z, times, shares)

    return clean


@torch.no_grad()
def ddim(
    net: Net,
    noise: Tensor,
    condition: Tensor,
    times: Sequence[int],
    shares: Tensor | None = None,
    flow: bool = False,
) -> Tensor:
    """Walk along ``times`` without fresh noise (DDIM, eta = 0) and return the last prediction.

    Parameters
    ----------
    net : callable
        Maps z ``(B, C, h, w)``, condition ``(B, K, h, w)`` and times ``(B,)`` to x0.
    noise : Tensor
        Initial z ``(B, C, h, w)``.
    condition : Tensor
        ``(B, K, h, w)``.
    times : sequence of int
        Descending times in 0..999, see `timesteps`.
    shares : Tensor, optional
        Signal share of every time ``(1000,)``; the cosine schedule's by default.
    flow : bool
        Walk along the straight path of rectified flow; the same steps are then Euler's.

    Returns
    -------
    Tensor
        x0 ``(B, C, h, w)``.

    References
    ----------
    Song, Meng & Ermon, Denoising Diffusion Implicit Models, ICLR 2021, eq. 12; Liu, Gong & Liu,
    Flow Straight and Fast, ICLR 2023.
    """
    a = diffusion.signal_shares() if shares is None else shares
    line = (torch.arange(NUM_TRAIN_TIMESTEPS) + 1).to(a.dtype) / NUM_TRAIN_TIMESTEPS
    signal, rest = (1 - line, line) if flow else (a.sqrt(), (1 - a).sqrt())
    z = noise
    for now, following in zip(times, [*times[1:], None], strict=True):
        clean = net(z, condition, torch.full((len(z),), now, device=z.device))  # (B, C, h, w)
        if following is None:
            return clean
        # 1. the noise that z holds besides the predicted image, 2. both at the next share
        eps = (z - signal[now] * clean) / rest[now]
        z = signal[following] * clean + rest[following] * eps
    raise AssertionError("a walk has at least one time")


@torch.no_grad()
def as_released(
    net: Net, noise: Tensor, condition: Tensor, times: Sequence[int], shares: Tensor
) -> Tensor:
    """Walk along ``times`` with the arithmetic of the paper's released code.

    Arguments as for `ddim`, from which it differs by 1e-4 in a denominator; the released code
    starts from half of the noise.
    """
    z = noise
    for now, following in zip(times, [*times[1:], None], strict=True):
        clean = net(z, condition, torch.full((len(z),), now, device=z.device))  # (B, C, h, w)
        if following is None:
            return clean
        here, there = shares[now], shares[following]
        direction = (z - here.sqrt() * clean) / ((1 - here).sqrt() + 1e-4)
        z = z + (there.sqrt() - here.sqrt()) * clean
        z = z + ((1 - there).sqrt() - (1 - here).sqrt()) * direction
    raise AssertionError("a walk has at least one time")


@torch.no_grad()
def with_scheduler(
    sampler: str,
    net: Net,
    noise: Tensor,
    condition: Tensor,
    times: Sequence[int],
    shares: Tensor,
    drawn: Sequence[torch.Generator],
) -> Tensor:
    """Walk with diffusers' ancestral DDPM ("ddpm") or second-order DPM-Solver++ ("dpm++").

    Parameters
    ----------
    net, noise, condition, times
        As for `ddim`.
    shares : Tensor
        Signal share of every time ``(1000,)``.
    drawn : sequence of torch.Generator
        One an image, for the fresh noise of "ddpm".

    Returns
    -------
    Tensor
        x0 ``(B, C, h, w)``.
    """
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

    diffusion.check_name("sampler", sampler, SAMPLERS[1:])
    common = {"trained_betas": diffusion.betas(shares).tolist(), "prediction_type": "sample"}
    if sampler == "ddpm":
        scheduler = DDPMScheduler(NUM_TRAIN_TIMESTEPS, clip_sample=False, **common)
    else:
        scheduler = DPMSolverMultistepScheduler(
            NUM_TRAIN_TIMESTEPS,
            algorithm_type="dpmsolver++",
            final_sigmas_type="zero",
            lower_order_final=True,
            **common,
        )
    scheduler.set_timesteps(timesteps=list(times))
    z = noise
    for t in scheduler.timesteps:
        clean = net(z, condition, torch.full((len(z),), int(t), device=z.device))
        given = {"generator": list(drawn)} if sampler == "ddpm" else {}
        z = scheduler.step(clean, t, z, **given).prev_sample
    return z


def in_batches(
    walk: Callable[[Tensor, Tensor, slice], Tensor],
    noise: Tensor,
    condition: Tensor,
    *,
    batch: int = 64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Run a walk on the net's device over batches of images; the result is on the CPU.

    ``walk`` gets noise, condition and which rows they are. The result depends on the batch size
    only by rounding.
    """
    rows = [slice(start, start + batch) for start in range(0, len(noise), batch)]
    return torch.cat([walk(noise[r].to(device), condition[r].to(device), r).cpu() for r in rows])
