"""What a reader sees of the gap taken apart: its tables in words, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr.plots import charts, curves, forests
from latentsr.plots import style as figures
from latentsr.plots.labels import MEASURES, worded
from latentsr.stats import apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_CALLS = (1, 10, 50, 1000)  # of the schedules in the forest of ablations
REACH_DB = 1.0  # of its axis


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


def shown(
    parts: Mapping[str, pd.DataFrame], main_vaes: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield those tables of `apart.taken_apart` that a reader meets in full, each after its heading.

    The first and the second of ``main_vaes`` (labels) stand for themselves.
    """
    named = dict(zip(("first", "second"), main_vaes, strict=True))
    over_seeds = worded(apart.over_seeds(parts["seeds"]))
    tables = {"`seeds`: the gap over training seeds": over_seeds}
    if len(parts["corners"]):
        effects = worded(parts["seed_effects"].set_index(["lr_condition", "effect"]))
        tables["`seeds`: domain, geometry and their interaction, a column a seed"] = effects
        as_released = worded(parts["corners"].set_index(["arm", "effect"]))
        tables["`corners`: the same under the released protocol"] = as_released
    tables["`switches`: the gap with each switch turned"] = side_by_side(parts["switches"])
    tables["`ablations`: the gap, both levels and the change"] = parts["ablations"].set_index("arm")
    kept = ["first", "second", "gap", "change", "low", "high", "verdict", "verdict_5_percent"]
    schedules = parts["schedules"].set_index("arm")[kept]
    tables["`schedules`: the same along the walks, given the weights"] = schedules
    for heading, table in tables.items():
        yield heading, table.rename(columns=named).round(2)


def _changes(parts: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """Return the rows of the forest, every ablation and some of the schedules, and their groups."""
    ablations, schedules = (parts[n].dropna(subset="change") for n in ("ablations", "schedules"))
    chosen = schedules[schedules["T"].isin(DRAWN_CALLS)]
    is_given = ablations["unit"] == "subjects"
    groups = {
        "Trained anew": ablations.loc[~is_given, "arm"],
        "Another sampler, given the weights": ablations.loc[is_given, "arm"],
        "Another schedule, given the weights": chosen["arm"],
    }
    named = {heading: {arm: arm for arm in arms} for heading, arms in groups.items()}
    return pd.concat([ablations, chosen]), named


def drawn(
    parts: Mapping[str, pd.DataFrame],
    main_vaes: Sequence[str],
    margin_db: float,
    dataset: str,
    fact: Mapping[str, Any],
) -> Iterator[tuple[str, Figure, str]]:
    """Yield name, figure and alternative text of every table of `apart.taken_apart`.

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
    is_reference = parts["ablations"]["arm"] == "reference"
    margins = margin_db, 0.05 * abs(parts["ablations"].loc[is_reference, "gap"].item())
    (changes, groups), label = _changes(parts), f"change of the {gap}"
    yield (
        "ablations",
        forests.forest(
            changes.assign(measure=""),
            {"": title},
            label,
            margins,
            "measure",
            "change",
            groups,
            is_from_first=False,
            reach=REACH_DB,
        ),
        "Change of the gap in each ablation with 90% intervals, those of what was retrained over "
        "training seeds, those of what only samples otherwise over subjects, given the weights; the "
        "margin as a band, and 5% of the reference's gap as a darker one. The change is "
        f"{figures.span(changes.set_index('arm')['change'], '+.2f')}.",
    )
    schedules = parts["schedules"]
    moved = schedules.dropna(subset="change").set_index("arm")["change"]
    yield (
        "schedules",
        curves.schedules(schedules, title, label, margins),
        "Change of the gap along the network calls of both walks, from full and from half the "
        "noise, with 90% intervals over subjects, given the weights; the margin as a band, and 5% "
        "of the reference's gap as a darker one. The "
        f"change is {figures.span(moved, '+.2f')}.",
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
    yield (
        "walks",
        curves.perception_distortion(parts["walks"], title),
        "PSNR and GMSD along the number of network calls, and one against the other, for both "
        f"walks, from full and from half the noise. Points, in this order, {calls}.",
    )
    yield (
        "convergence",
        curves.convergence(parts["convergence"], title),
        "The gap, its two parts and the gaps under other conditions along training, with 95% "
        "intervals over subjects.",
    )
