"""One execution of a plan with all that pictures show of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mocap_opt.replay.activity import (
    Interval,
    Transfer,
    event_activity,
    event_transfers,
    lockstep_activity,
    lockstep_transfers,
)
from mocap_opt.replay.evaluation import Execution, InfeasiblePlanError
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.replay.usage import (
    Load,
    MemoryHistory,
    event_load,
    event_memory,
    lockstep_load,
    lockstep_memory,
)
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables.cost_tables import Tables

SAMPLES = 240
"""Intervals into which an event-driven run is cut to show the load of links and ports."""


@dataclass(frozen=True, eq=False)
class RunView:
    """An execution of a plan.

    Attributes
    ----------
    tables : Tables
    plan : Plan
    execution : Execution
    latency : Fraction, ticks
    intervals : tuple of Interval
        What every stage does.
    transfers : tuple of Transfer
        Remote reads and writes.
    memory : MemoryHistory
    load : Load
        Of links and ports: by slot in lockstep, by `SAMPLES` equal intervals otherwise.
    """

    tables: Tables
    plan: Plan
    execution: Execution
    latency: Fraction
    intervals: tuple[Interval, ...]
    transfers: tuple[Transfer, ...]
    memory: MemoryHistory
    load: Load

    @property
    def latency_s(self) -> float:
        """The latency, seconds."""
        return self.tables.seconds(self.latency)


def view_run(tables: Tables, plan: Plan, execution: Execution | None = None) -> RunView:
    """Execute a plan and gather what there is to see.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    execution : Execution, optional
        Default: the faster one, whose latency is reported.

    Raises
    ------
    InfeasiblePlanError
        If the plan is not feasible; check with `mocap_opt.schedule.verify.violations` first.
    """
    broken = violations(tables, plan)
    if broken:
        raise InfeasiblePlanError("; ".join(str(violation) for violation in broken))
    if execution is not Execution.EVENT:
        lockstep = replay_lockstep(tables, plan)
        if execution is None and replay_event(tables, plan).latency < lockstep.latency:
            return view_run(tables, plan, Execution.EVENT)
        return RunView(
            tables,
            plan,
            Execution.LOCKSTEP,
            Fraction(lockstep.latency),
            lockstep_activity(tables, plan, lockstep),
            lockstep_transfers(tables, plan, lockstep),
            lockstep_memory(tables, plan, lockstep),
            lockstep_load(tables, lockstep),
        )
    event = replay_event(tables, plan, log=True)
    edges = np.linspace(0.0, float(event.latency), SAMPLES + 1)
    return RunView(
        tables,
        plan,
        Execution.EVENT,
        event.latency,
        event_activity(tables, plan, event),
        event_transfers(event),
        event_memory(tables, plan, event),
        event_load(tables, event, edges),
    )
