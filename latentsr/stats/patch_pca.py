"""Autoencoders in closed form: principal components of patches, and super-resolution with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latentsr import io as scores
from latentsr.datasets.pixels import photographs
from latentsr.metrics import image as metrics
from latentsr.metrics.image import Floats
from latentsr.plots.labels import in_words
from latentsr.stats.lr_regression import Ridge, chosen, explained, windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (side of a patch, components): three patch sides, each with 1/32 to 3/8 numbers a pixel
FAMILY = ((4, 1), (4, 3), (4, 6), (8, 2), (8, 4), (8, 12), (8, 24), (16, 8), (16, 16), (16, 48),
          (16, 96))  # fmt: skip
FITTED_ON = 20_000  # patches


def patches(images: ArrayLike, side: int) -> Floats:
    """Cut images ``(N, H, W)`` into ``(N, H / side, W / side, side * side)``."""
    pixels = np.asarray(images, np.float64)
    count, height, width = pixels.shape
    if height % side or width % side:
        raise ValueError(f"images of {height} x {width}: patches of {side} do not tile them")
    blocks = pixels.reshape(count, height // side, side, width // side, side)
    ordered = blocks.transpose(0, 1, 3, 2, 4)  # (N, h, w, side, side)
    return ordered.reshape(count, height // side, width // side, side**2)


def joined(pieces: Floats) -> Floats:
    """Undo `patches`."""
    count, down, across, size = pieces.shape
    side = round(size**0.5)
    blocks = pieces.reshape(count, down, across, side, side).transpose(0, 1, 3, 2, 4)
    return blocks.reshape(count, down * side, across * side)


def drawn(
    images: Sequence[NDArray[Any]], side: int, count: int, rng: np.random.Generator
) -> Floats:
    """Draw ``count`` patches ``(count, side * side)`` anywhere in images ``(H, W)``, by their area."""
    areas = np.array([image.size for image in images], float)
    found = np.empty((count, side**2))
    for row, index in enumerate(rng.choice(len(images), count, p=areas / areas.sum())):
        image = images[index]
        top, left = (rng.integers(0, length - side + 1) for length in image.shape)
        found[row] = image[top : top + side, left : left + side].ravel()
    return found


@dataclass(frozen=True)
class PatchPCA:
    """An autoencoder of ``side`` x ``side`` patches: latents of ``components`` channels."""

    side: int
    mean: Floats  # (side * side,)
    basis: Floats  # (side * side, components), orthonormal, most variance first
    variances: Floats  # (side * side,) of all components, those dropped too

    @staticmethod
    def fit(training: Floats, components: int) -> PatchPCA:
        r"""Take the first principal components of patches ``(n, side * side)``.

        The mean squared error of a training patch, summed over its pixels, is the sum of the
        variances dropped :math:`\sum_{k > C} \lambda_k` (Pearson 1901).

        >>> training = np.array([[0.0, 0, 0, 0], [1, 1, 1, 1]])
        >>> PatchPCA.fit(training, 1).variances.round(9).tolist()
        [1.0, 0.0, 0.0, 0.0]
        """
        mean = training.mean(0)
        centred = training - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / len(training))
        basis = vectors[:, ::-1][:, :components]
        side = round(training.shape[1] ** 0.5)
        return PatchPCA(side, mean, basis, np.maximum(values[::-1], 0))

    def truncated(self, components: int) -> PatchPCA:
        """Return the one with fewer components: PCA nests."""
        return PatchPCA(self.side, self.mean, self.basis[:, :components], self.variances)

    def encode(self, images: ArrayLike) -> Floats:
        """Return latents ``(N, H / side, W / side, components)``."""
        return np.asarray((patches(images, self.side) - self.mean) @ self.basis)

    def decode(self, latents: Floats) -> Floats:
        """Return images ``(N, H, W)`` in [0, 1]."""
        return joined(np.asarray(latents @ self.basis.T + self.mean)).clip(0, 1)


def members(
    images: Sequence[NDArray[Any]], rng: np.random.Generator, family: Sequence[tuple[int, int]]
) -> Iterator[PatchPCA]:
    """Fit the autoencoders of a family on patches of these images."""
    whole: dict[int, PatchPCA] = {}
    for side, components in family:
        if side not in whole:
            whole[side] = PatchPCA.fit(drawn(images, side, FITTED_ON, rng), side**2)
        yield whole[side].truncated(components)


def super_resolved(
    vae: PatchPCA, hr: Floats, shown: Floats, shown_test: Floats
) -> tuple[Floats, Floats]:
    """Return test images ``(M, H, W)`` and the latents ``(M, h, w, C)`` that they decode from.

    Latents of ``hr`` are regressed on the LR images ``shown`` of the same subjects; then those of
    ``shown_test`` are predicted.
    """
    codes = vae.encode(hr)
    grid, channels = codes.shape[1], codes.shape[-1]
    fitted = Ridge.fit(windows(shown, grid), codes.reshape(-1, channels))
    guess = fitted.predict(windows(shown_test, grid)).reshape(-1, grid, grid, channels)
    return vae.decode(guess), guess


def score(data: Mapping[str, NDArray[Any]], vaes: Mapping[str, list[PatchPCA]]) -> pd.DataFrame:
    """Score members on one prepared set, means over test subjects.

    ``vaes`` maps what patches were drawn from to members. Each is shown the LR image (arm
    "lr_pixels"), and the LR image as its own encoder and decoder give it back ("lr_latent").
    Columns arm, vae, patches, side_px, budget (log2 of numbers a pixel), ceiling_db, lr_copy_db
    (the LR image's own copy), predictability (`lr_regression.explained`, mean over channels),
    psnr_db, excess_mse (squared error beyond the ceiling's), limit_db (the regression of HR
    pixels, no autoencoder) and n_subjects.
    """
    some, test = chosen(data["split"] == "train"), data["split"] == "test"
    hr, lr, truth, lr_test = (
        np.asarray(data[key][rows], np.float64) for rows in (some, test) for key in ("hr", "lr")
    )

    def mean(values: Floats) -> float:
        return float(pd.Series(values).groupby(data["subject_id"][test]).mean().mean())

    rows = []
    pixels = PatchPCA(4, np.zeros(16), np.eye(16), np.zeros(16))  # all components: no autoencoder
    shared = {"limit_db": mean(metrics.psnr_db(super_resolved(pixels, hr, lr, lr_test)[0], truth))}
    shared["n_subjects"] = len(np.unique(data["subject_id"][test]))
    for source, vae in ((source, vae) for source, found in vaes.items() for vae in found):
        channels, codes = vae.basis.shape[1], vae.encode(truth)
        kept, copies = vae.decode(codes), [vae.decode(vae.encode(small)) for small in (lr, lr_test)]
        name = {"vae": f"{source} f{vae.side}c{channels}", "patches": source, "side_px": vae.side}
        name["budget"] = np.log2(channels / vae.side**2)
        name["ceiling_db"] = mean(metrics.psnr_db(kept, truth))
        name["lr_copy_db"] = mean(metrics.psnr_db(copies[1], lr_test))
        for arm, shown in (("lr_pixels", (lr, lr_test)), ("lr_latent", copies)):
            made, guess = super_resolved(vae, hr, *shown)
            told = explained(guess.reshape(-1, channels), codes.reshape(-1, channels))
            excess = ((made - truth) ** 2).mean((1, 2)) - ((kept - truth) ** 2).mean((1, 2))
            row = {"predictability": told.mean(), "psnr_db": mean(metrics.psnr_db(made, truth))}
            rows.append({"arm": arm, **name, **row, "excess_mse": mean(excess), **shared})
    return pd.DataFrame(rows)


def of_run(results: Path, sets: Sequence[str], seed: int) -> pd.DataFrame:
    """Score the family on every set of a run: patches of photographs, and of training images.

    The training images are those of all sets together.
    """
    data = {name: scores.read_arrays(results / "data" / name) for name in sets}
    ours = [image for one in data.values() for image in one["hr"][one["split"] == "train"]]
    rng = np.random.default_rng(seed)
    sources = {"photographs": photographs(), "training images": ours}
    vaes = {name: list(members(images, rng, FAMILY)) for name, images in sources.items()}
    return pd.concat([score(data[name], vaes).assign(dataset=name) for name in sets])


def draw(points: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw SR against ceiling, a row an arm, a column a set, a mark a side of patches."""
    from latentsr.plots import style as figures

    arms = list(dict.fromkeys(points["arm"]))
    figure, axes = figures.panels(titles, 0.9 + 2.3 * len(arms), len(arms), sharex="col")
    tones = dict(zip(dict.fromkeys(points["patches"]), figures.TONES[3:1:-1], strict=False))
    for line, arm in zip(axes, arms, strict=True):
        for axis, name in zip(line, titles, strict=True):
            here = points[(points["arm"] == arm) & (points["dataset"] == name)]
            ends = [here["ceiling_db"].min(), here["limit_db"].iloc[0]]
            axis.plot(ends, ends, color="black", lw=0.8, ls=":", label="SR = ceiling")
            axis.axhline(ends[1], color="black", lw=0.8, ls="--", label="regression of HR pixels")
            for (source, side), part in here.groupby(["patches", "side_px"], sort=False):
                tone, mark = tones[source], {4: "o", 8: "s", 16: "^"}[side]
                label = f"{source}, patches of {side} px"
                face = tone if source == "photographs" else "none"
                axis.plot(part["ceiling_db"], part["psnr_db"], mark, color=tone, mfc=face,
                          label=label)  # fmt: skip
        line[0].set_ylabel(f"SR from {in_words(arm)}, dB")
    for axis, name in zip(axes[0], titles, strict=True):
        axis.set_title(titles[name])
    for axis in axes[-1]:
        axis.set_xlabel("ceiling, dB")
    figures.legend_below(figure, axes[0, 0])
    return figure
