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
    """Return what a chapter found as a small table: estimate, interval and a word.

    The word says where the whole interval lies: of zero, or of the margin where there is one.

    >>> import pandas as pd
    >>> keys = dict.fromkeys(KEYS, "x")
    >>> row = keys | dict.fromkeys(NUMBERS, 0.0) | {"estimate": 1.0, "low": 0.5, "high": 1.5}
    >>> summary(pd.DataFrame([row, row | {"margin": 2.0}]))["verdict"].tolist()
    ['above zero', 'within the margin']
    """
    import numpy as np

    from latentsr.plots.labels import worded

    table = evidence[evidence["wavelet"] == ""] if (evidence["wavelet"] == "").any() else evidence
    margin = table["margin"].fillna(0)
    held = margin > 0
    verdict = np.select(
        [
            table["low"].isna(),
            held & (table["low"] > -margin) & (table["high"] < margin),
            table["low"] > margin,
            table["high"] < -margin,
        ],
        ["no interval", "within the margin", "above", "below"],
        "inconclusive",
    )
    beyond = np.where(held, " the margin", " zero")
    words = np.where(np.isin(verdict, ["above", "below"]), np.char.add(verdict, beyond), verdict)
    keys = [key for key in KEYS if (table[key] != "").any() and key != "wavelet"]
    ends = ["estimate", "low", "high", "n_subjects"]
    return worded(table.assign(verdict=words).set_index(keys)[[*ends, "verdict"]].round(3))
