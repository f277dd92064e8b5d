"""SGLang's server log: prefix-free timings of dynamic chunking, and batches of prompts.

Sources: sgl-project/sglang, ``managers/scheduler_pp_mixin.py`` (``[PP Dynamic Chunk] [PP0] Profiled 128
samples: seq_lens=[..], latencies_ms=[..]``; such a line is shown in pull request 17198) and
``log_prefill_stats`` (``Prefill batch, #new-seq: 1, #new-token: 8192, #cached-token: 0, .., input throughput
(token/s): 12345.67``; older ones have a full stop, newer ones a number in brackets).  The throughput of a
line is that of the batch before: its tokens over the time since it was logged.
"""

from __future__ import annotations

import json
import re

from mocap_opt.calibration.logs.log import Asked, Iteration, Log, Row, chunks_of_prompts, settled, short_lines
from mocap_opt.errors import InputError, Problem
from mocap_opt.messages import show

PROFILED = re.compile(r"Profiled \d+ samples:\s*seq_lens=")
SAMPLES = re.compile(r"seq_lens=(\[[^\]]*\]),\s*latencies_ms=(\[[^\]]*\])")
BATCH = re.compile(
    r"Prefill batch(?: \[\d+\])?[.,] #new-seq: (?P<prompts>\d+), #new-token: (?P<tokens>\d+), "
    r"#cached-token: (?P<cached>\d+)(?:.*?input throughput \(token/s\): (?P<rate>[0-9.]+))?"
)
DECODE = re.compile(r"Decode batch(?: \[\d+\])?[.,] ")
LATER_STAGE = re.compile(r"\bPP[1-9]\d*\b")

MOST_PROFILES = 20
"""Broken lists of samples after which no more are looked for."""


def found(text: str) -> bool:
    """Whether a text has lines of this form."""
    return bool(PROFILED.search(text)) or any(BATCH.search(line) for _, line in short_lines(text))


def read(text: str, source: str, asked: Asked) -> Log:
    """Read the timings.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    asked : Asked

    Raises
    ------
    InputError
        If a list of samples is cut short, or as `chunks_of_prompts` and `settled`.
    """
    rows, notes = _profiled(text, source), []
    if rows:
        notes.append(f"{len(rows)} prefix-free timings of the first stage, the first sample dropped")
    steps = _batches(text)
    if steps:
        batches, said = chunks_of_prompts(steps, asked, source, idle_last=True)
        rows += batches
        notes += [*said, f"{len(batches)} times between prefill batches, which contain waiting for others"]
    timings, said = settled(rows, source)
    return Log("sglang", source, timings, notes=(*notes, *said))


def _profiled(text: str, source: str) -> list[Row]:
    rows: list[Row] = []
    problems = []
    for mark in PROFILED.finditer(text):
        line = text.count("\n", 0, mark.start()) + 1
        whole = SAMPLES.match(text, mark.end() - len("seq_lens="))
        lists = None if whole is None else [_numbers(part) for part in whole.groups()]
        if lists is None or None in lists or len(lists[0] or ()) != len(lists[1] or ()):
            expected = "lists seq_lens and latencies_ms of one size, each closed by ]"
            shown = show(text[mark.start() : mark.start() + 40])
            problems.append(Problem(f"{source}, line {line}", shown, expected, "is the line whole?"))
            if len(problems) == MOST_PROFILES:
                break
            continue
        lengths, latencies = lists
        # The engine drops its first sample, too.
        pairs = list(zip(lengths or (), latencies or (), strict=True))[1:]
        rows += [Row(line, int(length), 0, latency / 1000) for length, latency in pairs]
    if problems:
        raise InputError(problems)
    return rows


def _numbers(text: str) -> list[float] | None:
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if all(isinstance(each, int | float) for each in values) else None


def _batches(text: str) -> list[Iteration]:
    """Steps of the first stage; the time of each is told by the next line, if that is of a prefill, too."""
    steps: list[Iteration] = []
    for number, line in short_lines(text):
        if LATER_STAGE.search(line.partition("]")[0]):
            continue
        if DECODE.search(line):
            steps.append(Iteration(number, 0, 0, 1, None))
            continue
        batch = BATCH.search(line)
        if batch is None:
            continue
        rate = float(batch["rate"]) if batch["rate"] else 0.0
        if steps and not steps[-1].generating and rate > 0:
            steps[-1] = steps[-1]._replace(seconds=steps[-1].tokens / rate)
        cached = int(batch["cached"])
        step = Iteration(number, int(batch["tokens"]), int(batch["prompts"]), 0, None, cached or None)
        steps.append(step)
    return steps
