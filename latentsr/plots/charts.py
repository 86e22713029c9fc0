"""Marks with intervals, lines and violins: a tidy table in, a figure of panels out.

The primitives share these options. A table with columns ``low`` and ``high`` has intervals.

color, style : str
    Columns: each value of the first has a color, each of the second a mark or a dash.
styles : mapping
    Of a value of either column, properties of `matplotlib.lines.Line2D`; ``label`` names it in the
    legend, where an empty one leaves it out.
col, titles : str, mapping
    Column that chooses the panel of a row; its values in their order, and their titles.
row : str
    Column that chooses a line of panels; the label of its axis is a mapping of its values then.
zero, references, margins
    A thin line at a value, dashed ones ``{name: value}`` (or values by ``col``), and bands of plus
    or minus a margin.
height_inch : float
    Height of a line of panels.
on : Figure or array of Axes
    Panels that are there to be drawn into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latentsr.plots.labels import in_words
from latentsr.plots.style import ACROSS, BAND, GREYS, PAGE_INCH, colors, legend_below, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Labels = Mapping[Any, str]
GREY = "#666666"  # of a style in a legend, where colors have entries of their own
FEW = 6  # ticks of a logarithmic axis, or categories below one another, that need no turn


def _named(table: DataFrame, column: str) -> dict[Any, str]:
    return {key: str(in_words(key)) for key in dict.fromkeys(table[column])} if column else {"": ""}


def _look(
    keys: Mapping[str, Any], color: str, tones: Mapping[Any, str], styles: Mapping[Any, Any]
) -> dict[str, Any]:
    look = {"color": tones[keys[color]] if color in keys else "black"}
    for key in reversed(list(keys.values())):  # what an autoencoder is given holds in every style
        look |= styles.get(key, {})
    return {name: value for name, value in look.items() if name != "label"}


def _draw(
    table: DataFrame,
    x: str,
    y: str,
    along: str,
    labels: str | Labels,
    default: Mapping[str, Any],
    *,
    color: str = "",
    style: str = "",
    styles: Mapping[Any, Mapping[str, Any]] | None = None,
    row: str = "",
    col: str = "",
    titles: Labels | None = None,
    zero: float | None = None,
    references: Mapping[str, Any] | None = None,
    margins: Sequence[float] = (),
    height_inch: float = 2.7,
    beside_inch: float = 0.8,
    on: Any = None,
    bar: float = 0,
    start: str = "",
    **options: Any,
) -> list[Any]:
    """Draw points ``x``, ``y`` with intervals ``along`` an axis; return the axes."""
    styles, rows = styles or {}, labels if isinstance(labels, Mapping) else {"": labels}
    titles = titles or _named(table, col)
    if on is None:
        height = 0.9 + height_inch * len(rows)
        on = panels(titles, height, len(rows), beside_inch, **options)[0]
    axes: list[Any] = list(np.ravel(getattr(on, "axes", on)))
    tones = colors(table[color]) if color else {}
    columns = list(dict.fromkeys(name for name in (color, style) if name))
    pairs = [(line, name) for line in rows for name in titles]
    for (line, name), axis in zip(pairs, axes, strict=False):
        part = table[table[row] == line] if row else table
        part = part[part[col] == name] if col else part
        groups = part.groupby(columns, sort=False) if columns else [((), part)]
        for keys, points in groups:
            look = _look(dict(zip(columns, keys, strict=True)), color, tones, styles)
            if bar:
                _bars(axis, points, x, y, along, bar, start, look)
                look = {"color": "black", "marker": "", "ls": ""}
            elif look.get("ls") == "":
                look = {
                    "marker": "o",
                    **look,
                }  # many points have no marks unless nothing joins them
            if not bar or "low" in points:
                _errorbar(axis, points, x, y, along, {**default, **look})
        across = axis.axhline if along == "y" else axis.axvline
        band = axis.axhspan if along == "y" else axis.axvspan
        for margin in margins:
            band(-margin, margin, **BAND)
        if zero is not None:
            across(zero, color="black", lw=0.8, zorder=1)
        for label, level in (references or {}).items():
            at = level[name] if hasattr(level, "__getitem__") else level
            across(at, color=GREYS.get(label, "black"), ls=":", label=label, zorder=1)
        spec = axis.get_subplotspec()
        first, *_ = titles
        is_first = name == first or bool(spec and spec.is_first_col())
        is_middle = name == list(titles)[len(titles) // 2]
        if rows[line] and (is_first if along == "y" else is_middle):
            axis.set(**{f"{along}label": rows[line]})
    for column in columns:
        for key, text in _named(table, column).items():
            look = _look({column: key}, color, tones, styles)
            look.pop("capsize", None)
            if look.get("ls") == "" and not bar:
                look = {"marker": "o", **look}
            if len(columns) > 1 and column == style:
                look |= {"color": styles.get(key, {}).get("color", GREY)}
            if label := styles.get(key, {}).get("label", text):
                axes[0].plot([], [], **{**default, **look, "label": label})
    legend_below(axes[0].figure)
    return axes


def _errorbar(
    axis: Axes, points: DataFrame, x: str, y: str, along: str, look: dict[str, Any]
) -> None:
    value = points[y if along == "y" else x]
    ends = [value - points["low"], points["high"] - value] if "low" in points else None
    look[f"{along}err"] = ends
    axis.errorbar(points[x], points[y], **look)


def _bars(
    axis: Axes, points: DataFrame, x: str, y: str, along: str, width: float, start: str, look: Any
) -> None:
    first = points[start] if start else 0
    face = {name: look[name] for name in ("color", "alpha") if name in look}
    if along == "y":
        axis.bar(points[x], points[y], width, first, **face)
    else:
        axis.barh(points[y], points[x], width, first, **face)


def lines(
    table: DataFrame,
    x: str,
    y: str,
    *,
    xlabel: str = "",
    ylabel: str | Labels = "",
    log: str = "",
    **options: Any,
) -> Figure:
    """Draw ``y`` along ``x``, a line each color and style, with intervals of ``y``.

    Parameters
    ----------
    table : DataFrame
        A row each point.
    x, y : str
        Its columns of numbers.
    log : str
        ``x``, ``y`` or ``xy``: the axes that are logarithmic.
    **options
        Of all primitives, see above, and of `matplotlib.pyplot.subplots`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"step": [1, 2], "vae": "natural-f8c4", "psnr_db": [20, 21]})
    >>> len(lines(table, "step", "psnr_db", color="vae").axes)
    1
    """
    default = {"marker": "" if table[x].nunique() > 40 else "o"}
    axes = _draw(table, x, y, "y", ylabel, default, **{"sharey": "row", **options})
    for axis in axes:
        for which in log:
            _logarithmic(axis, which, table[x if which == "x" else y])
    if xlabel:
        last = [axis for axis in axes if axis.axison][-ACROSS:]
        last[len(last) // 2].set_xlabel(xlabel)
    figure: Figure = axes[0].figure
    return figure


def _logarithmic(axis: Axes, which: str, values: Any) -> None:
    """Scale an axis by decades, in plain numbers; with a tick at each value where they are few."""
    getattr(axis, f"set_{which}scale")("log")
    one = axis.xaxis if which == "x" else axis.yaxis
    ticks = sorted(set(values))
    axis.minorticks_off()
    if len(ticks) > FEW:
        ticks = [
            k * 10.0**p
            for p in range(-9, 10)
            for k in ((1,) if max(ticks) > 30 * min(ticks) else (1, 2, 5))
            if min(ticks) <= k * 10.0**p <= max(ticks)
        ]
    one.set_ticks(ticks, [f"{tick:g}" for tick in ticks])


def intervals(
    table: DataFrame,
    value: str,
    category: str,
    *,
    names: Labels | None = None,
    group: str = "",
    headings: Labels | None = None,
    dodge: Sequence[str] | None = None,
    width: float = 0,
    label: str | Labels = "",
    is_upright: bool = False,
    bars: bool = False,
    **options: Any,
) -> Figure:
    """Draw values with their intervals, a place each category, the first on top.

    Parameters
    ----------
    table : DataFrame
        A row each mark.
    value, category : str
        Its columns: numbers, and what they are of.
    names : mapping
        Categories in their order, and their labels.
    group, headings : str, mapping
        Column that puts categories under headings; its values in their order, and the headings.
    dodge : sequence of str
        Columns whose values stand side by side in a place: ``color``, or ``style`` without one.
    width : float
        From one to the next of these, in places; 0 for as they fit.
    label : str or mapping
        Of the axis of values.
    is_upright, bars : bool
        Values upwards and categories side by side; bars, from the column ``start`` if it is given.
    **options
        Of all primitives, see above, and of `matplotlib.pyplot.subplots`.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"arm": ["a", "b"], "gap": [1, 2], "low": [0, 1], "high": [2, 3]})
    >>> [text.get_text() for text in intervals(table, "gap", "arm").axes[0].get_yticklabels()]
    ['a', 'b']
    """
    names = names or _named(table, category)
    dodge = (
        [n for n in (options.get("color") or options.get("style"),) if n]
        if dodge is None
        else dodge
    )
    places: dict[Any, int] = {}
    texts: list[str] = []
    is_heading: list[bool] = []
    for key, heading in (headings or (_named(table, group) if group else {"": ""})).items():
        above = heading.split("\n") if group else []
        there = set(table.loc[table[group] == key, category]) if group else set(names)
        own = [name for name in names if name in there]
        places |= {(key, name): len(texts) + len(above) + k for k, name in enumerate(own)}
        texts += [*above, *(names[name] for name in own)]
        is_heading += [True] * len(above) + [False] * len(own)
    side = table[list(dodge)].apply(tuple, axis=1) if dodge else table[category].map(lambda _: ())
    sides = list(dict.fromkeys(side))
    width = width or min(0.8 if bars else 0.2, 0.76 / len(sides))
    shift = width * (side.map(sides.index) - (len(sides) - 1) / 2)
    groups = table[group] if group else [""] * len(table)
    place = [places[pair] for pair in zip(groups, table[category], strict=True)]
    table = table.assign(_place=np.array(place, float) + shift.to_numpy(float))
    each = 0.09 + (0.2 if bars else 0.13) * len(sides) if len(sides) > 1 else 0.24
    each = max(each, 0.1 + 0.14 * max(text.count("\n") + 1 for text in texts))
    shared = {"sharey": "row", "height_inch": 2.4}
    if not is_upright:
        beside = 0.2 + 0.065 * max(len(one) for text in texts for one in text.split("\n"))
        shared = {"sharey": True, "beside_inch": beside, "height_inch": max(0.6, each * len(texts))}
    xy = ("_place", value, "y") if is_upright else (value, "_place", "x")
    default = {"marker": "s" if bars else "o", "ls": ""}
    axes = _draw(table, *xy, label, default, bar=0.9 * width * bars, **{**shared, **options})
    for axis in axes:
        _categories(axis, texts, is_heading, is_upright)
    figure: Figure = axes[0].figure
    return figure


def _categories(
    axis: Axes, texts: Sequence[str], is_heading: Sequence[bool], is_upright: bool
) -> None:
    if is_upright:
        spec = axis.get_subplotspec()
        across = 13 * PAGE_INCH / (spec.get_gridspec().ncols if spec else 1) / len(texts)
        turn = 90 if max(len(one) for text in texts for one in text.split("\n")) > across else 0
        axis.set_xticks(range(len(texts)), texts, rotation=turn)
        axis.set_xlim(-0.5, len(texts) - 0.5)
        return
    axis.set_yticks(range(len(texts)), texts)
    axis.set_ylim(len(texts) - 0.5, -0.5)
    for tick, bold in zip(axis.yaxis.get_major_ticks(), is_heading, strict=True):
        tick.tick1line.set_visible(not bold)
        tick.label1.set_fontweight("bold" if bold else "normal")


def violins(
    table: DataFrame,
    value: str,
    category: str,
    color: str,
    unit: str,
    *,
    col: str = "",
    titles: Labels | None = None,
    names: Labels | None = None,
    ylabel: str = "",
) -> Figure:
    """Draw how ``value`` is distributed, a violin each category and color, and its mean.

    Parameters
    ----------
    table : DataFrame
        A row each ``unit`` (a subject), ``category`` and ``color``; the values of a unit are joined.
    names : mapping
        Categories in their order, and their labels.
    """
    import seaborn

    titles, names = titles or _named(table, col), names or _named(table, category)
    sides = list(dict.fromkeys(table[color]))
    palette = colors(sides)
    at = 0.8 / len(sides) * (np.arange(len(sides)) - (len(sides) - 1) / 2)
    figure, axes = panels(titles, 3.6)
    for axis, title in zip(axes[0], titles, strict=True):
        part = table[table[col] == title] if col else table
        shared = {"order": list(names), "hue_order": sides, "palette": palette, "ax": axis}
        look: dict[str, Any] = {
            "inner": None,
            "linewidth": 0,
            "saturation": 1,
            "alpha": 0.5,
            "legend": False,
        }
        look |= {"cut": 0, "density_norm": "width"}
        seaborn.violinplot(part, x=category, y=value, hue=color, **shared, **look)
        for place, key in enumerate(names):
            wide = part[part[category] == key].pivot(index=unit, columns=color, values=value)
            axis.plot(place + at, wide[sides].T.to_numpy(), color="#999999", lw=0.4)
            for x, side in zip(place + at, sides, strict=True):
                axis.plot(x, wide[side].mean(), "o", color=palette[side], label=str(side))
        axis.set_xticks(range(len(names)), list(names.values()))
        axis.set(xlabel="", ylabel="")
    axes[0, 0].set_ylabel(ylabel)
    legend_below(figure)
    return figure
