"""KV that cannot stay at home over the fastest way out (formulations/bounds.md, `streaming`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.bounds.stage_work import work_by_count
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

#: Rounds of multiplicative updates; the second half of them is averaged.
ROUNDS = 160
#: Parts of the greatest weight below which a weight is tried as 0.
NEGLIGIBLE = (0.0, 0.02, 0.2)
#: Size of the whole numbers that weights end in.
WEIGHT_UNITS = 2**20


@dataclass(frozen=True)
class Demand:
    """Bytes of one stage's KV that are written to other memories and read from them."""

    stage: int
    written: int
    read: int


@dataclass(frozen=True, eq=False)
class ResourceWeights:
    """What a byte on a link or at a port counts: whole numbers >= 0, any of them valid.

    Attributes
    ----------
    out, back : int64[memory, memory]
        What a byte counts at least that goes from a stage, by its own memory, to a memory, or back.
    capacity : int
        What all links and ports carry together in a tick, counted alike.
    """

    out: IntArray
    back: IntArray
    capacity: int

    def time(self, demands: list[Demand]) -> Fraction:
        """Least time, ticks, for what the demands move; each may choose its memories."""
        counted = 0
        for demand in demands:
            others = np.arange(self.out.shape[0]) != demand.stage
            counted += demand.written * int(self.out[demand.stage, others].min())
            counted += demand.read * int(self.back[demand.stage, others].min())
        return Fraction(counted, self.capacity)


def resource_weights(
    tables: Tables, demands: list[Demand], asked_to_stop: AskedToStop = never
) -> ResourceWeights:
    """ResourceWeights under which the demands take long, by multiplicative updates.

    Resources that are loaded when every demand takes its cheapest way get dearer.  At least two
    memories are needed.

    Parameters
    ----------
    tables : Tables
    demands : list of Demand
    asked_to_stop : callable
        Asked between rounds.

    Raises
    ------
    StoppedError
        If asked to stop.
    """
    memories, denominator = tables.memories, tables.share_denominator
    links = tables.share / denominator / tables.link_rate[:, None, None]
    ports = np.zeros((memories, memories, memories))
    ports[np.arange(memories), :, np.arange(memories)] = (1 / tables.port_rate)[:, None]
    # Ticks per byte by [resource, demand, memory], out and back; a port is loaded either way.
    who = [demand.stage for demand in demands]
    out = np.concatenate([links[:, who, :], ports[:, who, :]])
    back = np.concatenate([links[:, :, who].transpose(0, 2, 1), ports[:, who, :]])
    resources, count = out.shape[0], len(demands)
    # Both ways in one matrix, a column for each demand, way and memory: rounds are many, and arrays small.
    ways = np.stack([out, back], axis=2).reshape(resources, -1)
    at_home = np.zeros((2 * count, memories))
    at_home[np.arange(2 * count), np.repeat(who, 2)] = np.inf
    amounts = np.array([[demand.written, demand.read] for demand in demands], dtype=np.float64).ravel()
    first = np.arange(2 * count) * memories
    load, total, chosen = np.zeros(resources), np.zeros(resources), np.full(resources, 1 / resources)
    for turn in range(1, ROUNDS + 1):
        stop_if(asked_to_stop)
        prices = (chosen @ ways).reshape(2 * count, memories) + at_home
        load += ways[:, first + prices.argmin(axis=1)] @ amounts
        # Loads relative to the greatest, with the step of the standard regret bound.
        heat = load * (math.sqrt(turn * math.log(resources + 1)) / max(load.max(), 1e-300))
        chosen = np.exp(heat - heat.max())
        chosen /= chosen.sum()
        if 2 * turn > ROUNDS:
            total += chosen
    rates = np.concatenate([tables.link_rate, tables.port_rate])
    busy = [np.where(total < part * total.max(), 0.0, total) for part in NEGLIGIBLE]
    # Resources between which the demands are indifferent come out nearly alike: try them alike.
    busy.append(np.where(total < total.max() / 2, 0.0, 1.0))
    tried = [_exact(tables, weights / rates) for weights in busy]
    return max(tried, key=lambda weights: weights.time(demands))


def _exact(tables: Tables, wanted: np.ndarray) -> ResourceWeights:
    """Round weights per byte to whole numbers and count everything with them."""
    memories, links = tables.memories, len(tables.links)
    whole = np.floor(wanted / wanted.max() * WEIGHT_UNITS).astype(np.int64)
    on_link, at_port = whole[:links], whole[links:] * tables.share_denominator
    pairs = np.tensordot(on_link, tables.share, 1) if links else np.zeros((memories,) * 2, dtype=np.int64)
    rates = [*tables.link_rate.tolist(), *tables.port_rate.tolist()]
    capacity = sum(w * rate for w, rate in zip(whole.tolist(), rates, strict=True)) * tables.share_denominator
    return ResourceWeights(pairs + at_port[None, :], pairs.T + at_port[None, :], capacity)


def streaming(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the bytes that must leave home; None if a plan may keep all at home.

    None too if asked to stop before every count was looked at.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before each count and stage.
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
    if tables.memories == 1 or not possible or not any(possible.values()):
        return None
    weights: dict[tuple[int, ...], ResourceWeights] = {}
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
                weights[key] = resource_weights(tables, group)
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


def _ticks(
    setting: Setting, chunks: int, group: list[Demand], weights: ResourceWeights, work: list[int]
) -> int:
    """Least latency with this traffic; `work` is each stage's head + work + tail."""
    limits, heads_and_tails = setting.limits, setting.heads_and_tails
    first_end = int(limits.least_boundaries(chunks)[1])
    last_start = limits.latest_last_start(chunks)
    traffic = weights.time(group)
    head = min(int(heads_and_tails.head[demand.stage, first_end]) for demand in group)
    tail = min(int(heads_and_tails.tail[demand.stage, last_start]) for demand in group)
    ticks = head + traffic.numerator // traffic.denominator + tail
    if len(group) == 1 and setting.tables.overlap < 1:
        late = (1 - setting.tables.overlap) * traffic
        ticks = max(ticks, work[group[0].stage] + late.numerator // late.denominator)
    return ticks
