"""The longest walks, of a few images: PSNR and gap by arm and number of network calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.autoencoders import registry
from latentsr.diffusion import networks as denoisers
from latentsr.experiments import plans
from latentsr.experiments import run as experiment
from latentsr.experiments.arms import Study
from latentsr.metrics import image as metrics
from latentsr.plots import labels as sentences


def of_run(
    inputs: Path,
    prepared: Study,
    kinds: Iterable[str],
    study: Mapping[str, Any],
    calls: Iterable[int],
    images: int,
) -> pd.DataFrame:
    """Walk with the main autoencoders' arms as chapter 3 left them, spaced over the schedule.

    Parameters
    ----------
    inputs : Path
        Results of the run.
    kinds : iterable of str
        Names of arms in `plans.chapter_3`; one that was not run is left out.
    study : mapping
        Of `notebook.study`.
    calls : iterable of int
        Numbers of network calls.
    images : int
        How many test images, the first ones.

    Returns
    -------
    DataFrame
        Rows (arm, T); mean PSNR in dB, a column a main autoencoder, and ``n_images``.
    """
    names = "lr_conditions pixels_only main_vaes main_arms released_steps longer_factor seed"
    given, base = {name: study[name] for name in names.split()}, experiment.base_of(study, None)
    calls, rows = sorted(set(calls)), dict[tuple[str, int], dict[str, float]]()
    for which in study["main_vaes"]:
        plan = plans.chapter_3(which, **given)
        folder = inputs / "arms" / prepared.dataset / registry.arm_dir(which)
        for kind in (kind for kind in kinds if kind in plan):
            spec = plan[kind]
            arm = prepared.arm(which, spec.switches, seed=spec.seed)
            path = folder / f"denoiser_{kind}.safetensors"
            net = denoisers.load(str(path), prepared.device).eval()
            for T in calls:
                walk = experiment.walk_of(replace(spec, num_steps=T), base)
                made = arm.sample(net, walk, spec.seed, images)
                level = metrics.psnr_db(made, arm.test["hr"][: len(made)]).mean()
                row = rows.setdefault((kind, T), {})
                row |= {registry.display_name(which): float(level), "n_images": len(made)}
    found = pd.DataFrame(rows).T.rename_axis(["arm", "T"]).astype({"n_images": int})
    return found[[*map(registry.display_name, study["main_vaes"]), "n_images"]]


def gaps(walked: pd.DataFrame, main_vaes: Sequence[str]) -> dict[str, dict[int, float]]:
    """Return the second minus the first main autoencoder in dB, by arm and number of calls."""
    found = {}
    for arm, rows in walked.groupby(level=0, sort=False):
        differences = rows[main_vaes[1]] - rows[main_vaes[0]]
        calls = differences.index.get_level_values(1)
        found[str(arm)] = {int(T): float(gap) for T, gap in zip(calls, differences, strict=True)}
    return found


def told(walked: pd.DataFrame, main_vaes: Sequence[str], at: Iterable[int]) -> list[str]:
    """Say the gap by number of calls, a sentence an arm, without an interval or a verdict.

    ``walked`` is that of `of_run`; numbers of calls ``at`` that it lacks are left out.

    >>> levels = pd.DataFrame({"a": [17.0, 16.5], "b": [18.5, 18.25], "n_images": 4})
    >>> levels.index = pd.MultiIndex.from_tuples([("released", 10), ("released", 1000)])
    >>> told(levels, ["a", "b"], [10, 50, 1000])
    ['As released: over 4 images the gap is +1.50 dB at 10 calls, +1.75 dB at 1000 calls.']
    """
    n_images, at, found = walked["n_images"].max(), sorted(set(at)), []
    for arm, by_calls in gaps(walked, main_vaes).items():
        words = sentences.in_words(arm)
        said = ", ".join(f"{by_calls[T]:+.2f} dB at {T} calls" for T in at if T in by_calls)
        found.append(f"{words[:1].upper()}{words[1:]}: over {n_images} images the gap is {said}.")
    return found
