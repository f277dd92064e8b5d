"""All mechanisms at once: random plans beat no bound, overfill nothing, never stop; faults are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from oracle import least_price, lockstep_price, price_plan
from random_mechanisms import MECHANISMS, random_mixture, some_kinds
from random_plans import random_plan

from mocap_opt.bounds import Scope, lower_bounds
from mocap_opt.replay import run, transfers
from mocap_opt.replay.accounting import Ledger, ReplayError
from mocap_opt.replay.contention_free_makespan import contention_free_latency
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

GENERALLY_LOOPED = 0.7
"""Part of the instances with the loop, so that one too short is found soon."""


@cache
def cases(count: int) -> tuple[tuple[Tables, Plan], ...]:
    """Instances of two to four stages with about half of all mechanisms, and a random feasible plan each."""
    rng = np.random.default_rng(count)
    return tuple(_cases(rng, count))


def _cases(rng: np.random.Generator, count: int) -> Iterator[tuple[Tables, Plan]]:
    found = 0
    while found < count:
        kinds = {*some_kinds(rng)} - {"between tokens"}
        if rng.random() < 0.1:
            kinds |= {"between tokens"}
        kinds = kinds | {"loop"} if rng.random() < GENERALLY_LOOPED else kinds - {"loop"}
        tables = random_mixture(rng, sorted(kinds), stages=int(rng.integers(2, 5)), steps=9)
        plan = random_plan(tables, rng, scatter=0.5)
        if plan is not None:
            found += 1
            yield tables, plan


def failures(count: int) -> Counter[str]:
    """How event-driven runs of feasible plans end."""
    ends: Counter[str] = Counter()
    for tables, plan in cases(count):
        try:
            replay_event(tables, plan)
        except ReplayError as error:
            said = str(error)
            ends["stuck" if "deadlock" in said else "overfilled" if "capacity" in said else said] += 1
        else:
            ends["fine"] += 1
    return ends


COUNTS = pytest.mark.parametrize("count", [16, pytest.param(4000, marks=pytest.mark.slow)])


@COUNTS
def test_no_run_beats_a_bound_overfills_or_stops(count: int):
    drawn: Counter[str] = Counter()
    for n, (tables, plan) in enumerate(cases(count)):
        drawn.update(tables.name.split(", "))
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        either = min(event.latency, lockstep.latency)
        assert price_plan(tables, plan, lockstep_price) == lockstep.latency, (n, tables.name)
        assert price_plan(tables, plan, least_price) <= either, (n, tables.name)
        assert contention_free_latency(tables, plan) <= either, (n, tables.name)
        for bound in lower_bounds(tables, quick=True):
            limit = either if bound.scope is Scope.ANY_EXECUTION else lockstep.latency
            assert bound.ticks <= limit, (n, bound, tables.name)
    assert count < 100 or {*drawn} >= {*MECHANISMS}
    assert failures(count) == {"fine": count}


@pytest.mark.parametrize("count", [60, pytest.param(4000, marks=pytest.mark.slow)])
def test_faults_are_found(count: int, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as fault:
        fault.setattr(run, "loop_length", lambda stages: stages - 2)
        assert failures(count)["stuck"] > 0
    with monkeypatch.context() as fault:
        fault.setattr(transfers, "_admission_predecessors", _admitted_at_once)
        assert failures(count)["overfilled"] > 0
    with monkeypatch.context() as fault:
        fault.setattr(Ledger, "free", _freed_late)
        assert failures(count)["overfilled"] > 0


def _admitted_at_once(brings: np.ndarray, slots: np.ndarray, finals: np.ndarray):
    del slots, finals
    stages, chunks, _ = brings.shape
    return (((),) * chunks,) * stages


free = Ledger.free


def _freed_late(ledger: Ledger, stage: int, chunk: int) -> None:
    """KV stays until the next stage is done, as exports that lag would keep it."""
    if stage:
        free(ledger, stage - 1, chunk)
    if stage + 1 == len(ledger._freed):
        free(ledger, stage, chunk)
