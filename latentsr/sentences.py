"""Sentences whose figures and words of direction come from tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd


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
