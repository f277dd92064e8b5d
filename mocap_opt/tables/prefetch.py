"""Weights and KV read ahead while the dies of a stage wait for an all-reduce (formulations/prefetch.md)."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.attention import stage_shares
from mocap_opt.tables.riders import Riders
from mocap_opt.tables.stage_costs import all_reduce

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.tables.layout import Layout


def with_prefetch(
    instance: Instance,
    layout: Layout,
    tick: Fraction,
    port_rate: IntArray,
    lengths: IntArray,
    tables: dict[str, IntArray],
) -> dict[str, Any]:
    """Take what is read ahead from the memory side of every chunk.

    max( compute + fb, mem - pf ) + c = max( compute + fb + pf, mem ) + c - pf: the time moves from
    ``length_cost`` to ``full_block``, both by the chunk's length, and no reader has to know of it.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    tick : Fraction
        Seconds.
    port_rate : int64[memory], bytes per tick
    lengths : int64[2, G + 1], tokens
    tables : dict
        ``full_block`` and ``length_cost`` of `mocap_opt.tables.cost_tables.Tables`, and others.
    """
    costs = instance.costs
    if costs.kind != "roofline" or not costs.prefetch_per_die:
        return tables
    ahead = np.stack(
        [
            read_ahead(instance, layout, i, costs.prefetch_per_die, int(port_rate[i]), tick, lengths)
            for i in range(layout.stages)
        ]
    )
    return {
        **tables,
        "full_block": tables["full_block"] + ahead,
        "length_cost": tables["length_cost"] - ahead,
    }


def read_ahead(
    instance: Instance,
    layout: Layout,
    stage: int,
    buffer: int,
    port_rate: int,
    tick: Fraction,
    lengths: IntArray,
) -> IntArray:
    """Time of reading that the all-reduces of a chunk hide, pf by its length, rounded down; ticks.

    pf = the sum over layers of 2 min( d buffer / R, t ), t the time of one all-reduce of the tokens that the
    layer keeps and of those decoded with them.  Never more than c, which contains 2 t of every layer.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    buffer : int, bytes
        Of each die.
    port_rate : int
        R, bytes per tick.
    tick : Fraction
        Seconds.
    lengths : int64[2, G + 1], tokens
    """
    start, slope = (each / tick for each in all_reduce(instance, layout, stage))
    riders, layers = Riders.of(instance), layout.layers[stage]
    filled = Fraction(len(layout.ranks[stage]) * buffer, port_rate)
    kept = Counter(share.keep for share in stage_shares(instance, layers))
    each = slope / riders.batch  # of a token; there are batch s l + r of them
    parts = [filled, start, each, *(each * keep for keep in kept)]
    unit = lcm(*(part.denominator for part in parts))
    points: Any = lengths.astype(object)
    total: Any = np.zeros_like(points)
    for keep, count in kept.items():
        chunk, more = int(each * keep * riders.batch * unit), int(each * unit)
        reduced = int(start * unit) + chunk * points + more * riders.at(points)
        total = total + 2 * count * np.minimum(reduced, int(filled * unit))
    found: IntArray = (total // unit).astype(np.int64)  # no more than c, whose range is checked
    return found
