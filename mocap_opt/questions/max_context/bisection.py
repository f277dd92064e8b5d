"""The last number with an answer: doubling steps, then bisection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def last_found(
    attempt: Callable[[int], Found | None], low: int, high: int, *, monotone: bool = True
) -> tuple[int, Found] | None:
    """Look for the greatest number in low .. high with an answer.

    Parameters
    ----------
    attempt : callable
        Asked at most once for each number.
    low, high : int
        Both included.
    monotone : bool
        Whether an answer at n means one at n - 1 too; then the result is the greatest number with
        an answer.  Otherwise every doubling is asked, and the result is a number with an answer
        whose successor has none (or is beyond `high`); others beyond it may have one.

    Returns
    -------
    (int, answer) or None
        None if no number asked about has an answer.
    """
    best: tuple[int, Found] | None = None
    beyond = high + 1
    for n in _doublings(low, high):
        found = attempt(n)
        if found is not None:
            best, beyond = (n, found), high + 1
        else:
            beyond = min(beyond, n)
            if monotone:
                break
    if best is None:
        return None
    while beyond - best[0] > 1:
        middle = (best[0] + beyond) // 2
        found = attempt(middle)
        if found is None:
            beyond = middle
        else:
            best = middle, found
    return best


def _doublings(low: int, high: int) -> list[int]:
    """List low, low + 1, low + 3, low + 7, ... and high at the end."""
    numbers = []
    step = 0
    while low + step < high:
        numbers.append(low + step)
        step = 2 * step + 1
    return [*numbers, high] if low <= high else []
