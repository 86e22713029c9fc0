"""Autoencoders in closed form: principal components of patches, and what the LR image predicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import Floats

CONTEXT_PX = 3  # LR pixels around a place that the regression takes
PENALTY = 1e-4  # of the mean variance of these pixels; small, so that what is there is found


def patches(images: ArrayLike, side: int) -> Floats:
    """Cut images ``(N, H, W)`` into ``(N, H / side, W / side, side * side)``."""
    pixels = np.asarray(images, np.float64)
    count, height, width = pixels.shape
    if height % side or width % side:
        raise ValueError(f"images of {height} x {width}: patches of {side} do not tile them")
    blocks = pixels.reshape(count, height // side, side, width // side, side)
    ordered = blocks.transpose(0, 1, 3, 2, 4)  # (N, h, w, side, side)
    return ordered.reshape(count, height // side, width // side, side**2)


def draw_patches(
    images: Sequence[NDArray[Any]], side: int, count: int, rng: np.random.Generator
) -> Floats:
    """Draw ``count`` patches ``(count, side * side)`` anywhere in images ``(H, W)``, by their area."""
    areas = np.array([image.size for image in images], float)
    drawn = np.empty((count, side**2))
    for row, index in enumerate(rng.choice(len(images), count, p=areas / areas.sum())):
        image = images[index]
        top, left = (rng.integers(0, length - side + 1) for length in image.shape)
        drawn[row] = image[top : top + side, left : left + side].ravel()
    return drawn


@dataclass(frozen=True)
class PatchPCA:
    """An autoencoder of square patches: the latent holds their first principal components."""

    mean: Floats  # (side * side,)
    basis: Floats  # (C, side * side), orthonormal, most variance first

    @property
    def side(self) -> int:
        """Return the side of a patch, pixels."""
        return round(len(self.mean) ** 0.5)

    def encode(self, images: ArrayLike) -> Floats:
        """Return latents ``(N, H / side, W / side, C)`` of images ``(N, H, W)``."""
        return np.asarray((patches(images, self.side) - self.mean) @ self.basis.T)

    def decode(self, latents: Floats) -> Floats:
        """Return images ``(N, H, W)`` in [0, 1]."""
        count, down, across, _ = latents.shape
        pieces = (latents @ self.basis + self.mean).clip(0, 1)
        blocks = pieces.reshape(count, down, across, self.side, self.side)
        return blocks.transpose(0, 1, 3, 2, 4).reshape(count, down * self.side, -1)


def fit_family(
    images: Sequence[NDArray[Any]],
    family: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    count: int = 20_000,
) -> Iterator[PatchPCA]:
    """Fit a `PatchPCA` per (side, components) on ``count`` patches of these images (Pearson 1901)."""
    from sklearn.decomposition import PCA

    by_side: dict[int, Any] = {}
    for side, components in family:
        if side not in by_side:
            by_side[side] = PCA().fit(draw_patches(images, side, count, rng))
        yield PatchPCA(by_side[side].mean_, by_side[side].components_[:components])


def windows(lr: ArrayLike, side: int, context_px: int = CONTEXT_PX) -> Floats:
    """Return the LR pixels around every place of a ``side`` x ``side`` grid.

    LR images ``(N, h, h)``, h a multiple of ``side``; edges are repeated. A window is a place's
    own h / side pixels and ``context_px`` more on every side: ``(N * side * side, window**2)``.

    >>> windows(np.arange(4.0).reshape(1, 2, 2), 2, 0).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    images = np.asarray(lr, np.float64)
    if images.shape[1] != images.shape[2] or images.shape[1] % side:
        raise ValueError(f"LR images {images.shape[1:]}: {side} places a side do not divide them")
    step = images.shape[1] // side
    wide = step + 2 * context_px
    padded = np.pad(images, [(0, 0)] + 2 * [(context_px, context_px)], "edge")
    every = np.lib.stride_tricks.sliding_window_view(padded, (wide, wide), (1, 2))
    return every[:, ::step, ::step].reshape(-1, wide * wide)  # of (N, side, side, wide, wide)


def predict_latents(latents: ArrayLike, lr: ArrayLike, lr_test: ArrayLike) -> Floats:
    r"""Predict latents ``(M, s, s, C)`` of test images by ridge regression from LR pixels.

    Fitted on latents ``(N, s, s, C)`` and LR images ``(N, h, h)``; the penalty is `PENALTY` x
    the mean variance of the pixels in a window x their number (Hoerl and Kennard 1970).
    """
    from sklearn.linear_model import Ridge

    z = np.asarray(latents, np.float64)
    side, channels = z.shape[1], z.shape[-1]
    x = windows(lr, side)
    penalty = PENALTY * max(len(x) * float(x.var(0).mean()), 1e-12)
    fitted = Ridge(penalty, solver="cholesky").fit(x, z.reshape(-1, channels))
    return np.asarray(fitted.predict(windows(lr_test, side)).reshape(-1, side, side, channels))


def explained_variance(prediction: Floats, truth: Floats) -> float:
    """Return R^2 of latents ``(..., C)``, mean over channels.

    >>> explained_variance(np.array([[1.0], [1.0], [3.0]]), np.array([[0.0], [1.0], [2.0]]))
    0.0
    """
    from sklearn.metrics import r2_score

    channels = truth.shape[-1]
    return float(r2_score(truth.reshape(-1, channels), prediction.reshape(-1, channels)))


def subsample(is_training: ArrayLike, most: int = 64) -> NDArray[np.int64]:
    """Return the rows of at most so many training images, evenly chosen."""
    rows = np.flatnonzero(is_training)
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]


def predictability(latents: ArrayLike, lr: ArrayLike, is_training: ArrayLike) -> float:
    """Return R^2 of the latent predicted from the LR image, over test places and channels.

    Latents ``(N, C, s, s)``, LR images ``(N, h, h)``. A grid finer than the LR image is folded
    onto it first.
    """
    z, small, training = np.asarray(latents), np.asarray(lr), np.asarray(is_training, bool)
    count, channels, side, _ = z.shape
    fold = max(1, side // small.shape[-1])
    blocks = z.reshape(count, channels, side // fold, fold, side // fold, fold)
    z = blocks.transpose(0, 2, 4, 1, 3, 5)  # (N, side / r, side / r, C, r, r)
    z = z.reshape(*z.shape[:3], channels * fold**2)
    some = subsample(training)
    prediction = predict_latents(z[some], small[some], small[~training])
    return explained_variance(prediction, z[~training].astype(np.float64))
