"""The page on calibration holds: its columns, coefficients, worked example and figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Scope, best, lower_bounds
from mocap_opt.calibration import NAMES, fit_timings, read_timings
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.timings import COLUMNS
from mocap_opt.replay.evaluation import assess
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables import build_tables

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "formulations" / "calibration.md").read_text(encoding="utf-8")
MEASURED = load_instance(ROOT / "instances" / "llama-3.1-70b-pjlab-measured.json")


def test_columns_and_coefficients_are_those_of_the_code() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == COLUMNS
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
