"""One style for every figure: colours of the arms, rows of images, saving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

# Okabe & Ito's palette: apart for every common kind of colour blindness
COLOURS = {
    "natural-f8c4": "#D55E00",
    "phantom-f8c4": "#E69F00",
    "natural-f4c3": "#56B4E9",
    "phantom-f4c3": "#0072B2",
    "bicubic": "#777777",
    "lanczos": "#AAAAAA",
}
COLOURS |= {  # what the small ones stand for
    "sd-vae-ft-ema": COLOURS["natural-f8c4"],
    "medvae-8-4": COLOURS["phantom-f8c4"],
    "kl-f4": COLOURS["natural-f4c3"],
    "medvae-4-3": COLOURS["phantom-f4c3"],
    "natural-f4c1": "#009E73",
    "phantom-f4c1": "#CC79A7",
    "medvae-4-1": "#CC79A7",
}
OTHERS = ("#009E73", "#CC79A7", "#F0E442", "#000000")
PANEL_INCH = 4.4
NOT_SHOWN = "No image is shown: none of these sets has allow_images."
CONDITION_LABELS = {
    "released": "as released\n(walk spaced)",
    "lr_latent": "LR latent\n(the released way)",
    "upsampled_latent": "latent of\nupsampled LR",
    "lr_pixels": "LR pixels\n(controlled)",
}


def colour(name: str) -> str:
    """Return the colour of an arm, the same in every figure."""
    return COLOURS.get(name, OTHERS[sum(name.encode()) % len(OTHERS)])


def kind(name: str, fact: Mapping[str, Any]) -> str:
    """Name a set in a figure, so that a downloaded figure still says what its images are."""
    return f"{name} phantoms" if fact["is_phantom"] else name


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
        shared = f"{fact['n_test_images']} images, subjects shared with training"
        return f"{kind(name, fact)} ({shared})"
    return f"{kind(name, fact)} ({fact['n_test_subjects']} {fact['subject_word']}s)"


def legend_below(figure: Figure, axis: Axes, place: Any = "outside lower center") -> None:
    """Put an axis's legend below the whole figure, in as many columns as its width holds.

    A label that stands for several artists is shown once.
    """
    once = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    widest_inch = 0.55 + 0.085 * max(map(len, once))
    columns = max(1, min(len(once), int(figure.get_figwidth() / widest_inch)))
    figure.legend(once.values(), once.keys(), loc=place, ncols=columns)


def style() -> None:
    """Set seaborn's and matplotlib's defaults; SVG ids are fixed so that files keep their bytes."""
    import matplotlib
    import seaborn

    seaborn.set_theme(style="ticks", context="notebook", font_scale=0.85)
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "latentsr",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.use": True,
            "legend.frameon": False,
            "axes.titlelocation": "left",
        }
    )


def save(figure: Figure, outputs: Path, name: str, alt: str) -> None:
    """Write ``figures/NN/<name>.svg``, a 300-dpi ``.png`` and the alternative text ``.txt``.

    In a notebook the figure is shown too, its alternative text beside it, and closed.
    """
    folder = Path(outputs) / "figures" / name[:2]
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", dpi=300, metadata={"Software": None})
    (folder / f"{name}.txt").write_text(alt + "\n")
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
    """Return a figure and its axes ``(rows, panels)``, a panel a title."""
    import matplotlib.pyplot as plt

    size = (panel_inch * len(titles), height_inch)
    return plt.subplots(rows, len(titles), figsize=size, squeeze=False, **options)


def error_bars(rows: DataFrame, middle: str) -> list[Series]:
    """Return lengths of error bars; nothing is drawn where an interval was not given."""
    return [rows[middle] - rows["low"], rows["high"] - rows[middle]]


def name_conditions(axis: Axes, names: Sequence[str], title: str) -> None:
    """Write the LR conditions below a panel and its title above."""
    axis.set_xticks(range(len(names)), [CONDITION_LABELS[name] for name in names])
    axis.set_title(title)


def image_grid(
    rows: Mapping[str, Mapping[str, NDArray[np.float32]]], side_inch: float = 1.5
) -> Figure:
    """Draw images in [0, 1] with one grey scale: a row a key, a column an inner key."""
    import matplotlib.pyplot as plt

    width = max(len(row) for row in rows.values())
    size = (width * side_inch + 0.4, len(rows) * (side_inch + 0.2))
    figure, axes = plt.subplots(len(rows), width, figsize=size, squeeze=False)
    for line, (label, row) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, (title, image) in zip(line, row.items(), strict=False):
            axis.imshow(image.astype(np.float32), cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=8)
        line[0].text(
            -0.06, 0.5, label, transform=line[0].transAxes, rotation=90, ha="right", va="center"
        )
    return figure


def words(text: str) -> Figure:
    """Stand in with a line of text for a figure that cannot be drawn."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 1))
    axis.set_axis_off()
    axis.text(0, 0.5, text, va="center")
    return figure
