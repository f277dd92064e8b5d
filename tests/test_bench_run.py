"""The benchmark's rows, means, processes and command; the baselines it refuses by size."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Generator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from random_tables import random_tables
from toy_instances import toy

from mocap_opt.cli import bench as command
from mocap_opt.cli.main import cli
from mocap_opt.formulations import joint
from mocap_opt.formulations.joint_cpsat import build as build_cpsat
from mocap_opt.formulations.presolve import estimated_nonzeros
from mocap_opt.replay.evaluation import assess
from mocap_opt.solvers.integer_program import Largest, Least, Sum, TableEntry
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.solving import Progress, plain, solve
from mocap_opt.studies.bench.rows import COLUMNS, Row, measures, medians, summary, time_to
from mocap_opt.studies.bench.run import PLAIN, BenchSettings, bench, one_by_one
from mocap_opt.studies.execution import Outcome, failure
from mocap_opt.studies.tasks import Task
from mocap_opt.tables import build_tables

INSTANCE = toy(workload={"tokens": 40}, chunking={"max_chunks": 3})
SETTINGS = BenchSettings()
TASK = Task.of("latency", INSTANCE, SETTINGS.ask("auto", "best", 2.0))
CURVE = [(0.1, 9.0, None), (0.2, 9.0, 6.3), (0.9, 6.5625, 6.3), (2.0, 6.5, 6.474)]
REPORT = {
    "status": "feasible",
    "latency_s": 6.5,
    "lower_bound_s": 6.474,
    "bound_name": "pooled",
    "gap": 0.004,
    "build_s": 0.5,
    "solve_s": 1.0,
    "runtime_s": 2.5,
    "reason": None,
}


def finished(task: Task = TASK, **changes: Any) -> Outcome:
    columns = {**REPORT, "process_memory_bytes": 10**8, "process_s": 3.0, **changes}
    return Outcome(task.key, {"outcome": "ok", **task.identity(), **columns}, CURVE)


def killed(*, late: bool) -> Outcome:
    lost = failure(TASK, "why", CURVE, late=late)
    return replace(lost, row={**lost.row, "process_memory_bytes": 10**8, "process_s": 3.0})


def a_row(**changes: Any) -> Row:
    fields = measures(finished())
    row = Row("S-a", "auto", "best", 1, heuristic="mocap", heuristic_latency_s=7.0, **fields)
    return replace(row, **changes)


def test_times_to_a_gap_are_those_of_the_first_news_within_it() -> None:
    assert time_to(CURVE, 0.05) == 0.9
    assert time_to(CURVE, 0.01) == 2.0
    assert time_to(CURVE, 0.001) is None
    assert time_to(CURVE, None) is None


def test_measures_of_a_run() -> None:
    found = measures(finished())
    assert (found["to_5_percent_s"], found["to_1_percent_s"], found["to_half_percent_s"]) == (0.9, 2.0, 2.0)
    assert found["to_final_gap_s"] == 2.0
    assert found["overrun_s"] == 0.5
    assert found["peak_memory_bytes"] == 10**8


def test_a_gap_that_only_the_report_has_dates_from_its_end() -> None:
    found = measures(finished(gap=0.0, lower_bound_s=6.5))
    assert found["to_final_gap_s"] == 2.5


@pytest.mark.parametrize("late", [True, False])
def test_a_killed_run_keeps_what_it_told(late: bool) -> None:
    found = measures(killed(late=late))
    assert found["status"] == ("killed" if late else "failed")
    assert (found["latency_s"], found["bound_s"]) == (6.5, 6.474)
    assert found["gap"] == pytest.approx(0.004)
    assert found["overrun_s"] == 1.0
    assert found["build_s"] is None


def test_medians_count_unknown_as_worse_than_any_number() -> None:
    runs = [
        {"gap": 0.3, "to": 5.0, "status": "c"},
        {"gap": 0.1, "to": None, "status": "a"},
        {"gap": 0.2, "to": 1.0, "status": "b"},
    ]
    assert medians(runs) == {"gap": 0.2, "to": 5.0, "status": "b"}
    assert medians([{"gap": None, "to": None}, {"gap": None, "to": 2.0}, {"gap": 1.0, "to": None}]) == {
        "gap": None,
        "to": None,
    }


def test_summary_by_size_and_method_counts_what_is_not_reached_as_the_limit() -> None:
    rows = [
        a_row(to_1_percent_s=0.0),
        a_row(instance="S-b", to_1_percent_s=None, time_limit_s=3.0, gap=None),
        a_row(instance="M-a", to_1_percent_s=8.0),
        a_row(method="plain-highs", to_1_percent_s=15.0),
    ]
    means = {(mean["size"], mean["method"]): mean for mean in summary(rows)}
    assert set(means) == {("S", "auto"), ("M", "auto"), ("S", "plain-highs")}
    assert means["S", "auto"]["to_1_percent_s"] == pytest.approx(math.sqrt(1 * 4) - 1)
    assert means["S", "auto"]["instances"] == 2
    assert means["S", "auto"]["median_gap"] is None
    assert means["M", "auto"]["to_1_percent_s"] == pytest.approx(8)


def test_a_bench_in_child_processes_agrees_with_solving_here() -> None:
    rows = list(bench([INSTANCE], BenchSettings(time_limit_s=10.0, repeats=1)))
    assert [row.method for row in rows] == ["auto", *PLAIN]
    here = solve(INSTANCE).report
    lockstep = solve(INSTANCE, "joint", execution="lockstep", gap=0.0).report
    assert rows[0].latency_s == here.latency_s
    assert rows[0].gap is not None
    assert rows[0].gap <= 1e-4
    for row in rows[1:]:
        assert row.status == "optimal"
        assert row.latency_s == pytest.approx(lockstep.latency_s, rel=2e-4)
    for row in rows:
        assert row.heuristic == "mocap"
        assert row.heuristic_latency_s is not None
        assert row.latency_s is not None
        assert row.peak_memory_bytes > 20 * 2**20
        assert row.to_final_gap_s is not None
        assert row.to_final_gap_s <= row.runtime_s


def test_an_overdue_run_is_killed_and_a_failing_one_says_why() -> None:
    endless = Task.of("latency", INSTANCE, SETTINGS.ask("auto", "best", 0.0))
    unknown = Task.of("latency", INSTANCE, SETTINGS.ask("none", "best", 60.0))
    (late,) = one_by_one(0.0).run([endless])
    assert measures(late)["status"] == "killed"
    (failed,) = one_by_one(60.0).run([unknown])
    assert measures(failed)["status"] == "failed"
    assert "none" in measures(failed)["reason"]


class Told:
    """Answers every run with the next of some outcomes."""

    def __init__(self, latencies: list[float]) -> None:
        self.latencies = iter(latencies)
        self.done = 0

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for task in tasks:
            self.done += 1
            yield finished(task, latency_s=next(self.latencies), found_by="mocap")


def test_slow_links_are_compared_with_ample_ones() -> None:
    slow = toy(wafer={"slow_links": [{"between": [[0, 0], [0, 1]], "bandwidth": 1000}]})
    told = Told([8.0, 6.0, 3.0])
    (row,) = bench([slow], BenchSettings(repeats=1, plain=False), runner=lambda grace_s: told)
    assert (row.heuristic_latency_s, row.latency_s, row.ample_links_ratio) == (8.0, 6.0, 0.5)


def test_a_bench_with_a_results_file_goes_on_where_it_was(tmp_path: Path) -> None:
    settings, told = BenchSettings(repeats=3, plain=False), Told([8.0, 6.0, 3.0, 4.0])
    first = list(bench([INSTANCE], settings, results=tmp_path / "r.sqlite", runner=lambda grace_s: told))
    again = list(bench([INSTANCE], settings, results=tmp_path / "r.sqlite", runner=lambda grace_s: told))
    assert again == first
    assert told.done == 4


def test_repeats_and_limits_follow_the_size() -> None:
    settings = BenchSettings()
    assert [settings.limit_s(size) for size in ("S", "M", "L", "XL", "toy")] == [2, 20, 120, 300, 60]
    assert [settings.runs(size) for size in ("S", "M", "L", "XL", "toy")] == [3, 3, 1, 1, 1]


def test_an_interrupted_bench_keeps_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(*_: object, **__: object) -> Any:
        yield a_row()
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "bench", rows)
    out = tmp_path / "rows.csv"
    result = CliRunner().invoke(
        cli, ["bench", "--sizes", "S", "--out", str(out), "--json"], standalone_mode=False
    )
    assert int(result.return_value) == 4
    assert json.loads(result.stdout)["rows"] == [asdict(a_row())]
    with out.open(newline="") as stream:
        (kept,) = csv.DictReader(stream)
    assert tuple(kept) == COLUMNS
    assert (kept["instance"], kept["latency_s"], kept["ample_links_ratio"]) == ("S-a", "6.5", "")


@pytest.mark.parametrize("option", [[], ["--markdown"]])
def test_tables_on_a_terminal(monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    monkeypatch.setattr(command, "bench", lambda *_, **__: iter([a_row(), a_row(heuristic="uniform")]))
    result = CliRunner().invoke(cli, ["bench", "--sizes", "S", *option], standalone_mode=False)
    for text in (
        "0.40 %",
        "pooled",
        "7 (uniform)",
        "shift 1 s",
        "100 MB",
    ):
        assert text in result.stdout
    assert ("|---" in result.stdout) == bool(option)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "S,Q"], "--sizes: expected some of S, M, L, XL, got 'Q'"),
        (["--variants", ","], "--variants: expected some of"),
        (["--sizes", "S", "x.json"], "--sizes and --variants"),
        (["--json", "--markdown"], "--markdown"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["bench", *arguments], standalone_mode=False)
    assert message in str(result.exception)


@pytest.mark.parametrize("seed", range(12))
def test_estimated_nonzeros_are_near_those_of_built_models(seed: int) -> None:
    """Never below 0.9 times, and never above 3 times, what is built: pruning by memory is not foreseen."""
    tables = random_tables(np.random.default_rng(seed))
    model = joint.build(tables)
    if model is not None:
        built = compile_model(model).program.matrix.nnz
        assert 0.9 * built <= estimated_nonzeros(tables) <= 3 * built


def test_estimate_of_the_integer_program() -> None:
    for instance in (INSTANCE, toy(workload={"tokens": 400}, chunking={"max_chunks": 8})):
        tables = build_tables(instance)
        program = build_cpsat(tables).program
        built = sum(len(row.expression.terms) for row in program.rows)
        for definition in program.definitions:
            if isinstance(definition, TableEntry):
                built += len(definition.entries)
            elif isinstance(definition, Sum):
                built += len(definition.expression.terms)
            elif isinstance(definition, Least):
                built += sum(len(e.terms) for e in definition.expressions)
            elif isinstance(definition, Largest):
                built += sum(len(e.terms) for _, _, e in definition.rows)
        assert built / 6 <= estimated_nonzeros(tables, "cpsat") <= 6 * built


@pytest.mark.parametrize("method", PLAIN)
def test_plain_methods_are_refused_above_a_size(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(plain, "MOST_NONZEROS", 10)
    report = solve(INSTANCE, method).report
    assert report.latency_s is None
    assert report.reason is not None
    assert "refused" in report.reason
    assert "more than 10" in report.reason


@pytest.mark.parametrize("method", PLAIN)
def test_plain_methods_find_the_lockstep_optimum_and_tell_of_it(method: str) -> None:
    news: list[Progress] = []
    solution = solve(INSTANCE, method, execution="lockstep", gap=0.0, callback=news.append)
    report = solution.report
    assert report.status.value == "optimal"
    assert solution.plan is not None
    tables = solution.tables
    assert report.latency_s == tables.seconds(assess(tables, solution.plan).lockstep.latency)
    assert [bound.name for bound in solution.lower_bounds] == ["joint"]
    assert news[-1].gap == pytest.approx(0, abs=1e-9)
    assert news[-1].latency_s == pytest.approx(report.latency_s)
    known = [n.bound_s for n in news if n.bound_s is not None]
    assert known == sorted(known)
