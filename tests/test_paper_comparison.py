"""The comparison with the paper: ratios by hand, rows and their CSV, small studies, the rows in the tree."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from command_line import run

import mocap_opt.cli.reproduce as command
from mocap_opt.baselines import METHODS as HEURISTICS
from mocap_opt.cli.main import cli
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving import solve
from mocap_opt.solving.period_search import PeriodSearch
from mocap_opt.studies.driver import finished_runs
from mocap_opt.studies.execution import Outcome, perform
from mocap_opt.studies.frames import write_frame
from mocap_opt.studies.paper_comparison import ratios
from mocap_opt.studies.paper_comparison.answers import answer_period, answer_run, repeated
from mocap_opt.studies.paper_comparison.family import (
    FAMILY,
    METHODS,
    QUICK,
    REQUESTS,
    TIMES,
    Case,
    tasks_of_case,
    tasks_of_family,
)
from mocap_opt.studies.paper_comparison.frame import (
    COLUMNS,
    BoundBeatenError,
    frame_of,
    read_csv,
    typed,
)
from mocap_opt.tables import build_tables

PAGE = Path(__file__).parent.parent / ".docs" / "guides" / "benchmarks.md"
SHIPPED = Path(__file__).parent.parent / "notebooks" / "headline.csv"
TINY = (
    Case("gpt3-1b", "pjlab-5x4", 2, 2, "8k", 1, 4, 1024, TIMES),
    Case("gpt3-175b", "watos-c3", 4, 14, "128k", 4, 4, 16384, ("equal-length",)),
)


LIMIT_S = 0.3
"""Time limit of a run; the joint method knows the plans it is compared with before it searches."""


class Here:
    """Does tasks in this process."""

    def run(self, tasks):
        for task in tasks:
            yield perform(task)


def row(instance: str, quantity: str, method: str, value: float | None, **others) -> dict:
    fixed = {"model": "m", "wafer": "w", "stages": 4, "dies_per_stage": 1, "tokens": "1k", "batch": 1}
    known = {"instance": instance, "quantity": quantity, "method": method, "value": value, "max_chunks": 2}
    status = "unknown" if value is None else "feasible"
    return dict.fromkeys(COLUMNS) | fixed | known | {"status": status} | others


def frame(*rows: dict) -> pd.DataFrame:
    return typed(pd.DataFrame(rows, columns=list(COLUMNS)))


def question(
    instance: str, quantity: str, values: dict[str, float | None], bound: float, **others
) -> list[dict]:
    return [row(instance, quantity, name, values.get(name), bound=bound, **others) for name in METHODS]


BY_HAND = frame(
    *question("a", "latency", {"gpipe": 8, "uniform": 4, "terapipe": 4, "mocap": 4, "joint": 2}, 1.6),
    *question(
        "b", "latency", {"gpipe": 27, "uniform": 9, "terapipe": 9, "mocap": 9, "joint": 3}, 2.7, stages=8
    ),
    *question("c", "latency", {"mocap": 6, "joint": 5}, 5),
    *question(
        "a", "run", {"gpipe": 20, "uniform": 10, "terapipe": 10, "mocap": 5, "joint": 5}, 4, requests=5
    ),
    *question("d", "equal-length", {"uniform": 100, "terapipe": 100, "mocap": 130, "joint": 160}, 200),
)


def test_ratios_by_hand():
    means, best = ratios.means(BY_HAND), ratios.best_cases(BY_HAND)
    # 8/2 = 4 and 27/3 = 9: their geometric mean is 6; the bounds allow 5 and 10.
    assert means.loc["latency", "joint"] == pytest.approx(6)
    assert means.loc["latency", "bound"] == pytest.approx(math.sqrt(50))
    assert means.loc["latency", "mocap"] == pytest.approx(math.sqrt(6))
    assert best.loc["latency", "joint"] == 9
    # The third has no gpipe, so it is in no mean; arithmetic mean of 3/4 and 8/9.
    assert means.loc["latency", "instances"] == 2
    assert ratios.mean_reductions(BY_HAND)["joint"] == pytest.approx((3 / 4 + 8 / 9) / 2)
    assert means.loc["throughput, 5 requests", ["uniform", "joint", "bound"]].tolist() == pytest.approx(
        [2, 4, 5]
    )
    # Lengths are over TeraPipe's, and longer is better; gpipe need not have one.
    assert means.loc["longest prompt, equal chunks", ["mocap", "joint", "bound"]].tolist() == pytest.approx(
        [1.3, 1.6, 2.0]
    )
    assert list(means.index) == ["latency", "throughput, 5 requests", "longest prompt, equal chunks"]


def test_stages_and_missing_plans_by_hand():
    stages = ratios.by_stages(BY_HAND, "joint")
    assert stages["latency"].to_dict() == pytest.approx({4: 4, 8: 9})
    plans = ratios.plans(BY_HAND)
    assert plans.loc["latency", ["instances", *METHODS]].tolist() == [3, 1, 1, 1, 0, 0]
    # 4/2, 9/3 and 6/5.
    assert plans.loc["latency", "over_mocap"] == pytest.approx((2 * 3 * 1.2) ** (1 / 3))
    assert plans.loc["latency", "best_over_mocap"] == 3
    assert plans.loc["latency", ["mean_gap", "worst_gap"]].tolist() == pytest.approx(
        [(0.2 + 0.1 + 0) / 3, 0.2]
    )
    assert plans.loc["longest prompt, equal chunks", "over_mocap"] == pytest.approx(160 / 130)
    assert plans.loc["longest prompt, equal chunks", "worst_gap"] == pytest.approx(0.2)


def test_tables_say_what_the_ratios_are():
    text = ratios.ratio_table(BY_HAND)
    assert text.loc["latency, mean reduction"].tolist()[:2] == ["76.4 % mean", "58.3 %"]
    assert text.loc["latency, mean", "joint"] == "6.00x"
    assert text.loc["throughput, 5 requests, mean", ["paper", "joint"]].tolist() == ["3.24x mean", "4.00x"]
    assert text.loc["longest prompt, equal chunks, best", ["paper", "mocap"]].tolist() == [
        "1.31x best",
        "1.30x",
    ]
    assert "| latency, mean " in ratios.report(BY_HAND)


def outcome(method: str, value: float | None, bound: float | None, status: str, **others) -> Outcome:
    variant = {"quantity": "period", "requests": None, "model": "m", "wafer": "w", "stages": 4}
    variant |= {"dies_per_stage": 1, "tokens": "1k", "batch": 1, "max_chunks": 2}
    answer = {"status": status, "value": value, "bound": bound, "gap": None, "chunks": 1, "found_by": "x"}
    run = {"outcome": "ok", "kind": "paper-period", "instance": "i", "method": method, "variant": variant}
    return Outcome(method, {**run, **answer, "reason": None, **others})


def test_gaps_are_against_the_best_bound_of_all_and_a_proof_holds_for_all():
    found = frame_of([outcome("mocap", 4.0, None, "feasible"), outcome("joint", 2.0, 1.9, "feasible")])
    assert found["gap"].tolist() == pytest.approx([0.525, 0.05])
    assert found["bound"].tolist() == [1.9, 1.9]
    assert found["found_by"].tolist() == [None, "x"]
    met = frame_of([outcome("joint", 2.0, 2.0, "feasible")])
    assert (met["status"].item(), met["gap"].item()) == ("optimal", 0)
    none = frame_of(
        [
            outcome("mocap", None, None, "unknown", reason="no room"),
            outcome("joint", None, None, "infeasible", reason="proved"),
        ]
    )
    assert none["status"].tolist() == ["infeasible", "infeasible"]
    assert none["reason"].tolist() == ["proved", "proved"]


def test_a_value_beyond_a_bound_is_an_error():
    with pytest.raises(BoundBeatenError, match="i, period: mocap beats 3"):
        frame_of([outcome("mocap", 2.9, None, "feasible"), outcome("joint", 4.0, 3.0, "feasible")])


def test_a_run_that_failed_is_a_row_with_its_reason():
    broken = outcome("mocap", None, None, "", outcome="failed", reason="RuntimeError: no luck")
    found = frame_of([broken, outcome("joint", 2.0, 1.0, "feasible")])
    assert found["status"].tolist() == ["failed", "feasible"]
    assert found["reason"].tolist() == ["RuntimeError: no luck", None]


def test_rows_survive_their_csv(tmp_path):
    write_frame(BY_HAND, tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "rows.csv"), BY_HAND)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("quantity", "quality", r"bad\.csv: expected all columns, got no column quantity"),
        (",8.0,", ",eight,", r'bad\.csv, line 2, value: expected a number, got "eight"'),
        (",mocap,", ",mocha,", r'method: expected one of .*"mocha" \(did you mean "mocap"\?\)'),
        ("b,m,", "a,m,", r"bad\.csv, line 7: expected each question once, got the same as line 2"),
        ("latency,,", "latency,3,", r"line 2, requests: expected a whole number of requests for a run"),
        (None, "", r"bad\.csv: expected all columns, got no column instance"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path, old, new, message):
    text = BY_HAND.to_csv(index=False)
    (tmp_path / "bad.csv").write_text(new if old is None else text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path / "bad.csv")


def test_the_family_is_what_it_says():
    assert len({case.model for case in FAMILY}) >= 3
    assert len({case.wafer for case in FAMILY}) >= 2
    for name in ("tokens", "stages", "max_chunks", "batch"):
        assert len({getattr(case, name) for case in FAMILY if case.quantities == TIMES}) >= 3
    assert len({case.name for case in FAMILY}) == len(FAMILY)
    tasks = tasks_of_family([*FAMILY, *QUICK])
    assert len({task.key for task in tasks}) == len(tasks)
    assert {task.settings.method for task in tasks} == set(METHODS)


def test_a_run_of_one_request_is_its_latency_and_gpipe_adds_a_period_for_each_more():
    case = TINY[0]
    latency = solve(Instance.from_dict(case.data()), "gpipe").report.latency_s
    period = answer_period(Instance.from_dict(case.data()), "gpipe", 1.0)["value"]
    for count in (1, 4):
        data = case.data()
        data["workload"] = {"requests": [data["workload"]] * count}
        found = answer_run(Instance.from_dict({**data, "objective": "stream"}), "gpipe", 1.0)
        assert found["value"] == pytest.approx(latency + (count - 1) * period, rel=1e-9)
        assert found["chunks"] == 1


def test_repeated_plans_keep_the_fewest_slots_apart_that_are_feasible():
    tables_ = build_tables(Instance.from_dict(TINY[0].data()))
    plan = HEURISTICS["uniform"].propose(tables_).plan
    assert repeated(tables_, plan, 3).requests[1].slot == plan.chunks
    # Memory 1 just holds its own stage's KV of one request; beside it lives the first chunk of stage 0,
    # from the slot in which stage 0 starts a request: one slot too early if requests follow at once.
    pages = np.zeros((2, plan.chunks, 2), dtype=np.int64)
    pages[0, 0, 1] = tables_.pages[plan.grid_indices(tables_)[1]]
    away = Plan.from_arrays(tables_, plan.grid_indices(tables_), pages)
    reserve = repeated(tables_, away, 3).reserve
    own = tables_.page_bytes * int(tables_.pages[-1])
    tight = dataclasses.replace(tables_, capacity=reserve + tables_.static + own)
    sequence = repeated(tight, away, 3)
    assert [request.slot for request in sequence] == [0, plan.chunks + 1, 2 * plan.chunks + 2]
    short = dataclasses.replace(tight, capacity=tight.capacity - 1)
    assert repeated(short, away, 3) is None


def test_a_small_study_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "QUICK", TINY)
    out = tmp_path / "rows.csv"
    first = CliRunner().invoke(cli, ["reproduce", "--quick", "--time-limit", "0.5", "--out", str(out)])
    assert first.exit_code == 0, first.output
    shown = CliRunner().invoke(cli, ["reproduce", "--table", "--out", str(out)])
    assert shown.output == first.stdout == ratios.report(read_csv(out))
    found = read_csv(out)
    assert len(found) == len(tasks_of_family(TINY)) == 5 * (2 + len(REQUESTS) + 1)
    assert not (found["status"] == "failed").any()
    _joint_is_never_worse(found)
    held = CliRunner().invoke(cli, ["reproduce", "--table", "--out", str(out), "--json"])
    assert json.loads(held.output)["means"]["latency"]["gpipe"] == 1


def test_a_study_killed_in_the_middle_goes_on_to_the_same_rows(tmp_path):
    tasks = list(tasks_of_case(TINY[0], LIMIT_S))
    whole = frame_of(finished_runs(tasks, tmp_path / "whole.sqlite", Here()))
    script = (
        "from mocap_opt.studies.paper_comparison.family import *\n"
        "from mocap_opt.studies.driver import finished_runs\n"
        "from mocap_opt.studies.runners import LocalRunner\n"
        f"case = Case(*{dataclasses.astuple(TINY[0])!r})\n"
        f"tasks = tasks_of_family([case], {LIMIT_S})\n"
        "finished_runs(tasks, 'cut.sqlite', LocalRunner(1, grace_s=60, retries=0))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, start_new_session=True)
    cut = tmp_path / "cut.sqlite"
    while _runs(cut) < 3 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = _runs(cut)
    assert before >= 3
    counts: list[int] = []
    again = frame_of(finished_runs(tasks, cut, Here(), listener=lambda tally: counts.append(tally.before)))
    assert counts[0] == before
    pd.testing.assert_frame_equal(_without_clock(again), _without_clock(whole))


def _without_clock(rows: pd.DataFrame) -> pd.DataFrame:
    """What no clock decides: the joint method's plans and bounds depend on the time they get."""
    asked = ["instance", "quantity", "requests", "method"]
    return rows[asked].assign(value=rows["value"].where(rows["method"] != "joint"))


def _runs(path: Path) -> int:
    if not path.is_file():
        return 0
    connection = sqlite3.connect(path, timeout=10)
    try:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def _joint_is_never_worse(found: pd.DataFrame) -> None:
    values = ratios.values(found)
    longest = values.index.get_level_values("question").str.startswith("longest")
    for name in METHODS[:-1]:
        known = values[name].notna().to_numpy()
        better = values["joint"] / values[name]
        assert (better[known & ~longest] <= 1 + 1e-8).all(), name
        assert (better[known & longest] >= 1 - 1e-8).all(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "rows.txt"], r"--out: expected a name that ends in \.csv"),
        (["--table", "--out", "missing.csv"], r"missing\.csv"),
        (["--picture", "x.gif"], r"--picture: expected a name that ends in \.png"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("reproduce", *options, capsys=capsys)
    assert code == 2
    assert re.search(message, err), err


def test_the_rows_in_the_tree_are_of_this_family_and_sound():
    found = read_csv(SHIPPED)
    asked = {
        (t.name, t.variant["quantity"], t.variant["requests"] or 0, t.settings.method) for t in _all_tasks()
    }
    requests = found["requests"].fillna(0).astype(int)
    held = list(zip(found["instance"], found["quantity"], requests, found["method"], strict=True))
    assert len(held) == len(set(held))
    assert set(held) == asked
    assert not (found["status"] == "failed").any()
    assert found["reason"].notna().equals(found["value"].isna())
    assert found["gap"].dropna().between(0, 1).all()
    assert found.loc[(found["method"] == "joint") & found["value"].notna(), "gap"].notna().all()
    _joint_is_never_worse(found)


def _all_tasks():
    return tasks_of_family(FAMILY)


def test_the_table_on_the_page_of_benchmarks_is_that_of_the_rows():
    text = PAGE.read_text(encoding="utf-8")
    table = ratios.ratio_table(read_csv(SHIPPED))
    made = [[name, *cells] for name, cells in zip(table.index, table.to_numpy().tolist(), strict=True)]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    shown = [cells for cells in rows if cells[0] in table.index]
    assert bool(shown) == ("mocap-opt reproduce" in text)
    assert all(cells in made for cells in shown)


def test_pictures_show_the_means(tmp_path):
    plots = pytest.importorskip("mocap_opt.pictures.plots")
    figure = plots.paper_comparison_figure(BY_HAND)
    left, right = figure.axes
    heights = [patch.get_height() for patch in left.patches]
    means = ratios.means(BY_HAND)
    there = [name for name in ("latency", "throughput, 5 requests") if name in means.index]
    np.testing.assert_allclose(heights, [means.loc[q, m] for m in METHODS[1:] for q in there])
    assert [label.get_text() for label in right.get_xticklabels()] == ["longest prompt,\nequal chunks"]
    lines = plots.stages_figure(BY_HAND).axes[0].lines
    np.testing.assert_allclose(lines[0].get_ydata(), [4, 9])


def test_joint_knows_the_compared_plans_even_without_time(monkeypatch):
    monkeypatch.setattr(
        "mocap_opt.studies.paper_comparison.answers.best_period",
        lambda tables, deadline: PeriodSearch(tables),
    )
    instance = Instance.from_dict(TINY[0].data())
    least = min(answer_period(instance, name, 1.0)["value"] for name in METHODS[:-1])
    assert answer_period(instance, "joint", 0.0)["value"] == least
