"""How much memory tables and searches may take, asked for before they are allocated.

Whoever is about to make something whose size grows with the square of the grid, or the like, says how large
it will be; above the budget `OverBudgetError` says so, and the heuristic, bound or program at hand has no
answer.  The budget belongs to the context (a thread, a task), like the precision of `decimal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mocap_opt.errors import InputError, MocapError, Problem
from mocap_opt.units import decimal_bytes

DEFAULT_BYTES = 4 * 2**30
"""The budget unless another is given."""

SHARE = 0.75
"""Part of the budget that one table or search may take; the rest is for the interpreter, the integer
tables and solvers."""

LEAST_BYTES = 2**28
"""No smaller budget is taken: the interpreter with its libraries has about as much."""

_budget: ContextVar[int] = ContextVar("memory budget", default=DEFAULT_BYTES)


class OverBudgetError(MocapError):
    """Something would outgrow the memory budget, and was not begun."""


def budget_bytes() -> int:
    """The budget in force, bytes."""
    return _budget.get()


@contextmanager
def memory_budget(size: int | None) -> Iterator[None]:
    """Put a budget in force.

    Parameters
    ----------
    size : int or None
        Bytes; None leaves that in force.

    Raises
    ------
    InputError
        If it is less than `LEAST_BYTES`.
    """
    if size is None:
        yield
        return
    if size < LEAST_BYTES:
        expected = f"at least {decimal_bytes(LEAST_BYTES)}"
        raise InputError([Problem("memory_budget", decimal_bytes(size), expected)])
    token = _budget.set(size)
    try:
        yield
    finally:
        _budget.reset(token)


def require_memory(what: str, entries: int, bytes_each: int = 8) -> None:
    """Make sure that something fits the budget before it is allocated.

    Parameters
    ----------
    what : str
        What it is, for the message.
    entries : int
        How many entries it has, its temporary copies included.
    bytes_each : int
        Bytes of an entry.

    Raises
    ------
    OverBudgetError
        If it does not fit.
    """
    needed, budget = int(entries) * bytes_each, budget_bytes()
    if needed > SHARE * budget:
        raise OverBudgetError(
            f"{what} would take {decimal_bytes(needed)}, too much for a memory budget of "
            f"{decimal_bytes(budget)} (raise --memory-budget, or chunking.quantum for a coarser grid)"
        )
