"""How an instance is answered, whatever its objective: the base of all who answer.

A new objective is a module with an `Answerer` called ``ANSWERER`` and a row of
`mocap_opt.instance.objectives.OBJECTIVES` that names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from mocap_opt.bounds import Bound, Infeasibility, best
from mocap_opt.instance.objectives import Objective
from mocap_opt.memory_budget import memory_budget
from mocap_opt.replay.evaluation import Assessment, Execution, assess_schedule
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import schedule_memory, schedule_violations
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.report import Report, covering, relative_gap
from mocap_opt.solving.solution import Found, Query, Solution, SolveOptions, wanted_execution
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

NOT_FOUND = "no feasible plan was found"
"""Why there is no plan where nothing more is known."""

ONE_LAYOUT = "the bounds are those of the plan's layout: another layout may be better"
"""What a given plan of an instance that leaves its pipeline open is judged against."""

BoundsFound = tuple[Tables, list[Bound], Infeasibility | None]
"""Tables of the first request, bounds on what is minimised, and the proof that there is no plan."""


class Answerer(ABC):
    """Who answers one instance of an objective.

    Parameters
    ----------
    instance : Instance
    tables : Tables, optional
        Of its only request, if already built.

    Attributes
    ----------
    objective : Objective
    of_search : mapping
        Figures that a search adds, as they are where none was made.
    """

    objective: Objective
    of_search: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, instance: Instance, tables: Tables | None = None) -> None:
        self.instance = instance
        self._tables = tables

    @cached_property
    def tables(self) -> Tables:
        """Of the only request."""
        return build_tables(self.instance) if self._tables is None else self._tables

    @abstractmethod
    def search(self, query: Query) -> Found:
        """Look for a schedule and for bounds."""

    @abstractmethod
    def read(self, plan: Any) -> Schedule:
        """Take a plan as users hand it in: as a schedule, or as what a plan file holds.

        Raises
        ------
        InputError
            If it is no plan for the instance, listing every problem.
        """

    @abstractmethod
    def quick_bounds(self) -> Sequence[Bound]:
        """Bounds that need no plan and little time, as `value` counts."""

    @abstractmethod
    def bound(self, query: Query) -> BoundsFound:
        """Bound what is minimised, or prove that there is no plan; see `mocap_opt.solving.api.bound`."""

    def value(self, found: Assessment, execution: Execution) -> Fraction | None:
        """What is minimised, in one execution, as the bounds count it; ticks, None where it is unknown.

        Parameters
        ----------
        found : Assessment
        execution : Execution
        """
        return found.value_in(execution)

    def reported(self, found: Assessment) -> Execution:
        """The execution in which what is minimised is smaller; lockstep where both are equal."""
        values = {execution: self.value(found, execution) for execution in Execution}
        known = {execution: value for execution, value in values.items() if value is not None}
        return min(known, key=lambda each: known[each])

    @property
    def divisor(self) -> int:
        """By what reports divide what `value` counts; the number of requests where they say a mean."""
        return 1

    def figures(self, found: Assessment | None, bound: Bound | None) -> dict[str, Any]:
        """What else the objective reports; every key also without a plan.

        Parameters
        ----------
        found : Assessment or None
        bound : Bound or None
            The best one on what is minimised, in any execution.
        """
        return {}

    def solve(self, query: Query) -> Solution:
        """Find a schedule and say how far from the best possible it is."""
        asked = query.asked
        with memory_budget(asked.memory_budget_bytes):
            found = self.search(query)
        method = "joint" if asked.method == "auto" else asked.method
        schedule = None if found.best is None else stamped(found.best.schedule, self.instance)
        return self._answer(found, schedule, query.deadline, method, asked)

    def evaluate(self, plan: Any, bounds: Sequence[Bound] | None = None) -> Solution:
        """Verify and replay a given plan, and set it against the bounds.

        Parameters
        ----------
        plan
            As for `read`.
        bounds : sequence of Bound, optional
            Known ones; by default those that need no plan are computed.
        """
        deadline, own = Deadline(), self.instance.fingerprint
        schedule = self.read(plan)
        broken = [str(each) for each in schedule_violations(schedule)]
        if self.instance.workload.order == "given" and schedule.order != tuple(range(len(schedule))):
            broken.insert(0, "the requests do not run in the order given")
        made_for = {each.plan.fingerprint for each in schedule} - {None, own}
        found = Found(
            tables=schedule.machine,
            best=None if broken else assess_schedule(schedule),
            bounds=() if broken else self.quick_bounds() if bounds is None else bounds,
            infeasible=f"the plan breaks {len(broken)} rule(s)" if broken else None,
            notes=[
                f"the plan was made for an instance with fingerprint {each}, not {own}"
                for each in sorted(filter(None, made_for))
            ]
            + ([ONE_LAYOUT] if self.instance.decided is not None else []),
        )
        answer = self._answer(found, schedule, deadline)
        return replace(answer, report=replace(answer.report, violations=broken))

    def against(
        self, answer: Solution, bounds: Sequence[Bound], proof: str | None, reason: str | None
    ) -> Solution:
        """Set an answer against other bounds; for `mocap_opt.solving.comparison`.

        Parameters
        ----------
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
        report = answer.report
        if answer.assessment is None and proof is not None and report.status is not Status.INFEASIBLE:
            report = replace(report, status=Status.INFEASIBLE, reason=proof)
        report = report if reason is None else replace(report, reason=reason)
        judged = self._judged(report, answer.tables, answer.assessment, bounds)
        return replace(answer, report=judged, lower_bounds=tuple(bounds))

    def _answer(
        self,
        found: Found,
        schedule: Schedule | None,
        deadline: Deadline,
        method: str | None = None,
        asked: SolveOptions | None = None,
    ) -> Solution:
        """Put what was found in seconds."""
        settings = {} if asked is None else asdict(asked)
        report = Report(
            instance=self.instance.name,
            fingerprint=self.instance.fingerprint,
            objective=self.objective.value,
            method=method,
            status=Status.UNKNOWN if found.infeasible is None else Status.INFEASIBLE,
            solver=found.solver,
            build_s=sum(run.build_s for run in found.programs),
            solve_s=sum(run.solve_s for run in found.programs),
            found_by=found.found_by,
            reason=None if found.best is not None else found.infeasible or found.reason or NOT_FOUND,
            notes=[*self._grid_notes(), *found.notes],
            programs=list(found.programs),
            steps=list(found.steps),
            figures={**self.of_search, **found.figures, **_layout(self.instance)},
            settings={name: value for name, value in settings.items() if name not in ("method", "solver")},
        )
        report = replace(report, versions={**report.versions, **found.versions})
        report = self._judged(report, found.tables, found.best, found.bounds)
        report = replace(report, runtime_s=deadline.elapsed_s)
        return Solution(
            report,
            schedule,
            found.best,
            tuple(found.bounds),
            found.tables,
            tuple(found.trials),
            self.instance,
        )

    def _grid_notes(self) -> list[str]:
        """Say which grid the rule picked, if it was left to it."""
        grid = self.instance.grid_by_rule
        if grid is None:
            return []
        return [f"chunking.quantum auto: steps of {grid['quantum']} tokens, pages of {grid['page']}"]

    def _judged(
        self, report: Report, tables: Tables, found: Assessment | None, bounds: Sequence[Bound]
    ) -> Report:
        """Set a report's plan against bounds: its figures, the bounds that cover them, the gaps, the status.

        Raises
        ------
        BoundBeatenError
            If a replay beats a bound that covers it.
        """
        wanted = wanted_execution(report.settings.get("execution", "best"))
        bounds = () if report.status is Status.INFEASIBLE else bounds
        anywhere, lockstep = best(bounds, covering(wanted)), best(bounds, covering(Execution.LOCKSTEP))

        def seconds(ticks: Fraction | int | None) -> float | None:
            return None if ticks is None else tables.seconds(Fraction(ticks) / self.divisor)

        judged: dict[str, Any] = {
            "lower_bound_s": None if anywhere is None else seconds(anywhere.ticks),
            "bound_scope": None if anywhere is None else anywhere.scope.value,
            "bound_name": None if anywhere is None else anywhere.name,
            "bound_evidence": None if anywhere is None else anywhere.evidence.value,
            "lockstep_bound_s": None if lockstep is None else seconds(lockstep.ticks),
            "lockstep_bound_name": None if lockstep is None else lockstep.name,
            "lockstep_bound_evidence": None if lockstep is None else lockstep.evidence.value,
            "figures": {
                **report.figures,
                **self.figures(found, best(bounds, covering(None))),
            },
        }
        if found is None:
            return replace(report, **judged)
        values = {execution: self.value(found, execution) for execution in Execution}
        execution = wanted or self.reported(found)
        gaps = [
            None if value is None else relative_gap(value, known)
            for value, known in (
                (values[execution], anywhere),
                (values[Execution.LOCKSTEP], lockstep),
                (values[self.reported(found)], best(bounds, covering(None))),
                (values[execution], best((each for each in bounds if each.closes), covering(wanted))),
            )
        ]
        gap, lockstep_gap, _, sure = gaps
        tolerance = float(report.settings.get("gap", 0.0))
        judged |= {
            "status": Status.OPTIMAL if sure is not None and sure <= tolerance else Status.FEASIBLE,
            "value_s": seconds(values[execution]),
            "execution": execution.value,
            "lockstep_value_s": seconds(values[Execution.LOCKSTEP]),
            "event_value_s": seconds(values[Execution.EVENT]),
            "gap": gap,
            "lockstep_gap": lockstep_gap,
            "peak_memory_bytes": schedule_memory(found.schedule).max(axis=1).tolist(),
        }
        if len(found.schedule) == 1:
            plan = found.plan
            judged["boundaries"] = list(plan.boundaries)
            judged["homes"] = [
                {"stage": h.stage, "chunk": h.chunk, "memory": h.memory, "tokens": h.pages * tables.page}
                for h in plan.homes
            ]
        return replace(report, **judged)


def _layout(instance: Instance) -> dict[str, Any]:
    """The layout that was decided, as a report holds it."""
    return {} if instance.decided is None else {"layout": instance.decided.to_dict()}


def stamped(schedule: Schedule, instance: Instance) -> Schedule:
    """The schedule with the instance's fingerprint, and the layout it was decided to have, in every plan.

    Parameters
    ----------
    schedule : Schedule
    instance : Instance
    """
    own, layout = instance.fingerprint, instance.decided
    requests = (
        replace(each, plan=replace(each.plan, fingerprint=own, layout=layout)) for each in schedule.requests
    )
    return replace(schedule, requests=tuple(requests))
