"""The ablation: which runs it consists of, what it says a step is worth, and that it can be resumed."""

from __future__ import annotations

import csv
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from toy_instances import toy

from mocap_opt.cli.main import cli
from mocap_opt.errors import InputError
from mocap_opt.studies.ablation import COLUMNS, by_step, losses, run_ablation
from mocap_opt.studies.execution import Outcome
from mocap_opt.studies.tasks import Settings, Task

TINY = Path(__file__).parent.parent / "instances" / "tiny-unequal.json"
ONE = toy(workload={"tokens": 40}, chunking={"max_chunks": 3})
OTHER = toy(workload={"tokens": 30}, chunking={"max_chunks": 3})
SETTINGS = Settings("auto", "auto", "best", 0, 10.0, 1e-4, 1)
ANSWERS: dict[tuple[str, str | None], tuple[float | None, float | None, float | None]] = {
    (ONE.fingerprint, None): (10.0, 8.0, 0.2),
    (ONE.fingerprint, "first_heuristics"): (11.0, 8.0, 3 / 11),
    (ONE.fingerprint, "quick_bounds"): (10.0, 6.0, 0.4),
    (OTHER.fingerprint, None): (5.0, 5.0, 0.0),
    (OTHER.fingerprint, "first_heuristics"): (None, 5.0, None),
}


class ByTable:
    """Answers runs from `ANSWERS`; on the second instance the step of bounds does not run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def run(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for task in tasks:
            self.asked.append((task.fingerprint, task.settings.without))
            latency, bound, gap = ANSWERS[self.asked[-1]]
            ran = {"first_heuristics": 1, "quick_bounds": int(task.fingerprint == ONE.fingerprint)}
            answer: dict[str, Any] = {"latency_s": latency, "lower_bound_s": bound, "gap": gap}
            answer["steps"] = [{"step": step, "runs": runs} for step, runs in ran.items()]
            yield Outcome(task.key, {"outcome": "ok", **task.identity(), **answer})


def test_losses_by_hand_and_a_second_time_nothing_is_run(tmp_path: Path) -> None:
    runner = ByTable()
    found = run_ablation([ONE, OTHER], SETTINGS, tmp_path / "r.sqlite", runner)
    assert sorted(runner.asked, key=str) == sorted(ANSWERS, key=str)
    rows = losses(found)
    assert [row["step"] for row in rows] == ["first_heuristics", "first_heuristics", "quick_bounds"]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["plan_loss"] for row in rows] == [pytest.approx(0.1), None, 0.0]
    assert [row["bound_loss"] for row in rows] == [0.0, 0.0, pytest.approx(0.25)]
    assert [row["gap_loss"] for row in rows] == pytest.approx([3 / 11 - 0.2, 1.0, 0.2])
    assert [row["plan_lost"] for row in rows] == [False, True, False]
    table = by_step(rows)
    assert table.loc["first_heuristics", ["instances", "plans lost", "plan loss, mean"]].tolist() == [
        "2",
        "1",
        "10.00 %",
    ]
    assert table.loc["quick_bounds", "bound loss, worst"] == f"25.00 % ({ONE.name})"
    again = ByTable()
    assert losses(run_ablation([ONE, OTHER], SETTINGS, tmp_path / "r.sqlite", again)) == rows
    assert not again.asked


def test_the_command_writes_rows_and_prints_a_table(tmp_path: Path) -> None:
    out = tmp_path / "ablation.csv"
    steps = ["--step", "first_heuristics", "--step", "quick_bounds"]
    command = ["study", "ablation", str(TINY), *steps, "--time-limit", "5", "--cores", "1"]
    result = CliRunner().invoke(cli, [*command, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["first_heuristics", "quick_bounds"]
    assert tuple(rows[0]) == COLUMNS
    assert "| first_heuristics" in result.output
    with pytest.raises(InputError, match="only: expected one of"):
        CliRunner().invoke(cli, [*command, "--step", "none"], catch_exceptions=False, standalone_mode=False)
