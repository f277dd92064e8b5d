"""Streamed weights, exports and prefix loads: tables, replays, programs, bounds; brute force is the judge."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from contention_free_oracle import contention_free_latency
from oracle import brute_force, lockstep_price, price_plan
from random_fixed_messages import EXPORT, PREFIX, WEIGHTS, random_case, with_export, with_weights
from random_plans import random_plan
from random_pools import with_pool
from simpy_twin import twin
from toy_instances import merged, toy

from mocap_opt import solve
from mocap_opt.bounds import BOUNDS, Scope, lower_bounds
from mocap_opt.errors import InputError
from mocap_opt.flow_shop.virtual_pipeline import VirtualPipeline
from mocap_opt.formulations import (
    benders,
    benders_cpsat,
    contention_free,
    contention_free_cpsat,
    joint,
    joint_cpsat,
)
from mocap_opt.instance import Instance
from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.replay.network import Flow
from mocap_opt.replay.run import Run
from mocap_opt.replay.transfers import Kind, Messages, schedule_messages
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers.outcome import Status, StopReason
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict

LOCKSTEP = [
    joint.solve_joint,
    joint_cpsat.solve_joint,
    benders.solve_decomposition,
    benders_cpsat.solve_decomposition,
]
CONTENTION_FREE = [contention_free.solve_contention_free, contention_free_cpsat.solve_contention_free]

KINDS = pytest.mark.parametrize("kinds", [(WEIGHTS,), (EXPORT,), (PREFIX,), ()])


def exported_over_one_link() -> Tables:
    """Two stages, 10 ticks a token, pages of 30 bytes that all leave over one link of 2 bytes a tick."""
    tables = make_tables(2, 2, max_chunks=2, token_bytes=30)
    return with_export(with_pool(tables, 0, capacity=0, rate=2), 2)


@pytest.mark.parametrize("boundaries", [(0, 2), (0, 1, 2)])
def test_exports_over_one_link(boundaries: tuple[int, ...]):
    tables, plan = exported_over_one_link(), Plan(boundaries)
    assert replay_event(tables, plan).latency == replay_lockstep(tables, plan).latency == 60


@pytest.mark.parametrize(("overlap", "latency"), [(1, 10), (0, 16), (Fraction(1, 2), 11)])
def test_weights_ahead_and_on_demand(overlap: Fraction | int, latency: int):
    tables = with_pool(make_tables(1, 1, linear=6, max_chunks=1), 0, capacity=40, rate=4)
    tables, plan = with_weights(tables, [40], 1, overlap), Plan((0, 1))
    assert replay_event(tables, plan).latency == replay_lockstep(tables, plan).latency == latency


def test_the_bound_of_exports_over_one_link():
    assert BOUNDS["fixed_messages"](exported_over_one_link()).ticks == 60
    assert BOUNDS["fixed_messages"](make_tables(2, 2)) is None


@KINDS
@pytest.mark.parametrize("count", [6, pytest.param(300, marks=pytest.mark.slow)])
def test_replays_are_those_of_oracle_and_twin_and_beat_no_bound(kinds: tuple[int, ...], count: int):
    rng = np.random.default_rng([count, *kinds])
    moved = 0
    for n in range(count):
        tables = random_case(rng, kinds, name=f"tiny {n}")
        plan = random_plan(tables, rng, scatter=0.4)
        if plan is None:
            continue
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert lockstep.latency == price_plan(tables, plan, lockstep_price), tables.name
        assert [[*row] for row in event.end] == twin(tables, plan)[1], tables.name
        without = replace(tables, fixed_messages=None)
        moved += event.latency > replay_event(without, plan).latency
        for bound in lower_bounds(tables, quick=False, without=("energetic_traffic",)):
            either = min(event.latency, lockstep.latency)
            limit = lockstep.latency if bound.scope is Scope.LOCKSTEP else either
            assert bound.ticks <= limit, (bound, tables.name)
    assert moved or count < 20


@KINDS
@pytest.mark.parametrize("count", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_programs_agree_with_brute_force(kinds: tuple[int, ...], count: int):
    rng = np.random.default_rng([7, *kinds])
    for n in range(count):
        tables = random_case(rng, kinds, name=f"tiny {n}")
        for price, programs in ((lockstep_price, LOCKSTEP), (contention_free_latency, CONTENTION_FREE)):
            best = brute_force(tables, price)
            for solve_program in programs:
                result = solve_program(tables, None, time_limit_s=60.0, threads=1)
                if best is None:
                    assert result.outcome.status is Status.INFEASIBLE, tables.name
                    continue
                found = result.outcome.objective, result.outcome.bound
                if result.outcome.stop is StopReason.UNCONFIRMED:  # one of HiGHS's wrong answers, dropped
                    assert found[1] <= best.value <= found[0]
                    continue
                assert found == (best.value, best.value), (tables.name, solve_program)
                if price is lockstep_price:
                    assert replay_lockstep(tables, result.plan).latency == best.value
                else:
                    assert best.value <= min(replay_event(tables, result.plan).latency, brute(tables))


def brute(tables: Tables) -> int:
    """The least lockstep latency."""
    return brute_force(tables, lockstep_price).value


def test_a_chunk_takes_at_least_what_its_messages_need_alone():
    tables = exported_over_one_link()
    assert tables.tau(0, [0, 0], [1, 2]).tolist() == [15, 30]
    assert tables.compute_time(0, [0, 0], [1, 2]).tolist() == [10, 20]
    assert replace(tables, fixed_messages=None).excess is None


def test_files_hold_messages_and_only_where_there_are_some():
    tables = exported_over_one_link()
    data = tables_to_dict(tables)
    assert (data["dimensions"]["message"], data["dimensions"]["entry"]) == (2, 7)
    assert np.array_equal(tables_from_dict(data).fixed_messages, tables.fixed_messages)
    plain = tables_to_dict(make_tables(2, 4))
    assert not {"message", "entry"} & {*plain["dimensions"]}
    assert "fixed_messages" not in plain["fields"]


# --- instances ----------------------------------------------------------------------------------

POOL = {
    "name": "host",
    "memory_bytes": 5000,
    "memory_bandwidth": 3e9,
    "link": {"bandwidth": 2e9, "hop_latency": "4 ns"},
}
EXPERTS = {"count": 4, "active": 1, "ffn": 2, "dense_layers": 1}


def streaming(streamed: int = 3, overlap: float = 1.0, **changes):
    """Four layers on two stages, all but the first with four experts of 2 x 4 x 2 = 16 parameters."""
    weights = {"pool": "host", "streamed_experts": streamed, "overlap": overlap}
    pipeline = {"weights": weights, **changes.pop("pipeline", {})}
    return toy(model={"experts": EXPERTS}, wafer={"pools": [POOL]}, pipeline=pipeline, **changes)


def test_streamed_weights_move_from_stages_to_the_pool():
    kept = build_tables(toy(model={"experts": EXPERTS}, wafer={"pools": [POOL]}))
    tables = build_tables(streaming())
    layer = 3 * 16 * 2  # three experts, two bytes a weight
    assert (kept.static - tables.static).tolist() == [layer, 2 * layer, -3 * layer]
    assert (tables.staging - kept.staging).tolist() == [2 * layer, 2 * layer, 0]
    moved = [(each.kind.name, each.stage, each.source, each.each) for each in tables.messages]
    assert moved == [("WEIGHTS", 0, 2, layer), ("WEIGHTS", 1, 2, 2 * layer)]
    assert np.array_equal(tables.length_cost, kept.length_cost)
    assert np.array_equal(tables.own_traffic, kept.own_traffic)
    # On demand: bytes over the link of the die and that of the pool, 1 and 2 a tick; the slower one counts.
    waiting = build_tables(streaming(overlap=0.0)).length_cost - kept.length_cost
    there = [int((tables.share[:, 2, i] / tables.link_rate).max() * size) for i, size in ((0, 96), (1, 192))]
    assert [set(row[:, 1:].ravel().tolist()) for row in waiting] == [{ticks} for ticks in there]


def test_exports_and_prefix_loads_are_kv_in_whole_pages():
    changes = {"workload": {"cached_prefix": 3, "export": "host", "prefix_from": "host"}}
    tables = build_tables(toy(wafer={"pools": [POOL]}, **changes))
    moved = [(m.kind.name, m.source, m.target, m.each, m.per_page, m.first) for m in tables.messages]
    size, loaded = int(tables.page_bytes[0]), int(tables.prefix_bytes[0])
    assert moved == [
        ("EXPORT", 0, 2, 0, size, 0),
        ("EXPORT", 1, 2, 0, size, 0),
        ("PREFIX", 2, 0, 0, 0, loaded),
        ("PREFIX", 2, 1, 0, 0, loaded),
    ]
    assert loaded == 2 * size  # three tokens in pages of two


def test_instances_without_messages_stay_as_they_are():
    plain, named = toy(), toy(workload={"export": None, "prefix_from": None}, pipeline={"weights": None})
    assert plain.fingerprint == named.fingerprint
    assert build_tables(plain).fixed_messages is None
    assert build_tables(plain).tau(0, 0, 1) == build_tables(plain).compute_time(0, 0, 1)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (
            {"workload": {"export": "host"}},
            r"workload\.export: expected one of wafer\.pools \(there are none\)",
        ),
        ({"workload": {"prefix_from": "host"}, "wafer": {"pools": [POOL]}}, "a cached prefix to load"),
        (
            {"pipeline": {"weights": {"pool": "host", "streamed_experts": 1}}, "wafer": {"pools": [POOL]}},
            r"pipeline\.weights: expected a mixture of experts",
        ),
        (
            {"workload": {"export": "host"}, "wafer": {"pools": [POOL]}, "pipeline": {"stages": "auto"}},
            r"workload\.export: expected a layout that is given",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes, where: str):
    with pytest.raises(InputError, match=where):
        toy(**changes)


def test_more_experts_than_there_are_and_pools_too_small_are_refused():
    with pytest.raises(InputError, match=r"streamed_experts: expected at most model\.experts\.count \(4\)"):
        streaming(5)
    tiny = {"wafer": {"pools": [{**POOL, "memory_bytes": 100}]}}
    with pytest.raises(InputError, match="weights that fit"):
        build_tables(Instance.from_dict(merged(streaming().to_dict(), tiny)))
    with pytest.raises(InputError, match="KV that fits"):
        build_tables(toy(workload={"export": "host"}, **tiny))


@pytest.mark.parametrize("method", ["auto", "joint", "mocap"])
def test_solve_answers_with_messages(method: str):
    instance = toy(wafer={"pools": [POOL]}, workload={"export": "host"})
    solution = solve(instance, method=method, time_limit_s=20)
    assert not violations(solution.tables, solution.plan)
    assert solution.report.gap is not None
    if method != "mocap":
        assert solution.report.gap == pytest.approx(0.0, abs=1e-4)


def test_streams_and_periods_count_messages():
    given = {"wafer": {"pools": [POOL]}, "workload": {"export": "host"}}
    assert solve(toy(**given, objective="period"), time_limit_s=20).report.gap is not None
    requests = [{"tokens": 8}, {"tokens": 6}]
    values = []
    for to in (None, "host"):
        work = {"requests": requests, "export": to, "tokens": 8}
        instance = toy(wafer={"pools": [POOL]}, objective="stream", workload=work)
        values.append(solve(instance, time_limit_s=20).report.value_s)
    assert values[0] <= values[1]


# --- exports and admission ----------------------------------------------------------------------


class LaggingExports(Run):
    """A faulty run: exports do not hold their chunks, and admission waits for those alone."""

    def __init__(self, tables: Tables, messages: Messages, refinement: int) -> None:
        super().__init__(tables, messages, refinement)
        self.left, self.due = [0] * tables.stages, {}
        self.gone = self.ledger.free
        self.ledger.free = self.free

    def free(self, stage: int, chunk: int) -> None:
        self.due[stage] = chunk
        self.settle(stage)

    def settle(self, stage: int) -> None:
        if stage in self.due and not self.left[stage]:
            self.gone(stage, self.due.pop(stage))

    def _start(self, stage: int) -> None:
        super()._start(stage)
        released = self.messages.released[stage][self.started[stage] - 1]
        exports = sum(self.messages.routes[route].kind is Kind.EXPORT for route, _ in released)
        self.pending[stage] -= exports
        self.left[stage] += exports

    def _message_done(self, flow: Flow) -> None:
        if flow.way.route.kind is not Kind.EXPORT:
            super()._message_done(flow)
            return
        self.network.deliver(flow)
        self.delivered.append(flow)
        self.left[flow.stage] -= 1
        self.settle(flow.stage)


def test_exports_that_outlive_their_chunk_overfill_a_memory():
    # Stage 0 fills memory 0 with two pages; once it is done, stage 1's second page lives there.
    tables = make_tables(2, 2, max_chunks=2, exact=True, token_bytes=30, capacity=[60, 30])
    tables = with_export(with_pool(tables, 0, capacity=0, rate=2), 2)
    plan = Plan((0, 1, 2), (Home(1, 1, 0, 1),))
    assert not violations(tables, plan)
    assert max(held for _, held in replay_event(tables, plan).memory[0]) == 60
    messages = schedule_messages(Schedule.of(tables, plan))
    Run(tables, messages, 512).execute()
    with pytest.raises(ReplayError, match="memory 0 is 30 B over its capacity"):
        LaggingExports(tables, messages, 512).execute()


def test_virtual_stages_refuse_messages():
    with pytest.raises(InputError, match="2 runs with export"):
        VirtualPipeline.of(exported_over_one_link(), "v", 2)
