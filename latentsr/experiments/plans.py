"""Which arms are trained: those of the study, and the long ablations as a table of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from latentsr.autoencoders import registry
from latentsr.diffusion.process import LOGSNR_SHIFT_2X
from latentsr.experiments.protocol import (
    CONTROLLED,
    RELEASED,
    Protocol,
    cumulative,
    one_at_a_time,
)
from latentsr.experiments.run import ArmConfig

RELEASED_SPACED = replace(RELEASED, timestep_spacing="spaced")  # the same with 1000 network calls
CALLS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)  # of `schedules`
SWITCHED_CALLS = 50  # where the two spacings of timesteps are compared
LEVERS: dict[tuple[str, str], dict[str, Any]] = {  # of claim C0, see `one_factor`
    ("target", "v"): {"prediction": "v"},
    ("calls", "1"): {"num_inference_steps": 1},
    ("calls", "50"): {"num_inference_steps": 50},
    ("sampler", "ddpm"): {"sampler": "ddpm"},
    ("training images", "x0.5"): {"images": 0.5},
    ("width", "x0.5"): {"width": 0.5},
    ("training steps", "x0.5"): {"steps": 0.5},
    ("width", "x2"): {"width": 2.0},
    ("training steps", "x2"): {"steps": 2.0},
}
ABLATIONS: dict[str, dict[str, Any]] = {  # of claim C4: what each changes of "reference"
    "reference": {},
    "target v": {"prediction": "v"},
    "target epsilon": {"prediction": "epsilon"},
    "rectified flow": {"prediction": "flow", "num_inference_steps": 16},
    "one step": {"prediction": "one_step", "loss": "l2", "num_inference_steps": 1},
    "transformer": {"kind": "transformer"},
    "linear schedule": {"schedule": "linear"},
    "ancestral sampling": {"sampler": "ddpm"},
    "DPM-Solver++": {"sampler": "dpm++"},
}


@dataclass(frozen=True)
class PlanRow:
    """One arm of an ablation: its place in a table, and its configuration.

    ``role`` is the main autoencoder in whose place the arm stands; ``factor`` is what was changed
    from ``start``, and ``value`` what it was changed to; ``arm`` is what tables call it.
    """

    analysis: str
    arm: str
    config: ArmConfig
    role: str = ""
    start: str = ""
    factor: str = ""
    value: str = ""

    def columns(self) -> dict[str, str]:
        """Return all but the configuration as columns of a table."""
        role = registry.display_name(self.role) if self.role else ""
        named = {"analysis": self.analysis, "arm": self.arm, "role": role}
        return {**named, "start": self.start, "factor": self.factor, "value": self.value}


def released(vae: str, num_inference_steps: int, seed: int) -> ArmConfig:
    """Return the arm of the released protocol: switches, schedule and arithmetic of the authors.

    Its timesteps are spaced: with 1000 calls that is theirs, with few theirs end in almost pure
    noise.
    """
    calls = num_inference_steps
    return ArmConfig(
        vae, "", RELEASED_SPACED, schedule="released", num_inference_steps=calls, seed=seed
    )


def study_arms(vae: str, params: Mapping[str, Any]) -> dict[str, ArmConfig]:
    """Return the arms of one target autoencoder in the default run, by name.

    Every LR condition, all else controlled; of autoencoders in ``pixels_only`` LR pixels alone.
    The two main ones also see the LR latent of each other ("crossed"), run as released,
    controlled with ``longer_factor`` times the training steps ("longer"), and controlled from
    further training seeds ("second_seed", "third_seed"). ``params`` has the keys of chapter 3's
    block of parameters, and ``main_vaes``.

    >>> params = {"lr_conditions": ["lr_latent", "lr_pixels"], "pixels_only": [], "seed": 42,
    ...           "main_vaes": ["natural-f8c4", "phantom-f4c3"], "released_steps": 10,
    ...           "main_arms": ["crossed", "released"], "longer_factor": 4}
    >>> arms = study_arms("phantom-f4c3", params)
    >>> list(arms), arms["crossed"].condition_vae
    (['lr_latent', 'lr_pixels', 'crossed', 'released'], 'natural-f8c4')
    """
    seed, main_vaes = params["seed"], list(params["main_vaes"])
    kinds = ["lr_pixels"] if vae in params["pixels_only"] else params["lr_conditions"]
    arms = {kind: ArmConfig(vae, protocol=Protocol(kind), seed=seed) for kind in kinds}
    if vae in main_vaes:
        other = main_vaes[1 - main_vaes.index(vae)]
        more = {
            "crossed": ArmConfig(vae, other, Protocol("lr_latent"), seed=seed),
            "released": released(vae, params["released_steps"], seed),
            "longer": ArmConfig(vae, steps=params["longer_factor"], seed=seed),
            "second_seed": ArmConfig(vae, seed=seed + 1),
            "third_seed": ArmConfig(vae, seed=seed + 2),
        }
        arms |= {name: more[name] for name in params["main_arms"]}
    return arms


def unique_trainings(configs: Iterable[ArmConfig]) -> list[ArmConfig]:
    """Return the trainings that some arms need, each once."""
    return list(dict.fromkeys(config.for_training for config in configs))


def switches(vae: str, seed: int, num_inference_steps: int) -> Iterator[PlanRow]:
    """Yield the arms between the two protocols, switch by switch.

    Both protocols; each switch alone at its other end, from either; released with one switch
    after another turned (factor "cumulative"). Arms that start from released keep its schedule and
    arithmetic, except for the last, "to schedule", which is controlled. The timesteps are switched
    at `SWITCHED_CALLS` network calls, where the two spacings differ, against the same arm with that
    many; all others take ``num_inference_steps`` and spaced timesteps.
    """
    ours = ArmConfig(vae, num_inference_steps=num_inference_steps, seed=seed)
    theirs = replace(ours, schedule="released")
    starts = {"released": replace(theirs, protocol=RELEASED_SPACED), "controlled": ours}
    for start, config in starts.items():
        yield PlanRow("switches", start, config, vae, start)
    for (start, config), end in zip(starts.items(), (CONTROLLED, RELEASED), strict=True):
        for factor, protocol in one_at_a_time(config.protocol, end).items():
            if factor != "timestep_spacing":
                value, name = str(getattr(protocol, factor)), f"{start}, but {factor}"
                changed = replace(config, protocol=protocol)
                yield PlanRow("switches", name, changed, vae, start, factor, value)
    for factor, protocol in cumulative(RELEASED_SPACED, CONTROLLED).items():
        if factor != "timestep_spacing":
            config = replace(theirs, protocol=protocol)
            yield PlanRow("switches", f"to {factor}", config, vae, "released", "cumulative", factor)
    yield PlanRow("switches", "to schedule", ours, vae, "released", "cumulative", "schedule")
    for start, config in starts.items():
        config = replace(config, num_inference_steps=SWITCHED_CALLS)
        name = f"{start} at {SWITCHED_CALLS}"
        yield PlanRow("switches", name, config, vae, name)
        config = replace(config, protocol=replace(config.protocol, timestep_spacing="first"))
        first = f"{name}, first entries"
        yield PlanRow("switches", first, config, vae, name, "timestep_spacing", "first")


def one_factor(
    vae: str, other: str, protocol: str, num_inference_steps: int, seed: int
) -> Iterator[PlanRow]:
    """Yield the arms behind claim C0: one factor changed at a time, from the arm called "base".

    ``base`` is the arm of ``vae`` under "released" or "controlled"; ``other`` is the second main
    autoencoder. Ancestral sampling from "released" keeps its schedule and half of the noise.
    """
    base = ArmConfig(vae, num_inference_steps=num_inference_steps, seed=seed)
    condition = "lr_latent"
    if protocol == "released":
        base, condition = released(vae, num_inference_steps, seed), "lr_pixels"
    yield PlanRow("levers", "base", base, start=protocol)
    seen = replace(base.protocol, lr_condition=condition)
    first: dict[tuple[str, str], dict[str, Any]] = {
        ("autoencoder", other): {"vae": other},
        ("condition", condition): {"protocol": seen},
    }
    for (factor, value), change in (first | LEVERS).items():
        name, config = f"{factor}: {value}", replace(base, **change)
        yield PlanRow("levers", name, config, start=protocol, factor=factor, value=value)


def ablations(
    vae: str, lr_condition: str, num_inference_steps: int, seed: int
) -> dict[str, ArmConfig]:
    """Return the arms of `ABLATIONS`, all else controlled."""
    protocol = Protocol(lr_condition)
    base = ArmConfig(vae, "", protocol, num_inference_steps=num_inference_steps, seed=seed)
    return {name: replace(base, **change) for name, change in ABLATIONS.items()}


def retrained(
    vae: str, lr_condition: str, num_inference_steps: int, seed: int, number: int = 3
) -> Iterator[PlanRow]:
    """Yield from several seeds those `ablations` that need a training, and their reference."""
    for k in range(seed, seed + number):
        arms = ablations(vae, lr_condition, num_inference_steps, k)
        shared = arms["reference"].for_training
        for name, config in arms.items():
            if name == "reference" or config.for_training != shared:
                yield PlanRow("retrained", name, config, vae)


def targets_and_conditions(
    main_vaes: Sequence[str], seed: int, steps: float = 1.0
) -> dict[tuple[str, str], ArmConfig]:
    """Return the 2 targets x 4 conditions on the common grid, by target and condition."""
    arms = {}
    for vae in main_vaes:
        base = ArmConfig(vae, seed=seed, steps=steps)
        for seen in main_vaes:
            latent = replace(base, condition_vae=seen, protocol=Protocol("lr_latent"))
            arms[vae, f"latent of {seen}"] = latent
        arms[vae, "upsampled_latent"] = replace(base, protocol=Protocol("upsampled_latent"))
        arms[vae, "lr_pixels"] = base
    return arms


def convergence(
    main_vaes: Sequence[str], seed: int, factors: Sequence[float] = (1, 4, 16)
) -> Iterator[PlanRow]:
    """Yield target x condition after so many times the training steps."""
    for factor in factors:
        for (vae, condition), config in targets_and_conditions(main_vaes, seed, factor).items():
            yield PlanRow("convergence", f"x{factor:g}, {condition}", config, vae)


def sensitivity(
    main_vaes: Sequence[str], others: Sequence[str], dataset: str, lr_condition: str, seed: int
) -> Iterator[PlanRow]:
    """Yield the arms that ask whether the gap depends on how the two main arms were made alike.

    "reference" is controlled but for the LR condition. A change of one arm alone is paired with
    the other's reference. Of ``others``, the autoencoders available, the second training seeds and
    those that never saw this anatomy take part.
    """
    f8, f4 = main_vaes
    own = Protocol(lr_condition, grid="own")
    # a pixel of the common grid holds four of f4's: as much noise per area
    shift = LOGSNR_SHIFT_2X
    changes: dict[str, dict[str, dict[str, Any]]] = {
        "reference": {},
        "own grids": {f8: {"protocol": own}, f4: {"protocol": own}},
        "own grids, f4 half as wide": {f8: {"protocol": own}, f4: {"protocol": own, "width": 0.5}},
        "f8 twice as wide": {f8: {"width": 2.0}},
        "f8, batch x4": {f8: {"batch": 4.0}},
        "f4, schedule shifted": {f4: {"log_snr_shift": shift}},
        "LR twice as large": {f8: {"lr_side": 2.0}, f4: {"lr_side": 2.0}},
    }
    if {f"{f8}-s1", f"{f4}-s1"} <= set(others):
        changes["second training seeds"] = {vae: {"vae": f"{vae}-s1"} for vae in main_vaes}
    if (without := f"{f4}-without-{dataset}") in others:
        changes["f4 that never saw this anatomy"] = {f4: {"vae": without}}
    for factor, change in changes.items():
        for vae in main_vaes:
            alike = ArmConfig(vae, protocol=Protocol(lr_condition), seed=seed)
            config, name = replace(alike, **change.get(vae, {})), f"{lr_condition}, {factor}"
            yield PlanRow("sensitivity", name, config, vae, lr_condition, factor)


def seeds(vaes: Sequence[str], lr_condition: str, seed: int, number: int = 3) -> Iterator[PlanRow]:
    """Yield the arms of some autoencoders from several training seeds."""
    for k in range(seed, seed + number):
        for vae in vaes:
            config = ArmConfig(vae, protocol=Protocol(lr_condition), seed=k)
            yield PlanRow("seeds", f"{lr_condition}, seed {k}", config, vae, lr_condition)


def schedules(
    main_vaes: Sequence[str], lr_condition: str, num_inference_steps: int, seed: int
) -> Iterator[PlanRow]:
    """Yield every number of network calls with both spacings, from full and from half the noise.

    ``num_inference_steps`` is among the numbers: spaced and from full noise it is the reference of
    `ablations`. With one call, and with 1000, the spacings are one, the spaced one.
    """
    for spacing in ("spaced", "first"):
        for noise_sd in (1.0, 0.5):
            protocol = Protocol(lr_condition, initial_noise_sd=noise_sd, timestep_spacing=spacing)
            for calls in sorted({*CALLS, num_inference_steps}):
                if spacing == "first" and calls in (1, 1000):
                    continue
                name = f"first {calls} entries" if spacing == "first" else f"{calls} calls"
                name = name.replace("1 calls", "1 call") if calls == 1 else name
                name += ", half of the noise" * (noise_sd < 1)
                for vae in main_vaes:
                    config = ArmConfig(vae, "", protocol, num_inference_steps=calls, seed=seed)
                    yield PlanRow("walks", name, config, vae)


def full_plan(
    params: Mapping[str, Any],
    dataset: str,
    lr_condition: str,
    seed: int,
    number: int = 3,
    factors: Sequence[float] = (1, 4, 16),
) -> list[PlanRow]:
    """Return every row of the long ablations, ``number`` training seeds and ``factors`` of steps.

    ``params`` has main_vaes, vaes, released_steps and sampling_steps. Most analyses have each arm
    of both main autoencoders; "levers" starts from the first. "seeds" and "corners" (under the
    released protocol) have all four cells of domain x geometry where they are among the vaes.
    """
    main_vaes, others = params["main_vaes"], params["vaes"]
    released_calls, calls, rows = (
        params["released_steps"],
        params["sampling_steps"],
        list[PlanRow](),
    )
    for vae in main_vaes:
        rows += switches(vae, seed, released_calls)
        arms = ablations(vae, lr_condition, calls, seed)
        rows += [PlanRow("ablations", name, config, vae) for name, config in arms.items()]
        rows += retrained(vae, lr_condition, calls, seed, number)
    rows += one_factor(main_vaes[0], main_vaes[1], "released", released_calls, seed)
    rows += one_factor(main_vaes[0], main_vaes[1], "controlled", calls, seed)
    cells = registry.design_cells(others)
    for kind in ("lr_latent", "lr_pixels"):
        rows += sensitivity(main_vaes, others, dataset, kind, seed)
        rows += seeds(list(dict.fromkeys([*main_vaes, *cells])), kind, seed, number)
    for vae in cells:
        rows.append(PlanRow("corners", "released", released(vae, released_calls, seed), vae))
    rows += schedules(main_vaes, lr_condition, calls, seed)
    return [*rows, *convergence(main_vaes, seed, factors)]
