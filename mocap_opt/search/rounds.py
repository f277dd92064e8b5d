"""Rounds of a search: how long they go on, and what is said of their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FRUITLESS = 4
"""Rounds in a row without anything better that end a search, once every start was used."""

STRONGEST = 4
"""Strength of a round's perturbation at most."""


def run_rounds(
    one_round: Callable[[int], None],
    *,
    value: Callable[[], Any],
    starts_left: Callable[[], bool],
    done: Callable[[], bool],
) -> str:
    """Go through rounds until done or until they bring nothing; return how they ended, as a note.

    Parameters
    ----------
    one_round : callable
        Takes the strength of its perturbation: 1, and one more for every round that brought nothing.
    value : callable
        What is to come down, comparable with itself.
    starts_left : callable
        Whether some start was not used yet: then the search goes on however little rounds bring.
    done : callable
        Whether time is up, the gap is closed, or the caller asked to stop.
    """
    rounds = fruitless = 0
    while not done() and (fruitless < FRUITLESS or starts_left()):
        before = value()
        one_round(min(1 + fruitless, STRONGEST))
        rounds += 1
        fruitless = 0 if value() < before else fruitless + 1
    why = "time was up, the gap was closed or a stop was asked for"
    if not done():
        why = f"every start was used, and {fruitless} rounds in a row brought nothing"
    return f"local search ended after {rounds} round{'s' * (rounds != 1)}: {why}"
