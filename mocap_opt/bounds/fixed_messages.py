"""Messages that no plan chooses over the links and ports they need (formulations/fixed_messages.md)."""

from __future__ import annotations

import numpy as np

from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.stage_work import work_by_count
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def fixed_messages(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the bytes of fixed messages on each link and port; None if there are none.

    None too if asked to stop before every link and port was looked at.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before each link and port.
    """
    setting = Setting(tables)
    if not tables.messages or not setting.counts:
        return None
    work = np.array([work_by_count(setting, i) for i in range(tables.stages)]).max(axis=0)
    best = [(int(ticks), "work alone") for ticks in work]
    for r in tables.fixed_loads.used():
        if asked_to_stop():
            return None
        name = tables.links[r] if r < len(tables.links) else tables.memory_name(r - len(tables.links))
        for n, chunks in enumerate(setting.counts):
            ticks = _passage(setting, r, chunks)
            if ticks > best[n][0]:
                best[n] = ticks, f"{'link' if r < len(tables.links) else 'port of'} {name}"
    (ticks, where), chunks = min(zip(best, setting.counts, strict=True))
    note = f"{where}, {chunks} chunks"
    return Bound("fixed_messages", ticks, Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, note)


def least_units(tables: Tables) -> dict[int, int]:
    """Units of a request's fixed messages on every link and port that has some, with the fewest chunks.

    Parameters
    ----------
    tables : Tables
    """
    if not tables.messages or not len(tables.counts):
        return {}
    return {r: sum(_units(tables, r, tables.counts[0])) for r in tables.fixed_loads.used()}


def _units(tables: Tables, resource: int, chunks: int) -> list[int]:
    """Units of a request's fixed messages on a link or port, by stage."""
    loads, pages, at = tables.fixed_loads, int(tables.pages[-1]), resource
    return [
        int(chunks * loads.each[at, i] + pages * loads.per_page[at, i] + loads.first[at, i])
        for i in range(tables.stages)
    ]


def _passage(setting: Setting, resource: int, chunks: int) -> int:
    """Least time before the first byte on a link or port, of all its bytes, and after the last one."""
    tables, limits, ways = setting.tables, setting.limits, setting.heads_and_tails
    by_stage = _units(tables, resource, chunks)
    carried = [i for i, units in enumerate(by_stage) if units]
    first_end = int(limits.least_boundaries(chunks)[1])
    last_start = limits.latest_last_start(chunks)
    head = min(int(ways.head[i, first_end]) for i in carried)
    tail = min(int(ways.tail[i, last_start]) for i in carried)
    return head + sum(by_stage) // int(tables.fixed_loads.rate[resource]) + tail
