"""Searches in the middle of a solve, for tests of its steps, and a clock that moves only when looked at."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

from mocap_opt.baselines import METHODS
from mocap_opt.instance import Instance
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import STEPS
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import Deadline
from mocap_opt.studies.bench.family import make
from mocap_opt.tables import build_tables

STEP_NAMES = [step.name for step in STEPS]

LATE = 12
"""Looks at the clock that may follow the end of a step's share: those on the way out."""


class TickingClock:
    """Moves on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


AMPLE = " with ample memory"


@cache
def tables_of(name):
    """Tables of a bench instance by its name, "S-slack at depth 1", say, or "S-unequal with ample memory"."""
    if name.endswith(AMPLE):
        tables = tables_of(name.removesuffix(AMPLE))
        return replace(tables, capacity=tables.capacity * 20)
    name, _, depth = name.partition(" at depth ")
    instance = Instance.from_dict(make(name, 0))
    return build_tables(instance.replace(f"pipeline.queue_depth={depth}") if depth else instance)


@cache
def starts_of(name):
    found = ((each, METHODS[each].propose(tables_of(name)).plan) for each in ("search-greedy", "mocap"))
    return [(each, plan) for each, plan in found if plan is not None]


def search_of(name, time_limit_s, clock=time.perf_counter, execution=None, *, started=True):
    """A search in the middle of a solve, where two heuristics have their plans, or at its start."""
    state = SearchState(tables_of(name), Deadline(time_limit_s), 0.0, execution=execution)
    starts = starts_of(name) if started else []
    for source, plan in starts:
        state.offer(plan, source)
    search = JointSearch(state, choose(state.tables, execution, "auto", by_size=True))
    search.starts = list(starts)
    state.deadline = Deadline(time_limit_s, clock=clock)
    return search


def step_named(name):
    (step,) = (step for step in STEPS if step.name == name)
    return step
