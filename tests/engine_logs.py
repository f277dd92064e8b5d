"""Logs in the forms of serving engines, made of given chunk times: what readers are held to.

``python tests/engine_logs.py`` writes the examples of ``instances/logs/``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

Seconds = Callable[[int, int], float]
"""From a chunk's tokens and those before it to its time."""

FOLDER = Path(__file__).parent.parent / "instances" / "logs"
PROMPT = 65_536

NOTICE = (
    "# Synthetic, in the form of {engine}'s log: times of one of 12 stages of MiniMax-M3 on 8 H200",
    "# (SGLang 0.5.16), sums of kernels from ai-dynamo/aiconfigurator 095f58a51c4c (Apache-2.0,",
    "# Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES), interpolated.",
)

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)
PREFIXES = (0, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


def prompts(sizes: Sequence[int], tokens: int) -> Iterator[list[tuple[int, int]]]:
    """Chunks of a prompt for every size, as (tokens, tokens before)."""
    for size in sizes:
        lengths = [size] * (tokens // size) + ([tokens % size] if tokens % size else [])
        yield list(zip(lengths, [0, *accumulate(lengths)][:-1], strict=True))


def sglang(seconds: Seconds, base: int, sizes: Sequence[int], tokens: int) -> list[str]:
    lengths = [int(1.25 * base) - n * int(1.25 * base // 128) for n in range(128)]
    times = [7234.0, *(1000 * seconds(length, 0) for length in lengths[1:])]
    lines = [
        f"[2026-01-15 01:23:01 PP0 TP0] [PP Dynamic Chunk] [PP0] Profiled 128 samples: seq_lens={lengths}, "
        f"latencies_ms={[round(time, 6) for time in times]}"
    ]
    rate, stamp = 1.37, 0
    for chunks in prompts(sizes, tokens):
        for length, prefix in chunks:
            stamp += 1
            lines.append(
                f"[2026-01-15 01:24:{stamp % 60:02d} PP0 TP0] Prefill batch, #new-seq: 1, "
                f"#new-token: {length}, #cached-token: 0, token usage: 0.01, #running-req: 0, #queue-req: 0, "
                f"#pending-token: 0, cuda graph: False, input throughput (token/s): {rate:.2f}"
            )
            rate = length / seconds(length, prefix)
        rate = 1.0  # the engine waited for the next prompt
    return lines


def vllm(seconds: Seconds, sizes: Sequence[int], tokens: int) -> list[str]:
    lines, number = [], 0
    for chunks in prompts(sizes, tokens):
        for length, prefix in chunks:
            lines.append(_iteration(number, 1, length, 0, 1000 * seconds(length, prefix)))
            number += 1
        lines.append(_iteration(number, 0, 0, 1, 9.31))
        number += 1
    return lines


def _iteration(number: int, prompts_: int, tokens: int, generating: int, time: float) -> str:
    return (
        f"(EngineCore_DP0 pid=71) INFO 04-20 20:24:37 [core.py:350] Iteration({number}): {prompts_} context "
        f"requests, {tokens} context tokens, {generating} generation requests, {generating} generation "
        f"tokens, iteration elapsed time: {time:.3f} ms"
    )


def vllm_ascend(seconds: Seconds, base: int, sizes: Sequence[int], tokens: int) -> list[str]:
    lengths = np.array([int(base - n * base / 64) for n in range(64)], dtype=float)
    times = np.array([1000 * seconds(int(length), 0) for length in lengths])
    a, b, c = np.polyfit(lengths, times, 2)
    stamp = "INFO 04-20 20:24:27 [ProfilingChunk]"
    lines = [
        f"{stamp} Collected 64 samples. Latency range: [{times.min():.2f}, {times.max():.2f}] ms",
        f"{stamp} Fitted: a={a:.2e}, b={b:.2e}, c={c:.2e}",
        f"{stamp} Target latency: {a * base**2 + b * base:.2f} ms (base_chunk={base})",
    ]
    served = [chunk for chunks in prompts(sizes, tokens) for chunk in chunks][:30]
    rows = np.array(
        [(length * (length + before), length + before, 1) for length, before in served], dtype=float
    )
    measured = np.array([1000 * seconds(length, before) for length, before in served])
    a, b, c = np.linalg.lstsq(rows, measured, rcond=None)[0]
    lines.append(f"INFO 04-20 20:25:01 [ProfilingChunk With History] Fitted: a={a:.2e}, b={b:.2e}, c={c:.2e}")
    return lines


def atom(seconds: Seconds, sizes: Sequence[int], tokens: int) -> list[str]:
    chunks = [chunk for part in prompts(sizes, tokens) for chunk in part]
    rows = np.array([(2 * h * n + n * n, n, 1, h) for n, h in chunks], dtype=float)
    scale = rows.max(axis=0)
    times = np.array([1000 * seconds(n, h) for n, h in chunks])
    a, b, c, gamma = np.linalg.lstsq(rows / scale, times, rcond=None)[0] / scale
    return [
        f"[atom 08:30:07] Model Runner0/4: dynamic chunking calibrated from {len(chunks)} real prefill "
        f"shapes over {len(sizes)} chunk sizes: a={a:.3e} b={b:.3e} c={c:.3e} gamma={gamma:.3e}"
    ]


def trtllm(seconds: Seconds, sizes: Sequence[int], tokens: int) -> list[str]:
    """Records, one a line; with the prefix, as newer versions have it."""
    lines, number = [], 0
    for chunks in prompts(sizes, tokens):
        for length, prefix in chunks:
            batch = {
                "numContextRequests": 1,
                "numCtxTokens": length,
                "numCtxKvTokens": prefix,
                "numGenRequests": 0,
            }
            time = 1000 * seconds(length, prefix)
            lines.append(json.dumps({"iter": number, "iterLatencyMS": time, "inflightBatchingStats": batch}))
            number += 1
    return lines


def trtllm_lines(seconds: Seconds, sizes: Sequence[int], tokens: int) -> list[str]:
    """Lines of ``print_iter_log``: the device time of each stands on the next."""
    lines, number, before = [], 0, "N/A"
    for chunks in prompts(sizes, tokens):
        for length, prefix in [*chunks, (0, 0)]:
            states = {"num_ctx_requests": int(length > 0), "num_ctx_tokens": length}
            states["num_generation_tokens"] = int(length == 0)
            lines.append(
                f"[08/19/2026-14:11:49] [TRT-LLM] [I] [_torch][RANK 0] iter = {number}, global_rank = 0, "
                "rank = 0, num_scheduled_requests = 1, kv_cache_util = 0.1, currank_total_requests = 0/1, "
                f"host_step_time = 4.08ms, prev_device_step_time = {before}, "
                f"timestamp = 2026-08-19 14:11:49, states = {states}"
            )
            before, number = f"{1000 * (seconds(length, prefix) if length else 0.009)}ms", number + 1
    return lines


def minimax() -> Seconds:
    """Times of the measured table, bilinear between its rows."""
    path = FOLDER.parent / "measured" / "minimax-m3-h200-sglang-tp8.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1].isdigit()]
    rows = np.loadtxt(lines, delimiter=",")
    table = {(int(n), int(h)): float(time) for n, h, time in rows}

    def seconds(length: int, prefix: int) -> float:
        i = min(max(int(np.searchsorted(LENGTHS, length, "right")) - 1, 0), len(LENGTHS) - 2)
        j = min(max(int(np.searchsorted(PREFIXES, prefix, "right")) - 1, 0), len(PREFIXES) - 2)
        u = (length - LENGTHS[i]) / (LENGTHS[i + 1] - LENGTHS[i])
        v = (prefix - PREFIXES[j]) / (PREFIXES[j + 1] - PREFIXES[j])
        corners = [[table[LENGTHS[i + a], PREFIXES[j + b]] for b in (0, 1)] for a in (0, 1)]
        low = corners[0][0] * (1 - v) + corners[0][1] * v
        high = corners[1][0] * (1 - v) + corners[1][1] * v
        return low * (1 - u) + high * u

    return seconds


def main() -> None:
    seconds = minimax()
    sizes = (8192, 4096, 2048)
    texts = {
        "sglang.log": sglang(seconds, 8192, sizes, PROMPT),
        "vllm.log": vllm(seconds, sizes, PROMPT),
        "vllm-ascend.log": vllm_ascend(seconds, 8192, (8192, 4096, 2048), PROMPT),
        "atom.log": atom(seconds, (8192, 2048), PROMPT),
        "trtllm-iter.log": trtllm_lines(seconds, sizes, PROMPT),
    }
    engines = {
        "sglang.log": "SGLang",
        "vllm.log": "vLLM",
        "vllm-ascend.log": "vLLM-Ascend",
        "atom.log": "ATOM",
    }
    for name, lines in texts.items():
        notice = [line.format(engine=engines.get(name, "TensorRT-LLM")) for line in NOTICE]
        (FOLDER / name).write_text("\n".join([*notice, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
