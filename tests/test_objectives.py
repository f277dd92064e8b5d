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
from mocap_opt.studies.execution import perform
from mocap_opt.studies.tasks import Settings, Task

TINY = Path(__file__).parent.parent / "instances" / "tiny-slack.json"
BOUNDED = "pipeline.queue_depth=2"


def instance_of(kind: str) -> Instance:
    data = load_instance(TINY).replace(BOUNDED).to_dict()
    if kind == "period":
        return Instance.from_dict({**data, "objective": "period"})
    count = 1 if kind == "one request" else 2
    return Instance.from_dict({**data, "workload": {"requests": [{"tokens": 4}] * count}})


KINDS = ("period", "stream", "one request")


@pytest.fixture(params=KINDS)
def instance(request: pytest.FixtureRequest) -> Instance:
    return instance_of(request.param)


@pytest.fixture
def file(instance: Instance, tmp_path: Path) -> str:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(instance.to_dict()))
    return str(path)


REFUSED: dict[str, Any] = {
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


@pytest.mark.parametrize("kind", ["gantt", "bounds", "compare", "report"])
def test_pictures_and_pages_are_of_every_objective(
    kind: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = ("--methods", "gpipe,joint") if kind in ("compare", "report") else ()
    command = ("report", file) if kind == "report" else ("plot", file, "--kind", kind)
    out = tmp_path / ("page.html" if kind == "report" else "picture.svg")
    code, _, err = run(*command, *methods, "--time-limit", "1", "--out", out, capsys=capsys)
    assert (code, out.stat().st_size > 1000) == (0, True), err


def test_a_log_is_drawn_with_the_objective_s_name(
    instance: Instance, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, rows, picture = tmp_path / "log", tmp_path / "rows.json", tmp_path / "picture.svg"
    assert run("solve", file, "--time-limit", "1", "--log", log, capsys=capsys)[0] == 0
    code, out, _ = run("compare", file, "--methods", "gpipe,mocap", "--json", capsys=capsys)
    rows.write_text(out)
    for kind, source in (("bounds", log), ("compare", rows)):
        code, _, err = run("plot", file, "--kind", kind, "--from", source, "--out", picture, capsys=capsys)
        assert code == 0, err
        assert picture.exists()
        picture.unlink()


def test_a_study_takes_every_objective(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.toml"
    instances = {kind: instance_of(kind) for kind in KINDS} | {"plain": load_instance(TINY)}
    for kind, instance in instances.items():
        (tmp_path / f"{kind}.json").write_text(json.dumps({**instance.to_dict(), "name": kind}))
    files = json.dumps([f"{kind}.json" for kind in instances])
    text = f'methods = ["gpipe", "mocap"]\n[[instances]]\nfiles = {files}\n'
    study.write_text(text)
    code, _, err = run("study", "run", study, capsys=capsys)
    assert code == 0, err
    code, out, err = run("study", "table", study, "--json", capsys=capsys)
    assert code == 0, err
    assert all(gap >= 0 for row in json.loads(out) for gap in row.values() if isinstance(gap, float))
    frame = mocap_opt.studies.results(study)
    for kind in KINDS:
        column = "period_s" if kind == "period" else "makespan_s"
        alone = mocap_opt.compare([instances[kind]], ["gpipe", "mocap"])
        assert list(frame.loc[frame["instance"] == kind, column]) == list(alone[column])
    study.write_text('execution = "lockstep"\n' + text)
    code, _, err = run("study", "run", study, capsys=capsys)
    assert code == 2
    assert "execution: expected no such option" in err


def test_threads_reach_every_objective_in_studies_too(
    instance: Instance, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mocap_opt.solve(instance, threads=2, time_limit_s=1.0).report.settings["threads"] == 2
    given: list[int | None] = []

    def solve(*arguments: Any, **options: Any) -> Any:
        given.append(options["threads"])
        return mocap_opt.solve(*arguments, **options)

    monkeypatch.setattr("mocap_opt.studies.execution.solve", solve)
    settings = Settings("gpipe", "auto", "best", 0, 1.0, 1e-4, 2)
    outcome = perform(Task("latency", instance.to_dict(), "one", instance.fingerprint, {}, settings))
    assert (outcome.failed, given) == (False, [2]), outcome.row


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
}
ONLY_FOR_A_PERIOD = {"solver": "highs"}


@pytest.mark.parametrize("option", [*IGNORED_ONCE, *ONLY_FOR_A_PERIOD])
def test_an_option_is_honoured_or_refused(
    option: str, instance: Instance, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {**IGNORED_ONCE, **ONLY_FOR_A_PERIOD}[option]
    if option in ONLY_FOR_A_PERIOD and not instance.workload.requests:
        assert mocap_opt.solve(instance, **{option: value}).report.value_s is not None
        return
    with pytest.raises(InputError, match=f"^{option}: expected no such option with objective"):
        mocap_opt.solve(instance, **{option: value})
    name = "--" + option.replace("_", "-")
    code, out, err = run("solve", file, name, str(value), capsys=capsys)
    assert (code, out) == (2, "")
    assert f"{name}: expected no such option" in err


@pytest.mark.parametrize("option", ["--gantt", "--chunk-list", "--trace"])
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
    report = solution.report.to_dict()
    plan = tmp_path / "plan.json"
    code, out, _ = run("solve", file, "--out", plan, "--json", capsys=capsys)
    shown = json.loads(out)
    assert code == 0
    key = "period_s" if "period_s" in report else "makespan_s"
    assert (shown[key], shown["lower_bound_s"]) == (report[key], report["lower_bound_s"])
    again = mocap_opt.evaluate(instance, json.loads(plan.read_text()))
    assert again.report.to_dict()[key] == report[key]


def test_bounds_are_on_what_the_objective_minimises(
    instance: Instance, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tables, bounds, impossible = mocap_opt.bound(instance)
    quick = mocap_opt.bound(instance, quick=True)[1]
    assert impossible is None
    assert bounds
    assert quick
    solution = mocap_opt.solve(instance)
    report = solution.report
    best = tables.seconds(max(b.ticks for b in bounds if b.scope.value.startswith("any")))
    assert best <= report.value_s
    code, out, _ = run("bound", file, "--json", capsys=capsys)
    assert code == 0
    assert [row["bound_name"] for row in json.loads(out)["bounds"]] == [b.name for b in bounds]


@pytest.mark.parametrize("limit", [{"gap": -1.0}, {"time_limit_s": -1.0}, {"seed": -1}])
def test_limits_out_of_range_are_refused(limit: dict[str, Any], instance: Instance) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(limit))}: expected"):
        mocap_opt.solve(instance, **limit)


def test_compare_sets_the_objective_s_own_figure_against_the_best_bound_of_all(
    instance: Instance, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = ["gpipe", "mocap", "joint"]
    frame = mocap_opt.compare([instance], methods, full=True, time_limit_s=1.0)
    figure = {"period": "period_s", "stream": "makespan_s"}[frame["objective"][0]]
    assert list(frame["method"]) == methods
    assert frame["lower_bound_s"].nunique() == 1
    gaps = 1 - frame["lower_bound_s"] / frame[figure]
    assert frame["gap"].to_numpy() == pytest.approx(gaps.to_numpy(), abs=1e-9)
    assert frame[figure].min() == frame[figure][2]
    assert (frame[[f"lockstep_{figure}", f"event_{figure}"]].min(axis=1) == frame[figure]).all()
    code, out, _ = run("compare", file, "--methods", "gpipe,mocap", capsys=capsys)
    assert code == 0
    assert figure.removesuffix("_s") in out
    code, _, err = run("compare", file, "--deterministic-limit", "2", capsys=capsys)
    assert code == 2
    assert "--deterministic-limit: expected no such option" in err


def test_a_method_of_a_stream_runs_its_plans_one_after_the_other() -> None:
    data = load_instance(TINY).to_dict()
    requests = [{"tokens": 4, "release": 3e-5}, {"tokens": 3}, {"tokens": 4}]
    for order, wanted in (("free", (1, 2, 0)), ("given", (0, 1, 2))):
        stream = Instance.from_dict({**data, "workload": {"requests": requests, "order": order}})
        solution = mocap_opt.solve(stream, "gpipe", time_limit_s=1.0)
        assert solution.schedule is not None
        assert solution.schedule.order == wanted
        assert solution.report.method == "gpipe"
    with pytest.raises(InputError, match="no-such"):
        mocap_opt.solve(stream, "no-such")
