"""Signal that super-resolution adds or removes beyond an autoencoder's noise floor, and the audit
of how images are paired and whose floor is the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from latentsr.metrics import as_pair

Name = TypeVar("Name")


def noise_floor(decoded: ArrayLike, hr: ArrayLike, floor_sd: float = 2.0) -> float:
    """Return mean + floor_sd * SD of ``|decode(encode(HR)) - HR|`` over all pixels ``(N, H, W)``.

    >>> noise_floor([[0.1, 0.3]], [[0.0, 0.0]])  # mean 0.2, SD 0.1
    0.4
    """
    error = np.abs(np.subtract(*as_pair(decoded, hr)))
    return float(error.mean() + floor_sd * error.std())


def rates(sr: ArrayLike, hr: ArrayLike, floor: float) -> pd.DataFrame:
    """Measure added and removed signal image by image.

    A pixel is hallucinated (signal added) where SR - HR > floor and lost (signal removed) where
    HR - SR > floor (see `noise_floor`); `sr` and `hr` are ``(N, H, W)``. Returns N rows:
    ``hallucination_rate`` and ``loss_rate``, shares of the image's pixels, ``*_magnitude``, the
    difference summed over those pixels and divided by all pixels of the image (0 where there are
    none; magnitude / rate is the mean difference within the mask).

    >>> rates([[[0.5, 0.0], [0.5, 0.5]]], [[[0.1, 0.6], [0.5, 0.45]]], floor=0.1).round(6).values
    array([[0.25, 0.1 , 0.25, 0.15]])
    """
    difference = np.subtract(*as_pair(sr, hr))
    columns = {}
    for name, signed in (("hallucination", difference), ("loss", -difference)):
        mask = signed > floor
        columns[f"{name}_rate"] = mask.mean(axis=(-2, -1))
        columns[f"{name}_magnitude"] = np.where(mask, signed, 0).mean(axis=(-2, -1))
    return pd.DataFrame(columns)


def position_rule(names: Sequence[Name]) -> tuple[list[Name], float]:
    """Return the name that lookup by position gives to each image, and the share that move.

    Image i lies in the file ``hr_i``. A reader that lists the files lexicographically (hr_0, hr_1,
    hr_10, hr_2, ...) and takes line k of `names` (true name of image k) for the k-th file gives
    most images another one's name as soon as there are eleven.

    >>> given, share = position_rule(range(11))
    >>> given, round(share * 11)
    ([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2], 9)
    """
    if len(set(names)) != len(names) or not names:
        raise ValueError(
            f"names: {len(set(names))} different of {len(names)}, but each image needs its own"
        )
    listing = sorted(range(len(names)), key=lambda i: f"hr_{i}.npy")
    given = dict(zip(listing, names, strict=True))  # k-th file listed <- line k
    moved = sum(given[i] != name for i, name in enumerate(names))
    return [given[i] for i in range(len(names))], moved / len(names)
