"""How long a plan will take on this machine, told before it starts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from latentsr.diffusion import costs
from latentsr.diffusion import networks as denoisers
from latentsr.experiments import run as experiment
from latentsr.experiments.arms import Study
from latentsr.experiments.run import Base, Spec


def expected_hours(
    study: Study,
    plan: Mapping[tuple[str, str], Spec],
    base: Base,
    probe_steps: int = 25,
) -> float:
    """Return about how many hours it takes here to `experiment.run` a plan, no training being kept.

    The first is trained for a few steps, whose median counts: whatever else this machine does
    for a moment does not. The others follow by steps, images and GFLOP a call, a training step
    (forth and back) counting as three calls.
    """
    first = replace(next(iter(plan.values())).training, steps=1.0)
    known: dict[Spec, float] = {}

    def tflop(spec: Spec) -> tuple[float, float]:  # of its training, of one test image
        if (key := spec.training) not in known:
            arm = experiment.shown(study, key, base).arm(
                key.vae, key.switches, key.condition_vae, key.seed
            )
            widths = experiment.network_of(key, base, arm.autoencoder.factor)
            net = denoisers.build(*arm.ends, widths, key.seed)
            known[key] = denoisers.gflop(net, arm.target.shape[1:], arm.condition.shape[1:])
        calls = experiment.walk_of(spec, base).num_steps
        done = costs.operations(known[key], experiment.settings_of(spec, base), calls)
        return done["train_tflop"], done["image_gflop"] / 1000

    ticks: list[float] = []
    short = replace(
        base, settings=replace(base.settings, steps=probe_steps), keep=None, finished=None
    )
    experiment.trained(study, first, short, lambda: ticks.append(time.monotonic()))
    pace = statistics.median(after - before for before, after in pairwise(ticks))  # seconds a step
    whole = sum(tflop(one)[0] for one in {spec.training: 0 for spec in plan.values()})
    whole += len(study.test["hr"]) * sum(tflop(spec)[1] for spec in plan.values())
    return pace * experiment.settings_of(first, base).steps * whole / tflop(first)[0] / 3600
