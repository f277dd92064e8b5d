"""The public functions that answer an instance, whatever its objective: solve, evaluate, bound.

Each hands over to the module that the table `mocap_opt.instance.objectives.OBJECTIVES` names.  Such a module
has the three functions, which take an `Instance` and the options that the table lists, and besides
``against(instance, answer, bounds, proof, reason)``: the same answer in the light of other bounds, of a proof
that there is no plan, and of why it was not found, for `mocap_opt.solving.comparison`.  Its answers have
``row`` (plain values: ``objective``, ``method``, ``status``, ``<figure>_s``, ``lower_bound_s``, ``gap``,
``runtime_s``, ``reason``), ``schedule`` (None without a plan) and ``bounds``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mocap_opt.instance.objectives import honoured_options, objective_of
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.solving import latency
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.latency import Solution
from mocap_opt.solving.methods import check_limits
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
    known: Solution | None = None,
) -> Answer:
    """Find a plan for what the instance asks, and say how far from the best possible it is.

    Parameters
    ----------
    instance : Instance or mapping
        A mapping is what an instance file holds.
    method, solver, execution, time_limit_s, deterministic_limit, gap, seed, callback, stop, threads,
    without, only, memory_budget_bytes, known
        As for `mocap_opt.solving.latency.solve`.  Of a period, execution, steps, the memory budget, `known`
        and what limits the effort other than by time are refused; of a stream, solver as well.

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
    options = honoured_options(
        instance,
        "solve",
        method=method,
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
        known=known,
    )
    check_limits(seed, threads, time_limit_s=time_limit_s, deterministic_limit=deterministic_limit, gap=gap)
    found: Answer = objective_of(instance).record.load().solve(instance, **options)
    return found


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
    options = honoured_options(instance, "evaluate", tables=tables, bounds=bounds)
    found: Answer = objective_of(instance).record.load().evaluate(instance, plan, **options)
    return found


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
    check_limits(0, None, time_limit_s=time_limit_s)
    options: dict[str, Any] = {
        "quick": quick,
        "time_limit_s": time_limit_s,
        "memory_budget_bytes": memory_budget_bytes,
        "stop": stop,
        "on_note": on_note,
        "on_bound": on_bound,
    }
    if isinstance(instance, Tables):
        return latency.bound(instance, **options)
    instance = as_instance(instance)
    found: tuple[Tables, list[Bound], Infeasibility | None] = (
        objective_of(instance).record.load().bound(instance, **honoured_options(instance, "bound", **options))
    )
    return found
