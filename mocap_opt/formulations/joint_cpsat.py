"""The lockstep program for CP-SAT (``formulations/joint.md``), in exact integers.

Same decisions and same rows as `mocap_opt.formulations.joint`; boundaries are integers that index
the cost tables instead of binaries, and every row is multiplied out, so nothing is rounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from mocap_opt.formulations import plan_cpsat
from mocap_opt.formulations.chunk_cpsat import chunk_times, links, ports, send_times, undominated
from mocap_opt.formulations.plan_cpsat import PlanVariables, decisions, read_plan
from mocap_opt.plan import Plan
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.outcome import Callback as ProgressCallback
from mocap_opt.solvers.outcome import ProgramResult
from mocap_opt.tables import Tables


@dataclass
class JointVariables(PlanVariables):
    """A plan's decisions and the times of its slots.

    Attributes
    ----------
    work, exchange : list of Affine
        A_t and X_t, ticks, slots 0 .. M + N - 2.
    times, sends : dict of (int, int) to Affine
        tau and send by ``(stage, chunk)``, ticks.
    """

    work: list[Affine] = field(default_factory=list)
    exchange: list[Affine] = field(default_factory=list)
    times: dict[tuple[int, int], Affine] = field(default_factory=dict)
    sends: dict[tuple[int, int], Affine] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.chunks + self.tables.stages - 1

    def running(self, slot: int) -> list[tuple[int, int]]:
        """``(stage, chunk)`` pairs of a slot."""
        first = max(0, slot - self.chunks + 1)
        return [(i, slot - i) for i in range(first, min(slot, self.tables.stages - 1) + 1)]


def slot_times(plan: JointVariables) -> None:
    """Create A_t and X_t, and tau and send of every chunk."""
    plan.times, plan.sends = chunk_times(plan), send_times(plan)
    plan.work = [plan.program.largest(f"work[{t}]") for t in range(plan.slots)]
    plan.exchange = [plan.program.largest(f"exchange[{t}]") for t in range(plan.slots)]
    plan.program.objective = total((1, part) for part in [*plan.work, *plan.exchange])


def work_covers_compute(plan: JointVariables) -> None:
    """A_t >= tau of every chunk in slot t."""
    for t, slot in enumerate(plan.work):
        for i, j in plan.running(t):
            plan.program.at_least(f"work_covers_compute[{t},{i}]", slot, plan.times[i, j])


def work_covers_own_transfers(plan: JointVariables) -> None:
    """A_t >= tau + (1 - f) x, with x one row for each link and port that the chunk's own KV loads."""
    apart = 1 - plan.tables.overlap
    if not apart or not plan.homes:
        return
    for resource in [*links(plan.tables), *ports(plan.tables)]:
        factor = apart.denominator * resource.rate
        for t, slot in enumerate(plan.work):
            for i, j in plan.running(t):
                load = resource.load(plan, i, j)
                if load.terms:
                    right = total([(factor, plan.times[i, j]), (apart.numerator, load)])
                    name = f"work_covers_own_transfers[{t},{i},{resource.name}]"
                    plan.program.at_least(name, slot, right, factor)


def work_covers_links(plan: JointVariables) -> None:
    """A_t >= KV bytes that cross a link in slot t / its bandwidth."""
    if not plan.homes:
        return
    for link in links(plan.tables):
        for t, slot in enumerate(plan.work):
            load = total((1, link.load(plan, i, j)) for i, j in plan.running(t))
            plan.program.at_least(f"work_covers_links[{t},{link.name}]", slot, load, link.rate)


def work_covers_ports(plan: JointVariables) -> None:
    """A_t >= bytes at a memory port in slot t / its bandwidth, the stage's own traffic included."""
    tables, program = plan.tables, plan.program
    for k, port in enumerate(ports(tables)):
        own = [
            program.entry(
                f"own_traffic[{k},{j}]", plan.boundary[j + 1], tables.own_traffic[k].tolist(), plan.used[j]
            )
            for j in range(plan.chunks)
        ]
        for t, slot in enumerate(plan.work):
            here = [(1, own[t - k])] if 0 <= t - k < plan.chunks else []
            remote = [(1, port.load(plan, i, j)) for i, j in plan.running(t)]
            name = f"work_covers_ports[{t},{port.name}]"
            program.at_least(name, slot, total([*here, *remote]), port.rate)


def exchange_covers_sends(plan: JointVariables) -> None:
    """X_t >= the uncontended time of every message in slot t."""
    for t, slot in enumerate(plan.exchange):
        for i, j in plan.running(t):
            if i < plan.tables.stages - 1:
                plan.program.at_least(f"exchange_covers_sends[{t},{i}]", slot, plan.sends[i, j])


def exchange_covers_links(plan: JointVariables) -> None:
    """X_t >= activation bytes that cross a link in slot t / its bandwidth + the most hops among them.

    One row for each number of hops that a message of the slot may be the first to need: a chunk
    on an earlier stage is a later chunk, so it is never empty while one on a later stage is not.
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
            load = total((int(share[e, i] * tables.activation_bytes[i]), plan.tokens(j)) for i, j in crossing)
            most = -1
            for i, j in crossing:
                if hops[i] > most:
                    most = int(hops[i])
                    right = total([(1, load), (most * rate, plan.used[j])])
                    name = f"exchange_covers_links[{t},{tables.links[e]},{most}]"
                    program.at_least(name, slot, right, rate)


Family = tuple[str, Callable[[JointVariables], None]]

FAMILIES: tuple[Family, ...] = (
    ("boundaries", plan_cpsat.boundaries),
    ("empty_chunks_lead", plan_cpsat.empty_chunks_lead),
    ("homes", plan_cpsat.homes),
    ("memory", plan_cpsat.memory),
    ("pooled_memory", plan_cpsat.pooled_memory),
    ("slot_times", slot_times),
    ("work_covers_compute", work_covers_compute),
    ("work_covers_own_transfers", work_covers_own_transfers),
    ("work_covers_links", work_covers_links),
    ("work_covers_ports", work_covers_ports),
    ("exchange_covers_sends", exchange_covers_sends),
    ("exchange_covers_links", exchange_covers_links),
)


def build(tables: Tables, families: tuple[Family, ...] = FAMILIES) -> JointVariables:
    """Build the lockstep program.

    Parameters
    ----------
    tables : Tables
    families : tuple, optional
        ``(name, function)`` pairs, in order.

    Returns
    -------
    JointVariables
        Its ``program`` holds variables, rows and objective.
    """
    plan = JointVariables(IntegerProgram(), tables, tables.counts[-1])
    for _, add in families:
        add(plan)
    return plan


def solve_joint(
    tables: Tables,
    start: Plan | None = None,
    *,
    lower_bound: int | None = None,
    time_limit_s: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
    callback: ProgressCallback | None = None,
    deterministic_limit: float | None = None,
) -> ProgramResult:
    """Minimise the lockstep latency over all plans.

    Parameters
    ----------
    tables : Tables
    start : Plan, optional
        A feasible plan; the answer is never worse.
    lower_bound : int, optional
        A proved lower bound on the lockstep latency of every plan, ticks.
    time_limit_s, gap, seed, threads, callback, deterministic_limit
        See `mocap_opt.solvers.cpsat`.

    Returns
    -------
    ProgramResult
        Objective and bound in ticks, exact.
    """
    began = time.perf_counter()
    plan = build(tables)
    limits = cpsat.Limits(time_limit_s, gap, seed, threads, deterministic_limit)
    values = None if start is None else plan.program.complete(decisions(plan, start))
    built_s = time.perf_counter() - began
    result = cpsat.solve(
        plan.program, start=values, lower_bound=lower_bound, limits=limits, callback=callback
    )
    outcome = replace(result.outcome, build_s=result.outcome.build_s + built_s)
    return ProgramResult(None if result.values is None else read_plan(plan, result.values), outcome)
