"""One arm of the experiment: what its denoiser learns, what it sees, and its images."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr import degrade
from latentsr import io as scores
from latentsr.autoencoders import latents, registry
from latentsr.autoencoders.load import load_autoencoder
from latentsr.autoencoders.model import Autoencoder
from latentsr.diffusion import conditions
from latentsr.diffusion import process as diffusion
from latentsr.diffusion import samplers as sampling
from latentsr.diffusion.samplers import Net
from latentsr.experiments.protocol import Switches


@dataclass(frozen=True)
class Walk:
    """How an arm is sampled; what its network predicts must be what it was trained to predict.

    Raises
    ------
    ValueError
        Where sampler, prediction or schedule is not known, or a flow is not sampled with ddim.
    """

    num_steps: int
    sampler: str = "ddim"
    prediction: str = "x0"
    schedule: str = "cosine"
    log_snr_shift: float = 0.0

    def __post_init__(self) -> None:
        diffusion.check_name("sampler", self.sampler, sampling.SAMPLERS)
        diffusion.check_name("prediction", self.prediction, diffusion.PREDICTIONS)
        diffusion.check_name("schedule", self.schedule, diffusion.SCHEDULES)
        if self.prediction == "flow" and self.sampler != "ddim":
            raise ValueError(f"sampler: {self.sampler!r}; a flow is sampled with ddim (Euler)")

    def times(self, walk: str = "spaced") -> list[int]:
        """Return the times of the walk: one for a one-step regression, whatever ``num_steps``."""
        first = diffusion.first_time(self.prediction, self.shares())
        if self.sampler == "dpm++":
            first = min(first, sampling.DPM_FIRST)
        calls = 1 if self.prediction == "one_step" else self.num_steps
        return sampling.timesteps(walk, calls, first)

    def shares(self) -> Tensor:
        return diffusion.signal_shares(self.schedule, self.log_snr_shift)

    def run(
        self,
        net: Net,
        noise: Tensor,
        condition: Tensor,
        walk: str,
        drawn: list[torch.Generator],
    ) -> Tensor:
        """Walk from noise ``(B, C, h, w)`` to x0 with a network of this kind."""
        times, shares = self.times(walk), self.shares()
        clean = sampling.predicts_clean(net, self.prediction, shares)
        if self.prediction == "one_step":
            noise = torch.zeros_like(noise)
        if self.sampler != "ddim":
            given = (noise, condition, times, shares, drawn)
            return sampling.with_scheduler(self.sampler, clean, *given)
        if self.schedule == "released":
            return sampling.as_released(clean, noise, condition, times, shares)
        return sampling.ddim(clean, noise, condition, times, shares, self.prediction == "flow")


@dataclass(frozen=True)
class Arm:
    """Scaled tensors on the denoiser's grid, rows in the order of the prepared set."""

    dataset: str
    vae: str
    condition_vae: str
    switches: Switches
    autoencoder: Autoencoder
    latent_side: int
    target: Tensor  # (N, C', grid, grid)
    condition: Tensor  # (N, K, grid, grid)
    scaling: latents.Scaling
    is_training: Tensor  # (N,)
    test: dict[str, NDArray[Any]]
    numbers_seen: int  # how many numbers the condition carries

    @property
    def ends(self) -> tuple[int, int]:
        """Channels of target and condition."""
        return self.target.shape[1], self.condition.shape[1]

    def draw(
        self,
        net: Net,
        walk: Walk,
        seed: int,
        images: int | None = None,
        switches: Switches | None = None,
        batch: int = 64,
    ) -> Tensor:
        """Sample scaled targets ``(M, C', grid, grid)`` of the first ``images`` test images (all).

        ``net`` must be on the autoencoder's device; ``switches`` may change those of sampling.
        """
        seen = self.condition[~self.is_training][:images]
        names = list(self.test["image_id"])[:images]
        drawn = sampling.generators(names, seed)
        shape = tuple(self.target.shape[1:])
        noise = torch.stack([torch.randn(shape, generator=one) for one in drawn])
        chosen = switches or self.switches
        noise = noise * chosen.initial_noise_sd

        def go(z: Tensor, condition: Tensor, rows: slice) -> Tensor:
            return walk.run(net, z, condition, chosen.walk, drawn[rows])

        device = self.autoencoder.device
        return sampling.in_batches(go, noise, seen, batch=batch, device=device)

    def sample(
        self,
        net: Net,
        walk: Walk,
        seed: int,
        images: int | None = None,
        switches: Switches | None = None,
        batch: int = 64,
    ) -> NDArray[np.float32]:
        """Super-resolve test images to ``(M, H, W)``; see `draw`."""
        return self.decode(self.draw(net, walk, seed, images, switches, batch))

    def only(self, rows: Sequence[int]) -> Arm:
        """Return the arm with some of its test images alone, to be sampled, not trained."""
        places = torch.nonzero(~self.is_training)[:, 0][list(rows)]
        test = {key: values[list(rows)] for key, values in self.test.items()}
        none = torch.zeros(len(places), dtype=torch.bool)
        target, condition = self.target[places], self.condition[places]
        return replace(self, target=target, condition=condition, is_training=none, test=test)

    def raw(self, scaled: Tensor) -> Tensor:
        """Turn scaled targets ``(M, C', grid, grid)`` into latents ``(M, C, h, w)``."""
        return conditions.from_grid(self.scaling.undo(scaled), self.latent_side)

    def decode(self, scaled: Tensor) -> NDArray[np.float32]:
        """Turn scaled targets ``(M, C', grid, grid)`` into images ``(M, H, W)``."""
        return latents.decode_all(self.autoencoder, self.raw(scaled), batch=16)

    def identity(self, seed: int) -> dict[str, Any]:
        """Return the identifying columns of the arm's tables, its six switches among them."""
        named = (
            self.dataset,
            registry.display_name(self.vae),
            registry.display_name(self.condition_vae),
        )
        kind, protocol = self.switches.lr_condition, self.switches.protocol
        return {**self.switches.columns(), **scores.identity(*named, kind, protocol, seed)}


def _sampled(
    vae: Autoencoder, images: NDArray[np.float32], image_ids: NDArray[Any], seed: int
) -> Tensor:
    """Encode images ``(N, H, W)`` to one sample of the posterior each, by id and seed."""
    drawn = sampling.generators([f"{name}|posterior" for name in image_ids], seed)
    pairs = zip(images, drawn, strict=True)
    codes = [vae.encode(torch.tensor(one)[None, None], own) for one, own in pairs]
    return torch.cat([code.cpu() for code in codes])


class Study:
    """What chapters 1 and 2 left of one set, read once for all of its arms."""

    def __init__(self, results: Path, dataset: str, grid_factor: int, device: str = "cpu"):
        self.folder, self.dataset, self.device = results / "autoencoders" / dataset, dataset, device
        self.data = scores.read_arrays(results / "data" / dataset)
        self.grid_px = self.data["hr"].shape[-1] // grid_factor
        self.is_training = torch.from_numpy(np.array(self.data["split"] == "train"))
        self.test = scores.test_images(self.data)
        cards = json.loads((self.folder / "cards.json").read_text())
        self.precision = {card["vae"]: card["precision"] for card in cards}
        self.own_lr = True  # LR images and their latents are those of chapters 1 and 2
        self._vaes: dict[str, Autoencoder] = {}
        self._codes: dict[tuple[str, str], Tensor] = {}  # those that chapter 2 did not keep

    def with_lr(self, lr_px: int, operator: str) -> Study:
        """Return the study with LR images of another side, encoded when an arm asks for them."""
        other = copy.copy(self)
        other.data = {**self.data, "lr": degrade.degrade(self.data["hr"], lr_px, operator)}
        other.test, other.own_lr, other._codes = scores.test_images(other.data), False, {}
        return other

    def autoencoder(self, vae: str) -> Autoencoder:
        """Load an autoencoder once, in the precision that its card says it encoded in."""
        if vae not in self._vaes:
            precision = getattr(torch, self.precision.get(registry.display_name(vae), "float32"))
            self._vaes[vae] = load_autoencoder(vae, self.device, precision)
        return self._vaes[vae]

    def codes(self, vae: str, kind: str, posterior: str, seed: int) -> Tensor:
        """Return the latents of HR ("hr"), LR ("lr") or enlarged LR images ("upsampled")."""

        def images() -> NDArray[np.float32]:
            if kind == "upsampled":
                side = self.data["hr"].shape[-1]
                return degrade.upsample(np.array(self.data["lr"]), side)
            return np.array(self.data[kind])

        if posterior == "as_published" and registry.posterior(vae) == "sampled":
            return _sampled(self.autoencoder(vae), images(), self.data["image_id"], seed)
        place = self.folder / "latents" / registry.display_name(vae)
        if place.exists() and (self.own_lr or kind == "hr"):
            return torch.tensor(scores.read_arrays(place)[kind])
        if (vae, kind) not in self._codes:
            self._codes[vae, kind] = latents.encode_all(self.autoencoder(vae), images(), batch=16)
        return self._codes[vae, kind]

    def arm(self, vae: str, switches: Switches, condition_vae: str = "", seed: int = 0) -> Arm:
        """Bring target and condition of one arm to its grid, scaled as its switches say.

        Scales come from the training rows only; ``seed`` is for sampled posteriors. Tensors stay
        on the CPU, the autoencoder is on the study's device.

        Raises
        ------
        ValueError
            Where the condition is coarser than the grid.
        """
        shown_by = condition_vae or vae
        hr = self.codes(vae, "hr", switches.posterior, seed)
        grid_px = self.grid_px if switches.grid == "common" else hr.shape[-1]
        kind = switches.lr_condition
        if kind == "lr_pixels":
            shown = torch.tensor(self.data["lr"])[:, None]  # (N, 1, h, w)
        else:
            key = {"lr_latent": "lr", "upsampled_latent": "upsampled"}[kind]
            shown = self.codes(shown_by, key, switches.posterior, seed)
        seen, target = conditions.on_grid(kind, shown, grid_px), conditions.to_grid(hr, grid_px)
        rows = self.is_training
        scaling = latents.Scaling.fit(target[rows], switches.latent_scaling)
        # LR pixels are standardised in every protocol: they are no latents
        how = "channel" if kind == "lr_pixels" else switches.latent_scaling
        return Arm(
            dataset=self.dataset,
            vae=vae,
            condition_vae=shown_by,
            switches=switches,
            autoencoder=self.autoencoder(vae),
            latent_side=hr.shape[-1],
            target=scaling.apply(target),
            condition=latents.Scaling.fit(seen[rows], how).apply(seen),
            scaling=scaling,
            is_training=rows,
            test=self.test,
            numbers_seen=shown[0].numel(),
        )

    def own_decode(self, vae: str) -> NDArray[np.float32]:
        """Return the test images ``(M, H, W)`` as the autoencoder gives them back."""
        kept = scores.read_arrays(self.folder / "reconstructions.npz")
        if (label := registry.display_name(vae)) in kept:
            return kept[label].astype(np.float32)
        codes = self.codes(vae, "hr", "mean", 0)[~self.is_training]  # no arm of chapter 2
        return latents.decode_all(self.autoencoder(vae), codes, batch=16)
