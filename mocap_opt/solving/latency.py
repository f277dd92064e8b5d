"""Answer one prompt: the time until it has left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from mocap_opt.bounds import BOUNDS, QUICK, Bound, affordable_bound, best, lower_bounds, prove_infeasible
from mocap_opt.bounds.refinement import Refinement, refinement
from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.schedule.inputs import as_plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.answerer import Answerer, BoundsFound
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.methods import METHOD_NAMES, run_method
from mocap_opt.solving.plugin_methods import find_plugin_method
from mocap_opt.solving.remedies import infeasible_verdict
from mocap_opt.solving.report import Report, covering, relative_gap
from mocap_opt.solving.solution import Found, Query, Solution, wanted_execution
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_percent

BOUND_SHARE = 0.4
"""Part of the time left that each bound may take in `LatencyAnswerer.bound`."""


class LatencyAnswerer(Answerer):
    """Answers one prompt, with every option; of tables without an instance the bounds alone."""

    objective = Objective.LATENCY

    def search(self, query: Query) -> Found:
        """Let the method look for plans and bounds; tables and bounds that are known are not made again."""
        asked, known = query.asked, query.known
        plugin = find_plugin_method(asked.method, METHOD_NAMES)
        if known is not None:
            self._tables = known.tables
        tables = self.tables
        state = SearchState(
            tables,
            query.deadline,
            asked.gap,
            query.callback,
            wanted_execution(asked.execution),
            asked.deterministic_limit,
            asked.threads,
        )
        state.add_bounds(() if known is None else known.lower_bounds)
        reason, used = run_method(
            state, asked.method, plugin, asked.solver, asked.seed, asked.without, asked.only
        )
        infeasible = state.infeasible_reason
        return Found(
            tables=tables,
            best=state.best,
            bounds=state.bounds,
            infeasible=None
            if infeasible is None
            else infeasible_verdict(self.instance, tables, infeasible, query.deadline),
            reason=reason,
            found_by=state.best_source,
            solver=used,
            notes=state.notes,
            programs=state.runs,
            steps=state.steps,
            trials=state.trials,
            figures=_static(state),
            versions={} if plugin is None else plugin.versions,
        )

    def solve(self, query: Query) -> Solution:
        """Find a plan; see `Answerer.solve`.  Says so where the plan uses every chunk allowed."""
        answer = super().solve(query)
        tables, found = answer.tables, answer.assessment
        most = tables.max_chunks
        if found is None or tables.exact_chunks or not len(found.plan.boundaries) - 1 == most < tables.steps:
            return answer
        more = refinement(self.instance, tables, same_grid=True)
        saves, reason = self._saves(answer.report, found, more)
        known = "more could save at most " + format_percent(saves)
        worth = known if reason is None else "it is not known what more could save"
        note = f"the plan uses all {most} chunks of chunking.max_chunks; on the same grid {worth}"
        report = replace(answer.report, notes=[*answer.report.notes, note])
        return replace(answer, report=report)

    def _judged(
        self, report: Report, tables: Tables, found: Assessment | None, bounds: Sequence[Bound]
    ) -> Report:
        """Set a report's plan against bounds, and against what no plan on any finer grid beats."""
        report = super()._judged(report, tables, found, bounds)
        saves, reason = self._saves(report, found, self._refinement)
        bound = None if self._refinement.bound is None else tables.seconds(self._refinement.bound.ticks)
        known = {"refinement_bound_s": bound, "refinement_saves": saves, "refinement_unknown": reason}
        return replace(report, figures={**report.figures, **known})

    @cached_property
    def _refinement(self) -> Refinement:
        return refinement(self.instance, self.tables)

    def _saves(
        self, report: Report, found: Assessment | None, refined: Refinement
    ) -> tuple[float | None, str | None]:
        """Part of the reported latency that a refinement could save at most, or why it is not known."""
        if found is None or report.execution is None:
            return None, refined.reason or "there is no plan to compare with"
        latency = self.value(found, Execution(report.execution)) or 0
        return relative_gap(latency, refined.bound), refined.reason

    def read(self, plan: Any) -> Schedule:
        """Take a plan, or a schedule of one; see `Answerer.read`."""
        if isinstance(plan, Schedule) and len(plan) == 1 and not plan.endless:
            return plan
        return Schedule.of(self.tables, as_plan(plan, self.tables))

    def quick_bounds(self) -> Sequence[Bound]:
        """Every bound in the registry; see `Answerer.quick_bounds`."""
        return lower_bounds(self.tables)

    def bound(self, query: Query) -> BoundsFound:
        """Compute every bound in turn, each in `BOUND_SHARE` of the time left; see `Answerer.bound`."""
        state = SearchState(self.tables, query.deadline, 0.0)
        impossible = prove_infeasible(self.tables, state.grace)
        if impossible is not None and self.instance is not None:
            verdict = infeasible_verdict(self.instance, self.tables, impossible, query.deadline)
            impossible = replace(impossible, message=verdict)
        for name in () if impossible else BOUNDS:
            if query.quick and name not in QUICK:
                continue
            if state.bounds and query.deadline.expired:
                query.on_note(f"{name}: not begun, time was up")
                continue
            query.on_bound(name)
            with state.within(BOUND_SHARE) as asked_to_stop:
                found = affordable_bound(name, self.tables, asked_to_stop, query.on_note)
                if asked_to_stop():
                    query.on_note(f"{name}: stopped after its share of the time")
            state.add_bounds([] if found is None else [found])
        return self.tables, sorted(state.bounds, key=lambda each: each.ticks), impossible


def _static(state: SearchState) -> dict[str, float | None]:
    """The best plan in lockstep, whichever execution counts, against the bounds on lockstep."""
    found = state.best_lockstep
    if found is None:
        return {"static_latency_s": None, "static_gap": None}
    latency = found.lockstep.latency
    known = best(state.bounds, covering(Execution.LOCKSTEP))
    return {"static_latency_s": state.tables.seconds(latency), "static_gap": relative_gap(latency, known)}


ANSWERER = LatencyAnswerer
