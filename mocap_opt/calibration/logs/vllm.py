"""vLLM's log of iterations (``--enable-logging-iteration-details``).

Source: vllm-project/vllm, ``v1/utils.py`` (``compute_iteration_details``) and its log line ``Iteration(12): 1
context requests, 8192 context tokens, 0 generation requests, 0 generation tokens, iteration elapsed time:
93.21 ms``, as published logs and parsers of it have it.
"""

from __future__ import annotations

import re

from mocap_opt.calibration.logs.log import Asked, Iteration, Log, chunks_of_prompts, settled, short_lines

LINE = re.compile(
    r"Iteration\(\d+\):\s+(\d+) context requests,\s+(\d+) context tokens,\s+(\d+) generation requests,\s+"
    r"\d+ generation tokens,\s+iteration elapsed time:\s+([0-9.]+) ms"
)

LAUNCH_S = 1e-4
"""Steps below this took no longer than a launch: under asynchronous scheduling nothing else is timed."""


def found(text: str) -> bool:
    """Whether a text has lines of this form."""
    return LINE.search(text) is not None


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
        As `chunks_of_prompts` and `settled`.
    """
    steps, launches = [], 0
    for number, line in short_lines(text):
        step = LINE.search(line)
        if step is None:
            continue
        prompts, tokens, generating = (int(step[n]) for n in (1, 2, 3))
        seconds: float | None = float(step[4]) / 1000
        if seconds is not None and seconds < LAUNCH_S and tokens:
            seconds, launches = None, launches + 1
        steps.append(Iteration(number, tokens, prompts, generating, seconds))
    rows, notes = chunks_of_prompts(steps, asked, source)
    if launches:
        notes.append(f"{launches} steps below 0.1 ms dropped: log with --no-async-scheduling")
    timings, said = settled(rows, source)
    notes.append("an iteration is timed from scheduling to output")
    return Log("vllm", source, timings, notes=(*notes, *said))
