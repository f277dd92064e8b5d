"""The lockstep period program for CP-SAT (formulations/period.md), in exact integers, for one W."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mocap_opt.formulations import joint_cpsat, plan_cpsat
from mocap_opt.formulations.chunk_cpsat import kv_load
from mocap_opt.formulations.joint_cpsat import JointVariables
from mocap_opt.formulations.memory_limits import local_homes_always_fit, may_house
from mocap_opt.formulations.period_terms import positions, running
from mocap_opt.formulations.resources import ports
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_violations
from mocap_opt.solvers import cpsat
from mocap_opt.solvers.integer_program import Affine, IntegerProgram, total
from mocap_opt.solvers.outcome import Callback, SolveOutcome, Status, StopReason
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues


@dataclass
class CyclicVariables(JointVariables):
    """A plan's decisions and the times of the cyclic slots.

    Attributes
    ----------
    cycle : int
        W.
    """

    cycle: int = 1

    @property
    def slots(self) -> int:
        """Number of slots."""
        return self.cycle

    def running(self, slot: int) -> list[tuple[int, int]]:
        """``(stage, position)`` pairs of a cyclic slot."""
        return running(self.tables.stages, self.chunks, self.cycle, slot)


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


def homes_stay(plan: CyclicVariables) -> None:
    """Pages never leave their home, and every chunk's pages have one (H on the own memory is the rest)."""
    if not local_homes_always_fit(plan.tables, endless=True):
        plan_cpsat.house_pages(plan, may_house(plan.tables, endless=True))


def cyclic_memory_has_room(plan: CyclicVariables) -> None:
    """Static bytes, reserve, prefixes and KV fit in every memory in every cyclic slot.

    The reserve is 2 Q x the longest chunk without the cap of one request's tokens.
    """
    tables, program = plan.tables, plan.program
    if local_homes_always_fit(tables, endless=True):
        return
    longest = program.largest("longest", floor=-(-tables.tokens // plan.chunks))
    for j in range(plan.chunks):
        program.at_least(f"longest[{j}]", longest, plan.tokens(j))
    tokens = 2 * require_bounded_queues(tables) * longest
    for t in range(plan.slots):
        alive = plan.running(t)
        for k in range(tables.stages):
            room = int(tables.free_memory(tables.staging)[k])
            row: list[tuple[int, Affine | int]] = [(1, room), (-int(tables.working_bytes[k]), tokens)]
            row += [(-int(tables.prefix_bytes[k]), plan.used[j]) for i, j in alive if i == k]
            row += [(-int(tables.page_bytes[i]), plan.held(i, j + 1, k)) for i, j in alive]
            program.require(f"cyclic_memory_has_room[{k},{t}]", total(row))


def cyclic_kv_passes_ports(plan: CyclicVariables) -> None:
    """A_t >= bytes at a memory port in slot t / its bandwidth, the stage's own traffic included."""
    for k, port in enumerate(ports(plan.tables)):
        for t, slot in enumerate(plan.work):
            here = [(1, plan.own_traffic[k, j]) for i, j in plan.running(t) if i == k]
            remote = [(1, kv_load(plan, port, i, j)) for i, j in plan.running(t)]
            name = f"cyclic_kv_passes_ports[{t},{port.name}]"
            plan.program.at_least(name, slot, total([*here, *remote]), port.rate)


def cyclic_activations_pass_links(plan: CyclicVariables) -> None:
    """X_t >= activation bytes that cross a link in slot t / its bandwidth + the most hops among them."""
    tables, program = plan.tables, plan.program
    for e in range(len(tables.links)):
        rate = int(tables.link_rate[e]) * tables.share_denominator
        for t, slot in enumerate(plan.exchange):
            crossing = [
                (i, j) for i, j in plan.running(t) if i < tables.stages - 1 and tables.share[e, i, i + 1]
            ]
            load = total(
                (int(tables.share[e, i, i + 1] * tables.activation_bytes[i]), plan.tokens(j))
                for i, j in crossing
            )
            for i, j in crossing:
                right = total([(1, load), (int(tables.hop_ticks[i, i + 1]) * rate, plan.used[j])])
                name = f"cyclic_activations_pass_links[{t},{tables.links[e]},{i}]"
                program.at_least(name, slot, right, rate)


def stages_take_their_time(plan: CyclicVariables) -> None:
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


Family = tuple[str, Callable[[CyclicVariables], None]]

FAMILIES: tuple[Family, ...] = (
    ("boundaries", plan_cpsat.boundaries),
    ("empty_chunks_lead", plan_cpsat.empty_chunks_lead),
    ("homes_stay", homes_stay),
    ("cyclic_memory_has_room", cyclic_memory_has_room),
    ("slot_times", joint_cpsat.slot_times),
    ("compute_ends", joint_cpsat.compute_ends),
    ("own_kv_delays_compute", joint_cpsat.own_kv_delays_compute),
    ("kv_passes_links", joint_cpsat.kv_passes_links),
    ("cyclic_kv_passes_ports", cyclic_kv_passes_ports),
    ("messages_end", joint_cpsat.messages_end),
    ("cyclic_activations_pass_links", cyclic_activations_pass_links),
    ("stages_take_their_time", stages_take_their_time),
)


def build(tables: Tables, slots: int, *, families: Sequence[Family] = FAMILIES) -> CyclicVariables | None:
    """Build the program for requests `slots` slots apart; None if that is less than an exact count.

    Raises
    ------
    InputError
        If queues are unbounded.
    """
    require_bounded_queues(tables)
    limited = positions(tables, slots)
    if limited is None:
        return None
    plan = CyclicVariables(IntegerProgram(), limited, limited.max_chunks, cycle=slots)
    for _, add in families:
        add(plan)
    return plan


def solve_period(
    tables: Tables,
    slots: int,
    start: Schedule | None = None,
    *,
    lower_bound: int | None = None,
    time_limit_s: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
    callback: Callback | None = None,
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
    time_limit_s, gap, seed, threads, callback
        See `mocap_opt.solvers.cpsat`.

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
    result = cpsat.solve(
        plan.program,
        start=values,
        lower_bound=lower_bound,
        limits=cpsat.Limits(time_limit_s, gap, seed, threads),
        callback=callback,
    )
    if result.values is None:
        return PeriodResult(None, result.outcome)
    found = Schedule.of(tables, plan_cpsat.read_plan(plan, result.values), slots)
    wrong = schedule_violations(found)
    if wrong:
        raise RuntimeError(f"the best plan is not feasible: {wrong[0]}")
    return PeriodResult(found, result.outcome)
