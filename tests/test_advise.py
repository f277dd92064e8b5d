"""Advice: settings judged by replays, useful chunks against brute force, messages and exit codes."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from command_line import run

import mocap_opt
from mocap_opt import InputError, advise, build_tables, load_instance, replay_event, replay_lockstep
from mocap_opt.baselines.engine_chunks import Setting
from mocap_opt.calibration.logs import read_log
from mocap_opt.instance.timings import Timings
from mocap_opt.questions.advise import ENGINES
from mocap_opt.questions.advise.counts import most_useful_chunks
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import load_plan
from mocap_opt.stopping import never

LOGS = Path("instances/logs")
TABLE = Path("instances/measured/minimax-m3-h200-sglang-tp8.csv")
SMALL = {"stages": 4, "tokens": 16_384, "quantum": 1024, "time_limit_s": 10}
PROMPTS = {"sglang": 65_536}
OWN = {name: LOGS / f"{'trtllm-iter' if name == 'trtllm' else name}.log" for name in ENGINES}


@pytest.fixture(scope="module")
def answer() -> mocap_opt.Advice:
    return advise(TABLE, "sglang", setting="8192", **SMALL)


def test_settings_are_those_of_the_rules_and_their_latencies_the_replays(answer: mocap_opt.Advice) -> None:
    tables = build_tables(answer.instance)
    assert [each.name for each in answer.tried] == [
        "given",
        "same-size",
        "best-setting",
        "best-size",
        "best-list",
    ]
    for each in answer.tried:
        found = min(replay(tables, each.plan).latency for replay in (replay_lockstep, replay_event))
        assert each.latency_s == pytest.approx(tables.seconds(found))
        assert sum(each.lengths) == 16_384
        assert each.gap == pytest.approx(1 - answer.lower_bound_s / each.latency_s, abs=1e-9)
    assert answer.given.lengths[0] == 8192
    assert answer.named("same-size").lengths == [8192, 8192]
    assert answer.named("best-setting").latency_s <= answer.given.latency_s
    assert answer.named("best-size").latency_s <= answer.named("same-size").latency_s
    assert answer.best_list.latency_s == min(each.latency_s for each in answer.tried)


def test_the_best_list_is_the_optimum_over_all_lists() -> None:
    answer = advise(TABLE, "vllm", **{**SMALL, "quantum": 2048})
    tables, least = build_tables(answer.instance), None
    inner = range(1, tables.steps)
    for cuts in (cut for size in range(tables.steps) for cut in combinations(inner, size)):
        plan = Plan.from_arrays(tables, np.array([0, *cuts, tables.steps]))
        if mocap_opt.violations(tables, plan):
            continue
        found = replay_event(tables, plan).latency
        least = found if least is None else min(least, found)
    assert answer.best_list.latency_s == pytest.approx(tables.seconds(least), rel=1e-4)
    assert answer.lower_bound_s <= tables.seconds(least) * (1 + 1e-12)


def test_advice_reads_in_words_as_a_frame_and_as_json(answer: mocap_opt.Advice) -> None:
    text = str(answer)
    assert text.startswith("SGLang, 4 stages, 16,384 tokens")
    assert "no list of chunks takes less than" in text
    assert answer.flags[-1] in text
    frame = answer.to_frame()
    assert frame["name"].tolist() == [each.name for each in answer.tried]
    data = json.loads(json.dumps(answer.to_dict()))
    assert data["lower_bound_s"] == answer.lower_bound_s
    assert data["saved"]["best"]["seconds"] == pytest.approx(answer.given.latency_s - answer.best.latency_s)


def test_useful_chunks_are_at_least_those_of_every_plan_that_is_as_fast() -> None:
    rng = np.random.default_rng(3)
    # Two stages, two steps, t(l) = 3 + 10 l, as on the page.
    tiny = make_tables(2, 2, max_chunks=2, linear=10, constant=3)
    assert [most_useful_chunks(tiny, latency, never) for latency in (39, 38, 36)] == [2, 1, 1]
    ruled_out = 0
    for _ in range(12):
        stages = int(rng.integers(1, 4))
        tables = make_tables(
            stages,
            8,
            max_chunks=8,
            linear=rng.integers(1, 20, stages).tolist(),
            quadratic=rng.integers(0, 3, stages).tolist(),
            constant=rng.integers(0, 40, stages).tolist(),
        )
        latencies: dict[int, int] = {}
        for size in range(8):
            for cuts in combinations(range(1, 8), size):
                plan = Plan.from_arrays(tables, np.array([0, *cuts, 8]))
                value = min(replay(tables, plan).latency for replay in (replay_lockstep, replay_event))
                latencies[size + 1] = min(value, latencies.get(size + 1, value))
        for latency in sorted(latencies.values()):
            most = most_useful_chunks(tables, latency, never)
            assert most >= max(count for count, value in latencies.items() if value <= latency)
            ruled_out += most < 8
    assert ruled_out > 10
    assert most_useful_chunks(tables, 1, lambda: True) == tables.max_chunks


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engines_own_log_gives_its_setting_a_gap_and_a_list(engine: str) -> None:
    found = advise(OWN[engine], engine, prompt=PROMPTS.get(engine), **SMALL)
    assert found.form in (engine, "trtllm-log")
    assert found.given.rule == ENGINES[engine].rule
    assert all(each.gap is not None and -1e-9 <= each.gap < 1 for each in found.tried)
    assert found.tried[-1].gap <= 1e-3
    assert found.flags
    assert str(found.best.setting.base) in " ".join(found.flags)


def test_at_the_usual_base_dynamic_chunking_is_slower_than_equal_chunks_on_minimax_m3() -> None:
    found = advise(TABLE, "sglang", 12, 196_608, quantum=1024, time_limit_s=12)
    slower = found.given.latency_s / found.named("same-size").latency_s - 1
    assert found.given.setting == Setting(8192)
    assert slower > 0.1
    assert f"is {mocap_opt.units.format_percent(slower)} slower than equal chunks" in str(found)
    page = Path("formulations/advise.md").read_text(encoding="utf-8")
    for each in found.tried[:4]:
        assert f"| {each.latency_s:.4f} s | {100 * each.gap:.2f} % | {len(each.lengths)} |" in page
    assert f"{100 * slower:.2f} % slower than equal chunks here" in page


def test_flags_are_those_of_the_engines() -> None:
    setting = Setting(20_480, 0.65)
    assert ENGINES["sglang"].flags("sglang-dynamic", setting) == (
        "SGLANG_DYNAMIC_CHUNKING_SMOOTH_FACTOR=0.65",
        "--chunked-prefill-size 20480",
        "--max-prefill-tokens 20480",
        "--enable-dynamic-chunking",
    )
    assert '"smooth_factor": 0.65' in ENGINES["vllm-ascend"].flags("vllm-ascend-dynamic", setting)[1]
    assert ENGINES["trtllm"].flags("fixed-size", setting)[-1] == "--max_num_tokens 20480"


def test_times_of_the_whole_model_are_shared_out_and_layers_counted() -> None:
    table = read_log(TABLE).timings
    eighth = Timings("an eighth", table.length, table.prefix, table.seconds / 4, None)
    whole, part = advise(TABLE, "vllm", whole=True, **SMALL), advise(eighth, "vllm", **SMALL)
    assert whole.given.latency_s == pytest.approx(part.given.latency_s, rel=1e-6)
    assert any("divided by 4 stages" in note for note in whole.notes)


def test_a_send_takes_its_time() -> None:
    small = {**SMALL, "stages": 2}
    free, sent = (advise(TABLE, "vllm", setting=16_384, send_s=time, **small) for time in (0.0, 0.001))
    assert free.given.lengths == [16_384]
    assert sent.given.latency_s - free.given.latency_s == pytest.approx(0.001, rel=1e-6)


def test_an_instances_memory_and_links_are_kept_to() -> None:
    given = load_instance("instances/llama-3.1-70b-pjlab-measured.json")
    timings = Path("instances/timings/llama-3.1-70b-pjlab.csv")
    asked = {"tokens": 32_768, "quantum": 2048, "time_limit_s": 10}
    found = advise(timings, "sglang", 20, instance=given, **asked)
    assert found.instance.wafer == given.wafer
    assert found.instance.model == given.model
    assert found.instance.workload.tokens == 32_768
    assert any(build_tables(found.instance).send[0].ravel() > 0)
    with pytest.raises(InputError, match="stages: expected 10, as asked, got 20"):
        advise(timings, "sglang", 10, instance=given, **asked)
    with pytest.raises(InputError, match="the latency of a prompt, got period"):
        advise(timings, "sglang", 20, instance=given.replace("objective=period"), **asked)


def test_prefix_free_samples_alone_are_enough_with_a_warning(tmp_path: Path) -> None:
    line = (LOGS / "sglang.log").read_text(encoding="utf-8").splitlines()[3]
    path = tmp_path / "sglang.log"
    path.write_text(line, encoding="utf-8")
    found = advise(path, "sglang", longest=8192, **SMALL)
    assert any("no chunk after a prefix was timed" in note for note in found.notes)


def test_what_was_not_measured_is_refused_unless_extrapolated() -> None:
    asked = {"stages": 4, "tokens": 131_072, "quantum": 8192, "time_limit_s": 10}
    with pytest.raises(InputError, match="--extrapolate"):
        advise(LOGS / "vllm.log", "vllm", **asked)
    found = advise(LOGS / "vllm.log", "vllm", extrapolate=True, **asked)
    assert any("EXTRAPOLATED" in note for note in found.notes)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine": "llama.cpp"}, "one of sglang, vllm"),
        ({"stages": 0}, "stages: expected a whole number from 1"),
        ({"setting": "8k"}, "a base size in tokens"),
        ({"setting": "8192:2"}, "a smoothing from 0 to 1"),
        ({"engine": "vllm", "setting": "8192:0.5"}, "no smoothing"),
        ({"setting": "32768"}, "a base of at most 16384 tokens"),
        ({"tokens": 200}, "tokens: expected chunks of at least 256 tokens"),
        ({"longest": 100}, "longest: expected chunks of at least 256 tokens"),
        ({"quantum": 32_768}, "some multiple of 32768 tokens among them"),
        ({"prompt": 4096}, "no --prompt"),
        ({"layers": 4}, "no --layers"),
        ({"instance": load_instance("instances/tiny-slack.json"), "send_s": 0.1}, "one of them"),
        ({"instance": load_instance("instances/tiny-slack.json")}, "4, as asked"),
    ],
)
def test_what_cannot_be_asked_is_said(asked: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        advise(TABLE, **{"engine": "sglang", **SMALL, **asked})


def test_a_log_that_names_stages_has_to_name_as_many() -> None:
    table = read_log(TABLE).timings
    stage = np.zeros_like(table.length)
    with pytest.raises(InputError, match="stages 0 to 3, as asked"):
        advise(Timings("log", table.length, table.prefix, table.seconds, stage), "vllm", **SMALL)


def test_the_command_prints_advice_and_writes_what_it_solved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, instance = tmp_path / "plan.json", tmp_path / "instance.json"
    arguments = ["advise", str(TABLE), "--engine", "sglang", "--stages", "4", "--tokens", "16k"]
    arguments += ["--quantum", "1024", "--setting", "8192:0.5", "--time-limit", "10"]
    code, out, _ = run(*arguments, "--out", str(plan), "--instance-out", str(instance), capsys=capsys)
    assert code == 0
    assert "best list" in out
    assert "--chunked-prefill-size" in out
    solved = load_instance(instance)
    report = mocap_opt.evaluate(solved, load_plan(plan, build_tables(solved))).report
    code, out, _ = run(*arguments, "--json", capsys=capsys)
    data = json.loads(out)
    assert code == 0
    assert report.latency_s == pytest.approx(data["tried"][-1]["latency_s"])
    assert data["tried"][0]["smoothing"] == 0.5


def test_the_command_says_what_is_wrong_with_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--engine", "sglang", "--stages", "4", "--tokens", "16k"]
    empty = tmp_path / "empty.log"
    empty.write_text("", encoding="utf-8")
    for name, said in (
        (empty, "got nothing"),
        (LOGS / "vllm.log", "--format vllm"),
        (tmp_path, "--layers N"),
    ):
        code, _, err = run("advise", str(name), *arguments, capsys=capsys)
        assert code == 2
        assert said in err
    code, _, err = run(
        "advise", str(TABLE), "--engine", "sglang", "--stages", "4", "--tokens", "many", capsys=capsys
    )
    assert code == 2
    assert "many" in err
