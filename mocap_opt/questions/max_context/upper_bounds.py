"""Upper bounds on the length of a prompt (formulations/max_length.md, Upper bounds)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds import best
from mocap_opt.bounds.crossing import MOST_STEPS, crossing, crossing_pooled_memory
from mocap_opt.bounds.infeasible import prove_infeasible
from mocap_opt.bounds.stage_work import stage_work
from mocap_opt.lower_bound import Scope
from mocap_opt.questions.max_context.instance_family import LatencyLimit, LengthFamily, last_found
from mocap_opt.questions.max_context.result import Obstacle
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_seconds


def memory_obstacle_at(family: LengthFamily, steps: int) -> Obstacle | None:
    """Why no plan of a length keeps to counts, lengths and memories; None if that is not proved.

    Parameters
    ----------
    family : LengthFamily
    steps : int
        Length of the prompt, grid steps.
    """
    tables = family.at(steps * family.longest.quantum)
    found = prove_infeasible(tables)
    if found is None:
        return None
    short = found.bytes_short or None
    return Obstacle(tables.tokens, found.message, found.memory, found.slot, short, proved=True)


def shortest_chunk(tables: Tables) -> int:
    """Least grid steps of a chunk."""
    return max(-(-tables.min_length // tables.quantum), 1)


def memory_upper_bound(family: LengthFamily) -> int:
    """Most grid steps of a prompt that is not proved to break a rule of counts, lengths or memories.

    A plan of one more step gives one of this length by taking a step from a chunk, unless all its
    chunks are as short as can be.  So after a length without a plan only multiples of the shortest
    chunk have to be asked about.
    """
    tables = family.longest
    least, most = shortest_chunk(tables), tables.max_chunks
    low = least * most if tables.exact_chunks else least
    high = min(tables.steps, tables.max_length // tables.quantum * most)

    def open_at(steps: int) -> bool | None:
        return memory_obstacle_at(family, steps) is None or None

    found = last_found(open_at, low, high)
    reached = 0 if found is None else found[0]
    if tables.exact_chunks:
        # One chunk above the shortest exists at every longer length.
        return reached
    exceptions = range(high // least * least, reached, -least)
    beyond = next((steps for steps in exceptions if steps <= least * most and open_at(steps)), None)
    if beyond is None:
        return reached
    again = last_found(open_at, beyond, high)
    return beyond if again is None else again[0]


@dataclass(frozen=True)
class PathWeightShift:
    """How path weights compare between a plan and the one that is left when steps are taken from it.

    Attributes
    ----------
    slack : int or None
        No path of the shorter plan weighs more by more than this, ticks; None if that is not known.
    """

    slack: int | None

    @classmethod
    def of(cls, tables: Tables) -> PathWeightShift:
        """Read it off the tables of the longest prompt: O(G^2) for each kind of stage."""
        if tables.steps > MOST_STEPS or shortest_chunk(tables) > 1 or tables.excess is not None:
            return cls(None)
        rising = [tables.phi, tables.memory_side, tables.prefix_cost]
        lengthwise = [tables.full_block, tables.length_cost, tables.send]
        steady = all(np.all(np.diff(table) >= 0) for table in rising)
        steady = steady and all(np.all(np.diff(table[:, :, 1:]) >= 0) for table in lengthwise)
        if not steady or any(not np.array_equal(t[:, 0, 1:], t[:, 1, 1:]) for t in lengthwise):
            return cls(None)
        dearer = max(_dearer_earlier(phi) for phi in np.unique(tables.phi, axis=0))
        return cls(dearer * (tables.max_chunks + tables.stages - 1))


def _dearer_earlier(phi: IntArray) -> int:
    """Most by which a difference of Phi over a given length falls when it moves later, ticks."""
    most = 0
    for length in range(1, phi.size):
        step = phi[length:] - phi[:-length]
        most = max(most, int((np.maximum.accumulate(step) - step).max()))
    return most


def path_bound(tables: Tables, asked_to_stop: AskedToStop = never) -> int | None:
    """The best bound that follows from path weights and pooled memory alone, ticks.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        What is proved by the time it says so stands.
    """
    rules = (stage_work, crossing, crossing_pooled_memory)
    bounds = [rule(tables, asked_to_stop=asked_to_stop) for rule in rules]
    found = best([bound for bound in bounds if bound is not None], {Scope.ANY_EXECUTION})
    return None if found is None else found.ticks


def latency_upper_bound(
    family: LengthFamily,
    limit: LatencyLimit,
    low: int,
    high: int,
    asked_to_stop: AskedToStop = never,
) -> int:
    """Most grid steps in low .. high not proved to take longer than the limit; all below `low` count as open.

    Works from the top in blocks: with a known `PathWeightShift` a bound at a block's shortest length holds
    for all of it, up to the slack.  Without one every length is asked about.

    Parameters
    ----------
    family : LengthFamily
    limit : LatencyLimit
    low : int
        A length with a plan, or 0.
    high : int
        No longer prompt has a plan.
    asked_to_stop : callable
        Once it says so, what is not yet proved is left open.
    """
    quantum, shift = family.longest.quantum, PathWeightShift.of(family.longest)
    known: dict[int, int | None] = {}

    def bound(steps: int) -> int | None:
        if steps not in known:
            known[steps] = path_bound(family.at(steps * quantum), asked_to_stop)
        return known[steps]

    def _ruled_out(first: int, last: int) -> bool:
        if first == last and memory_obstacle_at(family, first) is not None:
            return True
        least = bound(first)
        slack = 0 if first == last else shift.slack
        if least is None or slack is None:
            return False
        limits = (limit.at(steps * quantum) for steps in _lengths(limit, first, last))
        return all(allowed is None or least - slack > allowed for allowed in limits)

    top, width = high, 1
    while top > low and not asked_to_stop():
        first = max(top - width + 1, low + 1)
        if _ruled_out(first, top):
            top, width = first - 1, (2 * width if shift.slack is not None else 1)
        elif first == top:
            break
        else:
            width = max((top - first + 1) // 2, 1)
    return top


def _lengths(limit: LatencyLimit, first: int, last: int) -> range:
    """Lengths at which the limit has to be looked up; the same one holds at all if it is absolute."""
    return range(last, first - 1, -1) if limit.factor is not None else range(first, first + 1)


def latency_obstacle_at(family: LengthFamily, limit: LatencyLimit, steps: int) -> Obstacle | None:
    """Why every plan of a length takes too long; None if that is not proved.

    Parameters
    ----------
    family : LengthFamily
    limit : LatencyLimit
    steps : int
        Length of the prompt, grid steps.
    """
    tables = family.at(steps * family.longest.quantum)
    allowed, least = limit.at(tables.tokens), path_bound(tables)
    if allowed is None:
        reason = "mocap, whose latency is the measure, has no plan however large the memories are"
        return Obstacle(tables.tokens, reason, proved=True)
    if least is None or least <= allowed:
        return None
    reason = f"every plan takes at least {_time(tables, least)}, and {_time(tables, allowed)} are allowed"
    return Obstacle(tables.tokens, reason, proved=True)


def _time(tables: Tables, ticks: int | Fraction) -> str:
    return format_seconds(Fraction(ticks) * tables.tick_s)
