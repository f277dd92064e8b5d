"""A solve as a table of steps, and the one loop that runs such a table.

A step gets a share of the time left and is asked to stop when that is over.  A step that fails is a note:
the solve goes on with what the others find.  What every step cost and gained is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mocap_opt import errors
from mocap_opt.errors import InputError, MocapError, Problem
from mocap_opt.memory_budget import OverBudgetError
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.report import StepRun
from mocap_opt.solving.search_state import PROGRAM_STEPS, JointSearch
from mocap_opt.stopping import STOPPED, AskedToStop, StoppedError

STALLED = 3
"""Rounds in a row without a better plan or bound after which no further one is begun."""


RESERVED = 0.2
"""Part of the time limit that is kept for programs to come: no search before them may go on into it."""


class Raises(StrEnum):
    """What a step makes better: the plan, the bound, both, or a proof that there is no plan."""

    PLAN = "plan"
    BOUND = "bound"
    BOTH = "both"
    PROOF = "proof"


def _always(search: JointSearch) -> str | None:
    return None


@dataclass(frozen=True)
class Step:
    """One row of the table.

    Attributes
    ----------
    name : str
    summary : str
        What it does, in a line.
    raises : Raises
    share : float
        Part of the time left when it begins that it may take, at most.
    run : callable
        Takes the search and a question to ask often, which says when its share is over.
    when : str
        When it applies, in words.
    unless : callable
        Why it does not apply to a search, in words; None if it does.
    share_without_programs : float or None
        Its share where no program follows it, if that differs.
    rounds : bool
        Whether it runs again, in further rounds, as long as there is time and rounds help.
    owes_a_plan : bool
        Whether it may use all the time left, and a little more, as long as no plan is known.
    closes_lockstep : bool
        Whether it also runs once the gap is closed, to prove how good the best static plan is.
    """

    name: str
    summary: str
    raises: Raises
    share: float
    run: Callable[[JointSearch, AskedToStop], None]
    when: str = "always"
    unless: Callable[[JointSearch], str | None] = _always
    share_without_programs: float | None = None
    rounds: bool = False
    owes_a_plan: bool = False
    closes_lockstep: bool = False

    def share_in(self, search: JointSearch) -> float:
        """Its share of the time left in a search.

        It ends where the time begins that is kept for programs to come, unless there is no plan yet:
        programs do best from a plan.
        """
        state, deadline = search.state, search.state.deadline
        if not any(map(search.awaits, search.strategy.programs)):
            return self.share if self.share_without_programs is None else self.share_without_programs
        if self.name in PROGRAM_STEPS.values() or (self.owes_a_plan and state.best is None):
            return self.share
        left = deadline.limit_s
        if left is None:
            return self.share
        kept = RESERVED * (deadline.elapsed_s + left)
        return min(self.share, max(0.0, 1.0 - kept / left)) if left else self.share

    def obstacle(self, search: JointSearch) -> str | None:
        """Why it does not run now, in words; None if it does."""
        state = search.state
        if state.infeasible_reason is not None:
            return state.why_done
        owed = self.owes_a_plan and state.best is None and not state.grace.expired
        if state.done and not owed and not (self.closes_lockstep and not state.deadline.expired):
            return state.why_done
        return self.unless(search)


def chosen_steps(
    table: Sequence[Step], without: Collection[str] = (), only: Collection[str] = ()
) -> tuple[Step, ...]:
    """The rows of a table that take part.

    Parameters
    ----------
    table : sequence of Step
    without : collection of str
        Names to leave out.
    only : collection of str
        If not empty, names to keep.

    Raises
    ------
    InputError
        If a name is unknown, or nothing is left.
    """
    names = [step.name for step in table]
    problems = [
        Problem(option, repr(name), "one of " + ", ".join(names))
        for option, given in (("without", without), ("only", only))
        for name in given
        if name not in names
    ]
    kept = tuple(step for step in table if step.name not in without and (not only or step.name in only))
    if not kept and not problems:
        problems = [Problem("without", ", ".join(without), "a step to be left", "see `mocap-opt steps`")]
    if problems:
        raise InputError(problems)
    return kept


def run_steps(table: Sequence[Step], search: JointSearch) -> None:
    """Run a table in order, then its rounds until time is up or they no longer help.

    Parameters
    ----------
    table : sequence of Step
    search : JointSearch
        Its state receives what is found, and in `steps` what each step cost and gained.
    """
    search.names = frozenset(step.name for step in table)
    records: dict[str, StepRun] = {}
    _once(table, search, records)
    again = [step for step in table if step.rounds]
    stalled = 0
    while again and stalled < STALLED and search.state.best is not None and not search.state.done:
        search.round += 1
        search.seed += 1
        before = _standing(search.state)
        _once(again, search, records)
        stalled = stalled + 1 if _standing(search.state) == before else 0
    state = search.state
    state.steps = [
        replace(
            run,
            final_plan=run.step == state.plan_step,
            final_bound=state.headline is not None and run.step == state.bound_step,
        )
        for run in records.values()
    ]


def _standing(state: SearchState) -> tuple[object, object]:
    headline = state.headline
    return state.best_latency, None if headline is None else headline.ticks


def _once(table: Iterable[Step], search: JointSearch, records: dict[str, StepRun]) -> None:
    for step in table:
        obstacle = step.obstacle(search)
        known = records.get(step.name)
        if obstacle is None:
            records[step.name] = _perform(step, search, known or StepRun(step.name))
        elif known is None:
            records[step.name] = StepRun(step.name, skipped=obstacle)
        search.passed.add(step.name)


def _perform(step: Step, search: JointSearch, record: StepRun) -> StepRun:
    """Run a step within its share, whatever happens in it, and add the run to its record."""
    state = search.state
    began, latency, bound = state.deadline.elapsed_s, *_seconds(state)
    state.doing = step.name
    state.tell(step.name)
    with state.within(step.share_in(search), closed_too=step.closes_lockstep) as asked_to_stop:
        allowed = state.deadline.limit_s if state.deterministic_limit is None else None
        note = _caught(step, search, asked_to_stop)
    state.doing = None
    # Raises if a plan beats a bound, here, so that the step that made either is known.
    state.current_gap()
    latency_after, bound_after = _seconds(state)
    first = record.runs == 0
    return replace(
        record,
        runs=record.runs + 1,
        skipped=None,
        allowed_s=None if allowed is None else (record.allowed_s or 0.0) + allowed,
        cost_s=record.cost_s + state.deadline.elapsed_s - began,
        latency_before_s=latency if first else record.latency_before_s,
        latency_after_s=latency_after,
        latency_gain_s=record.latency_gain_s + _gain(latency_after, latency),
        bound_before_s=bound if first else record.bound_before_s,
        bound_after_s=bound_after,
        bound_gain_s=record.bound_gain_s + _gain(bound, bound_after),
        note=note or record.note,
    )


def _seconds(state: SearchState) -> tuple[float | None, float | None]:
    latency, headline = state.best_latency, state.headline
    return (
        None if latency is None else state.tables.seconds(latency),
        None if headline is None else state.tables.seconds(headline.ticks),
    )


def _gain(less: float | None, more: float | None) -> float:
    return 0.0 if less is None or more is None else more - less


def _caught(step: Step, search: JointSearch, asked_to_stop: AskedToStop) -> str:
    """Run a step; what went wrong, in words, or nothing.

    Errors that this package raises on purpose (a solver that was asked for cannot be loaded) and broken
    proofs (a plan beats a bound, which is an AssertionError) are for the caller.
    """
    try:
        step.run(search, asked_to_stop)
    except StoppedError:
        return STOPPED
    except OverBudgetError as error:
        note = f"step {step.name}: {error}"
        search.state.notes.append(note)
        return note
    except (MocapError, AssertionError):
        raise
    except Exception as error:
        if errors.raise_unexpected:
            raise
        note = f"step {step.name} failed: {errors.described(error)}"
        search.state.notes.append(note)
        return note
    return ""
