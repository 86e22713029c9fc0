"""Adapting an autoencoder to the images of one set: all of its weights, or a low-rank change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from latentsr.autoencoders.model import Autoencoder
from latentsr.experiments import run as experiment
from latentsr.experiments.arms import Study
from latentsr.experiments.protocol import Switches
from latentsr.experiments.run import Base, Spec
from latentsr.metrics import image as metrics
from latentsr.stats import intervals as stats

HOW = ("full", "lora")


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
    progress: Callable[[], object] = lambda: None,
) -> Autoencoder:
    """Return a copy trained on images ``(N, H, W)``, called ``NAME-adapted-HOW``.

    L1 of decode(encode(crop)) on [-1, 1] plus what keeps the posterior near its prior (1e-6 of
    the KL term, per pixel), one-cycle AdamW. "lora" trains a change of rank ``rank`` of every
    kernel and merges it in the end; norms and biases stay.

    Raises
    ------
    ValueError
        When ``how`` is none of `HOW`, or an image is smaller than a crop.
    """
    if how not in HOW:
        raise ValueError(f"how: {how!r}; allowed are {', '.join(HOW)}")
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
        progress()
    if how == "lora":
        for module in kernels:
            parametrize.remove_parametrizations(module, "weight")
    return Autoencoder(f"{vae.name}-adapted-{how}", model)


def _crops(images: NDArray[np.float32], batch: int, side: int, rng: np.random.Generator) -> Tensor:
    """Draw crops ``(batch, 1, side, side)`` in [-1, 1], half of them mirrored."""
    found = []
    for image in images[rng.integers(len(images), size=batch)]:
        top, left = (rng.integers(0, length - side + 1) for length in image.shape)
        crop = image[top : top + side, left : left + side]
        found.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(found)[:, None].astype(np.float32) * 2 - 1)


class Extended(Study):
    """A study with one more autoencoder, which is not in any registry; it encodes as asked."""

    def __init__(self, study: Study, vae: Autoencoder):
        self.__dict__.update(study.__dict__)
        self.added, self._codes = vae, {}

    def autoencoder(self, vae: str) -> Autoencoder:
        """Return the added autoencoder by its name, or another as the study loads it."""
        return self.added if vae == self.added.name else super().autoencoder(vae)


def compare(study: Study, vae: str, base: Base, seed: int, **settings: Any) -> pd.DataFrame:
    """Score an autoencoder as it is ("none"), adapted as a whole and by a low-rank change.

    Per-image table of arms under the released and the controlled LR condition, with the columns
    ``how`` and ``ceiling_db``; ``settings`` go to `adapt`.
    """
    original, tables = study.autoencoder(vae), []
    images = np.array(study.data["hr"])[study.is_training.numpy()]
    for how in ("none", *HOW):
        made = original if how == "none" else adapt(original, images, how, seed=seed, **settings)
        more = Extended(study, made)
        ceiling = metrics.psnr_db(more.own_decode(made.name), study.test["hr"])
        for kind in ("lr_latent", "lr_pixels"):
            spec = Spec(made.name, switches=Switches(kind), seed=seed)
            table, _, _ = experiment.score(more, spec, base)
            tables.append(table.assign(how=how, ceiling_db=ceiling))
    return pd.concat(tables, ignore_index=True)


def gains(table: pd.DataFrame, seed: int, confidence: float = 0.95) -> pd.DataFrame:
    """Return what each way is worth, over subjects, from a table of `compare`.

    ``what`` is "ceiling" or "sr"; its level before and the mean gain in dB, low, high.
    ``pass_through`` is the gain of SR over that of the ceiling; ``autoencoder`` is what was adapted.
    """
    found = []
    (name,) = table.loc[table["how"] == "none", "vae"].unique()
    for kind, rows in table.groupby("lr_condition", sort=False):
        means = {
            how: one.groupby("subject_id")[["ceiling_db", "psnr_db"]].mean()
            for how, one in rows.groupby("how", sort=False)
        }
        for how in HOW:
            gained = means[how] - means["none"]
            share = gained["psnr_db"].mean() / gained["ceiling_db"].mean()
            for what, column in (("ceiling", "ceiling_db"), ("sr", "psnr_db")):
                d = stats.measured(gained[column])
                low, high, _ = stats.mean_interval(d, seed, confidence)
                row = {"autoencoder": name, "lr_condition": kind, "how": how, "what": what}
                row |= {"before_db": means["none"][column].mean(), "gain_db": d.mean()}
                row |= {"low": low, "high": high, "n_subjects": len(d), "pass_through": share}
                found.append(row)
    return pd.DataFrame(found)
