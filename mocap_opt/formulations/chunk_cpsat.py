"""What a chunk costs and what its KV cache loads, as exact integer rows for the CP-SAT programs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.formulations.plan_cpsat import PlanVariables
from mocap_opt.formulations.resources import Carrier
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.tables.cost_tables import Tables

Times = Mapping[tuple[int, int], Affine]
"""Of chunks on stages, by ``(stage, chunk)``."""


def groups(*tables: IntArray) -> list[int]:
    """For every stage, the first stage whose rows in all tables are the same."""
    keys = [b"".join(table[i].tobytes() for table in tables) for i in range(tables[0].shape[0])]
    return [keys.index(key) for key in keys]


def chunk_times(plan: PlanVariables) -> dict[tuple[int, int], Affine]:
    """Tau of every chunk on every stage, by ``(stage, chunk)``, ticks; 0 for an empty chunk.

    Stages with the same tables share their variables.  A chunk's time is a difference of the
    table Phi at its two boundaries, so each boundary needs one entry per distinct stage.
    """
    tables = plan.tables
    parts = [tables.phi, tables.full_block, tables.memory_side, tables.prefix_cost, tables.length_cost]
    alike = groups(*parts, *(() if tables.residual is None else (tables.residual,)))
    places = [_place(plan, j) for j in range(plan.chunks)] if tables.residual is not None else []
    times: dict[tuple[int, int], Affine] = {}
    for i in range(tables.stages):
        if alike[i] != i:
            times.update({(i, j): times[alike[i], j] for j in range(plan.chunks)})
            continue
        streamed = _memory_side_matters(tables, i)
        phi = [
            plan.program.entry(f"phi[{i},{j}]", mark, tables.phi[i].tolist())
            for j, mark in enumerate(plan.boundary)
        ]
        for j in range(plan.chunks):
            time = _chunk_time(plan, i, j, phi[j + 1] - phi[j], streamed)
            if tables.residual is not None:
                table = np.triu(tables.residual[i], 1).ravel().tolist()
                extra = plan.program.entry(f"residual[{i},{j}]", places[j], table)
                whole = time + extra
                time = plan.program.sum(f"measured[{i},{j}]", whole, 0, plan.program.bounds(whole)[1])
            times[i, j] = time
    return times


def _place(plan: PlanVariables, j: int) -> Affine:
    """Where a chunk stands in a table over starts and ends, row by row; an empty one at 0, where it is 0."""
    points = plan.tables.steps + 1
    row = points * plan.boundary[j] + plan.boundary[j + 1]
    return plan.program.sum(f"place[{j}]", row, 0, points * points - 1)


def _memory_side_matters(tables: Tables, stage: int) -> bool:
    """Whether reading weights and KV cache takes longer than computing for some chunk."""
    for tail in (0, 1):
        for k in np.flatnonzero(tables.length_allowed[tail]):
            end = np.arange(k, tables.steps) if tail == 0 else np.array([tables.steps])
            computing = (
                tables.phi[stage, end] - tables.phi[stage, end - k] + tables.full_block[stage, tail, k]
            )
            if (tables.memory_side[stage, end] > computing).any():
                return True
    return False


def _chunk_time(plan: PlanVariables, i: int, j: int, phi: Affine, streamed: bool) -> Affine:
    """Tau of chunk j on stage i: the slower of computing and reading, plus what is added to both."""
    tables, program, used = plan.tables, plan.program, plan.used[j]
    tail = int(j == plan.chunks - 1)
    width, end = plan.steps[j], plan.boundary[j + 1]
    block, by_length = tables.full_block[i, tail], tables.length_cost[i, tail]
    context = _prefix_cost(plan, i, j)
    if not streamed:
        both = program.entry(f"length_cost[{i},{j}]", width, (block + by_length).tolist(), used)
        whole = total([(1, phi), (1, both), (1, context)])
        return program.sum(f"time[{i},{j}]", whole, 0, program.bounds(whole)[1])
    apart = program.entry(f"length_cost[{i},{j}]", width, by_length.tolist(), used)
    inside = program.entry(f"full_block[{i},{j}]", width, block.tolist(), used)
    reading = program.entry(f"memory_side[{i},{j}]", end, tables.memory_side[i].tolist(), used)
    time = program.largest(f"time[{i},{j}]")
    program.at_least(f"computing[{i},{j}]", time, total([(1, phi), (1, inside), (1, apart), (1, context)]))
    program.at_least(f"reading[{i},{j}]", time, total([(1, reading), (1, apart), (1, context)]))
    return time


def _prefix_cost(plan: PlanVariables, i: int, j: int) -> Affine:
    """Gamma (P + a) of a chunk; an empty one pays none, although it starts at 0 as well."""
    costs = plan.tables.prefix_cost[i]
    base = int(costs[0])
    extra = plan.program.entry(f"prefix_cost[{i},{j}]", plan.boundary[j], (costs - base).tolist())
    return total([(base, plan.used[j]), (1, extra)])


def send_times(plan: PlanVariables, table: IntArray, name: str = "send") -> dict[tuple[int, int], Affine]:
    """Time of every chunk's activations, by ``(stage, chunk)``, ticks; 0 if empty.

    Parameters
    ----------
    plan : PlanVariables
    table : int64[stage, 2, G + 1], ticks
        By ``[stage, tail, k]``, like ``tables.send``.
    name : str
        Of the variables.
    """
    tables = plan.tables
    alike = groups(table)
    times: dict[tuple[int, int], Affine] = {}
    for i in range(tables.stages):
        for j in range(plan.chunks):
            if alike[i] != i:
                times[i, j] = times[alike[i], j]
                continue
            entries = table[i, int(j == plan.chunks - 1)].tolist()
            times[i, j] = plan.program.entry(f"{name}[{i},{j}]", plan.steps[j], entries, plan.used[j])
    return times


def keep_between_tokens(plan: PlanVariables, times: Times) -> None:
    """Limit tau and send of every chunk over all stages, where the time between tokens is limited.

    Parameters
    ----------
    plan : PlanVariables
    times : mapping
        Tau by ``(stage, chunk)``.
    """
    limit, stages = plan.tables.between_tokens, range(plan.tables.stages)
    if limit is None:
        return
    sends = send_times(plan, plan.tables.send, name="tabulated_send")
    for j in range(plan.chunks):
        parts = [(-1, part[i, j]) for part in (times, sends) for i in stages]
        plan.program.require(f"keep_between_tokens[{j}]", total([(1, limit), *parts]))


def own_traffic(plan: PlanVariables) -> dict[tuple[int, int], Affine]:
    """Bytes a chunk moves through its stage's own port, by ``(stage, chunk)``; 0 for an empty chunk."""
    return {
        (k, j): plan.program.entry(
            f"own_traffic[{k},{j}]", plan.boundary[j + 1], plan.tables.own_traffic[k].tolist(), plan.used[j]
        )
        for k in range(plan.tables.stages)
        for j in range(plan.chunks)
    }


def kv_load(plan: PlanVariables, carrier: Carrier, i: int, j: int, *, weights: bool = True) -> Affine:
    """Units of load by what stage i writes, reads and is sent while it runs chunk j.

    Parameters
    ----------
    plan : PlanVariables
        With homes.
    carrier : Carrier
        A link or port.
    i, j : int
        Stage and chunk.
    weights : bool
        Whether streamed weights count.
    """
    write, read = carrier.write, carrier.read
    page = int(plan.tables.page_bytes[i])
    each, per_page, first = carrier.fixed_units(i, weights=weights)
    parts: list[tuple[int, Affine]] = [(each + first, plan.used[j])] if each or first else []
    if per_page:
        parts.append((per_page, plan.pages(j + 1) - plan.pages(j)))
    if first and j:
        parts.append((-first, plan.used[j - 1]))
    for k in range(plan.tables.memories):
        if k != i and (write[i, k] or read[i, k]):
            parts.append((page * int(write[i, k]), plan.written(i, j, k)))
            parts.append((page * int(read[i, k]), plan.held(i, j, k)))
    return total(parts)


def paths(
    program: IntegerProgram, name: str, whole: Affine, parts: Times, moves: Times | None = None
) -> None:
    """Require a total time to cover every path through stages and chunks: implied rows.

    For stages a <= b and any chunk j: stage a runs the chunks up to j, the stages a .. b run chunk
    j, stage b runs the chunks after j, the stages before a run the first position and those after
    b the last one.  So the total is at least stage a's sum + the largest, over j, of (chunk j on
    the stages after a, up to b + what the chunks after j take longer on b than on a) + the ends.
    One variable for that largest lets a solver turn a bound on the objective into one on every
    chunk.  The pairs a, b are the first and last stage, and those of the largest group of stages
    with equal times.

    Parameters
    ----------
    program : IntegerProgram
    name : str
    whole : Affine
        The total time.
    parts : mapping
        Time of each chunk on each stage.
    moves : mapping, optional
        Time of each chunk from each stage to the next, if paths pay it.
    """
    last, m = max(parts)[0], max(parts)[1] + 1
    alike = [next(k for k in range(i + 1) if parts[k, 0] == parts[i, 0]) for i in range(last + 1)]
    largest = max(alike, key=alike.count)
    same = [i for i, group in enumerate(alike) if group == largest]

    for a, b in sorted({(0, last), (same[0], same[-1])}):
        longest = program.largest(f"{name}[{a},{b}]")
        for j in range(m):
            after = [(1, parts[b, r] - parts[a, r]) for r in range(j + 1, m)] if a != b else []
            program.at_least(f"{name}[{a},{b},{j}]", longest, total([*_down(parts, moves, a, b, j), *after]))
        before = [(1, parts[0, 0]), *_down(parts, moves, 0, a, 0), (-1, parts[a, 0])]
        row = [
            *before,
            *((1, parts[a, j]) for j in range(m)),
            *_down(parts, moves, b, last, m - 1),
            (1, longest),
        ]
        program.require(f"{name}[{a},{b}]", whole - total(row))


def _down(parts: Times, moves: Times | None, first: int, final: int, j: int) -> list[tuple[int, Affine]]:
    """Chunk j on the stages after `first`, up to `final`, and the moves there."""
    ways = [] if moves is None else [(1, moves[i, j]) for i in range(first, final)]
    return [*((1, parts[i, j]) for i in range(first + 1, final + 1)), *ways]
