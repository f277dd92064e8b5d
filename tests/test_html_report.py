"""The one-file report: complete on its own, harmless, true to the JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import markupsafe
import numpy as np
import pytest
from test_cli import INSTANCES, run, run_json
from toy_instances import toy
from written_report import EVIL, Written, write_report

from mocap_opt import METHODS, build_tables, evaluate, load_instance, solve
from mocap_opt.baselines.registry import ENGINE_RULES
from mocap_opt.bounds.period import SCOPES
from mocap_opt.bounds.plain_words import PLAIN_WORDS
from mocap_opt.bounds.registry import BOUNDS
from mocap_opt.instance import StageLayout
from mocap_opt.lower_bound import Evidence
from mocap_opt.pictures.html import html_report
from mocap_opt.pictures.html.text import in_one_unit, script_json
from mocap_opt.pictures.sentences import at_most, facts
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.method_words import METHOD_WORDS, STEP_WORDS, method_words
from mocap_opt.solving.methods import EVERY_METHOD
from mocap_opt.units import format_seconds


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


PERIOD = ["objective=period", "pipeline.queue_depth=2"]
REQUESTS = 'workload.requests=[{"tokens":2},{"tokens":3}]'
TIMED = 'workload.requests=[{"tokens":2,"slo":1},{"tokens":3,"slo":1}]'
FIRST = {
    "latency": ([], r"s to the first token; "),
    "period": (PERIOD, r"^A prompt every .*, without end, .* per second; "),
    "stream": ([REQUESTS], r"until the last of 2 requests has left; "),
    "mean-completion": ([REQUESTS, "objective=mean-completion"], r"on average over 2 requests; "),
    "goodput": ([TIMED, "objective=goodput"], r"^\S+ of a weight of 2 leaves in time; "),
}


@pytest.mark.parametrize("objective", FIRST)
def test_the_first_sentence_says_the_value_and_what_is_possible(objective, tmp_path):
    changes, words = FIRST[objective]
    instance = load_instance(INSTANCES / "tiny-unequal.json", changes)
    answer = solve(instance, time_limit_s=5)
    said = facts(instance, answer)
    assert answer.report.objective == objective
    assert re.search(words, said.first), said.first
    if answer.report.status is Status.OPTIMAL:
        assert "nothing that this wafer, layout and grid allow" in said.first
    assert answer.report.bound_name in said.proof[0]
    assert ("% full" in said.first) == (answer.report.peak_memory_bytes is not None)
    page = tmp_path / "page.html"
    answer.save_report(page)
    assert str(markupsafe.escape(said.first)) in page.read_text()


def test_what_is_possible_at_most_is_rounded_up():
    assert at_most(0.00001) == "0.01 %"
    assert at_most(0.0481) == "4.81 %"
    assert at_most(0.048101) == "4.82 %"
    assert at_most(0.0) == "0.00 %"


def test_a_plan_that_is_not_proved_best_says_how_much_could_be_saved():
    instance = load_instance(INSTANCES / "gpt3-175b-watos-heads.json")
    answer = solve(instance, "mocap")
    first = facts(instance, answer).first
    assert f"at most {at_most(answer.report.gap)} could be saved" in first
    assert "nothing that this wafer, layout and grid allow takes less than" in first
    lied = replace(answer, report=replace(answer.report, bound_evidence="solver_unconfirmed"))
    assert "which is no proof" in facts(instance, lied).first


def test_an_instance_without_a_plan_says_so():
    instance = load_instance(INSTANCES / "tiny-hopeless.json")
    assert facts(instance, solve(instance)).first.startswith("No plan can exist for this instance: ")


def test_every_method_step_bound_and_evidence_has_plain_words():
    assert {*EVERY_METHOD} <= METHOD_WORDS.keys()
    assert method_words("sglang-dynamic:8192").endswith(", set to 8192")
    assert method_words("local search") == STEP_WORDS["local_search"]
    assert method_words("nothing of that name") is None
    assert {*BOUNDS, *SCOPES.values()} <= PLAIN_WORDS.keys()
    assert all(each.words for each in Evidence)


def test_two_plans_stand_side_by_side_in_their_own_layouts(tmp_path, capsys):
    free = toy(pipeline={"stages": "auto", "dies_per_stage": "auto", "layers": "auto", "placement": "auto"})
    choices = [
        StageLayout((((0, 0), (0, 1), (1, 1)), ((0, 2), (1, 2)), ((0, 3),)), (1, 2, 1)),
        StageLayout((((0, 0), (1, 0)), ((0, 1), (1, 1))), (2, 2)),
    ]
    file, page = tmp_path / "free.json", tmp_path / "page.html"
    file.write_text(json.dumps(free.to_dict()))
    paths = [tmp_path / "one.json", tmp_path / "<b>other.json"]
    for choice, path in zip(choices, paths, strict=True):
        answer = solve(free.with_layout(choice), "uniform-greedy")
        save_plan(path, answer.plan, free.name, answer.tables)
    assert run("report", file, *paths, "--out", page, capsys=capsys)[0] == 0
    text = page.read_text()
    rows = dict(re.findall(r'data-key="figure" data-value="[^"]*">([^<]*)</td>(.*?)</tr>', text))
    cells = re.findall(r">([^<]*)</td>", rows["latency"])
    judged = [evaluate(free, json.loads(path.read_text())) for path in paths]
    assert cells[:2] == [format_seconds(each.report.value_s) for each in judged]
    assert "second-timeline" in text
    assert text.count('class="board"') == 2
    assert re.findall(r">([^<]*)</td>", rows["stages"]) == ["3", "2", "-1"]
    assert "<b>other" not in re.sub(r"(?s)<script.*?</script>", "", text)
    code, _, said = run("report", file, *paths, paths[0], "--out", page, capsys=capsys)
    assert code == 2
    assert "plans of one, or two plans" in " ".join(said.split())


def test_rules_of_engines_have_a_table(tmp_path, capsys):
    page, file = tmp_path / "page.html", INSTANCES / "tiny-unequal.json"
    assert run("report", file, "--methods", "joint", "--rules", "--out", page, capsys=capsys)[0] == 0
    table = page.read_text().partition('<table id="rules">')[2].partition("</table>")[0]
    names = re.findall(r'data-key="name" data-value="[^"]*">([^<]*)<', table)
    assert names == [*ENGINE_RULES, "terapipe"]
    gaps = [json.loads(each) for each in re.findall(r'data-key="gap" data-value="([^"]*)"', table)]
    assert all(gap is None or gap >= 0 for gap in gaps)
    code, _, said = run("report", file, "--rules", "--set", PERIOD[0], "--out", page, capsys=capsys)
    assert code == 2
    assert "--rules: expected no such option with objective period" in said


def test_the_page_has_a_style_for_paper(written):
    style = re.search(r"(?s)<style>(.*?)</style>", written.page.read_text())[1]
    paper = style.partition("@media print")[2]
    assert "size: A4" in style
    assert "button.copy" in paper
    assert "break-inside: avoid" in paper
