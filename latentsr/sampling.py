"""Sampling: noise drawn per image, and walks from noise to the predicted image.

Notation: a = cumulative signal share at a time, z = sqrt(a) x0 + sqrt(1 - a) eps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import torch
from torch import Tensor

from latentsr.training import NUM_TRAIN_TIMESTEPS, alphas_cumprod

Net = Callable[[Tensor, Tensor, Tensor], Tensor]


def initial_noise(image_ids: Sequence[str], shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw N(0, 1) noise ``(B, *shape)``; each image's depends on its id and the seed alone.

    Examples
    --------
    >>> both = initial_noise(["a", "b"], (1, 2, 2), seed=0)
    >>> bool((both[1] == initial_noise(["b"], (1, 2, 2), seed=0)[0]).all())
    True
    """
    rows = []
    for image_id in image_ids:
        digest = sha256(f"{image_id}|{seed}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        rows.append(torch.randn(shape, generator=generator))
    return torch.stack(rows)


def timesteps(walk: str, num_steps: int) -> list[int]:
    """Return the descending times of a walk of ``num_steps`` network calls.

    ``spaced``: from t = 999 in equal steps (diffusers' "trailing" spacing). ``first``: the first
    entries of the 1000-step walk, 999, 998, ...: for few steps it ends in almost pure noise.

    Examples
    --------
    >>> timesteps("spaced", 2), timesteps("first", 2)
    ([999, 499], [999, 998])
    """
    if not 1 <= num_steps <= NUM_TRAIN_TIMESTEPS:
        raise ValueError(f"num_steps: {num_steps}, but 1 to {NUM_TRAIN_TIMESTEPS} are allowed")
    if walk == "first":
        return list(range(NUM_TRAIN_TIMESTEPS - 1, NUM_TRAIN_TIMESTEPS - 1 - num_steps, -1))
    if walk != "spaced":
        raise ValueError(f"walk: {walk!r}; allowed are spaced and first")
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(NUM_TRAIN_TIMESTEPS, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    return [int(t) for t in scheduler.timesteps]


@torch.no_grad()
def ddim(net: Net, noise: Tensor, condition: Tensor, times: Sequence[int]) -> Tensor:
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

    Returns
    -------
    Tensor
        x0 ``(B, C, h, w)``.

    References
    ----------
    Song, Meng & Ermon, Denoising Diffusion Implicit Models, ICLR 2021, eq. 12.
    """
    signal = alphas_cumprod()
    z = noise
    for now, following in zip(times, [*times[1:], None], strict=True):
        clean = net(z, condition, torch.full((len(z),), now, device=z.device))  # (B, C, h, w)
        if following is None:
            return clean
        # 1. the noise that z holds besides the predicted image, 2. both at the next share
        eps = (z - signal[now].sqrt() * clean) / (1 - signal[now]).sqrt()
        z = signal[following].sqrt() * clean + (1 - signal[following]).sqrt() * eps
    raise AssertionError("a walk has at least one time")


def in_batches(
    net: Net,
    noise: Tensor,
    condition: Tensor,
    times: Sequence[int],
    *,
    batch: int = 64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Run `ddim` on the net's device over batches of images; the result is on the CPU.

    It depends on the batch size only by rounding.
    """
    pairs = zip(noise.split(batch), condition.split(batch), strict=True)
    return torch.cat([ddim(net, z.to(device), c.to(device), times).cpu() for z, c in pairs])
