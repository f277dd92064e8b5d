"""Request traces in Mooncake's format as streams.

A trace has one JSON object a line: ``timestamp`` (milliseconds), ``input_length`` and
``output_length`` (tokens) and ``hash_ids``, one for every block of 512 tokens of the input, equal
for blocks that are the same text after the same blocks.  Source: Qin et al., *Mooncake: A
KVCache-centric Disaggregated Architecture for LLM Serving* (arXiv 2407.00079), and the traces
published with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import parse_json, read_lines, source_name
from mocap_opt.messages import show

BLOCK = 512
"""Tokens of a block."""

MOST_BLOCKS = 5_000_000
"""Different blocks of a trace, all of which are kept in mind: 2.5 billion tokens, half a gigabyte."""


@dataclass(frozen=True)
class TraceRequest:
    """A request of a trace.

    Attributes
    ----------
    number : int
        Its line in the trace, counted from 0.
    time_ms : float
        When it arrived, milliseconds.
    tokens : int
        All input tokens.
    cached : int
        Tokens of leading blocks that an earlier request of the trace brought; at least one token
        is left to prefill.
    """

    number: int
    time_ms: float
    tokens: int
    cached: int


def read_trace(path: str | os.PathLike[str]) -> Iterator[TraceRequest]:
    """Read a trace line by line.

    Leading blocks seen before count as cached, whichever earlier request brought them: a cache that
    never evicts.

    Raises
    ------
    InputError
        If the file cannot be read or a line is not a request.
    """
    seen: set[int] = set()
    name = source_name(path)
    number = 0
    for line_number, line in read_lines(path):
        if line.strip():
            yield _request(line, number, f"{name}:{line_number}", seen)
            number += 1
        if len(seen) > MOST_BLOCKS:
            raise InputError([Problem(name, "more", f"at most {MOST_BLOCKS:,} different blocks", "cut it")])


def _request(line: str, number: int, where: str, seen: set[int]) -> TraceRequest:
    data = parse_json(line, where)
    if not isinstance(data, dict):
        expected = "an object with timestamp, input_length and hash_ids"
        raise InputError([Problem(where, show(line[:80]), expected, "one request a line")])
    tokens = data.get("input_length")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= 2**30:
        raise InputError([Problem(f"{where}: input_length", show(tokens), "a whole number of tokens, >= 1")])
    time = data.get("timestamp")
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not 0 <= time <= 1e10:
        raise InputError([Problem(f"{where}: timestamp", show(time), "milliseconds, >= 0")])
    blocks = data.get("hash_ids", [])
    if not isinstance(blocks, list) or not all(isinstance(b, int) for b in blocks):
        raise InputError([Problem(f"{where}: hash_ids", show(blocks), "a list of whole numbers")])
    shared = next((n for n, block in enumerate(blocks) if block not in seen), len(blocks))
    seen.update(blocks)
    return TraceRequest(number, float(time), tokens, min(shared * BLOCK, tokens - 1))


def trace_instance(
    trace: Iterator[TraceRequest],
    *,
    take: int,
    name: str,
    model: str,
    wafer: str,
    stages: int,
    dies_per_stage: int,
    max_chunks: int = 32,
    quantum: int = 1024,
    offset: int = 0,
    least_tokens: int = 1,
    time_scale: float = 1.0,
    order: str = "given",
) -> dict[str, Any]:
    """Make an instance of some requests of a trace, as JSON holds it.

    Parameters
    ----------
    trace : iterator of TraceRequest
    take : int
        Requests wanted.
    name, model, wafer : str
        Of the instance; names of presets.
    stages, dies_per_stage, max_chunks, quantum : int
    offset : int
        Requests left out at the start; what they brought stays cached.
    least_tokens : int
        Requests with fewer tokens to prefill are left out.
    time_scale : float
        Arrivals are this many times as far apart; 0: all at once.
    order : str
        ``"given"`` or ``"free"``.

    Returns
    -------
    dict
        The first request taken arrives at time 0.

    Raises
    ------
    InputError
        If the trace has fewer requests.
    """
    chosen: list[TraceRequest] = []
    for request in trace:
        if request.number >= offset and request.tokens - request.cached >= least_tokens:
            chosen.append(request)
        if len(chosen) == take:
            break
    if len(chosen) < take:
        expected = f"{take} requests from number {offset} on"
        raise InputError([Problem("trace", f"{len(chosen)} requests", expected, "take fewer")])
    first = chosen[0].time_ms
    return {
        "version": 1,
        "name": name,
        "model": model,
        "wafer": wafer,
        "pipeline": {"stages": stages, "dies_per_stage": dies_per_stage},
        "workload": {"requests": [_entry(each, first, time_scale) for each in chosen], "order": order},
        "chunking": {"max_chunks": max_chunks, "quantum": quantum},
        "objective": "stream",
    }


def _entry(request: TraceRequest, first: float, time_scale: float) -> Mapping[str, Any]:
    entry: dict[str, Any] = {"name": f"line {request.number}", "tokens": request.tokens - request.cached}
    if request.cached:
        entry["prefix"] = request.cached
    if release := round((request.time_ms - first) * time_scale / 1000, 6):
        entry["release"] = release
    return entry
