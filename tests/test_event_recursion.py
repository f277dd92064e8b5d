"""Where nothing contends, the event-driven replay is the max-plus recursion, to the tick.

start(i, j) = max( end(i, j-1), end(i-1, j) + send, start(i+1, j-Q) )   the last if the queue has depth Q
end(i, j)   = start(i, j) + max( tau + (1 - f) x, x )
"""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import make_tables
from random_plans import random_partition, random_plan
from random_tables import MIDDLING, random_tables

from mocap_opt.flow_shop.recursion import NONE
from mocap_opt.replay.contention_free_makespan import admission_predecessors, contention_free_latency
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables.cost_tables import Tables

Times = list[list[Fraction]]


def recursion(duration: Times, send: Times, depth: int | None) -> tuple[Times, Times]:
    """Starts and ends; slot by slot, so that stage i + 1 has started chunk j - Q before (i, j)."""
    stages, chunks = len(duration), len(duration[0])
    start = [[Fraction(-1)] * chunks for _ in range(stages)]
    end = [[Fraction(-1)] * chunks for _ in range(stages)]
    for slot in range(stages + chunks - 1):
        for i in range(stages - 1, -1, -1):
            j = slot - i
            if not 0 <= j < chunks:
                continue
            after = [Fraction(0)]
            if j > 0:
                after.append(end[i][j - 1])
            if i > 0:
                after.append(end[i - 1][j] + send[i - 1][j])
            if depth is not None and i + 1 < stages and j >= depth:
                after.append(start[i + 1][j - depth])
            start[i][j] = max(after)
            end[i][j] = start[i][j] + duration[i][j]
    return start, end


def durations(tables: Tables, plan: Plan) -> tuple[Times, Times]:
    """Times of chunks and of their sends if nothing contends, [stage][chunk]."""
    cuts = plan.grid_indices(tables).tolist()
    kept = plan.remote_pages(tables) * tables.page_bytes[:, None, None]
    work, send = [], []
    for i in range(tables.stages):
        work.append([])
        send.append([])
        for j in range(plan.chunks):
            there, back = kept[i, j], kept[i, :j].sum(axis=0)
            ports = [Fraction(int(n), int(r)) for n, r in zip(there + back, tables.port_rate, strict=True)]
            links = [
                Fraction(int(go @ there + come @ back), int(rate) * tables.share_denominator)
                for go, come, rate in zip(
                    tables.share[:, i, :], tables.share[:, :, i], tables.link_rate, strict=True
                )
            ]
            x = max([*ports, *links])
            tau = int(tables.tau(i, cuts[j], cuts[j + 1]))
            work[i].append(max(tau + (1 - tables.overlap) * x, x))
            send[i].append(Fraction(int(tables.send_time(i, cuts[j], cuts[j + 1]))))
    return work, send


def quiet_case(rng: np.random.Generator, depth: int | None) -> tuple[Tables, Plan]:
    """A plan with remote homes in which no two messages ever meet and nothing waits for admission.

    Every ordered pair of stages has a link of its own.  No memory is home to more than one remote
    chunk, and none lies next to its stage, whose links carry activations.  Sends are shorter than
    any chunk, so they do not queue up on their link.  A home in an earlier stage's memory frees no
    earlier than that stage frees its own.
    """
    stages, tokens = int(rng.integers(1, 8)), int(rng.integers(1, 25))
    rate = rng.integers(2, 12, stages * stages)
    hop = int(rng.integers(0, 4))
    plain = make_tables(
        stages,
        tokens,
        max_chunks=min(8, tokens),
        linear=[int(x) for x in rng.integers(1, 20, stages)],
        quadratic=int(rng.integers(0, 3)),
        constant=2 * tokens,
        token_bytes=[int(x) for x in rng.integers(1, 400, stages)],
        activation_bytes=int(rng.integers(0, 5)),
        queue_depth=depth,
        overlap=[Fraction(1), Fraction(1, 3), Fraction(0)][int(rng.integers(3))],
    )
    pairs = [(a, b) for a in range(stages) for b in range(stages) if a != b]
    share = np.zeros((len(pairs), stages, stages), dtype=np.int64)
    for e, (a, b) in enumerate(pairs):
        share[e, a, b] = 1
    send = np.zeros_like(plain.send)
    for i in range(stages - 1):
        size = plain.lengths * plain.activation_bytes[i]
        # Rounded up: the replay may not be faster than the table.
        send[i] = hop - (-size // int(rate[pairs.index((i, i + 1))]))
    cuts = random_partition(plain, rng)
    assert cuts is not None
    chunks, taken, homes = len(cuts) - 1, set(), []
    for i in range(stages):
        for j in range(chunks):
            free = [k for k in range(i - 1) if k not in taken and j < chunks - (i - k)]
            if free and rng.random() < 0.5:
                k = int(rng.choice(free))
                taken.add(k)
                homes.append(Home(i, j, k, int(rng.integers(1, cuts[j + 1] - cuts[j] + 1))))
    # Own traffic where no other stage comes to the port, at most as long as tau.
    own = rng.integers(1, 50, stages)[:, None] * np.ones(plain.grid.size, dtype=np.int64)
    own[sorted(taken)] = 0
    port = rng.integers(2, 30, stages)
    tables = replace(
        plain,
        links=tuple(f"{a}>{b}" for a, b in pairs),
        link_rate=rate[: len(pairs)].astype(np.int64),
        share=share,
        send=send,
        hop_ticks=np.full((stages, stages), hop, dtype=np.int64),
        own_traffic=own,
        memory_side=-(-own // port[:, None]),
        port_rate=port,
    )
    return tables, Plan(tuple(cuts), tuple(homes))


@pytest.mark.parametrize("plans", [300, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("queue", ["unbounded", "bounded"])
def test_equals_the_recursion(queue, plans):
    rng = np.random.default_rng(20_261 if queue == "bounded" else 20_262)
    seen = Counter()
    for _ in range(plans):
        depth = int(rng.integers(1, 4)) if queue == "bounded" else None
        tables, plan = quiet_case(rng, depth)
        duration, send = durations(tables, plan)
        replay = replay_event(tables, plan)
        start, end = recursion(duration, send, depth)
        assert [list(row) for row in replay.start] == start
        assert [list(row) for row in replay.end] == end
        assert replay.rounded == 0
        seen["remote"] += bool(plan.homes)
        seen["KV longer than compute"] += any(account.kv_total for account in replay.accounts)
        seen["fractions"] += replay.latency.denominator > 1
        seen["queue"] += any(account.queue_room for account in replay.accounts)
        seen["more stages than chunks"] += plan.chunks < tables.stages
        assert not any(account.admission for account in replay.accounts)
    assert seen["remote"] >= 0.3 * plans
    assert seen["KV longer than compute"] >= 0.15 * plans
    assert seen["fractions"] >= 0.1 * plans
    assert seen["more stages than chunks"] >= 0.2 * plans
    assert (seen["queue"] >= 0.2 * plans) == (queue == "bounded")


def test_equals_the_recursion_on_other_networks_if_all_is_local():
    # Length limits, prefixes and the rest of the random tables; without links no activations meet.
    rng = np.random.default_rng(20_263)
    compared = 0
    while compared < 60:
        tables = random_tables(rng, MIDDLING)
        cuts = random_partition(tables, rng)
        if cuts is None:
            continue
        tables = replace(
            tables,
            share=np.zeros_like(tables.share),
            send=tables.send + rng.integers(0, 30, tables.send.shape),
            capacity=np.full_like(tables.capacity, 10**12),
        )
        plan = Plan.from_arrays(tables, cuts)
        replay = replay_event(tables, plan)
        start, end = recursion(*durations(tables, plan), tables.queue_depth)
        assert [list(row) for row in replay.start] == start, tables.name
        assert [list(row) for row in replay.end] == end, tables.name
        compared += 1


def test_never_faster_than_the_recursion():
    rng = np.random.default_rng(20_264)
    compared = longer = 0
    while compared < 60:
        tables = random_tables(rng, MIDDLING)
        plan = random_plan(tables, rng)
        if plan is None:
            continue
        replay = replay_event(tables, plan)
        _, end = recursion(*durations(tables, plan), tables.queue_depth)
        for row, least in zip(replay.end, end, strict=True):
            assert all(a >= b for a, b in zip(row, least, strict=True)), tables.name
        compared += 1
        longer += replay.latency > end[-1][-1]
    assert longer >= 10


@pytest.mark.parametrize("alike", [True, False])
def test_lockstep_at_queue_depth_one_without_transfers(alike):
    # start(0, t) is the end of all that ran in slot t - 1.  With identical stages the longest chunk
    # of a slot has always waited for the slot to begin; with unlike ones it may have started sooner.
    rng = np.random.default_rng(20_265)
    sooner = 0
    for _ in range(100):
        stages, tokens = int(rng.integers(1, 7)), int(rng.integers(1, 20))
        speeds = [int(x) for x in rng.integers(1, 20, stages)]
        tables = make_tables(
            stages,
            tokens,
            max_chunks=min(tokens, 9),
            linear=speeds[0] if alike else speeds,
            quadratic=int(rng.integers(0, 3)),
            queue_depth=1,
        )
        cuts = random_partition(tables, rng)
        assert cuts is not None
        plan = Plan.from_arrays(tables, cuts)
        event, lockstep = replay_event(tables, plan), replay_lockstep(tables, plan)
        assert event.latency <= lockstep.latency
        sooner += event.latency < lockstep.latency
    assert sooner == 0 if alike else sooner >= 10


def test_empty_leading_chunks_change_nothing():
    tables = make_tables(3, 6, linear=3, quadratic=1)
    pages = np.zeros((3, 4, 3), dtype=np.int64)
    pages[0, 2, 1] = 2
    with_empty = Plan.from_arrays(tables, [0, 0, 0, 4, 6], pages)
    without = Plan((0, 4, 6), (Home(0, 0, 1, 2),))
    assert with_empty == without
    assert replay_event(tables, with_empty).start == replay_event(tables, without).start


def test_pages_without_bytes_wait_for_nothing():
    # Stage 0 has pages in memory 1, to which stage 1's last chunk brings some: it waits until stage 0 ends,
    # unless all KV of stage 0 lies in rings and its pages are empty.
    plan = Plan((0, 2, 4, 6), (Home(0, 1, 1, 2),))
    for size, waits in ((1, True), (0, False)):
        tables = make_tables(2, 6, linear=[9, 1], token_bytes=[size, 30])
        indices = plan.grid_indices(tables)
        found = admission_predecessors(tables, indices, plan.remote_pages(tables))
        assert bool(found[1, 2] != NONE) is waits
        assert contention_free_latency(tables, plan) <= replay_event(tables, plan).latency
