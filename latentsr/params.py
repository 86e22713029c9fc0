"""Typed parameters: one frozen dataclass a block of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import GenericAlias
from typing import Any, get_type_hints

import yaml

from latentsr import registry

LR_CONDITIONS = ("lr_latent", "upsampled_latent", "lr_pixels")
WALKS = ("spaced", "first")


@dataclass(frozen=True)
class Phantoms:
    seed: int
    knee_train: int
    knee_test: int
    brain_train: int
    brain_test: int
    brain_slices: int
    chest_train: int
    chest_test: int


@dataclass(frozen=True)
class Data:
    hr_px: int
    lr_px: int
    train_images: int
    test_images: int
    brain_slices: int
    test_fraction: float
    operator: str
    split_seed: int


@dataclass(frozen=True)
class Autoencoders:
    vaes: list[str]
    arms: list[str]
    batch: int


@dataclass(frozen=True)
class TrainArm:
    lr_conditions: list[str]
    grid_factor: int
    unet_channels: list[int]
    steps: int
    batch: int
    max_learning_rate: float
    weight_decay: float
    gradient_clip: float
    sampling_steps: int
    seed: int


@dataclass(frozen=True)
class VaeSwap:
    main_vaes: list[str]
    bootstrap_seed: int
    confidence: float


@dataclass(frozen=True)
class Wavelets:
    wavelet: str
    levels: int
    confidence: float
    bootstrap_seed: int


@dataclass(frozen=True)
class Hallucination:
    floor_sd: float
    confidence: float
    bootstrap_seed: int


@dataclass(frozen=True)
class Ablations:
    ablation_set: str
    ablation_condition: str
    steps_grid: list[int]
    long_steps: int
    long_images: int
    walks: list[str]
    retrain_factor: int
    seed: int


@dataclass(frozen=True)
class Statistics:
    confidence: float
    equivalence_db: float
    bootstrap_seed: int


@dataclass(frozen=True)
class Screening:
    confidence: float


@dataclass(frozen=True)
class Claims:
    reproduced_half_width: float


BLOCKS: dict[str, type] = {
    "phantoms": Phantoms,
    "data": Data,
    "autoencoders": Autoencoders,
    "train_arm": TrainArm,
    "vae_swap": VaeSwap,
    "wavelets": Wavelets,
    "hallucination": Hallucination,
    "ablations": Ablations,
    "statistics": Statistics,
    "screening": Screening,
    "claims": Claims,
}
SCALARS = ("profile", "threads")


def _typed(where: str, value: Any, wanted: Any) -> Any:
    """Return ``value`` when it has the wanted type (an int may stand for a float)."""
    if isinstance(wanted, GenericAlias):
        if not isinstance(value, list):
            raise ValueError(f"{where}: {value!r}, but a list is needed")
        return [_typed(where, item, wanted.__args__[0]) for item in value]
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ValueError(f"{where}: {value!r}, but {wanted.__name__} is needed")
    return value


def block(name: str, values: Mapping[str, Any]) -> Any:
    """Build one block's dataclass; a missing, unknown or wrongly typed key is an error.

    Raises
    ------
    ValueError
        One line naming the key, the value found and what is allowed.

    Examples
    --------
    >>> block("screening", {"confidence": 0.95})
    Screening(confidence=0.95)
    """
    kind = BLOCKS[name]
    allowed = [field.name for field in fields(kind)]
    for key in values:
        if key not in allowed:
            raise ValueError(f"{name}.{key}: unknown parameter; allowed are {', '.join(allowed)}")
    if missing := [key for key in allowed if key not in values]:
        raise ValueError(f"{name}: missing parameter {', '.join(missing)}")
    hints = get_type_hints(kind)
    built = kind(**{key: _typed(f"{name}.{key}", values[key], hints[key]) for key in allowed})
    _check(name, built)
    return built


def _check(name: str, built: Any) -> None:
    """Check values whose allowed range is known without looking at any data."""
    for key in ("vaes", "arms", "main_vaes"):
        for vae in getattr(built, key, []):
            registry.known(vae)
    choices = {"lr_conditions": LR_CONDITIONS, "walks": WALKS}
    for key, allowed in choices.items():
        for value in getattr(built, key, []):
            if value not in allowed:
                raise ValueError(f"{name}.{key}: {value!r}; allowed are {', '.join(allowed)}")
    for key in ("steps", "batch", "hr_px", "lr_px", "sampling_steps", "train_images"):
        if (value := getattr(built, key, 1)) < 1:
            raise ValueError(f"{name}.{key}: {value}, but at least 1 is needed")
    if name == "data" and built.hr_px % (8 * 8):
        raise ValueError(f"data.hr_px: {built.hr_px}, but a multiple of 64 is needed")
    if name == "data" and built.hr_px != 4 * built.lr_px:
        raise ValueError(
            f"data.lr_px: {built.lr_px}, but a quarter of hr_px {built.hr_px} is needed"
        )


def read(path: Path) -> dict[str, Any]:
    """Read a params file: ``profile``, ``threads`` and one dataclass a block."""
    raw = yaml.safe_load(path.read_text())
    for key in raw:
        if key not in BLOCKS and key not in SCALARS:
            known = ", ".join([*SCALARS, *BLOCKS])
            raise ValueError(f"{path}: unknown key {key!r}; allowed are {known}")
    for key in (*SCALARS, *BLOCKS):
        if key not in raw:
            raise ValueError(f"{path}: missing key {key!r}")
    return {key: block(key, raw[key]) if key in BLOCKS else raw[key] for key in raw}
