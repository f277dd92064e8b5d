"""The command line as a stranger meets it: answers, JSON, files and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run
from malformed import MALFORMED

import mocap_opt

ROOT = Path(__file__).resolve().parent.parent
INSTANCES = ROOT / "instances"
SLACK = str(INSTANCES / "tiny-slack.json")
KEYS = (
    "instance fingerprint method solver status objective latency_s execution lockstep_latency_s "
    "event_latency_s lower_bound_s bound_scope bound_name bound_evidence gap runtime_s build_s boundaries "
    "homes peak_memory_bytes versions"
).split()


def run_json(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code, out, _ = run(*arguments, "--json", capsys=capsys)
    return code, json.loads(out)


@pytest.mark.parametrize("solver", ["highs", "cpsat", "auto"])
def test_solve_answers_with_every_promised_key(solver, capsys):
    code, answer = run_json("solve", INSTANCES / "tiny-pooled.json", "--solver", solver, capsys=capsys)
    assert code == 0
    assert [key for key in KEYS if key not in answer] == []
    assert answer["status"] == "optimal"
    assert answer["boundaries"] == [0, 2, 4]
    assert answer["gap"] <= 1e-4
    assert answer["lower_bound_s"] <= answer["latency_s"]
    assert answer["latency_s"] == min(answer["lockstep_latency_s"], answer["event_latency_s"])
    # Each memory holds three of the four tokens (see test_tiny_instances.py).
    assert {(home["stage"], home["memory"]) for home in answer["homes"]} == {(0, 1), (1, 0)}
    assert max(answer["peak_memory_bytes"]) <= 29


def test_the_lockstep_latency_can_be_asked_for(capsys):
    # tiny-detour: two chunks are best in lockstep (79), four without barriers (69): test_tiny_instances.py.
    file = INSTANCES / "tiny-detour.json"
    code, answer = run_json("solve", file, "--execution", "lockstep", capsys=capsys)
    assert (code, answer["status"], answer["execution"]) == (0, "optimal", "lockstep")
    assert answer["latency_s"] == answer["lockstep_latency_s"] == pytest.approx(79e-6)
    assert answer["gap"] == answer["lockstep_gap"] == 0
    _, answer = run_json("solve", file, capsys=capsys)
    assert (answer["execution"], answer["latency_s"]) == ("event-driven", pytest.approx(69e-6))


def test_a_plan_survives_the_way_through_a_file(tmp_path, capsys):
    plan = tmp_path / "plan.json"
    _, solved = run_json("solve", INSTANCES / "tiny-pooled.json", "--out", plan, capsys=capsys)
    code, judged = run_json("evaluate", INSTANCES / "tiny-pooled.json", plan, capsys=capsys)
    assert code == 0
    for key in ("boundaries", "homes", "latency_s", "lockstep_latency_s", "event_latency_s"):
        assert judged[key] == solved[key]
    decisions = {"version", "kind", "instance", "fingerprint", "boundaries", "homes"}
    assert set(json.loads(plan.read_text())) == decisions  # never times


def test_a_plan_for_another_instance_is_judged_and_said_so(tmp_path, capsys):
    plan = tmp_path / "plan.json"
    run("solve", INSTANCES / "tiny-slack.json", "--out", plan, capsys=capsys)
    code, judged = run_json(
        "evaluate", INSTANCES / "tiny-slack.json", plan, "--set", "overlap=0.5", capsys=capsys
    )
    assert code == 0
    assert "the plan was made for an instance with fingerprint" in judged["notes"][0]


def test_a_plan_that_breaks_a_rule_is_listed_with_exit_code_3(tmp_path, capsys):
    plan = tmp_path / "plan.json"
    run("solve", INSTANCES / "tiny-pooled.json", "--out", plan, capsys=capsys)
    content = json.loads(plan.read_text())
    content["homes"] = []
    plan.write_text(json.dumps(content))
    code, judged = run_json("evaluate", INSTANCES / "tiny-pooled.json", plan, capsys=capsys)
    assert code == 3
    assert judged["status"] == "infeasible"
    assert judged["latency_s"] is None
    # Stage 0 holds four tokens of 2 bytes where three fit.
    assert any("memory 0, slot 1" in rule and "2 B short" in rule for rule in judged["violations"])


def test_a_hopeless_instance_is_proved_infeasible(capsys):
    code, answer = run_json("solve", INSTANCES / "tiny-hopeless.json", capsys=capsys)
    assert code == 3
    assert answer["status"] == "infeasible"
    assert "short" in answer["reason"]
    assert answer["gap"] is None


def test_no_plan_within_the_limit_is_exit_code_4(capsys):
    code, answer = run_json("solve", INSTANCES / "tiny-pooled.json", "--method", "gpipe", capsys=capsys)
    assert code == 4
    assert answer["status"] == "unknown"
    assert "memory 0" in answer["reason"]


def test_compare_gives_a_row_a_method_and_a_csv(tmp_path, capsys):
    csv = tmp_path / "rows.csv"
    files = [INSTANCES / "tiny-slack.json", INSTANCES / "tiny-shrinking.json"]
    code, rows = run_json("compare", *files, "--methods", "gpipe,mocap,joint", "--csv", csv, capsys=capsys)
    assert code == 0
    assert [row["method"] for row in rows] == ["gpipe", "mocap", "joint"] * 2
    assert rows[2]["latency_s"] <= min(rows[0]["latency_s"], rows[1]["latency_s"])
    assert all(row["event_exceeds_lockstep"] in (True, False) for row in rows)
    assert len(csv.read_text().splitlines()) == 7
    code, table, _ = run("compare", files[0], "--methods", "gpipe,joint", capsys=capsys)
    assert code == 0
    assert max(map(len, table.splitlines())) <= 80


def test_bound_lists_bounds_below_the_optimum(capsys):
    code, answer = run_json("bound", INSTANCES / "tiny-slack.json", capsys=capsys)
    assert code == 0
    assert all(row["lower_bound_s"] <= 69e-6 for row in answer["bounds"])
    assert {row["bound_scope"] for row in answer["bounds"]} >= {"any execution of feasible plans"}
    code, answer = run_json("bound", INSTANCES / "tiny-hopeless.json", capsys=capsys)
    assert (code, answer["status"]) == (3, "infeasible")


@pytest.mark.parametrize("file", sorted(INSTANCES.glob("*.json")), ids=lambda file: file.stem)
def test_every_shipped_instance_passes_check_and_show(file, capsys):
    assert run("check", file, capsys=capsys)[0] == 0
    code, out, _ = run("show", file, capsys=capsys)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "pipeline.queue_depth" in out
    assert json.loads(file.read_text())["name"] == file.stem


def test_show_writes_figures_with_their_units(capsys):
    _, out, _ = run("show", INSTANCES / "llama-3.1-70b-watos-uneven.json", capsys=capsys)
    assert "70 GB" in out
    assert "64 MiB" in out
    assert not re.search(r"\d{7,}|\d{3}00\.0", out)
    assert re.search(r"pipeline\.layers +\d+( x\d+)?, ", out)


def test_schema_and_versions_are_json(capsys):
    code, out, _ = run("schema", capsys=capsys)
    assert code == 0
    assert "properties" in json.loads(out)
    code, found = run_json("versions", capsys=capsys)
    assert code == 0
    assert {"mocap-opt", "highspy", "ortools", "pyomo"} <= set(found)


def test_overrides_change_the_instance(capsys):
    code, shown = run_json("show", INSTANCES / "tiny-slack.json", "--set", "workload.batch=2", capsys=capsys)
    assert code == 0
    assert shown["instance"]["workload"]["batch"] == 2


@pytest.mark.parametrize(("content", "place"), [pytest.param(c, p, id=i) for i, c, p in MALFORMED])
def test_malformed_instances_are_exit_code_2_without_a_traceback(content, place, tmp_path, capsys):
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    code, out, err = run("solve", file, capsys=capsys)
    assert code == 2
    assert out == ""
    assert place in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "no-such-file.json"], "no-such-file.json"),
        (["solve", SLACK, "--method", "magic"], "magic"),
        (["solve", SLACK, "--time-limit", "-1"], "time-limit"),
        (["solve", SLACK, "--gap", "nan"], "gap"),
        (["solve", SLACK, "--set", "pipeline.stagse=3"], "stagse"),
        (
            ["solve", SLACK, "--out", "/no/such/folder/plan.json"],
            "/no/such/folder",
        ),
        (["compare", SLACK, "--methods", "gpipe,magic"], "magic"),
        (["compare", SLACK, "--methods", ","], "--methods"),
        (["evaluate", SLACK, "no-plan.json"], "no-plan.json"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_calls_are_exit_code_2(arguments, message, capsys):
    code, out, err = run(*arguments, capsys=capsys)
    assert code == 2
    assert out == ""
    assert message in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_returns_the_best_plan_so_far(number, tmp_path):
    command = [sys.executable, "-m", "mocap_opt.cli", "solve", "--json", "--gap", "0", "--time-limit", "120"]
    # Unequal stages and a fine grid: not solved to the last tick for a long while.
    file, log = INSTANCES / "qwen3-235b-a22b-watos-256k.json", tmp_path / "progress"
    process = subprocess.Popen(
        [*command, "--log", str(log), str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    while not (log.exists() and '"latency_s": 3' in log.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    answer = json.loads(out)
    assert answer["status"] == "feasible"
    assert answer["runtime_s"] < 30


def test_the_command_line_starts_without_solvers():
    heavy = ["pyomo", "ortools", "highspy", "pandas", "matplotlib", "distributed"]
    code = f"import sys, mocap_opt.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_importing_the_package_loads_no_solver_and_no_plotting_library():
    heavy = ["pyomo", "ortools", "highspy", "pandas", "matplotlib", "scipy"]
    code = f"import sys, mocap_opt; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a text on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    "command",
    [
        ("check", "-"),
        ("show", "-"),
        ("bound", "-", "--quick"),
        ("solve", "-", "--method", "mocap"),
        ("compare", "-", "--methods", "mocap"),
    ],
)
def test_an_instance_can_come_from_standard_input(command, monkeypatch, capsys):
    give(monkeypatch, Path(SLACK).read_text())
    code, out, _ = run(*command, capsys=capsys)
    assert code == 0
    assert "tiny-slack" in out


def test_a_plan_can_come_from_standard_input(tmp_path, monkeypatch, capsys):
    plan = tmp_path / "plan.json"
    run("solve", SLACK, "--method", "mocap", "--out", plan, capsys=capsys)
    give(monkeypatch, plan.read_text())
    code, answer = run_json("evaluate", SLACK, "-", capsys=capsys)
    assert code == 0
    assert answer["latency_s"] is not None
    give(monkeypatch, plan.read_text().replace('"boundaries"', '"borders"'))
    code, _, shown = run("evaluate", SLACK, "-", capsys=capsys)
    assert code == 2
    assert "standard input: borders" in shown


def test_standard_input_can_be_read_once_only(monkeypatch, capsys):
    give(monkeypatch, Path(SLACK).read_text())
    code, _, shown = run("evaluate", "-", "-", capsys=capsys)
    assert code == 2
    assert "standard input: expected the text of a file, got nothing (it can be read once only)" in shown


def test_standard_output_is_no_file(capsys):
    code, _, shown = run("solve", SLACK, "--out", "-", capsys=capsys)
    assert code == 2
    assert "expected the name of a file, got standard output" in shown


def test_the_version_is_an_option_and_an_attribute(capsys):
    code, out, _ = run("--version", capsys=capsys)
    assert (code, out) == (0, f"mocap-opt {mocap_opt.__version__}\n")
    assert mocap_opt.__version__[0].isdigit()


def test_messages_speak_of_bytes_as_people_do(tmp_path, capsys):
    file = INSTANCES / "gpt3-175b-watos-tight.json"
    _, out, _ = run("solve", file, "--method", "gpipe", capsys=capsys)
    reason = next(line for line in out.splitlines() if line.startswith("reason"))
    assert " GB short" in reason
    assert " bytes" not in reason


def test_what_counts_as_optimal_is_said_with_it(capsys):
    arguments = ("solve", "instances/tiny-pooled.json")
    assert "optimal (gap at most 0.01 %)" in run(*arguments, capsys=capsys)[1]
    assert "optimal (gap at most 2.00 %)" in run(*arguments, "--gap", "0.02", capsys=capsys)[1]
