"""How many subjects and images stand behind a figure, told below it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.plots import style as figures

Sets = Mapping[str, Mapping[str, Any]]
ONE_IMAGE = ("01_examples", "02_reconstructions", "03_images", "04_filmstrip", "06_masks",
             "06_errors")  # fmt: skip
ON_TRAINING = ("03_curve",)
ON_FIRST_SET = ("07_",)
ON_NONE = ("L", "07_signal")


def of_chapter(number: str, results: Path, sets: Sets) -> Sets:
    """Return the sets with the counts of what a chapter used: 11 takes an image of few subjects."""
    used = results / "tables" / "11_marks.csv"  # 11_transfer counts planted copies of an image
    if number != "11" or not used.exists():
        return sets
    few = pd.read_csv(used).groupby("dataset")[["n_subjects", "n_images"]].max()
    few = few.rename(columns={"n_subjects": "n_test_subjects", "n_images": "n_test_images"})
    few_of: dict[str, dict[str, int]] = few.to_dict("index")  # type: ignore[assignment]
    return {name: {**fact, **few_of[name]} for name, fact in sets.items()}


def _one_of(name: str, fact: Mapping[str, Any]) -> str:
    return f"{figures.kind(name, fact)}: one of {fact['n_test_images']}"


def behind(figure: str, sets: Sets) -> str:
    """Tell the subjects and images behind a figure by its file name, without suffix.

    A figure that names a set is of that set; one of single images or of a training says so; one
    of a lesson has counts of its own, and gets none, as one behind which no image stands.

    >>> fact = {"is_phantom": True, "n_test_images": 60, "n_test_subjects": 12,
    ...         "subject_word": "patient", "may_be_shown": True}
    >>> behind("04_arms", {"brain": fact})
    'Test images: brain phantoms: 12 patients, 60 images.'
    >>> behind("06_masks", {"brain": fact})
    'Test images: brain phantoms: one of 60.'
    """
    if figure.startswith(ON_NONE):
        return ""
    named = [name for name in sets if re.search(rf"_{re.escape(name)}(?=_|$)", figure)]
    names = named or list(sets)[: 1 if figure.startswith(ON_FIRST_SET) else None]
    what = "Test images"
    if figure.startswith(ONE_IMAGE):
        told = [_one_of(name, sets[name]) for name in names if sets[name]["may_be_shown"]]
    elif figure.startswith(ON_TRAINING):
        keys = {f"n_test_{unit}": f"n_train_{unit}" for unit in ("images", "subjects")}
        what, told = "Training images", []
        for name in names:
            fact = sets[name]
            told.append(figures.counted(name, {**fact, **{k: fact[v] for k, v in keys.items()}}))
    else:
        told = [figures.counted(name, sets[name]) for name in names]
    return f"{what}: {'; '.join(told)}." if told else ""
