"""Arms as specifications: what is trained, what is sampled, and the score of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from latentsr import denoisers, metrics, scores, training
from latentsr.arms import Arm, Study, Walk
from latentsr.degrade import degrade
from latentsr.denoisers import Network
from latentsr.protocols import CONTROLLED, Switches


@dataclass(frozen=True)
class Spec:
    """One arm: everything that its result depends on, but for the data and the base settings.

    ``width``, ``steps``, ``batch`` and ``images`` are factors of the base: of the network's
    widths, of the optimiser steps, of the images a step, of the training subjects.
    """

    vae: str
    condition_vae: str = ""
    switches: Switches = field(default=CONTROLLED)
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
    num_steps: int = 0  # network calls; 0: the base's
    seed: int = 42

    @property
    def training(self) -> Spec:
        """Return what the trained denoiser depends on: specs that agree in it share one."""
        return replace(
            self, switches=self.switches.trained, sampler="ddim", num_steps=0,
            condition_vae=self.condition_vae or self.vae,
        )  # fmt: skip


@dataclass(frozen=True)
class Base:
    """The settings that a `Spec` varies."""

    network: Network
    own_network: Network  # on a latent's own grid: attention where a place is 16 image pixels
    settings: training.Settings
    sampling_steps: int
    keep: Path | None = None  # finished and unfinished trainings
    save_every_s: float = 60.0


def network_of(spec: Spec, base: Base) -> Network:
    """Return the denoiser's shape.

    >>> base = Base(Network((32, 64)), Network((32, 64), (1,)), None, 10)
    >>> network_of(Spec("kl-f4", width=2.0, switches=Switches(grid="own")), base)
    Network(channels=(64, 128), attends=(1,), kind='unet')
    """
    chosen = base.own_network if spec.switches.grid == "own" else base.network
    return replace(chosen.wider(spec.width), kind=spec.kind)


def settings_of(spec: Spec, base: Base) -> training.Settings:
    """Return how the denoiser is trained."""
    return replace(
        base.settings,
        steps=max(1, round(base.settings.steps * spec.steps)),
        batch=max(1, round(base.settings.batch * spec.batch)),
        seed=spec.seed,
        prediction=spec.prediction,
        loss=spec.loss,
        schedule=spec.schedule,
        log_snr_shift=spec.log_snr_shift,
    )


def training_rows(arm: Arm, subjects: NDArray[Any], share: float, seed: int) -> torch.Tensor:
    """Choose the training rows ``(N,)`` of a share of the training subjects, drawn by seed."""
    rows = arm.is_training
    if share >= 1:
        return rows
    names = np.unique(subjects[rows.numpy()])
    kept = np.random.default_rng(seed).permutation(names)[: max(1, round(len(names) * share))]
    return rows & torch.from_numpy(np.isin(subjects, kept))


def trained(
    study: Study, spec: Spec, base: Base, progress: Callable[[], object] | None = None
) -> tuple[Arm, nn.Module, list[float]]:
    """Return an arm, its trained denoiser and its losses; what was trained before is read again.

    A finished training is kept in ``base.keep`` under a hash of settings, data, first weights and
    code. Its losses are not, and are then empty.
    """
    arm = study.arm(spec.vae, spec.switches, spec.condition_vae, spec.seed)
    settings, network = settings_of(spec, base), network_of(spec, base)
    net = denoisers.build(*arm.ends, network, spec.seed)
    rows = training_rows(arm, study.data["subject_id"], spec.images, spec.seed)
    seen = arm.target[rows], arm.condition[rows]
    if base.keep is None:
        return (
            arm,
            net,
            training.train(net, *seen, settings, device=study.device, progress=progress),
        )
    name = training.fingerprint(net, *seen, settings)
    path = base.keep / "finished" / f"{name}.safetensors"
    if path.exists():
        return arm, denoisers.load(str(path), study.device).eval(), []
    losses = training.train(
        net,
        *seen,
        settings,
        device=study.device,
        progress=progress,
        keep=base.keep,
        save_every_s=base.save_every_s,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    denoisers.save(net, arm.ends, network, str(part := path.with_suffix(".part")))
    Path(part).replace(path)
    return arm, net, losses


def walk_of(spec: Spec, base: Base) -> Walk:
    """Return how the arm is sampled."""
    calls = spec.num_steps or base.sampling_steps
    return Walk(calls, spec.sampler, spec.prediction, spec.schedule, spec.log_snr_shift)


def measures(
    images: NDArray[np.float32],
    test: dict[str, NDArray[Any]],
    own_decode: NDArray[np.float32],
    operator: str,
) -> dict[str, NDArray[np.float64]]:
    """Score super-resolved images ``(M, H, W)``: an array ``(M,)`` a measure.

    Against the true HR image (PSNR, MS-SSIM, GMSD), against the autoencoder's own decode, as LR
    consistency (the images made small again, against LR), and on phantoms against the twin
    without noise.
    """
    count = len(images)
    test = {key: values[:count] for key, values in test.items()}
    small = degrade(images, test["lr"].shape[-1], operator)
    found = {
        "psnr_db": metrics.psnr_db(images, test["hr"]),
        "psnr_own_decode_db": metrics.psnr_db(images, own_decode[:count]),
        "ms_ssim": metrics.ms_ssim(images, test["hr"]),
        "gmsd": metrics.gmsd(images, test["hr"]),
        "lr_consistency_db": metrics.psnr_db(small, test["lr"]),
    }
    if "noise_free" in test:
        found["psnr_noise_free_db"] = metrics.psnr_db(images, test["noise_free"])
    return found


def score(
    study: Study,
    spec: Spec,
    base: Base,
    operator: str,
    progress: Callable[[], object] | None = None,
    images: int | None = None,
) -> tuple[pd.DataFrame, NDArray[np.float32], list[float]]:
    """Train (or read) an arm, sample it and score it: per-image table, images, losses."""
    arm, net, losses = trained(study, spec, base, progress)
    made = arm.sample(net, walk_of(spec, base), spec.seed, images)
    test = {key: values[: len(made)] for key, values in arm.test.items()}
    found = measures(made, test, study.own_decode(spec.vae), operator)
    return scores.table(test, arm.identity(spec.seed), found), made, losses
