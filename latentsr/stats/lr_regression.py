"""What the LR image tells of a latent, by ridge regression: a denoiser's place, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import Floats

REACH = 3  # LR pixels around a place that the regression sees
MOST_IMAGES = 64  # training images of a fit
PENALTY = 1e-4  # of the mean variance of the pixels it sees; small, so that what is there is found


def windows(lr: ArrayLike, side: int, reach: int = REACH) -> Floats:
    """Return the LR pixels around every place of a ``side`` x ``side`` grid.

    LR images ``(N, h, h)``, h a multiple of ``side``; edges are repeated. A window is a place's
    own h / side pixels and ``reach`` more on every side: ``(N * side * side, window * window)``.

    >>> windows(np.arange(4.0).reshape(1, 2, 2), 2, 0).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    images = np.asarray(lr, np.float64)
    if side < 1 or images.shape[1] != images.shape[2] or images.shape[1] % side:
        raise ValueError(f"LR images {images.shape[1:]}: {side} places a side do not divide them")
    step = images.shape[1] // side
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)), "edge")
    wide = step + 2 * reach
    all_of_them = np.lib.stride_tricks.sliding_window_view(padded, (wide, wide), (1, 2))
    return all_of_them[:, ::step, ::step].reshape(-1, wide * wide)  # of (N, side, side, wide, wide)


@dataclass(frozen=True)
class Ridge:
    r"""Weights of :math:`\hat y = \bar y + (x - \bar x) W`."""

    x_mean: Floats
    y_mean: Floats
    weights: Floats  # (D, C)

    @staticmethod
    def fit(x: Floats, y: Floats, penalty: float = PENALTY) -> Ridge:
        r"""Fit ``y`` ``(n, C)`` on ``x`` ``(n, D)``.

        .. math:: W = (X^T X + n \lambda I)^{-1} X^T Y

        with X and Y centred and :math:`\lambda` = ``penalty`` x the mean variance of a column of
        X. Hoerl and Kennard 1970.

        >>> x = np.array([[0.0], [1.0], [2.0]])
        >>> Ridge.fit(x, 2 * x + 1, 0.0).predict(np.array([[3.0]])).round(9).tolist()
        [[7.0]]
        """
        x_mean, y_mean = x.mean(0), y.mean(0)
        centred = x - x_mean
        gram = centred.T @ centred
        size = max(float(np.trace(gram)) / len(gram), 1e-12)
        weights = np.linalg.solve(gram + penalty * size * np.eye(len(gram)), centred.T @ y)
        return Ridge(x_mean, y_mean, weights)

    def predict(self, x: Floats) -> Floats:
        return np.asarray(self.y_mean + (x - self.x_mean) @ self.weights)


def explained(guess: Floats, truth: Floats) -> Floats:
    """Return R^2 of every column ``(n, C)``: the share of its variance that a guess explains.

    >>> explained(np.array([[1.0], [1.0], [3.0]]), np.array([[0.0], [1.0], [2.0]])).tolist()
    [0.0]
    """
    spread = ((truth - truth.mean(0)) ** 2).sum(0)
    return np.asarray(1 - ((guess - truth) ** 2).sum(0) / np.where(spread > 0, spread, 1))


def chosen(is_training: ArrayLike, most: int = MOST_IMAGES) -> NDArray[np.int64]:
    """Return the rows of at most so many training images, evenly chosen."""
    rows = np.flatnonzero(is_training)
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]


def predictability(latents: ArrayLike, lr: ArrayLike, is_training: ArrayLike) -> float:
    """Return how much of a latent the LR image tells: R^2 over test places, mean over channels.

    Latents ``(N, C, s, s)``, LR images ``(N, h, h)``. A grid finer than the LR image is folded
    onto it first.
    """
    z, small, rows = np.asarray(latents), np.asarray(lr), np.asarray(is_training, bool)
    count, channels, side, _ = z.shape
    fold = max(1, side // small.shape[-1])
    side //= fold
    z = z.reshape(count, channels, side, fold, side, fold)  # (N, C, s', r, s', r)
    z = z.transpose(0, 2, 4, 1, 3, 5).reshape(count, side, side, channels * fold**2)
    some = chosen(rows)
    x, y = (windows(small[one], side) for one in (some, ~rows))
    aims, truth = (z[one].reshape(-1, z.shape[-1]).astype(np.float64) for one in (some, ~rows))
    return float(explained(Ridge.fit(x, aims).predict(y), truth).mean())
