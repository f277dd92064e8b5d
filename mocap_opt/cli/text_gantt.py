"""A small Gantt chart in letters, for terminals."""

from __future__ import annotations

from collections import defaultdict
from math import ceil

from mocap_opt.pictures.palette import label_step, time_unit
from mocap_opt.pictures.run_view import RunView
from mocap_opt.replay.activity import Activity

CHUNK_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Chunk j is letter j mod 36."""
WAIT_SIGNS = {
    Activity.KV: "~",
    Activity.SEND: ">",
    Activity.ACTIVATIONS: "-",
    Activity.QUEUE: "=",
    Activity.ADMISSION: "!",
    Activity.BARRIER: ":",
}
MOST_ROWS = 32


def text_gantt(view: RunView, width: int = 80) -> list[str]:
    """Lines of a chart.

    Parameters
    ----------
    view : RunView
    width : int
        Characters in a line at most.

    Notes
    -----
    Every character shows what its stage does for the longest part of its time: a digit or letter
    is a chunk, a sign is a wait, a blank is time before the first or after the last chunk.  Of more
    than `MOST_ROWS` stages, every second, fourth, ... one is shown.
    """
    stages = view.tables.stages
    step = label_step(stages, MOST_ROWS)
    label = len(str(stages - 1)) + len("stage ")
    cells = max(10, width - label - 2)
    shown = range(0, stages, step)
    parts: dict[tuple[int, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    signs: set[Activity] = set()
    per_cell = float(view.latency) / cells
    for interval in view.intervals:
        if interval.stage % step:
            continue
        computing = interval.activity is Activity.COMPUTE
        sign = CHUNK_LETTERS[interval.chunk % 36] if computing else WAIT_SIGNS[interval.activity]
        start, end = float(interval.start) / per_cell, float(interval.end) / per_cell
        for cell in range(int(start), min(cells, ceil(end))):
            parts[interval.stage, cell][sign] += min(cell + 1, end) - max(cell, start)
    lines = []
    for stage in shown:
        row = ""
        for cell in range(cells):
            # A cell that is mostly blank is blank.
            found = parts.get((stage, cell), {})
            sign, most = max(found.items(), key=lambda item: item[1], default=(" ", 0.0))
            row += sign if most >= 1 - sum(found.values()) else " "
        lines.append(f"stage {stage:>{label - 6}} {row}".rstrip())
        signs.update(activity for activity, sign in WAIT_SIGNS.items() if sign in row)
    return [*lines, _axis(view, label, cells), *_legend(view, signs, step, width)]


def _axis(view: RunView, label: int, cells: int) -> str:
    scale, unit = time_unit(view.latency_s)
    half, full = (f"{part * view.latency_s * scale:.3g} {unit}" for part in (0.5, 1))
    line = "0".ljust(cells // 2 - len(half) // 2) + half
    return " " * (label + 1) + line.ljust(cells - len(full)) + full


def _legend(view: RunView, signs: set[Activity], step: int, width: int) -> list[str]:
    last = view.plan.chunks - 1
    letters = "0" if last == 0 else f"0 .. {CHUNK_LETTERS[min(last, 35)]}"
    entries = [f"{letters} chunks 0 to {last}" + (", modulo 36" if last > 35 else "")]
    entries += [f"{sign} {activity.value}" for activity, sign in WAIT_SIGNS.items() if activity in signs]
    if step > 1:
        entries.append(f"every {step}th stage shown" if step > 2 else "every second stage shown")
    lines = [view.execution.value + ":"]
    for entry in entries:
        if len(lines[-1]) + 2 + len(entry) > width:
            lines.append("   ")
        lines[-1] += "  " + entry
    return lines
