"""Methods by name, and what each does within a solve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.registry import built_in_method
from mocap_opt.errors import InputError, Problem
from mocap_opt.memory_budget import OverBudgetError
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.bound_steps import add_quick_bounds, settle_feasibility
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import STEPS, solve_jointly
from mocap_opt.solving.plain import PLAIN_METHODS, solve_plainly
from mocap_opt.solving.plugin_methods import PluginMethod
from mocap_opt.solving.program_steps import why_not_run
from mocap_opt.solving.programs import MOST_SEED, MOST_THREADS
from mocap_opt.solving.steps import chosen_steps
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables

JOINT_METHODS = ("auto", "joint")
METHOD_NAMES = (*JOINT_METHODS, *METHODS, *PLAIN_METHODS)

ASSIGNMENT_RULES: Mapping[str, str] = {
    "first-free": "each request goes to the pipeline where it leaves first, by release",
}
"""Methods of several pipelines alone, with what they do."""

REJECTION_RULES: Mapping[str, str] = {
    "late-rejection": "every request runs, first free; late ones were run for nothing",
    "early-rejection": "rejected at arrival if the load then, and its own time, are too much",
    "predicted-rejection": "rejected at arrival if it would leave late behind those accepted",
}
"""Methods of objective goodput alone, with what they do."""

EVERY_METHOD = (*METHOD_NAMES, *ASSIGNMENT_RULES, *REJECTION_RULES)
"""Methods of any objective; each refuses those that it does not have."""

LEAST_GAP = 1e-3
"""Gap at which planning a request alone ends: beside others it will be cut differently anyway."""


def check_names(*choices: tuple[str, str, Sequence[str]]) -> None:
    """Refuse a name that is none of those known; each choice is its kind, the name, and the names known."""
    for kind, name, known in choices:
        if name not in known:
            raise InputError([Problem(kind, repr(name), "one of " + ", ".join(known))])


def check_steps(method: str, without: Sequence[str], only: Sequence[str]) -> None:
    """Refuse steps that are unknown, or that a method does not have.

    Parameters
    ----------
    method : str
    without, only : sequence of str
        Steps to leave out, and those to keep.

    Raises
    ------
    InputError
        Naming them.
    """
    chosen_steps(STEPS, without, only)
    if method not in JOINT_METHODS and (without or only):
        option = "without" if without else "only"
        named = ", ".join(without or only)
        raise InputError(
            [Problem(option, named, f"no step with method {method}", "auto and joint have steps")]
        )


def check_limits(seed: int, threads: int | None, **limits: float | None) -> None:
    """Refuse limits out of range, by their names.

    Parameters
    ----------
    seed : int
        From 0 to `MOST_SEED`.
    threads : int or None
        From 1 to `MOST_THREADS`; None: left to the solver.
    **limits : float or None
        Finite and at least 0; None: no limit.

    Raises
    ------
    InputError
        Listing them.
    """
    problems = [
        Problem(name, repr(value), "a finite number >= 0")
        for name, value in limits.items()
        if value is not None and not 0 <= value < float("inf")
    ]
    if not 0 <= seed <= MOST_SEED:
        problems.append(Problem("seed", repr(seed), f"a whole number from 0 to {MOST_SEED:,}"))
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        problems.append(Problem("threads", repr(threads), f"a whole number from 1 to {MOST_THREADS:,}"))
    if problems:
        raise InputError(problems)


def run_method(
    state: SearchState,
    method: str,
    plugin: PluginMethod | None,
    solver: str,
    seed: int,
    without: Sequence[str],
    only: Sequence[str],
) -> tuple[str | None, str | None]:
    """Let a method look for plans and bounds.

    Parameters
    ----------
    state : SearchState
        Receives them.
    method : str
        Of `METHOD_NAMES`, or the plugin's.
    plugin : PluginMethod or None
    solver : str
        ``"auto"``, or a solver's name.
    seed : int
    without, only : sequence of str
        Steps of the joint method to leave out, and those to keep.

    Returns
    -------
    reason : str or None
        Why it has no plan, if it has none.
    solver : str or None
        The one it used, if any.
    """
    if method in JOINT_METHODS:
        strategy = choose(state.tables, state.execution, solver, by_size=method == "auto")
        answer = solve_jointly(state, strategy, seed=seed, without=without, only=only)
        if method == "auto":
            state.notes.insert(0, f"auto: {strategy.account(why_not_run(state, strategy))}")
        return answer
    heuristic = built_in_method(method)
    if heuristic is not None:
        proposal = heuristic.propose(state.tables, state.deadline)
        state.offer(proposal.plan, method)
        state.notes.extend(proposal.notes)
        if not settle_feasibility(state) and not state.bounds:
            add_quick_bounds(state)
        return proposal.reason or None, None
    if settle_feasibility(state):
        return None, None
    try:
        return solve_plainly(state, method, seed=seed) if plugin is None else plugin.run(state, seed=seed)
    except OverBudgetError as error:
        return f"{method}: {error}", None


def plan_alone(tables: Tables, deadline: Deadline, *, seed: int, threads: int | None = None) -> Plan | None:
    """Plan one request for its latency, as `mocap_opt.solving.joint` does; None if no plan was found.

    Parameters
    ----------
    tables : Tables
    deadline : Deadline
    seed : int
    threads : int, optional
        Of a program's solver.
    """
    state = SearchState(tables, deadline, LEAST_GAP, threads=threads)
    solve_jointly(state, choose(tables, None, "auto", by_size=True), seed=seed)
    return None if state.best is None else state.best.plan
