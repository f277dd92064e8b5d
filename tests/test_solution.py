"""What a `Solution` says and shows of itself, and what `compare` returns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

import mocap_opt
from mocap_opt.errors import InputError

INSTANCES = Path(__file__).parent.parent / "instances"


def tiny(name: str, *overrides: str) -> mocap_opt.Instance:
    return mocap_opt.load_instance(INSTANCES / f"tiny-{name}.json", overrides)


@pytest.fixture(scope="module")
def pooled() -> mocap_opt.Solution:
    return mocap_opt.solve(tiny("pooled"))


def test_an_answer_reads_in_four_lines(pooled):
    lines = str(pooled).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("tiny-pooled: optimal")
    assert "no latency below 71 us is possible" in lines[1]
    assert "2 chunks: 2 x2" in lines[2]
    assert "is fullest" in lines[3]
    assert repr(pooled) == f"<Solution {lines[0]}>"


def test_an_answer_without_a_plan_says_why():
    text = str(mocap_opt.solve(tiny("hopeless")))
    assert text.startswith("tiny-hopeless: infeasible")
    assert "4 B short" in text


def test_frames_of_an_answer_are_its_attributes(pooled):
    assert pooled.chunks["tokens"].tolist() == [2, 2]
    assert pooled.homes["tokens"].sum() == sum(home["tokens"] for home in pooled.report.homes)
    assert pooled.report.lower_bound_s in set(pooled.bounds["lower_bound_s"])


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("objective=period", "pipeline.queue_depth=2"),
        ('workload.requests=[{"tokens": 4}, {"tokens": 3}]',),
    ],
    ids=["latency", "period", "stream"],
)
def test_an_answer_of_any_objective_is_saved_shown_and_read_again(overrides, tmp_path):
    instance = tiny("slack", *overrides)
    solution = mocap_opt.solve(instance, "mocap")
    solution.save(tmp_path / "plan.json")
    again = mocap_opt.evaluate(instance, json.loads((tmp_path / "plan.json").read_text()))
    assert again.report.value_s == solution.report.value_s
    page = solution._repr_html_()
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", page, re.DOTALL)[0])
    computing = [bar for bar in svg if "computing" in bar[0].text]
    assert len({bar.get("y") for bar in computing}) == instance.pipeline.stages
    assert str(solution).splitlines()[0].split(",")[0] in page


def test_pictures_and_the_report_are_one_call(pooled, tmp_path):
    for kind in ("gantt", "memory", "mesh"):
        assert pooled.plot(kind).get_axes()
    pooled.save_report(tmp_path / "report.html")
    assert "tiny-pooled" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert pooled.plot("gantt", execution="lockstep").get_axes()


def test_what_cannot_be_shown_is_said(pooled, tmp_path):
    with pytest.raises(InputError, match=r"kind: expected one of gantt, memory, mesh, got .pie."):
        pooled.plot("pie")
    with pytest.raises(InputError, match="execution: expected lockstep or event-driven"):
        pooled.plot(execution="never")
    with pytest.raises(InputError, match=r"ends in \.html"):
        pooled.save_report(tmp_path / "report.pdf")
    hopeless = mocap_opt.solve(tiny("hopeless"))
    with pytest.raises(InputError, match="expected a plan to draw"):
        hopeless.plot()
    with pytest.raises(InputError, match="expected a plan to write"):
        hopeless.save(tmp_path / "plan.json")
    assert "<svg" not in hopeless._repr_html_()


def test_a_comparison_has_the_columns_that_matter_and_all_if_asked():
    given, methods = [tiny("pooled"), tiny("hopeless")], ["gpipe", "mocap"]
    table = mocap_opt.compare(given, methods)
    assert list(table.columns) == [
        *("instance", "method", "status", "latency_s"),
        *("lower_bound_s", "gap", "chunks", "runtime_s"),
    ]
    page = table._repr_html_()
    assert "2.74 %" in page
    assert "nan" not in page.lower()
    assert isinstance(table[["gap"]], pd.DataFrame)
    full = mocap_opt.compare(given, methods, full=True)
    assert {*table.columns} - {"chunks"} <= {*full.columns}
    assert len(full.columns) > 30


def test_pictures_of_the_top_level(pooled):
    told: list[object] = []
    mocap_opt.solve(tiny("pooled"), callback=told.append)
    full = mocap_opt.compare([tiny("pooled")], ["gpipe", "mocap"], full=True)
    figures = [
        mocap_opt.plot_gantt(pooled),
        mocap_opt.plot_memory(pooled, execution="lockstep"),
        mocap_opt.plot_mesh(pooled),
        mocap_opt.plot_bounds("tiny", told),
        mocap_opt.plot_compare(full),
    ]
    assert all(figure.get_axes() for figure in figures)


def test_the_longest_prompt_from_python(tmp_path):
    instance = mocap_opt.load_instance(INSTANCES / "gpt3-175b-watos-longest.json")
    longest = mocap_opt.max_length(instance, "mocap", equal_chunks=True)
    assert longest.tokens == 177_152
    assert "177,152 tokens" in str(longest)
    longest.save(tmp_path / "plan.json")
    given = instance.replace(f"workload.tokens={longest.tokens}")
    again = mocap_opt.evaluate(given, json.loads((tmp_path / "plan.json").read_text()))
    assert again.report.value_s == longest.to_dict()["latency_s"]
    with pytest.raises(InputError, match="at most one of them"):
        mocap_opt.max_length(instance, equal_chunks=True, latency_limit_s=3.0)
    with pytest.raises(InputError, match="latency_limit_s: expected a number above 0"):
        mocap_opt.max_length(instance, latency_limit_s=-1.0)
