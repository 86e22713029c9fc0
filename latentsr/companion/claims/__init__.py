"""Evidence: each chapter's numbers in one long table, on which the ledger of claims joins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KEYS = "quantity reference factor variant dataset arm wavelet".split()  # one number each
NUMBERS = (
    "estimate low high level sign_low sign_high margin first second n_subjects n_images n_seeds "
    "n_vaes n_points n_groups p smallest_p detectable_db num_inference_steps within_slope "
    "within_low within_high left_out_rmse no_difference_rmse"
).split()
COLUMNS = [*KEYS, *NUMBERS, "reason"]


def write_evidence(rows: Any, outputs: Path, chapter: str) -> pd.DataFrame:
    """Write a chapter's numbers, a frame or dicts, to ``evidence/CHAPTER.csv`` and return them.

    ``reference`` is what a quantity is taken against (hr, reconstruction, bicubic), ``factor``
    what else tells it from its like, ``level`` the confidence of ``low`` and ``high``;
    ``sign_low`` and ``sign_high`` decide its sign where these do not.

    Raises
    ------
    ValueError
        When a column is unknown, a number is there twice, or lacks both estimate and ``reason``.
    """
    import pandas as pd

    frame = pd.DataFrame(rows)
    if unknown := [name for name in frame if name not in COLUMNS]:
        raise ValueError(f"evidence of chapter {chapter}: no column {unknown[0]}; use {COLUMNS}")
    frame = frame.reindex(columns=COLUMNS).fillna(dict.fromkeys([*KEYS, "reason"], ""))
    bare, twice = frame["estimate"].isna() & (frame["reason"] == ""), frame.duplicated(KEYS)
    for faulty, what in ((bare, "is NaN without a reason"), (twice, "is there twice")):
        for row in frame.loc[faulty, KEYS].astype(str).to_numpy():
            raise ValueError(
                f"evidence of chapter {chapter}: {', '.join(filter(None, row))} {what}"
            )
    path = outputs / "evidence" / f"{chapter}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return frame


def read_evidence(paths: Iterable[Path]) -> pd.DataFrame:
    """Read the evidence of some chapters as one table; an empty key is an empty text."""
    import pandas as pd

    tables = [
        pd.read_csv(
            path,
            dtype=dict.fromkeys([*KEYS, "reason"], str) | dict.fromkeys(NUMBERS, float),
            keep_default_na=False,
            na_values=dict.fromkeys(NUMBERS, [""]),
            float_precision="round_trip",
        )
        for path in paths
    ]
    return pd.concat(tables, ignore_index=True)


def summary(evidence: pd.DataFrame) -> pd.DataFrame:
    """Return a chapter's evidence as a small table, with a word on where the interval lies.

    Above or below zero, or the margin of a row that has one, or within that margin.

    >>> import pandas as pd
    >>> row = dict.fromkeys(KEYS, "") | {"estimate": 1.0, "low": 0.5, "high": 1.5, "n_subjects": 8}
    >>> summary(pd.DataFrame([row, row]).assign(margin=[0, 2]))["verdict"].tolist()
    ['above', 'within the margin']
    """
    import numpy as np

    from latentsr.plots.labels import worded

    table = evidence[evidence["wavelet"] == ""]
    low, high, margin = table["low"], table["high"], table["margin"].fillna(0)
    places = {
        "no interval": low.isna(),
        "above": low > margin,
        "below": high < -margin,
        "within the margin": (low > -margin) & (high < margin),
    }
    verdict = np.select(list(places.values()), list(places), "inconclusive")
    keys = [key for key in KEYS if (table[key] != "").any()] or KEYS[:1]
    columns = [*keys, "estimate", "low", "high", "n_subjects"]
    return worded(table[columns].assign(verdict=verdict).set_index(keys).round(3))
