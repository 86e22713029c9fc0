"""A contact sheet: many images of a download at a glance, as the study sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentsr.datasets import pixels
from latentsr.datasets.pixels import Array
from latentsr.datasets.records import Record
from latentsr.datasets.sets import LAYOUTS
from latentsr.datasets.verify import listed

ACROSS = 8  # images in a row


def draw(layout: str, root: Path, *, count: int = 48, slices: int = 5, side_px: int = 128) -> Array:
    """Return one picture of about ``count`` images, evenly spread over a folder, as the study sees them.

    Prepared as the study prepares them, at ``side_px``, with the layout's own settings; one that
    cannot be used is a grey square. A volume shows ``slices``, more where there are few volumes,
    and up to eight fill a row; an MRNet exam shows the one that the study reads.
    ``(rows * side_px, across * side_px)`` uint8.
    """
    volumes = _volumes(layout, root, slices)
    if sum(map(len, volumes)) < count:
        slices = -(-count // len(volumes))
        volumes = _volumes(layout, root, slices)
    wanted = -(-count * len(volumes) // sum(map(len, volumes)))
    places = np.linspace(0, len(volumes) - 1, min(wanted, len(volumes))).round().astype(int)
    anatomy, tiles = LAYOUTS[layout].anatomy, []
    for record in [record for place in places for record in volumes[place]]:
        try:
            tile = pixels.prepare_pixels(record.read(), anatomy, side_px)
        except Exception:  # noqa: BLE001 - `verify` says what is wrong with it
            tile = np.full((side_px, side_px), 0.5, np.float32)
        tiles.append(tile)
    longest = max(map(len, volumes))
    across = longest if 1 < longest <= ACROSS else ACROSS
    rows = -(-len(tiles) // across)
    tiles += [np.zeros_like(tiles[0])] * (rows * across - len(tiles))
    grid = np.stack(tiles).reshape(rows, across, side_px, side_px)
    whole = grid.transpose(0, 2, 1, 3).reshape(rows * side_px, across * side_px)
    return (255 * whole).round().astype(np.uint8)


def _volumes(layout: str, root: Path, slices: int) -> list[list[Record]]:
    """List the images of a folder, those of one volume together."""
    volumes: dict[Path, list[Record]] = {}
    for record in listed(layout, root, slices)[1]:
        volumes.setdefault(record.path, []).append(record)
    if not volumes:
        raise ValueError(f"{root}: no image to show")
    return list(volumes.values())
