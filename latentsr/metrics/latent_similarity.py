"""How near a latent comes to that of the true image, at several scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from latentsr import io as scores
from latentsr.metrics.image import Floats
from latentsr.plots import style as figures
from latentsr.plots.labels import in_words
from latentsr.stats import intervals as stats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = (1, 2, 4)  # places of a latent that are averaged along each side
MEASURES = ["psnr_db", "cosine", "cosine_by_place"]


def pooled(latents: ArrayLike, by: int) -> Floats:
    """Average ``by`` x ``by`` places of latents ``(N, C, h, w)``.

    >>> pooled(np.arange(4.0).reshape(1, 1, 2, 2), 2).tolist()
    [[[[1.5]]]]
    """
    z = np.asarray(latents, np.float64)
    count, channels, height, width = z.shape
    if height % by or width % by:
        raise ValueError(f"latents of {height} x {width}: {by} does not divide both sides")
    blocks = z.reshape(count, channels, height // by, by, width // by, by)  # (N, C, h', by, w', by)
    return np.asarray(blocks.mean(axis=(3, 5)))


def cosine(a: Floats, b: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Return the cosine of the angle between a and b over some axes; 0 where one is all 0.

    >>> cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0]), 0).item()
    0.96
    """
    size = np.sqrt((a**2).sum(axis) * (b**2).sum(axis))
    return np.asarray((a * b).sum(axis) / np.where(size > 0, size, 1))


def compare(latents: ArrayLike, reference: ArrayLike, by: int = 1) -> dict[str, Floats]:
    r"""Compare latents ``(N, C, h, w)`` with those of the true images, a number an image.

    Both are averaged over ``by`` x ``by`` places first. Then

    .. math:: \mathrm{PSNR} = 10 \log_{10}(R^2 / \mathrm{MSE})

    in dB, with the MSE over an image's whole latent and R the range (largest less smallest) of
    all reference latents at this scale; the cosine of the angle between the two latents, over all
    of an image's numbers; and the same over the channels of a place, averaged over places. Latents
    are neither centred nor scaled.

    >>> z = np.zeros((1, 2, 1, 1)); z[0, 0] = 1.0
    >>> {k: v.round(2).item() for k, v in compare(z + 0.1, z).items()}
    {'psnr_db': 20.0, 'cosine': 1.0, 'cosine_by_place': 1.0}
    """
    a, b = pooled(latents, by), pooled(reference, by)
    if a.shape != b.shape:
        raise ValueError(f"latents {a.shape}, reference {b.shape}: pair them by image id first")
    mse = ((a - b) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        psnr_db = 10 * np.log10(np.ptp(b) ** 2 / mse)
    by_place = cosine(a, b, 1).mean(axis=(1, 2))
    return {"psnr_db": psnr_db, "cosine": cosine(a, b, (1, 2, 3)), "cosine_by_place": by_place}


def of_run(
    results: Path,
    folders: Mapping[str, str],
    sets: Iterable[str],
    seed: int,
    confidence: float,
) -> pd.DataFrame:
    """Compare every arm's latents with the HR images', means over subjects.

    Arm "bicubic" is the latent of the enlarged LR image: what no diffusion gives. Columns dataset,
    vae, arm, pooled_by, the three measures, n_subjects, and the interval of the PSNR. ``folders``
    says where an autoencoder's arms lie below a set's folder.
    """
    rows = []
    for name in sets:
        prepared = scores.read_arrays(results / "data" / name)
        test = prepared["split"] == "test"
        subjects = list(prepared["subject_id"][test])
        for vae, folder in folders.items():
            codes = scores.read_arrays(results / "autoencoders" / name / "latents" / vae)
            hr = codes["hr"][test]
            arms = {"bicubic": codes["upsampled"][test]}
            kept = scores.read_arrays(results / "arms" / name / folder / "latents.npz")
            if list(kept.pop("image_id")) != list(prepared["image_id"][test]):
                raise ValueError(f"{name}, {vae}: its latents are not those of the test images")
            for (arm, z), by in ((item, by) for item in (arms | kept).items() for by in SCALES):
                found = pd.DataFrame(compare(z, hr, by)).groupby(np.array(subjects)).mean()
                low, high, _ = stats.mean_interval(found["psnr_db"], seed, confidence)
                row = {"dataset": name, "vae": vae, "arm": arm, "pooled_by": by, **found.mean()}
                rows.append({**row, "low": low, "high": high, "n_subjects": len(found)})
    return pd.DataFrame(rows)


def nearer_than_bicubic(table: pd.DataFrame) -> str:
    """Say at which scales how many arms' latents come nearer, in PSNR, than the enlarged LR's."""
    wide = table.pivot(index=["pooled_by", "dataset", "vae"], columns="arm", values="psnr_db")
    arms, said = wide.drop(columns="bicubic"), []
    nearer = arms.gt(wide["bicubic"], axis=0)  # False where there is no such arm
    for by in sorted(table["pooled_by"].unique()):
        said.append(f"pooled by {by}: {nearer.loc[by].sum().sum()} of {arms.loc[by].count().sum()}")
    return "latents nearer to the true one than that of enlarged LR: " + ", ".join(said)


def _drawn(table: pd.DataFrame, last: str) -> pd.DataFrame:
    return table[table["arm"].isin(["bicubic", "released", last])]


def told(table: pd.DataFrame, last: str) -> str:
    """Say for an alternative text what `draw` shows, a cosine with the side it is pooled by.

    >>> row = {"dataset": "knee", "vae": "a", "pooled_by": 4, "cosine": 0.5}
    >>> told(pd.DataFrame([{**row, "arm": "x"}, {**row, "arm": "y", "cosine": 0.9}]), "x")[-17:]
    'cosines are 0.50.'
    """
    keys = ["dataset", "vae", "arm", "pooled_by"]
    shown = _drawn(table, last).set_index(keys)["cosine"]
    sides = {by: f"{by} place{'s' if by > 1 else ''} along a side" for by in set(table.pooled_by)}
    return (
        f"PSNR and cosine of the latents of the released arm and of {in_words(last)} with the true ones, and "
        "those of enlarged LR, averaged at three scales; cosines are "
        f"{figures.span(shown.rename(sides, level='pooled_by'), '.2f', '')}."
    )


def draw(table: pd.DataFrame, titles: Mapping[str, str], last: str) -> Figure:
    """Draw PSNR and cosine (rows) along the scales, a column a set.

    Arm ``last`` is filled, "released" hollow and dotted, "bicubic" a pale line; other arms are
    left out.
    """
    figure, axes = figures.panels(titles, 5.6, 2, sharey="row")
    styles: dict[str, dict[str, Any]] = {
        "bicubic": {"ls": "--", "lw": 1, "alpha": 0.6, "marker": "x", "ms": 4},
        "released": {"ls": ":", "marker": "o", "mfc": "white"},
        last: {"ls": "-", "marker": "o"},
    }
    for column, name in zip(axes.T, titles, strict=True):
        rows = _drawn(table[table["dataset"] == name], last)
        for (vae, arm), part in rows.groupby(["vae", "arm"], sort=False):
            label = f"{vae}, {in_words(str(arm))}"
            style = styles[str(arm)] | {"color": figures.colour(str(vae)), "label": label}
            for axis, measure in zip(column, MEASURES, strict=False):
                axis.plot(part["pooled_by"], part[measure], **style)
        for axis in column:
            axis.set_xscale("log", base=2)
            axis.set_xticks(places := sorted(rows["pooled_by"].unique()), places)
            axis.minorticks_off()
        column[0].set_title(titles[name])
    figures.label_below(axes, "places of the latent averaged along a side")
    axes[0, 0].set_ylabel("PSNR of the latent, dB")
    axes[1, 0].set_ylabel("cosine with the true latent")
    figures.legend_below(figure, axes[0, 0])
    return figure
