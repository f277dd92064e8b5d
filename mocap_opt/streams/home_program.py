"""Homes of least lockstep makespan for given divisions and slots, by CP-SAT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mocap_opt.plan import Plan
from mocap_opt.replay.lockstep import LockstepReplay
from mocap_opt.solvers.load_ortools import cp_model
from mocap_opt.streams.sequence import RequestSequence, ScheduledRequest
from mocap_opt.streams.verify import sequence_memory
from mocap_opt.tables import IntArray, Tables

Cell = tuple[int, int, int, int]
"""Request, stage, chunk, memory."""


def best_homes(sequence: RequestSequence, local: LockstepReplay, below: int) -> RequestSequence | None:
    """Find homes of least makespan in lockstep.

    Parameters
    ----------
    sequence : RequestSequence
        Its homes are ignored; all KV must be at home in it.
    local : LockstepReplay
        The slots of the sequence with all KV at home.
    below : int, ticks
        Only makespans below this are of interest.

    Returns
    -------
    RequestSequence or None
        None if there is no such sequence.

    Raises
    ------
    RuntimeError
        If the solver stops without a proof.
    """
    model = cp_model.CpModel()
    away = _away(model, sequence)
    _memory_rows(model, sequence, away)
    top = below + sum(request.release for request in sequence)
    work = [model.new_int_var(int(least), top, f"A_{t}") for t, least in enumerate(local.work)]
    _work_rows(model, sequence, away, work, local.port_bytes)
    start = [model.new_int_var(0, top, f"start_{t}") for t in range(sequence.slots)]
    for t in range(sequence.slots - 1):
        model.add(start[t + 1] >= start[t] + work[t] + int(local.exchange[t]))
    for request in sequence:
        model.add(start[request.slot] >= request.release)
    end = start[-1] + work[-1]
    model.add(end <= below - 1)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    if status != cp_model.OPTIMAL:
        raise RuntimeError(f"CP-SAT ended a placement with {solver.status_name(status)}")
    return _placed(sequence, {cell: solver.value(variable) for cell, variable in away.items()})


def _away(model: cp_model.CpModel, sequence: RequestSequence) -> dict[Cell, cp_model.IntVar]:
    """Pages of every chunk in every other memory."""
    away: dict[Cell, cp_model.IntVar] = {}
    for r, request in enumerate(sequence):
        fresh = _fresh(request)
        for i in range(sequence.stages):
            for j, pages in enumerate(fresh):
                cells = [(r, i, j, k) for k in range(sequence.stages) if k != i]
                for cell in cells:
                    away[cell] = model.new_int_var(0, pages, f"v_{cell}")
                if len(cells) > 1:
                    model.add(sum(away[cell] for cell in cells) <= pages)
    return away


def _fresh(request: ScheduledRequest) -> list[int]:
    pages: list[int] = np.diff(request.tables.pages[request.plan.grid_indices(request.tables)]).tolist()
    return pages


def _memory_rows(
    model: cp_model.CpModel, sequence: RequestSequence, away: dict[Cell, cp_model.IntVar]
) -> None:
    use = sequence_memory(sequence)
    capacity = sequence.machine.capacity
    terms: dict[tuple[int, int], list[cp_model.LinearExprT]] = {}
    for (r, i, j, k), pages in away.items():
        request = sequence.requests[r]
        size = int(request.tables.page_bytes[i])
        for t in range(request.slot + i + j, request.slot + i + request.plan.chunks):
            terms.setdefault((k, t), []).append(size * pages)
            terms.setdefault((i, t), []).append(-size * pages)
    for k in range(sequence.stages):
        for t in range(sequence.slots):
            left = int(capacity[k] - use[k, t])
            model.add(sum(terms.get((k, t), [])) <= left)


def _work_rows(
    model: cp_model.CpModel,
    sequence: RequestSequence,
    away: dict[Cell, cp_model.IntVar],
    work: Sequence[cp_model.IntVar],
    port: IntArray,
) -> None:
    """Links, ports and what does not overlap with compute, of every slot."""
    machine = sequence.machine
    links, denominator, serial = len(machine.links), machine.share_denominator, 1 - machine.overlap
    rate = [int(b) * denominator for b in machine.link_rate] + [int(b) for b in machine.port_rate]
    # Bytes on a link (in the shares' unit) or port, by slot; and of one stage's chunk alone.
    loads: dict[tuple[int, int], list[cp_model.LinearExprT]] = {}
    own: dict[tuple[int, int, int, int], list[cp_model.LinearExprT]] = {}
    for (r, i, j, k), pages in away.items():
        request = sequence.requests[r]
        size = int(request.tables.page_bytes[i])
        for later in range(j, request.plan.chunks):
            share = machine.share[:, i, k] if later == j else machine.share[:, k, i]
            t = request.slot + i + later
            parts = [(e, int(share[e])) for e in np.flatnonzero(share).tolist()] + [(links + k, 1)]
            for resource, part in parts:
                term = part * size * pages
                loads.setdefault((resource, t), []).append(term)
                own.setdefault((resource, t, r, i), []).append(term)
    for (resource, t), load in loads.items():
        fixed = int(port[resource - links, t]) if resource >= links else 0
        model.add(rate[resource] * work[t] >= sum(load) + fixed)
    if serial:
        for (resource, t, r, i), load in own.items():
            scale = rate[resource] * serial.denominator
            tau = _tau(sequence.requests[r], i, t)
            model.add(scale * work[t] >= scale * tau + serial.numerator * sum(load))


def _tau(request: ScheduledRequest, stage: int, slot: int) -> int:
    tables: Tables = request.tables
    index, j = request.plan.grid_indices(tables), slot - request.slot - stage
    return int(tables.tau(stage, index[j], index[j + 1]))


def _placed(sequence: RequestSequence, values: dict[Cell, int]) -> RequestSequence:
    found = []
    for r, request in enumerate(sequence):
        pages = np.zeros((sequence.stages, request.plan.chunks, sequence.stages), dtype=np.int64)
        for (other, i, j, k), count in values.items():
            if other == r:
                pages[i, j, k] = count
        indices = request.plan.grid_indices(request.tables)
        plan = Plan.from_arrays(request.tables, indices, pages, request.plan.fingerprint)
        found.append(ScheduledRequest(request.tables, plan, request.slot, request.release, request.name))
    return RequestSequence(tuple(found))
