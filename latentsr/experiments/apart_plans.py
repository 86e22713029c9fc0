"""Which arms take the gap apart, by the question they answer: named lists of specifications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log

from latentsr.autoencoders import registry
from latentsr.experiments.plans import RELEASED_SPACED, Plan, released
from latentsr.experiments.protocol import CONTROLLED, RELEASED, Switches, ladder, one_changed
from latentsr.experiments.run import Spec

CALLS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)  # of the walks


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


def switches(vae: str, seed: int, num_steps: int, walk_steps: int = 50) -> Plan:
    """Return the arms that take the two protocols apart, switch by switch.

    ``released``; each switch alone at its controlled value (``released, but grid``); the ladder
    (``to grid``: this switch and all before it); ``controlled``; each alone back (``controlled,
    but grid``). Arms that start from released keep its schedule and arithmetic, except for the
    last rung, ``to schedule``, which is controlled. The walk is switched at ``walk_steps`` calls,
    where the two walks differ, against the same arm with that many calls (``released at 50``,
    ``controlled at 50``); all others take ``num_steps`` and the spaced walk.
    """
    ours = Spec(vae, num_steps=num_steps, seed=seed)
    theirs = replace(ours, schedule="released")
    plan = {"released": replace(theirs, switches=RELEASED_SPACED), "controlled": ours}
    for name, changed in one_changed(RELEASED_SPACED, CONTROLLED).items():
        plan[f"released, but {name}"] = replace(theirs, switches=changed)
    for name, changed in one_changed(CONTROLLED, RELEASED).items():
        plan[f"controlled, but {name}"] = replace(ours, switches=changed)
    for name, rung in ladder(RELEASED_SPACED, CONTROLLED).items():
        plan[f"to {name}"] = replace(theirs, switches=rung)
    plan = {name: spec for name, spec in plan.items() if not name.endswith("walk")}
    plan["to schedule"] = plan["controlled"]
    for name in ("released", "controlled"):
        base = replace(plan[name], num_steps=walk_steps)
        plan[f"{name} at {walk_steps}"] = base
        first = replace(base.switches, walk=RELEASED.walk)
        plan[f"{name} at {walk_steps}, first entries"] = replace(base, switches=first)
    return plan


def levers(vae: str, other: str, protocol: str, num_steps: int, seed: int) -> Plan:
    """Return the arms behind claim C0: one thing changed at a time, named ``lever: value``.

    ``base`` is the arm of ``vae`` under "released" or "controlled"; ``other`` is the second main
    autoencoder. Ancestral sampling from "released" keeps its schedule and half of the noise.
    """
    if protocol == "released":
        base = released(vae, num_steps, seed)
        condition = replace(base, switches=replace(base.switches, lr_condition="lr_pixels"))
    else:
        base = Spec(vae, num_steps=num_steps, seed=seed)
        condition = replace(base, switches=replace(base.switches, lr_condition="lr_latent"))
    plan = {
        "base": base,
        f"autoencoder: {other}": replace(base, vae=other),
        f"condition: {condition.switches.lr_condition}": condition,
        "target: v": replace(base, prediction="v"),
        "calls: 1": replace(base, num_steps=1),
        "calls: 50": replace(base, num_steps=50),
        "sampler: ddpm": replace(base, sampler="ddpm"),
        "training images: x0.5": replace(base, images=0.5),
    }
    for factor in (0.5, 2.0):
        plan[f"width: x{factor:g}"] = replace(base, width=factor)
        plan[f"training steps: x{factor:g}"] = replace(base, steps=factor)
    return plan


def ablations(vae: str, lr_condition: str, num_steps: int, seed: int) -> Plan:
    """Return the arms behind claim C4, all else controlled; ``reference`` is what they vary."""
    base = Spec(vae, switches=Switches(lr_condition), num_steps=num_steps, seed=seed)
    return {
        "reference": base,
        "target v": replace(base, prediction="v"),
        "target epsilon": replace(base, prediction="epsilon"),
        "rectified flow": replace(base, prediction="flow", num_steps=16),
        "one step": replace(base, prediction="one_step", loss="l2", num_steps=1),
        "transformer": replace(base, kind="transformer"),
        "linear schedule": replace(base, schedule="linear"),
        "ancestral sampling": replace(base, sampler="ddpm"),
        "DPM-Solver++": replace(base, sampler="dpm++"),
    }


def retrained(vae: str, lr_condition: str, num_steps: int, seed: int, number: int = 3) -> Plan:
    """Return from several seeds those `ablations` that are trained anew, and their reference.

    >>> list(retrained("kl-f4", "lr_pixels", 10, 42))[:3]
    ['reference, seed 42', 'target v, seed 42', 'target epsilon, seed 42']
    """
    found = {}
    for k in range(seed, seed + number):
        plan = ablations(vae, lr_condition, num_steps, k)
        shared = plan["reference"].training
        for name, spec in plan.items():
            if name == "reference" or spec.training != shared:
                found[f"{name}, seed {k}"] = spec
    return found


def convergence(main_vaes: Sequence[str], seed: int, factors: Sequence[float] = (1, 4, 16)) -> Plan:
    """Return target x condition after so many times the training steps: ``x4, what is seen``."""
    plan = {}
    for factor in factors:
        for name, spec in targets_and_conditions(main_vaes, seed, factor).items():
            vae, _, seen = name.partition("|")
            plan[f"x{factor:g}, {seen}|{vae}"] = spec
    return plan


def sensitivity(
    main_vaes: Sequence[str], others: Sequence[str], dataset: str, lr_condition: str, seed: int
) -> Plan:
    """Return the arms that ask whether the gap hangs on how the two main arms were made alike.

    ``reference`` is controlled but for the LR condition. A change of one arm alone is paired with
    the other's reference. ``others`` are the further autoencoders at hand: the second training
    seeds, and those that never saw this anatomy, take part where they are among them.
    """
    f8, f4 = main_vaes
    alike = {vae: Spec(vae, switches=Switches(lr_condition), seed=seed) for vae in main_vaes}
    own = {
        vae: replace(spec, switches=replace(spec.switches, grid="own"))
        for vae, spec in alike.items()
    }
    shift = -2 * log(2)  # a pixel of the common grid holds four of f4's: as much noise an area
    pairs = {
        "reference": alike,
        "own grids": own,
        "own grids, f4 half as wide": own | {f4: replace(own[f4], width=0.5)},
        "f8 twice as wide": alike | {f8: replace(alike[f8], width=2.0)},
        "f8, batch x4": alike | {f8: replace(alike[f8], batch=4.0)},
        "f4, schedule shifted": alike | {f4: replace(alike[f4], log_snr_shift=shift)},
        "LR twice as large": {vae: replace(spec, lr_side=2.0) for vae, spec in alike.items()},
    }
    if {f"{f8}-s1", f"{f4}-s1"} <= set(others):
        pairs["second training seeds"] = {
            vae: replace(spec, vae=f"{vae}-s1") for vae, spec in alike.items()
        }
    if (without := f"{f4}-without-{dataset}") in others:
        pairs["f4 that never saw this anatomy"] = alike | {f4: replace(alike[f4], vae=without)}
    return {
        f"{lr_condition}, {name}|{vae}": spec
        for name, pair in pairs.items()
        for vae, spec in pair.items()
    }


def seeds(vaes: Sequence[str], lr_condition: str, seed: int, number: int = 3) -> Plan:
    """Return the arms of some autoencoders from several training seeds."""
    return {
        f"{lr_condition}, seed {k}|{vae}": Spec(vae, switches=Switches(lr_condition), seed=k)
        for k in range(seed, seed + number)
        for vae in vaes
    }


def corners(vaes: Sequence[str], num_steps: int, seed: int) -> Plan:
    """Return the released arms of the four corners of domain x geometry (none where they lack)."""
    return {
        f"released|{vae}": released(vae, num_steps, seed) for vae in registry.design_cells(vaes)
    }


def walk_name(calls: int, walk: str, noise: float) -> str:
    """Name an arm of `walks`.

    >>> walk_name(1, "spaced", 1.0), walk_name(50, "first", 0.5)
    ('1 call', 'first 50 entries, half of the noise')
    """
    name = f"first {calls} entries" if walk == "first" else f"{calls} call{'s' * (calls > 1)}"
    return name + ", half of the noise" * (noise < 1)


def walks(main_vaes: Sequence[str], lr_condition: str, num_steps: int, seed: int) -> Plan:
    """Return every number of network calls on both walks, from full and from half the noise.

    ``num_steps`` is among the numbers: spaced and from full noise it is `ablations`' reference.
    With one call, and with 1000, the walks are one, the spaced one.
    """
    return {
        f"{walk_name(calls, walk, noise)}|{vae}": Spec(
            vae, switches=Switches(lr_condition, initial_noise_sd=noise, walk=walk),
            num_steps=calls, seed=seed,
        )
        for walk in ("spaced", "first")
        for noise in (1.0, 0.5)
        for calls in sorted({*CALLS, num_steps})
        for vae in main_vaes
        if walk == "spaced" or calls not in (1, 1000)
    }  # fmt: skip


def whole(
    main_vaes: Sequence[str],
    others: Sequence[str],
    dataset: str,
    lr_condition: str,
    released_steps: int,
    num_steps: int,
    seed: int,
) -> dict[tuple[str, str], Spec]:
    """Return every arm that takes the gap apart, by (analysis, name of the arm).

    Most hold each arm of both main autoencoders, ``name|autoencoder``; "levers, released" and
    "levers, controlled" start from the first. "seeds" and "corners" hold all four corners of domain
    x geometry where they are among ``others``, the autoencoders of the study.
    """
    found: dict[tuple[str, str], Spec] = {}
    for vae in main_vaes:
        for analysis, plan in (
            ("switches", switches(vae, seed, released_steps)),
            ("ablations", ablations(vae, lr_condition, num_steps, seed)),
            ("retrained", retrained(vae, lr_condition, num_steps, seed)),
        ):
            found |= {(analysis, f"{name}|{vae}"): spec for name, spec in plan.items()}
    first, second = main_vaes
    for protocol, calls in (("released", released_steps), ("controlled", num_steps)):
        plan = levers(first, second, protocol, calls, seed)
        found |= {(f"levers, {protocol}", name): spec for name, spec in plan.items()}
    every = list(dict.fromkeys([*main_vaes, *registry.design_cells(others)]))
    for kind in ("lr_latent", "lr_pixels"):
        for analysis, plan in (
            ("sensitivity", sensitivity(main_vaes, others, dataset, kind, seed)),
            ("seeds", seeds(every, kind, seed)),
        ):
            found |= {(analysis, name): spec for name, spec in plan.items()}
    for analysis, plan in (
        ("corners", corners(others, released_steps, seed)),
        ("walks", walks(main_vaes, lr_condition, num_steps, seed)),
        ("convergence", convergence(main_vaes, seed)),
    ):
        found |= {(analysis, name): spec for name, spec in plan.items()}
    return found
