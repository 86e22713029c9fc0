"""The pairing audit: what the arms' levels and their difference become when names move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr import io as scores
from latentsr.metrics import hallucination
from latentsr.plots import style as figures
from latentsr.plots.labels import in_words
from latentsr.stats import intervals as stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Images = NDArray[np.float32]
RATES = {"hallucination_rate": "added", "loss_rate": "lost"}
LABELS = {"added": "share of pixels added", "lost": "share of pixels lost", "ll3": "LL3 PSNR, dB"}


def by_subject(
    sr: Images, hr: Images, subjects: NDArray[np.str_], floor: float, rows: NDArray[np.int_],
    measures: Sequence[str] = tuple(LABELS),
) -> pd.DataFrame:  # fmt: skip
    """Measure SR against the HR image that each meets, averaged by that image's subject.

    ``rows`` says which image each meets. Columns, of ``measures``: added and lost, shares of the
    pixels beyond ``floor`` (`hallucination.rates`), and ll3, PSNR in dB of the coarsest band of a
    3-level Haar transform against the band's own peak (`wavelets.compared`).
    """
    import torch

    from latentsr.metrics import wavelets

    found = hallucination.rates(sr, hr[rows], floor).rename(columns=RATES)
    if "ll3" in measures:
        bands = wavelets.compared(torch.from_numpy(sr), torch.from_numpy(hr[rows]))
        found["ll3"] = np.asarray(bands["LL3"]["psnr_db"])
    return found[list(measures)].groupby(subjects[rows]).mean()


def compared(
    a: pd.DataFrame, b: pd.DataFrame, measures: Sequence[str], margin: float, seed: int,
    confidence: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Compare two arms' `by_subject`, a row a measure: both levels, their difference, intervals.

    The difference is Cohen's h of the mean rates, judged within ``margin`` as in
    `hallucination.compare_rates`, or the gap in dB, b minus a, for ll3.
    """
    found = []
    for measure in measures:
        row: dict[str, Any] = {"measure": measure, "n_subjects": len(a)}
        for name, side in (("first", a[measure]), ("second", b[measure])):
            low, high, _ = stats.mean_interval(side, seed, confidence)
            row |= {name: float(side.mean()), f"{name}_low": low, f"{name}_high": high}
        if measure == "ll3":
            d = b[measure] - a[measure]
            low, high, method = stats.mean_interval(d, seed, confidence)
            row |= {"difference": float(d.mean()), "low": low, "high": high}
            row["interval_method"] = method
        else:
            rest = hallucination.compare_rates(a[measure], b[measure], margin, seed, confidence)
            row |= {"difference": rest.pop("mean")} | rest
        found.append(row)
    return found


def record(audit: pd.DataFrame, moved: Mapping[str, float]) -> dict[str, Any]:
    """Return what chapter 6's metrics say of the audit: h of added signal under either pairing.

    ``audit`` has `compared`'s columns and pairing, floor_of, dataset and arm; ``moved`` is the
    share of names that the rule moves, by set.
    """
    ends = "mean low high tost_low tost_high margin first second n_subjects n_images".split()
    added = audit[audit["measure"] == "added"].rename(columns={"difference": "mean"})
    h = scores.nested(added, ["pairing", "floor_of", "dataset", "arm"], ends)
    found = {"h_added": h["id"], "h_added_by_position": h["position"]}
    return found | {"share_of_names_moved": dict(moved)}


def _both(axis: Axes, part: pd.DataFrame, places: Any, vaes: Sequence[str], **style: Any) -> None:
    """Draw the levels of both arms with their intervals."""
    for step, (key, vae) in enumerate(zip(("first", "second"), vaes, strict=True)):
        x = np.asarray(places, float) + style.get("apart", 0.0) * (step - 0.5)
        bars = [part[key] - part[f"{key}_low"], part[f"{key}_high"] - part[key]]
        tone = figures.colour(vae)
        axis.errorbar(
            x, part[key], bars, fmt="o", color=tone, mfc=style.get("face") or tone, capsize=2,
            ls=style.get("ls", "none"), label=vae,
        )  # fmt: skip


def draw_levels(
    audit: pd.DataFrame, vaes: Sequence[str], arms: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw both arms' levels by id and by position, a row a measure, a column a set.

    Filled: the floor of the first main autoencoder (LL3 has none); hollow: each arm's own.
    """
    arms = list(dict.fromkeys(arms))
    figure, axes = figures.panels(titles, 6.4, len(LABELS), sharex=True, sharey="row")
    pairings = [(arm, how) for arm in arms for how in ("id", "position")]
    for line, (measure, label) in zip(axes, LABELS.items(), strict=True):
        line[0].set_ylabel(label)
        for axis, name in zip(line, titles, strict=True):
            rows = audit[(audit["dataset"] == name) & (audit["measure"] == measure)]
            for owner, face in (("own", "white"), (vaes[0], ""), ("none", "")):
                part = rows[rows["floor_of"] == owner].set_index(["arm", "pairing"])
                if len(part):
                    part = part.reindex(pairings)
                    apart = 0.3 if owner == "own" else 0.15
                    _both(axis, part, range(len(pairings)), vaes, apart=apart, face=face)
            axis.set_title(titles[name])
    for axis in axes[-1]:
        words = [f"{in_words(arm)} by {how}".replace(" ", "\n", 2) for arm, how in pairings]
        axis.set_xticks(range(len(pairings)), words, fontsize=7)
    figures.legend_below(figure, axes[0, 0])
    return figure


def draw_growth(
    growth: pd.DataFrame, vaes: Sequence[str], margin: float, titles: Mapping[str, str]
) -> Figure:
    """Draw levels and Cohen's h of added signal along the share of mis-paired images."""
    size = len(LABELS) + 1
    figure, axes = figures.panels(titles, 8.4, size, sharex=True, sharey="row")
    for column, name in zip(axes.T, titles, strict=True):
        column[0].set_title(titles[name])
        rows = growth[growth["dataset"] == name]
        for (arm, part), dash in zip(rows.groupby("arm", sort=False), ("-", ":"), strict=False):
            for axis, measure in zip(column, LABELS, strict=False):
                some = part[part["measure"] == measure]
                _both(axis, some, some["share_moved"], vaes, ls=dash)
            some = part[part["measure"] == "added"]
            bars, last = figures.error_bars(some, "difference"), column[-1]
            style: dict[str, Any] = {"fmt": "o", "ls": dash, "color": "black", "capsize": 2}
            last.errorbar(
                some["share_moved"], some["difference"], bars, label=in_words(arm), **style
            )
        column[-1].axhspan(-margin, margin, **figures.BAND)
    for axis, label in zip(axes[:, 0], (*LABELS.values(), "Cohen's h, added"), strict=True):
        axis.set_ylabel(label)
    figures.label_below(axes, "share of images with another's name")
    lines, names = axes[0, 0].get_legend_handles_labels()
    more = axes[-1, 0].get_legend_handles_labels()
    once = dict(zip([*names, *more[1]], [*lines, *more[0]], strict=True))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=len(once))
    return figure
