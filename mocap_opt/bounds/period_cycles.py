"""Bounds on the period by cycles of the event graph, mixed over partitions (formulations/period.md, Bounds).

A cycle says of one partition how long its chunks keep stages waiting for each other through queues.  For
each count and range of the longest chunk a mixture of cycles, of the sums that fit into a period, and of a
price on memory is sought for which the cheapest partition of all is dearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import floor

import numpy as np
from scipy.optimize import linprog

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.forced_traffic import SAFE
from mocap_opt.bounds.period_sums import FloatArray, PeriodClass
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

SETTLING = 3
"""Requests, beside twice those in flight, whose starts are searched for a cycle."""

SETTLED = 1e-5
"""A bound this close to what any mixture of the known cycles gives is not sharpened further."""


DEAREST = 64.0
"""Price of all the room of all memories at most, times what is to be proved."""


@dataclass(frozen=True, eq=False)
class Cycle:
    """A closed walk through starts of chunks of endless requests.

    Attributes
    ----------
    works, sends : int64[stage, chunk]
        How often it waits for the end of a chunk, and for its way to the next stage.
    requests : int
        By which it comes later.
    """

    works: IntArray
    sends: IntArray
    requests: int

    def length(self, taken: IntArray, send: IntArray) -> float:
        """Time it takes for each request, ticks.

        Parameters
        ----------
        taken, send : int64[stage, chunk], ticks
        """
        return float((self.works * taken).sum() + (self.sends * send).sum()) / self.requests


def queue_starts(taken: IntArray, send: IntArray, depth: int, requests: int) -> list[list[int]]:
    """Least starts of all chunks of some requests by stages and queues, ticks, a list of stages for each.

    Parameters
    ----------
    taken, send : int64[stage, chunk], ticks
    depth : int
        Q.
    requests : int
    """
    stages, chunks = taken.shape
    work, way = taken.tolist(), (taken + send).tolist()
    starts = [[0] * stages]
    for n in range(1, requests * chunks):
        j, before, row = n % chunks, (n - 1) % chunks, starts[-1]
        held = starts[n - depth][1:] if n >= depth else []
        now: list[int] = []
        for i in range(stages):
            least = row[i] + work[i][before]
            if i > 0:
                least = max(least, now[i - 1] + way[i - 1][j])
            if i < len(held):
                least = max(least, held[i])
            now.append(least)
        starts.append(now)
    return starts


def longest_cycle(taken: IntArray, send: IntArray, depth: int) -> Cycle:
    """A cycle that takes long for each request, if not the longest: any is one.

    Parameters
    ----------
    taken, send : int64[stage, chunk], ticks
    depth : int
        Q.
    """
    stages, chunks = taken.shape
    starts = queue_starts(taken, send, depth, SETTLING + 2 * -(-stages // chunks))
    work, way = taken.tolist(), (taken + send).tolist()
    at = stages - 1, len(starts) - 1
    walk = [at]
    while at[1] > 0:
        i, n = at
        if starts[n][i] == starts[n - 1][i] + work[i][(n - 1) % chunks]:
            at = i, n - 1
        elif i > 0 and starts[n][i] == starts[n][i - 1] + way[i - 1][n % chunks]:
            at = i - 1, n
        else:
            at = i + 1, n - depth
        walk.append(at)
    walk.reverse()
    slowest = int(taken.sum(axis=1).argmax())
    best = Cycle((np.arange(stages) == slowest)[:, None] * np.ones_like(taken), np.zeros_like(taken), 1)
    longest = best.length(taken, send)
    places: dict[tuple[int, int], list[int]] = {}
    for place, (i, n) in enumerate(walk):
        places.setdefault((i, n % chunks), []).append(place)
    for same in places.values():
        for first, last in ((a, b) for a in same for b in same if a < b):
            (i, n), (_, later) = walk[first], walk[last]
            if (starts[later][i] - starts[n][i]) * chunks > longest * (later - n) * (1 + SETTLED):
                best = _cycle(walk[first : last + 1], chunks, stages)
                longest = best.length(taken, send)
    return best


def _cycle(walk: list[tuple[int, int]], chunks: int, stages: int) -> Cycle:
    works, sends = (np.zeros((stages, chunks), dtype=np.int64) for _ in range(2))
    for (i, n), (to, _) in pairwise(walk):
        if to >= i:
            works[i, n % chunks] += 1
            sends[i, n % chunks] += to > i
    return Cycle(works, sends, (walk[-1][1] - walk[0][1]) // chunks)


@dataclass(frozen=True, eq=False)
class _Arcs:
    """Chunks that partitions of a range of the longest chunk may have, by their ends, and what they take.

    Attributes
    ----------
    start, end : int64[chunk]
        Grid indices.
    taken, send : int64[stage, chunk], ticks
    sums : float64[sum, chunk], ticks
        Whose sums over a partition are at most the period; that of bytes over time last.
    """

    start: IntArray
    end: IntArray
    taken: IntArray
    send: IntArray
    sums: FloatArray

    @classmethod
    def of(cls, one: PeriodClass, sends: IntArray) -> _Arcs:
        """Those of a range.

        Parameters
        ----------
        one : PeriodClass
        sends : int64[stage, 2, G + 1], ticks
        """
        points = one.allowed.shape[0]
        # Chunks [a, b) stand in the order of b here, of a in the table of times.
        end, steps = np.nonzero(one.allowed)
        start = end - steps - 1
        place = start * (2 * points - start - 1) // 2 + steps
        rows = [row[end, steps] / one.sums.subticks for row in one.sums.rows]
        over_time = one.sums.occupied[end, steps] / max(one.room, 1)
        send = sends[:, (end == points - 1).astype(np.int64), steps + 1]
        return cls(start, end, one.taken[:, place], send, np.array([*rows, over_time]))

    def cheapest(self, cost: FloatArray) -> tuple[IntArray, float]:
        """The cheapest partition into as many chunks as there are rows, int64[chunk] and its cost.

        Parameters
        ----------
        cost : float64[position, chunk]

        Returns
        -------
        chosen : int64[position]
            Chunks by their number; empty if there is no such partition.
        value : float
        """
        ends, first = np.unique(self.end, return_index=True)
        reached = np.full(int(ends[-1]) + 1, np.inf)
        reached[0] = 0.0
        layers = []
        for row in cost:
            layers.append(reached[self.start] + row)
            reached = np.full_like(reached, np.inf)
            reached[ends] = np.minimum.reduceat(layers[-1], first)
        value, at, chosen = float(reached[-1]), int(ends[-1]), []
        if np.isinf(value):
            return np.zeros(0, dtype=np.int64), value
        until = np.append(first[1:], self.end.size)
        for layer in reversed(layers):
            place = int(np.searchsorted(ends, at))
            chunk = int(first[place]) + int(layer[first[place] : until[place]].argmin())
            chosen.append(chunk)
            at = int(self.start[chunk])
        return np.array(chosen[::-1], dtype=np.int64), value


@dataclass(eq=False)
class _Case:
    """Partitions of one count whose longest chunk lies in one range, and what is known of them.

    Attributes
    ----------
    memory : float64[position, chunk]
        Part of the room of all memories that is taken while the first stage works on the last chunk.
    """

    one: PeriodClass
    arcs: _Arcs
    memory: FloatArray
    value: int
    cycles: list[Cycle]
    partitions: list[IntArray] = field(default_factory=list)
    settled: bool = False

    def times(self, mix: FloatArray) -> tuple[IntArray, IntArray]:
        """What the chunks of the known partitions take on average, and their sends, int64[stage, chunk].

        Parameters
        ----------
        mix : float64[partition]
        """
        chosen = np.array(self.partitions)
        taken, send = (
            np.einsum("p,ipj->ij", mix, each[:, chosen]).astype(np.int64)
            for each in (self.arcs.taken, self.arcs.send)
        )
        return taken, send

    def rows(self) -> FloatArray:
        """What cycles and sums say of each known partition, and by how much it exceeds the memory."""
        chosen, arcs = np.array(self.partitions), self.arcs
        works = np.array([cycle.works / cycle.requests for cycle in self.cycles])
        sends = np.array([cycle.sends / cycle.requests for cycle in self.cycles])
        lengths = np.einsum("cij,ipj->pc", works, arcs.taken[:, chosen], optimize=True)
        lengths += np.einsum("cij,ipj->pc", sends, arcs.send[:, chosen], optimize=True)
        short = self.memory[np.arange(self.memory.shape[0]), chosen].sum(axis=1) - 1.0
        return np.column_stack([lengths, arcs.sums[:, chosen].sum(axis=2).T, short])


class CycleBound:
    """Bounds by count and range of the longest chunk, sharpened where they are least.

    Parameters
    ----------
    tables : Tables
        With bounded queues.
    classes : sequence of PeriodClass
        Ranges of the longest chunk.
    counts : sequence of int
        Of chunks, as the classes' values are.
    """

    def __init__(self, tables: Tables, classes: Sequence[PeriodClass], counts: Sequence[int]) -> None:
        assert tables.queue_depth is not None
        self._depth = tables.queue_depth
        sends = least_sends(tables)
        self._cases: list[_Case] = []
        for one in classes:
            arcs = _Arcs.of(one, sends)
            for value, count in zip(one.value.tolist(), counts, strict=True):
                if value < NEVER:
                    works = [np.eye(tables.stages, dtype=np.int64)[i, :, None] for i in range(tables.stages)]
                    works = [np.repeat(each, count, axis=1) for each in works]
                    cycles = [Cycle(each, np.zeros_like(each), 1) for each in works]
                    memory = _memory(tables, arcs.end, count, one.room)
                    self._cases.append(_Case(one, arcs, memory, value, cycles))

    def sharpen(self, asked_to_stop: AskedToStop = never, rounds: int = 600) -> None:
        """Find cycles and partitions where the bound is least, until that is settled.

        Parameters
        ----------
        asked_to_stop : callable
            What is proved by then stands.
        rounds : int
            Most mixtures tried.
        """
        for _ in range(rounds if self._cases else 0):
            if asked_to_stop():
                return
            case = min(self._cases, key=lambda each: each.value)
            if case.settled:
                return
            self._round(case)

    def bound(self) -> Bound | None:
        """The least over all of them; None if nothing is left."""
        least = min((case.value for case in self._cases), default=0)
        note = "cycles of queues, minimised over partitions, counts and longest chunks"
        return Bound("queue_cycles", least, Scope.ANY_EXECUTION, Evidence.SEARCH, note) if least else None

    def _round(self, case: _Case) -> None:
        """Weigh the known cycles against the known partitions, and add a partition and cycles to them."""
        most = float("inf")
        weights = np.zeros(len(case.cycles) + case.arcs.sums.shape[0] + 1)
        weights[int(case.arcs.taken.sum(axis=1).argmax())] = 1.0
        gained = False
        if case.partitions:
            found = _mixture(case.rows(), case.value)
            if found is None:
                case.settled = True
                return
            weights, mix, most = found
            longer = longest_cycle(*case.times(mix), self._depth)
            gained = longer.length(*case.times(mix)) > most * (1 + SETTLED)
            case.settled = not gained and most <= max(case.value * (1 + SETTLED), case.value + 1)
            case.cycles += [longer] if gained else []
        proved, chosen = _evaluated(case, weights)
        case.value = max(case.value, proved)
        if not chosen.size:
            # No partition has that count.
            case.value, case.settled = NEVER, True
            return
        again = any(np.array_equal(chosen, known) for known in case.partitions)
        case.settled = case.settled or (again and not gained)
        if not again:
            case.partitions.append(chosen)
            case.cycles.append(
                longest_cycle(case.arcs.taken[:, chosen], case.arcs.send[:, chosen], self._depth)
            )


def _memory(tables: Tables, end: IntArray, count: int, room: int) -> FloatArray:
    """Part of the room taken in the slot of the first stage's last chunk, float64[position, chunk]."""
    taken = np.zeros((count, end.size))
    for i in range(min(tables.stages, count) if room else 0):
        taken[count - 1 - i] = (tables.page_bytes[i] * tables.pages[end] + tables.prefix_bytes[i]) / room
    return taken


def _mixture(rows: FloatArray, value: int) -> tuple[FloatArray, FloatArray, float] | None:
    """Weights for which the least known partition is greatest, the partitions' parts, and that least."""
    known, size = rows.shape
    scale = max(float(value), float(rows[:, :-1].max()), 1.0)
    terms = rows / scale
    terms[:, -1] = rows[:, -1]
    answer = linprog(
        np.r_[np.zeros(size), -1.0],
        A_ub=np.c_[-terms, np.ones(known)],
        b_ub=np.zeros(known),
        A_eq=np.r_[np.ones(size - 1), 0.0, 0.0][None],
        b_eq=[1.0],
        bounds=[*[(0, None)] * (size - 1), (0, DEAREST), (None, None)],
    )
    if answer.x is None:
        return None
    mix = np.maximum(-answer.ineqlin.marginals, 0.0)
    weights = np.maximum(answer.x[:-1], 0.0)
    weights[-1] *= scale
    return weights, mix / max(float(mix.sum()), 1e-300), float(answer.x[-1]) * scale


def _evaluated(case: _Case, weights: FloatArray) -> tuple[int, IntArray]:
    """What weights prove, rounded down to ticks, and a partition for which it is least."""
    arcs, known = case.arcs, len(weights) - 1 - case.arcs.sums.shape[0]
    works, sends = (np.zeros((arcs.taken.shape[0], case.memory.shape[0])) for _ in range(2))
    for weight, cycle in zip(weights[:known].tolist(), case.cycles, strict=False):
        if weight:
            works += weight / cycle.requests * cycle.works
            sends += weight / cycle.requests * cycle.sends
    cost = works.T @ arcs.taken + sends.T @ arcs.send + weights[known:-1] @ arcs.sums
    cost += weights[-1] * case.memory
    chosen, value = arcs.cheapest(cost)
    # No term is negative but the last: rounding errs by less than what `SAFE` takes off the sum of all.
    least = (value * SAFE - weights[-1] / SAFE) / float(weights[:-1].sum()) * SAFE
    return (max(floor(least), 0) if chosen.size else 0), chosen
