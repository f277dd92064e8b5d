"""Lockstep replay: every row by hand, then to the tick against the independent pricing."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import oracle
import pytest
from builders import make_tables
from random_plans import random_partition, random_plan
from random_tables import random_instances, random_tables

from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan

HALVES = Plan((0, 1, 2))


def pair(**changes):
    """Two stages, two tokens, 10 ticks a token; chunk j of stage i in slot i + j."""
    return make_tables(**{"tokens": 2, "max_chunks": 2, **changes})


def test_compute_and_sends():
    # A chunk of one token is a message of 6 bytes at 3 bytes per tick and one hop of 1: 3 ticks.
    # Slot 0: stage 0 computes and sends; slot 1: both compute, stage 0 sends; slot 2: stage 1 alone.
    replay = replay_lockstep(pair(activation_bytes=6, link_rate=3, hop=1), HALVES)
    assert replay.work.tolist() == [10, 10, 10]
    assert replay.exchange.tolist() == [3, 3, 0]
    assert replay.work_bound_by == ("stage 0", "stage 0", "stage 1")
    assert replay.exchange_bound_by == ("send 0", "send 0", "")
    assert replay.duration.tolist() == [13, 13, 10]
    assert replay.start.tolist() == [0, 13, 26]
    assert replay.latency == 36
    assert replay.link_activation_bytes.tolist() == [[6, 6, 0], [0, 0, 0]]


def test_longest_chunk_time_of_every_slot():
    # Phi = x^2 on stage 0, 3 x^2 on stage 1; chunks [0, 1), [1, 3): 1, 8 and 3, 24.
    replay = replay_lockstep(make_tables(tokens=3, linear=0, quadratic=[1, 3]), Plan((0, 1, 3)))
    assert replay.work.tolist() == [1, 8, 24]
    assert replay.work_bound_by == ("stage 0", "stage 0", "stage 1")


def test_kv_is_written_once_and_read_by_every_later_chunk():
    # Stage 0's first page (30 bytes) lives in memory 1: written over 0>1 at 2 bytes per tick in slot 0,
    # 15 ticks; read back over 1>0 at 1 byte per tick in slots 1 and 2, 30 ticks each; never in slot 3.
    tables = make_tables(tokens=3, token_bytes=30, link_rate={"0>1": 2, "1>0": 1})
    replay = replay_lockstep(tables, Plan((0, 1, 2, 3), (Home(0, 0, 1, 1),)))
    assert replay.link_kv_bytes.tolist() == [[30, 0, 0, 0], [0, 30, 30, 0]]
    assert replay.work.tolist() == [15, 30, 30, 10]
    assert replay.work_bound_by == ("link 0>1", "link 1>0", "link 1>0", "stage 1")
    assert replay.latency == 85


def test_last_chunk_is_written_and_never_read():
    tables = pair(token_bytes=30, link_rate=1)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 1, 1, 1),)))
    assert replay.link_kv_bytes.tolist() == [[0, 30, 0], [0, 0, 0]]
    assert replay.latency == 10 + 30 + 10


def test_reads_of_one_stage_and_writes_of_another_share_a_link():
    # Slot 1: stage 0 reads its first page from memory 1 over 1>0 (30 bytes), stage 1 writes its first
    # page to memory 0 over 1>0 (20 bytes): 50 / 4 = 12.5, rounded up to 13.
    # Slot 2: stage 1 reads it over 0>1: 20 / 4 = 5.  Slot 0: the write of 30: 8.
    tables = pair(token_bytes=[30, 20], link_rate=4, linear=1)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1), Home(1, 0, 0, 1))))
    assert replay.link_kv_bytes.tolist() == [[30, 0, 20], [0, 50, 0]]
    assert replay.work.tolist() == [8, 13, 5]


def test_remote_kv_loads_the_port_of_the_memory_it_touches():
    # Port 1, 7 bytes per tick.  Own traffic of a chunk ending at b: 5 + 2 b bytes.
    # Slot 0: the write, 30 bytes.  Slot 1: stage 1's first chunk, 7, and the read, 30: 37 / 7 -> 6.
    # Slot 2: stage 1's second chunk, 9.  Port 0 carries stage 0's own traffic only: 7 and 9 at 100.
    tables = pair(token_bytes=30, own_weights=5, own_per_token=2, port_rate=[100, 7], linear=1)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1),)))
    assert replay.port_bytes.tolist() == [[7, 9, 0], [30, 37, 9]]
    assert replay.work.tolist() == [5, 6, 2]
    assert replay.work_bound_by == ("memory 1",) * 3


def test_what_does_not_overlap_is_added_to_compute():
    # x = 30 / 4 = 7.5 on the link, 30 / 3 = 10 on memory 1's port.  f = 1/2: 10 + 5.  f = 3/4: 12.5, 13.
    plan = Plan((0, 1, 2), (Home(0, 1, 1, 1),))
    tables = pair(token_bytes=30, link_rate=4, port_rate=3)
    assert replay_lockstep(replace(tables, overlap=Fraction(1, 2)), plan).work.tolist() == [10, 15, 10]
    assert replay_lockstep(replace(tables, overlap=Fraction(3, 4)), plan).work.tolist() == [10, 13, 10]
    assert replay_lockstep(replace(tables, overlap=Fraction(0)), plan).work.tolist() == [10, 20, 10]
    # Without the port, the link's 7.5: 10 + 3.75.
    linked = replace(tables, overlap=Fraction(1, 2), port_rate=np.array([1000, 1000]))
    assert replay_lockstep(linked, plan).work.tolist() == [10, 14, 10]


def test_only_a_stages_own_transfers_delay_its_compute():
    # Slot 1: both stages write 12 bytes at 3 per tick, on opposite links and ports: x = 4 for each, so
    # 10 + 4 with no overlap.  Their sum, 8, would give 18.
    tables = pair(token_bytes=12, link_rate=3, overlap=0)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 1, 1, 1), Home(1, 0, 0, 1))))
    assert replay.work.tolist() == [10, 14, 14]


def test_writes_and_reads_of_a_stage_add_up_on_a_port():
    # Slot 1: stage 0 reads its first page from memory 1 and writes its second there: 24 bytes at the
    # port's 3 per tick, 8 ticks; 12 on either link.  f = 0: 10 + 8.
    tables = pair(token_bytes=12, port_rate=3, overlap=0)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1), Home(0, 1, 1, 1))))
    assert replay.work.tolist() == [14, 18, 10]


def test_activations_of_two_stages_share_a_link():
    # Three stages; link "a" carries half of 0 -> 1 and all of 1 -> 2.  Messages of one token: 5 bytes
    # from stage 0, 8 from stage 1.  Slot 1: (5 / 2 + 8) / 3 = 3.5, and the most hops, 4: 7.5, 8.
    # Slot 0: 2.5 / 3 + 1 -> 2; slot 2 has stage 1's second message alone: 8 / 3 + 4 -> 7.
    share = np.zeros((1, 3, 3), dtype=np.int64)
    share[0, 0, 1], share[0, 1, 2] = 1, 2
    hops = np.zeros((3, 3), dtype=np.int64)
    hops[0, 1], hops[1, 2] = 1, 4
    tables = replace(
        make_tables(3, 2, activation_bytes=[5, 8, 100]),
        links=("a",),
        link_rate=np.array([3]),
        share_denominator=2,
        share=share,
        hop_ticks=hops,
        send=np.zeros((3, 2, 3), dtype=np.int64),
    )
    replay = replay_lockstep(tables, HALVES)
    assert replay.link_activation_bytes.tolist() == [[5, 21, 16, 0]]
    assert replay.exchange.tolist() == [2, 8, 7, 0]
    assert replay.exchange_bound_by == ("link a", "link a", "link a", "")


def test_both_phases_are_rounded_up_on_their_own():
    # Slot 0: the write, 3 bytes at 2 per tick, 1.5, and the message likewise: 2 + 2, not 3.
    tables = pair(linear=1, token_bytes=3, activation_bytes=3, link_rate=2)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1),)))
    assert (replay.work[0], replay.exchange[0]) == (2, 2)


def test_a_cached_prefix_costs_attention_reads_and_rebuilding():
    # P = 3, Phi = x^2 + 6 x: chunks 7, 9; gamma (P + a) = 6, 8; together 13, 17.
    # Own traffic, 1 byte a token of context at 1 byte per tick: 4, 5; hidden behind them.
    tables = pair(prefix=3, linear=0, quadratic=1, prefix_time=2, own_per_token=1, port_rate=1)
    replay = replay_lockstep(tables, HALVES)
    assert replay.work.tolist() == [13, 17, 17]
    assert replay.port_bytes.tolist() == [[4, 5, 0], [0, 4, 5]]


def test_partial_page_moves_whole():
    # Grid 0, 4, 5, pages of two tokens of 10 bytes: the last token alone moves 20 bytes.
    tables = make_tables(tokens=5, quantum=4, page=2, token_bytes=10, link_rate=1)
    replay = replay_lockstep(tables, Plan((0, 4, 5), (Home(0, 1, 1, 1),)))
    assert replay.link_kv_bytes.tolist() == [[0, 20, 0], [0, 0, 0]]
    assert replay.work.tolist() == [40, 40, 10]
    assert replay_lockstep(replace(tables, link_rate=np.array([1, 1]) * 2), Plan((0, 4, 5))).latency == 90


def test_the_last_chunk_has_its_own_lengths():
    # c = 2 per token and full-block pairs at 1: chunk [4, 5) is 1 token, not a whole step of 4.
    # Chunk 0: 40 + 6 + 8 = 54; chunk 1: 10 + 0 + 2 = 12.
    tables = make_tables(tokens=5, quantum=4, per_token=2, full_pair=1)
    assert replay_lockstep(tables, Plan((0, 4, 5))).work.tolist() == [54, 54, 12]


def test_empty_leading_chunks_cost_nothing():
    tables = pair(token_bytes=30, link_rate=2, constant=5, activation_bytes=6, hop=1)
    pages = np.zeros((2, 4, 2), dtype=np.int64)
    pages[0, 3, 1] = 1
    led = Plan.from_arrays(tables, [0, 0, 0, 1, 2], pages)
    assert led == Plan((0, 1, 2), (Home(0, 1, 1, 1),))
    # 3 slots only: 15, 15 (the write), 15, and two sends of 1 + 6 / 2 = 4.
    assert replay_lockstep(tables, led).duration.tolist() == [19, 19, 15]


def test_one_chunk_and_one_stage():
    assert replay_lockstep(make_tables(3, linear=[1, 2, 3]), Plan((0, 4))).work.tolist() == [4, 8, 12]
    alone = replay_lockstep(make_tables(1, linear=3), Plan((0, 1, 4)))
    assert (alone.work.tolist(), alone.exchange.tolist()) == ([3, 9], [0, 0])
    assert alone.link_kv_bytes.shape == alone.link_activation_bytes.shape == (0, 2)


def test_price_does_not_ask_for_feasibility_and_shows_memory():
    tables = pair(token_bytes=30, capacity=0)
    replay = replay_lockstep(tables, HALVES)
    assert replay.latency == 30
    assert replay.memory.tolist() == [[30, 60, 0], [0, 30, 60]]


def test_boundaries_off_the_grid_are_refused():
    with pytest.raises(ValueError, match="not all on the grid"):
        replay_lockstep(make_tables(tokens=4, quantum=2), Plan((0, 1, 4)))


def any_plan(tables, rng):
    """A plan to price, feasible or not: a random partition, KV thrown anywhere."""
    indices = random_partition(tables, rng) or [0, tables.steps]
    sizes = np.diff(tables.pages[indices])
    shape = (tables.stages, sizes.size, tables.stages)
    thrown = np.where(rng.random(shape) < rng.choice([0.1, 0.3, 0.6]), rng.integers(0, 4, shape), 0)
    kept = np.diff(np.minimum(np.cumsum(thrown, axis=2), sizes[None, :, None]), axis=2, prepend=0)
    return Plan.from_arrays(tables, indices, kept)


def test_agrees_with_independent_pricing_on_thousands_of_plans():
    rng, priced, moved = np.random.default_rng(50), 0, 0
    for tables in [*random_instances(51, 250), *(random_tables(rng) for _ in range(15))]:
        for _ in range(8):
            plan = any_plan(tables, rng)
            assert replay_lockstep(tables, plan).latency == oracle.price_plan(tables, plan), (
                tables.name,
                plan,
            )
            priced += 1
            moved += len(plan.homes) > 0
        feasible = random_plan(tables, rng)
        if feasible is not None:
            assert replay_lockstep(tables, feasible).latency == oracle.price_plan(tables, feasible)
            priced += 1
    assert priced > 2000
    assert moved > 1000


@pytest.mark.parametrize("overlap", [Fraction(1), Fraction(0.9), Fraction(1, 3)])
def test_exact_where_products_leave_64_bits(overlap):
    # Pages of up to 1e13 bytes, shares over 97, links of 1e9 bytes per tick; Fraction(0.9) has a
    # denominator of 2^53.  Python integers on the other side.
    rng = np.random.default_rng(52)
    for _ in range(12):
        tables = random_tables(rng)
        large = replace(
            tables,
            overlap=overlap,
            page_bytes=tables.page_bytes * 10**11 + 7,
            activation_bytes=tables.activation_bytes * 10**9 + 3,
            link_rate=tables.link_rate * 10**6 + 1,
            port_rate=tables.port_rate * 10**6 + 1,
            share=tables.share * 96,
            share_denominator=tables.share_denominator * 97,
        )
        plan = any_plan(large, rng)
        assert replay_lockstep(large, plan).latency == oracle.price_plan(large, plan)


def test_loads_are_exact_where_products_leave_64_bits():
    # 4e18 bytes x share 3/7 needs 1.2e19 in the numerator.
    tables = replace(pair(token_bytes=4 * 10**18, link_rate=7), share_denominator=7)
    tables = replace(tables, share=tables.share * 3)
    replay = replay_lockstep(tables, Plan((0, 1, 2), (Home(0, 1, 1, 1),)))
    assert replay.link_kv_bytes[0].tolist() == [0, 12 * 10**18, 0]
    assert replay.work[1] == -(-12 * 10**18 // 49)


def test_scaling_all_times_scales_the_price():
    rng = np.random.default_rng(53)
    for tables in random_instances(54, 60):
        times = "phi full_block memory_side prefix_cost length_cost send hop_ticks"
        sizes = "page_bytes activation_bytes own_traffic"
        slower = {name: getattr(tables, name) * 3 for name in f"{times} {sizes}".split()}
        plan = any_plan(tables, rng)
        tripled = replay_lockstep(replace(tables, **slower), plan)
        single = replay_lockstep(tables, plan)
        # Each phase of each slot may save what rounding up once costs: less than a tick of each three.
        assert np.all(tripled.work <= 3 * single.work)
        assert np.all(tripled.work > 3 * (single.work - 1))
        assert np.all(tripled.exchange <= 3 * single.exchange)


def test_a_faster_link_or_port_never_hurts():
    rng, cheaper = np.random.default_rng(55), 0
    for tables in random_instances(56, 120):
        plan = any_plan(tables, rng)
        faster = replace(tables, link_rate=tables.link_rate * 2, port_rate=tables.port_rate * 2)
        before, after = replay_lockstep(tables, plan).latency, replay_lockstep(faster, plan).latency
        assert after <= before
        cheaper += after < before
    assert cheaper > 20
