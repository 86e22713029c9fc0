"""What was added and what was lost: masks, rates, and planted lesions; tables in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from latentsr.plots import style as figures
from latentsr.plots.labels import in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ADDED, LOST = (1.0, 0.83, 0.0), (0.93, 0.2, 1.0)  # yellow, magenta: no arm's, apart on any grey
FLOORS = {"own": ("D", figures.TONES[5]), "fixed": ("s", figures.TONES[4])}  # others: an arm's


def masks(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw images side by side, a row a set; keys are titles."""
    import matplotlib.pyplot as plt

    across = max(map(len, rows.values()))
    side_inch = min(1.8, figures.PAGE_INCH / across)
    size = (side_inch * across, (side_inch + 0.25) * len(rows))
    figure, axes = plt.subplots(len(rows), across, figsize=size, squeeze=False)
    for line, pictures in zip(axes, rows.values(), strict=True):
        for axis, (title, picture) in zip(line, pictures.items(), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
            axis.set_title(title, fontsize=7.5)
    return figure


def painted(image: Any, true: Any, floor: float) -> Any:
    """Paint what an image adds (yellow) and loses (magenta) over the true one, ``(H, W, 3)``.

    >>> painted(np.array([[0.9, 0.5, 0.1]]), np.full((1, 3), 0.5), floor=0.2)[0, 1]
    array([0.5, 0.5, 0.5])
    """
    paint = np.repeat(true[..., None].astype(np.float64), 3, axis=-1)  # (H, W, 3)
    paint[image - true > floor] = ADDED
    paint[true - image > floor] = LOST
    return paint


def errors(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw images with a part enlarged, and below each its absolute error.

    Keys are titles: a pair of rows a set; the first image of a set is the true one ``(H, W)``.
    The errors of a set are on one scale, from 0 to the largest of them; its bar stands below HR.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    across = max(map(len, rows.values()))
    side_inch = min(1.9, (figures.PAGE_INCH - 0.3) / across)
    size = (side_inch * across + 0.3, (2 * side_inch + 0.4) * len(rows))
    figure, axes = plt.subplots(2 * len(rows), across, figsize=size, squeeze=False)
    for number, (row, images) in enumerate(rows.items()):
        true = next(iter(images.values())).astype(float)
        off = {title: np.abs(image.astype(float) - true) for title, image in images.items()}
        most = max(float(one.max()) for one in off.values())
        for column, (title, image) in enumerate(images.items()):
            above, below = axes[2 * number : 2 * number + 2, column]
            above.imshow(image.astype(np.float32), cmap="gray", vmin=0, vmax=1)
            above.set_title(title, fontsize=7.5)
            side = len(image) // 5
            top = left = (len(image) - side) // 2
            part = image[top : top + side, left : left + side].astype(np.float32)
            inset = above.inset_axes((0.55, 0.0, 0.45, 0.45))
            inset.imshow(part, cmap="gray", vmin=0, vmax=1)
            inset.set(xticks=[], yticks=[])
            above.add_patch(Rectangle((left, top), side, side, fill=False, ec=ADDED, lw=1))
            for spine in inset.spines.values():
                spine.set(visible=True, color=ADDED)
            if column:
                drawn = below.imshow(off[title], cmap="magma", vmin=0, vmax=most)
            for axis in (above, below):
                axis.set_axis_off()
        figures.name_row(axes[2 * number, 0], row)
        bar = axes[2 * number + 1, 0].inset_axes((0.7, 0.0, 0.1, 1.0))
        bar.set_in_layout(False)  # its words fit beside it
        ticks = [0, most / 2, most]
        figure.colorbar(drawn, cax=bar, ticks=ticks, format="{x:.2f}", ticklocation="left")
        bar.set_ylabel("absolute error,\ngrey values\nof 0 to 1")
    return figure


def _colours_below(figure: Figure, drawn: Any, axes: Any, label: str) -> None:
    place: dict[str, Any] = {"location": "bottom", "shrink": 0.5, "aspect": 40, "pad": 0.01}
    figure.colorbar(drawn, ax=axes, label=label, **place)


def rate_maps(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw maps of shares on one scale, two lines of them a set; keys are titles."""
    import matplotlib.pyplot as plt

    lines = [(name, line) for name, maps in rows.items() for line in figures.in_lines(maps, 4)]
    across = max(len(line) for _, line in lines)
    side_inch = min(1.8, (figures.PAGE_INCH - 0.3) / across)
    size = (side_inch * across + 0.3, 0.6 + (side_inch + 0.35) * len(lines))
    figure, axes = plt.subplots(len(lines), across, figsize=size, squeeze=False)
    most = max(float(one.max()) for _, line in lines for one in line.values())
    for places, (name, maps) in zip(axes, lines, strict=True):
        for axis in places:
            axis.set_axis_off()
        for axis, (title, one) in zip(places, maps.items(), strict=False):
            drawn = axis.imshow(one, cmap="viridis", vmin=0, vmax=most)
            axis.set_title(title, fontsize=7.5)
        figures.name_row(places[0], name)
    _colours_below(figure, drawn, axes, "share of test images")
    return figure


def transfer(table: pd.DataFrame, titles: Mapping[str, str], last: str) -> Figure:
    """Draw the share of a lesion's contrast that arrives, by its size; a column a set.

    ``table`` has columns dataset, arm, vae, sd_px, transfer, low and high; arm ``last`` is hollow,
    others are filled, "ceiling" is a cross.
    """
    figure, axes = figures.panels(titles, 3.6, sharey=True)
    for axis, name in zip(axes[0], titles, strict=True):
        rows = table[table["dataset"] == name]
        for step, ((arm, vae), part) in enumerate(rows.groupby(["arm", "vae"], sort=False)):
            tone = figures.colour(str(vae))
            style: dict[str, Any] = {"color": tone, "mfc": "white" if arm == last else tone}
            style |= {"marker": "x" if arm == "ceiling" else "o", "capsize": 2}
            style |= {"ls": ":" if arm == "released" else "-" if arm else "--"}
            label = f"{vae}, {in_words(str(arm))}" if arm else str(vae)
            places = part["sd_px"] * (1 + 0.012 * step)
            axis.errorbar(
                places, part["transfer"], figures.error_bars(part, "transfer"), label=label, **style
            )
        axis.axhline(1, color="black", lw=0.8)
        axis.set_title(titles[name])
        axis.set_xlabel("SD of the lesion, pixels")
    axes[0, 0].set_ylabel("share of its contrast that arrives")
    figures.legend_below(figure, axes[0, 0])
    return figure


def free_response(table: pd.DataFrame, titles: Mapping[str, str], last: str) -> Figure:
    """Draw lesions found against false marks an image, a row a d', a column a set.

    ``table`` has columns dataset, arm, vae, detectability, false and found.
    """
    levels = sorted(set(table["detectability"]))
    height = 0.8 + 2.6 * len(levels)
    figure, axes = figures.panels(titles, height, len(levels), sharex=True, sharey=True)
    for line, level in zip(axes, levels, strict=True):
        line[0].set_ylabel(f"lesions of d' = {level:g} found")
        for axis, name in zip(line, titles, strict=True):
            rows = table[(table["dataset"] == name) & (table["detectability"] == level)]
            for (arm, vae), part in rows.groupby(["arm", "vae"], sort=False):
                references = {"HR": "-", "LR ideal observer": "--", "HR ideal observer": "-."}
                dash = ":" if arm == "released" else "-" if arm in (last, "ceiling") else "--"
                style = {"ls": references.get(str(vae), dash), "lw": 1 if arm == "ceiling" else 2}
                style["color"] = "black" if vae in references else figures.colour(str(vae))
                seen = part[part["false"] > 0]  # the axis is logarithmic
                label = f"{vae}, {in_words(str(arm))}" if arm else str(vae)
                axis.plot(seen["false"], seen["found"], label=label, **style)
            axis.set(title=titles[name], xscale="log", ylim=(-0.03, 1.03))
    for axis in axes[-1]:
        axis.set_xlabel("false marks an image")
    figures.legend_below(figure, axes[0, 0])
    return figure


def rates(
    table: pd.DataFrame, common: str, conditions: Sequence[str], titles: Mapping[str, str]
) -> Figure:
    """Draw rates of added (upper row) and lost signal (lower row), a column a set.

    ``table`` has columns dataset, arm, vae, floor_of and the two rates; filled marks have the
    floor of ``common``, hollow ones each arm's own.
    """
    figure, axes = figures.panels(titles, 5.6, 2, sharex=True, sharey=True)
    vaes = list(dict.fromkeys(table["vae"]))
    for line, measure in zip(axes, ("hallucination_rate", "loss_rate"), strict=True):
        for axis, name in zip(line, titles, strict=True):
            for step, vae in enumerate(vaes):
                rows = table[(table["dataset"] == name) & (table["vae"] == vae)]
                places = [k + 0.15 * (step - (len(vaes) - 1) / 2) for k in range(len(conditions))]
                tone = figures.colour(vae)
                for owner, face in (("own", "white"), (common, tone)):
                    level = rows[rows["floor_of"] == owner].set_index("arm")[measure]
                    label = vae if owner == common else None
                    axis.plot(level.reindex(list(conditions)), places, "o", color=tone,
                              markerfacecolor=face, label=label)  # fmt: skip
            figures.name_conditions(axis, conditions, titles[name])
    for line, word in zip(axes, ("added", "lost"), strict=True):
        figures.label_below(line[None], f"share of pixels {word}")
    figures.legend_below(figure, axes[0, 0])
    return figure


def pairing(
    table: pd.DataFrame,
    owners: Sequence[str],
    arms: Sequence[str],
    moved: Mapping[str, float],
    margin: float,
    titles: Mapping[str, str],
) -> Figure:
    """Draw Cohen's h by pairing (left, right in a panel) and floor, a row an arm, a column a set."""
    arms = list(dict.fromkeys(arms))
    figure, axes = figures.panels(titles, 0.8 + 2.4 * len(arms), len(arms), sharey=True)
    looks = {o: FLOORS.get(o, ("o", figures.colour(o))) for o in owners}
    for line, arm in zip(axes, arms, strict=True):
        line[0].set_ylabel(f"Cohen's h, {in_words(arm)}")
        for axis, name in zip(line, titles, strict=True):
            axis.axhspan(-margin, margin, **figures.BAND)
            rows = table[(table["dataset"] == name) & (table["arm"] == arm)]
            for (owner, how), part in rows.groupby(["floor_of", "pairing"], sort=False):
                place = 0.15 * (owners.index(owner) - (len(owners) - 1) / 2) + (how == "position")
                bars, (mark, tone) = figures.error_bars(part, "difference"), looks[str(owner)]
                axis.errorbar(
                    place,
                    part["difference"],
                    bars,
                    fmt=mark,
                    color=tone,
                    capsize=2,
                    label=f"floor: {owner}",
                )
            axis.set_xticks((0, 1), ("paired by id", f"by position\n({moved[name]:.0%} move)"))
            axis.set_xlim(-0.5, 1.5)
            axis.set_title(titles[name])
    figures.legend_below(figure, axes[0, 0])
    return figure
