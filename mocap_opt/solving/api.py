"""The public functions that answer an instance, whatever its objective: solve, evaluate, bound.

Each hands over to the `mocap_opt.solving.answerer.Answerer` of the module that the table
`mocap_opt.instance.objectives.OBJECTIVES` names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of, require_supported
from mocap_opt.memory_budget import memory_budget
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.answerer import Answerer, BoundsFound
from mocap_opt.solving.free_layouts import bound_free, solve_free
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.methods import check_limits, check_names, check_steps
from mocap_opt.solving.programs import Solver
from mocap_opt.solving.progress_display import followed
from mocap_opt.solving.solution import EXECUTIONS, TIME_LIMIT_S, Query, Solution, SolveOptions
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.bounds import Bound
    from mocap_opt.schedule.inputs import GivenInstance, GivenPlan


def answerer_of(instance: Instance, tables: Tables | None = None) -> Answerer:
    """Return who answers an instance.

    Parameters
    ----------
    instance : Instance
    tables : Tables, optional
        Of its only request, if already built.
    """
    return cast(Answerer, objective_of(instance).record.load(instance.workload.pipelines)(instance, tables))


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
    display: bool = False,
) -> Solution:
    """Find a plan for what the instance asks, and say how far from the best possible it is.

    Of a period, execution, steps, `known` and the deterministic limit are refused; of a stream, solver as
    well.

    Parameters
    ----------
    instance : Instance or mapping
        A mapping is what an instance file holds.
    method : str
        ``"joint"``: every heuristic, searches and bounds, then both programs, warm-started; ``"auto"``:
        the same with only the programs that are worth their time at the instance's size (the notes
        say which).  Or the name of one heuristic, see `mocap_opt.baselines.METHODS` (an
        engine's rule with a setting of its own, ``"sglang-dynamic:8192"``); or
        ``"plain-highs"``, ``"plain-cpsat"``: the lockstep program as it stands, for comparison,
        ``"plain-pyjobshop"``: another modeller's (extra ``baseline``); or a
        method that a plugin brings, see `mocap_opt.plugins`.  Of a period, a heuristic's plan is repeated
        with the fewest slots between requests that are feasible; of a stream, its plans of all requests run
        by release (in the order given, if it is), each in the first slot in which it fits.
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
        Stop once (value - bound) / value is at most this, of what is minimised.
    seed : int
        For the solvers and the searches.
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
        An earlier one of the same instance: its tables and bounds are not made again.  Where a layout is
        searched for, the search begins with its layout and plan.
    display : bool
        Whether a line follows the solve, on a terminal and in a notebook.

    Raises
    ------
    InputError
        If a name is unknown, a limit out of range, the instance's layout impossible, or an option means
        nothing for the objective.
    SolverUnavailableError
        If the solver asked for cannot be loaded.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> solution = mocap_opt.solve(instance, time_limit_s=10)
    >>> solution.report.status.value, solution.report.latency_s, solution.plan.boundaries
    ('optimal', 7.1e-05, (0, 2, 4))
    """
    asked = SolveOptions(
        method=method,
        solver=solver,
        execution=execution,
        time_limit_s=TIME_LIMIT_S if time_limit_s is None and deterministic_limit is None else time_limit_s,
        deterministic_limit=deterministic_limit,
        gap=gap,
        seed=seed,
        threads=threads,
        memory_budget_bytes=memory_budget_bytes,
        without=tuple(without),
        only=tuple(only),
    )
    instance = as_instance(instance)
    _check(instance, asked, known)
    with followed(instance.name, callback, display=display) as tell:
        query = Query(deadline=Deadline(asked.time_limit_s, stop), asked=asked, callback=tell, known=known)
        if instance.pipeline.free:
            return solve_free(instance, query)
        return answerer_of(instance).solve(query)


def _check(instance: Instance, asked: SolveOptions, known: Solution | None) -> None:
    """Refuse names, steps and limits that are none, and what means nothing for the objective."""
    require_supported(instance, "solve", **asdict(asked), known=known)
    check_names(("execution", asked.execution, EXECUTIONS), ("solver", asked.solver, ("auto", *Solver)))
    check_steps(asked.method, asked.without, asked.only)
    limits = {"time_limit_s": asked.time_limit_s, "deterministic_limit": asked.deterministic_limit}
    check_limits(asked.seed, asked.threads, **limits, gap=asked.gap)


def evaluate(
    instance: GivenInstance,
    plan: GivenPlan | Schedule,
    *,
    tables: Tables | None = None,
    bounds: Sequence[Bound] | None = None,
) -> Solution:
    """Verify and replay a given plan, and set it against the bounds.

    Parameters
    ----------
    instance : Instance or mapping
    plan : Plan, Schedule or mapping
        What the objective wants; a mapping is what a plan file holds.  May have been made for another
        instance if the sizes fit; the notes then say so.  Where the instance leaves its pipeline open,
        the plan holds the layout that it is judged in.
    tables : Tables, optional
        Of the only request of `instance`, if already built.
    bounds : sequence of Bound, optional
        On what `instance` minimises, if already known; otherwise those that need no plan are computed.

    Returns
    -------
    Solution
        With status ``infeasible`` and every violation in ``report.violations`` if the plan breaks a rule.

    Raises
    ------
    InputError
        If the plan is not one for the objective.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> answer = mocap_opt.evaluate(instance, mocap_opt.Plan((0, 2, 4)))
    >>> answer.report.latency_s, round(answer.report.gap, 3)
    (7.1e-05, 0.07)
    """
    instance = as_instance(instance)
    require_supported(instance, "evaluate")
    instance = decided(instance, plan)
    if tables is None and isinstance(plan, Schedule):
        tables = plan.machine
    return answerer_of(instance, tables).evaluate(plan, bounds)


def bound(
    instance: GivenInstance | Tables,
    *,
    quick: bool = False,
    time_limit_s: float | None = None,
    memory_budget_bytes: int | None = None,
    stop: threading.Event | None = None,
    on_note: Callable[[str], None] = lambda note: None,
    on_bound: Callable[[str], None] = lambda name: None,
) -> BoundsFound:
    """Compute the lower bounds that need no plan, on what the objective minimises.

    Parameters
    ----------
    instance : Instance, mapping or Tables
        Tables stand for a prompt.
    quick : bool
        Leave out those that need a solver.
    time_limit_s : float, optional
        Wall time, seconds, 60 by default; what a bound that is stopped has proved so far stands.
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
        Of a stream, those of its first request.
    bounds : list of Bound
        Weakest first; empty if the instance is infeasible.  One on a mean is rounded down to ticks.
    impossible : Infeasibility or None
        The proof that no plan exists, if there is one.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> tables, bounds, impossible = mocap_opt.bound(instance, quick=True)
    >>> [(bound.name, bound.ticks, bound.scope.value) for bound in bounds[-2:]]
    [('path_relaxation', 66, 'any execution of feasible plans'), ('slot_mixture', 69, 'lockstep')]
    >>> impossible is None
    True
    """
    check_limits(0, None, time_limit_s=time_limit_s)
    deadline = Deadline(TIME_LIMIT_S if time_limit_s is None else time_limit_s, stop)
    query = Query(deadline=deadline, quick=quick, on_note=on_note, on_bound=on_bound)
    with memory_budget(memory_budget_bytes):
        if isinstance(instance, Tables):
            # Tables stand for a prompt; only its bounds are answered without an instance.
            answerer: Answerer = Objective.LATENCY.record.load()(None, instance)
            return answerer.bound(query)
        instance = as_instance(instance)
        require_supported(instance, "bound")
        if instance.pipeline.free:
            return bound_free(instance, query)
        return answerer_of(instance).bound(query)
