"""Plans that hold a layout: files, evaluation, pictures, and everything that wants one layout."""

from __future__ import annotations

import json

import pytest
from command_line import run
from toy_instances import TOY, merged, toy

import mocap_opt
from mocap_opt.cli.outputs import load_given_plan, save_answer
from mocap_opt.errors import InputError
from mocap_opt.instance import StageLayout
from mocap_opt.schedule.plan_file import load_plan, plan_from_dict, plan_to_dict, save_plan

OPEN = {"pipeline": {"stages": "auto", "dies_per_stage": "auto", "layers": "auto", "placement": "auto"}}
FREE = toy(**OPEN)
CHOICE = StageLayout((((0, 0), (0, 1), (1, 1)), ((0, 2), (1, 2)), ((0, 3),)), (1, 2, 1))
DECIDED = FREE.with_layout(CHOICE)


@pytest.fixture(scope="module")
def solution():
    return mocap_opt.solve(DECIDED)


@pytest.fixture
def files(tmp_path, solution):
    instance, plan = tmp_path / "free.json", tmp_path / "plan.json"
    instance.write_text(json.dumps(merged(TOY, OPEN)))
    save_plan(plan, solution.plan, FREE.name, solution.tables)
    return instance, plan


def test_a_solved_layout_stands_in_its_plan(solution):
    assert solution.plan.layout == CHOICE
    assert solution.plan.fingerprint == solution.report.fingerprint == FREE.fingerprint


def test_round_trip(files, solution):
    text = files[1].read_text()
    assert (
        '  "layout": {"dies": [[[0, 0], [0, 1], [1, 1]], [[0, 2], [1, 2]], [[0, 3]]], "layers": [1, 2, 1]},\n'
        in text
    )
    assert load_plan(files[1], solution.tables) == solution.plan
    data = json.loads(text)
    assert plan_to_dict(solution.plan, FREE.name, solution.tables) == data
    for plan in (data, solution.plan, solution.schedule):
        judged = mocap_opt.evaluate(FREE, plan)
        assert judged.report.latency_s == solution.report.latency_s
        assert judged.report.fingerprint == FREE.fingerprint
        assert judged.report.notes == [
            "the bounds are those of the plan's layout: another layout may be better"
        ]


def test_periods_and_streams_hold_it_too(tmp_path):
    for number, changes in enumerate(
        (
            {"objective": "period"},
            {"objective": "stream", "workload": {"requests": [{"tokens": 10}, {"tokens": 6}]}},
        )
    ):
        free = toy(**OPEN, **changes)
        found = mocap_opt.solve(free.with_layout(CHOICE), method="mocap")
        assert {each.plan.layout for each in found.schedule} == {CHOICE}
        data = merged(merged(TOY, OPEN), changes)
        file, plan = tmp_path / f"{number}.json", tmp_path / f"plan-{number}.json"
        file.write_text(json.dumps(data))
        save_answer(str(plan), found)
        assert [each.plan.layout for each in load_given_plan(str(plan), free)] == [CHOICE] * len(
            found.schedule
        )
        judged = mocap_opt.evaluate(free, json.loads(plan.read_text()))
        assert judged.report.value_s == found.report.value_s


def test_layouts_in_plans_that_are_refused(solution):
    data = plan_to_dict(solution.plan, "toy", solution.tables)

    def reasons(layout) -> str:
        with pytest.raises(InputError) as raised:
            mocap_opt.evaluate(FREE, {**data, "layout": layout})
        return str(raised.value)

    assert "layout: expected a layout, as the instance leaves pipeline.stages open" in reasons(None)
    assert "layout.dies" in reasons({"layers": [4]})
    assert "layout.rows: expected no such key" in reasons({**CHOICE.to_dict(), "rows": 2})
    assert "layout.dies[0][0]: expected a die" in reasons({"dies": [[[0]]], "layers": [4]})
    lost = reasons({"dies": [[[0, 0], [9, 9]], [[0, 0]]], "layers": [1, 1]})
    assert "[9, 9]" in lost
    assert "used at layout.dies[0][0]" in lost
    assert "a sum of 2" in lost
    with pytest.raises(InputError, match=r"layout.dies: expected 2, as the instance has, got 3 stages"):
        plan_from_dict(data, mocap_opt.build_tables(toy()))


def test_a_layout_that_an_instance_gives_is_no_news(solution):
    given = toy(
        pipeline={
            "stages": 3,
            "dies_per_stage": [3, 2, 1],
            "layers": [1, 2, 1],
            "placement": CHOICE.dies,
            "degrees": "divide-heads",
        }
    )
    judged = mocap_opt.evaluate(given, solution.plan)
    assert judged.report.latency_s == solution.report.latency_s
    with pytest.raises(InputError, match=r"layout.dies: expected pipeline.stages: 2, got 3 stages"):
        mocap_opt.evaluate(toy(), solution.plan)


def test_commands_take_the_plans_layout(files, solution, tmp_path, capsys):
    file, plan = files
    code, out, _ = run("evaluate", file, plan, "--json", capsys=capsys)
    assert (code, json.loads(out)["latency_s"]) == (0, solution.report.latency_s)
    assert json.loads(out)["layout"] == solution.report.layout == CHOICE.to_dict()
    code, out, _ = run("show", file, plan, "--json", capsys=capsys)
    shown = json.loads(out)
    assert code == 0
    assert shown["instance"] == FREE.to_dict()
    assert [(row["layers"], len(row["dies"]), row["degree"]) for row in shown["stages"]] == [
        (1, 3, 2),
        (2, 2, 2),
        (1, 1, 1),
    ]
    assert "2+1" in run("show", file, plan, capsys=capsys)[1]
    for command in ("plot", "report"):
        pytest.importorskip({"plot": "matplotlib", "report": "bokeh"}[command])
        out = tmp_path / f"out.{'png' if command == 'plot' else 'html'}"
        kind = ["--kind", "mesh"] if command == "plot" else []
        assert run(command, file, plan, *kind, "--out", out, capsys=capsys)[0] == 0
        assert out.stat().st_size > 1000
    code, _, err = run("evaluate", file, plan, "--set", "wafer.dead_dies=[[0,1]]", capsys=capsys)
    assert code == 2
    assert "layout.dies[0][1]: expected a living die" in " ".join(err.split())


def test_show_and_check_say_what_is_open(files, capsys):
    code, out, _ = run("check", files[0], capsys=capsys)
    assert code == 0
    assert "open: stages, dies_per_stage, layers, placement" in out
    code, out, _ = run("show", files[0], "--json", capsys=capsys)
    assert json.loads(out)["open"] == {
        "fields": ["stages", "dies_per_stage", "layers", "placement"],
        "stages": [1, 2, 3, 4],
        "degrees": [1, 2],
        "living_dies": 8,
    }
    wide = ("--set", "model.heads=8", "--set", "pipeline.stages=1")
    assert "costs.efficiency is 0.5 at every degree: 8 dies" in run("show", files[0], *wide, capsys=capsys)[1]
    assert (
        "every degree"
        not in run("show", files[0], *wide, "--set", 'costs.efficiency={"1": 0.5, "8": 0.4}', capsys=capsys)[
            1
        ]
    )


@pytest.mark.parametrize(
    "command",
    [
        ("tables", "--out", "OUT.json"),
        ("export", "--to", "OUT.mps"),
        ("max-length",),
        ("timings", "--out", "OUT.csv"),
        ("compare", "--methods", "gpipe"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_what_needs_one_layout_says_so(command, files, tmp_path, capsys):
    arguments = [word.replace("OUT", str(tmp_path / "out")) for word in command[1:]]
    code, _, err = run(command[0], files[0], *arguments, capsys=capsys)
    said = " ".join(err.split())
    assert code == 2
    assert "1 problem in the input" in said
    assert "pipeline.stages: expected one layout, since tables and times are those of given stages" in said
    assert 'got "auto" (--set pipeline.stages=14' in said
