"""Arms as specifications: what is trained, what is sampled, and the score of each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from latentsr import io as scores
from latentsr.autoencoders import registry
from latentsr.diffusion import costs
from latentsr.diffusion import networks as denoisers
from latentsr.diffusion import process as diffusion
from latentsr.diffusion import train as training
from latentsr.diffusion.networks import Network
from latentsr.experiments.arms import Arm, Study, Walk
from latentsr.experiments.protocol import CONTROLLED, Switches
from latentsr.metrics.image import score_images

ATTENTION_PX = 16


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
    lr_side: float = 1.0  # a factor too, of the side of the LR image

    def __post_init__(self) -> None:
        diffusion.check_name("network", self.kind, denoisers.KINDS)
        diffusion.check_name("loss", self.loss, list(training.LOSSES))
        Walk(self.num_steps or 1, self.sampler, self.prediction, self.schedule)  # names it knows

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

    network: Network  # on the common grid
    settings: training.Settings
    sampling_steps: int
    keep: Path | None = None  # a folder for the state of unfinished trainings
    finished: Path | None = None  # and for finished ones, to be read again
    save_every_s: float = 60.0
    operator: str = "bicubic"  # that makes LR from HR


def base_of(params: Mapping[str, Any], keep: Path | None, finished: Path | None = None) -> Base:
    """Return the settings of chapter 3, from its block of parameters."""
    network = Network(tuple(params["unet_channels"]), tuple(params["attention_levels"]))
    names = [field.name for field in fields(training.Settings)]
    settings = training.Settings(**{name: params[name] for name in names if name in params})
    return Base(network, settings, params["sampling_steps"], keep, finished, params["save_every_s"])


def network_of(spec: Spec, base: Base, factor: int) -> Network:
    """Return the denoiser's shape for an autoencoder that shrinks by ``factor``.

    On a latent's own grid the level attends at which a place is 16 image pixels wide, as the
    paper's does (16 x 16 places of a 256-pixel image).

    >>> base = Base(Network((32, 64, 64)), None, 10)
    >>> network_of(Spec("kl-f4", width=2.0, switches=Switches(grid="own")), base, 4)
    Network(channels=(64, 128, 128), attends=(2,), kind='unet')
    """
    chosen = base.network
    if spec.switches.grid == "own":
        level = (ATTENTION_PX // factor).bit_length() - 1
        chosen = replace(chosen, attends=(level,) if level < len(chosen.channels) else ())
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


@dataclass(frozen=True)
class Trained:
    """An arm with its denoiser and the loss of every training step."""

    arm: Arm
    net: nn.Module
    network: Network
    losses: list[float]

    def save(self, path: Path) -> None:
        """Write the denoiser as safetensors."""
        denoisers.save(self.net, self.arm.ends, self.network, str(path))

    def cost(self) -> dict[str, float]:
        """Return parameters, GFLOP of one call on one image, and the convolutions' reach.

        ``receptive_field_px`` is in pixels of the HR image; it may exceed the image's side.
        """
        net = copy.deepcopy(self.net).cpu()
        pixels = self.arm.test["hr"].shape[-1] // self.shapes[0][-1]
        return {
            "parameters": denoisers.parameters(net),
            "gflop_a_call": denoisers.gflop(net, *self.shapes),
            "receptive_field_px": pixels * costs.reach(net, *self.shapes),
        }

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes ``(C, h, w)`` of one target and one condition."""
        return tuple(self.arm.target.shape[1:]), tuple(self.arm.condition.shape[1:])

    def work(self, settings: training.Settings, num_steps: int) -> dict[str, float]:
        """Return the operations behind this arm, see `costs.operations`."""
        call = denoisers.gflop(copy.deepcopy(self.net).cpu(), *self.shapes)
        return costs.operations(call, settings, num_steps)


def shown(study: Study, spec: Spec, base: Base) -> Study:
    """Return the study with LR images as large as the arm asks for."""
    if spec.lr_side == 1:
        return study
    return study.with_lr(round(study.data["lr"].shape[-1] * spec.lr_side), base.operator)


def trained(
    study: Study, spec: Spec, base: Base, progress: Callable[[], object] | None = None
) -> Trained:
    """Return an arm with its trained denoiser.

    With ``base.finished`` a training is kept there under a hash of settings, data, first weights
    and code, and what was trained before is read again.
    """
    arm = shown(study, spec, base).arm(spec.vae, spec.switches, spec.condition_vae, spec.seed)
    settings = settings_of(spec, base)
    network = network_of(spec, base, arm.autoencoder.factor)
    net = denoisers.build(*arm.ends, network, spec.seed)
    rows = training_rows(arm, study.data["subject_id"], spec.images, spec.seed)
    seen = arm.target[rows], arm.condition[rows]
    place = None
    if base.finished is not None:
        name = training.fingerprint(net, *seen, settings)
        place = base.finished / f"{name}.safetensors"
        if place.exists():
            losses = np.load(place.with_suffix(".npy")).tolist()
            net = denoisers.load(str(place), study.device).eval()
            return Trained(arm, net, network, losses)
    losses = training.train(
        net,
        *seen,
        settings,
        device=study.device,
        progress=progress,
        keep=base.keep,
        save_every_s=base.save_every_s,
    )
    done = Trained(arm, net, network, losses)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place.with_suffix(".npy"), losses)
        done.save(part := place.with_suffix(".part"))
        part.replace(place)
    return done


def walk_of(spec: Spec, base: Base) -> Walk:
    """Return how the arm is sampled."""
    calls = spec.num_steps or base.sampling_steps
    return Walk(calls, spec.sampler, spec.prediction, spec.schedule, spec.log_snr_shift)


def score(
    study: Study,
    spec: Spec,
    base: Base,
    progress: Callable[[], object] | None = None,
) -> tuple[pd.DataFrame, NDArray[np.float32], list[float]]:
    """Train (or read) an arm, sample it and score it: per-image table, images, losses."""
    done = trained(study, spec, base, progress)
    return *_scored(study, spec, base, done), done.losses


def _scored(
    study: Study, spec: Spec, base: Base, done: Trained
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """Sample a trained arm and score it."""
    made = done.arm.sample(done.net, walk_of(spec, base), spec.seed)
    found = score_images(made, done.arm.test, study.own_decode(spec.vae), base.operator)
    return scores.table(done.arm.test, done.arm.identity(spec.seed), found), made


def run(
    study: Study,
    plan: Mapping[tuple[str, str], Spec],
    base: Base,
    progress: Callable[[], object] = lambda: None,
) -> pd.DataFrame:
    """Score every arm of a plan; columns ``analysis`` and ``arm`` name it.

    ``role`` is what stands behind a bar in the arm's name: the main autoencoder in whose place it is.

    ``progress`` is called after every arm. With ``base.finished`` what was trained before, here
    or in a run that was stopped, is read again.
    """
    tables = []
    for (analysis, name), spec in plan.items():
        done = trained(study, spec, base)
        table, _ = _scored(study, spec, base, done)
        arm, _, role = name.partition("|")
        calls = walk_of(spec, base).num_steps
        changed = {"steps": spec.steps, "width": spec.width, "T": calls}
        work = done.work(settings_of(spec, base), calls)
        role = registry.display_name(role) if role else ""
        tables.append(table.assign(analysis=analysis, arm=arm, role=role, **changed, **work))
        progress()
    return pd.concat(tables, ignore_index=True)
