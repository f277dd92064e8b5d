"""The period's page and code hold together: families in order, and the worked example."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from builders import make_tables
from period_oracle import brute_force_period

from mocap_opt.bounds.period import period_bounds
from mocap_opt.formulations import period as program
from mocap_opt.formulations import period_cpsat as program_cpsat
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.period_search import best_period

PAGE = (Path(__file__).parent.parent / "formulations" / "period.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\|.*\| `(\w+)` \| `([\w.]+)` \|$", re.MULTILINE)


def test_page_lists_the_families_of_the_code_in_order() -> None:
    in_code = [
        (name, f"{function.__module__.rpartition('.')[2]}.{function.__name__}")
        for families in (program.FAMILIES, program_cpsat.FAMILIES)
        for name, function in families
    ]
    assert ROW.findall(PAGE) == in_code


def test_the_built_model_has_components_of_these_names() -> None:
    model = program.build(make_tables(queue_depth=1), 2)
    assert model is not None
    built = [c.name for c in model.component_objects(program.pyo.Constraint)]
    assert built == [name for name, _ in program.FAMILIES]


@pytest.mark.parametrize("solve", [program.solve_period, program_cpsat.solve_period], ids=["highs", "cpsat"])
def test_worked_example(solve) -> None:
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    case = json.loads(found[1])
    tables = make_tables(**case["tables"])
    assert brute_force_period(tables, 1) is None
    assert solve(tables, 1).outcome.status is Status.INFEASIBLE
    assert solve(tables, case["slots"]).outcome.objective == case["optimum"]
    bounds = {bound.name: bound.ticks for bound in period_bounds(tables)[0]}
    assert bounds["work_and_memory"] == case["bound"]
    best = best_period(tables).best
    assert best is not None
    assert (best.period, best.schedule.slots) == (case["optimum"], case["slots"])


def test_page_names_every_bound() -> None:
    tables = make_tables(activation_bytes=1, link_rate=1, queue_depth=1)
    names = {bound.name for bound in period_bounds(tables)[0]}
    assert names == {"compute_total", "link_load", "work_and_memory", "slots_and_memory", "listed_partitions"}
    assert [name for name in names if f"`{name}`" not in PAGE] == []
