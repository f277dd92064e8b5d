"""One stage's least work, and the first and last chunk's travel (formulations/bounds.md, `stage_work`)."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.least_total import LeastTotal
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def stage_work(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound any execution by the busiest stage; None if no plan keeps to count and lengths.

    Once asked to stop it looks at no further stage: each proves a bound by itself.
    """
    setting = Setting(tables)
    if not setting.counts:
        return None
    found = [work_by_count(setting, 0)]
    for i in range(1, tables.stages):
        if asked_to_stop():
            break
        found.append(work_by_count(setting, i))
    values = np.array(found)
    # A plan has one count, and with it every stage's work is a bound.
    by_count = values.max(axis=0)
    at = int(by_count.argmin())
    note = f"stage {int(values[:, at].argmax())}, {setting.counts[at]} chunks"
    return Bound("stage_work", int(by_count[at]), Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, note)


def work_by_count(setting: Setting, stage: int) -> IntArray:
    """Least head + work + tail of a stage for every possible count, int64[count], ticks."""
    total = LeastTotal.of(setting.tables, setting.limits, setting.counts, stage, stage)
    travel, limits = setting.travel, setting.limits
    values = []
    for chunks in setting.counts:
        least = limits.least_boundaries(chunks)
        last_start = limits.latest_last_start(chunks)
        head, tail = travel.head[stage, least[1]], travel.tail[stage, last_start]
        values.append(total.at(least) + int(head) + int(tail))
    return np.array(values, dtype=np.int64)
