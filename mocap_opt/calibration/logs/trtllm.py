"""TensorRT-LLM: iteration statistics as JSON, and the lines of ``print_iter_log``.

Sources: NVIDIA/TensorRT-LLM, ``trtllm-serve``'s ``/metrics`` (``iterLatencyMS``, ``inflightBatchingStats``
with ``numContextRequests``, ``numCtxTokens``, ``numGenRequests`` and in newer ones ``numCtxKvTokens``, beside
it ``prevDeviceStepTimeMS``), and ``_torch/pyexecutor/py_executor.py``: ``iter = 12, global_rank = 0, ..,
host_step_time = 20.1ms, prev_device_step_time = 93.2ms, .., states = {'num_ctx_requests': 1,
'num_ctx_tokens': 8192, 'num_generation_tokens': 0}``.  Device times are those of the iteration before.
"""

from __future__ import annotations

import re
from typing import Any

from mocap_opt.calibration.logs.json_rows import objects
from mocap_opt.calibration.logs.log import Asked, Iteration, Log, chunks_of_prompts, settled, short_lines
from mocap_opt.errors import InputError, Problem
from mocap_opt.messages import show

LINE = re.compile(
    r"iter = (?P<iter>\d+), global_rank = (?P<rank>\d+), .*?host_step_time = (?P<host>[0-9.eE+-]+)ms, "
    r"prev_device_step_time = (?P<device>[0-9.eE+-]+|N/A)(?:ms)?, .*?states = "
    r"\{'num_ctx_requests': (?P<prompts>\d+), 'num_ctx_tokens': (?P<tokens>\d+), "
    r"'num_generation_tokens': (?P<generating>\d+)"
)
COUNTS = ("numContextRequests", "numCtxTokens", "numGenRequests")
STATISTICS = re.compile(r'"(?:iterLatencyMS|inflightBatchingStats)"\s*:')


def lines_found(text: str) -> bool:
    """Whether a text has lines of ``print_iter_log``."""
    return any(LINE.search(line) for _, line in short_lines(text))


def statistics_found(text: str) -> bool:
    """Whether a text is of iteration statistics."""
    return text.lstrip()[:1] in ("[", "{") and STATISTICS.search(text) is not None


def read_lines(text: str, source: str, asked: Asked) -> Log:
    """Read the device times of the first rank from ``print_iter_log``.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    asked : Asked

    Raises
    ------
    InputError
        As `chunks_of_prompts` and `settled`.
    """
    steps: list[Iteration] = []
    last = -1
    for number, line in short_lines(text):
        step = LINE.search(line)
        if step is None or step["rank"] != "0":
            continue
        if steps and int(step["iter"]) == last + 1 and step["device"] != "N/A":
            steps[-1] = steps[-1]._replace(seconds=float(step["device"]) / 1000)
        last = int(step["iter"])
        prompts, tokens, generating = (int(step[name]) for name in ("prompts", "tokens", "generating"))
        steps.append(Iteration(number, tokens, prompts, generating, None))
    rows, notes = chunks_of_prompts(steps, asked, source)
    timings, said = settled(rows, source)
    notes.append("device times of rank 0, each from the line of the iteration after")
    return Log("trtllm-log", source, timings, notes=(*notes, *said))


def read_statistics(text: str, source: str, asked: Asked) -> Log:
    """Read iteration statistics: device times where they are there, else ``iterLatencyMS``.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    asked : Asked

    Raises
    ------
    InputError
        If a record lacks its figures, or as `chunks_of_prompts` and `settled`.
    """
    steps: list[Iteration] = []
    problems: list[Problem] = []
    device = 0
    for number, record in objects(text, source):
        batch = record.get("inflightBatchingStats")
        figures = None if not isinstance(batch, dict) else _figures(record, batch)
        if figures is None:
            expected = f"iterLatencyMS and inflightBatchingStats with {', '.join(COUNTS)}"
            problems.append(Problem(f"{source}, record from line {number}", show(record), expected))
            continue
        latency, prompts, tokens, generating = figures
        before = record.get("prevDeviceStepTimeMS")
        if steps and isinstance(before, int | float) and before > 0:
            steps[-1] = steps[-1]._replace(seconds=before / 1000)
            device += 1
        prefix = batch.get("numCtxKvTokens") if isinstance(batch, dict) else None
        told = prefix if isinstance(prefix, int) else None
        steps.append(
            Iteration(number, tokens, prompts, generating, latency / 1000 if latency else None, told)
        )
    if problems:
        raise InputError(problems[:20])
    rows, notes = chunks_of_prompts(steps, asked, source)
    timings, said = settled(rows, source)
    if device:
        notes.append("device times, each from the record of the iteration after")
    else:
        notes.append("iterLatencyMS: under the overlap scheduler it is not the time of a step alone")
    return Log("trtllm", source, timings, notes=(*notes, *said))


def _figures(record: dict[str, Any], batch: dict[str, Any]) -> tuple[float, int, int, int] | None:
    latency = record.get("iterLatencyMS", 0.0)
    counts = [batch.get(name) for name in COUNTS]
    if not isinstance(latency, int | float) or not all(isinstance(each, int) for each in counts):
        return None
    prompts, tokens, generating = (int(each or 0) for each in counts)
    return float(latency), prompts, tokens, generating
