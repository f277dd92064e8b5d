"""Contention, waits and queues of the event-driven replay, each worked out by hand."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import AMPLE, make_tables

from mocap_opt.replay.event import EventReplay, replay_event
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables.cost_tables import Tables

HALF = Fraction(1, 2)


def starts(replay: EventReplay) -> list[list[Fraction]]:
    return [list(row) for row in replay.start]


def ends(replay: EventReplay) -> list[list[Fraction]]:
    return [list(row) for row in replay.end]


def test_two_flows_share_a_link():
    # Chunks of 1 and 2 tokens, tau = their length.  From t = 1 on link 1>2 (rate 1) carries
    # 2 bytes of (stage 0, chunk 1) and 1 byte of (stage 1, chunk 0), each at rate 1/2.
    # t = 3: the 1 byte is there, as is the chunk's compute; the other message has 1 byte left
    # and the link to itself: t = 4, one tick after its chunk's compute.  Stage 2 could start at 3,
    # but its first chunk is admitted to memory 2 when stage 0's KV there goes, at 4.
    tables = make_tables(3, 3, linear=1, link_rate={"1>2": 1})
    plan = Plan((0, 1, 3), (Home(0, 1, 2, 2), Home(1, 0, 2, 1)))
    replay = replay_event(tables, plan)
    assert ends(replay) == [[1, 4], [3, 6], [5, 8]]
    assert replay.accounts[2].admission == 1
    assert replay.latency == 8
    assert replay.rounded == 0
    first = replay.accounts[0]
    assert (first.computing, first.kv, first.after) == (3, (("link 1>2", Fraction(1)),), 4)
    second = replay.accounts[1]
    # Chunk 0 takes 1 tick of compute and 2 of KV; at t = 4 chunk 1 arrives and takes 2.
    assert (second.before, second.computing, second.kv_total) == (1, 3, 1)
    assert (second.activations, second.after) == (1, 2)
    # Stage 1 reads its byte back over 2>1 in chunk 1.
    used = dict(zip(tables.links, replay.link_bytes, strict=True))
    assert used == {"0>1": 2, "1>0": 0, "1>2": 3, "2>1": 1}
    busy = dict(zip(tables.links, replay.link_busy, strict=True))
    assert busy == {"0>1": 3, "1>0": 0, "1>2": 3, "2>1": Fraction(1, AMPLE)}
    assert replay.port_bytes == (0, 0, 4)


def test_three_flows_share_two_links():
    # Three chunks of one token, tau = 1.  From t = 2: A of 2 bytes, stage 1 to memory 3 over both
    # links; B of 1 byte, stage 0 to memory 2 over 1>2 (rate 1); C of 6 bytes, stage 2 to memory 3
    # over 2>3 (rate 2).  Progressive filling stops A and B at 1/2 (1>2 full), C at 3/2.
    # t = 4: B is there, A has 1 left, C has 3.  A and C now stop at 1 on 2>3 (and A fills 1>2).
    # t = 5: A is there, C has 2 left at rate 2.  t = 6: C is there.
    tables = make_tables(4, 3, linear=1, token_bytes=[1, 2, 6, 1], link_rate={"1>2": 1, "2>3": 2})
    plan = Plan((0, 1, 2, 3), (Home(0, 2, 2, 1), Home(1, 1, 3, 1), Home(2, 0, 3, 1)))
    replay = replay_event(tables, plan, log=True)
    assert ends(replay) == [[1, 2, 4], [2, 5, 6], [6, 7, 8], [7, 8, 9]]
    assert replay.log is not None
    writes = {m.stage: m for m in replay.log if m.route.kind.value == "KV write"}
    assert writes[0].rates == ((2, HALF, "link 1>2"),)
    assert [rate for _, rate, _ in writes[1].rates] == [HALF, 1]
    assert writes[2].rates == (
        (2, Fraction(3, 2), "link 2>3"),
        (4, 1, "link 2>3"),
        (5, 2, "link 2>3"),
    )


def detour() -> Tables:
    """Stages on dies (0,0), (0,1), (1,1); the link 0,0>0,1 is dead, the way round it has three hops."""
    links = ("0,0>1,0", "1,0>1,1", "1,1>0,1", "0,1>1,1")
    share = np.zeros((4, 3, 3), dtype=np.int64)
    share[[0, 1, 2], 0, 1] = 1
    share[[0, 1], 0, 2] = 1
    share[3, 1, 2] = share[2, 2, 1] = 1
    hops = np.array([[0, 3, 2], [3, 0, 1], [2, 1, 0]], dtype=np.int64)
    plain = make_tables(3, 2, linear=1, activation_bytes=2)
    send = np.zeros_like(plain.send)
    send[0, :, 1:], send[1, :, 1:] = 2 + 3, 2 + 1
    rate = np.ones(4, dtype=np.int64)
    return replace(plain, links=links, link_rate=rate, share=share, hop_ticks=hops, send=send)


def test_detour_around_a_dead_link():
    # Two chunks of one token, tau = 1; activations have 2 bytes; every link has rate 1, a hop
    # takes 1.  t = 1: activations of chunk 0 leave stage 0 by the detour, and chunk 1 writes
    # 1 byte to memory 2 over the same first two links: 1/2 each.  t = 3: written, chunk 1 ends;
    # 1 byte of chunk 0's activations is left and shares the detour with 2 bytes of chunk 1's.
    # t = 5: the last byte of chunk 0, arriving three hops later at 8; t = 6 that of chunk 1,
    # arriving at 9.  Stage 1: 8-9, 9-10, its activations leave at 9 and at 10 over one link:
    # at 10 one byte of the first is left, 1/2 each, so the last bytes come at 12 and 13,
    # one hop later they arrive.
    replay = replay_event(detour(), Plan((0, 1, 2), (Home(0, 1, 2, 1),)))
    assert starts(replay) == [[0, 1], [8, 9], [13, 14]]
    assert ends(replay) == [[1, 3], [9, 10], [14, 15]]
    assert replay.accounts[0].kv == (("link 0,0>1,0", Fraction(1)),)
    assert replay.accounts[2].before == 13


def test_reads_limited_by_a_port():
    # Chunks of one token, 4 bytes of stage 0's first chunk live in memory 1, whose port moves 2
    # bytes a tick.  Write: 0-2 (compute 0-1).  At t = 2 stage 0 reads the 4 bytes back while
    # stage 1 runs chunk 0, whose own traffic is 3 bytes (tau = 2): 1 byte a tick each.
    # t = 5: own traffic done, one tick after the compute; the read has 1 byte left at rate 2:
    # 5.5.  Chunk 1 of stage 1 starts then, its own traffic alone takes 1.5 < tau.
    tables = make_tables(
        2, 2, linear=1, token_bytes=[4, 1], port_rate=[AMPLE, 2], own_weights=[0, 3], weights_time=[0, 2]
    )
    replay = replay_event(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1),)))
    assert ends(replay) == [[2, 5 + HALF], [5, 7 + HALF]]
    assert replay.accounts[0].kv == (("memory 1", 1 + 2 + HALF),)
    assert replay.accounts[1].kv == (("memory 1", Fraction(1)),)
    assert replay.port_bytes == (0, 4 + 4 + 3 + 3)
    # 0-2, 2-5.5 and 5.5-7 without a break.
    assert replay.port_busy == (0, 7)


def test_reads_of_two_stages_from_one_port():
    # The first chunks of stages 0 and 1, 3 bytes and 1, live in memory 2, whose port has rate 1.
    # Stage 0 writes 0-3.  From 3 it reads its 3 bytes while stage 1 writes 1, both at 1/2: 1 is
    # written at 5, the read has 2 left: 7.  From 7 stage 0 reads 3 and stage 1 reads 1, at 1/2:
    # 1 is read at 9, the other has 2 left: 11.  From 11 stage 1 reads 1 for chunk 2 alone.
    # Stage 2's second chunk (slot 3) waits for what stage 0 frees in memory 2 after slot 2, at 11.
    tables = make_tables(3, 3, linear=1, token_bytes=[3, 1, 1], port_rate=[AMPLE, AMPLE, 1])
    plan = Plan((0, 1, 2, 3), (Home(0, 0, 2, 1), Home(1, 0, 2, 1)))
    replay = replay_event(tables, plan)
    assert ends(replay) == [[3, 7, 11], [5, 9, 12], [6, 12, 13]]
    assert replay.accounts[2].admission == 11 - 9


def test_admission_waits_for_what_slot_order_frees_first():
    # Chunks of 1 and 4 tokens, tau = their length; all 5 bytes of stage 0's KV live in memory 2,
    # which holds 5.  Slot 2 brings stage 2's first chunk there, slot 1 has freed stage 0's:
    # stage 2 could start at 2, but waits for the end of stage 0's last chunk at 5.
    # At 5 the 5 bytes go first and 1 comes; at 9 the other 4.
    tables = make_tables(3, 5, linear=1, capacity=[AMPLE, AMPLE, 5])
    replay = replay_event(tables, Plan((0, 1, 5), (Home(0, 0, 2, 1), Home(0, 1, 2, 4))))
    assert starts(replay) == [[0, 1], [1, 5], [5, 9]]
    assert replay.latency == 13
    last = replay.accounts[2]
    assert (last.before, last.admission, last.activations, last.computing) == (2, 3, 3, 5)
    assert replay.memory[2] == ((0, 1), (1, 5), (5, 1), (9, 5), (13, 0))
    assert replay.memory[0] == ((0, 0),)


def test_nothing_waits_for_a_memory_it_does_not_use():
    # As before, but stage 0's KV lives in memory 1: stage 2 starts at 2.
    tables = make_tables(3, 5, linear=1)
    replay = replay_event(tables, Plan((0, 1, 5), (Home(0, 0, 1, 1), Home(0, 1, 1, 4))))
    assert starts(replay) == [[0, 1], [1, 5], [2, 9]]
    assert all(account.admission == 0 for account in replay.accounts)


def test_a_prefix_waits_for_admission():
    # Stage 2's 3 bytes of prefix come to memory 2 with its first chunk, whose own KV lives in
    # memory 1; that memory frees nothing before, but memory 2 frees stage 0's KV at 5.
    tables = make_tables(3, 5, linear=1, prefix=3)
    homes = (Home(0, 0, 2, 1), Home(0, 1, 2, 4), Home(2, 0, 1, 1))
    replay = replay_event(tables, Plan((0, 1, 5), homes))
    assert replay.start[2][0] == 5
    assert replay.accounts[2].admission == 3
    # Prefixes lie in memories 0 and 1 too, from the first chunk of their stage to its last.
    assert replay.memory[0] == ((0, 3), (5, 0))
    assert replay.memory[2] == ((0, 1), (1, 5), (5, 3), (9, 7), (13, 0))


@pytest.mark.parametrize(
    ("depth", "first", "second", "waiting"),
    [
        # Chunks of 1 on stage 0, of 3 on stage 1.  Depth 1: chunk j waits for the start of chunk
        # j - 1 on stage 1, at 1, 4, 7.
        (1, [0, 1, 4, 7], [1, 4, 7, 10], 2 + 2),
        # Depth 2: of chunk j - 2.
        (2, [0, 1, 2, 4], [1, 4, 7, 10], 1),
        (None, [0, 1, 2, 3], [1, 4, 7, 10], 0),
    ],
)
def test_a_full_queue(depth, first, second, waiting):
    tables = make_tables(2, 4, linear=[1, 3], queue_depth=depth)
    replay = replay_event(tables, Plan((0, 1, 2, 3, 4)))
    assert starts(replay) == [first, second]
    assert replay.accounts[0].queue_room == waiting
    assert replay.accounts[0].after == 13 - 4 - waiting


def test_transfers_that_do_not_overlap_lengthen_the_compute():
    # tau = 2; 3 bytes to memory 1 at 2 a tick: x = 3/2.  f = 1/2: compute takes 2 + 3/4.
    # Chunk 1 reads the 3 bytes: the same.
    tables = make_tables(2, 2, linear=2, token_bytes=[3, 1], link_rate=2, overlap=HALF)
    replay = replay_event(tables, Plan((0, 1, 2), (Home(0, 0, 1, 1),)))
    assert ends(replay)[0] == [2 + 3 * HALF**2, 4 + 3 * HALF]
    # At the port of memory 1 (rate 1) x is 3, longer than tau: KV ends at 3, compute at 2 + 3/2.
    slower = replace(tables, port_rate=np.array([AMPLE, 1], dtype=np.int64))
    assert replay_event(slower, Plan((0, 1, 2), (Home(0, 0, 1, 1),))).end[0][0] == 3 + HALF


def test_a_split_route_loads_each_link_with_its_share():
    # 2/3 of what goes from stage 0 to 1 crosses link "wide", 1/3 "narrow", of rates 4 and 1:
    # 9 bytes need max(6 / 4, 3 / 1) = 3 ticks, longer than tau = 1.
    plain = make_tables(2, 1, linear=1, token_bytes=[9, 1])
    share = np.zeros((2, 2, 2), dtype=np.int64)
    share[:, 0, 1] = [2, 1]
    tables = replace(
        plain,
        links=("wide", "narrow"),
        share=share,
        share_denominator=3,
        link_rate=np.array([4, 1], dtype=np.int64),
    )
    replay = replay_event(tables, Plan((0, 1), (Home(0, 0, 1, 1),)))
    assert replay.end[0][0] == 3
    assert replay.accounts[0].kv == (("link narrow", Fraction(2)),)
    assert replay.link_bytes == (6, 3)


def test_activations_never_arrive_before_the_tabulated_send():
    # 3 bytes at 2 a tick take 3/2; the table says 2 (rounded up) or 1 (rounded down).
    up = make_tables(2, 1, linear=1, activation_bytes=3, link_rate=2)
    assert up.send[0, 1, 1] == 2
    assert replay_event(up, Plan((0, 1))).start[1][0] == 1 + 2
    down = replace(up, send=up.send // 2)
    assert replay_event(down, Plan((0, 1))).start[1][0] == 1 + 3 * HALF


def test_a_later_chunk_may_overtake_on_the_link_but_starts_in_order():
    # Chunks of 4 tokens and 1: activations of 4 bytes leave at 4, of 1 byte at 5, at 1 byte per
    # 2 ticks for both together: (rate 1/2): alone until 5 (3.5 left), then 1/4 each: the 1 byte is
    # there at 9, the other has 2.5 left: 14.  tau on stage 1 as on stage 0.
    tables = make_tables(2, 5, linear=1, activation_bytes=2, link_rate=1)
    replay = replay_event(tables, Plan((0, 4, 5)), log=True)
    assert replay.log is not None
    # With 2 bytes a token at rate 1: 8 bytes from 4, 2 from 5; at 9 the small one is there.
    assert [(m.chunk, m.start, m.end) for m in replay.log] == [(1, 5, 9), (0, 4, 14)]
    assert starts(replay)[1] == [14, 18]


def test_rounding_up_when_the_clock_may_not_be_refined():
    # Stages 0 to 2 keep everything in memory 3, so that unequal messages meet on unequal links.
    # Without refinement the ends of some move up to the next unit, and no byte is lost.
    rates = {"0>1": 3, "1>2": 5, "2>3": 7, "3>2": 7, "2>1": 5, "1>0": 3}
    tables = make_tables(4, 7, max_chunks=7, linear=1, token_bytes=[5, 7, 11, 1], link_rate=rates)
    plan = Plan(tuple(range(8)), tuple(Home(i, j, 3, 1) for i in range(3) for j in range(7)))
    exact, coarse = replay_event(tables, plan), replay_event(tables, plan, refinement=0)
    assert exact.rounded == 0
    assert coarse.rounded > 0
    assert coarse.resolution > exact.resolution
    assert abs(coarse.latency - exact.latency) <= coarse.rounded * coarse.resolution
    assert coarse.link_bytes == exact.link_bytes
