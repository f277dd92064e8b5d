"""Boundaries and homes with which chunks wait less for memory, where stages are unequal.

Where chunks of the best plan wait for memory to be freed, target latencies are tried between the
contention-free makespan with all KV at home and that of the plan.  For each one homes are sought that
keep to it, also for boundaries moved so that the KV placed before a stage ends fits the memory free until
then; the target is then lowered by bisection.
"""

from __future__ import annotations

from collections.abc import Iterator

from mocap_opt.arrays import IntArray
from mocap_opt.homes.admission_aware import admission_aware_cpsat, admission_aware_greedy, noncritical_ends
from mocap_opt.homes.slot_placement import pooled_shortage
from mocap_opt.replay.contention_free_makespan import contention_free_makespan
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_slp import boundary_slp
from mocap_opt.search.memory_repair import least_latency, repair_memory
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

SLACKS = (0.0, 0.0025, 0.005, 0.0075, 0.01)
"""Excess of the target over the makespan of the boundaries with all KV at home, as a part of it."""

ROUNDS = 2
"""How often boundaries are moved for one such latency; the noncritical predecessors change with them."""

BASES = 3
"""Boundaries for which homes are sought, the most promising first."""

SAMPLES = 2
"""Seeds with which each is tried."""

FINE = 1e-3
"""Width of the bisection interval at which it ends, as a part of the latency."""

TRIALS = 8
"""Latencies for which greedy homes are tried."""

SEARCH_S = 10.0
"""Wall time for one search of homes by CP-SAT, seconds."""

MOST_CELLS = 1024
"""Stages x chunks up to which CP-SAT finds homes in such a time."""

SEARCH_UNITS = 5.0
"""The same under a deterministic limit, in CP-SAT's units."""


def with_less_waiting(
    tables: Tables,
    plan: Plan,
    *,
    deterministic: bool = False,
    seed: int = 0,
    asked_to_stop: AskedToStop = never,
) -> Iterator[Plan]:
    """Plans of ever smaller contention-free makespan, if chunks of the given plan wait for memory.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Feasible.
    deterministic : bool
        Whether searches end by CP-SAT's own time instead of the clock.
    seed : int
    asked_to_stop : callable
        Checked between searches and inside them.
    """
    start = plan.grid_indices(tables)
    known, alone = (
        contention_free_makespan(tables, start, plan.remote_pages(tables)),
        contention_free_makespan(tables, start),
    )
    if alone * (1 + FINE) >= known:
        return
    # Moving boundaries takes long on large instances: greedy homes for the given ones come first.
    bases = [(alone, start)]
    for moving in (False, True):
        if moving:
            bases = _with_room(tables, start, known, seed, asked_to_stop)
        for least, indices in bases:
            for pages in admission_aware_homes(tables, indices, least, known, seed, asked_to_stop):
                known = contention_free_makespan(tables, indices, pages)
                yield Plan.from_arrays(tables, indices, pages, plan.fingerprint)
    effort = SEARCH_UNITS if deterministic else None
    for least, indices in bases:
        if tables.stages * (indices.size - 1) > MOST_CELLS:
            continue
        for pages in _bisected(tables, indices, least, known, effort, seed, asked_to_stop):
            known = contention_free_makespan(tables, indices, pages)
            yield Plan.from_arrays(tables, indices, pages, plan.fingerprint)


def _bisected(
    tables: Tables,
    indices: IntArray,
    least: int,
    known: int,
    effort: float | None,
    seed: int,
    asked_to_stop: AskedToStop,
) -> Iterator[IntArray]:
    """Homes of ever smaller makespan for one partition: CP-SAT, bisection on the latency to meet."""
    # The least latency is rarely reached: begin a quarter of the way up.
    low, trial = least, least + (known - least) // 4
    while trial < known * (1 - FINE / 4) and not asked_to_stop():
        pages = admission_aware_cpsat(
            tables,
            indices,
            trial,
            time_limit_s=SEARCH_S if effort is None else None,
            deterministic_limit=effort,
            seed=seed,
            asked_to_stop=asked_to_stop,
        ).pages
        reached = known if pages is None else contention_free_makespan(tables, indices, pages)
        if pages is not None and reached < known and _feasible(tables, indices, pages):
            known = reached
            yield pages
        else:
            low = max(low, trial)
        if known - low <= FINE * known:
            return
        trial = (low + known) // 2


def _feasible(tables: Tables, indices: IntArray, pages: IntArray) -> bool:
    return not violations(tables, Plan.from_arrays(tables, indices, pages))


def admission_aware_homes(
    tables: Tables, indices: IntArray, least: int, known: int, seed: int, asked_to_stop: AskedToStop
) -> Iterator[IntArray]:
    """Admission-aware greedy homes for one partition, each of a smaller contention-free makespan.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    least, known : int, ticks
        Makespan of the boundaries with all KV at home, and the one to beat.
    seed : int
    asked_to_stop : callable

    Yields
    ------
    int64[stage, chunk, memory]
        Pages away from home.
    """
    for n in range(TRIALS):
        latency = least + (known - least) * n // TRIALS
        if latency >= known:
            return
        for sample in range(SAMPLES * seed, SAMPLES * (seed + 1)):
            if asked_to_stop():
                return
            pages = admission_aware_greedy(tables, indices, latency, sample or None).pages
            reached = known if pages is None else contention_free_makespan(tables, indices, pages)
            if pages is not None and reached < known and _feasible(tables, indices, pages):
                known = reached
                yield pages


def _with_room(
    tables: Tables, start: IntArray, known: int, seed: int, asked_to_stop: AskedToStop
) -> list[tuple[int, IntArray]]:
    """Boundaries and the least latencies below `known` that memory permits them; the least first."""
    least = least_latency(tables, start, known)
    # The program often gains a little even where there is room, but takes long where it is large.
    large = tables.stages * (start.size - 1) > MOST_CELLS
    if large and least is not None and least <= contention_free_makespan(tables, start) * (1 + FINE):
        return [(least, start)]
    found = {indices.tobytes(): indices for indices in _moved(tables, start, asked_to_stop)}
    roomy = [
        (least, indices)
        for indices in found.values()
        if (least := least_latency(tables, indices, known)) is not None
    ]
    roomy.sort(key=lambda base: base[0])
    better = []
    for least, indices in roomy[:BASES]:
        tries = []
        for n in range(SAMPLES):
            if asked_to_stop():
                return []
            tries.append(
                repair_memory(tables, indices, least, seed=SAMPLES * seed + n, asked_to_stop=asked_to_stop)
            )
        # Of equal ones, boundaries of a smaller makespan with all KV at home leave more time for waits.
        better.append(min(tries, key=lambda base: (base[1], contention_free_makespan(tables, base[0]))))
    better.sort(key=lambda base: base[1])
    return [(least, indices) for indices, least in better]


def _moved(tables: Tables, start: IntArray, asked_to_stop: AskedToStop) -> list[IntArray]:
    """The boundaries, and others moved so that KV fits the memory that is free before each stage ends."""
    found = [start]
    alone = contention_free_makespan(tables, start)
    for slack in SLACKS:
        indices = start
        for _ in range(ROUNDS):
            if asked_to_stop():
                return found
            latency = int(alone * (1 + slack))
            gate = noncritical_ends(tables, indices, latency)
            rounded = [
                other
                for other in boundary_slp(tables, indices, gate, asked_to_stop=asked_to_stop)
                if pooled_shortage(tables, other) is None
            ]
            if not rounded:
                break
            indices = min(rounded, key=lambda other: contention_free_makespan(tables, other))
            found.append(indices)
    return found
