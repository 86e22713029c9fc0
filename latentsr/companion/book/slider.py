"""One test image as every method shows it, for the slider of the book's first page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr import degrade, io
from latentsr.autoencoders import registry
from latentsr.plots import NOT_SHOWN
from latentsr.plots.labels import set_label

PROTOCOLS = {"released": "as released", "lr_pixels": "controlled"}
CHOICE = "The first test image of the set, chosen before anybody saw a result"
BESIDE = ("lr", "bicubic", "hr")  # stay in view beside the slider


def _psnr(table: pd.DataFrame, column: str, value: str, image_id: str) -> str:
    """Write the PSNR that the run measured for one image, " 21.7 dB"."""
    psnr_db = table.loc[(table[column] == value) & (table["image_id"] == image_id), "psnr_db"]
    return f", {psnr_db.iloc[0]:.1f} dB"


def images(
    results: Path, name: str, main_vaes: Sequence[str]
) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Yield (file name, title, image in [0, 1]) of a set's first test image, from LR to HR.

    The LR image keeps its own size; the page enlarges it pixel by pixel. The title of what is
    compared with HR ends with its PSNR, taken from the run's tables.
    """
    data = io.read_arrays(results / "data" / name)
    row = int(np.flatnonzero(data["split"] == "test")[0])
    image_id, hr, lr = str(data["image_id"][row]), data["hr"][row], data["lr"][row]
    yield "lr", f"LR, {lr.shape[0]} x {lr.shape[1]} pixels", lr
    baselines = pd.read_csv(results / "data" / "baselines.csv", dtype=io.TEXT)
    baselines = baselines[baselines["dataset"] == name]
    psnr = _psnr(baselines, "method", "bicubic", image_id)
    yield "bicubic", f"bicubic{psnr}", degrade.upsample(lr[None], hr.shape)[0]
    for arm, protocol in PROTOCOLS.items():
        for vae in main_vaes:
            folder, label = (
                results / "arms" / name / registry.arm_dir(vae),
                registry.display_name(vae),
            )
            if arm not in io.read_arrays(folder / "sr.npz"):
                continue
            table = pd.read_csv(folder / "scores.csv", dtype=io.TEXT)
            image = io.read_images(folder / "sr.npz", arm, [image_id])[0]
            psnr = _psnr(table, "arm", arm, image_id)
            yield f"{label}_{arm}", f"{label}, {protocol}{psnr}", image.astype(np.float32)
    yield "hr", f"HR, {hr.shape[0]} x {hr.shape[1]} pixels: the true image", hr


def _set(
    results: Path, name: str, fact: Mapping[str, Any], main_vaes: Sequence[str], folder: Path
) -> str:
    """Write the images of one set as PNG files; return the block that shows them."""
    from PIL import Image

    blocks = []
    for stem, title, image in images(results, name, main_vaes):
        grey = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)  # (H, W)
        Image.fromarray(grey).save(folder / (file := f"compare_{name}_{stem}.png"))
        words = f"{set_label(name, fact)}: {title}"
        kinds = "compare-image compare-beside" if stem in BESIDE else "compare-image"
        blocks.append(f"````{{div}} {kinds}\n![{words}](generated/{file})\n\n{title}\n````\n")
    return f"`````{{div}} compare\n{''.join(blocks)}`````\n"


def write(
    results: Path,
    sets: Mapping[str, Mapping[str, Any]],
    main_vaes: Sequence[str],
    folder: Path,
) -> None:
    """Write ``slider.md``, a tab a set, and its images; of sets that may not be shown nothing.

    Without JavaScript and on paper the images stand side by side; ``compare.js`` puts two of
    them on top of each other, and those of `BESIDE` stay beside the two.
    """
    tabs = [
        f"``````{{tab-item}} {set_label(name, fact)}\n"
        f"{_set(results, name, fact, main_vaes, folder)}``````\n"
        for name, fact in sets.items()
        if fact["may_be_shown"]
    ]
    text = f"```````{{tab-set}}\n{''.join(tabs)}```````\n\n{CHOICE}; figures are its PSNR.\n"
    (folder / "slider.md").write_text(text if tabs else f"{NOT_SHOWN}\n")
