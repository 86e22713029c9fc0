"""What is changed, a row a change: forests of gaps and tornados of levers, with intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from latentsr.plots import charts
from latentsr.plots import style as figures
from latentsr.plots.labels import in_words, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


KEYS = {
    "lr_condition": "LR condition",
    "latent_scaling": "latent scaling",
    "initial_noise_sd": "initial noise",
    "ddpm": "DDPM (ancestral)",
}


def named(arm: str) -> str:
    """Name an arm of a plan as a reader would: keys of switches and conditions become words.

    >>> named("released, but initial_noise_sd"), named("lr_pixels, seed 42"), named("sampler: ddpm")
    ('released, but initial noise', 'LR pixels, seed 42', 'sampler: DDPM (ancestral)')
    """
    return re.sub(r"\bddpm\b|\w+_\w+", lambda key: KEYS.get(key[0], in_words(key[0])), arm)


def _lines(heading: str, arms: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Return arm ("" of a heading), label, and of the first arm how many follow it."""
    above = [("", heading, 0)] if heading else []
    names = list(arms)
    return above + [
        (arm, named(arms[arm]), 0 if k else len(names) - 1) for k, arm in enumerate(names)
    ]


def forest(
    table: pd.DataFrame,
    titles: Mapping[str, str],
    label: str,
    margins: Sequence[float] = (),
    column: str = "dataset",
    value: str = "gap",
    groups: Mapping[str, Mapping[str, str]] | None = None,
    is_from_first: bool = True,
    reach: float | None = None,
) -> Figure:
    """Draw the gap of every arm with its interval: columns arm, ``value``, low, high.

    A panel a title, its rows those whose ``column`` holds the title's key. Bands show the
    ``margins`` of equivalence, where there are some. ``groups`` puts arms under headings, each with
    the name it has there; an arm may stand in several. With ``is_from_first`` the others of a group
    differ from its first, from which a dotted line goes down. An arm whose interval leaves plus or
    minus ``reach`` is written at the edge it leaves by, so that it does not squeeze the others.
    """
    if groups is None:
        groups = {"": {arm: arm for arm in dict.fromkeys(table["arm"])}}
    lines = [line for heading, arms in groups.items() for line in _lines(heading, arms)]
    longest = max(len(label) for _, label, _ in lines)
    beside = 0.08 * max(0, longest - 12) / len(titles)  # inches for long names
    size = 1.0 + (0.35 if len(groups) == 1 else 0.22) * len(lines), 1, figures.PANEL_INCH + beside
    alike = column == "dataset"  # two measures differ in size
    figure, axes = figures.panels(titles, *size, sharex=alike, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        rows = table[table[column] == name]
        axis.axvline(0, color="black", lw=0.8)
        for margin in margins:
            axis.axvspan(-margin, margin, **figures.BAND)
        found = rows.set_index("arm").reindex([arm for arm, _, _ in lines])
        if reach is not None:
            is_far = found[["low", "high", value]].abs().max(axis=1) > reach
            for place, (_, row) in zip(range(len(lines)), found.iterrows(), strict=True):
                if is_far.iloc[place]:
                    _at_the_edge(axis, place, row, value)
            found = found.mask(is_far)
            axis.set_xlim(-reach * 1.05, reach * 1.05)
        bars, places = figures.error_bars(found, value), range(len(lines))
        axis.errorbar(found[value], places, xerr=bars, fmt="o", ms=4, color=charts.GAP, capsize=2)
        for place, (_, _, following) in enumerate(lines):
            if following and is_from_first and len(groups) > 1:
                start = found[value].iloc[place]
                axis.plot([start] * 2, [place, place + following], ":", color="#999999", zorder=0)
        axis.set_title(titles[name])
    axes[0, 0].set_yticks(range(len(lines)), [label for _, label, _ in lines])
    for axis in axes[0]:
        for tick, (arm, _, _) in zip(axis.yaxis.get_major_ticks(), lines, strict=True):
            tick.tick1line.set_visible(bool(arm))
            tick.label1.set_fontweight("normal" if arm else "bold")
    axes[0, 0].set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel(label)
    return figure


def _at_the_edge(axis: Axes, place: int, row: pd.Series, value: str) -> None:
    is_below = row[value] < 0
    told = with_interval(row[value], row["low"], row["high"])
    told = f"◂ {told}" if is_below else f"{told} ▸"
    axis.text(
        0.01 if is_below else 0.99,
        place,
        told,
        transform=axis.get_yaxis_transform(),
        ha="left" if is_below else "right",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},  # above the line at zero
    )


def tornado(table: pd.DataFrame, title: str) -> Figure:
    """Draw what each lever moves one arm by, the largest first, a panel a protocol.

    ``table`` is that of `apart.against_base` with a column ``protocol``. Beside a bar stands
    how many times the operations of the unchanged arm it takes, in training and for an image.
    """
    import matplotlib.pyplot as plt

    protocols = list(dict.fromkeys(table["protocol"]))
    reaches = table["gap"].abs().groupby([table["protocol"], table["lever"]]).transform("max")
    ordered = table.assign(_size=reaches).sort_values("_size", ascending=False, kind="stable")
    size = (figures.PAGE_INCH, 1.2 + 0.26 * len(table))
    figure, axes = plt.subplots(len(protocols), 1, figsize=size, squeeze=False, sharex=True)
    reach = float(table[["low", "high", "gap"]].abs().max().max()) * 1.1
    for axis, protocol in zip(axes[:, 0], protocols, strict=True):
        rows = ordered[ordered.protocol == protocol]
        tones = [
            figures.TONES[3] if lever == "autoencoder" else "#999999" for lever in rows["lever"]
        ]
        axis.barh(range(len(rows)), rows["gap"], color=tones, height=0.65)
        bars, places = figures.error_bars(rows, "gap"), range(len(rows))
        axis.errorbar(rows["gap"], places, xerr=bars, fmt="none", color="black", capsize=2)
        axis.axvline(0, color="black", lw=0.8)
        costs = zip(rows["train_times"], rows["image_times"], strict=True)
        for place, (train, image) in enumerate(costs):
            told = f"{train:.2g} · {image:.2g}"
            axis.text(1.02, place, told, transform=axis.get_yaxis_transform(), va="center")
        told = "operations, times:\ntraining · image"
        axis.text(1.02, 1.0, told, transform=axis.transAxes, va="bottom")
        axis.set_yticks(places, rows["arm"].map(named))
        axis.set(xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.7))
        axis.set_title(f"{title}, from {protocol}", loc="left")
    figures.label_below(axes, "PSNR above the unchanged arm, dB")
    return figure
