"""Linear rows around fractional boundaries, for `mocap_opt.search.boundary_slp`.

Rows are pairs of a sparse matrix and right-hand sides, for rows @ columns <= side.  The last columns are
steps of the boundaries, in grid steps; times are divided by the longest chunk time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.homes.slot_placement import room
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

Rows = tuple[Any, FloatArray]
"""A sparse matrix and the right-hand sides."""


def linearised_times(
    tables: Tables, at: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Chunk times and sends at fractional boundaries, and their slopes.

    Parameters
    ----------
    tables : Tables
    at : float64[chunks + 1]
        Boundaries, grid steps.

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


def recursion_rows(
    tables: Tables, at: FloatArray, predecessor: IntArray | None
) -> tuple[list[Rows], FloatArray]:
    """Rows of the recursion, linearised, and the objective: the end of the last chunk on the last stage.

    Columns before the boundaries are the ends of all chunks on all stages.

    Parameters
    ----------
    tables : Tables
    at : float64[chunks + 1]
        Boundaries, grid steps.
    predecessor : int64[stage, chunk] or None
        As for `mocap_opt.search.boundary_slp.boundary_slp`.
    """
    stages, chunks = tables.stages, at.size - 1
    work, send, by_start, by_end, send_slope = linearised_times(tables, at)
    unit = max(1.0, float(work.max()))  # all chunk times may round to nothing
    cells = stages * chunks
    done = np.arange(cells).reshape(stages, chunks)
    columns = cells + chunks + 1
    boundary = cells + np.arange(chunks + 1)

    def after(cell: IntArray, before: IntArray | None, sent: bool) -> Rows:
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
        return _row_block(columns, *entries), -fixed / unit

    def behind(cell: IntArray, other: IntArray) -> Rows:
        """Rows done[other] - work[other] <= done[cell] - work[cell]: full queues, linearised.

        Parameters
        ----------
        cell, other : int64[row]
            Chunks on stages as i * chunks + j; `other` on stage i + 1 has to start first.
        """
        (i, j), (k, m) = np.divmod(cell, chunks), np.divmod(other, chunks)
        rows = _row_block(
            columns,
            (cell, -np.ones(cell.size)),
            (other, np.ones(cell.size)),
            (boundary[j], by_start[i, j] / unit),
            (boundary[j + 1], by_end[i, j] / unit),
            (boundary[m], -by_start[k, m] / unit),
            (boundary[m + 1], -by_end[k, m] / unit),
        )
        return rows, (work[k, m] - work[i, j]) / unit

    parts = [
        after(done[:1, 0], None, False),
        after(done[1:].ravel(), done[:-1].ravel(), True),
        after(done[:, 1:].ravel(), done[:, :-1].ravel(), False),
    ]
    if predecessor is not None:
        if (predecessor >= 0).any():
            parts.append(after(done[predecessor >= 0], done[predecessor[predecessor >= 0], -1], False))
        depth = tables.queue_depth
        if depth is not None and depth < chunks and stages > 1:
            parts.append(behind(done[:-1, depth:].ravel(), done[1:, :-depth].ravel()))
    objective = np.zeros(columns)
    objective[cells - 1] = 1.0
    return parts, objective


def slot_rows(tables: Tables, at: FloatArray) -> tuple[list[Rows], FloatArray]:
    """Rows work[i, j] <= A[i + j] and send[i, j] <= X[i + j] of lockstep, linearised, and the objective.

    Columns before the boundaries are A and X by slot; the objective is their sum (formulations/joint.md).

    Parameters
    ----------
    tables : Tables
    at : float64[chunks + 1]
        Boundaries, grid steps.
    """
    stages, chunks = tables.stages, at.size - 1
    work, send, by_start, by_end, send_slope = linearised_times(tables, at)
    unit = max(1.0, float(work.max()))
    slots = stages + chunks - 1
    columns = 2 * slots + chunks + 1
    boundary = 2 * slots + np.arange(chunks + 1)
    i, j = np.divmod(np.arange(stages * chunks), chunks)
    below = -np.ones(i.size)
    computed = _row_block(
        columns,
        (i + j, below),
        (boundary[j], by_start[i, j] / unit),
        (boundary[j + 1], by_end[i, j] / unit),
    )
    k, m = i[i < stages - 1], j[i < stages - 1]
    slope = send_slope[k, m] / unit
    sent = _row_block(
        columns, (slots + k + m, below[: k.size]), (boundary[m], -slope), (boundary[m + 1], slope)
    )
    objective = np.zeros(columns)
    objective[: 2 * slots] = 1.0
    return [(computed, -work[i, j] / unit), (sent, -send[k, m] / unit)], objective


def _row_block(columns: int, *entries: tuple[IntArray, FloatArray]) -> Any:
    """Sparse rows, each with one column and one coefficient of every entry."""
    from scipy.sparse import coo_array  # noqa: PLC0415

    count = entries[0][0].size
    row = np.tile(np.arange(count), len(entries))
    column, entry = (np.concatenate([e[part] for e in entries]) for part in (0, 1))
    return coo_array((entry, (row, column)), shape=(count, columns))


def length_rows(tables: Tables, at: FloatArray, longest: int, boundary: IntArray, columns: int) -> Rows:
    """Chunks keep to the limits, and to the length that the reserve provides for.

    Parameters
    ----------
    tables : Tables
    at : float64[chunks + 1]
        Boundaries, grid steps.
    longest : int
        Grid steps.
    boundary : int64[chunks + 1]
        Columns of the boundaries.
    columns : int
        Of the program.
    """
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


def memory_rows(tables: Tables, at: FloatArray, free: IntArray, boundary: IntArray, columns: int) -> Rows:
    """In every slot the KV of all stages fits all memories together.

    Parameters
    ----------
    tables : Tables
    at : float64[chunks + 1]
        Boundaries, grid steps.
    free : int64[slot], bytes
        As `pooled_room`.
    boundary : int64[chunks + 1]
        Columns of the boundaries.
    columns : int
        Of the program.
    """
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


def level_rows(
    tables: Tables, at: FloatArray, predecessor: IntArray, free: IntArray, boundary: IntArray, columns: int
) -> Rows:
    """KV placed before a stage has ended fits beside the KV that the stages up to it have not yet freed.

    Parameters
    ----------
    tables : Tables
    at : float64[chunks + 1]
        Boundaries, grid steps.
    predecessor : int64[stage, chunk]
        As for `recursion_rows`.
    free : int64[slot], bytes
        As `pooled_room`.
    boundary : int64[chunks + 1]
        Columns of the boundaries.
    columns : int
        Of the program.
    """
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


def pooled_room(tables: Tables, start: IntArray, longest: int) -> IntArray:
    """Bytes for KV in all memories together if the longest chunk has so many steps, int64[slot].

    Parameters
    ----------
    start : int64[chunks + 1]
        Grid indices; in slots of as many chunks.
    longest : int
        Grid steps.
    """
    taken = tables.reserve(longest * tables.quantum) - tables.reserve(int(np.diff(tables.grid[start]).max()))
    free: IntArray = np.maximum(room(tables, start) - taken[:, None], 0).sum(axis=0)
    return free
