"""Fixed messages of an instance, as rows of the tables (formulations/fixed_messages.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.models import layer_matrices
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.fixed_messages import MessageKind, streaming_stall
from mocap_opt.tables.layout import Layout
from mocap_opt.tables.rounding import Rounding, whole
from mocap_opt.units import decimal_bytes, exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

BUFFERED_LAYERS = 2
"""Layers' worth of streamed weights that a stage's staging holds: one in use, one arriving."""


def streamed_bytes(instance: Instance, layer: int) -> Fraction:
    """Bytes of the streamed experts of a layer, exact; 0 where there are none.

    Parameters
    ----------
    instance : Instance
    layer : int
        From 0.
    """
    streamed, experts = instance.pipeline.weights, instance.model.experts
    if streamed is None or experts is None or not experts.on(layer):
        return Fraction(0)
    expert = sum(
        matrix.size
        for matrix in layer_matrices(instance.model, layer)
        if matrix.name.startswith("mlp.experts.")
    )
    return streamed.streamed_experts * expert * exact(instance.precision.of_layer(layer))


def with_fixed_messages(instance: Instance, laid_out: Layout, tables: Tables) -> Tables:
    """Add what an instance's streamed weights, export and prefix load move, and what they change.

    Parameters
    ----------
    instance : Instance
    laid_out : Layout
        Of `instance`.
    tables : Tables
        Of `instance`, without them.

    Raises
    ------
    InputError
        If streamed weights or exports do not fit in their pool.
    """
    workload, streamed = instance.workload, instance.pipeline.weights
    stages = range(tables.stages)
    rows: list[list[int]] = []
    if streamed is not None:
        pool = _memory(tables, streamed.pool)
        tables, sizes = _streaming(instance, laid_out, tables, pool)
        rows += [[MessageKind.WEIGHTS, i, pool, i, sizes[i], 0, 0] for i in stages]
    if workload.export is not None:
        pool = _memory(tables, workload.export)
        rows += [[MessageKind.EXPORT, i, i, pool, 0, int(tables.page_bytes[i]), 0] for i in stages]
    if workload.prefix_from is not None:
        pool = _memory(tables, workload.prefix_from)
        rows += [[MessageKind.PREFIX, i, pool, i, 0, 0, int(tables.prefix_bytes[i])] for i in stages]
    if not rows:
        return tables
    if problems := [*_shortages(instance, tables)]:
        raise InputError(problems)
    tables = replace(tables, fixed_messages=np.array(rows, dtype=np.int64))
    return tables if streamed is None else _stalled(tables, 1 - exact(streamed.overlap))


def export_room(instance: Instance, tables: Tables) -> int | None:
    """Bytes that the pool of exports has beside weights; None without exports.

    Parameters
    ----------
    instance : Instance
    tables : Tables
        Of `instance`.
    """
    if instance.workload.export is None:
        return None
    pool = _memory(tables, instance.workload.export)
    return int(tables.capacity[pool] - tables.static[pool])


def _memory(tables: Tables, pool: str) -> int:
    return tables.stages + tables.pools.index(pool)


def _streaming(instance: Instance, laid_out: Layout, tables: Tables, pool: int) -> tuple[Tables, list[int]]:
    """Tables whose streamed weights have left the stages for the pool, and their bytes by stage."""
    static, staging, sizes = tables.static.copy(), tables.staging.copy(), []
    for i, layers in enumerate(laid_out.layers):
        by_layer = [streamed_bytes(instance, layer) for layer in layers]
        size = whole(sum(by_layer, Fraction(0)), Rounding.UP, "streamed weights")
        sizes.append(size)
        static[i] -= sum(by_layer, Fraction(0)).__floor__()
        static[pool] += size
        staging[i] += whole(BUFFERED_LAYERS * max(by_layer), Rounding.UP, "buffers of streamed weights")
    return replace(tables, static=static, staging=staging), sizes


def _stalled(tables: Tables, part: Fraction) -> Tables:
    """Tables whose chunks wait for a part of their streamed weights' time."""
    cost = tables.length_cost.copy()
    for stage, ticks in streaming_stall(tables.messages, tables.fixed_loads, part).items():
        cost[stage] += ticks
    return replace(tables, length_cost=cost)


def _shortages(instance: Instance, tables: Tables) -> Iterator[Problem]:
    """Pools that are too small for the weights, or for all KV that is exported to them."""
    streamed = instance.pipeline.weights
    if streamed is not None:
        pool = _memory(tables, streamed.pool)
        short = int(tables.static[pool] - tables.capacity[pool])
        if short > 0:
            found = f"streamed weights {decimal_bytes(short)} larger than pool {streamed.pool}"
            yield Problem("pipeline.weights", found, "weights that fit", "enlarge the pool, or stream fewer")
    room = export_room(instance, tables)
    exported = int(tables.page_bytes.sum()) * int(tables.pages[-1])
    if room is not None and exported > room:
        found = f"KV {decimal_bytes(exported - room)} larger than pool {instance.workload.export} has room"
        yield Problem("workload.export", found, "KV that fits", "enlarge the pool, or shorten the prompt")
