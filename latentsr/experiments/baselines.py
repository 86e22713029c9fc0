"""What the swap is compared with: regression without an autoencoder, adapted autoencoders."""

from __future__ import annotations

import copy
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from latentsr.autoencoders.model import Autoencoder
from latentsr.degrade import upsample

Images = NDArray[np.float32]
BLOCKS, WIDTH = 6, 48
ADAPTATIONS = ("full", "lora")


def _convolution(channels: int, out: int) -> nn.Module:
    return nn.Conv2d(channels, out, 3, padding=1)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        first, second = _convolution(WIDTH, WIDTH), _convolution(WIDTH, WIDTH)
        self.body = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def train_regression(
    lr: Images,
    hr: Images,
    *,
    steps: int = 1500,
    batch: int = 16,
    seed: int = 0,
    device: str = "cpu",
) -> nn.Module:
    """Train on pairs ``(N, h, w)`` and ``(N, H, W)`` to add what bicubic interpolation lacks.

    Six residual blocks of 48 channels on the LR grid, then pixels unfolded from channels; the
    squared error, mirrored images, Adam from 1e-3 on a cosine. The result is close to the mean of
    all images that fit LR, the best for PSNR.
    """
    factor = hr.shape[-1] // lr.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = [_convolution(1, WIDTH), *(_Block() for _ in range(BLOCKS))]
        net = nn.Sequential(*blocks, _convolution(WIDTH, factor**2), nn.PixelShuffle(factor))
    net = net.to(device)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    small = torch.from_numpy(np.array(lr))[:, None].to(device)
    residual = torch.from_numpy(hr - upsample(lr, hr.shape[-1]))[:, None].to(device)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(len(small), size=batch)).to(device)
        flip = [3] if rng.random() < 0.5 else []
        loss = (net(small[rows].flip(flip)) - residual[rows].flip(flip)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def regress(net: nn.Module, lr: Images, side_px: int) -> Images:
    """Return images ``(M, side_px, side_px)``: the bicubic ones plus what the network adds."""
    device = next(net.parameters()).device
    added = net(torch.from_numpy(np.array(lr))[:, None].to(device))[:, 0].cpu().numpy()
    return np.asarray(upsample(lr, side_px) + added, np.float32)


class LowRank(nn.Module):
    """Add a product of two thin matrices to a kernel ``(out, in, ...)``; at first it is zero.

    Hu et al. 2021, for convolutions as for matrices: a kernel is ``(out, in * h * w)``.
    """

    def __init__(self, kernel: Tensor, rank: int, generator: torch.Generator):
        super().__init__()
        rows, columns = kernel.shape[0], prod(kernel.shape[1:])
        rank = min(rank, rows, columns)
        first = torch.randn((rank, columns), generator=generator) / columns**0.5
        self.down = nn.Parameter(first.to(kernel))
        self.up = nn.Parameter(torch.zeros((rows, rank)).to(kernel))

    def forward(self, kernel: Tensor) -> Tensor:
        return kernel + (self.up @ self.down).reshape(kernel.shape)  # (out, in, h, w)


def adapt(
    vae: Autoencoder,
    images: NDArray[np.float32],
    how: str,
    *,
    steps: int = 400,
    batch: int = 8,
    crop_px: int = 64,
    rate: float = 1e-3,
    rank: int = 8,
    seed: int = 0,
) -> Autoencoder:
    """Return a copy trained on images ``(N, H, W)``, called ``NAME-adapted-HOW``.

    L1 of decode(encode(crop)) on [-1, 1] plus what keeps the posterior near its prior (1e-6 of
    the KL term, per pixel), one-cycle AdamW. "lora" trains a change of rank ``rank`` of every
    kernel and merges it in the end; norms and biases stay.

    Raises
    ------
    ValueError
        When ``how`` is none of `ADAPTATIONS`, or an image is smaller than a crop.
    """
    if how not in ADAPTATIONS:
        raise ValueError(f"how: {how!r}; allowed are {', '.join(ADAPTATIONS)}")
    if min(images.shape[1:]) < crop_px:
        raise ValueError(f"crop_px: {crop_px}; at most {min(images.shape[1:])} fits the images")
    model: Any = copy.deepcopy(vae.model).float().requires_grad_(how == "full")
    drawn = torch.Generator().manual_seed(seed)
    kernels = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    if how == "lora":
        for module in kernels:
            low = LowRank(module.weight, rank, drawn)
            parametrize.register_parametrization(module, "weight", low)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    rng, channels = np.random.default_rng(seed), vae.image_channels
    for _ in range(steps):
        crops = _crops(images, batch, crop_px, rng).to(vae.device).expand(-1, channels, -1, -1)
        posterior = model.encode(crops).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=drawn).to(vae.device)
        error = model.decode(posterior.mean + posterior.std * noise).sample - crops
        loss = error.abs().mean() + 1e-6 * posterior.kl().mean() / crop_px**2
        if not torch.isfinite(loss):
            raise ValueError(f"adaptation: loss {loss.item()}; lower the rate")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
    if how == "lora":
        for module in kernels:
            parametrize.remove_parametrizations(module, "weight")
    return Autoencoder(f"{vae.name}-adapted-{how}", model)


def _crops(images: NDArray[np.float32], batch: int, side: int, rng: np.random.Generator) -> Tensor:
    """Draw crops ``(batch, 1, side, side)`` in [-1, 1], half of them mirrored."""
    crops = []
    for image in images[rng.integers(len(images), size=batch)]:
        top, left = (rng.integers(0, length - side + 1) for length in image.shape)
        crop = image[top : top + side, left : left + side]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(crops)[:, None].astype(np.float32) * 2 - 1)
