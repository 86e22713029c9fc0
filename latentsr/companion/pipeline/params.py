"""Typed parameters: what each block of params.yaml holds, and which values are allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from latentsr.autoencoders import registry

LR_CONDITIONS = ("lr_latent", "upsampled_latent", "lr_pixels")
WALKS = ("spaced", "first")
FURTHER_SEEDS = ("second_seed", "third_seed")
MAIN_ARMS = ("crossed", "released", "longer", *FURTHER_SEEDS)
OPERATORS = ("bicubic", "lanczos", "gaussian", "kspace")


@dataclass(frozen=True)
class Key:
    """The type of a value, and its range in code and in words; ``many`` makes it a list.

    A list has one item or more, unless it ``may_be_empty``.
    """

    kind: type
    needed: str = ""
    allows: Callable[[Any], object] = lambda value: True
    many: bool = False
    may_be_empty: bool = False

    def check(self, where: str, value: Any) -> Any:
        """Return the value, an int as float where a float is wanted; else one line of error."""
        if self.many:
            if not isinstance(value, list) or not (value or self.may_be_empty):
                raise ValueError(f"{where}: {value!r}, but a list of one or more is needed")
            one = Key(self.kind, self.needed, self.allows)
            if len(set(map(str, value))) < len(value):
                raise ValueError(f"{where}: {value!r}, but each is needed once")
            return [one.check(where, item) for item in value]
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise ValueError(f"{where}: {value!r}, but {self.kind.__name__} is needed")
        if not self.allows(value):
            raise ValueError(f"{where}: {value!r}, but {self.needed} is needed")
        return value


def one_of(*names: str, many: bool = False) -> Key:
    """Make a key whose value is one of the names, or with ``many`` a list of them."""
    return Key(str, f"one of {', '.join(names)}", names.__contains__, many)


def _is_wavelet(name: str) -> bool:
    import pywt

    return name in pywt.wavelist(kind="discrete")


def _are_widths(values: list[Any]) -> bool:
    whole = all(type(value) is int and value > 0 and value % 8 == 0 for value in values)
    return whole and 1 <= len(values) <= 4


NUMBER, RATE = Key(int, "at least 0", lambda v: v >= 0), Key(float, "above 0", lambda v: v > 0)
COUNT = Key(int, "at least 1", lambda v: v >= 1)
CALLS, WALK_CALLS = (
    Key(int, "1 to 1000", lambda v: 1 <= v <= 1000, many) for many in (False, True)
)
SIZES = Key(float, "above 0", lambda v: v > 0, many=True)
SHARE = Key(float, "a share between 0 and 1", lambda v: 0 < v < 1)
VAES = Key(
    str,
    f"one of {', '.join(registry.NAMES)}, a path with a / (letters, digits, "
    "spaces, . _ + -, no ..), or hf/OWNER/NAME/REVISION of 40 digits,",
    registry.is_vae,
    many=True,
)
INTERVAL = {"confidence": SHARE, "bootstrap_seed": NUMBER}

SCHEMA: dict[str, dict[str, Key]] = {
    "phantoms": {
        "seed": NUMBER,
        **dict.fromkeys(("knee_train", "knee_test", "brain_train", "brain_test"), COUNT),
        **dict.fromkeys(("brain_slices", "chest_train", "chest_test"), COUNT),
    },
    "data": {
        "hr_px": Key(int, "a multiple of 64", lambda v: v > 0 and v % 64 == 0),
        **dict.fromkeys(("lr_px", "train_images", "test_images", "brain_slices"), COUNT),
        "test_fraction": SHARE,
        "operator": one_of(*OPERATORS),
        "split_seed": NUMBER,
    },
    "autoencoders": {
        "vaes": VAES,
        "arms": VAES,
        "batch": COUNT,
        "precision": one_of("float32", "bfloat16", "float16"),
    },
    "train_arm": {
        "lr_conditions": one_of(*LR_CONDITIONS, many=True),
        "grid_factor": Key(int, "8", lambda v: v == 8),
        "pixels_only": replace(VAES, may_be_empty=True),
        "main_arms": replace(one_of(*MAIN_ARMS, many=True), may_be_empty=True),
        "released_steps": CALLS,
        "longer_factor": COUNT,
        "unet_channels": Key(list, "1 to 4 multiples of 8", _are_widths),
        "attention_levels": Key(int, "0 to 3", range(4).__contains__, many=True, may_be_empty=True),
        **dict.fromkeys(("steps", "batch"), COUNT),
        "max_learning_rate": RATE,
        "weight_decay": Key(float, "at least 0", lambda v: v >= 0),
        "gradient_clip": RATE,
        "ema_decay": Key(float, "from 0, below 1", lambda v: 0 <= v < 1),
        "save_every_s": COUNT,
        "sampling_steps": CALLS,
        "seed": NUMBER,
    },
    "vae_swap": {"main_vaes": VAES, **INTERVAL},
    "wavelets": {
        "wavelet": Key(str, "a discrete wavelet of PyWavelets", _is_wavelet),
        "levels": Key(int, "1 to 5", lambda v: 1 <= v <= 5),
        **INTERVAL,
    },
    "hallucination": {"floor_sd": RATE, "fixed_floor": SHARE, "margin_h": RATE, **INTERVAL},
    "ablations": {
        "run": one_of("first", "all"),
        "ablation_condition": one_of(*LR_CONDITIONS),
        "steps_grid": WALK_CALLS,
        "long_steps": CALLS,
        "long_images": COUNT,
        "walks": one_of(*WALKS, many=True),
        "samples": Key(int, "at least 2", lambda v: v >= 2),
        "retrain_factor": COUNT,
        "margin_db": RATE,
        "seed": NUMBER,
    },
    "statistics": {"equivalence_db": RATE, "schedule_from": COUNT, **INTERVAL},
    "screening": {"confidence": SHARE},
    "claims": {"reproduced_half_width": SHARE},
    "lesions": {
        "images_a_set": COUNT,
        "sizes_px": SIZES,
        "levels": SIZES,
        "spread_level": RATE,
        "noise_sd": RATE,
        "false_share": SHARE,
        "samples": Key(int, "at least 2", lambda v: v >= 2),
        "prevalence": SHARE,
        **INTERVAL,
    },
}
SCALARS = {
    "profile": Key(str, "a name of a-z, 0-9, _ and -", re.compile("[a-z0-9_-]+").fullmatch),
    "threads": COUNT,
}
BLOCKS = {
    name: make_dataclass(name.title().replace("_", ""), list(keys), frozen=True)
    for name, keys in SCHEMA.items()
}


def _same_keys(where: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in found:
        if key not in wanted:
            raise ValueError(f"{where}{key}: unknown parameter; allowed are {', '.join(wanted)}")
    if missing := [key for key in wanted if key not in found]:
        raise ValueError(f"{where}{missing[0]}: missing parameter")


def block(name: str, values: Mapping[str, Any]) -> Any:
    """Build one block's frozen dataclass; a missing, unknown or wrong key is an error.

    Raises
    ------
    ValueError
        One line naming the key, the value found and what is allowed.

    Examples
    --------
    >>> block("screening", {"confidence": 0.95})
    Screening(confidence=0.95)
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: {values!r}, but a block of parameters is needed")
    keys = SCHEMA[name]
    _same_keys(f"{name}.", values, keys)
    return BLOCKS[name](**{key: keys[key].check(f"{name}.{key}", values[key]) for key in keys})


def _agree(settings: Mapping[str, Any]) -> None:
    """Check values that only make sense beside one another."""
    data, coders, swap = (settings[name] for name in ("data", "autoencoders", "vae_swap"))
    condition, arm = settings["ablations"].ablation_condition, settings["train_arm"]
    if data.hr_px != 4 * data.lr_px:
        raise ValueError(f"data.lr_px: {data.lr_px}; a quarter of hr_px {data.hr_px} is needed")
    if len(swap.main_vaes) != 2:
        raise ValueError(f"vae_swap.main_vaes: {swap.main_vaes}; two are needed")
    late, from_calls = settings["ablations"], settings["statistics"].schedule_from
    if "spaced" not in late.walks:
        raise ValueError(f"ablations.walks: {late.walks}; spaced is needed, chapter 8 reads it")
    if sum(calls >= from_calls for calls in late.steps_grid) < 2:
        raise ValueError(
            f"ablations.steps_grid: {late.steps_grid}; two or more values from "
            f"statistics.schedule_from, {from_calls}, on are needed"
        )
    planted = settings["lesions"]
    if planted.spread_level not in planted.levels:
        listed = ", ".join(f"{level:g}" for level in planted.levels)
        raise ValueError(
            f"lesions.spread_level: {planted.spread_level:g}; one of lesions.levels is needed: {listed}"
        )
    full = [vae for vae in coders.arms if vae not in arm.pixels_only]
    own: dict[str, str] = {}
    for vae in coders.vaes:
        if (other := own.setdefault(registry.label(vae), vae)) != vae:
            named = registry.label(vae)
            raise ValueError(f"autoencoders.vaes: {other} and {vae} would both be called {named}")
    for key, names, allowed in (
        ("autoencoders.arms", coders.arms, coders.vaes),
        ("train_arm.pixels_only", arm.pixels_only, coders.arms),
        ("vae_swap.main_vaes", swap.main_vaes, full),
        ("ablations.ablation_condition", [condition], arm.lr_conditions),
    ):
        if strange := [name for name in names if name not in allowed]:
            raise ValueError(f"{key}: {strange[0]!r}; allowed here are {', '.join(allowed)}")


def read(path: Path) -> dict[str, Any]:
    """Read a params file: ``profile``, ``threads`` and one dataclass a block.

    Raises
    ------
    ValueError
        One line naming the key or line, the value found and what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}" if place else "some line"
        raise ValueError(f"{path}: {where} is not YAML; mend that line") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: {raw!r}, but blocks of parameters are needed")
    try:
        _same_keys("", raw, {**SCALARS, **SCHEMA})
        settings = {key: SCALARS[key].check(key, raw[key]) for key in SCALARS}
        settings |= {name: block(name, raw[name]) for name in SCHEMA}
        _agree(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return settings
