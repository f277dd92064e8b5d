"""The longest prompt in exactly M equal chunks: the homes alone decide (formulations/max_length.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.baselines import HOME_RULES
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.errors import InputError, Problem
from mocap_opt.questions.max_context.instance_family import LengthFamily, last_found, pooled_room
from mocap_opt.questions.max_context.result import (
    TIME_WAS_UP,
    LongestPrompt,
    Obstacle,
    Point,
    memory_obstacle,
)
from mocap_opt.replay.evaluation import assess
from mocap_opt.schedule.plan import Plan
from mocap_opt.stopping import AskedToStop, Deadline, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

EQUAL_METHODS: dict[str, tuple[str, ...]] = {
    "uniform": ("local",),
    "mocap": ("mbkr",),
    "search-mirror": ("mirror",),
    "uniform-greedy": ("greedy",),
    "joint": ("local", "mbkr", "greedy", "mirror", "program"),
}
"""Rules of homes by method, tried in order; on equal chunks methods differ in nothing else."""


def equal_at(family: LengthFamily, steps: int) -> Tables:
    """Tables of M chunks of equal length, M exact.

    Parameters
    ----------
    family : LengthFamily
    steps : int
        Of each chunk, grid steps.
    """
    longest = family.longest
    return replace(family.at(longest.max_chunks * steps * longest.quantum), exact_chunks=True)


def boundaries(tables: Tables) -> IntArray:
    """Boundaries of M equal chunks, int64[M + 1], grid indices."""
    each = tables.steps // tables.max_chunks
    return np.arange(tables.max_chunks + 1, dtype=np.int64) * each


def pooled_memory_obstacle(tables: Tables) -> Obstacle | None:
    """The first slot in which all memories together cannot hold M equal chunks, if there is one.

    A proof that no homes exist.
    """
    memory, marks, tokens = PooledMemory.of(tables), boundaries(tables), tables.tokens
    length = tokens // tables.max_chunks
    short = tables.prefix_bytes - memory.free(length)
    if short.max() > 0:
        k = int(short.argmax())
        return memory_obstacle(tokens, k, k, int(short[k]), proved=True)
    room = memory.room(tables.max_chunks, length)
    assert room is not None, "every memory has room for what is there besides KV"
    excess = memory.need(marks) - room
    over = np.flatnonzero(excess > 0)
    return (
        memory_obstacle(tokens, None, int(over[0]), int(excess[over[0]]), proved=True) if over.size else None
    )


def longest_equal(
    family: LengthFamily,
    method: str,
    curve_points: int = 0,
    *,
    time_limit_s: float = math.inf,
    asked_to_stop: AskedToStop = never,
    tell: Callable[[str], None] = lambda doing: None,
) -> LongestPrompt:
    """Find the longest prompt that exactly M equal chunks of whole grid steps can hold.

    Parameters
    ----------
    family : LengthFamily
    method : str
        One of `EQUAL_METHODS`.
    curve_points : int
        How many lengths of the curve of latencies to fill in, the longest included.
    time_limit_s : float
        Wall time; the upper bound comes first and takes milliseconds.
    asked_to_stop : callable
        Asked before every length; once True, what has been found is returned.
    tell : callable
        Told in words what is being done.

    Returns
    -------
    LongestPrompt
        Exact, unless stopped, for every rule of homes that keeps its answer when pages go (all but
        ``joint`` on stages with pages of unlike sizes, where the plan may fall short of the bound).

    Raises
    ------
    InputError
        If the method is unknown, or has nothing to decide on equal chunks.
    """
    if method not in EQUAL_METHODS:
        known = ", ".join(EQUAL_METHODS)
        raise InputError([Problem("method", repr(method), f"on equal chunks one of {known}")])
    tables = family.longest
    unit = tables.max_chunks * tables.quantum
    least = max(-(-tables.min_length // tables.quantum), 1)
    most = min(tables.steps // tables.max_chunks, tables.max_length // tables.quantum)
    reached = last_found(lambda n: pooled_memory_obstacle(equal_at(family, n)) is None or None, least, most)
    upper = 0 if reached is None else reached[0]
    deadline = Deadline(time_limit_s).unless(asked_to_stop)
    cut_short = False

    def attempt(steps: int) -> tuple[str, IntArray] | None:
        nonlocal cut_short
        if not deadline.expired:
            tell(f"homes for {steps * unit:,} tokens")
            with suppress(StoppedError):
                return _place(family, method, steps, deadline)
        cut_short = True
        return None

    found = last_found(attempt, least, upper)
    if cut_short:
        stopped = Obstacle((least if found is None else found[0] + 1) * unit, TIME_WAS_UP)
        point = None if found is None else _assessed(family, found[0], *found[1])
        return LongestPrompt(method, point, upper * unit, stopped, () if point is None else (point,))
    if found is None:
        return LongestPrompt(method, None, upper * unit, _obstacle_at(family, method, least, most))
    steps, best = found
    wanted = {least + (steps - least) * n // max(curve_points - 1, 1) for n in range(curve_points)}
    curve = []
    with suppress(StoppedError):
        for n in sorted(wanted - {steps}):
            stop_if(deadline)
            placed = _place(family, method, n, deadline)
            curve += [] if placed is None else [_assessed(family, n, *placed)]
    last = _assessed(family, steps, *best)
    return LongestPrompt(
        method, last, upper * unit, _obstacle_at(family, method, steps + 1, most), (*curve, last)
    )


def _place(family: LengthFamily, method: str, steps: int, deadline: Deadline) -> tuple[str, IntArray] | None:
    """The first rule that finds homes for chunks of that many steps, and the homes."""
    tables = equal_at(family, steps)
    for rule in EQUAL_METHODS[method]:
        pages = HOME_RULES[rule](tables, boundaries(tables), deadline).pages
        if pages is not None:
            return rule, pages
    return None


def _assessed(family: LengthFamily, steps: int, rule: str, pages: IntArray) -> Point:
    tables = equal_at(family, steps)
    return Point(tables.tokens, assess(tables, Plan.from_arrays(tables, boundaries(tables), pages)), rule)


def _obstacle_at(family: LengthFamily, method: str, steps: int, most: int) -> Obstacle | None:
    """What stands in the way of chunks of that many steps."""
    tables = family.longest
    tokens = steps * tables.max_chunks * tables.quantum
    if steps > tables.max_length // tables.quantum:
        reason = f"chunks may have at most {tables.max_length} tokens"
        return Obstacle(tokens, reason, proved=True)
    if steps > most:
        # The family ends where the first stage's KV of the whole prompt, alive in slot M - 1, is too much.
        kept = int(tables.page_bytes[0]) * (tokens // tables.page)
        return memory_obstacle(tokens, None, tables.max_chunks - 1, kept - pooled_room(tables), proved=True)
    cut = equal_at(family, steps)
    proof = pooled_memory_obstacle(cut)
    rules = EQUAL_METHODS[method]
    if proof is not None and method == "joint":
        return proof
    shortages = [HOME_RULES[rule](cut, boundaries(cut)).shortage for rule in rules]
    known = [shortage for shortage in shortages if shortage is not None]
    if not known:
        return proof or Obstacle(tokens, "no rule found homes")
    last = known[-1]
    return memory_obstacle(tokens, last.memory, last.slot, last.bytes_short, proof is not None)
