"""Phantoms as the study's images are prepared, one by one: for training autoencoders, and lessons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IMAGE_PX = 128  # side of a prepared phantom, as in the mini profile


def prepared_phantom(
    anatomy: str, number: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the phantom of one number ``(128, 128)`` in [0, 1], with its noise-free twin.

    >>> prepared_phantom("knee", 0, seed=1)[0].shape
    (128, 128)
    """
    from latentsr import phantoms
    from latentsr.datasets import middle_half_slices, prepare_pixels

    subject, view = number, 0
    if anatomy == "brain":
        slices = middle_half_slices(155, 5)
        subject, view = number // len(slices), int(slices[number % len(slices)])
    phantom = phantoms.draw(anatomy, seed, subject, view)
    image = prepare_pixels(phantom.image, anatomy, IMAGE_PX)
    scale = phantom.image.max() if anatomy == "brain" else 1.0  # a brain slice is min-max scaled
    return image, prepare_pixels(phantom.noise_free / scale, "folder", IMAGE_PX)
