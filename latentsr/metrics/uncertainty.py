"""Does the spread between samples show where something was lost or invented? AUROC by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import rankdata

from latentsr.metrics import lesion_search, lesions
from latentsr.metrics.image import Floats
from latentsr.metrics.lesions import Lesion
from latentsr.plots import style as figures
from latentsr.plots.labels import in_words
from latentsr.stats import intervals as stats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOST = 0.5  # a lesion is lost where less of its contrast arrives
Images = NDArray[np.float32]


def between_samples(samples: ArrayLike) -> Floats:
    """Return the SD (k - 1) over samples ``(K, N, H, W)`` of the same images, ``(N, H, W)``."""
    return np.asarray(np.std(np.asarray(samples, np.float64), axis=0, ddof=1))


def auroc(scores: ArrayLike, is_place: ArrayLike) -> float:
    r"""Return the chance that a place sought scores higher than another, ties counting half.

    .. math:: A = (R - m (m + 1) / 2) / (m n)

    with R the sum of the ranks of the m places sought among all m + n (Hanley and McNeil 1982);
    nan where either is missing.

    >>> auroc([0.9, 0.4, 0.6, 0.1], [True, True, False, False])
    0.75
    """
    values, sought = np.asarray(scores, np.float64).ravel(), np.asarray(is_place, bool).ravel()
    m, n = int(sought.sum()), int((~sought).sum())
    if not m or not n:
        return float("nan")
    return float((rankdata(values)[sought].sum() - m * (m + 1) / 2) / (m * n))


def at_lesion(scores: Floats, image: Images, lesion: Lesion) -> float:
    """Return the AUROC of a lesion's place among all places of its image where one could be.

    ``scores`` ``(H, W)`` are averaged with the lesion's own Gaussian first; places within three SD
    of it count as neither.
    """
    smooth = ndimage.gaussian_filter(scores, lesion.sd_px)
    rows, columns = np.nonzero(lesions.possible(image, lesion.sd_px))
    far = np.hypot(rows - lesion.row, columns - lesion.column) > 3 * lesion.sd_px
    others = smooth[rows[far], columns[far]]
    sought = np.arange(len(others) + 1) == 0
    return auroc(np.concatenate([[smooth[lesion.row, lesion.column]], others]), sought)


def at_inventions(
    scores: Floats, sr: Images, hr: Images, sd_px: float, contrast: float
) -> tuple[float, int]:
    """Return the AUROC of an image's invented spots among its other places, and how many.

    A spot is invented where the filter of `lesion_search.spot_filter` answers by ``contrast`` more
    in SR than in HR, as it would to a planted lesion, at a place that no other within three SD
    exceeds; places that answer as strongly beside one count as neither.
    """
    smooth, where = ndimage.gaussian_filter(scores, sd_px), lesions.possible(hr, sd_px)
    more = lesion_search.answers(sr - hr.astype(np.float64), lesion_search.spot_filter(sd_px))
    found = lesion_search.marks(more, sd_px, where)
    rows, columns = found[found[:, 0] > contrast, 1:].astype(int).T
    others = smooth[where & (more <= contrast)]
    values = np.concatenate([smooth[rows, columns], others])
    return auroc(values, np.arange(len(values)) < len(rows)), len(rows)


def table(
    samples: Images, hr: Images, spots: Sequence[Lesion], free: int, seed: int, confidence: float
) -> pd.DataFrame:
    """Judge the SD between samples, and the signed error behind the paper's mask, by subject.

    ``samples`` ``(K, M, H, W)`` and ``hr`` hold ``free`` lesion-free images, then one image a
    lesion of ``spots``, all of one size; the first sample is the arm's own. Rows "loss" (lesions of
    which less than half arrives) and "invention" (lesion-free images). Columns what, auroc_sd with
    low and high, auroc_twin (loss: the same place in the image without the lesion), auroc_error
    (HR - SR for loss, SR - HR for invention: it sees HR), n_places (lesions or spots), n_images and
    n_subjects: those that have such a place.
    """
    spread, sr = between_samples(samples), samples[0]
    lost: list[tuple[float, ...]] = []
    made: list[tuple[float, ...]] = []
    for place, spot in enumerate(spots, start=free):
        pair = (sr[place], sr[spot.image], hr[place], hr[spot.image])
        if lesions.contrast_transfer(*pair, spot) < LOST:
            maps = spread[place], spread[spot.image], hr[place] - sr[place].astype(np.float64)
            found = (at_lesion(one, hr[spot.image], spot) for one in maps)
            lost.append((spot.image, 1, *found))
    sd_px, contrast = spots[0].sd_px, float(np.mean([spot.contrast for spot in spots]))
    for image in range(free):
        one = sr[image], hr[image], sd_px, contrast
        by_spread, count = at_inventions(spread[image], *one)
        by_error, _ = at_inventions(sr[image] - hr[image].astype(np.float64), *one)
        made.append((image, count, by_spread, np.nan, by_error))
    rows = []
    names = ["image", "n_places", "auroc_sd", "auroc_twin", "auroc_error"]
    for what, rows_of in (("loss", lost), ("invention", made)):
        all_places = pd.DataFrame(rows_of, columns=names)
        each = all_places.dropna(subset="auroc_sd")
        means = each.groupby("image")[names[2:]].mean()
        low, high, _ = stats.mean_interval(means["auroc_sd"], seed, confidence)
        low, high = max(low, 0.0), min(high, 1.0)  # t's interval knows no bounds
        sizes = {"n_places": int(all_places["n_places"].sum())}
        sizes["n_images"] = free
        row = {"what": what, **means.mean(), "low": low, "high": high, **sizes}
        rows.append({**row, "n_subjects": len(means)})
    return pd.DataFrame(rows)


def told(found: pd.DataFrame) -> list[str]:
    """Say where the AUROCs of `table` lie over sets and arms, a sentence a kind of place.

    Of lesions also how far they lie from their twins', of spots how many an image has.
    """
    said = []
    for what, rows in found.dropna(subset="auroc_sd").groupby("what", sort=False):
        each = rows["n_places"] / rows["n_images"]
        twin = (rows["auroc_sd"] - rows["auroc_twin"]).abs().max()
        low, high = rows["auroc_sd"].min(), rows["auroc_sd"].max()
        is_loss = f", {twin:.2f} at most from the twin's"
        is_spot = f"; {each.min():.1f} to {each.max():.1f} spots an image"
        more = is_loss if what == "loss" else is_spot
        said.append(f"{what}: AUROC {low:.2f} to {high:.2f} over sets and arms{more}")
    return said


def draw(found: pd.DataFrame, titles: Mapping[str, str], last: str) -> Figure:
    """Draw AUROCs of `table`, columns dataset, arm and vae beside; a column of panels a set.

    Hollow: SD between samples in arm ``last``, filled: in another; dash: the lesion-free twin at
    the same place; cross: the error that sees HR.
    """
    figure, axes = figures.panels(titles, 3.8, sharey=True)
    kinds = list(dict.fromkeys(zip(found["vae"], found["arm"], strict=True)))
    for axis, name in zip(axes[0], titles, strict=True):
        for row in found[found["dataset"] == name].to_dict("records"):
            step = kinds.index((row["vae"], row["arm"])) - (len(kinds) - 1) / 2
            x, tone = ("loss", "invention").index(row["what"]) + 0.18 * step, row["vae"]
            tone = figures.colour(tone)
            style: dict[str, Any] = {"color": tone, "mfc": "white" if row["arm"] == last else tone}
            bars = [[row["auroc_sd"] - row["low"]], [row["high"] - row["auroc_sd"]]]
            label = f"{row['vae']}, {in_words(row['arm'])}: SD of samples"
            axis.errorbar(x, row["auroc_sd"], bars, fmt="o", capsize=2, label=label, **style)
            axis.plot(x, row["auroc_twin"], "_", ms=12, color=tone, label="twin without lesion")
            axis.plot(x, row["auroc_error"], "x", color="black", label="error (sees HR)")
        axis.axhline(0.5, color="black", lw=0.8)
        axis.set_xticks((0, 1), ("lesions lost", "spots invented"))
        axis.set(xlim=(-0.5, 1.5), ylim=(0, 1.02), title=titles[name])
    axes[0, 0].set_ylabel("AUROC")
    figures.legend_below(figure, axes[0, 0])
    return figure
