"""The main entry points: solve, evaluate, bound."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import (
    BOUNDS,
    QUICK,
    Bound,
    Infeasibility,
    affordable_bound,
    lower_bounds,
    prove_infeasible,
)
from mocap_opt.instance.objectives import require_supported
from mocap_opt.memory_budget import memory_budget
from mocap_opt.replay.evaluation import Assessment, Execution, assess
from mocap_opt.schedule.inputs import as_instance, as_plan, as_tables
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.incumbent import Progress, SearchState, Trial
from mocap_opt.solving.methods import METHOD_NAMES, check_limits, check_names, check_steps, run_method
from mocap_opt.solving.plugin_methods import find_plugin_method
from mocap_opt.solving.programs import Solver
from mocap_opt.solving.remedies import infeasible_verdict
from mocap_opt.solving.report import Report, make_report
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.schedule.inputs import GivenInstance, GivenPlan

EXECUTIONS = ("best", "lockstep")

TIME_LIMIT_S = 60.0
"""Wall time of a solve, or of `bound`, unless something else is said, seconds."""

BOUND_SHARE = 0.4
"""Part of the time left that each bound may take in `bound`."""


def wanted_execution(name: str) -> Execution | None:
    """The execution whose latency counts; None for the smaller of both."""
    return Execution.LOCKSTEP if name == "lockstep" else None


@dataclass(frozen=True)
class Solution:
    """An answer and all that stands behind it.

    Attributes
    ----------
    report : Report
        The answer in seconds, tokens and bytes.
    plan : Plan or None
        The best plan found.
    assessment : Assessment or None
        The plan's two replays.
    bounds : tuple of Bound
        Every bound computed on the way.
    tables : Tables
        The integer tables all of it was computed from.
    trials : tuple of Trial
        Every plan tried, in order.
    """

    report: Report
    plan: Plan | None
    assessment: Assessment | None
    bounds: tuple[Bound, ...]
    tables: Tables
    trials: tuple[Trial, ...] = ()

    @property
    def row(self) -> dict[str, Any]:
        """The report as plain values, and whether the event-driven run takes longer than lockstep."""
        report = self.report
        lockstep, event = report.lockstep_latency_s, report.event_latency_s
        slower = None if lockstep is None or event is None else event > lockstep
        return {**report.to_dict(), "event_exceeds_lockstep": slower}

    @property
    def schedule(self) -> Schedule | None:
        """The plan as a schedule of one request."""
        return None if self.plan is None else Schedule.of(self.tables, self.plan)


def solve(
    instance: GivenInstance,
    method: str = "auto",
    *,
    solver: str = "auto",
    execution: str = "best",
    time_limit_s: float | None = None,
    deterministic_limit: float | None = None,
    gap: float = 1e-4,
    seed: int = 0,
    callback: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    threads: int | None = None,
    without: Sequence[str] = (),
    only: Sequence[str] = (),
    memory_budget_bytes: int | None = None,
    known: Solution | None = None,
) -> Solution:
    """Find a plan and say how far from the best possible it is.

    Parameters
    ----------
    instance : Instance or mapping
        A mapping is what an instance file holds.
    method : str
        ``"joint"``: every heuristic, searches and bounds, then both programs, warm-started; ``"auto"``:
        the same with only the programs that are worth their time at the instance's size (the notes
        say which).  Or the name of one heuristic, see `mocap_opt.baselines.METHODS` (an
        engine's rule with a base size of its own, ``"sglang-dynamic:8192"``); or
        ``"plain-highs"``, ``"plain-cpsat"``: the lockstep program as it stands, for comparison; or a
        method that a plugin brings, see `mocap_opt.plugins`.
    solver : str
        ``"highs"``, ``"cpsat"`` or ``"auto"``; only the joint method uses one.
    execution : str
        Which latency to bring down and report: ``"best"``, the smaller of the two replays, or
        ``"lockstep"``, a static schedule that runs as it stands.
    time_limit_s : float, optional
        Wall time, seconds, building models included; 60 unless given, or none under a
        deterministic limit.
    deterministic_limit : float, optional
        Effort that each program may spend, in units that do not depend on the machine: CP-SAT's
        deterministic time, with one worker, or thousands of HiGHS's branch-and-bound nodes.  The
        same seed and limit give the same plan, as long as no time limit is reached.
    gap : float
        Stop once (latency - bound) / latency is at most this.
    seed : int
        For the solvers and the local search.
    callback : callable, optional
        Called with a `Progress` at every improvement of plan or bound, and as every step begins.
    stop : threading.Event, optional
        Set it from outside to stop early with the best plan so far.
    threads : int, optional
        Threads that a program's solver may use; by default as many as are best for it: 4 for CP-SAT, 1
        for HiGHS.  Under a deterministic limit there is one.
    without, only : sequence of str
        Steps of the joint method to leave out, or, if `only` names some, to take alone; see
        `mocap_opt.solving.STEPS`.
    memory_budget_bytes : int, optional
        What would take more memory is left out, and a note says so; 4 GiB by default.
    known : Solution, optional
        An earlier one of the same instance: its tables and bounds are not made again.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        If a name is unknown, a limit out of range, or the instance's layout impossible.
    SolverUnavailableError
        If the solver asked for cannot be loaded.
    """
    plugin = find_plugin_method(method, METHOD_NAMES)
    check_names(("execution", execution, EXECUTIONS), ("solver", solver, ("auto", *Solver)))
    check_steps(method, without, only)
    check_limits(seed, threads, time_limit_s=time_limit_s, deterministic_limit=deterministic_limit, gap=gap)
    instance = as_instance(instance)
    require_supported(instance, "this method of solving")
    if time_limit_s is None and deterministic_limit is None:
        time_limit_s = TIME_LIMIT_S
    deadline = Deadline(time_limit_s, stop)
    wanted = wanted_execution(execution)
    with memory_budget(memory_budget_bytes):
        tables = build_tables(instance) if known is None else known.tables
        state = SearchState(tables, deadline, gap, callback, wanted, deterministic_limit, threads)
        state.add_bounds(() if known is None else known.bounds)
        reason, used = run_method(state, method, plugin, solver, seed, without, only)
    found = state.best
    if state.infeasible_reason is not None:
        reason = infeasible_verdict(instance, tables, state.infeasible_reason, deadline)
    report = make_report(
        instance,
        tables,
        found,
        state.bounds,
        method="joint" if method == "auto" else method,
        solver=used,
        tolerance=gap,
        runtime_s=deadline.elapsed_s,
        build_s=state.build_s,
        solve_s=state.solve_s,
        reason=reason if found is None else None,
        notes=state.notes,
        programs=state.runs,
        steps=state.steps,
        settings={
            "seed": seed,
            "time_limit_s": time_limit_s,
            "deterministic_limit": deterministic_limit,
            "gap": gap,
            "threads": threads,
            "execution": execution,
            "memory_budget_bytes": memory_budget_bytes,
            "without": list(without),
            "only": list(only),
            "found_by": state.best_source,
        },
        infeasible=state.infeasible_reason is not None,
        execution=wanted,
    )
    if plugin is not None:
        report = replace(report, versions={**report.versions, **plugin.versions})
    plan = None if found is None else Plan(found.plan.boundaries, found.plan.homes, instance.fingerprint)
    return Solution(report, plan, found, tuple(state.bounds), tables, tuple(state.trials))


def evaluate(
    instance: GivenInstance,
    plan: GivenPlan,
    *,
    tables: Tables | None = None,
    bounds: Sequence[Bound] | None = None,
) -> Solution:
    """Verify and replay a given plan, and set it against the bounds.

    Parameters
    ----------
    instance : Instance or mapping
    plan : Plan or mapping
        A mapping is what a plan file holds.  May have been made for another instance if the sizes fit;
        the notes then say so.
    tables : Tables, optional
        Of `instance`, if already built.
    bounds : sequence of Bound, optional
        On `instance`, if already known; otherwise those that need no plan are computed.

    Returns
    -------
    Solution
        With status ``infeasible`` and every violation in ``report.notes`` if the plan breaks a rule.
    """
    instance = as_instance(instance)
    require_supported(instance, "a single plan")
    tables = build_tables(instance) if tables is None else tables
    plan = as_plan(plan, tables)
    state = SearchState(tables, Deadline(), 0.0)
    if plan.fingerprint not in (None, instance.fingerprint):
        state.notes.append(
            f"the plan was made for an instance with fingerprint {plan.fingerprint}, "
            f"not {instance.fingerprint}"
        )
    broken = violations(tables, plan)
    found = None if broken else assess(tables, plan)
    known = () if broken else tuple(lower_bounds(tables) if bounds is None else bounds)
    report = make_report(
        instance,
        tables,
        found,
        known,
        method=None,
        runtime_s=state.deadline.elapsed_s,
        reason=f"the plan breaks {len(broken)} rule(s)" if broken else None,
        notes=[*state.notes, *(str(violation) for violation in broken)],
        infeasible=bool(broken),
    )
    return Solution(report, plan, found, known, tables)


def against(
    instance: Instance, answer: Solution, bounds: Sequence[Bound], proof: str | None, reason: str | None
) -> Solution:
    """Set an answer against other bounds; for `mocap_opt.solving.comparison`.

    Parameters
    ----------
    instance : Instance
    answer : Solution
    bounds : sequence of Bound
    proof : str or None
        Why there is no plan, if that is proved.
    reason : str or None
        What kept the method from going on, if something did.

    Raises
    ------
    BoundBeatenError
        If the plan beats a bound.
    """
    report = answer.report if reason is None else replace(answer.report, reason=reason)
    if answer.assessment is None:
        if proof is not None and report.status is not Status.INFEASIBLE:
            report = replace(report, status=Status.INFEASIBLE, reason=proof)
        return replace(answer, report=report)
    judged = make_report(
        instance,
        answer.tables,
        answer.assessment,
        bounds,
        method=report.method,
        solver=report.solver,
        tolerance=float(report.settings.get("gap", 0.0)),
        runtime_s=report.runtime_s,
        build_s=report.build_s,
        solve_s=report.solve_s,
        notes=report.notes,
        programs=report.programs,
        steps=report.steps,
        settings=report.settings,
        execution=wanted_execution(report.settings.get("execution", "best")),
        reason=report.reason,
    )
    return replace(answer, report=judged, bounds=tuple(bounds))


def bound(
    instance: GivenInstance,
    *,
    quick: bool = False,
    time_limit_s: float | None = None,
    memory_budget_bytes: int | None = None,
    stop: threading.Event | None = None,
    on_note: Callable[[str], None] = lambda note: None,
    on_bound: Callable[[str], None] = lambda name: None,
) -> tuple[Tables, list[Bound], Infeasibility | None]:
    """Compute the lower bounds that need no plan.

    Parameters
    ----------
    instance : Instance, mapping or Tables
    quick : bool
        Leave out those that need a solver.
    time_limit_s : float, optional
        Wall time, seconds, `TIME_LIMIT_S` by default; every bound in turn has `BOUND_SHARE` of what is
        left, and what one that is stopped has proved so far stands.
    memory_budget_bytes : int, optional
        Bounds that would take more memory are left out; 4 GiB by default.
    stop : threading.Event, optional
        Set it from outside to stop early with the bounds so far.
    on_note : callable
        Told of bounds that were left out or cut short.
    on_bound : callable
        Told of every bound that is begun, by its name.

    Returns
    -------
    tables : Tables
    bounds : list of Bound
        Weakest first; empty if the instance is infeasible.
    impossible : Infeasibility or None
        The proof that no plan exists, if there is one.
    """
    check_limits(0, None, time_limit_s=time_limit_s)
    deadline = Deadline(TIME_LIMIT_S if time_limit_s is None else time_limit_s, stop)
    with memory_budget(memory_budget_bytes):
        tables = as_tables(instance, "bounds on the latency")
        state = SearchState(tables, deadline, 0.0)
        impossible = prove_infeasible(tables, state.grace)
        if impossible is not None and not isinstance(instance, Tables):
            verdict = infeasible_verdict(as_instance(instance), tables, impossible, deadline)
            impossible = replace(impossible, message=verdict)
        for name in () if impossible else BOUNDS:
            if quick and name not in QUICK:
                continue
            if state.bounds and deadline.expired:
                on_note(f"{name}: not begun, time was up")
                continue
            on_bound(name)
            with state.within(BOUND_SHARE) as asked_to_stop:
                found = affordable_bound(name, tables, asked_to_stop, on_note)
                if asked_to_stop():
                    on_note(f"{name}: stopped after its share of the time")
            state.add_bounds([] if found is None else [found])
    return tables, sorted(state.bounds, key=lambda b: b.ticks), impossible
