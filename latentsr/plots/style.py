"""One style for every figure: colours of the arms, rows of images, saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentsr.autoencoders import registry
from latentsr.plots.labels import CONDITION_LABELS as CONDITION_LABELS
from latentsr.plots.labels import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

# Okabe & Ito's palette: apart for every common kind of colour blindness
COLOURS = {name: registry.spec(name).color for name in registry.NAMES if registry.spec(name).cell}
COLOURS |= {"bicubic": "#777777", "lanczos": "#AAAAAA"}
OTHERS = ("#117733", "#882255", "#661100", "#DDCC77")  # arms without a colour of their own
# Tol's muted palette: for what is no arm, apart from every arm's colour; a dash or a mark helps
TONES = ("#332288", "#999933", "#444444", "#AA4499", "#CC6677", "#44AA99")
BAND = {"color": "#000000", "alpha": 0.1, "lw": 0}  # a margin of equivalence
PAGE_INCH = 7.2  # width of a figure on a page of the book
PAGE_PX = 700  # and on a screen
SMALLEST_PX = 9  # type, at that width
PANEL_INCH = 4.4  # a panel's widest
NOT_SHOWN = "No image is shown: none of these sets has allow_images."


def colour(name: str) -> str:
    """Return the colour of an arm, the same in every figure."""
    return COLOURS.get(name, OTHERS[sum(name.encode()) % len(OTHERS)])


def kind(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set in a figure, so that a downloaded figure still says what its images are."""
    return f"{name} phantoms" if fact["is_phantom"] else name


def pictured(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Open an alternative text: what the images behind a figure are.

    >>> pictured({"knee": {"is_phantom": True}, "chest": {"is_phantom": True}})
    'Phantoms (knee, chest)'
    >>> pictured({"knee": {"is_phantom": True}, "mine": {"is_phantom": False}})
    'Phantoms (knee); images (mine)'
    """
    parts = []
    for word, phantoms in (("phantoms", True), ("images", False)):
        names = [name for name, fact in sets.items() if fact["is_phantom"] is phantoms]
        parts += [f"{word} ({', '.join(names)})"] if names else []
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def span(values: Series, form: str = ".2f", unit: str = " dB") -> str:
    """Tell for an alternative text the least and the largest value, and whose they are.

    >>> import pandas as pd
    >>> span(pd.Series({("knee", "a"): -1.0, ("brain", "b"): 2.5}), "+.1f")
    'from -1.0 dB (knee, a) to +2.5 dB (brain, b)'
    >>> span(pd.Series({("knee", "lr_pixels"): 1.0, ("knee", "released"): 2.0}))
    'from 1.00 dB (knee, LR pixels) to 2.00 dB (knee, as released)'
    """
    if not values.notna().any():
        return "no value"
    told = []
    if values.nunique() == 1:
        return f"{values.min():{form}}{unit}"
    for key, value in ((values.idxmin(), values.min()), (values.idxmax(), values.max())):
        names = key if isinstance(key, tuple) else (key,)
        label = ", ".join(in_words(str(name)) for name in names if name != "")
        told.append(f"{value:{form}}{unit} ({label})")
    return f"from {told[0]} to {told[1]}"


def signs(rows: DataFrame) -> str:
    """Count for an alternative text the intervals ``low`` to ``high`` on either side of zero.

    >>> import pandas as pd
    >>> signs(pd.DataFrame({"low": [0.5, -1.0, -2.0], "high": [1.0, 1.0, -1.0]}))
    'of 3 intervals 1 is above zero and 1 below'
    """
    up, down = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    whole = int(rows["low"].notna().sum())
    return f"of {whole} intervals {up} {'is' if up == 1 else 'are'} above zero and {down} below"


def shared(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name the sets whose test images share subjects with training, for the rows of a table.

    >>> shared({"knee": {"split_by": "subject"}, "mine": {"split_by": "image"}})
    {'mine': 'mine (subjects shared)'}
    """
    closed = [name for name, fact in sets.items() if fact.get("split_by") == "image"]
    return {name: f"{name} (subjects shared)" for name in closed}


def heading(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set and how many test subjects stand behind a panel.

    >>> heading("knee", {"is_phantom": True, "n_test_subjects": 60, "subject_word": "exam"})
    'knee phantoms (60 exams)'
    """
    if fact.get("split_by") == "image":
        shared = f"{fact['n_test_images']} images,\nsubjects shared\nwith training"
        return f"{kind(name, fact)} ({shared})"
    return f"{kind(name, fact)} ({fact['n_test_subjects']} {fact['subject_word']}s)"


def counted(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set with its test subjects and images, for a caption.

    >>> fact = {"is_phantom": True, "n_test_subjects": 12, "n_test_images": 60}
    >>> counted("brain", fact | {"subject_word": "patient"})
    'brain phantoms: 12 patients, 60 images'
    """
    if fact.get("split_by") == "image":
        said = f"{fact['n_test_images']} images, subjects shared with training"
    else:
        subjects = f"{fact['n_test_subjects']} {fact['subject_word']}s"
        said = f"{subjects}, {fact['n_test_images']} images"
    return f"{kind(name, fact)}: {said}"


def legend_below(figure: Figure, axis: Axes) -> None:
    """Put an axis's legend below the whole figure, in as many columns as its width holds.

    A label that stands for several artists is shown once.
    """
    once = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    widest_inch = 0.55 + 0.07 * max(map(len, once))
    columns = max(1, min(len(once), int(figure.get_figwidth() / widest_inch)))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=columns)


def style() -> None:
    """Set seaborn's and matplotlib's defaults; SVG ids are fixed so that files keep their bytes.

    Type is of 8 to 9 points: a figure of `PAGE_INCH` then has at least `SMALLEST_PX` on a page.
    """
    import matplotlib
    import seaborn
    from matplotlib import rcsetup

    seaborn.set_theme(style="ticks", context="notebook", font_scale=0.85)
    matplotlib.rcParams.update(
        {
            **dict.fromkeys(("font.size", "axes.labelsize", "figure.labelsize"), 8.5),
            **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8),
            **dict.fromkeys(("axes.titlesize", "figure.titlesize"), 9),
            "lines.markersize": 5,
            "axes.prop_cycle": rcsetup.cycler("color", TONES),
            "svg.hashsalt": "latentsr",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "legend.frameon": False,
            "axes.titlelocation": "left",
        }
    )


def _legible(figure: Figure) -> None:
    """Raise type smaller than `SMALLEST_PX` on a page; break titles wider than their panels."""
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    figure.draw_without_rendering()  # or tick labels are not there yet
    dots = min(PAGE_PX / figure.get_figwidth(), 100)  # an inch: a narrow one is not enlarged
    least = 72 * SMALLEST_PX / dots + 0.01
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            labels = [tick.label1 for tick in axis.get_major_ticks()]
            powers = any("^" in label.get_text() for label in labels)
            size = max([label.get_fontsize() for label in labels], default=0)
            size = max(size, least / 0.7 if powers else least)  # an exponent has 0.7 of the size
            axis.set_tick_params(which="both", labelsize=size)
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), least))
    figure.draw_without_rendering()
    titles = {
        text: axes
        for axes in figure.axes
        for text in axes.get_children()
        if isinstance(text, Text) and text.get_text() and text not in axes.texts
    }
    if any(t.get_window_extent().x1 > axes.get_window_extent().x1 for t, axes in titles.items()):
        for text in titles:
            text.set_text(text.get_text().replace(" (", "\n("))


def drawn(figure: Figure) -> DataFrame:
    """Return the numbers that a figure draws: one row a point, in data units.

    Columns are ``panel`` (its number), ``title``, ``artist`` (``line``, ``points``, ``bar``,
    ``segment``, ``area``, ``image``, ``text``), ``label``, ``x`` and ``y``. A bar is its two
    corners; an image is its number of pixels and their sum.
    """
    import pandas as pd
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection
    from matplotlib.patches import Rectangle

    rows: list[tuple[int, str, str, str, float, float]] = []
    for panel, axes in enumerate(figure.axes):
        title = " ".join((axes.get_title("left") or axes.get_title()).split())

        def add(artist: str, label: str, xy: Any, where: tuple[int, str] = (panel, title)) -> None:
            rows.extend((*where, artist, label, float(x), float(y)) for x, y in xy)

        for line in axes.lines:
            add("line", str(line.get_label()), line.get_xydata())
        for patch in axes.patches:
            if isinstance(patch, Rectangle):
                low, high = patch.get_bbox().min, patch.get_bbox().max
                add("bar", str(patch.get_label()), [low, high])
        group: Any
        image: Any
        for group in axes.collections:
            label = str(group.get_label())
            if isinstance(group, PathCollection):
                add("points", label, np.ma.getdata(group.get_offsets()))
            elif isinstance(group, LineCollection):
                add("segment", label, [point for part in group.get_segments() for point in part])
            elif isinstance(group, PolyCollection):
                add(
                    "area",
                    label,
                    [v for path in group.get_paths() for v in np.asarray(path.vertices)],
                )
            elif group.get_array() is not None:
                values = np.ma.getdata(group.get_array()).astype(float)
                add("image", label, [(values.size, np.nansum(values))])
        for image in axes.images:
            values = np.ma.getdata(image.get_array()).astype(float)
            add("image", "", [(values.size, np.nansum(values))])
        for text in axes.texts:
            try:
                x, y = (float(value) for value in text.get_position())
            except (TypeError, ValueError):
                continue
            add("text", " ".join(text.get_text().split()), [(x, y)])
    return pd.DataFrame(rows, columns=["panel", "title", "artist", "label", "x", "y"])


def save(figure: Figure, outputs: Path, name: str, alt: str) -> None:
    """Write ``figures/NN/<name>.svg``, a 300-dpi ``.png`` and the alternative text ``.txt``.

    In a notebook the figure is shown too, its alternative text beside it, and closed. Type is
    never smaller than `SMALLEST_PX` on a page.
    """
    _legible(figure)
    alt = " ".join(alt.split())  # one line: a page gives it as an option
    folder = Path(outputs) / "figures" / name[:2]
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=300, metadata={"Software": None})
    (folder / f"{name}.txt").write_text(alt + "\n")
    drawn(figure).to_csv(folder / f"{name}.csv", index=False)
    from IPython import display, get_ipython

    if get_ipython() is not None:
        import matplotlib.pyplot as plt

        display.display(figure, metadata={"image/png": {"alt": alt}})
        plt.close(figure)  # or the end of the cell shows it again, without words


def panels(
    titles: Mapping[str, str],
    height_inch: float,
    rows: int = 1,
    panel_inch: float = PANEL_INCH,
    **options: Any,
) -> Any:
    """Return a figure and its axes ``(rows, panels)``, a panel a title; three fill a page."""
    import matplotlib.pyplot as plt

    size = (min(panel_inch, PAGE_INCH / min(3, len(titles))) * len(titles), height_inch)
    return plt.subplots(rows, len(titles), figsize=size, squeeze=False, **options)


def error_bars(rows: DataFrame, middle: str) -> list[Series]:
    """Return lengths of error bars; nothing is drawn where an interval was not given."""
    return [rows[middle] - rows["low"], rows["high"] - rows[middle]]


def label_below(axes: Any, text: str) -> None:
    """Write what all panels share on their x axes below the middle one; axes ``(rows, panels)``."""
    axes[-1, axes.shape[1] // 2].set_xlabel(text)


def name_conditions(axis: Axes, names: Sequence[str], title: str) -> None:
    """Write the LR conditions beside a panel, the first on top, and its title above."""
    axis.set_yticks(range(len(names)), [CONDITION_LABELS[name] for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_title(title)


def in_lines(row: Mapping[str, Any], across: int) -> list[dict[str, Any]]:
    """Break a row of panels into lines of at most ``across``, as even as they can be.

    >>> [list(line) for line in in_lines(dict.fromkeys("abcdefg"), 5)]
    [['a', 'b', 'c', 'd'], ['e', 'f', 'g']]
    """
    long = -(-len(row) // -(-len(row) // across))
    pairs = list(row.items())
    return [dict(pairs[start : start + long]) for start in range(0, len(pairs), long)]


def image_grid(
    rows: Mapping[str, Mapping[str, NDArray[np.float32]]], side_inch: float = 1.5, across: int = 5
) -> Figure:
    """Draw images in [0, 1] with one grey scale: a row a key, a column an inner key.

    A row of more than ``across`` images goes on in the next line.
    """
    import matplotlib.pyplot as plt

    lines = [(label, line) for label, row in rows.items() for line in in_lines(row, across)]
    width = max(len(line) for _, line in lines)
    side_inch = min(side_inch, (PAGE_INCH - 0.4) / width)
    high_inch = side_inch + 0.06 + 0.14 * max(t.count("\n") + 1 for _, one in lines for t in one)
    size = (width * side_inch + 0.4, len(lines) * high_inch)
    figure, axes = plt.subplots(len(lines), width, figsize=size, squeeze=False)
    for places, (label, line) in zip(axes, lines, strict=True):
        for axis in places:
            axis.set_axis_off()
        for axis, (title, image) in zip(places, line.items(), strict=False):
            axis.imshow(image.astype(np.float32), cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=7.5)
        name_row(places[0], label)
    return figure


def name_row(axis: Axes, label: str) -> None:
    """Write the name of a row of images beside its first."""
    beside = axis.transAxes
    axis.text(-0.06, 0.5, label, transform=beside, rotation=90, ha="right", va="center")


def words(text: str) -> Figure:
    """Stand in with a line of text for a figure that cannot be drawn."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 1))
    axis.set_axis_off()
    axis.text(0, 0.5, text, va="center")
    return figure
