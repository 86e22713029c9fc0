"""Super-resolution without autoencoder or diffusion: a small network regresses HR from LR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsr import io as scores
from latentsr.degrade import upsample
from latentsr.metrics import image as metrics

if TYPE_CHECKING:
    from latentsr.experiments.arms import Study

Images = NDArray[np.float32]
BLOCKS, WIDTH = 6, 48


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def build(factor: int, seed: int) -> nn.Module:
    """Return an untrained network from ``(B, 1, h, w)`` to what bicubic interpolation lacks.

    Six residual blocks of 48 channels on the LR grid, then ``factor`` x ``factor`` channels
    unfolded to pixels.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, padding=1),
            *(_Block() for _ in range(BLOCKS)),
            nn.Conv2d(WIDTH, factor**2, 3, padding=1),
            nn.PixelShuffle(factor),
        )


def train(
    lr: Images,
    hr: Images,
    *,
    steps: int = 1500,
    batch: int = 16,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[], object] = lambda: None,
) -> nn.Module:
    """Train on pairs ``(N, h, w)`` and ``(N, H, W)`` with the squared error and mirrored images.

    Adam from 1e-3 on a cosine. What it gives is close to the mean of all images that fit LR, the
    best that PSNR can ask for.
    """
    net = build(hr.shape[-1] // lr.shape[-1], seed).to(device)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    small = torch.from_numpy(np.array(lr))[:, None].to(device)
    wanted = torch.from_numpy(hr - upsample(lr, hr.shape[-1]))[:, None].to(device)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(len(small), size=batch)).to(device)
        flip = [3] if rng.random() < 0.5 else []
        loss = (net(small[rows].flip(flip)) - wanted[rows].flip(flip)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        progress()
    return net.eval()


@torch.no_grad()
def super_resolve(net: nn.Module, lr: Images, side_px: int) -> Images:
    """Return images ``(M, side_px, side_px)``: the bicubic ones with what the network adds."""
    device = next(net.parameters()).device
    added = net(torch.from_numpy(np.array(lr))[:, None].to(device))[:, 0].cpu().numpy()
    return np.asarray(upsample(lr, side_px) + added, np.float32)


def beside_bicubic(study: Study, seed: int, is_trained: bool = True, **how: Any) -> pd.DataFrame:
    """Score bicubic interpolation of a set's test images, and a network trained on its others.

    A per-image table with a column ``method``: bicubic, and where ``is_trained`` regression.
    ``how`` goes to `train`.
    """
    lr, hr = study.test["lr"], study.test["hr"]
    made = {"bicubic": upsample(lr, hr.shape[-1])}
    if is_trained:
        rows = study.is_training.numpy()
        net = train(study.data["lr"][rows], study.data["hr"][rows], seed=seed, **how)
        made["regression"] = super_resolve(net, lr, hr.shape[-1])
    tables = []
    for method, image in made.items():
        identity = scores.identity(study.dataset, seed=seed, method=method)
        tables.append(scores.table(study.test, identity, {"psnr_db": metrics.psnr_db(image, hr)}))
    return pd.concat(tables, ignore_index=True)
