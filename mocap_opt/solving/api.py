"""The public functions that answer an instance, whatever its objective: solve, evaluate, bound."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.schedule.inputs import as_instance, as_tables
from mocap_opt.schedule.requests import build_requests
from mocap_opt.solving import latency as driver
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import Solution, check_limits
from mocap_opt.stopping import STOPPED, Deadline
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.bounds import Bound, Infeasibility
    from mocap_opt.schedule.inputs import GivenInstance, GivenPlan
    from mocap_opt.schedule.schedule import Schedule
    from mocap_opt.solving.period import PeriodSolution
    from mocap_opt.solving.stream_report import StreamSolution

    Answer: TypeAlias = Solution | PeriodSolution | StreamSolution


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
) -> Answer:
    """Find a plan for what the instance asks, and say how far from the best possible it is.

    Parameters
    ----------
    instance : Instance or mapping
        A mapping is what an instance file holds.
    method, solver, execution, time_limit_s, deterministic_limit, gap, seed, callback, stop, threads,
    without, only, memory_budget_bytes
        As for `mocap_opt.solving.latency.solve`.  Of a period, execution, steps, the memory budget and what
        limits the effort other than by time are refused; of a stream, method and solver as well.

    Returns
    -------
    Solution, PeriodSolution or StreamSolution
        By the instance's objective.

    Raises
    ------
    InputError
        If a name is unknown, a limit out of range, the instance's layout impossible, or an option means
        nothing for the objective.
    SolverUnavailableError
        If the solver asked for cannot be loaded.
    """
    instance = as_instance(instance)
    objective = objective_of(instance)
    if objective is Objective.LATENCY:
        return driver.solve(
            instance,
            method,
            solver=solver,
            execution=execution,
            time_limit_s=time_limit_s,
            deterministic_limit=deterministic_limit,
            gap=gap,
            seed=seed,
            callback=callback,
            stop=stop,
            threads=threads,
            without=without,
            only=only,
            memory_budget_bytes=memory_budget_bytes,
        )
    require_supported(
        instance,
        "solve",
        method=method,
        solver=solver,
        execution=execution,
        deterministic_limit=deterministic_limit,
        threads=threads,
        without=without or None,
        only=only or None,
        memory_budget_bytes=memory_budget_bytes,
    )
    check_limits(seed, None, time_limit_s=time_limit_s, gap=gap)
    limit_s = driver.TIME_LIMIT_S if time_limit_s is None else time_limit_s
    if objective is Objective.PERIOD:
        from mocap_opt.solving.period import solve_period  # noqa: PLC0415 - loads CP-SAT

        return solve_period(
            instance,
            method,
            solver=solver,
            time_limit_s=limit_s,
            gap=gap,
            seed=seed,
            callback=callback,
            stop=stop,
        )
    from mocap_opt.solving.stream import solve_stream  # noqa: PLC0415 - loads CP-SAT

    return solve_stream(instance, time_limit_s=limit_s, gap=gap, seed=seed, callback=callback, stop=stop)


def evaluate(
    instance: GivenInstance,
    plan: GivenPlan | Schedule,
    *,
    tables: Tables | None = None,
    bounds: Sequence[Bound] | None = None,
) -> Answer:
    """Verify and replay a given plan, and set it against the bounds.

    Parameters
    ----------
    instance : Instance or mapping
    plan : Plan, Schedule or mapping
        What the objective wants; a mapping is what a plan file holds.
    tables, bounds
        As for `mocap_opt.solving.latency.evaluate`; for a prompt only.

    Raises
    ------
    InputError
        If the plan is not one for the objective.
    """
    instance = as_instance(instance)
    objective = objective_of(instance)
    if objective is Objective.LATENCY:
        return driver.evaluate(instance, plan, tables=tables, bounds=bounds)  # type: ignore[arg-type]
    require_supported(instance, "evaluate", tables=tables is not None, bounds=bounds is not None)
    if objective is Objective.PERIOD:
        from mocap_opt.solving.period import evaluate_period  # noqa: PLC0415 - loads CP-SAT

        return evaluate_period(instance, plan)  # type: ignore[arg-type]
    from mocap_opt.schedule.schedule_file import stream_from_dict  # noqa: PLC0415 - with it
    from mocap_opt.solving.stream_report import evaluate_stream  # noqa: PLC0415 - loads CP-SAT

    requests = build_requests(instance)
    given: Any = stream_from_dict(plan, requests) if isinstance(plan, Mapping) else plan
    return evaluate_stream(instance, requests, given)


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
    """Compute the lower bounds that need no plan, on what the objective minimises.

    Parameters
    ----------
    instance : Instance or mapping
    quick : bool
        Leave out those that need a solver.
    time_limit_s, memory_budget_bytes, stop, on_note, on_bound
        As for `mocap_opt.solving.latency.bound`, 60 s by default; the memory budget for the latency only.

    Returns
    -------
    tables : Tables
        Of a stream, those of its first request.
    bounds : list of Bound
        Weakest first; empty if the instance is infeasible.
    impossible : Infeasibility or None
        The proof that no plan exists, if there is one.
    """
    limit_s = driver.TIME_LIMIT_S if time_limit_s is None else time_limit_s
    on_latency = isinstance(instance, Tables) or objective_of(as_instance(instance)) is Objective.LATENCY
    if on_latency:
        return driver.bound(
            instance,
            quick=quick,
            time_limit_s=limit_s,
            memory_budget_bytes=memory_budget_bytes,
            stop=stop,
            on_note=on_note,
            on_bound=on_bound,
        )
    assert not isinstance(instance, Tables)
    instance = as_instance(instance)
    require_supported(instance, "bound", memory_budget_bytes=memory_budget_bytes)
    check_limits(0, None, time_limit_s=limit_s)
    deadline = Deadline(limit_s, stop)
    objective = objective_of(instance)
    found: list[Bound]
    if objective is Objective.PERIOD:
        from mocap_opt.solving.period import bound_period  # noqa: PLC0415 - loads CP-SAT

        tables = as_tables(instance)
        found, impossible = bound_period(tables, quick=quick, deadline=deadline)
    else:
        from mocap_opt.bounds.makespan import bound_stream  # noqa: PLC0415 - not needed by others

        requests = build_requests(instance)
        tables = requests[0].tables
        given = instance.workload.order == "given"
        found, impossible = bound_stream(requests, given, quick=quick, asked_to_stop=deadline)
    if deadline.expired:
        on_note(STOPPED)
    return tables, sorted(found, key=lambda each: each.ticks), impossible
