"""Streams as files: traces become instances, plans are written and read back, the command line agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import exit_code

from mocap_opt import evaluate, solve
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.instance.mooncake_trace import read_trace
from mocap_opt.schedule.requests import build_requests
from mocap_opt.schedule.schedule_file import load_schedule, save_schedule, stream_from_dict

CONVERSATIONS = Path(__file__).parents[2] / "shared" / "data" / "mooncake_conversation_32k.jsonl"

STREAM = {
    "version": 1,
    "name": "three requests",
    "model": "llama-3.1-70b",
    "wafer": "watos-c3",
    "pipeline": {"stages": 4, "dies_per_stage": 8},
    "workload": {
        "requests": [
            {"tokens": "16k", "name": "long"},
            {"tokens": "4k", "prefix": "8k"},
            {"tokens": "8k", "batch": 2, "release": "30 ms"},
        ],
        "order": "free",
    },
    "chunking": {"max_chunks": 4, "quantum": 2048},
    "objective": "stream",
}


def trace(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def test_shared_leading_blocks_are_cached(tmp_path: Path) -> None:
    path = trace(
        tmp_path,
        {"timestamp": 1000, "input_length": 1200, "output_length": 5, "hash_ids": [0, 1, 2]},
        {"timestamp": 2500, "input_length": 1500, "output_length": 5, "hash_ids": [0, 1, 9]},
        {"timestamp": 2500, "input_length": 1024, "output_length": 5, "hash_ids": [0, 9]},
        {"timestamp": 4000, "input_length": 1024, "output_length": 5, "hash_ids": [7, 1]},
    )
    # The third is cached wholly, but for the token that must be prefilled.
    assert [(each.tokens, each.cached) for each in read_trace(path)] == [
        (1200, 0),
        (1500, 1024),
        (1024, 1023),
        (1024, 0),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "trace.jsonl:2: expected valid JSON"),
        ({"timestamp": 0, "input_length": 0, "hash_ids": []}, "input_length: expected a whole number"),
        ({"timestamp": "x", "input_length": 9, "hash_ids": []}, "timestamp: expected milliseconds"),
        ({"timestamp": 0, "input_length": 9, "hash_ids": "x"}, "hash_ids: expected a list"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: object, message: str) -> None:
    path = trace(tmp_path, {"timestamp": 0, "input_length": 9, "hash_ids": [1]}, line)
    with pytest.raises(InputError) as caught:
        list(read_trace(path))
    assert message in str(caught.value.problems[0])


def test_import_trace_makes_an_instance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {
            "timestamp": 1000 * n,
            "input_length": 2048 * (n + 1),
            "hash_ids": [0, *range(10 * n + 1, 10 * n + 4)],
        }
        for n in range(4)
    ]
    path, out = trace(tmp_path, *lines), tmp_path / "made.json"
    assert (
        exit_code(
            "import-trace",
            str(path),
            "--take",
            "2",
            "--offset",
            "1",
            "--time-scale",
            "0.5",
            "--out",
            str(out),
        )
        == 0
    )
    data = json.loads(out.read_text())
    assert data["workload"]["requests"] == [
        {"name": "line 1", "tokens": 4096 - 512, "prefix": 512},
        {"name": "line 2", "tokens": 6144 - 512, "prefix": 512, "release": 0.5},
    ]
    assert Instance.from_dict(data).workload.tokens == 6144 - 512
    assert exit_code("import-trace", str(path), "--take", "9", "--out", str(tmp_path / "none.json")) == 2
    assert "expected 9 requests from number 0 on, got 4 requests" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """All but how the plan was found."""
    searched = ("method", "found_by", "notes", "runtime_s", "settings", "status")
    return {name: value for name, value in report.items() if name not in searched}


def test_plans_of_streams_come_back_from_their_files(tmp_path: Path) -> None:
    instance = Instance.from_dict(STREAM)
    requests = build_requests(instance)
    solved = solve(instance, time_limit_s=2.0)
    assert solved.schedule is not None
    assert sorted(solved.schedule.order) == [0, 1, 2]
    path = tmp_path / "plan.json"
    save_schedule(path, solved.schedule, instance.name, instance.fingerprint)
    sequence = load_schedule(path, lambda data: stream_from_dict(data, requests))
    assert sequence.order == solved.schedule.order
    assert figures(evaluate(instance, sequence).report.to_dict()) == figures(solved.report.to_dict())
    report = solved.report
    assert report.lower_bound_s is not None
    assert report.makespan_s is not None
    assert report.lower_bound_s <= report.makespan_s
    assert report.p99_completion_s == max(each["completion_s"] for each in report.completions)
    data = json.loads(path.read_text())
    for change, message in [
        ({"kind": "plan"}, 'kind: expected "sequence"'),
        ({"requests": data["requests"][:2]}, "requests: expected a list with the 3 requests"),
        ({"requests": [data["requests"][0]] * 3}, "each request once"),
        ({"requests": [{**each, "slot": -1} for each in data["requests"]]}, "slot: expected a slot"),
        ({"extra": 1}, "extra: expected no such key"),
    ]:
        with pytest.raises(InputError) as caught:
            stream_from_dict({**data, **change}, requests)
        assert any(message in str(problem) for problem in caught.value.problems)


def test_the_command_line_solves_and_evaluates_streams(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plan = tmp_path / "stream.json", tmp_path / "plan.json"
    file.write_text(json.dumps(STREAM))
    assert exit_code("check", str(file)) == 0
    assert exit_code("show", str(file)) == 0
    capsys.readouterr()
    assert exit_code("solve", str(file), "--time-limit", "2", "--out", str(plan), "--json") == 0
    solved = json.loads(capsys.readouterr().out)
    assert exit_code("evaluate", str(file), str(plan), "--json") == 0
    assert figures(json.loads(capsys.readouterr().out)) == figures(solved)
    assert exit_code("evaluate", str(file), str(plan)) == 0
    assert "throughput" in capsys.readouterr().out
    late = json.loads(plan.read_text())
    late["requests"][1]["slot"] = 0
    plan.write_text(json.dumps(late))
    assert exit_code("evaluate", str(file), str(plan)) == 3
    assert "needs the first stage" in capsys.readouterr().out
    assert exit_code("solve", str(file), "--gantt") == 2
    assert exit_code("bound", str(file)) == 0
    assert "crossing" in capsys.readouterr().out
    assert exit_code("export", str(file), "--to", str(tmp_path / "x.mps")) == 2
    refusal = capsys.readouterr().err
    assert "workload.requests: expected one prompt" in refusal
    assert "a stream, which has no Pyomo program" in refusal


@pytest.mark.skipif(not CONVERSATIONS.exists(), reason="the trace of conversations is not there")
def test_real_requests_are_planned_within_a_tenth_of_the_bound(tmp_path: Path) -> None:
    out = tmp_path / "chat.json"
    assert (
        exit_code("import-trace", str(CONVERSATIONS), "--take", "8", "--time-scale", "0", "--out", str(out))
        == 0
    )
    report = solve(Instance.from_dict(json.loads(out.read_text())), time_limit_s=4.0).report
    assert report.gap is not None
    assert report.gap <= 0.1
