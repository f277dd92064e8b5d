"""Readers of logs: what they read, what they leave out, and what they say of logs that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import engine_logs
import numpy as np
import pytest

from mocap_opt import InputError
from mocap_opt.calibration.logs import LOG_FORMS, Asked, Log, read_log

LOGS = Path("instances/logs")
SIZES, PROMPT = (64, 48), 256


def linear(length: int, prefix: int) -> float:
    """Times whose rounding in logs is told from errors: 10 ms, 1 ms a token, 1/16 ms a token before it."""
    return 0.01 + length * 1e-3 + prefix / 16_000


def read(lines: list[str], tmp_path: Path, form: str | None = None, **asked: int) -> Log:
    path = tmp_path / "server.log"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_log(path, form, Asked(**asked))


def chunks(idle_last: bool = False) -> dict[tuple[int, int], float]:
    """Chunks of the prompts that logs are of; without the last ones where waiting is in their times."""
    found = {}
    for part in engine_logs.prompts(SIZES, PROMPT):
        found |= {chunk: linear(*chunk) for chunk in (part[:-1] if idle_last else part)}
    return found


def as_read(log: Log) -> dict[tuple[int, int], float]:
    assert log.timings is not None
    columns = (log.timings.length.tolist(), log.timings.prefix.tolist(), log.timings.seconds.tolist())
    return {(length, prefix): time for length, prefix, time in zip(*columns, strict=True)}


def test_sglang_has_prefix_free_samples_and_batches(tmp_path: Path) -> None:
    log = read(engine_logs.sglang(linear, 640, SIZES, PROMPT), tmp_path, prompt=PROMPT)
    found = as_read(log)
    samples = {(800 - 6 * n, 0): linear(800 - 6 * n, 0) for n in range(1, 128)}
    # The first sample, 7 s of warming up, is dropped; the throughput has two digits behind the point.
    assert found == pytest.approx(samples | chunks(idle_last=True), rel=1e-3)
    assert log.form == "sglang"


def test_sglang_times_a_batch_by_the_line_after_and_not_over_a_decode(tmp_path: Path) -> None:
    def line(tokens: int, rate: float, cached: int = 0, label: str = "PP0 TP0") -> str:
        return (
            f"[2026-01-15 01:23:01 {label}] Prefill batch [3], #new-seq: 1, #new-token: {tokens}, "
            f"#cached-token: {cached}, token usage: 0.00, input throughput (token/s): {rate:.2f}"
        )

    decode = (
        "[2026-01-15 01:23:01 PP0 TP0] Decode batch [42], #running-req: 1, #token: 128, gen throughput: 1"
    )
    lines = [
        line(100, 1.0, 32),
        line(50, 200.0),
        decode,
        line(70, 100.0),
        line(80, 140.0),
        line(9, 9.0, 0, "PP1"),
    ]
    found = as_read(read(lines, tmp_path))
    # 100 after 32 cached: 100 / 200; 50 ended by the decode step; a new prompt: 70 / 140; stage 1 left out.
    assert found == {(100, 32): 0.5, (70, 0): 0.5}


def test_vllm_iterations_of_one_prompt_each(tmp_path: Path) -> None:
    log = read(engine_logs.vllm(linear, SIZES, PROMPT), tmp_path)
    assert as_read(log) == pytest.approx(chunks(), rel=1e-6)
    assert any("only generates" in note for note in log.notes)


def test_a_step_with_generation_moves_the_prompt_on_but_is_not_timed(tmp_path: Path) -> None:
    def step(number: int, prompts: int, tokens: int, generating: int) -> str:
        return (
            f"Iteration({number}): {prompts} context requests, {tokens} context tokens, {generating} "
            f"generation requests, {generating} generation tokens, iteration elapsed time: 10 ms, "
            "GPU KV cache usage: 1%"
        )

    steps = [(1, 64, 0), (1, 32, 3), (1, 16, 0), (2, 80, 0), (1, 8, 0), (0, 0, 5), (1, 4, 0)]
    found = as_read(read([step(n, *each) for n, each in enumerate(steps)], tmp_path))
    # After two prompts at once nobody knows how far the one is, until a step only generates.
    assert found == {(64, 0): 0.01, (16, 96): 0.01, (4, 0): 0.01}


def test_launches_alone_are_no_times(tmp_path: Path) -> None:
    lines = engine_logs.vllm(lambda length, prefix: 3e-5, SIZES, PROMPT)
    with pytest.raises(InputError, match="no timing"):
        read(lines, tmp_path)


def test_trtllm_statistics_tell_the_prefix(tmp_path: Path) -> None:
    lines = engine_logs.trtllm(linear, SIZES, PROMPT)
    assert as_read(read(lines, tmp_path)) == pytest.approx(chunks(), rel=1e-6)
    array = ["[" + ",\n".join(lines) + "]"]
    assert as_read(read(array, tmp_path)) == pytest.approx(chunks(), rel=1e-6)


def test_trtllm_lines_have_the_device_time_of_the_line_before(tmp_path: Path) -> None:
    log = read(engine_logs.trtllm_lines(linear, SIZES, PROMPT), tmp_path)
    assert log.form == "trtllm-log"
    assert as_read(log) == pytest.approx(chunks(), rel=1e-6)


@pytest.mark.parametrize("name", ["vllm-ascend", "atom"])
def test_laws_are_read_with_the_digits_that_are_logged(name: str, tmp_path: Path) -> None:
    def time(length: int, prefix: int) -> float:
        served = length * (length + prefix) * 1e-6 + 1e-4 * (length + prefix) + 0.02
        atom = 0.02 + 1e-5 * prefix + 1e-4 * length + 1e-8 * (2 * prefix * length + length**2)
        return served if name == "vllm-ascend" else atom

    lines = engine_logs.vllm_ascend(time, 64, SIZES, PROMPT)
    log = read(engine_logs.atom(time, SIZES, PROMPT) if name == "atom" else lines, tmp_path)
    assert log.timings is None
    length, prefix = np.array([10.0, 500.0]), np.array([0.0, 4000.0])
    expected = [time(10, 0), time(500, 4000)]
    assert log.law.seconds(length, prefix).tolist() == pytest.approx(expected, rel=2e-2)


def test_vllm_ascend_without_served_batches_has_what_a_prefix_costs_by_the_square(tmp_path: Path) -> None:
    lines = engine_logs.vllm_ascend(lambda n, h: 1e-6 * n * n + 1e-4 * n + 0.02, 64, SIZES, PROMPT)[:3]
    law = read(lines, tmp_path).law
    value = law.seconds(np.array([100.0]), np.array([50.0]))[0]
    assert value == pytest.approx(1e-6 * (2 * 50 * 100 + 100**2) + 1e-4 * 100 + 0.02, rel=1e-2)


def test_json_lines_under_usual_names_and_units(tmp_path: Path) -> None:
    rows = [
        {"chunk_tokens": 8, "prefix_tokens": 0, "seconds": 0.5, "stage": 1},
        {"num_new_tokens": 8, "num_computed_tokens": 8, "execution_time_ms": 700, "pp_rank": 1},
        {"query_len": 4, "history_len": 16, "latency_us": 9e5, "pp_rank": 0},
    ]
    log = read([json.dumps(row) for row in rows], tmp_path)
    assert as_read(log) == pytest.approx({(8, 0): 0.5, (8, 8): 0.7, (4, 16): 0.9})
    assert log.timings.stage.tolist() == [0, 1, 1]


def test_repeats_count_by_their_median_and_a_slow_start_is_dropped(tmp_path: Path) -> None:
    rows = [(100, 0, 9.0), (90, 0, 1.0), (90, 0, 1.2), (90, 0, 50.0)]
    lines = [json.dumps({"chunk_tokens": n, "prefix_tokens": h, "seconds": time}) for n, h, time in rows]
    log = read(lines, tmp_path)
    assert as_read(log) == {(90, 0): 1.2}
    assert log.notes == (
        "line 1: 9 s taken for warm-up and dropped",
        "2 repeats of chunks: of each chunk the median of its times",
    )


def test_layers_of_llmservingsim_are_summed(tmp_path: Path) -> None:
    attention = [
        "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us",
        "0,0,1,16,7",
        "16,0,0,0,8",
        "32,64,0,0,20",
    ]
    dense = [
        "layer,tokens,time_us",
        "embedding,16,1000",
        "layernorm,16,1",
        "layernorm,48,3",
        "qkv_proj,16,10",
    ]
    (tmp_path / "attention.csv").write_text("\n".join(attention), encoding="utf-8")
    (tmp_path / "dense.csv").write_text("\n".join(dense), encoding="utf-8")
    log = read_log(tmp_path, asked=Asked(layers=5))
    # A layer of 32 tokens after 64: attention 20, qkv 10, two norms of 2 (half way from 16 to 48): 34 us.
    assert as_read(log) == pytest.approx({(16, 0): 5 * 20e-6, (32, 64): 5 * 34e-6})
    with pytest.raises(InputError, match="--layers N"):
        read_log(tmp_path)
    (tmp_path / "moe.csv").write_text("tokens,activated_experts,time_us", encoding="utf-8")
    with pytest.raises(InputError, match="without experts"):
        read_log(tmp_path, asked=Asked(layers=5))


WRONG = {
    "empty": ("  \n", {}, "a log of chunk times, got nothing"),
    "unknown": ("hello\nworld\n", {}, "a line of a known form"),
    "truncated": (
        "[PP Dynamic Chunk] [PP0] Profiled 128 samples: seq_lens=[10240, 10160, 100",
        {},
        "line 1.*whole",
    ),
    "unlike": ("x\n[PP0] Profiled 2 samples: seq_lens=[9, 8], latencies_ms=[1.0]", {}, "line 2.*of one size"),
    "broken json": (
        '{"chunk_tokens": 5, "prefix_tokens": 0, "seconds": 1}\n{"chunk',
        {},
        "line 2.*JSON object",
    ),
    "no time": ('{"chunk_tokens": 5, "prefix_tokens": 0}', {}, "line 1: expected a time"),
    "no prefix": (
        '{"chunk_tokens": 5, "seconds": 1}',
        {},
        "line 1: expected a whole number of tokens, the prefix",
    ),
    "range": (
        '{"chunk_tokens": 0, "prefix_tokens": 0, "seconds": 1}',
        {},
        "line 1: expected a chunk of 1 to",
    ),
    "some stages": (
        '{"chunk_tokens": 1, "prefix_tokens": 0, "seconds": 1, "stage": 0}\n'
        '{"chunk_tokens": 1, "prefix_tokens": 0, "seconds": 1}',
        {},
        "a stage on every line",
    ),
    "not needed": ("chunk_tokens,prefix_tokens,seconds\n1,0,1", {"prompt": 9}, "no --prompt"),
    "statistics": ('[{"iterLatencyMS": 3, "inflightBatchingStats": {}}]', {}, "numContextRequests"),
    "folder's file": ("prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n", {}, "name the folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_log_gets_one_clear_message(name: str, tmp_path: Path) -> None:
    text, asked, said = WRONG[name]
    with pytest.raises(InputError, match=said) as error:
        read([text], tmp_path, **asked)
    assert len(error.value.problems) == 1


def test_binary_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="UTF-8"):
        read_log(path)
    with pytest.raises(InputError, match="one of csv, sglang"):
        read_log(path, "excel")
    path.write_text("chunk_tokens,prefix_tokens,seconds\n1,0,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="lines of this form: vLLM"):
        read_log(path, "vllm")


@pytest.mark.parametrize(
    "piece",
    [
        "iter = 1, global_rank = 0, ",
        "Prefill batch, #new-seq: 1, #new-token: 5, #cached-token: 3 ",
        "Profiled 1 samples: seq_lens=[",
    ],
)
def test_a_line_without_end_is_refused_at_once(piece: str, tmp_path: Path) -> None:
    """Patterns that try every place of such a line would take hours."""
    with pytest.raises(InputError, match=r"known form|is the line whole"):
        read([piece * 100_000], tmp_path)


def test_prompts_that_cannot_be_told_apart_have_to_be_said(tmp_path: Path) -> None:
    lines = [line for line in engine_logs.vllm(linear, SIZES, PROMPT) if " 0 context" not in line]
    with pytest.raises(InputError, match="--prompt TOKENS"):
        read(lines, tmp_path)
    assert as_read(read(lines, tmp_path, prompt=PROMPT)) == pytest.approx(chunks(), rel=1e-6)
    with pytest.raises(InputError, match=r"line 3: expected chunks that add up to --prompt 130, got 192"):
        read(lines, tmp_path, prompt=130)


def test_another_engines_log_is_taken_only_if_its_form_is_named(tmp_path: Path) -> None:
    path = LOGS / "vllm.log"
    with pytest.raises(InputError, match="--format vllm takes its times all the same"):
        read_log(path, engine="sglang")
    assert read_log(path, "vllm", engine="sglang").timings is not None


@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.glob("*.log")))
def test_the_examples_are_what_their_writer_makes(name: str) -> None:
    seconds, sizes = engine_logs.minimax(), (8192, 4096, 2048)
    log = read_log(LOGS / name, asked=Asked(prompt=65_536) if name == "sglang.log" else None)
    if log.timings is None:
        assert log.law.seconds(np.array([4096.0]), np.array([32_768.0]))[0] == pytest.approx(
            seconds(4096, 32_768), rel=0.3
        )
        return
    found = as_read(log)
    served = [chunk for part in engine_logs.prompts(sizes, 65_536) for chunk in part]
    assert {chunk for chunk in served if chunk in found} >= {(8192, 0), (4096, 4096), (2048, 32_768)}
    assert all(found[chunk] == pytest.approx(seconds(*chunk), rel=1e-3) for chunk in served if chunk in found)


def test_every_form_is_described_and_told_apart() -> None:
    assert all(form.what for form in LOG_FORMS.values())
    for path in LOGS.glob("*.log"):
        found = [name for name, form in LOG_FORMS.items() if form.found(path.read_text(encoding="utf-8"))]
        assert len(found) == 1, path
