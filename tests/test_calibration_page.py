"""The page on calibration holds: its columns, coefficients, worked example and figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds import Scope, best, lower_bounds
from mocap_opt.calibration import FORMS, NAMES, fit_forms, fit_timings, read_timings
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.timings import COLUMNS
from mocap_opt.replay.evaluation import assess
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables import build_tables

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "formulations" / "calibration.md").read_text(encoding="utf-8")
MEASURED = load_instance(ROOT / "instances" / "llama-3.1-70b-pjlab-measured.json")


def test_columns_and_coefficients_are_those_of_the_code() -> None:
    columns = PAGE.partition("## Coefficients")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", columns, re.MULTILINE)) == COLUMNS
    assert set(re.findall(r"^\| \w+ \| `(\w+)` \|", PAGE, re.MULTILINE)) == set(NAMES)


def test_the_worked_example() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    case = json.loads(found[1])
    data = {
        "version": 1,
        "name": "worked example",
        "model": "llama-3.1-8b",
        "wafer": "pjlab-5x4",
        "pipeline": {"stages": 2},
        "workload": {"tokens": 2048},
        "chunking": {"max_chunks": 2, "quantum": 1024},
        "costs": case["costs"],
    }
    tables = build_tables(Instance.from_dict(data))
    latencies = {
        boundaries: assess(tables, Plan(boundaries)).latency for boundaries in ((0, 2048), (0, 1024, 2048))
    }
    least = min(latencies, key=lambda boundaries: latencies[boundaries])
    assert list(least) == case["boundaries"]
    # Sends take some microseconds.
    assert 1e3 * tables.seconds(latencies[least]) == pytest.approx(case["latency_ms"], abs=0.02)
    bound = best(lower_bounds(tables), {Scope.ANY_EXECUTION})
    assert bound is not None
    assert 1e3 * tables.seconds(bound.ticks) == pytest.approx(case["latency_ms"], abs=0.02)


def test_the_residuals_of_the_shipped_timings() -> None:
    found = re.search(r"off by ([\d.]+) % at most and ([\d.]+) % RMS", PAGE)
    assert found is not None
    (fit,) = fit_timings(read_timings(ROOT / "instances" / "timings" / "llama-3.1-70b-pjlab.csv"))
    figures = fit.to_dict()
    stated = [float(text) for text in found.groups()]
    shown = [figures["largest_relative_residual"], figures["rms_relative_residual"]]
    assert [round(100 * part, 2) for part in shown] == stated


FORMS_SECTION = PAGE.partition("## Forms")[2].partition("\n## ")[0]
MEASURED_TABLES = ROOT / "instances" / "measured"


def test_the_forms_are_those_of_the_code() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", FORMS_SECTION, re.MULTILINE) == list(FORMS)
    for name, formula in re.findall(r"^\| `([\w-]+)` \| (.*) \|$", FORMS_SECTION, re.MULTILINE):
        if not FORMS[name].switched:
            written = formula.replace("s 2 ( A_w(h + l) - A_w(h) )", "s pairs(w)")
            assert written.replace("( ", "(").replace(" )", ")") == FORMS[name].formula


@pytest.mark.parametrize("name", ["minimax-m3-h200-sglang-tp8", "llama-3.1-70b-h200-sglang-tp4"])
def test_the_figures_of_the_chosen_forms(name: str) -> None:
    row = next(line for line in FORMS_SECTION.splitlines() if line.startswith(f"| {name} |"))
    _, engine, chosen, fitted, left_out = [cell.strip() for cell in row.strip("|").split("|")]
    fits = fit_forms(read_timings(MEASURED_TABLES / f"{name}.csv"), names=["engine", chosen.strip("`")])
    for fit, stated in zip(fits, (engine, fitted), strict=True):
        assert f"{100 * fit.rms:.2f}, {100 * fit.largest:.1f}" == stated
    assert ", ".join(f"{100 * (rms or 0):.2f}" for rms in fits[1].held_out_by_kind.values()) == left_out


def test_the_example_in_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = re.search(r"```python\n(.*?)```", FORMS_SECTION, re.DOTALL)
    assert found is not None
    here: dict[str, object] = {}
    exec(found[1], here)
    costs = here["costs"]
    assert isinstance(costs, dict)
    assert costs["stages"]["lengths"] == [1024, 2048, 4096, 8192]


MEASURED_PAGE = (ROOT / "formulations" / "measured.md").read_text(encoding="utf-8")


def test_every_measured_instance_has_a_row_and_one_comes_out() -> None:
    rows = re.findall(r"^\| ([\w.-]+-(?:tp\d|h200|rtxpro6000)) \|(.*)\|$", MEASURED_PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == sorted(path.stem for path in MEASURED_TABLES.glob("*.json"))
    # The joint method within 0.5 % of its bound everywhere.
    cells = {name: [cell.strip() for cell in row.split("|")] for name, row in rows}
    assert max(float(row[1]) for row in cells.values()) <= 0.5
    tables = build_tables(load_instance(MEASURED_TABLES / "llama-3.1-8b-rtxpro6000-vllm-tp2.json"))
    bound = best(lower_bounds(tables), {Scope.ANY_EXECUTION})
    assert bound is not None
    found = []
    for method in ("uniform-best", "sglang-dynamic", "atom-dynamic", "terapipe", "mocap", "fixed-size:2048"):
        plan = find_method(method).propose(tables).plan
        assert plan is not None
        found.append(f"{100 * float(1 - bound.ticks / assess(tables, plan).latency):.2f}")
    assert found == cells["llama-3.1-8b-rtxpro6000-vllm-tp2"][2:8]


NAMED = {"equal chunks": "uniform-best", "ATOM's rule": "atom-dynamic", "SGLang's rule": "sglang-dynamic"}


@pytest.mark.parametrize(("column", "chunks"), [(1, 64), (3, 32)])
def test_the_latencies_of_the_rules(column: int, chunks: int) -> None:
    tables = build_tables(MEASURED.replace(f"chunking.max_chunks={chunks}"))
    bound = best(lower_bounds(tables), {Scope.ANY_EXECUTION})
    assert bound is not None
    for title, method in NAMED.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {title} |"))
        latency, gap = [cell.strip() for cell in row.strip("|").split("|")][column : column + 2]
        plan = METHODS[method].propose(tables).plan
        assert plan is not None
        ticks = assess(tables, plan).latency
        assert f"{tables.seconds(ticks):.3f} s" == latency
        assert f"{100 * float(1 - bound.ticks / ticks):.2f} %" == gap
