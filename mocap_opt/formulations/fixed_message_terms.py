"""Fixed messages and own traffic in the rows of links and ports (``formulations/fixed_messages.md``)."""

from __future__ import annotations

import numpy as np

from mocap_opt.formulations.resources import Carrier
from mocap_opt.formulations.rows import ModelData, Terms
from mocap_opt.tables.cost_tables import Tables


def fixed_load(data: ModelData, carrier: Carrier, i: int, j: int, *, weights: bool) -> Terms:
    """Load by fixed messages: with a chunk that is not empty, for its pages, and with the first one.

    Parameters
    ----------
    data : ModelData
    carrier : Carrier
    i, j : int
        Stage and chunk.
    weights : bool
        Whether streamed weights count.
    """
    (each, per_page, first), chunks, load = carrier.fixed_units(i, weights=weights), data.chunks, Terms()
    if each or first:
        load.plus(each + first, chunks.used(j))
    if per_page:
        load.plus(per_page, chunks.pages(j + 1))
        load.plus(-per_page, chunks.pages(j) if j else Terms())
    if first and j:
        load.plus(-first, chunks.used(j - 1))
    return load


def own_traffic_is_hidden(tables: Tables, k: int) -> bool:
    """Whether stage k's own traffic never keeps its port busy for longer than the chunk computes.

    Parameters
    ----------
    tables : Tables
    k : int
        A memory; one without a stage has no such traffic.
    """
    if k >= tables.stages:
        return True
    start, end = np.triu_indices(tables.steps + 1, 1)
    times = tables.tau(k, start, end).astype(object) * int(tables.port_rate[k])
    return bool((times >= tables.own_traffic[k, end].astype(object)).all())


def fixed_messages_are_hidden(tables: Tables) -> bool:
    """Whether fixed messages never keep a link or port busy for longer than a slot's chunks compute.

    With every stage at the largest ratio of load to chunk time that it can have, a link or port is busy for
    at most the sum of these ratios times the longest of the slot's chunks.
    """
    if not tables.messages:
        return True
    loads, (start, end) = tables.fixed_loads, np.triu_indices(tables.steps + 1, 1)
    pages = (tables.pages[end] - tables.pages[start]).astype(np.float64)
    busy = np.zeros(len(loads.rate))
    for i in range(tables.stages):
        times = np.maximum(tables.tau(i, start, end).astype(np.float64), 0.5)
        for r in loads.used():
            base = float(loads.each[r, i]) + float(loads.first[r, i]) * (start == 0)
            busy[r] += ((base + float(loads.per_page[r, i]) * pages) / times).max()
    waits = tables.overlap < 1 and bool((loads.per_page != 0).any() or (loads.first != 0).any())
    return not waits and bool((busy <= 0.999 * loads.rate.astype(np.float64)).all())
