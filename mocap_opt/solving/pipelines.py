"""Answer requests on several equal pipelines by their makespan (formulations/pipelines.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds import Bound, prove_infeasible
from mocap_opt.bounds.makespan import CLOSED, LeastTimes, least_times
from mocap_opt.bounds.pipelines import pipelines_makespan_bounds
from mocap_opt.errors import InputError, Problem
from mocap_opt.homes.proposal import Method
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective
from mocap_opt.memory_budget import memory_budget
from mocap_opt.replay.evaluation import Execution
from mocap_opt.replay.pipelines import AssessedAssignment, assess_assignment
from mocap_opt.schedule.assignment import Assignment, assignment_violations
from mocap_opt.schedule.assignment_file import assignment_from_dict
from mocap_opt.schedule.requests import Request, build_requests
from mocap_opt.solving.answerer import Answerer, BoundsFound, stamped
from mocap_opt.solving.methods import ASSIGNMENT_RULES, JOINT_METHODS
from mocap_opt.solving.pipelines_planner import plan_by_method, plan_first_free, plan_pipelines
from mocap_opt.solving.pipelines_report import pipeline_figures, with_value
from mocap_opt.solving.pipelines_search import PipelinesSearch
from mocap_opt.solving.report import Report
from mocap_opt.solving.solution import Found, Query, Solution
from mocap_opt.stopping import STOPPED, Deadline, StoppedError
from mocap_opt.tables.cost_tables import Tables

BOUNDING = 0.5
"""Part of the time that the bounds may take."""

MOST_BOUNDED = 64
"""Unlike requests up to which bounds on the latency of each alone are asked as well."""


class PipelinesAnswerer(Answerer):
    """Answers several requests on several equal pipelines.

    Attributes
    ----------
    rules : mapping of str to str
        Methods of this objective alone, with what they do.
    """

    objective = Objective.STREAM
    rules: ClassVar[Mapping[str, str]] = ASSIGNMENT_RULES
    searched: ClassVar[type[PipelinesSearch]] = PipelinesSearch

    def __init__(self, instance: Instance, tables: Tables | None = None) -> None:
        super().__init__(instance, tables)
        self.order_given = instance.workload.order == "given"
        self.pipelines = instance.workload.pipelines

    @cached_property
    def requests(self) -> tuple[Request, ...]:
        """In the order of the instance."""
        return build_requests(self.instance)

    def needs(self, deadline: Deadline) -> list[LeastTimes] | None:
        """What every request needs at least; None if one has no plan, or if time was too short."""
        try:
            many = len({id(request.tables) for request in self.requests}) > MOST_BOUNDED
            return least_times(self.requests, deadline, () if many else CLOSED)
        except StoppedError:
            return None

    def bounds_on(self, deadline: Deadline) -> list[Bound]:
        """Bounds on what is brought down, in any execution."""
        known = self.needs(deadline)
        if known is None:
            return []
        return pipelines_makespan_bounds(self.requests, self.pipelines, self.order_given, deadline, known)

    def new_search(self, query: Query) -> PipelinesSearch:
        """A search that knows nothing yet."""
        return self.searched(
            self.requests,
            self.pipelines,
            self.order_given,
            self.instance.fingerprint,
            deadline=query.deadline,
            gap=query.asked.gap,
            callback=query.callback,
            threads=query.asked.threads,
        )

    def plan(self, search: PipelinesSearch, seed: int) -> None:
        """Look for the best assignment.

        Parameters
        ----------
        search : PipelinesSearch
            Takes what is found.
        seed : int
        """
        plan_pipelines(search, seed=seed)

    def run_rule(self, search: PipelinesSearch, name: str) -> str:
        """Run one of `rules`; return why that cannot be done.

        Parameters
        ----------
        search : PipelinesSearch
            Takes what is found.
        name : str
        """
        plan_first_free(search, name)
        return ""

    def search(self, query: Query) -> Found:
        """Bound, then share the requests out, or run a rule.

        Raises
        ------
        InputError
            As `mocap_opt.schedule.requests.build_requests`, or if there is no such method.
        """
        asked = query.asked
        method = self._method(asked.method)
        search = self.new_search(query)
        search.begin(f"bounds on the {self.objective.record.words}")
        search.add_bounds(self.bounds_on(query.deadline.share(BOUNDING)))
        reason = ""
        if asked.method in JOINT_METHODS:
            self.plan(search, asked.seed)
        else:
            search.begin(asked.method)
            reason = self.run_rule(search, asked.method) if method is None else plan_by_method(search, method)
        if search.infeasible is None and search.best is None:
            impossible = self._impossible(query.deadline)
            search.infeasible = None if impossible is None else impossible.message
        return Found(
            tables=search.machine,
            bounds=search.bounds,
            infeasible=search.infeasible,
            reason=reason or None,
            found_by=search.found_by,
            notes=search.notes,
            assessed=search.best,
        )

    def _method(self, name: str) -> Method | None:
        """The heuristic of that name; None for the joint method and for rules of this objective."""
        if name in JOINT_METHODS or name in self.rules:
            return None
        try:
            return find_method(name)
        except InputError:
            known = ", ".join((*JOINT_METHODS, *self.rules))
            expected = f"{known}, or a heuristic, with objective {self.objective}"
            raise InputError([Problem("method", repr(name), expected)]) from None

    def _impossible(self, deadline: Deadline) -> Any:
        for request in {id(request.tables): request for request in self.requests}.values():
            proof = prove_infeasible(request.tables, deadline)
            if proof is not None:
                return replace(
                    proof, message=f"request {request.name} has no plan even alone: {proof.message}"
                )
        return None

    def read(self, plan: Any) -> Any:
        """Take an assignment; see `Answerer.read`."""
        return plan if isinstance(plan, Assignment) else assignment_from_dict(plan, self.requests)

    def quick_bounds(self) -> Sequence[Bound]:
        """Bounds on what is brought down; see `Answerer.quick_bounds`."""
        return self.bounds_on(Deadline())

    def bound(self, query: Query) -> BoundsFound:
        """Bound what is brought down; see `Answerer.bound`."""
        tables = self.requests[0].tables
        impossible = self._impossible(query.deadline) if self.searched.all_run else None
        if impossible is not None:
            return tables, [], impossible
        query.on_bound(f"bounds on the {self.objective.record.words}")
        found = self.bounds_on(query.deadline)
        if query.deadline.expired:
            query.on_note(STOPPED)
        return tables, sorted(found, key=lambda each: each.ticks), None

    def cost(self, found: AssessedAssignment, execution: Execution) -> Fraction:
        """What is brought down, in one execution, as the bounds count it.

        Parameters
        ----------
        found : AssessedAssignment
        execution : Execution
        """
        return found.makespan(execution)

    def shown(self, ticks: Fraction | int) -> float:
        """What is brought down, as reports say it."""
        return self.requests[0].tables.seconds(Fraction(ticks))

    def solve(self, query: Query) -> Solution:
        """See `Answerer.solve`."""
        asked = query.asked
        with memory_budget(asked.memory_budget_bytes):
            found = self.search(query)
        method = "joint" if asked.method == "auto" else asked.method
        answer = self._answer(found, None, query.deadline, method, asked)
        assessed = found.assessed
        assignment = None if assessed is None else self._stamped(assessed.assignment)
        return self._with(replace(answer, assignment=assignment, assessed=assessed))

    def evaluate(self, plan: Any, bounds: Sequence[Bound] | None = None) -> Solution:
        """See `Answerer.evaluate`.

        Parameters
        ----------
        plan, bounds
            As there.
        """
        deadline, own = Deadline(), self.instance.fingerprint
        assignment: Assignment = self.read(plan)
        broken = [
            str(each)
            for each in assignment_violations(
                assignment,
                requests=len(self.requests),
                pipelines=self.pipelines,
                all_run=self.searched.all_run,
                order_given=self.order_given,
            )
        ]
        made_for = {request.plan.fingerprint for _, request in assignment} - {None, own}
        found = Found(
            tables=self.requests[0].tables,
            bounds=() if broken else self.quick_bounds() if bounds is None else bounds,
            infeasible=f"the plan breaks {len(broken)} rule(s)" if broken else None,
            notes=[
                f"the plan was made for an instance with fingerprint {each}, not {own}"
                for each in sorted(filter(None, made_for))
            ],
        )
        answer = self._answer(found, None, deadline)
        assessed = None if broken else assess_assignment(assignment)
        answer = replace(answer, assignment=assignment, assessed=assessed)
        answer = self._with(answer)
        return replace(answer, report=replace(answer.report, violations=broken))

    def against(
        self, answer: Solution, bounds: Sequence[Bound], proof: str | None, reason: str | None
    ) -> Solution:
        """See `Answerer.against`.

        Parameters
        ----------
        answer, bounds, proof, reason
            As there.
        """
        judged = super().against(answer, bounds, None if answer.assessed is not None else proof, reason)
        judged = self._with(judged)
        return judged if reason is None else replace(judged, report=replace(judged.report, reason=reason))

    def _with(self, answer: Solution) -> Solution:
        """The answer with what its assignment comes to."""
        found = answer.assessed
        if found is None:
            return answer
        costs = {execution: self.cost(found, execution) for execution in Execution}
        report = with_value(answer.report, costs, answer.lower_bounds, self.shown)
        execution = min(Execution, key=lambda each: costs[each])
        figures = {**report.figures, **pipeline_figures(found, self.requests, execution)}
        return replace(answer, report=self._finished(replace(report, figures=figures), answer.lower_bounds))

    def _finished(self, report: Report, bounds: Sequence[Bound]) -> Report:
        """The report in the terms of the objective."""
        return report

    def _stamped(self, assignment: Assignment) -> Assignment:
        streams = (
            None if stream is None else stamped(stream, self.instance) for stream in assignment.pipelines
        )
        return Assignment(tuple(streams))


ANSWERER = PipelinesAnswerer
