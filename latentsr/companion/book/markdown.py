"""Tables in Markdown."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd


def escaped(value: Any) -> str:
    r"""Write a cell of a table: four significant digits, Markdown's own characters disarmed.

    Examples
    --------
    >>> escaped(23.45678), escaped(float("nan")), escaped("a_b"), escaped(3.0)
    ('23.46', '–', 'a\\_b', '3')
    """
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return re.sub(r"([\\|*_$<>\[\]`{}~^#@])", r"\\\1", str(value)).replace("\n", " ")


def markdown_table(table: pd.DataFrame) -> str:
    """Write a table in Markdown; columns of numbers are aligned to the right."""
    kinds = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    rows = [[escaped(name) for name in table.columns], ["--:" if kind else ":--" for kind in kinds]]
    rows += [[escaped(value) for value in row] for row in table.itertuples(index=False)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n"
