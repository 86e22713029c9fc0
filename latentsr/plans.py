"""Which arms answer which question: named lists of specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from latentsr.experiment import Spec
from latentsr.params import MAIN_ARMS
from latentsr.protocols import CONTROLLED, RELEASED, Switches

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
    seed: int,
) -> Plan:
    """Return the arms of one target autoencoder in the default run.

    Every LR condition, all else controlled; of autoencoders in ``pixels_only`` LR pixels alone.
    The two main ones also see the LR latent of each other ("crossed"), and run as released.

    >>> main = ["natural-f8c4", "phantom-f4c3"]
    >>> plan = chapter_3(main[1], ["lr_latent", "lr_pixels"], [], main, MAIN_ARMS, 10, 42)
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
        }
        plan |= {name: more[name] for name in main_arms}
    return plan


def targets_and_conditions(main_vaes: Sequence[str], seed: int, steps: float = 1.0) -> Plan:
    """Return the 2 targets x 4 conditions on the common grid, named ``target|condition``."""
    f8, f4 = main_vaes
    plan = {}
    for vae in main_vaes:
        arms = {
            f"latent of {f8}": Spec(vae, f8, Switches("lr_latent")),
            f"latent of {f4}": Spec(vae, f4, Switches("lr_latent")),
            "upsampled_latent": Spec(vae, switches=Switches("upsampled_latent")),
            "lr_pixels": Spec(vae),
        }
        for name, spec in arms.items():
            plan[f"{vae}|{name}"] = replace(spec, seed=seed, steps=steps)
    return plan


def unique_trainings(plan: Mapping[str, Spec]) -> list[Spec]:
    """Return the trainings that a plan needs, each once."""
    return list(dict.fromkeys(spec.training for spec in plan.values()))


__all__ = ["CONTROLLED", "MAIN_ARMS", "Plan", "chapter_3", "released", "targets_and_conditions"]
