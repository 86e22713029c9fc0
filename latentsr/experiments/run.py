"""Arms as configurations: what is trained, what is sampled, and the score of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from latentsr import io
from latentsr.diffusion import networks, process, train
from latentsr.diffusion.networks import Network
from latentsr.diffusion.samplers import SamplerConfig
from latentsr.experiments.arms import Arm, Images, PreparedSet
from latentsr.experiments.protocol import CONTROLLED, Protocol
from latentsr.metrics.image import score_images

if TYPE_CHECKING:
    from latentsr.experiments.plans import PlanRow

ATTENTION_PX = 16
SHARED_SETTINGS = "seed prediction loss schedule log_snr_shift".split()  # of training
Progress = Callable[[], object]


@dataclass(frozen=True)
class ArmConfig:
    """One arm: everything that its result depends on, but for the data and the base settings.

    ``width``, ``steps``, ``batch``, ``images`` and ``lr_side`` are factors of the base: of the
    network's widths, the optimiser steps, the images a step, the training subjects, the LR side.
    """

    vae: str
    condition_vae: str = ""
    protocol: Protocol = CONTROLLED
    width: float = 1.0
    kind: str = "unet"
    steps: float = 1.0
    batch: float = 1.0
    images: float = 1.0
    prediction: str = "x0"
    loss: str = "l1"
    schedule: str = "cosine"
    log_snr_shift: float = 0.0
    sampler: str = "ddim"
    num_inference_steps: int = 0  # 0: the base's
    seed: int = 42
    lr_side: float = 1.0

    def __post_init__(self) -> None:
        process.check_name("network", self.kind, networks.KINDS)
        process.check_name("loss", self.loss, list(train.LOSSES))
        SamplerConfig(self.num_inference_steps or 1, self.sampler, self.prediction, self.schedule)

    @property
    def for_training(self) -> ArmConfig:
        """Return what the trained denoiser depends on: configurations that agree in it share one."""
        return replace(
            self,
            protocol=self.protocol.for_training,
            sampler="ddim",
            num_inference_steps=0,
            condition_vae=self.condition_vae or self.vae,
        )


@dataclass(frozen=True)
class TrainConfig:
    """The settings that an `ArmConfig` varies, and where trainings are kept."""

    network: Network  # on the common grid
    settings: train.Settings
    sampling_steps: int
    checkpoint_dir: Path | None = None  # of unfinished trainings
    cache_dir: Path | None = None  # of finished ones, read again by their fingerprint
    save_every_s: float = 60.0
    operator: str = "bicubic"  # that makes LR from HR

    @classmethod
    def from_params(cls, params: Mapping[str, Any], scratch: Path | None = None) -> TrainConfig:
        """Read chapter 3's block of parameters; trainings are kept below ``scratch``, if given."""
        names = [field.name for field in fields(train.Settings)]
        return cls(
            Network(tuple(params["unet_channels"]), tuple(params["attention_levels"])),
            train.Settings(**{name: params[name] for name in names if name in params}),
            params["sampling_steps"],
            checkpoint_dir=scratch / "training" if scratch else None,
            cache_dir=scratch / "trained" if scratch else None,
            save_every_s=params["save_every_s"],
        )

    def network_of(self, config: ArmConfig, factor: int) -> Network:
        """Return the denoiser's shape for an autoencoder that shrinks by ``factor``.

        On a latent's own grid the level attends at which a place is 16 image pixels wide, as the
        paper's does (16 x 16 places of a 256-pixel image).

        >>> base = TrainConfig(Network((32, 64, 64)), None, 10)
        >>> base.network_of(ArmConfig("kl-f4", width=2.0, protocol=Protocol(grid="own")), 4)
        Network(channels=(64, 128, 128), attends=(2,), kind='unet')
        """
        network = self.network
        if config.protocol.grid == "own":
            level = (ATTENTION_PX // factor).bit_length() - 1
            attends = (level,) if level < len(network.channels) else ()
            network = replace(network, attends=attends)
        return replace(network.wider(config.width), kind=config.kind)

    def settings_of(self, config: ArmConfig) -> train.Settings:
        """Return how the denoiser is trained."""
        return replace(
            self.settings,
            steps=max(1, round(self.settings.steps * config.steps)),
            batch=max(1, round(self.settings.batch * config.batch)),
            **{name: getattr(config, name) for name in SHARED_SETTINGS},
        )

    def sampler_of(self, config: ArmConfig) -> SamplerConfig:
        """Return how the arm is sampled."""
        calls = config.num_inference_steps or self.sampling_steps
        shift = config.log_snr_shift
        return SamplerConfig(calls, config.sampler, config.prediction, config.schedule, shift)


def training_rows(arm: Arm, subject_ids: NDArray[Any], share: float, seed: int) -> torch.Tensor:
    """Choose the training rows ``(N,)`` of a share of the training subjects, drawn by seed."""
    rows = arm.is_training
    if share >= 1:
        return rows
    names = np.unique(subject_ids[rows.numpy()])
    kept = np.random.default_rng(seed).permutation(names)[: max(1, round(len(names) * share))]
    return rows & torch.from_numpy(np.isin(subject_ids, kept))


@dataclass(frozen=True)
class TrainedArm:
    """An arm with its denoiser, the loss of every training step and the training's fingerprint."""

    arm: Arm
    net: nn.Module
    network: Network
    losses: list[float]
    identity: str

    def save(self, path: Path) -> None:
        """Write the denoiser as safetensors, its losses and identity with it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        more = {"losses": self.losses, "identity": self.identity}
        networks.save(self.net, self.arm.channels, self.network, path, **more)

    def cost(self) -> dict[str, float]:
        """Return parameters, GFLOP of one call on one image, and the convolutions' reach.

        ``receptive_field_px`` is in pixels of the HR image; it may exceed the image's side.
        """
        target, condition = self.arm.target.shape[1:], self.arm.condition.shape[1:]
        pixels = self.arm.test["hr"].shape[-1] // target[-1]
        return {
            "parameters": sum(value.numel() for value in self.net.parameters()),
            "gflop_a_call": networks.gflop(self.net, target, condition),
            "receptive_field_px": pixels * networks.receptive_field(self.net, target, condition),
        }

    def operations(self, settings: train.Settings, num_inference_steps: int) -> dict[str, float]:
        """Return TFLOP of the training and GFLOP of one test image, without the autoencoder's.

        A training step takes three times a call on each of its images: forward, and backward to
        weights and to activations.
        """
        call = networks.gflop(self.net, self.arm.target.shape[1:], self.arm.condition.shape[1:])
        images = settings.steps * settings.batch
        return {
            "train_tflop": 3 * call * images / 1000,
            "image_gflop": call * num_inference_steps,
        }


def train_or_load(
    prepared: PreparedSet,
    config: ArmConfig,
    base: TrainConfig,
    progress: Progress = lambda: None,
    stored: Path | None = None,
) -> TrainedArm:
    """Return an arm with its trained denoiser.

    It is read where ``stored``, a file, or ``base.cache_dir`` holds this very training, by its
    fingerprint; else it is trained, and kept in the cache.
    """
    if config.lr_side != 1:
        lr_px = round(prepared.data["lr"].shape[-1] * config.lr_side)
        prepared = prepared.with_lr(lr_px, base.operator)
    arm = prepared.arm(config.vae, config.protocol, config.condition_vae, config.seed)
    settings = base.settings_of(config)
    network = base.network_of(config, arm.autoencoder.factor)
    net = networks.build(arm.channels[0], arm.channels[1], network, config.seed)
    rows = training_rows(arm, prepared.data["subject_id"], config.images, config.seed)
    target, condition = arm.target[rows], arm.condition[rows]
    identity = train.fingerprint(net, target, condition, settings)
    cached = base.cache_dir / f"{identity}.safetensors" if base.cache_dir else None
    for path in (stored, cached):
        if path and path.exists():
            metadata = networks.read_metadata(path)
            if metadata.get("identity") == identity:
                net = networks.load(path, prepared.device)
                return TrainedArm(arm, net, network, metadata["losses"], identity)
    losses = train.train(
        net,
        target,
        condition,
        settings,
        device=prepared.device,
        progress=progress,
        checkpoint_dir=base.checkpoint_dir,
        save_every_s=base.save_every_s,
    )
    trained = TrainedArm(arm, net, network, losses, identity)
    if cached:
        trained.save(cached)
    return trained


def score(
    prepared: PreparedSet, config: ArmConfig, base: TrainConfig, trained: TrainedArm
) -> tuple[pd.DataFrame, Images]:
    """Sample a trained arm and score it: per-image table, images."""
    arm = trained.arm
    images = arm.sample(trained.net, base.sampler_of(config), config.seed)
    reconstruction = prepared.reconstruction(config.vae)
    scores = score_images(images, arm.test, reconstruction, base.operator)
    return io.table(arm.test, arm.identity(config.seed), scores), images


def run(
    prepared: PreparedSet,
    plan: list[PlanRow],
    base: TrainConfig,
    progress: Progress = lambda: None,
) -> pd.DataFrame:
    """Train or load, sample and score every arm of a plan; ``progress`` is called after each.

    The columns of a `PlanRow` come before those of the scores; then what its training and one of
    its images take.
    """
    tables = []
    for row in plan:
        trained = train_or_load(prepared, row.config, base)
        table, _ = score(prepared, row.config, base, trained)
        calls = base.sampler_of(row.config).num_inference_steps
        sizes = {"steps": row.config.steps, "width": row.config.width, "T": calls}
        work = trained.operations(base.settings_of(row.config), calls)
        tables.append(table.assign(**row.columns(), **sizes, **work))
        progress()
    return pd.concat(tables, ignore_index=True)
