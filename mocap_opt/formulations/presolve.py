"""What is known of a program before it is built: where KV fits, which slots are worth it, how large it is."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_times import stage_classes
from mocap_opt.tables.cost_tables import Tables

MOST_NONZEROS = 5_000_000
"""Larger programs are refused before they are built."""

MOST_MASTER_ARCS = 30_000
"""Masters of the decomposed program with more chunks to choose from are not built."""

NONZEROS_PER_S = {"highs": 200_000, "cpsat": 100_000}
"""Non-zeros built a second.  CP-SAT's counts all four models that its steps build."""


def free_bytes(tables: Tables, longest: int, *, endless: bool = False) -> IntArray:
    """Bytes of every memory left for KV and prefix when the longest chunk has `longest` tokens.

    Of requests without end if `endless`, as in `mocap_opt.tables.cost_tables.Tables.held_tokens`.

    Parameters
    ----------
    tables : Tables
    longest : int
        Length of the longest chunk, tokens.
    endless : bool
        Whether requests come again without end, as in `mocap_opt.tables.cost_tables.Tables.held_tokens`.

    Returns
    -------
    int64[memory], bytes
        Negative where even the reserve does not fit.
    """
    return tables.free_memory(tables.reserve(longest, endless=endless))


def page_unit(tables: Tables) -> int:
    """Greatest common divisor of the stages' page sizes, bytes; all KV comes in multiples of it."""
    return gcd(*(int(size) for size in tables.page_bytes)) or 1


def room_units(
    tables: Tables, memory: int, longest: int, unit: int | None = None, *, endless: bool = False
) -> int:
    """Whole page units free for KV and prefix in a memory beside the reserve.

    Parameters
    ----------
    tables : Tables
    memory : int
    longest : int
        Length of the longest chunk, tokens.
    unit : int, optional
        Bytes; the tables' own `page_unit` unless given.
    endless : bool
        As for `free_bytes`.
    """
    free = free_bytes(tables, longest, endless=endless)
    return int(free[memory]) // (unit or page_unit(tables))


def prefix_units(tables: Tables, stage: int, unit: int | None = None) -> int:
    """Page units of the cached prefix on a stage; `unit` as in `room_units`.

    Parameters
    ----------
    tables : Tables
    stage : int
    unit : int, optional
    """
    return -(-int(tables.prefix_bytes[stage]) // (unit or page_unit(tables)))


def pooled_bytes(tables: Tables, longest: int) -> int:
    """Bytes of KV that all memories can hold together, each in whole multiples of `page_unit`.

    Parameters
    ----------
    tables : Tables
    longest : int
        Length of the longest chunk, tokens.
    """
    unit = page_unit(tables)
    return unit * sum(max(0, int(free)) // unit for free in free_bytes(tables, longest))


def local_homes_always_fit(tables: Tables, *, endless: bool = False) -> bool:
    """Whether every allowed plan is feasible with all KV on its own stage.

    Moving KV away only adds traffic, so then no plan with remote homes is better than the same
    plan without.

    Parameters
    ----------
    tables : Tables
    endless : bool
        Whether requests come again without end.
    """
    lengths = tables.lengths[tables.length_allowed]
    return lengths.size == 0 or fits_at_home(tables, int(lengths.max()), endless=endless)


def fits_at_home(tables: Tables, longest: int, *, endless: bool = False) -> bool:
    """Whether every stage's memory can hold all its KV and prefix; parameters as for `free_bytes`.

    Parameters
    ----------
    tables, longest, endless
        As for `free_bytes`.
    """
    room = free_bytes(tables, longest, endless=endless) - tables.prefix_bytes
    room[: tables.stages] -= tables.page_bytes * tables.pages[-1]
    return bool((room >= 0).all())


def may_hold_kv(tables: Tables, *, endless: bool = False) -> npt.NDArray[np.bool_]:
    """Whether a stage's KV may live in a memory, bool[stage, memory].

    In its own always; in others if they can hold a page of it at all, next to the least reserve.
    Nowhere else if everything always fits at home: then moving KV cannot help.

    Parameters
    ----------
    tables : Tables
    endless : bool
        Whether requests come again without end.
    """
    own = np.eye(tables.stages, tables.memories, dtype=np.bool_)
    if local_homes_always_fit(tables, endless=endless):
        return own
    shortest = int(tables.lengths[tables.length_allowed].min())
    room = free_bytes(tables, shortest, endless=endless)
    fits: npt.NDArray[np.bool_] = own | (room[None, :] >= tables.page_bytes[:, None])
    return fits


def positions(tables: Tables, slots: int) -> Tables | None:
    """The tables with as many chunk positions as W slots admit; None if W is less than an exact count.

    Chunks may be empty only in front, and a request whose first positions are empty is the same
    request some slots later: every count up to `slots` is a choice of these boundaries.

    Parameters
    ----------
    tables : Tables
    slots : int
        W.
    """
    most = min(tables.counts[-1], slots) if len(tables.counts) else 0
    if most < 1 or (tables.exact_chunks and most < tables.max_chunks):
        return None
    return replace(tables, max_chunks=most)


def slot_range(tables: Tables) -> range:
    """Every W worth trying: beyond the most chunks + stages - 1 requests no longer overlap."""
    counts = tables.counts
    return range(counts[0], counts[-1] + tables.stages) if len(counts) else range(0)


def pooled_room(tables: Tables, longest: int) -> int | None:
    """Bytes of KV and prefixes that all memories hold together; None if one has no room at all.

    Each memory's room is rounded down to a multiple of what KV and prefixes come in.

    Parameters
    ----------
    tables : Tables
    longest : int
        Length of the longest chunk, tokens.
    """
    free = free_bytes(tables, longest, endless=True)
    if (free < 0).any():
        return None
    unit = int(np.gcd.reduce([page_unit(tables), *tables.prefix_bytes.tolist()])) or 1
    return int((free // unit * unit).sum())


def estimated_nonzeros(tables: Tables, solver: str = "highs", arcs: int | None = None) -> int:
    """Non-zeros of the lockstep program (``formulations/joint.md``), counted family by family.

    Counted before anything is pruned by memory, and with every link row, so that it is rather too
    large than too small.

    Parameters
    ----------
    tables : Tables
    solver : str
        ``"highs"``: boundaries are binaries, and chunks the arcs between them.  ``"cpsat"``:
        boundaries are integers; a cell of a cost table counts like a non-zero.
    arcs : int, optional
        Chunks to choose from, if fewer than the limits allow.
    """
    chunks, steps, stages = min(tables.max_chunks, tables.steps), tables.steps, tables.stages
    durations, messages = _classes(tables)
    nonzeros = 2 * chunks * stages  # a slot's work and exchange, for each chunk in it
    if solver == "highs":
        # An arc stands in the rows of its start, its end, its times and the reserve.
        nonzeros += (allowed_arcs(tables) if arcs is None else arcs) * (3 + durations + messages)
        boundary = steps
    else:
        nonzeros += chunks * steps * (2 * durations + messages)
        if tables.residual is not None:
            nonzeros += chunks * durations * (steps + 1) ** 2  # an entry for every start and end
        boundary = 1
    if not local_homes_always_fit(tables):
        nonzeros += _homes(tables, chunks, boundary)
    return nonzeros


def estimated_building_s(tables: Tables, solver: str = "highs") -> float:
    """Seconds that building the program takes, all the models of it that a solve needs.

    The count of `estimated_nonzeros` at the rate measured at 8 x 16 x 256 and 16 x 32 x 1024 on a core
    of 2.5 GHz.

    Parameters
    ----------
    tables : Tables
    solver : str
        As for `estimated_nonzeros`.
    """
    return estimated_nonzeros(tables, solver) / NONZEROS_PER_S[solver]


def _classes(tables: Tables) -> tuple[int, int]:
    """Number of classes of stages with equal chunk times, and with equal message times."""
    times = (tables.phi, tables.memory_side, tables.prefix_cost)
    shapes = tuple(table.reshape(tables.stages, -1) for table in (tables.full_block, tables.length_cost))
    if tables.excess is not None:
        shapes += (tables.excess.reshape(tables.stages, -1),)
    durations = stage_classes(*times, *shapes)
    messages = stage_classes(tables.send[:-1].reshape(tables.stages - 1, -1)) if tables.stages > 1 else ()
    return len(set(durations.tolist())), len(set(np.asarray(messages).tolist()))


def allowed_arcs(tables: Tables) -> int:
    """Chunks that count, lengths and their order allow, over all positions.

    Only leading chunks are empty: what follows a chunk must fill the rest of the prompt, and what
    precedes it must be able to fill what lies before.
    """
    chunks, steps = min(tables.max_chunks, tables.steps), tables.steps
    lengths = np.flatnonzero(tables.length_allowed[0] | tables.length_allowed[1])
    if lengths.size == 0:
        return 0
    low, high = int(lengths[0]), int(lengths[-1])
    total = 0
    for j in range(chunks):
        after = chunks - 1 - j
        least, most = max(steps - after * high, 0), steps - after * low
        # Starts: 0, or anywhere that j chunks reach; ends: where `after` chunks can finish.
        first = np.maximum(low, least - lengths)
        last = np.minimum(j * high, most - lengths)
        total += int(np.maximum(last - first + 1, 0).sum()) if j else 0
        if j == 0 or not tables.exact_chunks:
            total += int(((lengths >= least) & (lengths <= most)).sum())
    return total


def _homes(tables: Tables, chunks: int, boundary: int) -> int:
    """Non-zeros of the rows on homes, memory, links and ports; `boundary` of them say where p_j is."""
    stages, memories = tables.stages, tables.memories
    pairs = stages * memories * chunks
    housed = pairs + stages * chunks * boundary
    stay = 2 * pairs
    memory = pairs + memories * (chunks + stages - 1)
    crossed = tables.share != 0
    crossed |= crossed.transpose(0, 2, 1)
    links = 2 * int(np.count_nonzero(crossed)) * chunks
    ports = pairs + stages * chunks * boundary
    own = (links + ports) if tables.overlap != 1 else 0
    return housed + stay + memory + links + ports + own
