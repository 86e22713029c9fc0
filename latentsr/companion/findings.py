"""What chapters 4 to 11 found, in sentences made from their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from latentsr.companion.pipeline.params import FURTHER_SEEDS
from latentsr.plots.labels import by_sets, in_words, listed, span

Table = pd.DataFrame
ARMS = {
    "released": "As released",
    "lr_pixels": "Controlled",
    "longer": "Controlled, trained longer",
}
CHANGES = {
    "released - lr_pixels": "Released minus controlled, the gap is",
    "geometry: lr_latent - lr_pixels": "Geometry alone gains, under the LR latent minus under LR pixels,",
}
ALPHA = 0.05
PAPER_P = 1e-20  # of Wilcoxon's test, claim C2


def swap(protocols: Table, parts: Table, level: Table, costs: Table, astray: float) -> list[str]:
    """Say what the swap does under each protocol, and with which half of it the gap comes."""
    of = protocols[protocols["measure"] == "psnr_db"]
    found = [
        f"{str(arm).capitalize()}, the PSNR gap is {by_sets(rows, 'gap')}."
        for arm, rows in of.groupby("arm", sort=False)
    ]
    found[0] += " The paper reports a gain on every set, and has no controlled arm."
    again = of[of["kind"].isin(("lr_pixels", *FURTHER_SEEDS))].groupby("dataset", sort=False)["gap"]
    if (again.count() > 1).any():
        found.append(
            f"Over {again.count().max()} training seeds the controlled gap has an SD of "
            f"{span(again.std(), '.2f')}."
        )
    effects = parts.set_index(["dataset", "effect"])["estimate"].unstack() if len(parts) else parts
    if len(effects):
        against = int((effects["condition"] * effects["target"] < 0).sum())
        found.append(
            f"Under the LR latent, what is *seen* through the autoencoder is worth "
            f"{span(effects['condition'])} and what is *denoised* {span(effects['target'])}; they "
            f"pull against each other on {against} of {len(effects)} sets (interaction "
            f"{span(effects['interaction'])}). A swap of both, as in the paper, shows only their sum."
        )
    below = int((level["psnr_db"] < level["bicubic"]).sum())
    found.append(
        f"{below} of {len(level)} arms stay below bicubic interpolation: where both arms of a gap "
        "do, it ranks two ways of losing to it."
    )
    bad = costs[costs["loss_over_lowest"] > astray]
    if len(bad):
        names = (f"{row.dataset}, {row.vae}, {in_words(row.arm)}" for row in bad.itertuples())
        found.append(f"**Caution**: the loss rose again in the training of {'; '.join(names)}.")
    return found


def _protocol_arms(rows: Table) -> list[tuple[str, Table]]:
    return [(words, part) for arm, words in ARMS.items() if len(part := rows[rows["arm"] == arm])]


def wavelets(table: Table) -> list[str]:
    """Say whether the gap sits in the finest bands; ``table`` has it by set, arm and band."""
    edge, extra = (table[table["band"] == band] for band in ("finest", "finest - rest"))
    found = []
    for words, rows in _protocol_arms(edge):
        more = extra[extra["arm"] == rows["arm"].iloc[0]]
        found.append(
            f"{words}, the gap in the finest bands is {by_sets(rows, 'gap_db')}; less the gap in "
            f"the other bands it is {by_sets(more, 'gap_db')}."
        )
    keys = ["dataset", "arm"]
    both = (edge.set_index(keys)["low"] > 0) & (extra.set_index(keys)["low"] > 0)
    bands = table[~table["band"].str.startswith("finest")]
    largest = bands.loc[bands.groupby(keys)["gap_db"].idxmax(), "band"]
    return [
        *found,
        f"The paper puts the gain in the finest bands. Both halves of that hold in {int(both.sum())} "
        f"of {len(both)} pairs of set and arm here; in {int(largest.str.startswith('LL').sum())} the "
        "largest gap is that of the small image left over, coarse shading rather than detail.",
    ]


def _smaller_by_position(rows: Table) -> str:
    """Count the pairs of set and arm whose |h| shrinks when paired by position, by protocol."""
    wide = rows.assign(h=rows["difference"].abs())
    wide = wide.pivot(index=["dataset", "arm"], columns="pairing", values="h").reset_index()
    smaller = wide["position"] < wide["id"]
    each = [
        f"{words[:1].lower()}{words[1:]} {int(smaller[part.index].sum())} of {len(part)}"
        for words, part in _protocol_arms(wide)
    ]
    medians = f"median {wide['position'].median():.3f} against {wide['id'].median():.3f}"
    return f"{int(smaller.sum())} of {len(wide)} pairs ({'; '.join([*each, medians])})"


def hallucination(added: Table, ranks: Table, floor_of: str) -> list[str]:
    """Say whether rates are alike; ``added`` has Cohen's h by set, arm, floor and pairing."""
    one = added[added["floor_of"] == floor_of]
    right, wrong = (one[one["pairing"] == pairing] for pairing in ("id", "position"))
    margin = right["margin"].iloc[0]
    alike = (right["tost_low"] > -margin) & (right["tost_high"] < margin)
    found = [
        f"With images paired by id and the floor of `{floor_of}`, Cohen's h lies within ±{margin:g} "
        f"with its whole interval in {int(alike.sum())} of {len(right)} pairs of set and arm (h "
        f"{span(right['difference'], unit='')}); the paper calls the rates alike everywhere.",
        *(
            f"{words}, h is {by_sets(rows, 'difference', unit='')}."
            for words, rows in _protocol_arms(right)
        ),
    ]
    own = _smaller_by_position(added[added["floor_of"] == "own"])
    found.append(
        f"Paired by position, as the released code does, |h| is smaller in "
        f"{_smaller_by_position(one)} with the floor of `{floor_of}`, in {own} with each arm's own: "
        "a property of the pairing rule together with the floor, on these images."
    )
    p = ranks["p"].dropna()
    if p.empty:
        return [*found, "Too few autoencoders for a rank correlation of ceiling and rate."]
    few = span(ranks["n_vaes"], "g", "")
    found.append(
        f"Ceiling and rate go together with p below {ALPHA:g} in {int((p < ALPHA).sum())} of "
        f"{len(p)} rank correlations, each over {few} autoencoders: too few to call them independent."
    )
    return found


def ablations(gaps: Mapping[str, Mapping[int, Mapping[str, float]]], means: pd.Series) -> list[str]:
    """Say how the gap moves with the number of calls; ``means`` is PSNR by walk, T and arm."""
    found = []
    for walk, by_calls in gaps.items():
        level = means[walk].groupby("T").mean()
        values = [gap["mean"] for gap in by_calls.values()]
        longest = level.index.max()
        cost = level.max() - level[longest]
        best = f"at T = {level.idxmax()}, {cost:.2f} dB above that at T = {longest}"
        best = f"at their longest, T = {longest}" if level.idxmax() == longest else best
        found.append(
            f"`{walk}` walks reach their best mean PSNR {best}; from T = {min(by_calls)} to "
            f"{max(by_calls)} the gap "
            f"is {span(values)}, a change of {max(values) - min(values):.2f} dB."
        )
    return found


def retrained(gap: Any, moved: Mapping[str, Any], factor: float, margin_db: float) -> str:
    """Say what training longer does to the gap, against the paper's margin.

    ``moved`` is the row of `stability.change_of_gap` from the same walk before.
    """
    ends = [(gap.low, gap.high), (moved["low"], moved["high"])]
    now, change = (f" [{low:+.2f}, {high:+.2f}]" if low == low else "" for low, high in ends)
    how = "anew, no longer," if factor == 1 else f"{factor:g} times as long"
    which = " (90%, over subjects, given the weights)" if change else ""
    return (
        f"Trained {how} the gap is {gap.mean_difference:+.2f} dB{now}, {moved['gap']:+.2f} dB"
        f"{change} from that of the same walk before{which}: {moved['verdict']} at the "
        f"±{margin_db:g} dB that the paper calls stable. Over trainings, one seed of each is "
        "inconclusive."
    )


def statistics(table: Table, margin_db: float) -> list[str]:
    """Say which gaps stand their tests; ``table`` has a row a measure, set and arm."""
    rows = table[table["measure"] == "psnr_db"]
    tested, small = rows["holm_p"].notna(), rows["holm_p"] < ALPHA
    equal = rows["equivalence_p"] < ALPHA
    least = rows.groupby("dataset", sort=False)["smallest_p"].min()
    can = [name for name, p in least.items() if p < PAPER_P]
    stronger = rows["d_z"].abs() > rows["d_pooled"].abs()
    return [
        *(
            f"{words}, the gap is {by_sets(part, 'mean_difference')}."
            for words, part in _protocol_arms(rows)
        ),
        *(
            f"{words} {by_sets(part, 'mean_difference')}."
            for arm, words in CHANGES.items()
            if len(part := rows[rows["arm"] == arm])
        ),
        f"Of {int(tested.sum())} tests of PSNR {int(small.sum())} have an adjusted p below {ALPHA:g}, "
        f"and {int(equal.sum())} of {len(rows)} gaps are equivalent within ±{margin_db:g} dB: a gap "
        "can be neither.",
        f"Sets with enough subjects for a p below the paper's {PAPER_P:g}: {listed(can)} (the smallest "
        f"possible: {span(least, '.2g', '')}). `d_z` exceeds pooled d in {int(stronger.sum())} of "
        f"{len(rows)} rows: pairing by subject takes out what subjects differ in.",
    ]


def screening(fits: Table) -> list[str]:
    """Say what the ceiling foretells; ``fits`` has a regression a row, of SR on the ceiling."""
    fits = fits.reindex(columns=[*fits.columns.union(["pearson_r"])]).dropna(subset="pearson_r")
    if fits.empty:
        return ["Too few points for a regression."]

    def where(rows: pd.Series) -> str:
        named = listed(map(in_words, fits.lr_condition[rows]))
        return f"{int(rows.sum())} of {len(rows)} LR conditions ({named})"

    apart = (fits["within_low"] > 0) | (fits["within_high"] < 0)
    better = fits["left_out_rmse"] < fits["no_difference_rmse"]
    return [
        f"Against the true image, the ceiling goes with SR (interval of r above zero) in "
        f"{where(fits['r_low'] > 0)}; r is {span(fits['pearson_r'], unit='')}. The paper says it does.",
        f"Within a set a higher ceiling goes with *worse* SR in {where(fits['within_slope'] < 0)}: "
        "there r owes itself to easy and hard sets, not to better autoencoders. The interval of that "
        f"slope over autoencoders leaves zero out in {where(apart)}.",
        f"A set left out is foretold better than by guessing no difference in {where(better)}.",
    ]


def verdicts(table: Table, turned: int, tested: int) -> list[str]:
    """Say how the verdicts fall; ``table`` is the ledger with the column ``word``."""

    def count(rows: Table) -> str:
        counts = rows["word"].value_counts()
        open_ = counts.drop(["same direction", "opposite", "not tested"], errors="ignore")
        words = {"point the paper's way": "same direction", "point the other way": "opposite"}
        told = [f"{counts.get(word, 0)} {text}" for text, word in words.items()]
        more = ", ".join(f"{n} {word}" for word, n in open_.items())
        return f"{' and '.join(told)}" + (f" ({more})" if more else "")

    asked = table[table["word"] != "not tested"]
    kinds = {"as released": "released", "with LR pixels, controlled": "lr_pixels"}
    found = [
        f"Of the {len(rows)} rows tested {words}, {count(rows)}."
        for words, kind in kinds.items()
        if len(rows := asked[asked["lr_condition"] == kind])
    ]
    return [
        *found,
        f"{turned} of {tested} rows that were tested under every LR condition change their verdict "
        "with it. One protocol, as in the paper, cannot show which they are.",
        f"{len(table) - len(asked)} of {len(table)} rows were not tested in this run; each says why.",
    ]


def lesions(transfer: Table, marked: Table, mains: Sequence[str]) -> list[str]:
    """Say how much of a planted lesion arrives, and what is marked where none is planted.

    ``transfer`` has a row a set, arm, autoencoder and size, ``marked`` one a d' besides.
    """
    keys = ["arm", "vae", "sd_px", "dataset"]
    kept = 100 * transfer.set_index(keys)["transfer"].sort_index()
    sizes = sorted(transfer["sd_px"].unique())
    found = []
    for arm, words in ARMS.items():
        if arm not in kept.index.get_level_values("arm"):
            continue
        each, of = [], 0
        for size in sizes:
            plain, arms = kept["", "bicubic", size], [kept[arm, vae, size] for vae in mains]
            with_each = [
                f"{span(one, '.0f', '%')} with `{vae}`"
                for one, vae in zip(arms, mains, strict=True)
            ]
            each.append(
                f"at an SD of {size:g} px {' and '.join(with_each)} ({span(plain, '.0f', '%')})"
            )
            of += sum(int((one < plain).sum()) for one in arms)
        found.append(
            f"{words}, of a planted lesion's contrast there is left (in brackets what bicubic keeps; "
            f"mean over d'): {'; '.join(each)}. Bicubic keeps more than the arm in {of} of "
            f"{sum(len(kept[arm, vae]) for vae in mains)} cases of set, autoencoder and size."
        )
    arm_rows = marked[marked["arm"].isin(ARMS)]
    true = marked[marked["vae"] == "HR"]
    false = [
        f"{span(rows['false'], '.2f', '')} in a search for an SD of {size:g} px"
        for size, rows in arm_rows.groupby("sd_px")
    ]
    found.append(
        f"Where no lesion was planted, at the limit that leaves {span(true['false'], '.2f', '')} false "
        f"marks on a true image, arms get on an image {'; '.join(false)}, whatever the d'."
    )
    chance = arm_rows.assign(n=arm_rows["found"] <= arm_rows["found_without"])
    cells = chance.groupby(["sd_px", "detectability"])["n"].sum()
    size, level = max(sizes), marked["detectability"].max()
    one = chance[(chance["sd_px"] == size) & (chance["detectability"] == level)]
    by_arm = [
        f"{words.lower()} {rows['n'].sum()} of {len(rows)}" for words, rows in _protocol_arms(one)
    ]
    found.append(
        f"Of the largest and most detectable planted lesions (SD {size:g} px, d' = {level:g}) no more "
        f"are found than marks fall on the same places without them in {cells[size, level]} of "
        f"{len(one)} cases of set, autoencoder and arm ({', '.join(by_arm)}); at the other sizes and "
        f"levels in {span(cells.drop((size, level)), 'd', '')}. The paper measures pixels, not lesions."
    )
    return found
