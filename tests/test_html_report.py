"""The one-file report: complete on its own, harmless, true to the JSON."""

from __future__ import annotations

import json
import re

import markupsafe
import numpy as np
import pytest
from test_cli import INSTANCES, run, run_json
from written_report import EVIL, Written, write_report

from mocap_opt import METHODS, build_tables, evaluate, load_instance
from mocap_opt.pictures.html import html_report
from mocap_opt.pictures.html.text import in_one_unit, script_json


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_report(tmp_path_factory.mktemp("report"))


def test_the_page_needs_nothing_else(written):
    text = written.page.read_text()
    assert len(text) < 3_000_000
    head = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", head) == []
    assert not re.search(r"<script[^>]*\ssrc=", text)
    assert not re.search(r"@import|url\(\s*['\"]?http", head)


def test_texts_of_the_instance_are_escaped(written):
    text = written.page.read_text()
    assert "<img" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert str(markupsafe.escape(EVIL)) in text
    assert "<" not in script_json({"name": EVIL})
    assert json.loads(script_json({"name": EVIL})) == {"name": EVIL}


def test_the_page_holds_the_report_as_json(written):
    match = re.search(r'id="mocap-reports">(.*?)</script>', written.page.read_text(), re.DOTALL)
    (report,) = json.loads(match[1])
    apart = {"name", "runtime_s"}
    assert {k: v for k, v in report.items() if k not in apart} == {
        k: v for k, v in written.answer.items() if k not in apart
    }


@pytest.mark.parametrize(
    ("stages", "dies", "chunks", "quantum", "most"),
    [(16, 2, 32, 1024, 6e6), pytest.param(32, 1, 128, 256, 12e6, marks=pytest.mark.slow)],
)
def test_large_reports_stay_small(stages, dies, chunks, quantum, most):
    changes = {
        "pipeline.stages": stages,
        "pipeline.dies_per_stage": dies,
        "chunking.max_chunks": chunks,
        "chunking.quantum": quantum,
        "chunking.shortest": quantum,
        "workload.batch": 2,
    }
    instance = load_instance(
        INSTANCES / "gpt3-175b-watos-tight.json", [f"{path}={value}" for path, value in changes.items()]
    )
    tables = build_tables(instance)
    answers = []
    for name in ("uniform", "mocap"):
        plan = METHODS[name].propose(tables).plan
        assert plan is not None
        assert plan.chunks == chunks
        answers.append((name, evaluate(instance, plan, tables=tables, bounds=())))
    text = html_report(instance, answers)
    # Both plans are drawn, each in both executions.
    assert text.count("<option") == 4
    assert len(text) < most


def test_without_a_plan_the_page_says_why(tmp_path, capsys):
    page = tmp_path / "report.html"
    file = INSTANCES / "tiny-hopeless.json"
    code, _, _ = run("report", file, "--methods", "gpipe,joint", "--out", page, capsys=capsys)
    assert code == 0
    text = page.read_text()
    assert "No plan to draw" in text
    assert "infeasible" in text
    assert "bk-" not in text


def test_a_report_on_methods_lists_them_all(tmp_path, capsys):
    page = tmp_path / "report.html"
    file = INSTANCES / "tiny-unequal.json"
    assert run("report", file, "--methods", "gpipe,mocap", "--out", page, capsys=capsys)[0] == 0
    _, rows = run_json("compare", file, "--methods", "gpipe,mocap", capsys=capsys)
    cells = re.findall(r'data-key="latency_s" data-value="([^"]*)">([^<]*)<', page.read_text())
    assert "latency, us</th>" in page.read_text()
    assert [float(v) for v, _ in cells] == [r["latency_s"] for r in rows]
    assert [float(t.replace(",", "")) for _, t in cells] == pytest.approx(
        [1e6 * r["latency_s"] for r in rows]
    )


def test_a_given_plan_is_shown_with_its_chunks_its_reserve_and_its_origin(tmp_path, capsys):
    file, plan, page = (
        INSTANCES / "gpt3-175b-watos-slack.json",
        tmp_path / "plan.json",
        tmp_path / "page.html",
    )
    lengths = [16384, 8192, *[6144] * 17, 2048]
    content = {"version": 1, "kind": "plan", "boundaries": [0, *np.cumsum(lengths).tolist()]}
    plan.write_text(json.dumps(content))
    change = ["--set", "chunking.max_chunks=20"]
    code, _, _ = run("report", file, plan, "--out", page, *change, capsys=capsys)
    assert code == 0
    shown = page.read_text()
    assert "16384, 8192, 6144 x17, 2048" in shown
    tables = build_tables(load_instance(file, change[1:]))
    reserves = [int(value) for value in re.findall(r'data-key="reserve_bytes" data-value="(\d+)"', shown)]
    assert reserves == tables.reserve(16384).tolist()
    assert f"{plan}: made for</td>" in shown
    # Figures as people write them.
    assert ">708 TFLOP/s<" in shown
    assert "708000000000000" not in re.sub(r"(?s)<script.*?</script>", "", shown)


def test_a_column_of_the_report_has_one_unit():
    assert in_one_unit([0.2, 12.5, None, 1234.5], 1.0) == ["0.2", "12.5", "-", "1,234.5"]
    assert in_one_unit([0, 0], 1e-9) == ["0", "0"]
    assert in_one_unit([0.000933, 0.0093], 1e3) == ["0.9330", "9.3000"]


@pytest.mark.parametrize("command", [("report",), ("plot", "--kind", "gantt"), ("plot", "--kind", "compare")])
def test_options_of_solving_are_refused_beside_a_plan(command, tmp_path, capsys):
    file, plan, out = INSTANCES / "tiny-slack.json", tmp_path / "plan.json", tmp_path / "out.png"
    assert run("solve", file, "--method", "mocap", "--out", plan, capsys=capsys)[0] == 0
    name, *rest = command
    code, _, shown = run(
        name, file, plan, *rest, "--out", out, "--time-limit", "5", "--seed", "1", capsys=capsys
    )
    assert code == 2
    assert "--time-limit: expected no such option with a PLAN" in shown
    assert "--seed: expected no such option with a PLAN" in shown
    assert not out.exists()
