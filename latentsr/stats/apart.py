"""The gap taken apart: the tables of the plan that takes hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from latentsr import io as scores
from latentsr.autoencoders import registry
from latentsr.plots.labels import MEASURES
from latentsr.stats import stability
from latentsr.stats.attribution import (
    against_base,
    domain_and_geometry,
    gaps,
    seen,
    target_and_condition,
)

ANALYSES = "switches levers ablations sensitivity seeds corners walks convergence".split()
TABLES = [*ANALYSES, "schedules", "seed_effects", "corner_scores"]  # the last go with others
EFFECTS = ["domain", "geometry", "interaction", "gap"]
EMPTY = pd.DataFrame(
    columns="arm effect estimate change low high n_subjects unit walk initial_noise_sd".split()
)


def along_training(rows: pd.DataFrame, main_vaes: Sequence[str], seed: int) -> pd.DataFrame:
    """Return the parts of the gap under the LR latents, and the gap under each other condition.

    ``rows`` as for `target_and_condition`; the gaps are called ``gap, CONDITION``.
    """
    others = rows[~rows["seen"].str.startswith("latent of")]
    arms = {f"gap, {kind}": one for kind, one in others.groupby("seen", sort=False)}
    gap = gaps(arms, main_vaes, seed).rename(columns={"arm": "effect", "gap": "estimate"})
    return pd.concat([target_and_condition(rows, main_vaes, seed), gap], ignore_index=True)


def taken_apart(
    scored: pd.DataFrame, main_vaes: Sequence[str], margin_db: float, seed: int
) -> dict[str, pd.DataFrame]:
    """Return the table of every analysis of `plans.full_plan`, from the scores of its arms.

    ``main_vaes`` are labels. Gaps with intervals for "switches", by each of `MEASURES`, and for
    "sensitivity" and "seeds"; what each lever moves; how each ablation changes the gap, with both
    arms' levels: the reference in the first row and its mean over training seeds in the second, from
    which what is trained anew is taken (``against``); PSNR and GMSD along "walks", and
    how each of these "schedules" changes the gap of the ablations' reference; for
    "convergence" the gap's split into target and condition, and the gap under the other conditions,
    by the factor of training steps. Of four corners also domain, geometry and their interaction:
    for "corners", under the released protocol, beside its per-image "corner_scores", and over the
    training seeds ("seed_effects").
    """
    by = {str(name): rows for name, rows in scored.groupby("analysis", sort=False)}
    arms = {
        name: {str(arm): one for arm, one in rows.groupby("arm", sort=False)}
        for name, rows in by.items()
    }
    found = {
        name: gaps(arms[name], main_vaes, seed, by="role") for name in ("sensitivity", "seeds")
    }
    found["switches"] = pd.concat(
        gaps(arms["switches"], main_vaes, seed, measure=measure, by="role").assign(measure=measure)
        for measure in MEASURES
    )
    found["ablations"] = _ablations(arms["ablations"], by["retrained"], main_vaes, margin_db, seed)
    found |= _corners(arms["seeds"], arms.get("corners", {}), seed)
    found["levers"] = pd.concat(
        against_base(rows, seed).assign(protocol=protocol)
        for protocol, rows in by["levers"].groupby("start", sort=False)
    )
    calls = arms["ablations"]["reference"]["T"].iloc[0]
    found["schedules"] = _schedules(by["walks"], calls, main_vaes, margin_db, seed)
    keys = ["vae", "walk", "initial_noise_sd", "T"]
    along = scores.subject_mean(by["walks"], keys, ["psnr_db", "gmsd"])
    found["walks"] = along.reset_index()
    found["convergence"] = pd.concat(
        along_training(seen(rows, main_vaes), main_vaes, seed).assign(steps=factor)
        for factor, rows in by["convergence"].groupby("steps")
    )
    return found


def _ablations(
    arms: Mapping[str, pd.DataFrame],
    retrained: pd.DataFrame,
    main_vaes: Sequence[str],
    margin_db: float,
    seed: int,
) -> pd.DataFrame:
    sampled = {name: arms[name] for name in ("reference", *stability.SAMPLED_ONLY)}
    given = _changes(sampled, "reference", main_vaes, margin_db, seed)
    by_seed = pd.concat(
        gaps({str(arm): rows}, main_vaes, seed, by="role").assign(seed=str(k))
        for (k, arm), rows in retrained.groupby(["seed", "arm"], sort=False)
    )
    anew = stability.change_over_seeds(by_seed, margin_db)
    for count in ("n_subjects", "n_images"):
        anew[count] = given[count].iloc[0]
    return pd.concat([given[:1], anew, given[1:]], ignore_index=True)


def _changes(
    arms: Mapping[str, pd.DataFrame],
    reference: str,
    main_vaes: Sequence[str],
    margin_db: float,
    seed: int,
) -> pd.DataFrame:
    """Return both levels, the gap and how far it is from the reference's, which shares the weights."""
    levels = gaps(arms, main_vaes, seed, by="role").drop(columns=["low", "high"])
    changes = stability.change_of_gap(arms, main_vaes, reference, margin_db, seed)
    changes = changes.rename(columns={"gap": "change"}).assign(against=reference)
    return levels.merge(changes, how="left", on="arm", validate="one_to_one")


def _schedules(
    rows: pd.DataFrame, calls: int, main_vaes: Sequence[str], margin_db: float, seed: int
) -> pd.DataFrame:
    keys = ["arm", "walk", "initial_noise_sd", "T"]
    walks = rows[keys].drop_duplicates()
    is_start = (walks["walk"] == "spaced") & (walks["initial_noise_sd"] == 1)
    reference = walks.loc[is_start & (walks["T"] == calls), "arm"].item()
    arms = {str(name): one for name, one in rows.groupby("arm", sort=False)}
    found = _changes(arms, reference, main_vaes, margin_db, seed)
    return found.merge(walks, on="arm", validate="one_to_one")


def _corners(
    seeds: Mapping[str, pd.DataFrame], released: Mapping[str, pd.DataFrame], seed: int
) -> dict[str, pd.DataFrame]:
    """Split every arm of four corners; empty tables where the study lacks one of them."""
    if not released:
        return dict.fromkeys(("seed_effects", "corners", "corner_scores"), EMPTY)
    scored = pd.concat(released.values(), ignore_index=True)
    scored = scored.drop(columns=["start", "factor", "value"])
    corners = registry.design_cells(set(scored["role"]))

    def split(arms: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        return pd.concat(
            domain_and_geometry(rows, corners, seed, by="role").assign(arm=name)
            for name, rows in arms.items()
        )

    over = split(seeds).query("effect in @EFFECTS")
    return {
        "seed_effects": stability.effects_over_seeds(over).reset_index(),
        "corners": split(released),
        "corner_scores": scored,
    }


def one_step_errors(scored: pd.DataFrame, main_vaes: Sequence[str]) -> dict[str, pd.Series]:
    """Return the squared error of each image, by label, of the arms trained by it to answer at once.

    They see what the ablations' reference sees. ``scored`` as for `taken_apart`.
    """
    rows = scored[(scored["analysis"] == "ablations") & (scored["arm"] == "one step")]
    return {vae: 10 ** (-rows.loc[rows["role"] == vae, "psnr_db"] / 10) for vae in main_vaes}
