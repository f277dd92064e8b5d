"""The contention-free program for CP-SAT (``formulations/contention_free.md``), in exact integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Unpack

from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.formulations import plan_cpsat
from mocap_opt.formulations.chunk_cpsat import (
    chunk_times,
    keep_between_tokens,
    kv_load,
    own_traffic,
    paths,
    send_times,
)
from mocap_opt.formulations.chunk_graph import windows_within
from mocap_opt.formulations.contention_free_terms import resources
from mocap_opt.formulations.cpsat_decomposition import solve_in_steps
from mocap_opt.formulations.plan_cpsat import Family, PlanVariables, Windows, build_program
from mocap_opt.formulations.resources import links, ports
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.tables.cost_tables import Tables


@dataclass
class ContentionFreeVariables(PlanVariables):
    """A plan's decisions and the times of its chunks.

    Attributes
    ----------
    times, sends : dict of (int, int) to Affine
        tau and least send by ``(stage, chunk)``, ticks.
    durations, starts : dict of (int, int) to Affine
        d and S by ``(stage, chunk)``, ticks.
    ahead : dict of (int, int) to (int, int)
        By ``(stage, chunk)``, the start that has to come first for the queue to have room.
    passages : list of (str, Affine, Affine, int)
        Of every link and port: name, ticks before and after its use, units of load, units per tick.
    """

    times: dict[tuple[int, int], Affine] = field(default_factory=dict)
    sends: dict[tuple[int, int], Affine] = field(default_factory=dict)
    durations: dict[tuple[int, int], Affine] = field(default_factory=dict)
    starts: dict[tuple[int, int], Affine] = field(default_factory=dict)
    ahead: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    passages: list[tuple[str, Affine, Affine, int]] = field(default_factory=list)

    def end(self, i: int, j: int) -> Affine:
        """When a chunk ends, ticks.

        Parameters
        ----------
        i, j : int
            Stage and chunk.
        """
        return self.starts[i, j] + self.durations[i, j]


def _floored(plan: PlanVariables, name: str, target: Affine, ticks: Affine, load: Affine, rate: int) -> None:
    """Require ``target >= ticks + floor(load / rate)``.

    Parameters
    ----------
    plan : PlanVariables
    name : str
        Of the row.
    target : Affine
        From `IntegerProgram.largest`.
    ticks, load : Affine
        Ticks, and units of load.
    rate : int
        Units per tick.
    """
    plan.program.at_least(name, target, total([(rate, ticks), (1, load), (1, 1 - rate)]), rate)


def chunk_durations(plan: ContentionFreeVariables) -> None:
    """Create d, at least tau; where no KV moves it is tau."""
    plan.times = chunk_times(plan)
    plan.sends = send_times(plan, least_sends(plan.tables))
    for (i, j), time in plan.times.items():
        if not (plan.homes or plan.tables.messages):
            plan.durations[i, j] = time
            continue
        plan.durations[i, j] = plan.program.largest(f"duration[{i},{j}]")
        plan.program.at_least(f"chunk_durations[{i},{j}]", plan.durations[i, j], time)


def chunks_keep_between_tokens(plan: ContentionFreeVariables) -> None:
    """Limit tau and send of every chunk over all stages, where the time between tokens is limited."""
    keep_between_tokens(plan, plan.times)


def own_kv_takes_time(plan: ContentionFreeVariables) -> None:
    """Let d >= tau + floor((1 - f) x) and d >= floor(x), one row for each link and port in x."""
    if not (plan.homes or plan.tables.messages):
        return
    apart = 1 - plan.tables.overlap
    for carrier in [*links(plan.tables), *ports(plan.tables)]:
        for (i, j), duration in plan.durations.items():
            load = kv_load(plan, carrier, i, j)
            if not load.terms and not load.constant:
                continue
            name = f"own_kv_takes_time[{i},{j},{carrier.name}]"
            _floored(plan, name, duration, Affine(), load, carrier.rate)
            if apart:
                rate = apart.denominator * carrier.rate
                part = apart.numerator * kv_load(plan, carrier, i, j, weights=False)
                _floored(plan, name, duration, plan.times[i, j], part, rate)


def queues_have_room(plan: ContentionFreeVariables) -> None:
    """Let chunks start no earlier than those Q before them do on the next stage."""
    depth, stages = plan.tables.queue_depth, plan.tables.stages
    if depth is not None:
        plan.ahead = {(i, j): (i + 1, j - depth) for i, j in plan.times if i + 1 < stages and j >= depth}


def chunks_start(plan: ContentionFreeVariables) -> None:
    """S after the end of the stage's chunk before, after the arrival, and once queues have room.

    On stage 0 once the tokens exist and, in a loop, the chunk N before has left the last stage.
    """
    program, tables = plan.program, plan.tables
    ready: list[Affine] = []
    if tables.available is not None:
        exist = tables.available.tolist()
        ready = [program.entry(f"available[{j}]", plan.boundary[j + 1], exist) for j in range(plan.chunks)]
    for i, j in sorted(plan.durations, key=lambda cell: cell[::-1]):
        start = program.largest(f"start[{i},{j}]")
        plan.starts[i, j] = start
        if j:
            program.at_least(f"chunks_start[{i},{j},stage]", start, plan.end(i, j - 1))
        if i:
            arrival = plan.end(i - 1, j) + plan.sends[i - 1, j]
            program.at_least(f"chunks_start[{i},{j},arrival]", start, arrival)
        if i == 0 and ready:
            program.at_least(f"chunks_start[{i},{j},tokens]", start, ready[j])
        if i == 0 and tables.loop and j >= tables.stages:
            left = plan.end(tables.stages - 1, j - tables.stages)
            program.at_least(f"chunks_start[{i},{j},loop]", start, left)
        if (i, j) in plan.ahead:
            program.at_least(f"queues_have_room[{i},{j}]", start, plan.starts[plan.ahead[i, j]])


def bytes_pass_resources(plan: ContentionFreeVariables) -> None:
    """Latency >= first possible use of a link or port + its bytes / its bandwidth + what follows."""
    program, tables, m = plan.program, plan.tables, plan.chunks
    own = own_traffic(plan)
    first = program.largest("first_chunk_end", floor=1)
    for j, end in enumerate(plan.boundary[1:]):
        # Less G where a chunk before it is not empty: so the largest is the first chunk's end.
        before = tables.steps * plan.used[j - 1] if j else Affine()
        program.at_least(f"first_chunk_end[{j}]", first, end - before)
    entries: dict[tuple[str, bytes], Affine] = {}
    for r in resources(tables):
        around = Affine()
        for name, index, table in (
            ("first_use", first, r.first),
            ("what_follows", plan.boundary[m - 1], r.follow),
        ):
            key = (name, table.tobytes())
            if key not in entries:
                entries[key] = program.entry(f"{name}[{len(entries)}]", index, table.tolist())
            around += entries[key]
        moved = plan.homes or tables.messages
        kv = [kv_load(plan, r, i, j) for i, j in plan.durations] if moved else []
        mine = [] if r.stage is None else [own[r.stage, j] for j in range(m)]
        units = total([(1, r.activations), *((1, part) for part in [*kv, *mine])])
        plan.passages.append((f"bytes_pass_resources[{r.name}]", around, units, r.rate))


def latency_covers_all(plan: ContentionFreeVariables) -> None:
    """The latency is at least the last chunk's end on the last stage, and every passage."""
    latency = plan.program.largest("latency")
    plan.program.at_least("latency_covers_all", latency, plan.end(plan.tables.stages - 1, plan.chunks - 1))
    for name, around, units, rate in plan.passages:
        _floored(plan, name, latency, around, units, rate)
    plan.program.objective = latency


def paths_take_their_time(plan: ContentionFreeVariables) -> None:
    """The latency covers every path through stages and chunks: implied, the longest chunk named."""
    paths(plan.program, "paths_take_their_time", plan.program.objective, plan.times, plan.sends)


FAMILIES: tuple[Family[ContentionFreeVariables], ...] = (
    ("boundaries", plan_cpsat.boundaries),
    ("empty_chunks_lead", plan_cpsat.empty_chunks_lead),
    ("homes_stay", plan_cpsat.homes_stay),
    ("memory_has_room", plan_cpsat.memory_has_room),
    ("pooled_memory_has_room", plan_cpsat.pooled_memory_has_room),
    ("chunk_durations", chunk_durations),
    ("chunks_keep_between_tokens", chunks_keep_between_tokens),
    ("own_kv_takes_time", own_kv_takes_time),
    ("queues_have_room", queues_have_room),
    ("chunks_start", chunks_start),
    ("bytes_pass_resources", bytes_pass_resources),
    ("latency_covers_all", latency_covers_all),
    ("paths_take_their_time", paths_take_their_time),
)


def build(
    tables: Tables,
    *,
    homes: bool = True,
    windows: Windows | None = None,
    families: Sequence[Family[ContentionFreeVariables]] = FAMILIES,
) -> ContentionFreeVariables:
    """Build the contention-free program.

    Parameters
    ----------
    tables, homes, windows, families
        As for `mocap_opt.formulations.joint_cpsat.build`.

    Returns
    -------
    ContentionFreeVariables
        Its ``program`` holds variables, rows and objective.
    """
    plan = ContentionFreeVariables(IntegerProgram(), tables, tables.counts[-1], homes, windows)
    return build_program(plan, families)


def solve_contention_free(
    tables: Tables,
    start: Plan | None = None,
    *,
    lower_bound: int | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Find the least contention-free latency over all plans; it bounds every execution.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan; the answer is never worse.
    lower_bound : int, optional
        A proved lower bound on the contention-free latency of every plan, ticks.
    **options
        `mocap_opt.solvers.limits.ProgramOptions`.

    Returns
    -------
    ProgramResult
        Objective and bound in ticks; the bound covers every execution of every feasible plan.
    """
    narrow = partial(windows_within, tables, sends=least_sends(tables))
    return solve_in_steps(build, narrow, tables, start, lower_bound=lower_bound, limits=Limits(**options))
