"""Boundaries by sequential linear programming, for unequal stages, which have no closed form.

Around given boundaries every chunk's time is nearly linear in the chunk's ends.  A linear program over
the recursion then moves all boundaries at once, inside a trust region, the pooled memory rows and the
limits on lengths; boundaries are fractions of grid steps until they are rounded at the end.  It only
proposes: plans are priced and verified elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.recursion import earliest_starts, unqueued_ends
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.slot_placement import produced, room
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

MOST_CELLS = 4096
"""Largest stages x chunks; then a program takes about a second."""

ROUNDS = 12
"""Linear programs at most."""

ROUNDINGS = 16
"""Roundings tried: up from 1/16, 2/16, ... of a step."""


def boundary_slp_plans(tables: Tables, plan: Plan, *, asked_to_stop: AskedToStop = never) -> list[Plan]:
    """Move all boundaries of a plan at once, and round them.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible; its count of chunks is kept.
    asked_to_stop : callable
        Checked between linear programs, and between roundings once there is a plan.

    Returns
    -------
    list of Plan
        Feasible plans with greedy homes, one for each different rounding that has any.
    """
    plans: list[Plan] = []
    for indices in boundary_slp(tables, plan.grid_indices(tables), asked_to_stop=asked_to_stop):
        if plans and asked_to_stop():
            break
        pages = greedy(tables, indices).pages
        if pages is None:
            continue
        found = Plan.from_arrays(tables, indices, pages)
        if not violations(tables, found):
            plans.append(found)
    return plans


def boundary_slp(
    tables: Tables,
    start: IntArray,
    predecessor: IntArray | None = None,
    *,
    asked_to_stop: AskedToStop = never,
) -> list[IntArray]:
    """Move all boundaries at once, and round them.

    Parameters
    ----------
    start : int64[chunks + 1]
        Grid indices of the boundaries; their count is kept.
    predecessor : int64[stage, chunk], optional
        The last stage for whose end each chunk waits, -1 for none: what comes in before a stage has ended
        has to fit all memories together.  Without it memory is freed in the order of the slots,
        and no chunk waits for it.
    asked_to_stop : callable
        Checked between linear programs.

    Returns
    -------
    list of int64[chunks + 1]
        Grid indices, one for each different rounding.
    """
    chunks = start.size - 1
    if chunks < 2 or tables.stages * chunks > MOST_CELLS:
        return []
    at = start.astype(np.float64)
    longest = _longest(tables, start)
    best, trust = _price(tables, at, predecessor), max(1.0, tables.steps / chunks / 4)
    if predecessor is not None:
        best = np.inf  # the start may lack room
    for _ in range(ROUNDS):
        if asked_to_stop() or trust < 0.05:
            break
        step = _step(tables, at, start, longest, trust, predecessor)
        if step is None:
            break
        price = _price(tables, at + step, predecessor)
        if price < best:
            at, best, trust = at + step, price, 1.5 * trust
        else:
            trust /= 4
    return _roundings(tables, at)


def _price(tables: Tables, at: FloatArray, predecessor: IntArray | None) -> float:
    """The recursion's latency at fractional boundaries, ticks; with predecessors, in whole ticks."""
    work, send, *_ = _times(tables, at)
    if predecessor is not None:
        whole, sent = np.rint(work).astype(np.int64), np.rint(send).astype(np.int64)
        return float(earliest_starts(whole, sent, tables.queue_depth, predecessor)[-1, -1] + whole[-1, -1])
    return float(list(unqueued_ends(zip(work, send, strict=True)))[-1][-1])


def _times(
    tables: Tables, at: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Chunk times and sends at fractional boundaries, and their slopes.

    Returns
    -------
    work, send : float64[stage, chunk], ticks
    by_start, by_end : float64[stage, chunk], ticks per grid step
        Slopes of `work` in the chunk's ends.
    send_slope : float64[stage, chunk], ticks per grid step of length
    """
    floor = np.clip(np.floor(at).astype(np.int64), 0, tables.steps - 1)
    part = at - floor

    def value(table: IntArray) -> tuple[FloatArray, FloatArray]:
        slope = (table[:, floor + 1] - table[:, floor]).astype(np.float64)
        return table[:, floor] + part * slope, slope

    lengths = np.diff(at)
    whole = np.clip(np.floor(lengths).astype(np.int64), 1, tables.steps - 1)

    def by_length(table: IntArray) -> tuple[FloatArray, FloatArray]:
        # The last chunk's own row differs by less than a grid step; rounded boundaries are priced exactly.
        slope = (table[:, 0, whole + 1] - table[:, 0, whole]).astype(np.float64)
        return table[:, 0, whole] + (lengths - whole) * slope, slope

    phi, phi_slope = value(tables.phi)
    memory, memory_slope = value(tables.memory_side)
    prefix, prefix_slope = value(tables.prefix_cost)
    blocks, blocks_slope = by_length(tables.full_block)
    costs, costs_slope = by_length(tables.length_cost)
    send, send_slope = by_length(tables.send)
    compute = phi[:, 1:] - phi[:, :-1] + blocks
    bound = compute >= memory[:, 1:]
    work = np.where(bound, compute, memory[:, 1:]) + prefix[:, :-1] + costs
    by_end = np.where(bound, phi_slope[:, 1:] + blocks_slope, memory_slope[:, 1:]) + costs_slope
    by_start = np.where(bound, -phi_slope[:, :-1] - blocks_slope, 0.0) + prefix_slope[:, :-1] - costs_slope
    return work, send, by_start, by_end, send_slope


def _step(
    tables: Tables, at: FloatArray, start: IntArray, longest: int, trust: float, predecessor: IntArray | None
) -> FloatArray | None:
    """The best step of the boundaries inside the trust region; None if the program fails."""
    # SciPy is slow to load, and only this function needs it.
    from scipy.optimize import linprog  # noqa: PLC0415
    from scipy.sparse import coo_array, csr_array, vstack  # noqa: PLC0415

    stages, chunks = tables.stages, at.size - 1
    work, send, by_start, by_end, send_slope = _times(tables, at)
    unit = max(1.0, float(work.max()))  # all chunk times may round to nothing
    cells = stages * chunks
    done = np.arange(cells).reshape(stages, chunks)
    columns = cells + chunks + 1
    boundary = cells + np.arange(chunks + 1)

    def after(cell: IntArray, before: IntArray | None, sent: bool) -> tuple[Any, FloatArray]:
        """Rows done[before] + send + work - done[cell] <= 0, linearised.

        Parameters
        ----------
        cell : int64[row]
            Chunks on stages as i * chunks + j.
        before : int64[row] or None
            Cells that end first; None: the start, at time 0.
        sent : bool
            Whether the chunk comes from stage i - 1, so that its send counts.
        """
        i, j = np.divmod(cell, chunks)
        by_a, by_b, fixed = by_start[i, j].copy(), by_end[i, j].copy(), work[i, j].copy()
        if sent:
            by_a, by_b = by_a - send_slope[i - 1, j], by_b + send_slope[i - 1, j]
            fixed += send[i - 1, j]
        entries = [(cell, -np.ones(cell.size)), (boundary[j], by_a / unit), (boundary[j + 1], by_b / unit)]
        if before is not None:
            entries.append((before, np.ones(cell.size)))
        row = np.tile(np.arange(cell.size), len(entries))
        column, entry = (np.concatenate([e[part] for e in entries]) for part in (0, 1))
        return coo_array((entry, (row, column)), shape=(cell.size, columns)), -fixed / unit

    def behind(cell: IntArray, other: IntArray) -> tuple[Any, FloatArray]:
        """Rows done[other] - work[other] <= done[cell] - work[cell]: full queues, linearised.

        Parameters
        ----------
        cell, other : int64[row]
            Chunks on stages as i * chunks + j; `other` on stage i + 1 has to start first.
        """
        (i, j), (k, m) = np.divmod(cell, chunks), np.divmod(other, chunks)
        entries = [
            (cell, -np.ones(cell.size)),
            (other, np.ones(cell.size)),
            (boundary[j], by_start[i, j] / unit),
            (boundary[j + 1], by_end[i, j] / unit),
            (boundary[m], -by_start[k, m] / unit),
            (boundary[m + 1], -by_end[k, m] / unit),
        ]
        row = np.tile(np.arange(cell.size), len(entries))
        column, entry = (np.concatenate([e[part] for e in entries]) for part in (0, 1))
        return coo_array((entry, (row, column)), shape=(cell.size, columns)), (work[k, m] - work[i, j]) / unit

    free = _pooled_room(tables, start, longest)
    parts = [
        after(done[:1, 0], None, False),
        after(done[1:].ravel(), done[:-1].ravel(), True),
        after(done[:, 1:].ravel(), done[:, :-1].ravel(), False),
        _length_rows(tables, at, longest, boundary, columns),
        _memory_rows(tables, at, free, boundary, columns),
    ]
    if predecessor is not None:
        parts.append(_level_rows(tables, at, predecessor, free, boundary, columns))
        if (predecessor >= 0).any():
            parts.append(after(done[predecessor >= 0], done[predecessor[predecessor >= 0], -1], False))
        depth = tables.queue_depth
        if depth is not None and depth < chunks and stages > 1:
            parts.append(behind(done[:-1, depth:].ravel(), done[1:, :-depth].ravel()))
    lower, upper = np.zeros(columns), np.full(columns, np.inf)
    lower[boundary[1:-1]], upper[boundary[1:-1]] = -trust, trust
    upper[boundary[[0, -1]]] = 0.0
    objective = np.zeros(columns)
    objective[cells - 1] = 1.0
    solve: Any = linprog  # sparse matrices and arrays of bounds are fine, whatever the stubs say
    result = solve(
        objective,
        A_ub=csr_array(vstack([rows for rows, _ in parts])),
        b_ub=np.concatenate([side for _, side in parts]),
        bounds=np.stack([lower, upper], axis=1),
        method="highs-ds",
    )
    if result.status != 0:
        return None
    step: FloatArray = result.x[boundary]
    return step


def _longest(tables: Tables, start: IntArray) -> int:
    """The longest chunk to allow, grid steps: the longest whose reserve leaves room for the start's KV."""
    allowed = np.flatnonzero(tables.length_allowed[0])
    now = int(np.diff(start).max())
    most = max(now, int(allowed[-1]) if allowed.size else now)
    need = tables.page_bytes @ produced(tables, start)
    for steps in sorted({most, *(min(most, now * part // 8) for part in (32, 16, 12, 10, 9))}, reverse=True):
        if np.all(need <= _pooled_room(tables, start, steps)):
            return max(now, steps)
    return now


def _pooled_room(tables: Tables, start: IntArray, longest: int) -> IntArray:
    """Bytes for KV in all memories together if the longest chunk has so many steps, int64[slot]."""
    taken = tables.reserve(longest * tables.quantum) - tables.reserve(int(np.diff(tables.grid[start]).max()))
    free: IntArray = np.maximum(room(tables, start) - taken[:, None], 0).sum(axis=0)
    return free


def _length_rows(
    tables: Tables, at: FloatArray, longest: int, boundary: IntArray, columns: int
) -> tuple[Any, FloatArray]:
    """Chunks keep to the limits, and to the length that the reserve provides for."""
    from scipy.sparse import coo_array  # noqa: PLC0415

    chunks = at.size - 1
    allowed = np.flatnonzero(tables.length_allowed[0])
    least = float(allowed[0]) if allowed.size else 1.0
    row = np.tile(np.arange(chunks), 2)
    column = np.concatenate([boundary[1:], boundary[:-1]])
    sign = np.repeat([1.0, -1.0], chunks)
    rows = coo_array(
        (np.concatenate([sign, -sign]), (np.concatenate([row, row + chunks]), np.tile(column, 2))),
        shape=(2 * chunks, columns),
    )
    lengths = np.diff(at)
    return rows, np.concatenate([np.maximum(longest - lengths, 0.0), np.maximum(lengths - least, 0.0)])


def _memory_rows(
    tables: Tables, at: FloatArray, free: IntArray, boundary: IntArray, columns: int
) -> tuple[Any, FloatArray]:
    """In every slot the KV of all stages fits all memories together."""
    from scipy.sparse import coo_array  # noqa: PLC0415

    stages, chunks = tables.stages, at.size - 1
    per_step = tables.page_bytes * (tables.quantum / tables.page)
    scale = float(per_step.sum() * tables.steps)
    slot, stage = (a.ravel() for a in np.meshgrid(np.arange(free.size), np.arange(stages), indexing="ij"))
    finished = slot - stage + 1
    alive = (finished >= 1) & (finished <= chunks)
    slot, stage, finished = slot[alive], stage[alive], finished[alive]
    used = np.bincount(slot, weights=per_step[stage] * at[finished], minlength=free.size)
    rows = coo_array((per_step[stage] / scale, (slot, boundary[finished])), shape=(free.size, columns))
    return rows, np.maximum(free - used, 0.0) / scale


def _level_rows(
    tables: Tables, at: FloatArray, predecessor: IntArray, free: IntArray, boundary: IntArray, columns: int
) -> tuple[Any, FloatArray]:
    """KV placed before a stage has ended fits beside the KV that the stages up to it have not yet freed."""
    from scipy.sparse import csr_array  # noqa: PLC0415

    stages, chunks = tables.stages, at.size - 1
    per_step = tables.page_bytes * (tables.quantum / tables.page)
    scale = float(per_step.sum() * tables.steps)
    rows = np.zeros((stages, columns))
    side = np.empty(stages)
    for level in range(-1, stages - 1):
        brought = per_step @ (predecessor <= level)
        rows[level + 1, boundary[1:]] += brought
        rows[level + 1, boundary[:-1]] -= brought
        freed = float(per_step[: level + 1].sum()) * tables.steps
        room_then = float(free[min(chunks + level, free.size - 1)])
        side[level + 1] = room_then + freed - float(brought @ np.diff(at))
    return csr_array(rows / scale), side / scale


def _roundings(tables: Tables, at: FloatArray) -> list[IntArray]:
    found: dict[bytes, IntArray] = {}
    for shift in np.arange(ROUNDINGS) / ROUNDINGS:
        indices: IntArray = np.floor(at + shift).astype(np.int64)
        indices[0], indices[-1] = 0, tables.steps
        if np.all(np.diff(indices) > 0):
            found.setdefault(indices.tobytes(), indices)
    return list(found.values())
