"""Tables as a file: exact both ways, like the page says, and enough for a checker that is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import foreign_checker
import numpy as np
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import random_instances

from mocap_opt.cli import main
from mocap_opt.errors import InputError
from mocap_opt.instance import load_instance
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.plan_file import plan_to_dict, save_plan
from mocap_opt.schedule.verify import memory_use, violations
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.table_fields import AXES, FIELDS
from mocap_opt.tables.tables_file import load_tables, save_tables, tables_from_dict, tables_to_dict

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted((ROOT / "instances").glob("*.json"))
CHECKER = ROOT / "tests" / "foreign_checker.py"


def same(left: Tables, right: Tables) -> bool:
    pairs = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(Tables)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


# --- the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_tables_of_shipped_instances_survive_the_way_through_a_file(file, tmp_path):
    tables, path = build_tables(load_instance(file)), tmp_path / "tables.json"
    save_tables(path, tables, "0123")
    assert same(load_tables(path), tables)
    data = json.loads(path.read_text())
    assert data == tables_to_dict(tables, "0123")
    for name, field in data["fields"].items():
        shape = tuple(data["dimensions"][axis] for axis in field.get("axes", ()))
        assert np.shape(field["value"]) == shape, name
    assert "." not in json.dumps([field["value"] for field in data["fields"].values()][1:26])


def test_random_tables_and_large_integers_survive():
    for tables in random_instances(7, 100):
        assert same(tables_from_dict(json.loads(json.dumps(tables_to_dict(tables)))), tables)
    huge = make_tables(2, 2, capacity=2**62 + 1)
    huge = replace(huge, overlap=Fraction(1, 3), queue_depth=None, name='é "quoted"')
    assert same(tables_from_dict(json.loads(json.dumps(tables_to_dict(huge)))), huge)


def test_page_and_code_name_the_same_fields_axes_units_and_rounding():
    page = (ROOT / "formulations" / "notation.md").read_text(encoding="utf-8")
    table = page[page.index("## The tables") : page.index("## Tables as a file")]
    cells = [
        [cell.strip(" `") for cell in line.replace("`", "").split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    described = [
        [f.name, f"[{', '.join(f.axes)}]" if f.axes else "", f.unit, f.meaning, f.rounded] for f in FIELDS
    ]
    assert cells[-len(FIELDS) :] == described
    assert [cell[:2] for cell in cells[1 : 1 + len(AXES)]] == [list(axis) for axis in AXES.items()]
    assert [f.name for f in FIELDS] == [f.name for f in fields(Tables)]


# --- what is refused ---------------------------------------------------------------------------


def field_set(name, value):
    def change(data):
        data["fields"][name]["value"] = value

    return change


def key_set(*path_and_value):
    *path, last, value = path_and_value

    def change(data):
        for key in path:
            data = data[key]
        data[last] = value

    return change


WRONG = [
    (key_set("version", 2), "version: expected 1, got 2"),
    (key_set("version", True), "version: expected 1, got true"),
    (key_set("kind", "plan"), 'kind: expected "tables"'),
    (key_set("fields", []), "fields: expected an object"),
    (key_set("extra", 1), "extra: expected no such key"),
    (key_set("fields", "phy", {"value": 1}), 'did you mean "phi"'),
    (lambda data: data["fields"].pop("phi"), "fields.phi: expected this required key"),
    (key_set("fields", "phi", 7), 'fields.phi: expected an object with the key "value"'),
    (key_set("fields", "phi", "unit", "s"), 'fields.phi.unit: expected "ticks"'),
    (key_set("fields", "phi", "axes", ["stage"]), "fields.phi.axes: expected"),
    (key_set("dimensions", "stage", 3), "dimensions: expected"),
    (field_set("phi", 1), "fields.phi.value: expected a list over axis stage, got 1"),
    (field_set("phi", [[0, 1, 2], [0, 1]]), "got 2"),
    (field_set("phi", [[0, 1.5, 2], [0, 1, 2]]), "got 1.5"),
    (field_set("phi", [[0, True, 2], [0, 1, 2]]), "got true"),
    (field_set("phi", [[0, -1, 2], [0, 1, 2]]), "got -1"),
    (field_set("phi", [[0, 2**63, 2], [0, 1, 2]]), "got 9223372036854775808"),
    (field_set("capacity", [1, 2, 3]), "3 entries|entries over axis memory"),
    (field_set("capacity", [1]), "entries over axis memory"),
    (field_set("grid", [0, 2, 3]), "fields.grid.value: expected multiples of the quantum"),
    (field_set("grid", [0, 1, 1]), "fields.grid.value"),
    (field_set("page", 2), "fields.page.value: expected a divisor of the quantum"),
    (field_set("max_chunks", 0), "fields.max_chunks.value: expected a whole number from 1"),
    (field_set("queue_depth", 0), "from 1, or null"),
    (field_set("exact_chunks", 1), "true or false"),
    (field_set("tick_s", "0"), "more than 0"),
    (field_set("tick_s", 1e-9), 'a fraction, such as "1/1000"'),
    (field_set("tick_s", "1/0"), "a fraction"),
    (field_set("overlap", "3/2"), "at most 1"),
    (field_set("link_rate", [0, 1]), "whole numbers from 1"),
    (field_set("links", ["a", "a"]), "one of them twice"),
    (field_set("links", ["a", None]), "different texts"),
    (field_set("share", [[[0, 2], [0, 0]], [[0, 0], [1, 0]]]), "at most share_denominator"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_files_are_refused_with_the_place(change, message):
    data = json.loads(json.dumps(tables_to_dict(make_tables(2, 2))))
    tables_from_dict(data)
    change(data)
    with pytest.raises(InputError, match=message):
        tables_from_dict(data)


def test_all_problems_are_reported_with_the_name_of_the_file(tmp_path):
    data = tables_to_dict(make_tables(2, 2))
    data["version"], data["fields"]["page"]["value"] = 3, None
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"(?s)wrong\.json: version.*wrong\.json: fields\.page"):
        load_tables(path)


# --- the command -------------------------------------------------------------------------------


def test_the_command_writes_a_file_that_reads_back(tmp_path, capsys):
    out, file = tmp_path / "tables.json", ROOT / "instances" / "tiny-pooled.json"
    with pytest.raises(SystemExit, match="0"):
        main(["tables", str(file), "--out", str(out), "--set", "workload.batch=2"])
    instance = load_instance(file, ["workload.batch=2"])
    assert same(load_tables(out), build_tables(instance))
    assert json.loads(out.read_text())["fingerprint"] == instance.fingerprint
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-file.json", "--out", "x.json"], "no-such-file.json"),
        (["tiny-pooled.json", "--out", "no/such/folder/x.json"], "no such directory"),
        (["tiny-pooled.json", "--out", "."], "a directory"),
        (["tiny-pooled.json", "--out", "x.json", "--set", "pipeline.stages=0"], "pipeline.stages"),
        (["tiny-pooled.json"], "--out"),
    ],
)
def test_bad_calls_are_exit_code_2_and_leave_no_file(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny-pooled.json").write_text((ROOT / "instances" / "tiny-pooled.json").read_text())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["tables", *arguments])
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-pooled.json"]


# --- a checker that is not ours ----------------------------------------------------------------


def judged(tables: Tables, plan: Plan) -> dict:
    files = tables_to_dict(tables), plan_to_dict(plan, tables.name, tables)
    return foreign_checker.check(*(json.loads(json.dumps(file)) for file in files))


def assert_agrees(tables: Tables, plan: Plan) -> None:
    answer, replay = judged(tables, plan), replay_lockstep(tables, plan)
    assert answer["memory"] == memory_use(tables, plan).tolist()
    assert (answer["work"], answer["exchange"]) == (replay.work.tolist(), replay.exchange.tolist())
    assert answer["latency_ticks"] == replay.latency
    assert len(answer["broken"]) == len(violations(tables, plan))


def test_the_checker_agrees_on_a_case_worked_by_hand():
    # formulations/replay.md: 10 ticks a token, 30 bytes a page, 2 bytes a tick; one page must leave.
    tables = make_tables(2, 2, linear=10, token_bytes=30, capacity=[30, 90], link_rate=2)
    plan = Plan((0, 1, 2), (Home(0, 1, 1, 1),))
    answer = judged(tables, plan)
    assert answer == {
        "broken": [],
        "memory": [[30, 30, 0], [0, 60, 60]],
        "work": [10, 15, 10],
        "exchange": [0, 0, 0],
        "latency_ticks": 35,
    }
    assert judged(tables, Plan((0, 1, 2)))["broken"] == ["memory 0 is 30 bytes short in slot 1"]


def test_the_checker_agrees_on_random_plans():
    rng, feasible, remote = np.random.default_rng(5), 0, 0
    for tables in random_instances(11, 300):
        plan = random_plan(tables, rng, scatter=0.5)
        if plan is None:
            continue
        assert_agrees(tables, plan)
        feasible += 1
        remote += bool(plan.homes)
        local = Plan(plan.boundaries)
        assert_agrees(tables, local)
    assert feasible > 150
    assert remote > 80


# The checker is plain Python: every other large instance is enough in the usual run.
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[] if "tiny" in file.stem or n % 2 else pytest.mark.slow, id=file.stem)
        for n, file in enumerate(SHIPPED)
    ],
)
def test_the_checker_agrees_on_shipped_instances(file):
    tables, rng = build_tables(load_instance(file)), np.random.default_rng(1)
    plan = random_plan(tables, rng, scatter=0.1)
    if plan is None:
        chunks = max(tables.counts)
        cuts = np.unique(np.linspace(0, tables.steps, chunks + 1).astype(int))
        # Feasible or not, both must say the same.
        plan = Plan.from_arrays(tables, cuts)
    assert_agrees(tables, plan)


def test_the_checker_and_the_rules_agree_on_what_is_broken():
    tables = make_tables(2, 4, min_length=1, max_length=2, max_chunks=3)
    plans = [
        Plan((0, 1, 2, 3, 4)),
        Plan((0, 3, 4)),
        Plan((0, 2)),
        Plan((0, 2, 2, 4)),
        Plan((0, 2, 4), (Home(0, 0, 1, 3),)),
        Plan((0, 2, 4)),
    ]
    for plan in plans:
        assert bool(judged(tables, plan)["broken"]) == bool(violations(tables, plan)), plan
    assert not violations(tables, plans[-1])


def test_the_checker_runs_where_nothing_is_installed(tmp_path):
    instance = load_instance(ROOT / "instances" / "tiny-pooled.json")
    tables = build_tables(instance)
    plan = Plan((0, 2, 4), (Home(0, 1, 1, 1), Home(1, 1, 0, 1)))
    save_tables(tmp_path / "tables.json", tables)
    save_plan(tmp_path / "plan.json", plan, instance.name, tables)
    # -I -S: no site-packages, so neither this project nor numpy can be imported.
    files = [tmp_path / "tables.json", tmp_path / "plan.json"]
    out = subprocess.check_output([sys.executable, "-I", "-S", CHECKER, *files], text=True)
    answer = json.loads(out)
    assert answer["broken"] == []
    assert answer["latency_ticks"] == replay_lockstep(tables, plan).latency
    assert answer["memory"] == memory_use(tables, plan).tolist()


READ = """phi full_block memory_side prefix_cost length_cost send activation_bytes page_bytes prefix_bytes
static staging working_bytes own_traffic port_rate link_rate share hop_ticks capacity""".split()


@pytest.mark.parametrize("name", READ)
def test_the_checker_depends_on_every_table(name):
    rng = np.random.default_rng(3)
    for tables in random_instances(31, 80):
        plan = random_plan(tables, rng, scatter=0.7)
        if plan is None:
            continue
        old = getattr(tables, name)
        changed = replace(tables, **{name: old // 3 if name == "capacity" else 3 * old + 7})
        if judged(changed, plan) != judged(tables, plan):
            return
    pytest.fail(f"{name} changes nothing")
