"""Is a plan feasible?  The specification, with no solver in it.

A plan is judged slot by slot (``formulations/replay.md``): in slot t stage i works on chunk
j = t - i, KV cache is charged to its home from the start of its chunk until its stage has
processed the last chunk, and every memory must hold what is charged to it in every slot.  Several
requests follow each other on every stage; requests without end are judged in the W slots of one interval.
Programs, heuristics and bounds are measured against this module and share no code with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_shortage


@dataclass(frozen=True)
class Violation:
    """One rule that a plan breaks.

    Attributes
    ----------
    rule : str
        ``"boundaries"`` (from 0 to S, strictly increasing), ``"grid"`` (each boundary a grid
        point), ``"count"`` (a number of chunks that is allowed), ``"length"`` (each chunk within
        the limits), ``"between tokens"`` (each chunk soon enough through all stages), ``"homes"``
        (each home names a stage, a chunk and another memory once, and they add up to no more than
        the chunk), ``"slots"`` (each request starts once the first stage has had all chunks of the
        one before), ``"release"`` (no negative time) or ``"capacity"``.
    message : str
        What is wrong, in words; also ``str()`` of the violation.
    memory, slot : int or None
        Where, for ``"capacity"``.
    bytes_short : int or None
        By how much, for ``"capacity"``.
    """

    rule: str
    message: str
    memory: int | None = None
    slot: int | None = None
    bytes_short: int | None = None

    def __str__(self) -> str:
        """Return the message."""
        return self.message


def memory_use(tables: Tables, plan: Plan) -> IntArray:
    """`schedule_memory` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Boundaries on the grid, 0 first and S last; homes within range.
    """
    return schedule_memory(Schedule.of(tables, plan))


def schedule_memory(schedule: Schedule) -> IntArray:
    """Bytes in every memory in every slot.

    Row (k, t) is the left-hand side of the memory row: static + reserve of the longest chunk + of every
    request its prefix on stage k while k works on it and the KV cache whose home is k.

    Parameters
    ----------
    schedule : Schedule
        Boundaries on the grid, 0 first and S last; homes within range.

    Returns
    -------
    int64[memory, slot], bytes
        Slots are 0 .. chunks + stages - 2 of one request, and 0 .. W - 1 of requests without end.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    fixed = schedule.machine.static + schedule.reserve
    live: IntArray = schedule.overlay([live_kv(request.tables, request.plan) for request in schedule])
    return fixed[:, None] + live


def live_kv(tables: Tables, plan: Plan) -> IntArray:
    """Bytes of a request's prefix and KV cache in every memory in every slot of its own.

    Parameters
    ----------
    tables : Tables
    plan : Plan

    Returns
    -------
    int64[memory, slot], bytes
        Slots 0 .. chunks + stages - 2.

    Raises
    ------
    ValueError
        If a boundary is not on the grid.
    """
    held = np.cumsum(plan.all_pages(tables), axis=1)
    chunks = plan.chunks
    use = np.zeros((tables.memories, chunks + tables.stages - 1), dtype=np.int64)
    for i in range(tables.stages):
        alive = slice(i, i + chunks)
        use[i, alive] += tables.prefix_bytes[i]
        use[:, alive] += tables.page_bytes[i] * held[i].T
    return use


def violations(tables: Tables, plan: Plan) -> list[Violation]:
    """`schedule_violations` of one request.

    Parameters
    ----------
    tables : Tables
    plan : Plan
        Anything of the right types.

    Examples
    --------
    Two chunks with all KV cache at home, which neither memory can hold:

    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> for broken in mocap_opt.violations(mocap_opt.build_tables(instance), mocap_opt.Plan((0, 2, 4))):
    ...     print(broken.rule, broken.memory, broken.slot, broken.bytes_short)
    capacity 0 1 2
    capacity 1 2 2
    """
    return schedule_violations(Schedule.of(tables, plan))


def schedule_violations(schedule: Schedule) -> list[Violation]:
    """Everything that makes a schedule infeasible; an empty list means feasible.

    Parameters
    ----------
    schedule : Schedule
        Anything of the right types; malformed plans are reported, not raised.

    Returns
    -------
    list of Violation
        All of them, in the order of the rules; capacity by memory, then slot.  Capacity is
        judged only where it has a meaning: not while a boundary, a home or a slot is malformed.
    """
    found: list[Violation] = []
    for number, request in enumerate(schedule):
        alone = _rules_of_plan(request.tables, request.plan)
        if len(schedule) > 1:
            alone = [replace(v, message=f"request {number}: {v.message}") for v in alone]
        found += alone
    found += [*_slots(schedule), *_release(schedule)]
    if not any(v.rule in ("boundaries", "grid", "homes", "slots") for v in found):
        found += _capacity(schedule)
    return found


def _rules_of_plan(tables: Tables, plan: Plan) -> list[Violation]:
    shape = [*_boundaries(tables, plan), *_grid(tables, plan)]
    found = [*shape, *_count(tables, plan), *_length(tables, plan)]
    found += [] if shape else _between_tokens(tables, plan)
    return [*found, *_homes(tables, plan, count_pages=not shape)]


def _slots(schedule: Schedule) -> list[Violation]:
    first, last = schedule.requests[0], schedule.requests[-1]
    found = []
    if first.slot < 0:
        found.append(Violation("slots", f"request 0 starts in slot {first.slot}, before slot 0"))
    for number, (before, after) in enumerate(pairwise(schedule), start=1):
        free = before.slot + before.plan.chunks
        if after.slot < free:
            text = f"request {number} starts in slot {after.slot}, but request {number - 1} needs the first "
            found.append(Violation("slots", f"{text}stage until slot {free}"))
    needed = max(last.slot + last.plan.chunks - first.slot, 1)
    if schedule.interval is not None and schedule.interval < needed:
        text = f"requests {schedule.interval} slots apart, but each has {needed} chunks"
        found.append(Violation("slots", text))
    return found


def _release(schedule: Schedule) -> list[Violation]:
    return [
        Violation("release", f"request {number} is released at {request.release}, before time 0")
        for number, request in enumerate(schedule)
        if request.release < 0
    ]


def _boundaries(tables: Tables, plan: Plan) -> list[Violation]:
    marks = plan.boundaries
    if len(marks) < 2:
        return [
            Violation("boundaries", f"{len(marks)} boundaries: at least 2 are needed, 0 and {tables.tokens}")
        ]
    found = []
    if marks[0] != 0:
        found.append(Violation("boundaries", f"the first boundary is {marks[0]}, not 0"))
    if marks[-1] != tables.tokens:
        found.append(Violation("boundaries", f"the last boundary is {marks[-1]}, not S = {tables.tokens}"))
    for j, (start, end) in enumerate(pairwise(marks)):
        if end <= start:
            found.append(
                Violation("boundaries", f"chunk {j} runs from {start} to {end}: it must not be empty")
            )
    return found


def _grid(tables: Tables, plan: Plan) -> list[Violation]:
    points = frozenset(tables.grid.tolist())
    return [
        Violation(
            "grid", f"boundary {mark} is neither a multiple of {tables.quantum} in the prompt nor its end"
        )
        for mark in plan.boundaries
        if mark not in points
    ]


def _count(tables: Tables, plan: Plan) -> list[Violation]:
    if plan.chunks in tables.counts:
        return []
    allowed = tables.counts
    wanted = f"exactly {allowed[0]}" if tables.exact_chunks else f"1 to {allowed[-1]}"
    return [Violation("count", f"{plan.chunks} chunks, but the instance asks for {wanted}")]


def _length(tables: Tables, plan: Plan) -> list[Violation]:
    found = []
    for j, (start, end) in enumerate(pairwise(plan.boundaries)):
        if not tables.min_length <= end - start <= tables.max_length:
            limits = f"{tables.min_length} to {tables.max_length}"
            found.append(Violation("length", f"chunk {j} has {end - start} tokens; allowed are {limits}"))
    return found


def _between_tokens(tables: Tables, plan: Plan) -> list[Violation]:
    """Judge the time of every chunk on all stages and between them, where it is limited."""
    limit = tables.between_tokens
    if limit is None:
        return []
    index, found = plan.grid_indices(tables).tolist(), []
    for j, (start, end) in enumerate(pairwise(index)):
        each = range(tables.stages)
        ticks = sum(int(tables.tau(i, start, end)) + int(tables.send_time(i, start, end)) for i in each)
        if ticks > limit:
            text = f"chunk {j} takes {ticks} ticks through all stages; {limit} are allowed between tokens"
            found.append(Violation("between tokens", text))
    return found


def _homes(tables: Tables, plan: Plan, count_pages: bool) -> list[Violation]:
    found = []
    placed: Counter[tuple[int, int]] = Counter()
    times: Counter[tuple[int, int, int]] = Counter()
    for home in plan.homes:
        if home.stage not in range(tables.stages) or home.memory not in range(tables.memories):
            there = f"stages and memories are 0 to {tables.stages - 1}"
            if tables.pools:
                there = f"stages are 0 to {tables.stages - 1}, memories 0 to {tables.memories - 1}"
            found.append(Violation("homes", f"{home}: {there}"))
        elif home.chunk not in range(plan.chunks):
            found.append(Violation("homes", f"{home}: chunks are 0 to {plan.chunks - 1}"))
        elif home.stage == home.memory:
            found.append(Violation("homes", f"{home}: what stays on its own stage is not listed"))
        elif home.pages <= 0:
            found.append(Violation("homes", f"{home}: pages must be positive"))
        else:
            placed[home.stage, home.chunk] += home.pages
            times[home.stage, home.chunk, home.memory] += 1
    for (i, j, k), count in times.items():
        if count > 1:
            found.append(Violation("homes", f"stage {i}, chunk {j}, memory {k} is listed {count} times"))
    if count_pages:
        there = np.diff(tables.pages[plan.grid_indices(tables)]).tolist()
        for (i, j), pages in placed.items():
            if pages > there[j]:
                text = f"stage {i}, chunk {j}: {pages} pages placed elsewhere, but it has {there[j]}"
                found.append(Violation("homes", text))
    return found


def _capacity(schedule: Schedule) -> list[Violation]:
    use, capacity = schedule_memory(schedule), schedule.machine.capacity
    found = []
    for memory, slot in np.argwhere(use > capacity[:, None]).tolist():
        needed, there = int(use[memory, slot]), int(capacity[memory])
        cyclic = "cyclic slot" if schedule.endless else "slot"
        text = f"{schedule.machine.memory_name(memory)}, {cyclic} {slot}: {format_shortage(needed, there)}"
        found.append(Violation("capacity", text, memory, slot, needed - there))
    return found


def smallest_interval(tables: Tables, plan: Plan) -> Schedule | None:
    """The plan repeated with the fewest slots between requests that are feasible; None if none are.

    With W = chunks + stages - 1 no two requests share a slot, so more idle slots change nothing.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    """
    for interval in range(plan.chunks, plan.chunks + tables.stages):
        schedule = Schedule.of(tables, plan, interval)
        if not schedule_violations(schedule):
            return schedule
    return None
