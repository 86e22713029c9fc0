"""How long a plan will take on this machine, told before it starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from latentsr import costs, denoisers, experiment
from latentsr.arms import Study
from latentsr.experiment import Base, Spec


def expected_hours(
    study: Study,
    plan: Mapping[tuple[str, str], Spec],
    base: Base,
    probe_steps: tuple[int, int] = (5, 25),
) -> float:
    """Return about how many hours it takes here to `experiment.run` a plan, no training being kept.

    The first is trained for two small numbers of steps; their difference drops what comes before
    the first step. The others follow by steps, images and GFLOP a call, a training step (forth
    and back) counting as three calls.
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

    def seconds(steps: int) -> float:
        short = replace(
            base, settings=replace(base.settings, steps=steps), keep=None, finished=None
        )
        started = time.monotonic()
        experiment.trained(study, first, short)
        return time.monotonic() - started

    seconds(probe_steps[0])  # warms up
    less, more = map(seconds, probe_steps)
    pace = max(more - less, 0.0) / (probe_steps[1] - probe_steps[0])  # seconds a step of the first
    whole = sum(tflop(one)[0] for one in {spec.training: 0 for spec in plan.values()})
    whole += len(study.test["hr"]) * sum(tflop(spec)[1] for spec in plan.values())
    return pace * experiment.settings_of(first, base).steps * whole / tflop(first)[0] / 3600
