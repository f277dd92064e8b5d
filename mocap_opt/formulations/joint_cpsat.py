"""The lockstep program for CP-SAT (``formulations/joint.md``), in exact integers.

Same decisions and same rows as `mocap_opt.formulations.joint`; boundaries are integers that index
the cost tables instead of binaries, and every row is multiplied out, so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Unpack

import numpy as np

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
from mocap_opt.formulations.cpsat_decomposition import solve_in_steps
from mocap_opt.formulations.plan_cpsat import Family, PlanVariables, Windows, build_program
from mocap_opt.formulations.resources import links, ports, undominated
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.limits import Limits, ProgramOptions
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.tables.cost_tables import Tables


@dataclass
class JointVariables(PlanVariables):
    """A plan's decisions and the times of its slots.

    Attributes
    ----------
    work, exchange : list of Affine
        A_t and X_t of every slot, ticks.
    times, sends : dict of (int, int) to Affine
        tau and send by ``(stage, chunk)``, ticks.
    own_traffic : dict of (int, int) to Affine
        Bytes at the stage's own port by ``(stage, chunk)``.
    """

    work: list[Affine] = field(default_factory=list)
    exchange: list[Affine] = field(default_factory=list)
    times: dict[tuple[int, int], Affine] = field(default_factory=dict)
    sends: dict[tuple[int, int], Affine] = field(default_factory=dict)
    own_traffic: dict[tuple[int, int], Affine] = field(default_factory=dict)


def slot_times(plan: JointVariables) -> None:
    """Create A_t and X_t, after what they depend on: tau, send and own traffic of every chunk."""
    plan.times, plan.sends = chunk_times(plan), send_times(plan, plan.tables.send)
    for j in range(plan.chunks):
        plan.rider_bytes(j)  # added before the slots that depend on them
    plan.own_traffic = own_traffic(plan)
    plan.work = [plan.program.largest(f"work[{t}]") for t in range(plan.slots)]
    plan.exchange = [plan.program.largest(f"exchange[{t}]") for t in range(plan.slots)]
    plan.program.objective = total((1, part) for part in [*plan.work, *plan.exchange])


def compute_ends(plan: JointVariables) -> None:
    """A_t >= tau of every chunk in slot t."""
    for t, slot in enumerate(plan.work):
        for i, j in plan.running(t):
            plan.program.at_least(f"compute_ends[{t},{i}]", slot, plan.times[i, j])


def own_kv_delays_compute(plan: JointVariables) -> None:
    """A_t >= tau + (1 - f) x, with x one row for each link and port that the chunk's own KV loads."""
    apart = 1 - plan.tables.overlap
    if not apart or not (plan.homes or plan.tables.messages):
        return
    for carrier in [*links(plan.tables, endless=plan.endless), *ports(plan.tables)]:
        factor = apart.denominator * carrier.rate
        for t, slot in enumerate(plan.work):
            for i, j in plan.running(t):
                load = kv_load(plan, carrier, i, j, weights=False)
                if load.terms or load.constant:
                    right = total([(factor, plan.times[i, j]), (apart.numerator, load)])
                    name = f"own_kv_delays_compute[{t},{i},{carrier.name}]"
                    plan.program.at_least(name, slot, right, factor)


def kv_passes_links(plan: JointVariables) -> None:
    """A_t >= KV bytes that cross a link in slot t / its bandwidth."""
    if not (plan.homes or plan.tables.messages):
        return
    for link in links(plan.tables, endless=plan.endless):
        for t, slot in enumerate(plan.work):
            load = total((1, kv_load(plan, link, i, j)) for i, j in plan.running(t))
            plan.program.at_least(f"kv_passes_links[{t},{link.name}]", slot, load, link.rate)


def kv_passes_ports(plan: JointVariables) -> None:
    """A_t >= bytes at a memory port in slot t / its bandwidth, the stage's own traffic included."""
    tables, program = plan.tables, plan.program
    for k, port in enumerate(ports(tables)):
        for t, slot in enumerate(plan.work):
            here = [(1, plan.own_traffic[k, j]) for i, j in plan.running(t) if i == k]
            remote = [(1, kv_load(plan, port, i, j)) for i, j in plan.running(t)]
            name = f"kv_passes_ports[{t},{port.name}]"
            program.at_least(name, slot, total([*here, *remote]), port.rate)


def messages_end(plan: JointVariables) -> None:
    """X_t >= the uncontended time of every message in slot t."""
    for t, slot in enumerate(plan.exchange):
        for i, j in plan.running(t):
            if i < plan.tables.stages - 1:
                plan.program.at_least(f"messages_end[{t},{i}]", slot, plan.sends[i, j])


def activations_pass_links(plan: JointVariables) -> None:
    """X_t >= activation bytes that cross a link in slot t / its bandwidth + the most hops among them.

    One row for each number of hops that a message of the slot may be the first to need: a chunk of a
    request on an earlier stage is a later chunk, so it is never empty while one on a later stage is not.
    Of requests without end a later stage may be at work on a later chunk: one row for every sender.
    """
    tables, program = plan.tables, plan.program
    if tables.stages < 2:
        return
    step = np.arange(tables.stages - 1)
    share = tables.share[:, step, step + 1]
    hops = tables.hop_ticks[step, step + 1]
    for e in undominated(share, tables.link_rate):
        rate = int(tables.link_rate[e]) * tables.share_denominator
        for t, slot in enumerate(plan.exchange):
            crossing = [(i, j) for i, j in plan.running(t) if i < tables.stages - 1 and share[e, i]]
            load = total(
                [
                    *((int(share[e, i] * tables.activation_bytes[i]), plan.tokens(j)) for i, j in crossing),
                    *((int(share[e, i]), plan.rider_bytes(j)) for i, j in crossing),
                ]
            )
            most = -1
            for i, j in crossing:
                if plan.endless or hops[i] > most:
                    most = int(hops[i])
                    right = total([(1, load), (most * rate, plan.used[j])])
                    name = f"activations_pass_links[{t},{tables.links[e]},{i}]"
                    program.at_least(name, slot, right, rate)


def chunks_keep_between_tokens(plan: JointVariables) -> None:
    """Limit tau and send of every chunk over all stages, where the time between tokens is limited."""
    keep_between_tokens(plan, plan.times)


def slots_wait_for_tokens(plan: JointVariables) -> None:
    """A slot begins once all tokens exist up to the end of the chunk that enters stage 0 in it.

    Where they exist from the start on, the objective stays the sum of all slots.
    """
    exist, program = plan.tables.available, plan.program
    if exist is None:
        return
    begun = Affine()
    for t in range(plan.chunks):
        needed = program.entry(f"available[{t}]", plan.boundary[t + 1], exist.tolist())
        begin = program.largest(f"begin[{t}]")
        program.at_least(f"slots_wait_for_tokens[{t}]", begin, needed)
        program.at_least(f"slots_wait_for_tokens[{t},slot]", begin, begun)
        begun = begin + plan.work[t] + plan.exchange[t]
    rest = [*plan.work[plan.chunks :], *plan.exchange[plan.chunks :]]
    program.objective = total([(1, begun), *((1, part) for part in rest)])


def paths_take_their_time(plan: JointVariables) -> None:
    """The slots last at least as long as any path through them; the phases each have their own.

    A path visits every slot at most once.
    """
    paths(plan.program, "paths_of_work", total((1, slot) for slot in plan.work), plan.times)
    sends = {(i, j): time for (i, j), time in plan.sends.items() if i < plan.tables.stages - 1}
    if sends:
        paths(plan.program, "paths_of_exchange", total((1, slot) for slot in plan.exchange), sends)


FAMILIES: tuple[Family[JointVariables], ...] = (
    ("boundaries", plan_cpsat.boundaries),
    ("empty_chunks_lead", plan_cpsat.empty_chunks_lead),
    ("homes_stay", plan_cpsat.homes_stay),
    ("memory_has_room", plan_cpsat.memory_has_room),
    ("pooled_memory_has_room", plan_cpsat.pooled_memory_has_room),
    ("slot_times", slot_times),
    ("compute_ends", compute_ends),
    ("own_kv_delays_compute", own_kv_delays_compute),
    ("kv_passes_links", kv_passes_links),
    ("kv_passes_ports", kv_passes_ports),
    ("messages_end", messages_end),
    ("activations_pass_links", activations_pass_links),
    ("chunks_keep_between_tokens", chunks_keep_between_tokens),
    ("slots_wait_for_tokens", slots_wait_for_tokens),
    ("paths_take_their_time", paths_take_their_time),
)


def build(
    tables: Tables,
    *,
    homes: bool = True,
    windows: Windows | None = None,
    families: Sequence[Family[JointVariables]] = FAMILIES,
) -> JointVariables:
    """Build the lockstep program.

    Parameters
    ----------
    tables : Tables
    homes : bool
        False leaves homes out and keeps only what all memories together can hold: a relaxation.
    windows : sequence of (int, int), optional
        Least and largest grid index of each of the M + 1 boundaries, empty chunks first.
    families : sequence, optional
        ``(name, function)`` pairs, in order.

    Returns
    -------
    JointVariables
        Its ``program`` holds variables, rows and objective.
    """
    plan = JointVariables(IntegerProgram(), tables, tables.counts[-1], homes, windows)
    return build_program(plan, families)


def solve_joint(
    tables: Tables,
    start: Plan | None = None,
    *,
    lower_bound: int | None = None,
    **options: Unpack[ProgramOptions],
) -> ProgramResult:
    """Minimise the lockstep latency over all plans.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan; the answer is never worse.
    lower_bound : int, optional
        A proved lower bound on the lockstep latency of every plan, ticks.
    **options
        `mocap_opt.solvers.limits.ProgramOptions`.

    Returns
    -------
    ProgramResult
        Objective and bound in ticks, exact.
    """
    narrow = partial(windows_within, tables)
    return solve_in_steps(build, narrow, tables, start, lower_bound=lower_bound, limits=Limits(**options))
