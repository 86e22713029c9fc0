"""Rows of images: as they are, with errors below, and painted with what was added or lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentsr.plots.style import PAGE_INCH, broken

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Rows = Mapping[str, Mapping[str, NDArray[Any]]]
ADDED, LOST = (1.0, 0.83, 0.0), (0.93, 0.2, 1.0)  # yellow, magenta: no arm's, apart on any grey


def split_row(row: Mapping[str, Any], across: int) -> list[dict[str, Any]]:
    """Break a row into lines of at most ``across``, as even as they can be.

    >>> [list(line) for line in split_row(dict.fromkeys("abcdefg"), 5)]
    [['a', 'b', 'c', 'd'], ['e', 'f', 'g']]
    """
    longest = -(-len(row) // -(-len(row) // across))
    pairs = list(row.items())
    return [dict(pairs[start : start + longest]) for start in range(0, len(pairs), longest)]


def images(
    rows: Rows,
    labels: Mapping[str, str] | None = None,
    side_inch: float = 1.5,
    across: int = 5,
    scale: str = "",
    title: str = "",
) -> Figure:
    """Draw images side by side: a row each key, a column each inner key.

    Parameters
    ----------
    rows : mapping
        Images ``(H, W)`` in [0, 1], on one grey scale, or ``(H, W, 3)``.
    labels : mapping
        Names of rows that are not their keys.
    side_inch : float
        The largest side of an image.
    across : int
        A row of more images goes on in the next line.
    scale : str
        Name of the quantity where images are maps of it: they are drawn in color, from 0 to the
        largest of all, with a bar.
    """
    import matplotlib.pyplot as plt

    lines = [(label, line) for label, row in rows.items() for line in split_row(row, across)]
    width = max(len(line) for _, line in lines)
    side_inch = min(side_inch, (PAGE_INCH - 0.4) / width)
    names = [
        {broken(name, 1.25 * side_inch): image for name, image in line.items()} for _, line in lines
    ]
    high_inch = side_inch + 0.06 + 0.15 * max(t.count("\n") + 1 for one in names for t in one)
    size = (width * side_inch + 0.4, len(lines) * high_inch + (0.5 if scale else 0.25))
    figure, axes = plt.subplots(len(lines), width, figsize=size, squeeze=False)
    top = max(float(image.max()) for row in rows.values() for image in row.values())
    look = {"cmap": "viridis" if scale else "gray", "vmin": 0, "vmax": top if scale else 1}
    for places, (label, _), line in zip(axes, lines, names, strict=True):
        for axis in places:
            axis.set_axis_off()
        for axis, (name, image) in zip(places, line.items(), strict=False):
            drawn = axis.imshow(image.astype(np.result_type(image, np.float32)), **look)
            axis.set_title(name, fontsize=7.5)
        name_row(places[0], (labels or {}).get(label, label))
    if scale:
        figure.colorbar(
            drawn, ax=axes, label=scale, location="bottom", shrink=0.5, aspect=40, pad=0.01
        )
    figure.suptitle(title)
    return figure


def name_row(axis: Axes, label: str) -> None:
    """Write the name of a row of images beside its first."""
    beside = axis.transAxes
    axis.text(-0.06, 0.5, label, transform=beside, rotation=90, ha="right", va="center")


def error_images(rows: Rows, labels: Mapping[str, str] | None = None) -> Figure:
    """Draw images ``(H, W)`` with their middle enlarged, and below each its absolute error.

    The first image of a row is the true one. The errors of a row are on one scale, from 0 to the
    largest of them; its bar stands below the true image.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    across = max(map(len, rows.values()))
    side_inch = min(1.9, (PAGE_INCH - 0.3) / across)
    size = (side_inch * across + 0.3, (2 * side_inch + 0.4) * len(rows))
    figure, axes = plt.subplots(2 * len(rows), across, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, (row, line) in enumerate(rows.items()):
        true = next(iter(line.values())).astype(float)
        off = {title: np.abs(image.astype(float) - true) for title, image in line.items()}
        most = max(float(one.max()) for one in off.values())
        for column, (title, image) in enumerate(line.items()):
            above, below = axes[2 * number : 2 * number + 2, column]
            above.imshow(image.astype(np.float32), vmin=0, vmax=1)
            above.set_title(title, fontsize=7.5)
            side = len(image) // 5
            corner = (len(image) - side) // 2
            part = image[corner : corner + side, corner : corner + side].astype(np.float32)
            inset = above.inset_axes((0.55, 0.0, 0.45, 0.45))
            inset.imshow(part, vmin=0, vmax=1)
            inset.set(xticks=[], yticks=[])
            inset.spines[:].set(visible=True, color=ADDED)
            above.add_patch(Rectangle((corner, corner), side, side, fill=False, ec=ADDED, lw=1))
            if column:
                drawn = below.imshow(off[title], cmap="magma", vmin=0, vmax=most)
        name_row(axes[2 * number, 0], (labels or {}).get(row, row))
        bar = axes[2 * number + 1, 0].inset_axes((0.7, 0.0, 0.1, 1.0))
        bar.set_in_layout(False)  # its words fit beside it
        ticks = [0, most / 2, most]
        figure.colorbar(drawn, cax=bar, ticks=ticks, format="{x:.2f}", ticklocation="left")
        bar.set_ylabel("absolute error,\ngrey values\nof 0 to 1")
    return figure


def overlay(image: NDArray[Any], true: NDArray[Any], threshold: float) -> NDArray[np.float64]:
    """Paint what an image adds (yellow) and loses (magenta) over the true one, ``(H, W, 3)``.

    >>> overlay(np.array([[0.9, 0.5, 0.1]]), np.full((1, 3), 0.5), threshold=0.2)[0, 1]
    array([0.5, 0.5, 0.5])
    """
    paint = np.repeat(true[..., None].astype(np.float64), 3, axis=-1)  # (H, W, 3)
    paint[image - true > threshold] = ADDED
    paint[true - image > threshold] = LOST
    return paint


def image_table(rows: Rows, **columns: Any) -> DataFrame:
    """Return what is drawn of images as a table for `save`: a row each image, with its mean.

    >>> image_table({"knee": {"HR": np.ones((2, 2))}}, n_images=1)
      dataset image  height_px  width_px  mean  n_images
    0    knee    HR          2         2   1.0         1
    """
    import pandas as pd

    table = [
        {"dataset": row, "image": " ".join(name.split()), "height_px": len(image),
         "width_px": image.shape[1], "mean": float(np.mean(image, dtype=float))}
        for row, line in rows.items()
        for name, image in line.items()
    ]  # fmt: skip
    return pd.DataFrame(table).assign(**columns)
