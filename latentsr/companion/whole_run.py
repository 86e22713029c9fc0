"""What a run of hours found, in sentences made from the tables of `apart.taken_apart`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from latentsr.plots import forests
from latentsr.plots.labels import in_words, listed, span
from latentsr.stats import apart, stability
from latentsr.stats.attribution import with_interval

HOW = {"full": "as a whole", "lora": "by a low-rank change"}
VERDICTS = ("equivalent", "beyond the margin", "inconclusive", "descriptive only")


def told(
    parts: Mapping[str, pd.DataFrame],
    adapted: pd.DataFrame,
    dominance: Mapping[str, Mapping[str, Any]],
    margin_db: float,
) -> list[str]:
    """Say what is behind the gap, what moves it, and what does not; one set, nothing if not run.

    ``adapted`` is that of `adaptation.gains`, ``dominance`` maps a protocol to what
    `attribution.dominance` says of its levers.
    """
    if not dominance:
        return []
    found = _switches(parts["switches"])
    found += [_levers(parts["levers"], dominance[kind], kind) for kind in dominance]
    found += _changes(parts["ablations"], parts["schedules"], margin_db)
    found.append(_seeds(parts["seeds"]))
    if len(parts["corners"]):
        found.append(_corners(parts["corners"]))
    found.append(_convergence(parts["convergence"]))
    found += _adapted(adapted)
    return found


def _db(row: Any, value: str) -> str:
    return with_interval(row[value], row["low"], row["high"], " dB")


def _switches(table: pd.DataFrame) -> list[str]:
    gap = table[table["measure"] == "psnr_db"].set_index("arm")["gap"]
    found = []
    for end, other in (("released", "controlled"), ("controlled", "released")):
        turned = gap[gap.index.str.startswith(f"{end}, but ")]
        moved = turned - gap[end]
        most, least = moved.abs().idxmax(), moved.abs().idxmin()
        names = [forests.named(arm.removeprefix(f"{end}, but ")) for arm in (most, least)]
        found.append(
            f"From {end} ({gap[end]:+.2f} dB), of the switches turned one at a time towards {other} "
            f"the one called {names[0]} moves the gap most, by {moved[most]:+.2f} to "
            f"{turned[most]:+.2f} dB; {names[1]} least, by {moved[least]:+.2f} dB."
        )
    return found


def _levers(levers: pd.DataFrame, dominant: Mapping[str, Any], protocol: str) -> str:
    rows = levers[levers["protocol"] == protocol].set_index("arm")
    swap = rows.index[rows["lever"] == "autoencoder"][0]
    largest = rows["gap"].abs().idxmax()
    other = dominant["largest_other"]
    more = (
        "the largest lever at these step sizes"
        if largest == swap
        else "not the largest lever there"
    )
    return (
        f"From {protocol}, the autoencoder is {more}: it moves PSNR by {_db(rows.loc[swap], 'gap')}, "
        f"`{forests.named(str(other))}` by {_db(rows.loc[other], 'gap')}; in size the first less the "
        f"second is {_db(dominant, 'mean')}."
    )


def _counted(rows: pd.DataFrame) -> str:
    count = rows["verdict"].value_counts()
    return listed(f"{count[name]} {name}" for name in VERDICTS if name in count)


def _changes(ablations: pd.DataFrame, schedules: pd.DataFrame, margin_db: float) -> list[str]:
    ablations, schedules = (t.dropna(subset="change") for t in (ablations, schedules))
    given = ablations["arm"].isin(stability.SAMPLED_ONLY)
    kinds = {
        "trained anew (over training seeds)": ablations[~given],
        "with another sampler (over subjects, given the weights)": ablations[given],
        "with another schedule (likewise)": schedules,
    }
    counts = "; ".join(f"{len(rows)} {words}, {_counted(rows)}" for words, rows in kinds.items())
    both = pd.concat([ablations, schedules])
    verdicts = set(both["verdict"])
    word = "is not shown to hold"
    if verdicts == {"equivalent"}:
        word = "holds"
    elif "beyond the margin" in verdicts:
        word = "does not hold"
    found = [
        f"Held to ±{margin_db:g} dB, the change of the gap is so: {counts}. Claim C4 needs every one "
        f"equivalent, so it {word} here."
    ]
    for name, rows in (("ablations", ablations), ("schedules", schedules)):
        row = rows.iloc[int(rows["change"].abs().to_numpy().argmax())]
        found.append(
            f"Of the {name}, `{forests.named(row['arm'])}` changes the gap most, by "
            f"{_db(row, 'change')} (90%) to {row['gap']:+.2f} dB."
        )
    return found


def _seeds(seeds: pd.DataFrame) -> str:
    over = stability.over_seeds(seeds)["gap"]
    each = (
        f"{in_words(kind)} {row['mean']:+.2f} dB with an SD of {row['std']:.2f}"
        for kind, row in over.iterrows()
    )
    return f"Over {int(over['count'].max())} training seeds the gap is, under {listed(each)}."


def _corners(corners: pd.DataFrame) -> str:
    rows = corners.set_index("effect")
    parts = (f"{name} {_db(rows.loc[name], 'estimate')}" for name in apart.EFFECTS)
    return f"As released, the gap over four autoencoders splits into {listed(parts)}."


def _convergence(parts: pd.DataFrame) -> str:
    by = parts.set_index(["steps", "effect"])["estimate"].unstack()
    words = {
        "condition": "what is seen",
        "target": "what is denoised",
        "gap, lr_pixels": "the controlled gap",
    }
    moved = (
        f"{said} goes from {by[name].iloc[0]:+.2f} to {by[name].iloc[-1]:+.2f} dB"
        for name, said in words.items()
    )
    factors = f"{by.index[0]:g} to {by.index[-1]:g} times the training steps"
    return f"From {factors} {listed(moved)}."


def _adapted(adapted: pd.DataFrame) -> list[str]:
    found = []
    for how, rows in adapted.groupby("how", sort=False):
        ceiling = rows.loc[rows["what"] == "ceiling", "gain_db"]
        sr = rows.loc[rows["what"] == "sr"]
        each = listed(
            f"{_db(row, 'gain_db')} under {in_words(row['lr_condition'])}"
            for _, row in sr.iterrows()
        )
        found.append(
            f"Adapted to the set ({HOW[str(how)]}), {rows['autoencoder'].iloc[0]} gains "
            f"{span(ceiling)} of ceiling; SR gains {each}."
        )
    return found
