"""Which arms chapter 3 trains: a named list of specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from latentsr.experiments.protocol import RELEASED, Switches
from latentsr.experiments.run import Spec

Plan = dict[str, Spec]
RELEASED_SPACED = replace(RELEASED, walk="spaced")  # with 1000 network calls the two are the same


def released(vae: str, num_steps: int, seed: int) -> Spec:
    """Return the arm of the released protocol: switches, schedule and arithmetic of the authors.

    Its walk is spaced: with 1000 calls that is theirs, with few theirs ends in almost pure noise.
    """
    return Spec(vae, switches=RELEASED_SPACED, schedule="released", num_steps=num_steps, seed=seed)


def chapter_3(
    vae: str,
    lr_conditions: Sequence[str],
    pixels_only: Sequence[str],
    main_vaes: Sequence[str],
    main_arms: Sequence[str],
    released_steps: int,
    longer_factor: float,
    seed: int,
) -> Plan:
    """Return the arms of one target autoencoder in the default run.

    Every LR condition, all else controlled; of autoencoders in ``pixels_only`` LR pixels alone.
    The two main ones also see the LR latent of each other ("crossed"), run as released,
    controlled with ``longer_factor`` times the training steps ("longer"), and controlled from
    further training seeds ("second_seed", "third_seed").

    >>> main = ["natural-f8c4", "phantom-f4c3"]
    >>> arms = ["crossed", "released"]
    >>> plan = chapter_3(main[1], ["lr_latent", "lr_pixels"], [], main, arms, 10, 4, 42)
    >>> list(plan), plan["crossed"].condition_vae
    (['lr_latent', 'lr_pixels', 'crossed', 'released'], 'natural-f8c4')
    """
    kinds = ["lr_pixels"] if vae in pixels_only else list(lr_conditions)
    plan = {kind: Spec(vae, switches=Switches(kind), seed=seed) for kind in kinds}
    if vae in main_vaes:
        other = main_vaes[1 - list(main_vaes).index(vae)]
        more = {
            "crossed": Spec(vae, other, Switches("lr_latent"), seed=seed),
            "released": released(vae, released_steps, seed),
            "longer": Spec(vae, steps=longer_factor, seed=seed),
            "second_seed": Spec(vae, seed=seed + 1),
            "third_seed": Spec(vae, seed=seed + 2),
        }
        plan |= {name: more[name] for name in main_arms}
    return plan


def unique_trainings(plan: Mapping[Any, Spec]) -> list[Spec]:
    """Return the trainings that a plan needs, each once."""
    return list(dict.fromkeys(spec.training for spec in plan.values()))
