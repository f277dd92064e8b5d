"""Searches for periods and streams go on in rounds, and say why they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import make_tables

from mocap_opt.bounds import Bound, Scope
from mocap_opt.bounds.makespan import makespan_bounds
from mocap_opt.bounds.period import PartitionBound, period_bounds
from mocap_opt.schedule.requests import Request
from mocap_opt.search.rounds import FRUITLESS, STRONGEST, run_rounds
from mocap_opt.solving import period_search
from mocap_opt.solving.schedule_search import StreamSearch
from mocap_opt.solving.stream_planner import plan_stream
from mocap_opt.stopping import Deadline


def test_every_start_is_used_and_rounds_get_stronger_until_they_bring_nothing() -> None:
    starts, strengths, value = list(range(FRUITLESS + 3)), [], [10]

    def one_round(strength: int) -> None:
        strengths.append(strength)
        if starts:
            starts.pop()
            value[0] -= len(starts) == 2

    ended = run_rounds(
        one_round, value=lambda: value[0], starts_left=lambda: bool(starts), done=lambda: False
    )
    assert starts == []
    growing = [min(n, STRONGEST) for n in range(1, FRUITLESS + 2)]
    # The last of the first rounds was better, and the strength is set back.
    assert strengths == [*growing, *growing[:FRUITLESS]]
    why = f"every start was used, and {FRUITLESS} rounds in a row brought nothing"
    assert ended == f"local search ended after {2 * FRUITLESS + 1} rounds: {why}"


def test_rounds_stop_as_soon_as_the_search_is_done() -> None:
    seen: list[int] = []
    ended = run_rounds(seen.append, value=lambda: 0, starts_left=lambda: True, done=lambda: len(seen) == 2)
    assert seen == [1, 2]
    assert "time was up" in ended


def halved(bounds: list[Bound]) -> list[Bound]:
    return [replace(bound, ticks=bound.ticks // 2) for bound in bounds]


def test_a_period_with_an_open_gap_says_why_its_search_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def weak_bounds(*arguments: Any, **settings: Any) -> tuple[list[Bound], dict[Scope, PartitionBound]]:
        return halved(period_bounds(*arguments, **settings)[0]), {}

    monkeypatch.setattr(period_search, "period_bounds", weak_bounds)
    tables = make_tables(
        stages=2, tokens=6, max_chunks=3, linear=10, constant=5, token_bytes=1, capacity=8, queue_depth=2
    )
    search = period_search.best_period(tables, deadline=Deadline(120.0), gap=0.0)
    assert search.current_gap
    assert any("rounds in a row brought nothing" in note for note in search.notes)


def test_a_stream_with_an_open_gap_says_why_its_search_ended() -> None:
    tables = make_tables(2, 6, max_chunks=2, linear=10, token_bytes=1, capacity=8)
    search = StreamSearch(
        tuple(Request(tables, 0, name) for name in "ab"), order_given=True, deadline=Deadline(120.0), gap=0.0
    )
    search.add_bounds(halved(makespan_bounds(search.requests, order_given=True)))
    plan_stream(search)
    assert search.current_gap
    assert any("rounds in a row brought nothing" in note for note in search.notes)
