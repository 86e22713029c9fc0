"""One style for every figure: colors, panels, legends, and what is saved with a figure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsr.autoencoders import registry
from latentsr.plots.labels import MEASURES, in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

GREYS = {"bicubic": "#777777", "lanczos": "#AAAAAA"}
# Tol's muted palette: for what is no arm, apart from every arm's color; a dash or a mark helps
TONES = ("#332288", "#999933", "#444444", "#AA4499", "#CC6677", "#44AA99")
BAND: dict[str, Any] = {"color": "#000000", "alpha": 0.1, "lw": 0}  # a margin of equivalence
ACROSS = 3  # panels of a line
PAGE_INCH = 7.2  # width of a figure on a page of the book, where it has 700 pixels
NOT_SHOWN = "No image is shown: none of these sets has allow_images."


def colors(names: Iterable[Any]) -> dict[Any, str]:
    """Return the colors of autoencoders and interpolations: Okabe & Ito's, the same everywhere.

    >>> colors(["phantom-f4c3", "bicubic"])
    {'phantom-f4c3': '#0072B2', 'bicubic': '#777777'}
    """
    names = list(dict.fromkeys(names))
    own = registry.colors([str(name) for name in names if name not in GREYS])
    return {name: GREYS.get(name) or own[str(name)] for name in names}


def set_style() -> None:
    """Set seaborn's theme and the style file of the package.

    Type has at least 8 points, 9 pixels on a page, and SVG ids are fixed, so that files keep their
    bytes.
    """
    import matplotlib.style
    import seaborn

    seaborn.set_theme(style="ticks", context="notebook")
    matplotlib.style.use(Path(__file__).with_name("latentsr.mplstyle"))


def panels(
    titles: Mapping[Any, str],
    height_inch: float,
    rows: int = 1,
    beside_inch: float = 0.8,
    **options: Any,
) -> tuple[Figure, Any]:
    """Return a figure of a page's width and its axes ``(rows, panels)``, a panel each title.

    One row of more than `ACROSS` panels goes on below, each line ``height_inch`` high. Titles are
    broken to the width of a panel, of all of which ``beside_inch`` go to labels.
    """
    import matplotlib.pyplot as plt

    across = len(titles) if rows > 1 else min(ACROSS, len(titles))
    lines = max(rows, -(-len(titles) // across))
    width_inch = PAGE_INCH if across > 1 else 6
    size = (width_inch, height_inch * (lines if rows == 1 else 1))
    figure, axes = plt.subplots(lines, across, figsize=size, squeeze=False, **options)
    for axis in axes.flat[rows * len(titles) :]:
        axis.set_axis_off()
    for axis, title in zip(axes.flat, titles.values(), strict=False):
        axis.set_title(broken(title, (width_inch - beside_inch) / across))
    return figure, axes


def broken(title: str, inch: float) -> str:
    """Break a title to a width, before its parenthesis first.

    >>> broken("knee phantoms (60 exams)", 1.4)
    'knee phantoms\\n(60 exams)'
    """
    across = max(8, int(13 * inch))  # of 9 points
    if len(title) > across:
        title = title.replace(" (", "\n(")
    return "\n".join(textwrap.fill(line, across) for line in title.split("\n"))


def legend_below(figure: Figure) -> None:
    """Put one legend of all panels below the figure, in as many columns as its width holds.

    A label that stands for several artists is there once.
    """
    once: dict[str, Any] = {}
    for axis in figure.axes:
        for artist, label in zip(*axis.get_legend_handles_labels(), strict=True):
            once.setdefault(label, artist)
    for legend in figure.legends:
        legend.remove()
    if not once:
        return
    widest_inch = 0.55 + 0.07 * max(map(len, once))
    columns = max(1, min(len(once), int(figure.get_figwidth() / widest_inch)))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=columns)


def extremes(data: DataFrame, value: str, form: str = "{:.2f} dB") -> str:
    """Write the least and the largest value of a table and whose they are, for an alternative text.

    A row is named by its columns of text. With a sign in ``form`` the values are differences: of
    intervals ``low`` to ``high`` those on either side of zero are counted.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"dataset": ["a", "b"], "arm": "lr_pixels", "gap": [-1, 2.5]})
    >>> extremes(rows.assign(low=[-2, -1], high=[-0.5, 3]), "gap", "{:+.1f} dB")
    '-1.0 dB (a) to +2.5 dB (b); intervals above zero: 0, below: 1, of 2'
    """
    rows = data.dropna(subset=[value])
    if rows.empty:
        return ""
    names = [str(c) for c in rows.select_dtypes(exclude="number") if rows[c].nunique() > 1]
    ends = []
    for place in dict.fromkeys((rows[value].argmin(), rows[value].argmax())):
        words = rows[names].iloc[place].map(lambda text: MEASURES.get(text, in_words(text)))
        name = ", ".join(str(text) for text in words if text != "")
        ends.append(form.format(rows[value].iloc[place]) + (f" ({name})" if name else ""))
    text = " to ".join(ends)
    if "+" in form and {"low", "high"} <= {*rows}:
        up, down = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
        text += f"; intervals above zero: {up}, below: {down}, of {rows['low'].notna().sum()}"
    return text


def counts(data: DataFrame) -> list[dict[str, Any]]:
    """Return the subjects and images behind a table: a record for each set and split in it.

    They come from the columns ``n_subjects`` and ``n_images``, the largest of each group; of a
    table without them none is known.

    >>> import pandas as pd
    >>> counts(pd.DataFrame({"dataset": ["a", "a"], "n_subjects": 4, "n_images": [8, 2]}))
    [{'dataset': 'a', 'n_subjects': 4, 'n_images': 8}]
    """
    columns = [name for name in ("n_subjects", "n_images") if name in data]
    keys = [name for name in ("dataset", "split") if name in data]
    if not columns or not keys:
        return []
    largest = data.groupby(keys, sort=False)[columns].max().reset_index()
    return [
        {str(k): v if isinstance(v, str) else int(v) for k, v in row.items()}
        for row in largest.to_dict("records")
    ]


def save(
    figure: Figure,
    outputs: Path | str,
    name: str,
    alt: str,
    data: DataFrame,
    value: str = "",
    form: str = "{:.2f} dB",
) -> None:
    """Write a figure with everything that a page needs of it, to ``figures/NN/``.

    ``NAME.svg`` and a 300-dpi ``NAME.png``; ``NAME.csv``, the table it was drawn from;
    ``NAME.txt``, the alternative text; ``NAME.json``, the subjects and images behind it. In a
    notebook the figure is shown too, its alternative text beside it, and closed.

    Parameters
    ----------
    figure : Figure
        What was drawn.
    outputs : path
        Folder of results; the figure goes to ``figures/`` and the first two letters of its name.
    name : str
        Name of the files.
    alt : str
        What is drawn, of which images.
    data : DataFrame
        The table that was drawn. Its columns ``dataset``, ``split`` (``test`` where there is
        none), ``n_subjects`` and ``n_images`` are what `counts` writes to ``NAME.json``: a list of
        records ``{"dataset": "knee", "n_subjects": 60, "n_images": 240}``, empty where no image
        stands behind the figure.
    value, form : str
        Column whose `extremes` are added to the alternative text, and how they are written.
    """
    folder = Path(outputs) / "figures" / name[:2]
    folder.mkdir(parents=True, exist_ok=True)
    alt = " ".join(alt.split())  # one line: a page gives it as an option
    data = data.reset_index() if data.index.names[0] else data
    data.to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.json").write_text(json.dumps(counts(data)) + "\n")
    span = extremes(data, value, form) if value else ""
    alt += f" {span}." if span else ""
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    (folder / f"{name}.txt").write_text(alt + "\n")
    from IPython import display, get_ipython

    if get_ipython() is not None:
        import matplotlib.pyplot as plt

        display.display(figure, metadata={"image/png": {"alt": alt}})
        plt.close(figure)  # or the end of the cell shows it again, without words


def words(text: str) -> Figure:
    """Stand in with a line of text for a figure that cannot be drawn."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 1))
    axis.set_axis_off()
    axis.text(0, 0.5, text, va="center")
    return figure
