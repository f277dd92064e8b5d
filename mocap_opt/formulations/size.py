"""How large the lockstep program of an instance would be, without building it."""

from __future__ import annotations

import numpy as np

from mocap_opt.flow_shop.chunk_times import stage_classes
from mocap_opt.formulations.memory_limits import local_homes_always_fit
from mocap_opt.tables.cost_tables import Tables

MOST_NONZEROS = 5_000_000
"""Larger programs are refused before they are built."""

NONZEROS_PER_S = {"highs": 200_000, "cpsat": 100_000}
"""Non-zeros built a second.  CP-SAT's counts all four models that its steps build."""


def estimated_nonzeros(tables: Tables, solver: str = "highs") -> int:
    """Non-zeros of the lockstep program (``formulations/joint.md``), counted family by family.

    Counted before anything is pruned by memory, and with every link row, so that it is rather too
    large than too small.

    Parameters
    ----------
    tables : Tables
    solver : str
        ``"highs"``: boundaries are binaries, and chunks the arcs between them.  ``"cpsat"``:
        boundaries are integers; a cell of a cost table counts like a non-zero.
    """
    chunks, steps, stages = min(tables.max_chunks, tables.steps), tables.steps, tables.stages
    durations, messages = _classes(tables)
    nonzeros = 2 * chunks * stages  # a slot's work and exchange, for each chunk in it
    if solver == "highs":
        # An arc stands in the rows of its start, its end, its times and the reserve.
        nonzeros += _arcs(tables) * (3 + durations + messages)
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
    """
    return estimated_nonzeros(tables, solver) / NONZEROS_PER_S[solver]


def _classes(tables: Tables) -> tuple[int, int]:
    """Number of classes of stages with equal chunk times, and with equal message times."""
    times = (tables.phi, tables.memory_side, tables.prefix_cost)
    shapes = tuple(table.reshape(tables.stages, -1) for table in (tables.full_block, tables.length_cost))
    if tables.residual is not None:
        shapes += (tables.residual.reshape(tables.stages, -1),)
    durations = stage_classes(*times, *shapes)
    messages = stage_classes(tables.send[:-1].reshape(tables.stages - 1, -1)) if tables.stages > 1 else ()
    return len(set(durations.tolist())), len(set(np.asarray(messages).tolist()))


def _arcs(tables: Tables) -> int:
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
    stages = tables.stages
    pairs = stages * stages * chunks
    housed = pairs + stages * chunks * boundary
    stay = 2 * pairs
    memory = pairs + stages * (chunks + stages - 1)
    crossed = tables.share != 0
    crossed |= crossed.transpose(0, 2, 1)
    links = 2 * int(np.count_nonzero(crossed)) * chunks
    ports = pairs + stages * chunks * boundary
    own = (links + ports) if tables.overlap != 1 else 0
    return housed + stay + memory + links + ports + own
