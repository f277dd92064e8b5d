"""KV that cannot stay at home over the fastest way out (formulations/bounds.md, `streaming`)."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.stage_work import work_by_count
from mocap_opt.bounds.transfer_time import Demand, Weights, good_weights
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables


def streaming(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the bytes that must leave home; None if a plan may keep all at home.

    None too if asked to stop before every count was looked at.
    """
    try:
        return _streaming(tables, asked_to_stop)
    except StoppedError:
        return None


def _streaming(tables: Tables, asked_to_stop: AskedToStop) -> Bound | None:
    setting = Setting(tables)
    demands: dict[int, list[Demand] | None] = {}
    for chunks in setting.counts:
        stop_if(asked_to_stop)
        demands[chunks] = _demands(setting, chunks)
    possible = {chunks: found for chunks, found in demands.items() if found is not None}
    if tables.stages == 1 or not possible or not any(possible.values()):
        return None
    weights: dict[tuple[int, ...], Weights] = {}
    by_stage: list[IntArray] = []
    for i in range(tables.stages):
        stop_if(asked_to_stop)
        by_stage.append(work_by_count(setting, i))
    work = np.array(by_stage)
    values: list[tuple[int, str]] = []
    for chunks, found in possible.items():
        at_count = work[:, setting.counts.index(chunks)]
        value, note = int(at_count.max()), "work alone"
        groups = [[demand] for demand in found] + ([found] if len(found) > 1 else [])
        for group in groups:
            stop_if(asked_to_stop)
            key = tuple(demand.stage for demand in group)
            if key not in weights:
                weights[key] = good_weights(tables, group)
            ticks = _ticks(setting, chunks, group, weights[key], at_count.tolist())
            if ticks > value:
                value, note = ticks, f"KV of stages {key[0]}..{key[-1]}"
        values.append((value, f"{note}, {chunks} chunks"))
    least, note = min(values)
    return Bound("streaming", least, Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, note)


def _demands(setting: Setting, chunks: int) -> list[Demand] | None:
    """Bytes of each stage that must leave it, with so many chunks; None if nothing fits at all."""
    tables, limits = setting.tables, setting.limits
    longest = int(tables.lengths[1, limits.shortest_longest(chunks)])
    room = PooledMemory.of(tables).free(longest) - tables.prefix_bytes
    if (room < 0).any():
        return None
    boundaries = limits.least_boundaries(chunks)
    demands = []
    for k, size in enumerate(tables.page_bytes.tolist()):
        local = int(room[k]) // size if size else int(tables.pages[-1])
        away = np.maximum(tables.pages[boundaries[1:]] - local, 0)
        # When chunk j runs, what is away of the chunks before it is read.
        demands.append(Demand(k, size * int(away[-1]), size * int(away[:-1].sum())))
    return [demand for demand in demands if demand.written]


def _ticks(setting: Setting, chunks: int, group: list[Demand], weights: Weights, work: list[int]) -> int:
    """Least latency with this traffic; `work` is each stage's head + work + tail."""
    limits, travel = setting.limits, setting.travel
    first_end = int(limits.least_boundaries(chunks)[1])
    last_start = limits.latest_last_start(chunks)
    traffic = weights.time(group)
    head = min(int(travel.head[demand.stage, first_end]) for demand in group)
    tail = min(int(travel.tail[demand.stage, last_start]) for demand in group)
    ticks = head + traffic.numerator // traffic.denominator + tail
    if len(group) == 1 and setting.tables.overlap < 1:
        late = (1 - setting.tables.overlap) * traffic
        ticks = max(ticks, work[group[0].stage] + late.numerator // late.denominator)
    return ticks
