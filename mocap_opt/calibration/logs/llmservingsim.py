"""LLMServingSim's tables of measured layers: a folder with ``attention.csv`` and ``dense.csv``.

Source: casys-kaist/LLMServingSim at 5daddb21a545, ``profiler/perf/*/tp*/`` and the ``sequence`` of
``profiler/models/*.yaml``: a layer is ``layernorm`` twice and every other dense entry once, and attention.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mocap_opt.calibration.logs.log import Asked, FloatArray, Log, Row, settled
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_text, shown_path
from mocap_opt.messages import show

ATTENTION = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
DENSE = ("layer", "tokens", "time_us")
OUTSIDE = ("embedding", "final_layernorm", "lm_head", "sampler")
"""Entries that stand before the first layer or after the last one."""

TWICE = "layernorm"


def found(text: str) -> bool:
    """Whether a text is one of the folder's tables."""
    return text.startswith(("prefill_chunk,", "layer,tokens,"))


def read_folder(folder: Path, source: str, asked: Asked) -> Log:
    """Read the times of a stage: so many layers, each its dense parts and attention.

    Parameters
    ----------
    folder : Path
    source : str
        For messages.
    asked : Asked

    Raises
    ------
    InputError
        If a table is missing or wrong, layers are not said, or the model has experts.
    """
    problems = []
    if asked.layers is None:
        remedy = "say how many layers a stage has: --layers N"
        problems.append(Problem(source, "times of single layers", "times of a stage", remedy))
    if (folder / "moe.csv").exists():
        expected = "a model without experts: how many of them a chunk reaches is not in the tables"
        problems.append(Problem(source, "moe.csv", expected))
    if problems:
        raise InputError(problems)
    dense = _dense(folder)
    layers, rows = asked.layers or 1, []
    for number, cells in _table(folder / "attention.csv", ATTENTION):
        length, prefix, decoding = (int(cells[n]) for n in range(3))
        if length and not decoding:
            layer_us = float(cells[4]) + dense(length)
            rows.append(Row(number, length, prefix, layers * layer_us / 1e6))
    timings, notes = settled(rows, source)
    said = f"{layers} layers a stage, sums of kernels: without embedding, head, all-reduces, launches"
    return Log("llmservingsim", source, timings, notes=(said, *notes))


class _Dense:
    """Time of a layer's dense parts by tokens, us; linear between what was measured."""

    def __init__(self, parts: dict[str, dict[int, float]]) -> None:
        self.parts = [
            ((2.0 if name == TWICE else 1.0), np.array(sorted(times)), self._values(times))
            for name, times in parts.items()
        ]

    @staticmethod
    def _values(times: dict[int, float]) -> FloatArray:
        return np.array([times[tokens] for tokens in sorted(times)])

    def __call__(self, tokens: int) -> float:
        return sum(often * float(np.interp(tokens, at, times)) for often, at, times in self.parts)


def _dense(folder: Path) -> _Dense:
    parts: dict[str, dict[int, float]] = {}
    for _number, (name, tokens, time) in _table(folder / "dense.csv", DENSE):
        if name not in OUTSIDE:
            parts.setdefault(name, {})[int(tokens)] = float(time)
    return _Dense(parts)


def _table(path: Path, columns: tuple[str, ...]) -> list[tuple[int, list[str]]]:
    """Rows below the header, with their lines; every field but names of layers is a number."""
    where = shown_path(path)
    lines = list(csv.reader(read_text(path).splitlines()))
    if not lines or tuple(lines[0]) != columns:
        raise InputError([Problem(where, show(lines[0] if lines else ""), f"the header {','.join(columns)}")])
    rows = [(number, cells) for number, cells in enumerate(lines[1:], 2) if cells]
    wrong = [
        Problem(f"{where}, line {number}", show(",".join(cells)), "as many numbers as the header has names")
        for number, cells in rows
        if len(cells) != len(columns) or not all(_numeric(n, cell) for n, cell in enumerate(cells))
    ]
    if wrong:
        raise InputError(wrong[:20])
    return rows


def _numeric(place: int, cell: str) -> bool:
    if place == 0 and not cell[:1].isdigit():
        return cell.isidentifier()
    return cell.replace(".", "", 1).replace("e-", "", 1).isdigit()
