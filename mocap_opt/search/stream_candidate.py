"""From an order and a division of every request to a feasible sequence and its lockstep price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.greedy import FreeMemory
from mocap_opt.replay.lockstep import (
    SlotRows,
    overlap_rows,
    price_slots,
    run_lockstep,
    slot_rows,
    slot_starts,
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import Request
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest, shared_reserve
from mocap_opt.tables.cost_tables import Tables

REMEMBERED = 10_000
"""Candidates whose price is remembered; a local search comes back to the same ones again and again."""

Rank = Callable[[Any, Any], tuple[Any, Any]]
"""From makespan and sum of completions to what makes one sequence better than another, first things first."""


def makespan_first(makespan: Any, total: Any) -> tuple[Any, Any]:
    """Rank by makespan, then by the sum of completions.

    Parameters
    ----------
    makespan, total : int or Fraction, ticks
        When the last request has left; the sum of all completions.
    """
    return makespan, total


@dataclass(frozen=True, eq=False)
class Candidate:
    """A feasible sequence and what it costs in lockstep.

    Attributes
    ----------
    indices : tuple of int64[chunks + 1]
        Boundaries of every request, in the order of the sequence.
    kept : tuple of Plan or None
        Plans whose homes were kept; the homes of the others are greedy.
    sequence : Schedule
    makespan, total : int, ticks
        When the last has left; the sum of all completions.
    ranked : callable
        See `Rank`.
    """

    indices: tuple[IntArray, ...]
    kept: tuple[Plan | None, ...]
    sequence: Schedule
    makespan: int
    total: int
    ranked: Rank = makespan_first

    @classmethod
    def of(cls, sequence: Schedule, ranked: Rank = makespan_first) -> Candidate:
        """A feasible sequence as it is, all its homes kept.

        Parameters
        ----------
        sequence : Schedule
            Feasible, of requests in slots.
        ranked : callable
            See `Rank`.
        """
        indices = tuple(request.plan.grid_indices(request.tables) for request in sequence)
        ends = run_lockstep(sequence).completion
        kept = tuple(request.plan for request in sequence)
        return cls(indices, kept, sequence, max(ends), sum(ends), ranked)

    @property
    def order(self) -> tuple[int, ...]:
        """Requests, by their number in the stream."""
        return self.sequence.order

    @property
    def rank(self) -> tuple[int, int]:
        """What makes one better than another, ticks."""
        return self.ranked(self.makespan, self.total)


@dataclass(eq=False)
class Pricer:
    """Places and prices candidates of one stream; remembers them, and the rows of plans it has seen.

    Attributes
    ----------
    requests : sequence of Request
    fingerprint : str or None
        For the plans.
    ranked : callable
        See `Rank`.
    """

    requests: Sequence[Request]
    fingerprint: str | None = None
    ranked: Rank = makespan_first
    _plans: dict[tuple[int, bytes, bytes], tuple[Plan, SlotRows]] = field(default_factory=dict)
    _candidates: dict[tuple[object, ...], tuple[object, Candidate | None]] = field(default_factory=dict)

    def candidate(
        self,
        order: Sequence[int],
        indices: Sequence[IntArray],
        kept: Sequence[Plan | None] | None = None,
    ) -> Candidate | None:
        """Schedule every request in the first slot in which it fits; None if one never does.

        Slots that would be over before a request is released run before it.

        Parameters
        ----------
        order : sequence of int
        indices : sequence of int64[chunks + 1]
            Boundaries of every request, in that order.
        kept : sequence of Plan or None, optional
            Plans with these boundaries whose homes are kept; the others get greedy ones.
        """
        plans = [None] * len(order) if kept is None else list(kept)
        key = (*order, *(cut.tobytes() for cut in indices), *map(id, plans))
        if key not in self._candidates:
            if len(self._candidates) == REMEMBERED:
                self._candidates.clear()
            # The plans stay with the result, so that no other object gets the identity of one.
            self._candidates[key] = plans, self._scheduled(order, indices, plans)
        return self._candidates[key][1]

    def _scheduled(
        self, order: Sequence[int], indices: Sequence[IntArray], plans: Sequence[Plan | None]
    ) -> Candidate | None:
        chosen = [self.requests[r] for r in order]
        machine = chosen[0].tables
        longest = [
            int(np.diff(request.tables.grid[cut]).max()) for request, cut in zip(chosen, indices, strict=True)
        ]
        free = machine.free_memory(shared_reserve([request.tables for request in chosen], longest))
        if np.any(free < 0):
            return None
        room, timeline = FreeMemory(free), _Timeline(machine)
        scheduled: list[ScheduledRequest] = []
        slot = 0
        for number, request, cut, known in zip(order, chosen, indices, plans, strict=True):
            earliest = max(slot, timeline.over_by(request.release, slot))
            found = None
            for start in range(earliest, slot + machine.stages):
                found = self._placed(room, request.tables, cut, known, start)
                if found is not None:
                    break
            if found is None:
                return None
            plan, rows = found
            timeline.add(rows, start, request.release)
            scheduled.append(request.scheduled(plan, start, number))
            slot = start + plan.chunks
        done = timeline.done()
        ends = [int(done[each.last_slot]) for each in scheduled]
        sequence = Schedule(tuple(scheduled))
        return Candidate(tuple(indices), tuple(plans), sequence, max(ends), sum(ends), self.ranked)

    def _placed(
        self, room: FreeMemory, tables: Tables, cut: IntArray, known: Plan | None, slot: int
    ) -> tuple[Plan, SlotRows] | None:
        """Take the room of a request from a slot on: its plan and rows, None if there is none."""
        if known is not None:
            return self._rows(tables, cut, known) if room.take(tables, known, slot) else None
        pages = room.place(tables, cut, slot)
        return None if pages is None else self._plan(tables, cut, pages)

    def _rows(self, tables: Tables, cut: IntArray, plan: Plan) -> tuple[Plan, SlotRows]:
        return self._plan(tables, cut, plan.remote_pages(tables) if plan.homes else None)

    def _plan(self, tables: Tables, cut: IntArray, pages: IntArray | None) -> tuple[Plan, SlotRows]:
        away = b"" if pages is None or not pages.any() else pages.tobytes()
        key = id(tables), cut.tobytes(), away
        if key not in self._plans:
            plan = Plan.from_arrays(tables, cut, pages if away else None, self.fingerprint)
            self._plans[key] = plan, slot_rows(tables, plan)
        return self._plans[key]


class _Timeline:
    """Lockstep times of the requests scheduled so far."""

    def __init__(self, machine: Tables) -> None:
        self._machine = machine
        self._rows: list[SlotRows] = []
        self._slots: list[int] = []
        self._release: list[int] = []
        # Slots before this one no longer change: what they take, and when the first after them begins.
        self._settled: list[tuple[IntArray, IntArray]] = []
        self._from, self._clock = 0, 0

    def add(self, rows: SlotRows, slot: int, release: int) -> None:
        """Schedule one more; the slots before its first are settled now.

        Parameters
        ----------
        rows : SlotRows
            What its plan takes in each of its slots.
        slot : int
            Its first slot on the first stage; not before those of earlier requests.
        release : int, ticks
            It does not start earlier.
        """
        if slot > self._from:
            self._settle(slot)
        self._rows.append(rows)
        self._slots.append(slot)
        self._release.append(release)

    def over_by(self, release: int, slot: int) -> int:
        """Return the first slot that would not be over by `release`, at most N - 1 after `slot`.

        Parameters
        ----------
        release : int, ticks
        slot : int
            The earliest slot to return; all requests so far start before it.
        """
        if not self._rows:
            return slot
        drained = slot + self._machine.stages - 1
        if release <= self._clock:
            return slot
        start, _, duration = self._price(drained)
        over = np.flatnonzero(start + duration > release)
        return drained if over.size == 0 else min(max(slot, self._from + int(over[0])), drained)

    def done(self) -> IntArray:
        """When the compute phase of every slot ends, int64[slot], ticks."""
        last = max(slot + rows.busy.shape[1] for slot, rows in zip(self._slots, self._rows, strict=True))
        start, work, _ = self._price(last)
        settled = [begin + took for begin, took in self._settled]
        return np.concatenate([*settled, start + work])

    def _price(self, until: int) -> tuple[IntArray, IntArray, IntArray]:
        """Starts, compute phases and durations of the open slots before `until`."""
        count = until - self._from
        zero = np.zeros(0, dtype=np.int64)
        if count <= 0:
            return zero, zero, zero
        parts = [_tail(rows, self._from - slot) for slot, rows in zip(self._slots, self._rows, strict=True)]
        offsets = [max(slot - self._from, 0) for slot in self._slots]
        width = max(
            count, *(offset + part.busy.shape[1] for offset, part in zip(offsets, parts, strict=True))
        )
        rows = overlap_rows(parts, offsets, width)
        priced = price_slots(self._machine, rows)
        release = np.zeros(width, dtype=np.int64)
        for slot, time in zip(self._slots, self._release, strict=True):
            if slot >= self._from:
                release[slot - self._from] = time
        release[0] = max(int(release[0]), self._clock)
        start = slot_starts(priced.duration, release)
        return start[:count], priced.work[:count], priced.duration[:count]

    def _settle(self, until: int) -> None:
        start, work, duration = self._price(until)
        self._settled.append((start, work))
        self._clock = int(start[-1] + duration[-1])
        self._from = until
        kept = [
            n
            for n, (slot, rows) in enumerate(zip(self._slots, self._rows, strict=True))
            if slot + rows.busy.shape[1] > until
        ]
        self._rows = [self._rows[n] for n in kept]
        self._slots = [self._slots[n] for n in kept]
        self._release = [self._release[n] for n in kept]


def _tail(rows: SlotRows, begun: int) -> SlotRows:
    """Rows from a request's slot `begun` on."""
    if begun <= 0:
        return rows
    return SlotRows(
        busy=rows.busy[:, begun:],
        alone=rows.alone[:, begun:],
        link_kv=rows.link_kv[:, begun:],
        link_activation=rows.link_activation[:, begun:],
        port=rows.port[:, begun:],
        delay=rows.delay[:, begun:],
    )
