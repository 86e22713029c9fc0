"""Signal that super-resolution adds or removes beyond an autoencoder's noise floor, and the audit
of how images are paired and whose floor is the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from latentsr.metrics import Floats, as_pair

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


def cohen_h(p1: ArrayLike, p2: ArrayLike) -> Floats:
    r"""Return Cohen's effect size for two proportions, :math:`2\arcsin\sqrt{p_1} - 2\arcsin\sqrt{p_2}`.

    Reference: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, ch. 6.

    >>> float(cohen_h(0.5, 0.25).round(4))
    0.5236
    """
    a, b = np.asarray(p1, np.float64), np.asarray(p2, np.float64)
    for value in (a, b):
        if not np.all((value >= 0) & (value <= 1)):
            raise ValueError(
                f"proportion: {value}, but 0 to 1 is allowed; give shares, not percent"
            )
    return np.asarray(2 * np.arcsin(np.sqrt(a)) - 2 * np.arcsin(np.sqrt(b)))


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
