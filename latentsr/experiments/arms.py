"""One arm of the experiment: what its denoiser learns and sees, and the images it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr import io
from latentsr.autoencoders import latents, registry
from latentsr.autoencoders.load import load_autoencoder
from latentsr.autoencoders.model import Autoencoder
from latentsr.degrade import degrade, upsample
from latentsr.diffusion import conditions
from latentsr.diffusion.samplers import Net, SamplerConfig, generators, in_batches
from latentsr.experiments.protocol import Protocol

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Arm:
    """Scaled tensors on the denoiser's grid, rows in the order of the prepared set."""

    dataset: str
    vae: str
    condition_vae: str
    protocol: Protocol
    autoencoder: Autoencoder
    latent_side: int
    target: Tensor  # (N, C', grid, grid)
    condition: Tensor  # (N, K, grid, grid)
    scaling: latents.Scaling
    is_training: Tensor  # (N,)
    test: Mapping[str, NDArray[Any]]
    condition_size: int  # how many values the condition carries

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of target and condition."""
        return self.target.shape[1], self.condition.shape[1]

    def sample_latents(
        self,
        net: Net,
        sampler: SamplerConfig,
        seed: int,
        images: int | None = None,
        protocol: Protocol | None = None,
        batch: int = 64,
    ) -> Tensor:
        """Sample scaled targets ``(M, C', grid, grid)`` of the first ``images`` test images (all).

        ``net`` must be on the autoencoder's device; ``protocol`` may change the switches of sampling.
        """
        protocol = protocol or self.protocol
        condition = self.condition[~self.is_training][:images]
        drawn = generators(list(self.test["image_id"])[:images], seed)
        shape = tuple(self.target.shape[1:])
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in drawn])

        def sample(z: Tensor, lr: Tensor, rows: slice) -> Tensor:
            return sampler.sample(net, z, lr, protocol.timestep_spacing, drawn[rows])

        noise = noise * protocol.initial_noise_sd
        return in_batches(sample, noise, condition, batch=batch, device=self.autoencoder.device)

    def sample(
        self, net: Net, sampler: SamplerConfig, seed: int, images: int | None = None, **options: Any
    ) -> Images:
        """Super-resolve test images to ``(M, H, W)``; see `sample_latents` for the options."""
        return self.decode(self.sample_latents(net, sampler, seed, images, **options))

    def trajectory(
        self, net: Net, sampler: SamplerConfig, seed: int
    ) -> list[tuple[int, Tensor, Tensor]]:
        """Sample the first test image with a denoiser of x0; return what each network call has.

        The time t, the noisy latent and the predicted clean one, scaled, ``(1, C', grid, grid)``.
        """
        steps: list[tuple[int, Tensor, Tensor]] = []

        def recorded(noisy: Tensor, condition: Tensor, times: Tensor) -> Tensor:
            clean = net(noisy, condition, times)
            steps.append((int(times[0]), noisy.cpu(), clean.cpu()))
            return clean

        self.sample_latents(recorded, sampler, seed, images=1)
        return steps

    def subset(self, rows: Sequence[int]) -> Arm:
        """Return the arm with some of its test images alone, to be sampled, not trained."""
        places = torch.nonzero(~self.is_training)[:, 0][list(rows)]
        return replace(
            self,
            target=self.target[places],
            condition=self.condition[places],
            is_training=torch.zeros(len(places), dtype=torch.bool),
            test={key: values[list(rows)] for key, values in self.test.items()},
        )

    def unscale(self, scaled: Tensor) -> Tensor:
        """Turn scaled targets ``(M, C', grid, grid)`` into latents ``(M, C, h, w)``."""
        return conditions.from_grid(self.scaling.undo(scaled), self.latent_side)

    def decode(self, scaled: Tensor) -> Images:
        """Turn scaled targets ``(M, C', grid, grid)`` into images ``(M, H, W)``."""
        return latents.decode_all(self.autoencoder, self.unscale(scaled), batch=16)

    def identity(self, seed: int) -> dict[str, Any]:
        """Return the identifying columns of the arm's tables, its six switches among them."""
        names = [registry.display_name(vae) for vae in (self.vae, self.condition_vae)]
        protocol = self.protocol
        row = io.identity(
            self.dataset, names[0], names[1], protocol.lr_condition, protocol.name, seed
        )
        return {**protocol.columns(), **row}


@dataclass(frozen=True)
class PreparedSet:
    """The images of one set, and the autoencoders that encode them; read by `read_prepared`.

    ``data`` has hr, lr, image_id, subject_id and split, perhaps mask and noise_free. ``kept`` names
    the latents ("hr", "lr", "upsampled") that ``folder`` holds of exactly these images; others are
    encoded when an arm asks for them. A set is never changed: its methods return new ones.
    """

    dataset: str
    data: Mapping[str, NDArray[Any]]
    grid_px: int
    folder: Path
    precision: Mapping[str, str]  # that an autoencoder encoded in, by label
    device: str = "cpu"
    kept: frozenset[str] = frozenset({"hr", "lr", "upsampled"})
    autoencoders: dict[str, Autoencoder] = field(default_factory=dict)  # loaded, or added
    encoded: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    @cached_property
    def is_training(self) -> Tensor:
        """Which rows are training images, ``(N,)`` bool."""
        return torch.from_numpy(np.array(self.data["split"] == "train"))

    @cached_property
    def test(self) -> dict[str, NDArray[Any]]:
        """The arrays of the test images."""
        return io.test_images(self.data)

    def with_lr(self, lr_px: int, operator: str) -> PreparedSet:
        """Return the set with LR images of another side."""
        data = {**self.data, "lr": degrade(self.data["hr"], lr_px, operator)}
        return replace(self, data=data, kept=self.kept & {"hr"}, encoded={})

    def with_images(self, data: Mapping[str, NDArray[Any]]) -> PreparedSet:
        """Return the set with other arrays: nothing that was kept is of them."""
        return replace(self, data=data, kept=frozenset(), encoded={})

    def with_test_images(self, hr: Images, image_ids: Sequence[str], operator: str) -> PreparedSet:
        """Return the set with other test images ``(M, H, W)``, a subject each; training images stay.

        Sampling noise depends on the id: twins of one id are sampled from the same noise.
        """
        ids = np.array(image_ids)
        test = {
            "hr": hr,
            "lr": degrade(hr, self.data["lr"].shape[-1], operator),
            "image_id": ids,
            "subject_id": ids,
            "split": np.full(len(hr), "test"),
        }
        rows = self.is_training.numpy()
        return self.with_images({k: np.concatenate([self.data[k][rows], test[k]]) for k in test})

    def with_autoencoder(self, vae: Autoencoder) -> PreparedSet:
        """Return the set with one more autoencoder, by its name; it encodes when asked."""
        return replace(self, autoencoders={**self.autoencoders, vae.name: vae}, encoded={})

    def autoencoder(self, vae: str) -> Autoencoder:
        """Load an autoencoder once, in the precision that its card says it encoded in."""
        if vae not in self.autoencoders:
            precision = getattr(torch, self.precision.get(registry.display_name(vae), "float32"))
            self.autoencoders[vae] = load_autoencoder(vae, self.device, precision)
        return self.autoencoders[vae]

    def latents(self, vae: str, kind: str, posterior: str = "mean", seed: int = 0) -> Tensor:
        """Return the latents of HR ("hr"), LR ("lr") or enlarged LR images ("upsampled")."""
        sampled = posterior == "as_published" and registry.posterior(vae) == "sampled"
        folder = self.folder / "latents" / registry.display_name(vae)
        if not sampled and kind in self.kept and folder.exists():
            return torch.tensor(io.read_arrays(folder)[kind])
        if not sampled and (vae, kind) in self.encoded:
            return self.encoded[vae, kind]
        if kind == "upsampled":
            images = upsample(np.array(self.data["lr"]), self.data["hr"].shape[-1])
        else:
            images = np.array(self.data[kind])
        model = self.autoencoder(vae)
        if sampled:
            drawn = generators([f"{name}|posterior" for name in self.data["image_id"]], seed)
            pairs = zip(images, drawn, strict=True)
            codes = [model.encode(torch.tensor(image)[None, None], own) for image, own in pairs]
            return torch.cat([code.cpu() for code in codes])
        self.encoded[vae, kind] = latents.encode_all(model, images, batch=16)
        return self.encoded[vae, kind]

    def arm(self, vae: str, protocol: Protocol, condition_vae: str = "", seed: int = 0) -> Arm:
        """Bring target and condition of one arm to its grid, scaled as the protocol says.

        Scales come from the training rows only; ``seed`` is for sampled posteriors. Tensors stay
        on the CPU, the autoencoder is on the set's device.

        Raises
        ------
        ValueError
            Where the condition is coarser than the grid.
        """
        condition_vae = condition_vae or vae
        hr = self.latents(vae, "hr", protocol.posterior, seed)
        grid_px = self.grid_px if protocol.grid == "common" else hr.shape[-1]
        kind, rows = protocol.lr_condition, self.is_training
        if kind == "lr_pixels":
            lr = torch.tensor(self.data["lr"])[:, None]  # (N, 1, h, w)
        else:
            images = {"lr_latent": "lr", "upsampled_latent": "upsampled"}[kind]
            lr = self.latents(condition_vae, images, protocol.posterior, seed)
        condition = conditions.on_grid(kind, lr, grid_px)
        target = conditions.to_grid(hr, grid_px)
        scaling = latents.Scaling.fit(target[rows], protocol.latent_scaling)
        # LR pixels are standardised in every protocol: they are no latents
        how = "channel" if kind == "lr_pixels" else protocol.latent_scaling
        return Arm(
            dataset=self.dataset,
            vae=vae,
            condition_vae=condition_vae,
            protocol=protocol,
            autoencoder=self.autoencoder(vae),
            latent_side=hr.shape[-1],
            target=scaling.apply(target),
            condition=latents.Scaling.fit(condition[rows], how).apply(condition),
            scaling=scaling,
            is_training=rows,
            test=self.test,
            condition_size=lr[0].numel(),
        )

    def reconstruction(self, vae: str) -> Images:
        """Return decode(encode(HR)) of the test images, ``(M, H, W)``."""
        if "hr" in self.kept:
            reconstructions = io.read_arrays(self.folder / "reconstructions.npz")
            if (label := registry.display_name(vae)) in reconstructions:
                return reconstructions[label].astype(np.float32)
        codes = self.latents(vae, "hr")[~self.is_training]
        return latents.decode_all(self.autoencoder(vae), codes, batch=16)


def read_prepared(
    results: Path, dataset: str, grid_factor: int, device: str = "cpu"
) -> PreparedSet:
    """Read what chapters 1 and 2 left of one set under ``results``."""
    folder = results / "autoencoders" / dataset
    data = io.read_arrays(results / "data" / dataset)
    cards = json.loads((folder / "cards.json").read_text())
    precision = {card["vae"]: card["precision"] for card in cards}
    grid_px = data["hr"].shape[-1] // grid_factor
    return PreparedSet(dataset, data, grid_px, folder, precision, device)
