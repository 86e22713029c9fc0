"""What a difference is made of: contrasts of the cells of a design, within subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr.stats.intervals import mean_interval

# Weights of (natural f8, phantom f8, natural f4, phantom f4).
CONTRASTS = {
    "domain": (-0.5, 0.5, -0.5, 0.5),
    "geometry": (-0.5, -0.5, 0.5, 0.5),
    "interaction": (1, -1, -1, 1),
    "domain_at_f8": (-1, 1, 0, 0),
    "domain_at_f4": (0, 0, -1, 1),
    "geometry_at_natural": (-1, 0, 1, 0),
    "geometry_at_phantom": (0, -1, 0, 1),
    "gap": (-1, 0, 0, 1),
}
# The same where the first factor is the target and the second the condition of a crossed arm.
CROSSED = {
    "target": CONTRASTS["domain"],
    "condition": CONTRASTS["geometry"],
    "interaction": CONTRASTS["interaction"],
    "target, seeing the first's latent": CONTRASTS["domain_at_f8"],
    "target, seeing the second's latent": CONTRASTS["domain_at_f4"],
    "condition, denoising the first's latent": CONTRASTS["geometry_at_natural"],
    "condition, denoising the second's latent": CONTRASTS["geometry_at_phantom"],
    "gap": CONTRASTS["gap"],
}


def cell_means(
    scored: pd.DataFrame, over: str | list[str], cells: Sequence[Any], measure: str = "psnr_db"
) -> pd.DataFrame:
    """Average each cell over a subject's images: ``(n_subjects, n_cells)``, in the order of ``cells``.

    ``over`` are the columns of per-image rows that hold a cell's name.

    >>> rows = {"vae": list("uuvv"), "image_id": [1, 2, 1, 2], "subject_id": "p", "x": [1, 2, 5, 6]}
    >>> cell_means(pd.DataFrame(rows), "vae", ["v", "u"], "x").values.tolist()
    [[5.5, 1.5]]
    """
    wide = scored.pivot(index=["subject_id", "image_id"], columns=over, values=measure)
    if missing := [cell for cell in cells if cell not in wide]:
        raise ValueError(f"no rows of {missing[0]}; the cells of the design are {list(cells)}")
    if wide[list(cells)].isna().any(axis=None):
        raise ValueError(f"the cells {list(cells)} were scored on different images")
    return wide[list(cells)].groupby("subject_id").mean()


def estimates(differences: pd.DataFrame, seed: int, confidence: float = 0.95) -> pd.DataFrame:
    """Return the mean over subjects of each column, a row each, with its `mean_interval`.

    >>> estimates(pd.DataFrame({"gap": [1.0, 2, 3, 4, 5, 6]}), seed=0).round(2).values.tolist()
    [['gap', 3.5, 1.54, 5.46, 'Student t', 6]]
    """
    rows = []
    for effect, d in differences.items():
        low, high, method = mean_interval(d, seed, confidence)
        row = {"effect": effect, "estimate": d.mean(), "low": low, "high": high}
        rows.append(row | {"interval_method": method, "n_subjects": len(d)})
    return pd.DataFrame(rows)


def contrasts(
    scored: pd.DataFrame,
    over: str | list[str],
    cells: Sequence[Any],
    weights: Mapping[str, Sequence[float]],
    measure: str = "psnr_db",
    by: Sequence[str] = (),
    *,
    seed: int,
    confidence: float = 0.95,
) -> pd.DataFrame:
    r"""Split a difference into contrasts of a factorial design (Fisher 1935, chapter 6).

    .. math:: d_i = \sum_c w_c \, y_{ic}, \quad \text{estimate} = \bar d

    over the cells c of a subject i, see `cell_means`; a split for every combination of the columns
    ``by``. With `CONTRASTS` main effects are averaged over the other factor, the interaction is
    domain at f4 minus domain at f8, and the gap is domain + geometry, or either path of simple
    effects. Columns ``by`` and those of `estimates`.

    >>> levels = {"n8": 0.0, "p8": 1.0, "n4": 2.0, "p4": 4.0}  # interaction 1
    >>> ids = pd.DataFrame({"image_id": range(6), "subject_id": range(6)})
    >>> scored = pd.concat(ids.assign(vae=vae, psnr_db=level) for vae, level in levels.items())
    >>> contrasts(scored, "vae", list(levels), CONTRASTS, seed=0)["estimate"].tolist()
    [1.5, 2.5, 1.0, 1.0, 2.0, 2.0, 3.0, 4.0]
    """
    tables = []
    for key, rows in scored.groupby(list(by), sort=False) if by else [((), scored)]:
        table = cell_means(rows, over, cells, measure).to_numpy()  # (n_subjects, n_cells)
        effects = {name: table @ np.asarray(w) for name, w in weights.items()}
        split = estimates(pd.DataFrame(effects), seed, confidence)
        keys: dict[str, Any] = dict(zip(by, key, strict=True))
        tables.append(split.assign(**keys))
    return pd.concat(tables, ignore_index=True)


def budget_paths(
    cells: pd.DataFrame,
    corners: Sequence[str],
    one_channel: Sequence[str],
    seed: int,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Split a difference into domain, resolution and latent size, along both paths (claim R4).

    Domain first goes from natural f8 over phantom f8 and phantom f4 with one channel to phantom
    f4; geometry first changes the domain last. An f4 latent of one channel holds as many values as
    an f8 latent of four.

    ``cells`` are `cell_means`, a column an autoencoder; ``corners`` natural f8, phantom f8, natural
    f4, phantom f4, and ``one_channel`` natural and phantom f4 of one channel. Columns ``part``,
    ``path`` ("domain first", "geometry first", their "mean", and "interaction", the first minus
    the second; a single path where only one was run), then `estimates`.

    >>> levels = {"n8": 0.0, "p8": 1.0, "n4": 2.0, "p4": 4.0, "n1": 0.3, "p1": 1.6}
    >>> cells = pd.DataFrame(levels, index=range(6))
    >>> paths = budget_paths(cells, ["n8", "p8", "n4", "p4"], ["n1", "p1"], seed=0)
    >>> paths[paths.path == "domain first"].set_index("part")["estimate"].round(2).to_dict()
    {'domain': 1.0, 'resolution': 0.6, 'budget': 2.4}
    """
    natural_8, phantom_8, natural_4, phantom_4 = corners
    natural_1, phantom_1 = one_channel
    paths = {
        "domain": [(natural_8, phantom_8), (natural_4, phantom_4)],
        "resolution": [(phantom_8, phantom_1), (natural_8, natural_1)],
        "budget": [(phantom_1, phantom_4), (natural_1, natural_4)],
    }
    tables = []
    for part, ends in paths.items():
        steps = {
            path: cells[end] - cells[start]
            for path, (start, end) in zip(("domain first", "geometry first"), ends, strict=True)
            if {start, end} <= set(cells)
        }
        if len(steps) == 2:
            one, other = steps.values()
            steps |= {"mean": (one + other) / 2, "interaction": one - other}
        table = estimates(pd.DataFrame(steps), seed, confidence)
        tables.append(table.rename(columns={"effect": "path"}).assign(part=part))
    return pd.concat(tables, ignore_index=True)
