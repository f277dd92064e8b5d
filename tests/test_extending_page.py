"""The page on extending holds: what it says to write is written out and used, as a package and in a tree."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import product
from pathlib import Path

import pyomo.environ as pyo
import pytest
from command_line import run
from oracle import brute_force, least_price
from plugin_distribution import describe
from random_tables import random_instances

import mocap_opt
from mocap_opt.bounds import Scope
from mocap_opt.plugins import plugins

ROOT = Path(__file__).parent.parent
SLACK = ROOT / "instances" / "tiny-slack.json"
PAGE = (ROOT / "formulations" / "extending.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FILE.findall(PAGE)
BESIDE = "extras/"


def write(folder: Path, name: str, text: str) -> None:
    """Write a new file, or add lines to one that is there, as the page says."""
    file = folder / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return
    there = file.read_text(encoding="utf-8")
    imports, _, lines = text.rpartition("...\n")
    anchor, _, added = lines.partition("\n")
    for at, new in (("from __future__ import annotations", imports), (anchor, added)):
        if new:
            assert there.count(f"\n{at}\n") == 1, f"{name} has no line, or several: {at}"
            there = there.replace(f"\n{at}\n", f"\n{at}\n{new}")
    file.write_text(there, encoding="utf-8")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The page's package, as an installer leaves it."""
    for name, text in BLOCKS:
        if name.startswith(BESIDE):
            write(tmp_path, name, text)
    folder = tmp_path / BESIDE
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    entries = "".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in entry.items())
        for group, entry in project["entry-points"].items()
    )
    describe(folder, project["name"], project["version"], entries)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("taper", "pace"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return folder


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> object:
    code, out, error = run(*arguments, "--json", capsys=capsys)
    assert code == 0, error
    return json.loads(out)


def test_the_package_is_found_and_listed(package, capsys):
    assert {plugin.name for plugin in plugins() if plugin.distribution == "extras"} == {"taper", "pace"}
    rows = [row for row in answer(capsys, "methods") if row["origin"] == "extras 1.0"]
    assert sorted((row["kind"], row["name"]) for row in rows) == [
        ("method", "pace"),
        ("method", "taper"),
        ("model", "pace"),
    ]
    assert all(row["summary"] and not row["problem"] for row in rows)


def test_the_heuristic_proposes_verified_plans(package, capsys):
    report = answer(capsys, "solve", SLACK, "--method", "taper")
    assert (report["boundaries"], report["latency_s"]) == ([0, 1, 2, 3, 4], pytest.approx(66e-6))
    propose = importlib.import_module("taper").propose
    plans = 0
    for tables in random_instances(3, 80):
        plan = propose(tables).plan
        plans += plan is not None
        assert plan is None or mocap_opt.violations(tables, plan) == []
    assert plans > 10


def test_the_program_reaches_the_optimum_the_page_states(package, capsys):
    found = re.search(r"`pace` proves (\d+) us\. The best plan needs a send besides, (\d+) us", PAGE)
    assert found is not None
    proved, best = map(int, found.groups())
    solution = mocap_opt.solve(mocap_opt.load_instance(SLACK), "pace")
    assert {bound.name: bound.ticks for bound in solution.lower_bounds}["pace"] == proved
    assert solution.assessment.latency == best
    model = mocap_opt.build_model(mocap_opt.load_instance(SLACK), "pace")
    page = next(text for name, text in BLOCKS if name == "formulations/pace.md")
    assert all(f"`{c.name}`" in page for c in model.component_objects(pyo.Constraint))
    gaps = answer(capsys, "compare", SLACK, "--methods", "taper,pace,mocap")
    assert {row["status"] for row in gaps} == {"optimal"}


def test_no_plan_beats_the_program(package):
    program = importlib.import_module("pace").PROGRAM
    assert program.scope is Scope.ANY_EXECUTION
    limits = {"time_limit_s": None, "gap": 0.0, "seed": 0, "callback": None}
    near = {1: 0, 10**8: 0}
    for small, factor in product(random_instances(4, 25), near):
        # Times of 10^10 ticks, as on real instances, must not be too long for the solver.
        tables = replace(small, phi=factor * small.phi, length_cost=factor * small.length_cost)
        optimum = brute_force(tables, least_price)
        if optimum is not None:
            bound = program.solve(tables, None, **limits).outcome.bound
            assert bound <= optimum.value, tables.name
            near[factor] += bound >= 0.8 * optimum.value
    assert min(near.values()) >= 5


def test_no_plan_beats_the_bound(tmp_path, monkeypatch):
    name = "mocap_opt/bounds/last_chunk.py"
    write(tmp_path, name, dict(BLOCKS)[name])
    monkeypatch.syspath_prepend(str((tmp_path / name).parent))
    last_chunk = importlib.import_module("last_chunk").last_chunk
    seen = 0
    for tables in random_instances(5, 60):
        optimum = brute_force(tables, least_price)
        if optimum is not None:
            bound = last_chunk(tables)
            # Above the work of the first stage: the last chunk has to run on the others too.
            assert tables.phi[0, -1] - tables.phi[0, 0] < bound.ticks <= optimum.value, tables.name
            seen += 1
    assert seen > 30


def test_lines_for_files_of_the_tree_find_their_place(tree):
    names = [name for name, _ in BLOCKS if not name.startswith(BESIDE)]
    assert {name for name in names if (ROOT / name).exists()} == {
        "mocap_opt/instance/objectives.py",
        "formulations/streams.md",
        "mocap_opt/baselines/registry.py",
        "formulations/heuristics.md",
        "mocap_opt/formulations/registry.py",
        "formulations/README.md",
        "mocap_opt/bounds/registry.py",
        "formulations/bounds.md",
        "formulations/joint.md",
        "mocap_opt/formulations/joint.py",
        "mocap_opt/formulations/joint_cpsat.py",
        "mocap_opt/schedule/verify.py",
    }
    code = (
        "import mocap_opt; from mocap_opt.bounds import BOUNDS, QUICK; "
        "from mocap_opt.formulations.registry import BUILT_IN; "
        "print(mocap_opt.__file__); "
        "print('taper' in mocap_opt.METHODS, 'pace' in BUILT_IN, {'last_chunk'} <= set(QUICK) <= set(BOUNDS))"
    )
    place, known = in_tree(tree, "-c", code).splitlines()
    assert Path(place).is_relative_to(tree)
    assert known == "True True True"


@pytest.fixture
def tree(tmp_path):
    """A copy of the tree with everything the page says to write in it."""
    for folder in ("mocap_opt", "formulations", "tests"):
        leave = shutil.ignore_patterns("__pycache__", "*.sqlite*")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave)
    (tmp_path / "instances").symlink_to(ROOT / "instances")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, text in BLOCKS:
        if not name.startswith(BESIDE):
            write(tmp_path, name, text)
    write(tmp_path, "mocap_opt/formulations/pace.py", dict(BLOCKS)["extras/pace.py"])
    return tmp_path


def in_tree(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_programs_reach_the_optimum_under_the_constraint_and_the_objective_is_answered(tree):
    tests = ("tests/test_link_limit.py", "tests/test_makespan_and_completions.py")
    assert "passed" in in_tree(tree, "-m", "pytest", "-p", "no:cacheprovider", *tests)
    # Nothing but its row tells the command line of an objective.
    data = json.loads(SLACK.read_text())
    data |= {
        "objective": "makespan-and-completions",
        "workload": {"requests": [{"tokens": 4}, {"tokens": 1}]},
    }
    (tree / "stream.json").write_text(json.dumps(data))
    asked = ("-m", "mocap_opt.cli", "compare", "stream.json", "--methods", "gpipe,joint", "--time-limit", "1")
    first, joint = json.loads(in_tree(tree, *asked, "--json"))
    assert joint["lower_bound_s"] <= joint["makespan_and_completions_s"] < first["makespan_and_completions_s"]


def test_the_page_lists_the_files_of_the_objective():
    listed = re.findall(r"^\| `([\w/.]+)` \| [^|]*\|$", PAGE.partition("### An objective")[2], re.MULTILINE)
    section = PAGE.partition("### An objective")[2].partition("\n### ")[0]
    assert {name for name, _ in FILE.findall(section)} == set(listed[:5])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "chosen"),
    [
        ("test_heuristics_methods.py", "taper or page_names or verified or reasons"),
        ("test_formulation_pages.py", "models or families or readme or pace"),
        ("test_bounds_property.py", "optimum_beats_a_bound or last_chunk"),
    ],
)
def test_the_tests_named_on_the_page_hold_in_the_tree(tree, file, chosen):
    assert f"tests/{file}`" in PAGE
    arguments = ("-m", "pytest", "-p", "no:cacheprovider", f"tests/{file}", "-k", chosen)
    assert "passed" in in_tree(tree, *arguments)
