"""Every objective is answered or refused by every function and command; no option is ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, load_instance
from mocap_opt.solving.period import PeriodSolution
from mocap_opt.solving.stream_report import StreamSolution

TINY = Path(__file__).parent.parent / "instances" / "tiny-slack.json"
BOUNDED = "pipeline.queue_depth=2"


@pytest.fixture(params=["period", "stream", "one request"])
def instance(request: pytest.FixtureRequest) -> Instance:
    data = load_instance(TINY).replace(BOUNDED).to_dict()
    if request.param == "period":
        return Instance.from_dict({**data, "objective": "period"})
    count = 1 if request.param == "one request" else 2
    return Instance.from_dict({**data, "workload": {"requests": [{"tokens": 4}] * count}})


@pytest.fixture
def file(instance: Instance, tmp_path: Path) -> str:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(instance.to_dict()))
    return str(path)


REFUSED: dict[str, Any] = {
    "compare": lambda given: mocap_opt.compare([given], ["mocap"]),
    "build_model": lambda given: mocap_opt.build_model(given, "joint"),
    "build_cp_model": lambda given: mocap_opt.build_cp_model(given, "joint"),
}


@pytest.mark.parametrize("question", REFUSED)
def test_functions_that_answer_for_one_prompt_refuse_other_objectives(
    question: str, instance: Instance
) -> None:
    for given in (instance, instance.to_dict()):
        with pytest.raises(InputError, match=rf"(objective|workload.requests): expected .* for {question}"):
            REFUSED[question](given)


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--methods", "mocap"),
        ("plot", "--kind", "gantt", "--out", "x.png"),
        ("plot", "--kind", "bounds", "--out", "x.png"),
        ("plot", "--kind", "compare", "--out", "x.png"),
        ("report", "--out", "x.html"),
        ("export", "--to", "x.mps"),
        ("max-length", "--equal-chunks"),
        ("bench",),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_commands_that_answer_for_one_prompt_refuse_other_objectives(
    command: tuple[str, ...],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(command[0], file, *command[1:], capsys=capsys)
    assert (code, out) == (2, "")
    assert f"for {command[0]}" in err
    assert "solve, evaluate" in err


def test_a_study_of_other_objectives_is_refused(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(f'methods = ["mocap"]\n[[instances]]\nfiles = ["{file}"]\n')
    code, _, err = run("study", "run", study, capsys=capsys)
    assert code == 2
    assert "for study" in err


def test_a_sweep_of_a_stream_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "stream.json"
    data = load_instance(TINY).to_dict()
    path.write_text(json.dumps({**data, "workload": {"requests": [{"tokens": 4}]}}))
    code, _, err = run("tradeoff", path, "--chunks", "auto", capsys=capsys)
    assert code == 2
    assert "workload.requests: expected one prompt for tradeoff" in err


def test_a_tradeoff_asks_for_what_the_instance_minimises(capsys: pytest.CaptureFixture[str]) -> None:
    period = ("--set", BOUNDED, "--set", "objective=period")
    code, out, _ = run("tradeoff", TINY, *period, "--time-limit", "1", capsys=capsys)
    assert code == 0
    assert "latency against period" in out
    code, out, _ = run("tradeoff", TINY, *period, "--objective", "latency", "--chunks", "auto", capsys=capsys)
    assert code == 0
    assert "latency against period" not in out


IGNORED_ONCE = {
    "execution": "lockstep",
    "deterministic_limit": 1.0,
    "threads": 2,
}
ONLY_FOR_A_PERIOD = {"method": "mocap", "solver": "highs"}


@pytest.mark.parametrize("option", [*IGNORED_ONCE, *ONLY_FOR_A_PERIOD])
def test_an_option_is_honoured_or_refused(
    option: str, instance: Instance, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {**IGNORED_ONCE, **ONLY_FOR_A_PERIOD}[option]
    if option in ONLY_FOR_A_PERIOD and not instance.workload.requests:
        assert mocap_opt.solve(instance, **{option: value}).report["status"] in ("optimal", "feasible")
        return
    with pytest.raises(InputError, match=f"^{option}: expected no such option with objective"):
        mocap_opt.solve(instance, **{option: value})
    name = "--" + option.replace("_", "-")
    code, out, err = run("solve", file, name, str(value), capsys=capsys)
    assert (code, out) == (2, "")
    assert f"{name}: expected no such option" in err


@pytest.mark.parametrize("option", ["--gantt", "--chunk-list", "--log", "--trace"])
def test_what_only_one_prompt_has_is_refused(
    option: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = [] if option in ("--gantt", "--chunk-list") else [tmp_path / "out"]
    code, out, err = run("solve", file, option, *value, capsys=capsys)
    assert (code, out) == (2, "")
    assert f"{option}: expected no such option" in err
    assert not (tmp_path / "out").exists()


def test_python_answers_every_objective_as_the_command_line_does(
    instance: Instance, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solution = mocap_opt.solve(instance)
    assert isinstance(solution, PeriodSolution | StreamSolution)
    report = solution.report if isinstance(solution, PeriodSolution) else solution.report.to_dict()
    plan = tmp_path / "plan.json"
    code, out, _ = run("solve", file, "--out", plan, "--json", capsys=capsys)
    shown = json.loads(out)
    assert code == 0
    key = "period_s" if "period_s" in report else "makespan_s"
    assert (shown[key], shown["lower_bound_s"]) == (report[key], report["lower_bound_s"])
    again = mocap_opt.evaluate(instance, json.loads(plan.read_text()))
    found = again.report if isinstance(again, PeriodSolution) else again.report.to_dict()
    assert found[key] == report[key]


def test_bounds_are_on_what_the_objective_minimises(
    instance: Instance, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables, bounds, impossible = mocap_opt.bound(instance)
    quick = mocap_opt.bound(instance, quick=True)[1]
    assert impossible is None
    assert bounds
    assert quick
    solution = mocap_opt.solve(instance)
    report = solution.report if isinstance(solution, PeriodSolution) else solution.report.to_dict()
    best = tables.seconds(max(b.ticks for b in bounds if b.scope.value.startswith("any")))
    assert best <= (report["period_s"] if "period_s" in report else report["makespan_s"])
    code, out, _ = run("bound", file, "--json", capsys=capsys)
    assert code == 0
    assert [row["bound_name"] for row in json.loads(out)["bounds"]] == [b.name for b in bounds]


@pytest.mark.parametrize("limit", [{"gap": -1.0}, {"time_limit_s": -1.0}, {"seed": -1}])
def test_limits_out_of_range_are_refused(limit: dict[str, Any], instance: Instance) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(limit))}: expected"):
        mocap_opt.solve(instance, **limit)
