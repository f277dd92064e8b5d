"""The lockstep period program for CP-SAT (formulations/period.md), in exact integers, for one W."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

from mocap_opt.formulations import joint_cpsat, plan_cpsat
from mocap_opt.formulations.joint_cpsat import JointVariables
from mocap_opt.formulations.plan_cpsat import Family, build_program
from mocap_opt.formulations.presolve import positions
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.integer_program import IntegerProgram, total
from mocap_opt.solvers.limits import Limits, SolverOptions
from mocap_opt.solvers.outcome import SolveOutcome, Status, StopReason
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues


@dataclass(frozen=True)
class PeriodResult:
    """What a solver made of a period program.

    Attributes
    ----------
    periodic : Schedule or None
        The best plan, verified.
    outcome : SolveOutcome
        Objective and bound are lockstep periods, ticks.
    """

    periodic: Schedule | None
    outcome: SolveOutcome


def stages_take_their_time(plan: JointVariables) -> None:
    """W slots last as long as each stage's chunks, and their sends (redundant)."""
    work = total((1, slot) for slot in plan.work)
    exchange = total((1, slot) for slot in plan.exchange)
    for i in range(plan.tables.stages):
        chunks = range(plan.chunks)
        plan.program.require(
            f"stages_take_their_time[{i},work]", work - total((1, plan.times[i, j]) for j in chunks)
        )
        if i < plan.tables.stages - 1:
            sends = total((1, plan.sends[i, j]) for j in chunks)
            plan.program.require(f"stages_take_their_time[{i},exchange]", exchange - sends)


FAMILIES: tuple[Family[JointVariables], ...] = (
    ("boundaries", plan_cpsat.boundaries),
    ("empty_chunks_lead", plan_cpsat.empty_chunks_lead),
    ("homes_stay", plan_cpsat.homes_stay),
    ("memory_has_room", plan_cpsat.memory_has_room),
    ("slot_times", joint_cpsat.slot_times),
    ("compute_ends", joint_cpsat.compute_ends),
    ("own_kv_delays_compute", joint_cpsat.own_kv_delays_compute),
    ("kv_passes_links", joint_cpsat.kv_passes_links),
    ("kv_passes_ports", joint_cpsat.kv_passes_ports),
    ("messages_end", joint_cpsat.messages_end),
    ("activations_pass_links", joint_cpsat.activations_pass_links),
    ("stages_take_their_time", stages_take_their_time),
)


def build(
    tables: Tables, slots: int, *, families: Sequence[Family[JointVariables]] = FAMILIES
) -> JointVariables | None:
    """Build the program for requests `slots` slots apart; None if that is less than an exact count.

    Parameters
    ----------
    tables : Tables
    slots : int
        W.
    families : sequence, optional
        ``(name, function)`` pairs, in order.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    require_bounded_queues(tables)
    limited = positions(tables, slots)
    if limited is None:
        return None
    plan = JointVariables(IntegerProgram(), limited, limited.max_chunks, interval=slots)
    return build_program(plan, families)


def solve_period(
    tables: Tables,
    slots: int,
    start: Schedule | None = None,
    *,
    lower_bound: int | None = None,
    **options: Unpack[SolverOptions],
) -> PeriodResult:
    """Minimise the lockstep period of requests `slots` slots apart.

    Parameters
    ----------
    tables : Tables
    slots : int
        W.
    start : Schedule, optional
        Feasible, with the same W; the answer is never worse.
    lower_bound : int, optional
        A proved lower bound for this W, ticks.
    **options
        `mocap_opt.solvers.limits.SolverOptions`; the time limit is one of the search alone.

    Raises
    ------
    ValueError
        If the start is not feasible or has another W.
    InputError
        If queues are unbounded.
    """
    if start is not None:
        broken = schedule_violations(start)
        if broken or start.slots != slots:
            raise ValueError(f"the start is not feasible: {broken[0] if broken else 'another W'}")
    plan = build(tables, slots)
    if plan is None:
        outcome = SolveOutcome("cpsat", Status.INFEASIBLE, StopReason.INFEASIBLE)
        return PeriodResult(None, outcome)
    values = None
    if start is not None:
        values = plan.program.complete(plan_cpsat.decisions(plan, start.plan))
    result = cpsat.solve(plan.program, start=values, lower_bound=lower_bound, limits=Limits(**options))
    if result.values is None:
        return PeriodResult(None, result.outcome)
    found = Schedule.of(tables, plan_cpsat.read_plan(plan, result.values), slots)
    wrong = schedule_violations(found)
    if wrong:
        raise RuntimeError(f"the best plan is not feasible: {wrong[0]}")
    return PeriodResult(found, result.outcome)
