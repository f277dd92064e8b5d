"""Answer requests with a time to keep by the weight of those that keep it (formulations/pipelines.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

from mocap_opt.bounds import Bound, best
from mocap_opt.bounds.admission import rejected_weight_bounds
from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.pipelines import AssessedAssignment
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.admission_search import AdmissionSearch, plan_admission, plan_by_rejection
from mocap_opt.solving.methods import REJECTION_RULES
from mocap_opt.solving.pipelines import PipelinesAnswerer
from mocap_opt.solving.pipelines_search import PipelinesSearch
from mocap_opt.solving.report import Report, covering
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables


class GoodputAnswerer(PipelinesAnswerer):
    """Counts the weight that is rejected or late, and reports the rest of it."""

    objective = Objective.GOODPUT
    rules: ClassVar[Mapping[str, str]] = REJECTION_RULES
    searched: ClassVar[type[PipelinesSearch]] = AdmissionSearch

    @property
    def total(self) -> int:
        """The weight of all requests."""
        return sum(request.weight for request in self.requests)

    def bounds_on(self, deadline: Deadline) -> list[Bound]:
        """Bounds on the weight that is rejected or late, in any execution."""
        known = self.needs(deadline)
        if known is None:
            return []
        return rejected_weight_bounds(self.requests, known, self.pipelines, deadline)

    def plan(self, search: PipelinesSearch, seed: int) -> None:
        """Look for the most weight that leaves in time.

        Parameters
        ----------
        search : PipelinesSearch
            Takes what is found.
        seed : int
        """
        assert isinstance(search, AdmissionSearch)
        plan_admission(search, seed=seed)

    def run_rule(self, search: PipelinesSearch, name: str) -> str:
        """Run one of `rules`; see `PipelinesAnswerer.run_rule`.

        Parameters
        ----------
        search, name
            As there.
        """
        assert isinstance(search, AdmissionSearch)
        plan_by_rejection(search, name)
        return ""

    def cost(self, found: AssessedAssignment, execution: Execution) -> Fraction:
        """The weight that is rejected or late.

        Parameters
        ----------
        found : AssessedAssignment
        execution : Execution
        """
        ends = found.completions(execution)
        kept = (self.requests[r].weight for r, end in ends.items() if end <= (self.requests[r].due or 0))
        return Fraction(self.total - sum(kept))

    def shown(self, ticks: Fraction | int) -> float:
        """The weight that leaves in time."""
        return int(self.total - ticks)

    def _judged(
        self, report: Report, tables: Tables, found: Assessment | None, bounds: Sequence[Bound]
    ) -> Report:
        """Say bounds as the most weight that is possible."""
        judged = super()._judged(report, tables, found, bounds)
        known = None if judged.bound_name is None else best(bounds, covering(None))
        most = None if known is None else self.total - known.ticks
        figures = {**judged.figures, "upper_bound": most, "weight": self.total}
        return replace(judged, lower_bound_s=None, lockstep_bound_s=None, figures=figures)

    def _finished(self, report: Report, bounds: Sequence[Bound]) -> Report:
        """Gaps are parts of the most weight that is possible."""
        known, lockstep = best(bounds, covering(None)), best(bounds, covering(Execution.LOCKSTEP))
        gap = self._gap(report.value_s, known)
        tolerance = float(report.settings.get("gap", 0.0))
        return replace(
            report,
            status=Status.OPTIMAL if gap is not None and gap <= tolerance else Status.FEASIBLE,
            gap=gap,
            lockstep_gap=self._gap(report.lockstep_value_s, lockstep),
        )

    def _gap(self, accepted: float | None, bound: Bound | None) -> float | None:
        if accepted is None or bound is None:
            return None
        most = self.total - bound.ticks
        return (most - accepted) / most if most else 0.0


ANSWERER = GoodputAnswerer
