"""Signal that super-resolution adds or removes beyond an autoencoder's noise floor, and what
becomes of it when images are paired by their place in a list of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latentsr.metrics.image import as_pair

Name = TypeVar("Name")


def noise_floor(decoded: ArrayLike, hr: ArrayLike, floor_sd: float = 2.0) -> float:
    """Return mean + floor_sd * SD of ``|decode(encode(HR)) - HR|`` over all pixels ``(N, H, W)``.

    The threshold of the paper (arXiv 2604.12152).

    >>> noise_floor([[0.1, 0.3]], [[0.0, 0.0]])  # mean 0.2, SD 0.1
    0.4
    """
    error = np.abs(np.subtract(*as_pair(decoded, hr)))
    return float(error.mean() + floor_sd * error.std())


def rates(
    sr: ArrayLike, hr: ArrayLike, threshold: float, region: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Measure added and removed signal image by image, ``(N, H, W)`` in, N rows out.

    A pixel is hallucinated (signal added) where SR - HR > threshold and lost where HR - SR >
    threshold (arXiv 2604.12152; see `noise_floor`). ``hallucination_rate`` and ``loss_rate`` are
    shares of the image's pixels, ``*_magnitude`` the difference summed over those pixels and
    divided by all pixels of the image (magnitude / rate is the mean difference within the mask).
    With a ``region`` ``(N, H, W)`` its pixels alone count; nan for an image that has none.

    >>> sr, hr = [[[0.5, 0.0], [0.5, 0.5]]], [[[0.1, 0.6], [0.5, 0.45]]]
    >>> rates(sr, hr, threshold=0.1).round(6).values
    array([[0.25, 0.1 , 0.25, 0.15]])
    """
    difference = np.subtract(*as_pair(sr, hr))
    inside = np.ones(difference.shape, bool) if region is None else region
    pixels = inside.sum(axis=(-2, -1))
    columns = {}
    for name, signed in (("hallucination", difference), ("loss", -difference)):
        mask = (signed > threshold) & inside
        with np.errstate(invalid="ignore"):
            columns[f"{name}_rate"] = mask.sum(axis=(-2, -1)) / pixels
            columns[f"{name}_magnitude"] = np.where(mask, signed, 0).sum(axis=(-2, -1)) / pixels
    return pd.DataFrame(columns)


def lexicographic_misalignment(names: Sequence[Name]) -> tuple[list[Name], float]:
    """Return the name that lookup by position gives to each image, and the share that change.

    Image i lies in the file ``hr_i``. A reader that lists the files lexicographically (hr_0, hr_1,
    hr_10, hr_2, ...) and takes line k of `names` (true name of image k) for the k-th file gives
    most images another one's name as soon as there are eleven.

    >>> assigned, share = lexicographic_misalignment(range(11))
    >>> assigned, round(share * 11)
    ([0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2], 9)
    """
    if (different := len(set(names))) != len(names) or not names:
        raise ValueError(f"names: {different} different of {len(names)}; each image needs its own")
    listing = sorted(range(len(names)), key=lambda i: f"hr_{i}.npy")
    by_image = dict(zip(listing, names, strict=True))  # k-th file listed <- line k
    assigned = [by_image[i] for i in range(len(names))]
    changed = sum(a != name for a, name in zip(assigned, names, strict=True))
    return assigned, changed / len(names)


def partial_misalignment(count: int, share: float, seed: int) -> NDArray[np.int_]:
    """Return whose image each of ``count`` is paired with when only part of the names change.

    ``share`` (0 to 1) of the images that `lexicographic_misalignment` moves, chosen by ``seed``,
    get the next of the chosen ones along the rule's own cycle; the others stay. 1 is the rule.

    >>> partial_misalignment(12, 0.0, 0).tolist() == list(range(12))
    True
    >>> partial_misalignment(12, 1.0, 0).tolist() == lexicographic_misalignment(range(12))[0]
    True
    """
    following = lexicographic_misalignment(range(count))[0]
    rows = np.arange(count)
    moved = np.flatnonzero(following != rows)
    order = np.random.default_rng(seed).permutation(moved)
    chosen = set(order[: round(share * len(moved))].tolist())
    for row in chosen:
        partner = following[row]
        while partner not in chosen:
            partner = following[partner]
        rows[row] = partner
    return rows
