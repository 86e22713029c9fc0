"""The gap taken apart: the tables and figures of the plan that takes hours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr import charts, curves, figures, forests, registry, scores, stability
from latentsr.attribution import (
    against_base,
    domain_and_geometry,
    dominance,
    gaps,
    nested,
    seen,
    target_and_condition,
)
from latentsr.sentences import MEASURES, worded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANALYSES = "switches levers ablations sensitivity seeds corners walks convergence".split()
TABLES = [*ANALYSES, "seed_effects", "corner_scores"]  # written; the last two go with two of them
EFFECTS = ["domain", "geometry", "interaction", "gap"]
EMPTY = pd.DataFrame(columns="arm effect estimate change low high n_subjects unit".split())


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
    arms' levels, the reference's in the first row and its mean over training seeds in the second
    (``against`` says from which of the two a change is taken); PSNR and GMSD along "walks"; for
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
    found["ablations"] = _ablations(arms["ablations"], found["seeds"], main_vaes, margin_db, seed)
    found |= _corners(arms["seeds"], arms.get("corners", {}), seed)
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


def _ablations(
    arms: Mapping[str, pd.DataFrame],
    seeds: pd.DataFrame,
    main_vaes: Sequence[str],
    margin_db: float,
    seed: int,
) -> pd.DataFrame:
    levels = gaps(arms, main_vaes, seed, by="role").drop(columns=["low", "high"])
    changes = stability.change_of_gap(arms, main_vaes, "reference", margin_db, seed)
    kind = str(arms["reference"]["lr_condition"].iloc[0])
    is_reference = levels["arm"] == "reference"
    gap = levels.loc[is_reference, "gap"].item()
    changes = stability.over_trainings(changes, seeds, kind, margin_db, gap)
    mean = levels[is_reference].assign(**stability.mean_reference(seeds, kind))
    levels = pd.concat([levels[is_reference], mean, levels[~is_reference]])
    changes = changes.rename(columns={"gap": "change"})
    return levels.merge(changes, how="left", on="arm", validate="one_to_one")


def _corners(
    seeds: Mapping[str, pd.DataFrame], released: Mapping[str, pd.DataFrame], seed: int
) -> dict[str, pd.DataFrame]:
    """Split every arm of four corners; empty tables where the study lacks one of them."""
    if not released:
        return dict.fromkeys(("seed_effects", "corners", "corner_scores"), EMPTY)
    scored = pd.concat(released.values(), ignore_index=True)
    corners = registry.corners(set(scored["role"]))

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


def record(
    parts: Mapping[str, pd.DataFrame],
    scored: pd.DataFrame | None,
    named: Mapping[str, str],
    margin_db: float,
    seed: int,
) -> dict[str, Any]:
    """Return what chapter 7's metrics say of `taken_apart`: empty dicts where it was not run.

    ``named`` holds ``dataset`` and ``lr_condition`` of the ablations. A change of the gap carries
    the margin that it is held against, and how many subjects or training seeds its interval is of.
    """
    dataset, place = named["dataset"], ["dataset", "lr_condition"]
    keyed = parts["ablations"].dropna(subset="change").assign(**named, margin=margin_db)
    keyed["n_subjects"] = keyed["n_subjects"].where(keyed["unit"] == "subjects")
    reach = keyed[["low", "high"]].astype(float).abs().max(axis=1)
    found: dict[str, Any] = {
        "ablations": nested(keyed, [*place, "arm"], "change"),
        "every_ablation": nested(keyed.loc[reach.nlargest(1).index], place, "change"),
        "corners": nested(
            parts["corners"].assign(dataset=dataset, margin=margin_db),
            ["dataset", "arm", "effect"],
            "estimate",
        ),
    }
    if scored is None:
        return found | {"dominance": {dataset: {}}, "seeds": {dataset: {}}}
    levers = {k: scored[scored["analysis"] == f"levers, {k}"] for k in ("released", "controlled")}
    found["dominance"] = {dataset: {k: dominance(rows, seed) for k, rows in levers.items()}}
    spread = stability.over_seeds(parts["seeds"])["gap"]
    found["seeds"] = {
        dataset: {
            str(kind): {"mean": float(row["std"]), "n_seeds": int(row["count"])}
            for kind, row in spread.iterrows()
        }
    }
    return found


def switch_groups(arms: Iterable[str]) -> dict[str, dict[str, str]]:
    """Put the arms of `plans.switches` under headings, with the names they have there.

    >>> groups = switch_groups(["released", "controlled", "released, but grid", "to grid"])
    >>> groups["released, one switch turned"]
    {'released': 'none: released', 'released, but grid': 'grid'}
    >>> groups["released, one switch after another"]
    {'released': 'none: released', 'to grid': '+ grid'}
    """
    names = list(dict.fromkeys(arms))

    def those(start: str, sign: str = "") -> dict[str, str]:
        return {arm: sign + arm.removeprefix(start) for arm in names if arm.startswith(start)}

    ends = {arm: f"none: {arm}" for arm in ("released", "controlled")}
    groups = {
        "released, one switch turned": {"released": ends["released"]} | those("released, but "),
        "released, one switch after another": {"released": ends["released"]} | those("to ", "+ "),
        "controlled, one switch turned back": {"controlled": ends["controlled"]}
        | those("controlled, but "),
    }
    for end in ends:
        for arm, rest in those(f"{end} at ").items():
            calls, _, walk = rest.partition(", ")
            groups.setdefault(f"{end}, walk of {calls} calls", {})[arm] = walk or "spaced"
    return groups


def side_by_side(switches: pd.DataFrame) -> pd.DataFrame:
    """Return the table "switches" with its measures beside one another, a row an arm, in words."""
    kept = ["first", "second", "gap", "low", "high"]
    switches = switches.assign(arm=switches["arm"].map(forests.named))
    parts = switches.set_index("arm").groupby("measure", sort=False)
    return pd.concat({MEASURES[str(name)]: rows[kept] for name, rows in parts}, axis=1)


def shown(parts: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield those tables of `taken_apart` that a reader meets in full, each after its heading."""
    over_seeds = worded(stability.over_seeds(parts["seeds"]))
    tables = {"`seeds`: the gap over training seeds": over_seeds}
    if len(parts["corners"]):
        effects = worded(parts["seed_effects"].set_index(["lr_condition", "effect"]))
        tables["`seeds`: domain, geometry and their interaction, a column a seed"] = effects
        as_released = worded(parts["corners"].set_index(["arm", "effect"]))
        tables["`corners`: the same under the released protocol"] = as_released
    tables["`switches`: the gap with each switch turned"] = side_by_side(parts["switches"])
    tables["`ablations`: the gap, both levels and the change"] = parts["ablations"].set_index("arm")
    for heading, table in tables.items():
        yield heading, table.round(2)


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
        forests.forest(
            parts["switches"],
            panels,
            gap,
            column="measure",
            groups=switch_groups(parts["switches"]["arm"]),
        ),  # fmt: skip
        forest.format("switches") + ", against the true HR image and against the own decode.",
    )
    yield (
        "levers",
        forests.tornado(parts["levers"], title),
        "What each lever moves the first main arm by, the largest first, from either protocol.",
    )
    changes, label = parts["ablations"].dropna(subset="change"), f"change of the {gap}"
    given = (changes["unit"] == "subjects").map({True: " (given the weights)", False: ""})
    yield (
        "ablations",
        forests.forest(
            changes.assign(measure="", arm=changes["arm"] + given),
            {"": title},
            label,
            margin_db,
            "measure",
            "change",
        ),
        "Change of the gap in each ablation with 90% intervals, those of what was retrained over "
        "training seeds, those of what only samples otherwise over subjects, given the weights; the "
        "margin as a band.",
    )
    for name in ("sensitivity", "seeds"):
        figure = forests.forest(parts[name].assign(dataset=dataset), {dataset: title}, gap)
        yield name, figure, forest.format(name) + "."
    if len(split := parts["corners"]):
        split = split.assign(dataset=dataset, lr_condition=split["arm"])
        yield (
            "corners",
            charts.effects(split, ["released"], {dataset: title}),
            "Domain, geometry and their interaction over four autoencoders under the released "
            "protocol, with 95% intervals over subjects.",
        )
    calls = "; ".join(
        f"{curves.SHORT.get(str(walk), walk)}: {', '.join(map(str, sorted(set(T))))} calls"
        for walk, T in parts["walks"].groupby("walk", sort=False)["T"]
    )
    used = {
        f"n_test_{unit}": int(parts["walks"][f"n_{unit}"].max()) for unit in ("subjects", "images")
    }
    yield (
        "walks",
        curves.perception_distortion(parts["walks"], figures.heading(dataset, {**fact, **used})),
        f"PSNR and GMSD of {used['n_test_images']} images along the number of network calls, and "
        "one against the other, for both walks, from full and from half the noise. Points, in "
        f"this order, {calls}.",
    )
    yield (
        "convergence",
        curves.convergence(parts["convergence"], title),
        "The gap, its two parts and the gaps under other conditions along training, with 95% "
        "intervals over subjects.",
    )
