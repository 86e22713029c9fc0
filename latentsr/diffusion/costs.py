"""What a denoiser costs, and how far it sees."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from latentsr.diffusion import networks as denoisers
from latentsr.diffusion import train as training


def operations(
    gflop_a_call: float, settings: training.Settings, num_steps: int
) -> dict[str, float]:
    """Return TFLOP of a training and GFLOP of one test image, from those of one network call.

    A training step takes three times a call on each of its images: forward, and backward to
    weights and to activations. The autoencoder's own work is not in it.

    >>> operations(2.0, training.Settings(100, 4, 1e-3, 0.0, 1.0, 7), 10)  # 3 * 2 * 400, 2 * 10
    {'train_tflop': 2.4, 'image_gflop': 20.0}
    """
    seen = settings.steps * settings.batch
    return {"train_tflop": 3 * gflop_a_call * seen / 1000, "image_gflop": gflop_a_call * num_steps}


def reach(net: nn.Module, target: Sequence[int], condition: Sequence[int]) -> int:
    """Return how many places of its grid, a side, a denoiser's convolutions join into one.

    More than the grid ``(C, h, w)`` has, where they reach beyond it: measured on a canvas whose
    height is doubled until its edges are not met. In a transformer every place sees the grid's own.
    """
    if not isinstance(net, denoisers.Denoiser):
        return target[1]
    height = target[1]
    while True:
        canvas = [(ends[0], height, ends[2]) for ends in (target, condition)]
        if (found := denoisers.receptive_field(net, canvas[0], canvas[1])) < height:
            return found
        height *= 2
