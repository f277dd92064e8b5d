"""The shipped instances of several pipelines: as drawn, checked, shown, and what they are there to show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from generated_requests import PLACE, as_text, instances
from stream_oracle import random_stream

import mocap_opt
from mocap_opt.cli.main import cli
from mocap_opt.instance import load_instance
from mocap_opt.instance.mooncake_trace import read_trace, trace_instance
from mocap_opt.replay.event import run_event
from mocap_opt.schedule.requests import build_requests
from mocap_opt.search.pipeline_clock import PipelineClock
from mocap_opt.search.stream_candidate import Pricer
from mocap_opt.search.stream_divisions import families

FILES = sorted(PLACE.glob("*.json"))
TRACE = Path(__file__).parents[2] / "shared" / "data" / "mooncake_conversation_32k.jsonl"


def test_files_are_as_drawn() -> None:
    assert {file.stem: file.read_text(encoding="utf-8") for file in FILES} == {
        name: as_text(instance) for name, instance in instances().items()
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_check_and_show_take_them(file: Path) -> None:
    if file.stem != "jobs-200-pipelines":
        assert CliRunner().invoke(cli, ["check", str(file)]).exit_code == 0
    shown = CliRunner().invoke(cli, ["show", str(file), "--json"])
    assert shown.exit_code == 0
    held = json.loads(shown.output)["instance"]
    assert held["name"] == file.stem
    assert held["workload"]["pipelines"] == {"trace-4": 4, "trace-g": 2, "jobs-20": 200}[file.stem[:7]]


def small(name: str, count: int) -> dict[str, object]:
    """The first requests of a shipped instance on two pipelines."""
    data = load_instance(PLACE / f"{name}.json").to_dict()
    workload = data["workload"]
    requests = workload["requests"][:count]
    longest = max(each["tokens"] for each in requests)
    return {**data, "workload": {**workload, "requests": requests, "tokens": longest, "pipelines": 2}}


def test_the_clock_is_the_event_driven_run_where_kv_stays_at_home() -> None:
    requests = build_requests(mocap_opt.Instance.from_dict(small("trace-goodput", 6)))
    family = next(families([request.tables for request in requests]))
    for choice in (0, -1, 1):
        cuts = [family[n][min(choice, len(family[n]) - 1)].indices for n in range(len(requests))]
        clock = PipelineClock(requests, cuts)
        for order in ((0, 1, 2, 3, 4, 5), (4, 2, 0, 5)):
            made = Pricer(requests).candidate(order, [cuts[r] for r in order])
            assert made is not None
            assert not any(request.plan.homes for request in made.sequence)
            assert clock.ends(order) == list(run_event(made.sequence).completion)


def test_the_clock_is_never_later_than_the_event_driven_run() -> None:
    """Homes, room and shared ports only delay; the clock leaves them out."""
    rng, compared = np.random.default_rng(5), 0
    for _ in range(40):
        requests, _given = random_stream(rng)
        family = next(families([request.tables for request in requests]), None)
        if family is None:
            continue
        cuts = [family[n][0].indices for n in range(len(requests))]
        made = Pricer(requests).candidate(range(len(requests)), cuts)
        if made is None:
            continue
        ends = PipelineClock(requests, cuts).ends(range(len(requests)))
        assert all(a <= b for a, b in zip(ends, run_event(made.sequence).completion, strict=True))
        compared += 1
    assert compared >= 15


@pytest.mark.parametrize("objective", ["stream", "goodput"])
def test_plot_and_report_draw_every_pipeline(tmp_path: Path, objective: str) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("bokeh")
    file, plan, page = tmp_path / "small.json", tmp_path / "plan.json", tmp_path / "page.html"
    data = load_instance("instances/tiny-slack.json").replace("pipeline.queue_depth=2").to_dict()
    slo = {"slo": 60e-6} if objective == "goodput" else {}
    workload = {
        "requests": [{"tokens": tokens, **slo} for tokens in (3, 2, 2)],
        "pipelines": 2,
        "order": "free",
    }
    file.write_text(json.dumps({**data, "workload": workload, "objective": objective}))
    run = CliRunner().invoke
    solved = run(cli, ["solve", str(file), "--time-limit", "1", "--out", str(plan)])
    assert solved.exit_code == 0, solved.output
    assert ("upper bound" if objective == "goodput" else "lower bound") in solved.output
    plot = ["plot", str(file), str(plan), "--out", str(tmp_path / "picture.svg"), "--kind"]
    for kind in (["gantt", "--pipeline", "1"], ["compare"]):
        drawn = run(cli, [*plot, *kind])
        assert drawn.exit_code == 0, drawn.output
        if kind != ["compare"]:
            assert "pipeline 1 of 2" in (tmp_path / "picture.svg").read_text(encoding="utf-8")
    for kind, message in (
        (["gantt", "--pipeline", "2"], "less than workload.pipelines, 2"),
        (["compare", "--pipeline", "1"], "--kind gantt, memory or mesh"),
    ):
        assert message in str(run(cli, [*plot, *kind]).exception)
    held = json.loads(plan.read_text())
    held["pipelines"][1] = []
    if objective == "goodput":
        plan.with_stem("one").write_text(json.dumps(held))
        refused = run(
            cli, ["plot", str(file), str(plan.with_stem("one")), *plot[3:], "gantt", "--pipeline", "1"]
        )
        assert "those that have: 0" in str(refused.exception)
        refused = run(cli, ["plot", str(file), *plot[3:], "bounds"])
        assert "another kind with objective 'goodput'" in str(refused.exception)
    assert run(cli, ["report", str(file), str(plan), "--out", str(page)]).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "pipeline 0" in text
    assert "pipeline 1" in text


def test_objective_as_an_option() -> None:
    refused = CliRunner().invoke(
        cli, ["solve", str(PLACE / "trace-4-pipelines.json"), "--objective", "goodput"]
    )
    assert "workload.requests[0].slo" in str(refused.exception)
    refused = CliRunner().invoke(
        cli, ["check", str(PLACE / "trace-goodput.json"), "--objective", "mean-completion"]
    )
    assert "workload.pipelines" in str(refused.exception)


@pytest.mark.slow
def test_assigned_jobs_keep_pipelines_busier_than_first_free() -> None:
    """Row 21 of the published comparisons: 8 points of utilisation or more, both against one bound."""
    methods = ("first-free", "joint")
    free, shared = mocap_opt.solving.solve_with_each(PLACE_OF_JOBS, methods, time_limit_s=60)
    assert shared.report.utilisation - free.report.utilisation >= 0.08
    assert shared.report.gap < 0.02
    assert free.report.lower_bound_s == shared.report.lower_bound_s


PLACE_OF_JOBS = load_instance(PLACE / "jobs-200-pipelines.json")


@pytest.mark.slow
@pytest.mark.skipif(not TRACE.exists(), reason="the trace is not there")
@pytest.mark.parametrize("pipelines", [2, 8])
def test_long_requests_of_the_trace(pipelines: int) -> None:
    """The trace's long requests, about a hundred a pipeline: makespan within 2 %, goodput within 10 %."""
    made = trace_instance(
        read_trace(TRACE),
        take=220 if pipelines == 2 else 829,
        name="trace",
        model="llama-3.1-70b",
        wafer="watos-c3",
        stages=8,
        dies_per_stage=1,
        quantum=4096,
        order="free",
        time_scale=0.0,
    )
    made["workload"]["pipelines"] = pipelines
    assert mocap_opt.solve(made, time_limit_s=300).report.gap < 0.02
    made["workload"]["requests"] = [
        {**each, "slo": 30.0, "release": round(0.6 * n, 3)}
        for n, each in enumerate(made["workload"]["requests"][:150])
    ]
    made["workload"]["tokens"] = max(each["tokens"] for each in made["workload"]["requests"])
    made = {**made, "objective": "goodput"}
    assert mocap_opt.solve(made, time_limit_s=200).report.gap < 0.10
