"""Grading the answers of an exercise notebook, without giving any away.

What is right is worked out in the notebook, from the files of a run or by the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


def _empty(answer: object) -> bool:
    """Tell whether a reader has left an answer as it was shipped."""
    return answer is None or answer is ... or (isinstance(answer, str) and not answer.strip())


def _fault(answer: Any, expected: Any, tolerance: float) -> str | None:
    """Say what kind of thing is wrong with an answer: ``None`` for nothing, ``""`` for its value."""
    if isinstance(expected, set | frozenset):
        if isinstance(answer, str) or not isinstance(answer, Iterable):
            return f"a list of names is wanted, not {type(answer).__name__}"
        names = list(answer)
        if any(isinstance(name, list | dict | set) for name in names):
            return "a list of names is wanted, not a list of lists"
        return None if set(names) == expected else ""
    if isinstance(expected, str | bool | np.bool_):
        kind = str if isinstance(expected, str) else (bool, np.bool_)
        if not isinstance(answer, kind):
            wanted = "a word in quotes" if kind is str else "True or False"
            return f"{wanted} is wanted, not {type(answer).__name__}"
        same = str(answer).strip().lower() == str(expected).strip().lower()
        return None if same else ""
    try:
        given, right = np.asarray(answer, dtype=float), np.asarray(expected, dtype=float)
    except (TypeError, ValueError):
        return f"numbers are wanted, not {type(answer).__name__}"
    if given.shape != right.shape:
        words = [
            f"an array or list of shape {a.shape}" if a.shape else "one number"
            for a in (right, given)
        ]
        return f"{words[0]} is wanted, not {words[1]}"
    close = np.allclose(given, right, rtol=0, atol=tolerance, equal_nan=True)
    return None if close else ""


def check(
    number: int, answer: Any, expected: Any, *, tolerance: float = 1e-6, hint: str = "look again"
) -> str:
    """Grade a number, an array, a word, a truth value or (``expected`` a set) a list of names.

    An ``answer`` of ``...`` or ``None`` is none yet; ``tolerance`` is the largest absolute error of
    a number; ``hint`` is printed beside a wrong answer, and points at the way, not at the result.

    >>> check(1, ..., 28.3)
    '1: not answered yet'
    >>> check(1, 28.31, 28.3, tolerance=0.05)
    '1: right'
    >>> check(1, 2.8, 28.3, hint="a decibel is 10 times a decimal logarithm")
    '1: not yet: a decibel is 10 times a decimal logarithm'
    """
    if _empty(answer):
        return f"{number}: not answered yet"
    fault = _fault(answer, expected, tolerance)
    return f"{number}: right" if fault is None else f"{number}: not yet: {fault or hint}"


def choice(
    number: int,
    answer: Any,
    expected: str,
    because: Any,
    options: Sequence[str],
    *,
    hint: str = "look again",
) -> str:
    """Grade one of several ``options``, once the reader has said why.

    The reason itself is for the reader to compare with the solution.

    >>> choice(2, "a", "a", ..., "ab")
    '2: not answered yet'
    >>> choice(2, "c", "a", "it has fewer values", "ab")
    '2: not yet: answer with one of a, b'
    """
    if expected not in options:
        raise ValueError(f"exercise {number}: {expected!r} is not among {', '.join(options)}")
    if _empty(answer) or _empty(because):
        return f"{number}: not answered yet"
    if str(answer).strip().lower() not in [str(option).lower() for option in options]:
        return f"{number}: not yet: answer with one of {', '.join(options)}"
    return check(number, answer, expected, hint=hint)


def function(
    number: int,
    answer: Callable[..., Any],
    reference: Callable[..., Any],
    cases: Iterable[Sequence[Any]],
    *,
    tolerance: float = 1e-6,
    hint: str = "look again",
) -> str:
    """Grade a function that the reader writes, against ``reference`` on every tuple of ``cases``.

    One that returns ``None``, as a body of ``...`` does, is not answered. It gets copies of arrays.

    >>> function(3, lambda x: x + x, lambda x: 2 * x, [(1,), (2.5,)])
    '3: right'
    >>> function(3, lambda x: x / 0, lambda x: 2 * x, [(1,)])
    '3: not yet: it stopped with ZeroDivisionError: division by zero'
    """
    line = ""
    for case in cases:
        own = [np.copy(x) if isinstance(x, np.ndarray) else x for x in case]
        expected = reference(*case)
        try:
            value = answer(*own)
        except Exception as error:
            return f"{number}: not yet: it stopped with {type(error).__name__}: {error}"
        if value is None:
            return f"{number}: not answered yet: the function returns nothing"
        line = check(number, value, expected, tolerance=tolerance, hint=hint)
        if not line.endswith(": right"):
            return line
    if not line:
        raise ValueError(f"exercise {number}: no case to try; give at least one")
    return line
