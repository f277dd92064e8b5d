"""Searches for periods and streams go on in rounds, and say why they end."""

from __future__ import annotations

import json
from pathlib import Path

from builders import make_tables

from mocap_opt.instance import Instance
from mocap_opt.search.rounds import FRUITLESS, STRONGEST, run_rounds
from mocap_opt.solving.period_search import best_period
from mocap_opt.solving.stream import solve as solve_stream
from mocap_opt.stopping import Deadline

TIGHT = Path(__file__).parent / "data" / "stream-one-request.json"


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


def test_a_period_with_an_open_gap_says_why_its_search_ended() -> None:
    tables = make_tables(
        stages=3, tokens=12, max_chunks=5, linear=10, constant=5, token_bytes=1, capacity=11, queue_depth=2
    )
    search = best_period(tables, deadline=Deadline(120.0), gap=0.0)
    assert search.current_gap
    assert any("rounds in a row brought nothing" in note for note in search.notes)


def test_a_stream_with_an_open_gap_says_why_its_search_ended() -> None:
    data = json.loads(TIGHT.read_text())
    data["workload"] = {"requests": [{"tokens": 18}, {"tokens": 6}]}
    report = solve_stream(Instance.from_dict(data), time_limit_s=120.0, gap=0.0).report
    assert report.gap
    assert any("rounds in a row brought nothing" in note for note in report.notes)
