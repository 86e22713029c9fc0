"""The tables of the long ablations, from the scores of their arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr import io
from latentsr.stats.difference import (
    COLUMNS,
    change_over_seeds,
    change_verdicts,
    paired_difference,
    paired_images,
)
from latentsr.stats.factorial import CONTRASTS, CROSSED, cell_means, contrasts, estimates

SAMPLED_ONLY = ("ancestral sampling", "DPM-Solver++")  # ablations that train nothing
ANALYSES = "switches levers ablations sensitivity seeds corners walks convergence".split()
TABLES = [*ANALYSES, "schedules", "seed_effects", "corner_scores"]  # the last go with others
EFFECTS = ["domain", "geometry", "interaction", "gap"]
EMPTY = pd.DataFrame(
    columns="arm effect estimate change low high n_subjects unit walk initial_noise_sd".split()
)


def taken_apart(
    scored: pd.DataFrame,
    main_vaes: Sequence[str],
    corners: Sequence[str],
    margin_db: float,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return the table of every analysis of `plans.full_plan`, from the scores of its arms.

    ``main_vaes`` and ``corners`` are labels, the latter of the four cells of domain x geometry,
    empty where one is missing: then so are the tables of "corners" and "seed_effects".
    """
    by = {str(name): rows for name, rows in scored.groupby("analysis", sort=False)}
    tables = {name: gap_by_arm(by[name], main_vaes, seed) for name in ("sensitivity", "seeds")}
    tables["switches"] = pd.concat(
        gap_by_arm(by["switches"], main_vaes, seed, measure).assign(measure=measure)
        for measure in ("psnr_db", "psnr_own_decode_db")
    )
    is_sampled = by["ablations"]["arm"].isin(["reference", *SAMPLED_ONLY])
    sampled = changes(by["ablations"][is_sampled], "reference", main_vaes, margin_db, seed)
    retrained = paired_difference(by["retrained"], "role", main_vaes, by=["seed", "arm"], seed=seed)
    again = change_over_seeds(retrained[["seed", "arm", *COLUMNS]], margin_db)
    again = again.assign(**sampled.loc[0, ["n_subjects", "n_images"]])
    tables["ablations"] = pd.concat([sampled[:1], again, sampled[1:]], ignore_index=True)
    tables["levers"] = pd.concat(
        against_base(rows, seed).assign(protocol=protocol)
        for protocol, rows in by["levers"].groupby("start", sort=False)
    )
    keys = ["vae", "walk", "initial_noise_sd", "T"]
    tables["walks"] = io.subject_mean(by["walks"], keys, ["psnr_db", "gmsd"]).reset_index()
    is_reference = (by["ablations"]["arm"] == "reference").to_numpy()
    calls = by["ablations"].loc[is_reference, "T"].iloc[0]
    tables["schedules"] = schedules(by["walks"], calls, main_vaes, margin_db, seed)
    tables["convergence"] = along_training(by["convergence"], main_vaes, seed)
    tables |= dict.fromkeys(("seed_effects", "corners", "corner_scores"), EMPTY)
    if corners:
        tables["corner_scores"] = (
            by["corners"].reset_index(drop=True).drop(columns=["start", "factor", "value"])
        )
        tables["corners"], effects = (
            contrasts(by[name], "role", corners, CONTRASTS, by=["arm"], seed=seed)
            for name in ("corners", "seeds")
        )
        effects = split_seed(effects)
        tables["seed_effects"] = effects_over_seeds(effects[effects["effect"].isin(EFFECTS)])
    return tables


def split_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Replace an arm called ``name, seed k`` by its name and a column ``seed``."""
    named = table["arm"].str.split(", seed ", expand=True)
    return table.assign(arm=named[0], seed=named[1])


def gap_by_arm(
    rows: pd.DataFrame, main_vaes: Sequence[str], seed: int, measure: str = "psnr_db"
) -> pd.DataFrame:
    """Return the gap of the main autoencoders in each arm, and both levels."""
    table = paired_difference(rows, "role", main_vaes, measure, ["arm"], seed=seed)
    return table[["arm", *COLUMNS]].drop(columns="interval_method")


def changes(
    rows: pd.DataFrame, reference: str, main_vaes: Sequence[str], margin_db: float, seed: int
) -> pd.DataFrame:
    """Return both levels, the gap and how far it is from the reference's, which shares the weights."""
    levels = gap_by_arm(rows, main_vaes, seed).drop(columns=["low", "high"])
    gap = paired_images(rows, "role", main_vaes, by=["arm"])
    by_subject = gap.groupby(["subject_id", "arm"])["gap"].mean().unstack("arm")
    change = change_verdicts(by_subject, reference, margin_db, seed).assign(against=reference)
    return levels.merge(change, how="left", on="arm", validate="one_to_one")


def schedules(
    rows: pd.DataFrame, calls: int, main_vaes: Sequence[str], margin_db: float, seed: int
) -> pd.DataFrame:
    """Return the changes of the gap along the steps of both walks, from that of the ablations."""
    walks = rows[["arm", "walk", "initial_noise_sd", "T"]].drop_duplicates()
    is_start = (walks["walk"] == "spaced") & (walks["initial_noise_sd"] == 1)
    reference = walks.loc[is_start & (walks["T"] == calls), "arm"].item()
    table = changes(rows, reference, main_vaes, margin_db, seed)
    return table.merge(walks, on="arm", validate="one_to_one")


def along_training(rows: pd.DataFrame, main_vaes: Sequence[str], seed: int) -> pd.DataFrame:
    """Return the parts of the gap under the LR latents, and the gap under each other condition.

    By the factor of training steps; the gaps are called ``gap, CONDITION``.
    """
    rows = rows[rows["vae"].isin(main_vaes) & (rows["grid"] == "common")]
    is_latent = rows["lr_condition"] == "lr_latent"
    cells = [(target, condition) for condition in main_vaes for target in main_vaes]
    over = ["vae", "condition_vae"]
    split = contrasts(rows[is_latent], over, cells, CROSSED, by=["steps"], seed=seed)
    by = ["steps", "lr_condition"]
    gap = paired_difference(rows[~is_latent], "vae", main_vaes, by=by, seed=seed)
    gap = gap[[*by, *COLUMNS]].drop(columns="interval_method").rename(columns={"gap": "estimate"})
    gap["effect"] = "gap, " + gap.pop("lr_condition")
    both = pd.concat([split.drop(columns="n_subjects"), gap])
    return both.sort_values("steps", kind="stable", ignore_index=True)


def against_base(scored: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return what each arm is above the arm called ``base``, paired by image, over subjects.

    ``scored`` holds one set and one base; columns arm, lever (what stands before the colon), gap,
    low, high, and how many times the base's operations the arm takes in training and an image.
    """
    work = scored.groupby("arm")[["train_tflop", "image_gflop"]].first()
    times = (work / work.loc["base"]).set_axis(["train_times", "image_times"], axis=1)
    tables = [
        paired_difference(scored, "arm", ("base", arm), seed=seed).assign(arm=arm)
        for arm in scored["arm"].drop_duplicates()
        if arm != "base"
    ]
    table = pd.concat(tables)[["arm", "gap", "low", "high"]]
    table["lever"] = table["arm"].str.partition(":")[0]
    return table.join(times, on="arm")


def dominance(scored: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Say how much more the autoencoder moves an arm than the largest other lever, by subject.

    ``scored`` as for `against_base`. The largest lever is chosen from these very images, so the
    interval is too kind to it; "at these step sizes" belongs to every use of the number.
    """
    levels = cell_means(scored, "arm", list(scored["arm"].unique()))
    moved = levels.drop(columns="base").sub(levels["base"], axis=0)
    moved = moved * np.sign(moved.mean())
    (swap,) = [arm for arm in moved if arm.startswith("autoencoder")]
    other = moved.drop(columns=swap).mean().idxmax()
    difference = estimates(pd.DataFrame({"mean": moved[swap] - moved[other]}), seed)
    row = difference.rename(columns={"estimate": "mean"}).loc[0]
    ends = {key: row[key] for key in ("mean", "low", "high", "n_subjects")}
    return {**ends, "largest_other": other}


def over_seeds(gaps_by_seed: pd.DataFrame) -> pd.DataFrame:
    """Return mean and SD over training seeds of both arms and of the gap: rows a condition."""
    by = split_seed(gaps_by_seed).rename(columns={"arm": "lr_condition"}).groupby("lr_condition")
    return by[["first", "second", "gap"]].agg(["mean", "std", "count"])


def effects_over_seeds(effects: pd.DataFrame) -> pd.DataFrame:
    """Return every effect of every training seed, a column each, their mean and their SD."""
    wide = effects.assign(lr_condition=effects["arm"], seed="seed " + effects["seed"]).pivot_table(
        index=["lr_condition", "effect"], columns="seed", values="estimate", sort=False
    )
    wide = wide.rename_axis(columns=None)
    return wide.assign(mean=wide.mean(axis=1), sd=wide.std(axis=1)).reset_index()


def one_step_errors(scored: pd.DataFrame, main_vaes: Sequence[str]) -> dict[str, pd.Series]:
    """Return the squared error of each image, by label, of the arms trained by it to answer at once."""
    rows = scored[(scored["analysis"] == "ablations") & (scored["arm"] == "one step")]
    return {vae: 10 ** (-rows.loc[rows["role"] == vae, "psnr_db"] / 10) for vae in main_vaes}
