"""The gap taken apart: the tables and figures of the plan that takes hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr import charts, curves, figures, scores, stability
from latentsr.attribution import against_base, gaps, seen, target_and_condition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANALYSES = "switches levers ablations sensitivity seeds walks convergence".split()
MEASURES = {  # of PSNR, and what each is taken against
    "psnr_db": "against the true HR image",
    "psnr_own_decode_db": "against the own decode",
}


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
    """Return the table of every analysis of `plans.whole`, from the scores of its arms.

    ``main_vaes`` are labels. Gaps with intervals for "switches", by each of `MEASURES`, and for
    "sensitivity" and "seeds"; what each lever moves; how each ablation changes the gap, with both
    arms' levels, the reference's in the first row; PSNR and GMSD along "walks"; for "convergence"
    the gap's split into target and condition, and the gap under the other conditions, by the
    factor of training steps.
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
    levels = gaps(arms["ablations"], main_vaes, seed, by="role").drop(columns=["low", "high"])
    changes = stability.change_of_gap(arms["ablations"], main_vaes, "reference", margin_db, seed)
    kind = str(arms["ablations"]["reference"]["lr_condition"].iloc[0])
    gap = levels.loc[levels["arm"] == "reference", "gap"].item()
    changes = stability.over_trainings(changes, found["seeds"], kind, margin_db, gap)
    changes = changes.rename(columns={"gap": "change"})
    found["ablations"] = levels.merge(changes, how="left", on="arm", validate="one_to_one")
    found["levers"] = pd.concat(
        against_base(by[f"levers, {protocol}"], seed).assign(protocol=protocol)
        for protocol in ("released", "controlled")
    )
    keys = ["arm", "vae", "T"]
    counts = by["walks"].groupby(keys)[["subject_id", "image_id"]].nunique()
    counts.columns = ["n_subjects", "n_images"]
    along = scores.subject_mean(by["walks"], keys, ["psnr_db", "gmsd"]).join(counts).reset_index()
    along[["walk", "noise"]] = along.pop("arm").str.split(", ", expand=True)[[0, 1]]
    found["walks"] = along
    found["convergence"] = pd.concat(
        along_training(seen(rows, main_vaes), main_vaes, seed).assign(steps=factor)
        for factor, rows in by["convergence"].groupby("steps")
    )
    return found


def side_by_side(switches: pd.DataFrame) -> pd.DataFrame:
    """Return the table "switches" with its measures beside one another, a row an arm."""
    kept = ["first", "second", "gap", "low", "high"]
    parts = switches.set_index("arm").groupby("measure", sort=False)
    return pd.concat({MEASURES[str(name)]: rows[kept] for name, rows in parts}, axis=1)


def one_step_errors(scored: pd.DataFrame, main_vaes: Sequence[str]) -> dict[str, pd.Series]:
    """Return the squared error of each image, by label, of the arms trained by it to answer at once.

    They see what the ablations' reference sees. ``scored`` as for `taken_apart`.
    """
    rows = scored[(scored["analysis"] == "ablations") & (scored["arm"] == "one step")]
    return {vae: 10 ** (-rows.loc[rows["role"] == vae, "psnr_db"] / 10) for vae in main_vaes}


def drawn(
    parts: Mapping[str, pd.DataFrame],
    main_vaes: Sequence[str],
    margin_db: float,
    dataset: str,
    fact: Mapping[str, Any],
) -> Iterator[tuple[str, Figure, str]]:
    """Yield name, figure and alternative text of every table of `taken_apart`.

    A title counts the subjects and images that were used: ``fact`` is that of ``sets.json``.
    """
    title, gap = figures.heading(dataset, fact), f"gap: {main_vaes[1]} - {main_vaes[0]}, dB"
    panels = {measure: f"{title},\n{words}" for measure, words in MEASURES.items()}
    forest = "Gap of the main pair in each arm of the analysis {}, with 95% intervals over subjects"
    yield (
        "switches",
        charts.forest(parts["switches"], panels, gap, column="measure"),
        forest.format("switches") + ", against the true HR image and against the own decode.",
    )
    yield (
        "levers",
        charts.tornado(parts["levers"], title),
        "What each lever moves the first main arm by, the largest first, from either protocol.",
    )
    changes, label = parts["ablations"].dropna(subset="change"), f"change of the {gap}"
    yield (
        "ablations",
        charts.forest(
            changes.assign(measure=""), {"": title}, label, margin_db, "measure", "change"
        ),
        "Change of the gap in each ablation with 90% intervals, those of what was retrained over "
        "training seeds, and the margin as a band.",
    )
    for name in ("sensitivity", "seeds"):
        figure = charts.forest(parts[name].assign(dataset=dataset), {dataset: title}, gap)
        yield name, figure, forest.format(name) + "."
    used = {
        f"n_test_{unit}": int(parts["walks"][f"n_{unit}"].max()) for unit in ("subjects", "images")
    }
    yield (
        "walks",
        curves.perception_distortion(parts["walks"], figures.heading(dataset, {**fact, **used})),
        f"PSNR and GMSD of {used['n_test_images']} images along the number of network calls, and "
        "one against the other, for both walks, from full and from half the noise.",
    )
    yield (
        "convergence",
        curves.convergence(parts["convergence"], title),
        "The gap, its two parts and the gaps under other conditions along training, with 95% "
        "intervals over subjects.",
    )
