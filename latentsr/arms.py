"""One arm of the experiment: what its denoiser learns, what it sees, and its images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr import conditions, latents, registry, sampling, scores, vaes


@dataclass(frozen=True)
class Arm:
    """Scaled tensors on the common grid, rows in the order of the prepared set."""

    autoencoder: vaes.Autoencoder
    hr_latents: Tensor  # (N, C, h, w), raw
    target: Tensor  # (N, C', grid, grid)
    condition: Tensor  # (N, K, grid, grid)
    scaling: latents.Scaling
    is_training: Tensor  # (N,)
    test: dict[str, NDArray[Any]]
    numbers_seen: int  # how many numbers the condition carries

    def sample(
        self, net: sampling.Net, times: Sequence[int], seed: int, images: int | None = None
    ) -> NDArray[np.float32]:
        """Super-resolve the first ``images`` test images (all by default) to ``(M, H, W)``.

        ``net`` must be on the autoencoder's device.
        """
        seen = self.condition[~self.is_training][:images]
        names = list(self.test["image_id"])[:images]
        noise = sampling.initial_noise(names, tuple(self.target.shape[1:]), seed)
        device = self.autoencoder.device
        scaled = sampling.in_batches(net, noise, seen, times, device=device)
        raw = conditions.from_grid(self.scaling.undo(scaled), self.hr_latents.shape[-1])
        return latents.decode_all(self.autoencoder, raw, batch=16)


def load(
    results: Path, dataset: str, vae: str, lr_condition: str, grid_factor: int, device: str = "cpu"
) -> Arm:
    """Read one arm's latents and bring target and condition to the common grid, standardised.

    Scales come from the training rows only. Tensors stay on the CPU; the autoencoder is on
    ``device``, in the precision that its card says it encoded in.
    """
    data = scores.read_arrays(results / "data" / dataset)
    folder, name = results / "autoencoders" / dataset, registry.label(vae)
    cards = {card["vae"]: card for card in json.loads((folder / "cards.json").read_text())}
    codes = scores.read_arrays(folder / "latents" / name)
    hr, lr, upsampled = (torch.tensor(codes[key]) for key in ("hr", "lr", "upsampled"))
    is_training = torch.from_numpy(np.array(data["split"] == "train"))
    grid_px = data["hr"].shape[-1] // grid_factor
    pixels = torch.tensor(data["lr"])[:, None]  # (N, 1, h, w)
    shown = {"lr_latent": lr, "upsampled_latent": upsampled, "lr_pixels": pixels}[lr_condition]
    seen = conditions.on_grid(lr_condition, shown, grid_px)
    target = conditions.to_grid(hr, grid_px)
    scaling = latents.Scaling.fit(target[is_training])
    return Arm(
        autoencoder=vaes.load(vae, device, getattr(torch, cards[name]["precision"])),
        hr_latents=hr,
        target=scaling.apply(target),
        condition=latents.Scaling.fit(seen[is_training]).apply(seen),
        scaling=scaling,
        is_training=is_training,
        test=scores.test_images(data),
        numbers_seen=shown[0].numel(),
    )
