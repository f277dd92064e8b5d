"""Homes of least lockstep makespan for given divisions and slots, by CP-SAT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, ScheduledRequest
from mocap_opt.schedule.verify import schedule_memory
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import Progress, Status
from mocap_opt.stopping import AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

Cell = tuple[int, int, int, int]
"""Request, stage, chunk, memory."""


class LocalSlots(Protocol):
    """Slots of a sequence with all KV at home: their phases, ticks, and the bytes on links and at ports."""

    @property
    def work(self) -> IntArray:
        """Of every slot."""

    @property
    def exchange(self) -> IntArray:
        """Of every slot."""

    @property
    def port_bytes(self) -> IntArray:
        """By memory and slot."""

    @property
    def link_kv_bytes(self) -> npt.NDArray[Any]:
        """By link and slot, those of fixed messages, in 1 / share_denominator bytes."""


def best_homes(
    sequence: Schedule, local: LocalSlots, below: int, asked_to_stop: AskedToStop = never
) -> Schedule | None:
    """Find homes of least makespan in lockstep.

    Parameters
    ----------
    sequence : Schedule
        Its homes are ignored; all KV must be at home in it.
    local : LocalSlots
        The slots of the sequence with all KV at home.
    below : int, ticks
        Only makespans below this are of interest.
    asked_to_stop : callable
        Asked a few times a second while the solver runs.

    Returns
    -------
    Schedule or None
        None if there is no such sequence.

    Raises
    ------
    StoppedError
        If the solver ends without a proof.
    """
    program = IntegerProgram()
    away = _away(program, sequence)
    _memory_rows(program, sequence, away)
    work = _work(program, sequence, away, local)
    program.objective = _end(program, sequence, work, local.exchange)
    program.require("better_than_known", below - 1 - program.objective)

    def stop(_: Progress) -> bool:
        return asked_to_stop()

    result = cpsat.solve(program, limits=Limits(threads=1, callback=stop))
    if result.outcome.status is Status.INFEASIBLE:
        return None
    if result.values is None or result.outcome.status is not Status.OPTIMAL:
        raise StoppedError("a placement ended without a proof")
    return _placed(sequence, {cell: pages.value(result.values) for cell, pages in away.items()})


def _away(program: IntegerProgram, sequence: Schedule) -> dict[Cell, Affine]:
    """Pages of every chunk in every other memory."""
    away: dict[Cell, Affine] = {}
    for r, request in enumerate(sequence):
        fresh = _fresh(request)
        for i in range(sequence.stages):
            for j, pages in enumerate(fresh):
                cells = [(r, i, j, k) for k in range(sequence.machine.memories) if k != i]
                for cell in cells:
                    away[cell] = program.decision(f"v{list(cell)}", 0, pages)
                elsewhere = total((1, away[cell]) for cell in cells)
                program.require(f"homes_stay[{r},{i},{j}]", pages - elsewhere)
    return away


def _fresh(request: ScheduledRequest) -> list[int]:
    pages: list[int] = np.diff(request.tables.pages[request.plan.grid_indices(request.tables)]).tolist()
    return pages


def _memory_rows(program: IntegerProgram, sequence: Schedule, away: dict[Cell, Affine]) -> None:
    use = schedule_memory(sequence)
    capacity = sequence.machine.capacity
    terms: dict[tuple[int, int], list[tuple[int, Affine]]] = {}
    for (r, i, j, k), pages in away.items():
        request = sequence.requests[r]
        size = int(request.tables.page_bytes[i])
        for t in range(request.slot + i + j, request.slot + i + request.plan.chunks):
            terms.setdefault((k, t), []).append((size, pages))
            terms.setdefault((i, t), []).append((-size, pages))
    for k in range(sequence.machine.memories):
        for t in range(sequence.slots):
            left = int(capacity[k] - use[k, t])
            program.require(f"memory_has_room[{k},{t}]", left - total(terms.get((k, t), [])))


def _work(
    program: IntegerProgram, sequence: Schedule, away: dict[Cell, Affine], local: LocalSlots
) -> list[Affine]:
    """Compute phase of every slot: at least what it takes at home; links, ports, what does not overlap."""
    machine = sequence.machine
    links, denominator, serial = len(machine.links), machine.share_denominator, 1 - machine.overlap
    rate = [int(b) * denominator for b in machine.link_rate] + [int(b) for b in machine.port_rate]
    # Bytes on a link (in the shares' unit) or port, by slot; and of one stage's chunk alone.
    loads: dict[tuple[int, int], list[tuple[int, Affine]]] = {}
    own: dict[tuple[int, int, int, int], list[tuple[int, Affine]]] = {}
    for (r, i, j, k), pages in away.items():
        request = sequence.requests[r]
        size = int(request.tables.page_bytes[i])
        for later in range(j, request.plan.chunks):
            share = machine.share[:, i, k] if later == j else machine.share[:, k, i]
            t = request.slot + i + later
            parts = [(e, int(share[e])) for e in np.flatnonzero(share).tolist()] + [(links + k, 1)]
            for resource, part in parts:
                loads.setdefault((resource, t), []).append((part * size, pages))
                own.setdefault((resource, t, r, i), []).append((part * size, pages))
    work = [program.largest(f"A[{t}]", int(least)) for t, least in enumerate(local.work)]
    for (resource, t), load in loads.items():
        at_port = resource >= links
        fixed = int(local.port_bytes[resource - links, t] if at_port else local.link_kv_bytes[resource, t])
        program.at_least(f"kv_passes[{resource},{t}]", work[t], total(load) + fixed, rate[resource])
    if serial:
        for (resource, t, r, i), load in own.items():
            factor = rate[resource] * serial.denominator
            request = sequence.requests[r]
            waited = total(load) + _fixed_units(request, resource, i, t)
            slowed = total([(serial.numerator, waited)]) + factor * _tau(request, i, t)
            program.at_least(f"own_kv_delays_compute[{resource},{t},{r},{i}]", work[t], slowed, factor)
    return work


def _end(program: IntegerProgram, sequence: Schedule, work: list[Affine], exchange: IntArray) -> Affine:
    """End of the last compute phase: slots follow one another, none before the release of its request."""
    release = np.zeros(sequence.slots, dtype=np.int64)
    for request in sequence:
        release[request.slot] = max(int(release[request.slot]), request.release)
    end = program.largest("start[0]", int(release[0])) + work[0]
    for t in range(1, sequence.slots):
        if release[t]:
            start = program.largest(f"start[{t}]", int(release[t]))
            program.at_least(f"slots_follow[{t}]", start, end + int(exchange[t - 1]))
            end = start + work[t]
        else:
            end = end + int(exchange[t - 1]) + work[t]
    return end


def _tau(request: ScheduledRequest, stage: int, slot: int) -> int:
    tables: Tables = request.tables
    index, j = request.plan.grid_indices(tables), slot - request.slot - stage
    return int(tables.tau(stage, index[j], index[j + 1]))


def _fixed_units(request: ScheduledRequest, resource: int, stage: int, slot: int) -> int:
    """Units on a link or port by the exports and prefix load of a stage's chunk in a slot."""
    if not request.tables.messages:
        return 0
    j, loads = slot - request.slot - stage, request.tables.fixed_loads
    return loads.units(resource, stage, _fresh(request)[j], first=j == 0, weights=False)


def _placed(sequence: Schedule, values: dict[Cell, int]) -> Schedule:
    found = []
    for r, request in enumerate(sequence):
        pages = np.zeros_like(request.plan.all_pages(request.tables))
        for (other, i, j, k), count in values.items():
            if other == r:
                pages[i, j, k] = count
        indices = request.plan.grid_indices(request.tables)
        plan = Plan.from_arrays(request.tables, indices, pages, request.plan.fingerprint)
        found.append(replace(request, plan=plan))
    return Schedule(tuple(found))
