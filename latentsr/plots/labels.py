"""Words for readers: names of arms, and sentences whose figures and direction come from tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

CONDITION_LABELS = {  # as they stand beside a panel
    "released": "as released\n(walk spaced)",
    "lr_latent": "LR latent\n(the released way)",
    "upsampled_latent": "latent of\nupsampled LR",
    "lr_pixels": "LR pixels\n(controlled)",
}
ARM_LABELS = CONDITION_LABELS | {
    "longer": "LR pixels, longer",
    "second_seed": "LR pixels, second seed",
    "third_seed": "LR pixels, third seed",
}
MEASURES = {  # of PSNR, and what each is taken against
    "psnr_db": "against the true HR image",
    "psnr_own_decode_db": "against the own decode",
}


def in_words(arm: Any) -> Any:
    """Name an arm, or one minus another, in words, on one line; all else stays as it is.

    >>> in_words("geometry: released - lr_pixels"), in_words("longer"), in_words(0.5)
    ('geometry: as released - LR pixels', 'LR pixels, longer', 0.5)
    """
    if not isinstance(arm, str):
        return arm
    *what, arms = arm.split(": ")
    parts = (ARM_LABELS.get(part, part).split("\n(")[0] for part in arms.split(" - "))
    return ": ".join([*what, " - ".join(parts)]).replace("\n", " ")


def worded(table: pd.DataFrame) -> pd.DataFrame:
    """Name arms and measures of PSNR in words, in a table's rows and columns: files keep the keys.

    >>> rows = pd.MultiIndex.from_tuples([("psnr_db", "lr_pixels")], names=["measure", "arm"])
    >>> worded(pd.DataFrame({"gap": [1.0]}, index=rows)).index[0]
    ('PSNR against the true HR image, dB', 'LR pixels')
    """
    if "measure" in table.index.names:
        said = {key: f"PSNR {words}, dB" for key, words in MEASURES.items()}
        table = table.rename(index=said, level="measure")
    return table.rename(index=in_words, columns=in_words)


def listed(names: Iterable[Any]) -> str:
    """Join names as a sentence does.

    >>> listed(["knee", "brain", "chest"]), listed(["knee"]), listed([])
    ('knee, brain and chest', 'knee', 'none')
    """
    *most, last = [str(name) for name in names] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def span(values: Iterable[float], form: str = "+.2f", unit: str = " dB") -> str:
    """Write the least and the largest of some values, or the one there is.

    >>> span([0.5, -1.25]), span([0.5, 0.501])
    ('-1.25 to +0.50 dB', '+0.50 dB')
    """
    ends = [format(end(list(values)), form) for end in (min, max)]
    return " to ".join(dict.fromkeys(ends)) + unit


def by_sets(rows: pd.DataFrame, value: str, form: str = "+.2f", unit: str = " dB") -> str:
    """Say on which sets a difference is above zero, and on which below, by its whole interval.

    Parameters
    ----------
    rows : DataFrame
        One row a set: ``dataset``, ``low``, ``high`` and the column ``value``.

    Examples
    --------
    >>> rows = pd.DataFrame({"dataset": ["a", "b", "c"], "gap": [1, -2, 0.1]})
    >>> by_sets(rows.assign(low=[0.5, -3, -1], high=[2, -1, 1]), "gap")
    'above zero on a (+1.00 dB), below zero on b (-2.00 dB), not told from zero on c (+0.10 dB)'
    >>> by_sets(rows.assign(low=float("nan"), high=float("nan")), "gap")
    'without an interval on a, b and c (-2.00 to +1.00 dB)'
    """
    bare = rows["low"].isna()
    up, down = rows["low"] > 0, rows["high"] < 0
    kinds = {
        "above zero on": up,
        "below zero on": down,
        "not told from zero on": ~(up | down | bare),
        "without an interval on": bare,
    }
    return ", ".join(
        f"{words} {listed(rows.loc[which, 'dataset'])} ({span(rows.loc[which, value], form, unit)})"
        for words, which in kinds.items()
        if which.any()
    )


def told(sentences: Sequence[str]) -> Any:
    """Show sentences as a list, in JupyterLab and in the book."""
    from IPython.display import Markdown

    return Markdown("\n".join(f"- {sentence}" for sentence in sentences))
