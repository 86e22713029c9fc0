"""Typed parameters: what each block of params.yaml holds, and which values are allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)

from latentsr.autoencoders import registry
from latentsr.datasets.sets import validated

LRCondition = Literal["lr_latent", "upsampled_latent", "lr_pixels"]
MainArm = Literal["crossed", "released", "longer", "second_seed", "third_seed"]
Operator = Literal["bicubic", "lanczos", "gaussian", "kspace"]
FURTHER_SEEDS = ("second_seed", "third_seed")
MAIN_ARMS, OPERATORS = get_args(MainArm), get_args(Operator)
T = TypeVar("T")


def _must(check: Callable[[Any], object], needed: str) -> AfterValidator:
    def validate(value: T) -> T:
        if not check(value):
            raise ValueError(f"{needed} needed")
        return value

    return AfterValidator(validate)


def _is_wavelet(name: str) -> bool:
    import pywt

    return name in pywt.wavelist(kind="discrete")


Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Calls = Annotated[int, Field(ge=1, le=1000)]  # of the network, for one sample
Samples = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Unique = Annotated[list[T], _must(lambda values: len(set(values)) == len(values), "each once is")]
Several = Annotated[Unique[T], _must(len, "one or more are")]
Vae = Annotated[
    str,
    _must(
        registry.is_vae,
        f"one of {', '.join(registry.NAMES)}, a path with a / (letters, digits, spaces, . _ + -, "
        "no ..), or hf/OWNER/NAME/REVISION of 40 digits, is",
    ),
]
Widths = Annotated[
    list[Annotated[int, Field(gt=0, multiple_of=8)]],
    _must(lambda values: 1 <= len(values) <= 4, "1 to 4 multiples of 8 are"),
]


class Block(BaseModel):
    """A block of parameters: no other keys, no conversion of types, nothing set afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


INTERVAL: dict[str, Any] = {"confidence": Share, "bootstrap_seed": Natural}
SCHEMA: dict[str, dict[str, Any]] = {
    "phantoms": {
        "seed": Natural,
        **dict.fromkeys(("knee_train", "knee_test", "brain_train", "brain_test"), Count),
        **dict.fromkeys(("brain_slices", "chest_train", "chest_test"), Count),
    },
    "data": {
        "hr_px": Annotated[int, Field(gt=0, multiple_of=64)],
        **dict.fromkeys(("lr_px", "train_images", "test_images", "brain_slices"), Count),
        "test_fraction": Share,
        "operator": Operator,
        "split_seed": Natural,
    },
    "autoencoders": {
        "vaes": Several[Vae],
        "arms": Several[Vae],
        "batch": Count,
        "precision": Literal["float32", "bfloat16", "float16"],
    },
    "train_arm": {
        "lr_conditions": Several[LRCondition],
        "pixels_only": Unique[Vae],
        "main_arms": Unique[MainArm],
        "released_steps": Calls,
        "longer_factor": Count,
        "grid_factor": Literal[8],
        "unet_channels": Widths,
        "attention_levels": Unique[Annotated[int, Field(ge=0, le=3)]],
        **dict.fromkeys(("steps", "batch", "save_every_s"), Count),
        **dict.fromkeys(("max_learning_rate", "gradient_clip"), Positive),
        "weight_decay": Annotated[float, Field(ge=0)],
        "ema_decay": Annotated[float, Field(ge=0, lt=1)],
        "sampling_steps": Calls,
        "seed": Natural,
    },
    "vae_swap": {
        "main_vaes": Annotated[Unique[Vae], _must(lambda vaes: len(vaes) == 2, "two are")],
        **INTERVAL,
    },
    "wavelets": {
        "wavelet": Annotated[str, _must(_is_wavelet, "a discrete wavelet of PyWavelets is")],
        "levels": Annotated[int, Field(ge=1, le=5)],
        **INTERVAL,
    },
    "hallucination": {
        "floor_sd": Positive,
        "fixed_floor": Share,
        "margin_h": Positive,
        **INTERVAL,
    },
    "ablations": {
        "run": Literal["first", "all"],
        "ablation_condition": LRCondition,
        "steps_grid": Several[Calls],
        "long_steps": Calls,
        "walks": Several[Literal["spaced", "first"]],
        "samples": Samples,
        **dict.fromkeys(("long_images", "retrain_factor"), Count),
        "margin_db": Positive,
        "seed": Natural,
    },
    "long_ablations": {
        "training_seeds": Annotated[int, Field(ge=2)],
        "step_factors": Several[Positive],
    },
    "statistics": {"equivalence_db": Positive, "schedule_from": Count, **INTERVAL},
    "screening": {"confidence": Share},
    "claims": {"reproduced_half_width": Share},
    "lesions": {
        "images_a_set": Count,
        **dict.fromkeys(("sizes_px", "levels"), Several[Positive]),
        **dict.fromkeys(("spread_level", "noise_sd"), Positive),
        **dict.fromkeys(("false_share", "prevalence"), Share),
        "samples": Samples,
        **INTERVAL,
    },
}
BLOCKS: dict[str, Any] = {
    name: create_model(name, __base__=Block, **keys) for name, keys in SCHEMA.items()
}


class _Together(Block):
    @model_validator(mode="after")
    def _agree(self) -> _Together:
        if faults := list(_disagreements(self)):
            raise ValueError("\n".join(faults))
        return self


Params = create_model(
    "Params",
    __base__=_Together,
    profile=Annotated[
        str, _must(re.compile("[a-z0-9_-]+").fullmatch, "a name of a-z, 0-9, _ and - is")
    ],
    threads=Count,
    **BLOCKS,
)


def _disagreements(params: Any) -> Iterator[str]:
    data, coders, arm, late = params.data, params.autoencoders, params.train_arm, params.ablations
    first, lesions = params.statistics.schedule_from, params.lesions
    if data.hr_px != 4 * data.lr_px:
        yield f"data.lr_px: {data.lr_px}; a quarter of hr_px {data.hr_px} is needed"
    if "spaced" not in late.walks:
        yield f"ablations.walks: {late.walks}; spaced is needed, chapter 8 reads it"
    if sum(steps >= first for steps in late.steps_grid) < 2:
        yield (
            f"ablations.steps_grid: {late.steps_grid}; two or more values from "
            f"statistics.schedule_from, {first}, on are needed"
        )
    if lesions.spread_level not in lesions.levels:
        yield (
            f"lesions.spread_level: {lesions.spread_level:g}; one of lesions.levels is needed: "
            f"{', '.join(f'{level:g}' for level in lesions.levels)}"
        )
    names: dict[str, str] = {}
    for vae in coders.vaes:
        if (other := names.setdefault(registry.display_name(vae), vae)) != vae:
            name = registry.display_name(vae)
            yield f"autoencoders.vaes: {other} and {vae} would both be called {name}; rename a file"
    everywhere = [vae for vae in coders.arms if vae not in arm.pixels_only]
    for key, chosen, allowed in (
        ("autoencoders.arms", coders.arms, coders.vaes),
        ("train_arm.pixels_only", arm.pixels_only, coders.arms),
        ("vae_swap.main_vaes", params.vae_swap.main_vaes, everywhere),
        ("ablations.ablation_condition", [late.ablation_condition], list(arm.lr_conditions)),
    ):
        for name in chosen:
            if name not in allowed:
                yield f"{key}: {name!r}; allowed here are {', '.join(allowed)}"


def read(path: Path) -> dict[str, Any]:
    """Read a params file: ``profile``, ``threads`` and a frozen `Block` for each other key.

    Raises
    ------
    ValueError
        One line for each fault, naming the key, the value found and what is allowed.

    Examples
    --------
    >>> read(Path("profiles/smoke.yaml"))["screening"]
    screening(confidence=0.95)
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}" if place else "some line"
        raise ValueError(f"{path}: {where} is not YAML; correct that line") from None
    return dict(validated(Params, raw, f"{path}: "))
