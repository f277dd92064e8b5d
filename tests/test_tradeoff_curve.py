"""Latency against period: every plan of tiny instances, bounds under attack, the command."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import make_tables
from oracle import partitions
from period_oracle import cyclic_homes, period_price
from test_cli import INSTANCES, run, run_json
from toy_instances import toy

from mocap_opt.errors import ExitCode, InputError
from mocap_opt.formulations.presolve import local_homes_always_fit
from mocap_opt.instance import Instance, load_instance
from mocap_opt.questions.tradeoffs import pareto
from mocap_opt.questions.tradeoffs.curve import Curve
from mocap_opt.questions.tradeoffs.pareto import latency_and_period
from mocap_opt.replay.evaluation import assess_schedule
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.solving.period_search import PeriodSearch
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

COUNT = 12
PLANS = 150
"""Plans of an instance that are replayed at most."""

Pair = tuple[Fraction, Fraction]


def instances() -> Iterator[Instance]:
    rng = np.random.default_rng(11)
    for number in range(COUNT):
        tight = number % 6 == 5
        yield toy(
            name=f"toy {number}",
            pipeline={"queue_depth": int(rng.integers(1, 3)), "stages": int(rng.integers(2, 4))},
            workload={"tokens": int(rng.integers(5, 13))},
            costs={"overhead": f"{int(rng.choice([0, 100, 400, 20000]))} ns"},
            wafer={"die": {"memory_bytes": int(rng.integers(1300, 2100)) if tight else 10**6}},
        )


def plans(tables: Tables) -> Iterator[Schedule]:
    """Every periodic plan whose homes meet the memory rows, in plain enumeration.

    Where memory is no obstacle KV stays at home: moving it only adds traffic.
    """
    moved = not local_homes_always_fit(tables, endless=True)
    for marks in partitions(tables):
        for slots in range(len(marks) - 1, len(marks) - 1 + tables.stages):
            for homes in cyclic_homes(tables, marks, slots, lambda _: moved):
                found = tuple(sorted(Home(i, j, k, pages) for (i, j, k), pages in homes.items()))
                yield Schedule.of(tables, Plan(tuple(marks), found), slots)


@dataclass(frozen=True)
class Case:
    tables: Tables
    curve: Curve
    pairs: list[Pair]
    every: bool


@cache
def cases() -> tuple[Case, ...]:
    found = []
    for instance in instances():
        tables = build_tables(instance)
        all_plans = plans(tables)
        pairs: list[Pair] = []
        for periodic in islice(all_plans, PLANS):
            each = assess_schedule(periodic)
            homes = {(h.stage, h.chunk, h.memory): h.pages for h in periodic.plan.homes}
            price = period_price(tables, periodic.plan.boundaries, periodic.slots)
            assert each.lockstep.period == price(homes)
            tick = tables.tick_s
            pairs.append((each.lockstep.latency * tick, each.lockstep.period * tick))
            if each.event.period is not None and each.event.latency is not None:
                pairs.append((each.event.latency * tick, each.event.period * tick))
        curve = latency_and_period(instance, layouts=False, time_limit_s=3.0)
        found.append(Case(tables, curve, pairs, next(all_plans, None) is None))
    return tuple(found)


def unbeaten(pairs: list[Pair]) -> list[Pair]:
    """By the definition: no other pair is as good in both and better in one."""
    return sorted({p for p in pairs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs)})


def test_the_instances_are_of_both_kinds() -> None:
    matter = [not local_homes_always_fit(case.tables, endless=True) for case in cases()]
    solved = [bool(case.curve.points) for case in cases()]
    assert sum(m and s for m, s in zip(matter, solved, strict=True)) >= 1
    assert sum(not m and s for m, s in zip(matter, solved, strict=True)) >= 8
    assert any(len(case.curve.points) >= 3 for case in cases())
    assert any(variant.outcome == "pruned" for case in cases() for variant in case.curve.variants)


def test_the_curve_is_that_of_every_plan_where_kv_stays_at_home() -> None:
    compared = 0
    for case in cases():
        if not local_homes_always_fit(case.tables, endless=True) or not case.every:
            continue
        assert [(p.latency, p.period) for p in case.curve.points] == unbeaten(case.pairs), case.tables.name
        compared += 1
    assert compared >= 8


def test_where_homes_matter_the_best_periods_are_found() -> None:
    compared = 0
    for case in cases():
        if local_homes_always_fit(case.tables, endless=True) or not case.every or not case.pairs:
            continue
        assert case.curve.points[-1].period == min(period for _, period in case.pairs), case.tables.name
        compared += 1
    assert compared >= 1


def test_points_beat_each_other_in_one_respect() -> None:
    for case in cases():
        found = [(p.latency, p.period) for p in case.curve.points]
        assert found == unbeaten(found)
        for point in case.curve.points:
            gap = case.curve.gap(point)
            assert gap is not None
            assert 0 <= gap < 1


def test_no_plan_beats_the_bound_at_its_latency_and_two_per_cent_more_would_be_beaten() -> None:
    checked = near = 0
    for case in cases():
        for latency, period in case.pairs:
            bound = case.curve.period_bound(latency)
            assert bound is not None, "no variant with a latency bound that low"
            assert bound <= period, case.tables.name
            checked += 1
            near += bound * Fraction(102, 100) > period
    assert checked >= 300
    assert near >= 20


def test_pruned_variants_have_no_plan_on_the_curve() -> None:
    for case in cases():
        pruned = {variant.chunks for variant in case.curve.variants if variant.outcome == "pruned"}
        assert not pruned & {point.variant.chunks for point in case.curve.points}


def test_layouts_are_swept() -> None:
    instance = toy(pipeline={"queue_depth": 2}, workload={"tokens": 8}, chunking={"max_chunks": 2})
    curve = latency_and_period(instance, layouts=True, time_limit_s=3.0)
    assert len({variant.overrides for variant in curve.variants}) == 4 + 4 + 2 + 2 + 4
    one = latency_and_period(instance, layouts=False, time_limit_s=3.0)
    for point in one.points:
        assert any(p.latency <= point.latency and p.period <= point.period for p in curve.points)


def test_unbounded_queues_are_refused() -> None:
    with pytest.raises(InputError, match=r"pipeline\.queue_depth: .* unbounded"):
        latency_and_period(toy(pipeline={"queue_depth": "unbounded"}), layouts=False)


PERIOD = ("--objective", "period", "--set", "pipeline.queue_depth=2")


def test_the_command(tmp_path: Path, capsys) -> None:
    path = tmp_path / "curve.csv"
    file = INSTANCES / "tiny-unequal.json"
    code, answer = run_json("tradeoff", file, *PERIOD, "--time-limit", "3", "--curve", path, capsys=capsys)
    assert code == 0
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [float(row["period_s"]) for row in rows] == [row["period_s"] for row in answer["points"]]
    assert all(row["period_lower_bound_s"] <= row["period_s"] for row in answer["points"])
    code, out, _ = run("tradeoff", file, *PERIOD, "--time-limit", "3", capsys=capsys)
    assert code == 0
    assert "latency against period" in out


def test_options_without_meaning_are_refused(capsys) -> None:
    file = INSTANCES / "tiny-unequal.json"
    code, _, err = run("tradeoff", file, *PERIOD, "--chunks", "auto", capsys=capsys)
    assert code == 2
    assert "--chunks" in err
    code, _, err = run("tradeoff", file, "--chunks", "auto", "--curve", "x.csv", capsys=capsys)
    assert code == 2
    assert "--objective period" in err


@pytest.mark.parametrize(("overhead", "expected"), [(0, [(6, 4)]), (1, [(9, 6), (10, 5)])])
def test_the_pages_example(overhead: int, expected: list[tuple[int, int]]) -> None:
    tables = make_tables(stages=2, tokens=4, max_chunks=2, linear=1, constant=overhead, queue_depth=2)
    found = [assess_schedule(periodic) for periodic in plans(tables)]
    pairs = [(Fraction(f.lockstep.latency), Fraction(f.lockstep.period)) for f in found]
    pairs += [(f.event.latency, f.event.period) for f in found if f.event.latency and f.event.period]
    assert unbeaten(pairs) == expected


class Clock:
    """Counts what is done rather than time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("limit", [10.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_plans_without_a_search_come_before_bounds_and_searches(limit: float, monkeypatch) -> None:
    # Laying out and bounding takes a second each, a first plan a tenth, and a search never ends by itself.
    clock, searched = Clock(), []
    layout, bounds, plan = pareto.build_tables, pareto.period_bounds, pareto.starts

    def costs(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            clock.now += seconds
            return work(*arguments)

        return slow

    def search(tables: Tables, *, deadline: Deadline, **_: Any) -> PeriodSearch:
        searched.append(deadline.left_s)
        clock.now += deadline.left_s
        return PeriodSearch(tables)

    monkeypatch.setattr(pareto, "Deadline", partial(Deadline, clock=clock))
    monkeypatch.setattr(pareto, "build_tables", costs(1.0, layout))
    monkeypatch.setattr(pareto, "period_bounds", costs(1.0, bounds))
    monkeypatch.setattr(pareto, "starts", costs(0.1, plan))
    monkeypatch.setattr(pareto, "best_period", search)
    instance = load_instance(INSTANCES / "gpt3-175b-watos-tight.json", ["objective=period"])
    curve = latency_and_period(instance, layouts=True, time_limit_s=limit)
    assert curve.points
    layouts, unseen = curve.layouts
    # A layout costs 1.1 s of the 0.3 x limit for a look, and the last one begins before that is over.
    looked = layouts - unseen
    assert looked == pytest.approx(0.3 * limit / 1.1, abs=1)
    assert clock.now <= limit + 1.1
    assert searched == sorted(searched, reverse=True)
    assert sum(searched) >= 0.5 * (1 - 0.3) * (1 - 0.4) * limit - 1.1
    planned = [each for each in curve.variants if each.outcome in ("first plan", "searched")]
    assert len(planned) >= looked


def test_what_was_not_reached_is_said(capsys) -> None:
    file = INSTANCES / "gpt3-175b-watos-tight.json"
    code, out, _ = run(
        "tradeoff", file, "--objective", "period", "--layout", "auto", "--time-limit", "0", capsys=capsys
    )
    assert code == ExitCode.NO_PLAN
    assert "239 of 239 layouts were not reached" in out
