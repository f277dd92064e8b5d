"""The event-driven replay against its SimPy twin."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from random_plans import random_plan
from random_tables import TINY_PAIR, TINY_TRIPLE, Size, random_tables
from simpy_twin import twin

from mocap_opt.replay.event import replay_event
from mocap_opt.tables.cost_tables import Tables

SMALL = Size(stages=(3, 5), steps=(4, 9), max_chunks=(3, 6))


def heavier(tables: Tables, factor: int) -> Tables:
    """As before, but with many times the KV to move."""
    return replace(
        tables,
        page_bytes=tables.page_bytes * factor,
        prefix_bytes=tables.prefix_bytes * factor,
        capacity=tables.capacity * factor,
    )


def test_agrees_with_the_twin_on_200_small_plans():
    rng = np.random.default_rng(20_260)
    compared = exact = waiting = 0
    while compared < 200:
        tables = random_tables(rng, [TINY_PAIR, TINY_TRIPLE, SMALL, SMALL][compared % 4])
        tables = heavier(tables, int(rng.choice([1, 10, 40])))
        plan = random_plan(tables, rng, scatter=0.5)
        if plan is None:
            continue
        replay = replay_event(tables, plan)
        start, end = twin(tables, plan)
        # Ends that the clock's resolution rounds up are off by next to nothing.
        slack = Fraction(1, 2**200) if replay.rounded else 0
        for ours, theirs in ((replay.start, start), (replay.end, end)):
            for row, other in zip(ours, theirs, strict=True):
                assert all(abs(a - b) <= slack for a, b in zip(row, other, strict=True)), tables.name
        compared += 1
        exact += replay.rounded == 0
        waiting += any(account.kv_total for account in replay.accounts)
    assert exact >= 190
    assert waiting >= 60
