"""The gap of two arms in every wavelet band, tested over subjects; whether it turns by wavelet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from latentsr.plots.labels import in_words
from latentsr.stats import intervals as stats
from latentsr.stats import paired as paired_tests

TRIED = ("haar", "db4", "bior4.4")  # an image's bands are not those of another wavelet
HALVES = ("finest", "finest - rest")  # of claim C3


def with_halves(psnr_db: pd.DataFrame) -> pd.DataFrame:
    """Add to PSNR by band (columns, coarsest first) what claim C3 asks for, image by image.

    ``finest`` is the mean over the three bands of level 1, ``finest - rest`` that mean minus the
    mean over all others.

    >>> bands = pd.DataFrame({"LL1": [20.0], "LH1": [1.0], "HL1": [2.0], "HH1": [3.0]})
    >>> with_halves(bands)[["finest", "finest - rest"]].iloc[0].tolist()
    [2.0, -18.0]
    """
    finest = psnr_db.iloc[:, -3:].mean(axis=1)
    rest = psnr_db.iloc[:, :-3].mean(axis=1)
    return psnr_db.assign(**{"finest": finest, "finest - rest": finest - rest})


def over_subjects(
    first: pd.DataFrame, second: pd.DataFrame, subjects: Sequence[str], seed: int, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield a row a column of `with_halves`: the gap, second minus first, over subjects.

    The tables are per image, in the same order. An image with a band that cannot be scored in one
    of them is left out of all (``n_left_out``). Wilcoxon's p is nan below six subjects.
    """
    gap = second - first
    known = np.isfinite(gap.to_numpy()).all(axis=1)
    owners = list(np.asarray(subjects)[known])
    for band in gap:
        d, *levels = (
            stats.subject_means(side[band][known], owners) for side in (gap, first, second)
        )
        low, high, method = stats.mean_interval(d, seed, confidence)
        row = {"band": band, "gap_db": d.mean(), "low": low, "high": high}
        row |= {"interval_method": method, "n_subjects": len(d)}
        row |= dict(zip(("first", "second"), [level.mean() for level in levels], strict=True))
        row["p"] = paired_tests.wilcoxon(d)[0] if len(d) >= stats.MIN_SUBJECTS else np.nan
        yield row | {"n_images": int(known.sum()), "n_left_out": int((~known).sum())}


def sign(low: float, high: float) -> str:
    """Write on which side of zero an interval lies: + or -, 0 where it holds it, ? for none.

    >>> sign(0.1, 0.2), sign(-0.2, -0.1), sign(-0.1, 0.1), sign(float("nan"), float("nan"))
    ('+', '-', '0', '?')
    """
    if low != low:
        return "?"
    return "+" if low > 0 else "-" if high < 0 else "0"


def signs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the `sign` of every gap: rows dataset, arm and wavelet, a column a band."""
    signed = table.assign(sign=[sign(*ends) for ends in zip(table.low, table.high, strict=True)])
    index = ["dataset", "arm", "wavelet"]
    wide = signed.pivot(index=index, columns="band", values="sign")
    order = [
        list(dict.fromkeys(map(tuple, table[index].to_numpy()))),
        list(dict.fromkeys(table.band)),
    ]
    return wide.loc[order[0], order[1]]


def turns(table: pd.DataFrame) -> Iterator[str]:
    """Say where a half of claim C3 lies on another side of zero with another wavelet."""
    halves: Mapping[Any, pd.DataFrame] = dict(
        list(table[table.band.isin(HALVES)].groupby(["dataset", "arm", "band"], sort=False))
    )
    for (name, arm, band), rows in halves.items():
        if len({sign(*ends) for ends in zip(rows.low, rows.high, strict=True)}) > 1:
            told = [
                f"{r.wavelet} {r.gap_db:+.2f} [{r.low:.2f}, {r.high:.2f}]"
                for r in rows.itertuples()
            ]
            yield f"{name}, {in_words(arm)}, {band}: {', '.join(told)} dB"
