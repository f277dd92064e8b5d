"""Answer one prompt: the time until it has left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import BOUNDS, QUICK, Bound, affordable_bound, best, lower_bounds, prove_infeasible
from mocap_opt.instance.objectives import Objective
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.inputs import as_plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.answerer import Answerer, BoundsFound
from mocap_opt.solving.incumbent import Progress, SearchState
from mocap_opt.solving.methods import METHOD_NAMES, run_method
from mocap_opt.solving.plugin_methods import find_plugin_method
from mocap_opt.solving.remedies import infeasible_verdict
from mocap_opt.solving.report import covering, relative_gap
from mocap_opt.solving.solution import Found, Settings, Solution, wanted_execution
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

BOUND_SHARE = 0.4
"""Part of the time left that each bound may take in `LatencyAnswerer.bound`."""


class LatencyAnswerer(Answerer):
    """Answers one prompt, with every option there is."""

    objective = Objective.LATENCY

    def search(
        self,
        instance: Instance,
        asked: Settings,
        deadline: Deadline,
        callback: Callable[[Progress], None] | None = None,
        known: Solution | None = None,
    ) -> Found:
        """Let the method look for plans and bounds; see `Answerer.search`.

        Parameters
        ----------
        instance, asked, deadline, callback
            As there.
        known : Solution, optional
            Its tables and bounds are not made again.
        """
        plugin = find_plugin_method(asked.method, METHOD_NAMES)
        tables = build_tables(instance) if known is None else known.tables
        state = SearchState(
            tables,
            deadline,
            asked.gap,
            callback,
            wanted_execution(asked.execution),
            asked.deterministic_limit,
            asked.threads,
        )
        state.add_bounds(() if known is None else known.bounds)
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
            else infeasible_verdict(instance, tables, infeasible, deadline),
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

    def read(self, instance: Instance, plan: Any, tables: Tables | None) -> Schedule:
        """Take a plan, or a schedule of one; see `Answerer.read`.

        Parameters
        ----------
        instance, plan, tables
            As there.
        """
        if isinstance(plan, Schedule) and len(plan) == 1 and not plan.endless:
            return plan
        tables = build_tables(instance) if tables is None else tables
        return Schedule.of(tables, as_plan(plan, tables))

    def bounds_on(self, instance: Instance, schedule: Schedule) -> Sequence[Bound]:
        """Every bound that needs no plan; see `Answerer.bounds_on`.

        Parameters
        ----------
        instance, schedule
            As there.
        """
        return lower_bounds(schedule.machine)

    def bound(
        self,
        instance: Instance | Tables,
        deadline: Deadline,
        *,
        quick: bool = False,
        on_note: Callable[[str], None] = lambda note: None,
        on_bound: Callable[[str], None] = lambda name: None,
    ) -> BoundsFound:
        """Compute every bound in turn, each in `BOUND_SHARE` of the time left; see `Answerer.bound`.

        Parameters
        ----------
        instance : Instance or Tables
        deadline, quick, on_note, on_bound
            As there.
        """
        tables = instance if isinstance(instance, Tables) else build_tables(instance)
        state = SearchState(tables, deadline, 0.0)
        impossible = prove_infeasible(tables, state.grace)
        if impossible is not None and not isinstance(instance, Tables):
            verdict = infeasible_verdict(instance, tables, impossible, deadline)
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
        return tables, sorted(state.bounds, key=lambda each: each.ticks), impossible


def _static(state: SearchState) -> dict[str, float | None]:
    """The best plan in lockstep, whichever execution counts, against the bounds on lockstep."""
    found = state.best_lockstep
    if found is None:
        return {"static_latency_s": None, "static_gap": None}
    latency = found.lockstep.latency
    known = best(state.bounds, covering(Execution.LOCKSTEP))
    return {"static_latency_s": state.tables.seconds(latency), "static_gap": relative_gap(latency, known)}


ANSWERER = LatencyAnswerer()
