"""Sampling: initial noise per image, timesteps, and the loops from noise to a predicted image.

Every sampler takes a network that predicts x0 from z ``(B, C, h, w)``, condition ``(B, K, h, w)``
and times ``(B,)``; ``timesteps`` descend in 0..999; ``alphas`` is that of `process.alphas_cumprod`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import torch
from torch import Tensor

from latentsr.diffusion import process
from latentsr.diffusion.process import NUM_TRAIN_TIMESTEPS

Net = Callable[[Tensor, Tensor, Tensor], Tensor]
SAMPLERS = ("ddim", "ddpm", "dpm++")
SPACINGS = ("spaced", "first")
DPM_START = 995  # log(signal / noise) of the cosine schedule passes -5.1, as DPM-Solver++ wants


def generators(image_ids: Sequence[str], seed: int) -> list[torch.Generator]:
    """Return a generator for each image that depends on its id and the seed alone."""
    digests = (sha256(f"{image_id}|{seed}".encode()).digest() for image_id in image_ids)
    return [torch.Generator().manual_seed(int.from_bytes(d[:7], "big")) for d in digests]


def initial_noise(image_ids: Sequence[str], shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw batch-independent N(0, 1) noise ``(B, *shape)``, each image's from its id and the seed.

    >>> both = initial_noise(["a", "b"], (1, 2, 2), seed=0)
    >>> bool((both[1] == initial_noise(["b"], (1, 2, 2), seed=0)[0]).all())
    True
    """
    return torch.stack([torch.randn(shape, generator=g) for g in generators(image_ids, seed)])


def timesteps(
    timestep_spacing: str, num_inference_steps: int, start: int = NUM_TRAIN_TIMESTEPS - 1
) -> list[int]:
    """Return the descending times of ``num_inference_steps`` network calls.

    ``spaced``: from t = 999 in equal steps (diffusers' "trailing" spacing). ``first``: truncated,
    the first entries of the 1000-step schedule, 999, 998, ...: with few calls sampling ends in
    almost pure noise. Times above ``start`` become it, and are taken once.

    >>> timesteps("spaced", 2), timesteps("first", 2), timesteps("spaced", 4, start=800)
    ([999, 499], [999, 998], [800, 749, 499, 249])
    """
    if not 1 <= num_inference_steps <= NUM_TRAIN_TIMESTEPS:
        allowed = f"1 to {NUM_TRAIN_TIMESTEPS} are allowed"
        raise ValueError(f"num_inference_steps: {num_inference_steps}, but {allowed}")
    process.check_name("timestep_spacing", timestep_spacing, SPACINGS)
    last = NUM_TRAIN_TIMESTEPS - 1
    if timestep_spacing == "first":
        times = list(range(last, last - num_inference_steps, -1))
    else:
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler(NUM_TRAIN_TIMESTEPS, timestep_spacing="trailing")
        scheduler.set_timesteps(num_inference_steps)
        times = scheduler.timesteps.tolist()
    return list(dict.fromkeys(min(int(t), start) for t in times))


@torch.no_grad()
def ddim(
    net: Net,
    noise: Tensor,
    condition: Tensor,
    timesteps: Sequence[int],
    alphas: Tensor,
    *,
    flow: bool = False,
    released: bool = False,
) -> Tensor:
    r"""Sample without fresh noise (DDIM, eta = 0); return the last predicted x0 ``(B, C, h, w)``.

    :math:`z_s = \sqrt{\bar\alpha_s} \hat x_0 + \sqrt{1 - \bar\alpha_s} \hat\epsilon`. With ``flow``
    along the straight path of rectified flow, where the steps are Euler's. With ``released`` as in
    the paper's released code: the same step as a sum of increments, with 1e-4 in a denominator.

    Song, Meng & Ermon, Denoising Diffusion Implicit Models, ICLR 2021, eq. 12; Liu, Gong & Liu,
    Flow Straight and Fast, ICLR 2023.
    """
    line = (torch.arange(NUM_TRAIN_TIMESTEPS) + 1).to(alphas.dtype) / NUM_TRAIN_TIMESTEPS
    signal, rest = (1 - line, line) if flow else (alphas.sqrt(), (1 - alphas).sqrt())
    z = noise
    for now, following in pairwise(timesteps):
        x0 = net(z, condition, torch.full((len(z),), now, device=z.device))
        if released:
            eps = (z - signal[now] * x0) / (rest[now] + 1e-4)
            z = z + (signal[following] - signal[now]) * x0
            z = z + (rest[following] - rest[now]) * eps
        else:
            eps = (z - signal[now] * x0) / rest[now]
            z = signal[following] * x0 + rest[following] * eps
    return net(z, condition, torch.full((len(z),), timesteps[-1], device=z.device))


@torch.no_grad()
def sample_with_scheduler(
    sampler: str,
    net: Net,
    noise: Tensor,
    condition: Tensor,
    timesteps: Sequence[int],
    alphas: Tensor,
    generators: Sequence[torch.Generator],
) -> Tensor:
    """Sample x0 with diffusers' ancestral DDPM ("ddpm") or second-order DPM-Solver++ ("dpm++").

    ``generators``, one per image, give the fresh noise of "ddpm".
    """
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

    process.check_name("sampler", sampler, SAMPLERS[1:])
    common = {"trained_betas": process.betas(alphas).tolist(), "prediction_type": "sample"}
    if sampler == "ddpm":
        scheduler = DDPMScheduler(clip_sample=False, **common)
    else:  # DPM-Solver++ of second order, as is diffusers' default
        scheduler = DPMSolverMultistepScheduler(final_sigmas_type="zero", **common)
    scheduler.set_timesteps(timesteps=list(timesteps))
    fresh_noise = {"generator": list(generators)} if sampler == "ddpm" else {}
    z = noise
    for t in scheduler.timesteps:
        x0 = net(z, condition, torch.full((len(z),), int(t), device=z.device))
        z = scheduler.step(x0, t, z, **fresh_noise).prev_sample
    return z


@dataclass(frozen=True)
class SamplerConfig:
    """How an arm is sampled; its prediction must be the one that the network was trained for."""

    num_inference_steps: int
    sampler: str = "ddim"
    prediction: str = "x0"
    schedule: str = "cosine"
    log_snr_shift: float = 0.0

    def __post_init__(self) -> None:
        process.check_name("sampler", self.sampler, SAMPLERS)
        process.check_name("prediction", self.prediction, process.PREDICTIONS)
        process.check_name("schedule", self.schedule, process.SCHEDULES)
        if self.prediction == "flow" and self.sampler != "ddim":
            raise ValueError(f"sampler: {self.sampler!r}; a flow is sampled with ddim (Euler)")

    def timesteps(self, timestep_spacing: str = "spaced") -> list[int]:
        """Return the times of the calls: one for a one-step regression, whatever their number."""
        alphas = process.alphas_cumprod(self.schedule, self.log_snr_shift)
        start = process.start_timestep(self.prediction, alphas)
        if self.sampler == "dpm++":
            start = min(start, DPM_START)
        calls = 1 if self.prediction == "one_step" else self.num_inference_steps
        return timesteps(timestep_spacing, calls, start)

    def sample(
        self,
        net: Net,
        noise: Tensor,
        condition: Tensor,
        timestep_spacing: str,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Go from noise ``(B, C, h, w)`` to x0 with a network of this kind."""
        alphas = process.alphas_cumprod(self.schedule, self.log_snr_shift)
        times = self.timesteps(timestep_spacing)

        def x0_net(z: Tensor, condition: Tensor, t: Tensor) -> Tensor:
            return process.to_x0(self.prediction, net(z, condition, t), z, t, alphas)

        if self.prediction == "one_step":
            noise = torch.zeros_like(noise)
        if self.sampler != "ddim":
            return sample_with_scheduler(
                self.sampler, x0_net, noise, condition, times, alphas, generators
            )
        flow, released = self.prediction == "flow", self.schedule == "released"
        return ddim(x0_net, noise, condition, times, alphas, flow=flow, released=released)


def in_batches(
    sample_fn: Callable[[Tensor, Tensor, slice], Tensor],
    noise: Tensor,
    condition: Tensor,
    *,
    batch: int = 64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Run ``sample_fn(noise, condition, rows)`` on ``device`` over batches; the result is on the CPU.

    It depends on the batch size only by rounding.
    """
    rows = [slice(start, start + batch) for start in range(0, len(noise), batch)]
    parts = [sample_fn(noise[r].to(device), condition[r].to(device), r).cpu() for r in rows]
    return torch.cat(parts)
