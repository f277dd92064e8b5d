"""Bounds where the answer is known: by hand, by closed form, or by going through all partitions."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import oracle
import pytest
from builders import make_tables

from mocap_opt.bounds import (
    BOUNDS,
    QUICK,
    Bound,
    Evidence,
    Infeasibility,
    Scope,
    best,
    lower_bounds,
    prove_infeasible,
)
from mocap_opt.bounds.stage_work import least_over_lengths
from mocap_opt.bounds.streaming import Demand, resource_weights
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.flow_shop.chunk_times import least_sends
from mocap_opt.tables.cost_tables import Tables


def ticks(name: str, tables: Tables) -> int | None:
    bound = BOUNDS[name](tables)
    return None if bound is None else bound.ticks


# --- identical stages: the one-dimensional bounds are exact --------------------------------------


def alike(rng: np.random.Generator, **changed: object) -> Tables:
    """Identical stages, tau = difference of Phi + constant, nothing to send."""
    quantum = int(rng.choice([1, 2, 4]))
    steps = int(rng.integers(4, 9))
    drawn = {
        "stages": int(rng.integers(1, 5)),
        "tokens": steps * quantum - int(rng.integers(0, quantum)),
        "quantum": quantum,
        "max_chunks": int(rng.integers(1, steps + 1)),
        "exact": bool(rng.random() < 0.3),
        "linear": int(rng.integers(1, 30)),
        "quadratic": int(rng.integers(0, 4)),
        "constant": int(rng.integers(0, 40)),
        "min_length": int(rng.choice([1, quantum])),
    }
    return make_tables(**(drawn | changed))


def closed_form(tables: Tables, marks: tuple[int, ...]) -> int:
    """Phi(S) + m c + (N - 1)(D + c)."""
    phi = dict(zip(tables.grid.tolist(), tables.phi[0].tolist(), strict=True))
    constant, longest = int(tables.length_cost[0, 0, 1]), max(phi[b] - phi[a] for a, b in pairwise(marks))
    return phi[tables.tokens] + (len(marks) - 1) * constant + (tables.stages - 1) * (longest + constant)


@pytest.mark.parametrize("seed", range(60))
def test_slack_memory_gives_the_closed_form(seed: int):
    tables = alike(np.random.default_rng(seed))
    expected = min((closed_form(tables, marks) for marks in oracle.partitions(tables)), default=None)
    assert ticks("crossing", tables) == expected
    assert ticks("crossing_pooled_memory", tables) == expected


def test_terapipe_trade_off_by_hand():
    # Phi = 10 x, c = 2, two stages.  m = 1: 42 + 42; m = 2: 44 + 22; m = 3: 46 + 22; m = 4: 48 + 12.
    tables = make_tables(constant=2)
    assert ticks("crossing", tables) == 60
    # Stage 0: 40 + 2 m, then at least (m > 1) one token on stage 1, 12; m = 1: 42 + 42.
    assert ticks("stage_work", tables) == 56
    # c = 15, m chunks of at most k tokens: 40 + 15 m + 10 k + 15.  m = 1: 110; m = 2: 105; m = 4: 125.
    assert ticks("crossing", make_tables(constant=15)) == 105


def pooled_fits(tables: Tables, marks: tuple[int, ...]) -> bool:
    """Slot M-1 of identical stages: p_M + ... + p_{M-N+1}, in pages, within what fits in all memories."""
    longest = max(b - a for a, b in pairwise(marks))
    room = tables.capacity - tables.static - tables.reserve(longest)
    if (room < 0).any():
        return False
    held = [-(-mark // tables.page) for mark in marks[1:]][-tables.stages :]
    return sum(held) <= int((room // tables.page_bytes).sum())


def tight(rng: np.random.Generator) -> Tables:
    """Identical stages whose memory binds more often than not."""
    tables = alike(
        rng,
        token_bytes=int(rng.integers(1, 5)),
        queue_depth=[None, 1, 2][int(rng.integers(3))],
        working_bytes=int(rng.integers(0, 3)),
        stages=int(rng.integers(2, 5)),
    )
    whole = tables.page_bytes * tables.pages[-1]
    reserve = tables.reserve(-(-tables.tokens // tables.max_chunks))
    return replace(tables, capacity=reserve + (whole * rng.uniform(0.3, 1.1, tables.stages)).astype(np.int64))


@pytest.mark.parametrize("seed", range(120))
def test_pooled_memory_gives_the_one_dimensional_optimum(seed: int):
    tables = tight(np.random.default_rng(seed))
    fitting = [marks for marks in oracle.partitions(tables) if pooled_fits(tables, marks)]
    expected = min((closed_form(tables, marks) for marks in fitting), default=None)
    found = ticks("crossing_pooled_memory", tables)
    if tables.tokens % tables.quantum == 0 or found is None:
        assert found == expected
    else:
        # A longest chunk of k steps is taken to keep the reserve of the shorter, last step.
        assert expected is None or found <= expected
    assert (prove_infeasible(tables) is None) == (found is not None)


def test_tight_memory_is_drawn_tight():
    # The cases above bind, do not bind and do not fit, all three often.
    seen = {"slack": 0, "binds": 0, "never fits": 0}
    for seed in range(120):
        tables = tight(np.random.default_rng(seed))
        slack, pooled = ticks("crossing", tables), ticks("crossing_pooled_memory", tables)
        seen["never fits" if pooled is None else "slack" if slack == pooled else "binds"] += 1
    assert min(seen.values()) >= 15


@pytest.mark.parametrize("seed", range(40))
def test_pooled_bound_is_attained_where_links_are_no_obstacle(seed: int):
    tables = make_tables(
        stages=2,
        tokens=(rng := np.random.default_rng(seed)).integers(3, 6).item(),
        linear=int(rng.integers(1, 20)),
        quadratic=int(rng.integers(0, 3)),
        constant=int(rng.integers(0, 10)),
        capacity=[int(size) for size in rng.integers(2, 7, 2)],
    )
    optimum = oracle.brute_force(tables, oracle.least_price)
    assert ticks("crossing_pooled_memory", tables) == (None if optimum is None else optimum.value)


def test_prefix_keeps_its_room_from_pooled_memory():
    # Two stages, 4 tokens, one chunk: slot 0 holds 4 pages of stage 0, and the prefix of stage 0.
    tables = make_tables(max_chunks=1, capacity=[3, 3], prefix=2)
    assert ticks("crossing_pooled_memory", tables) == 80  # room for 3 - 2 + 3 = 4 pages
    assert ticks("crossing_pooled_memory", replace(tables, prefix_bytes=np.array([3, 2]))) is None


# --- other parts, by hand ------------------------------------------------------------------------


def test_stage_work_counts_head_and_tail():
    # Stage 1 takes 30 a token, the others 10; 4 tokens, sends of 5.  Stage 1: 4 x 30, the first chunk
    # of one token reaches it after 10 + 5, the last leaves after 5 + 10.
    tables = make_tables(stages=3, linear=[10, 30, 10], hop=5)
    assert ticks("stage_work", tables) == 15 + 120 + 15
    # One chunk: 40 + 5 + 120 + 5 + 40.
    assert ticks("stage_work", replace(tables, max_chunks=1)) == 210


def test_least_send_is_not_rounded_up():
    # 3 bytes over rate 2: 1.5 ticks + a hop of 1.  The table says 3; an execution may take 2.5.
    tables = make_tables(tokens=3, max_chunks=1, activation_bytes=1, link_rate=2, hop=1)
    assert tables.send[0, 1, 3] == 3
    assert least_sends(tables)[0, 1, 3] == 2
    assert (least_sends(tables)[1] == 0).all()


def test_memory_side_and_prefix_cost_enter():
    # One chunk of 4 tokens on one stage: max(40, 100 + 4) + 3 x 2 (prefix) + 5.
    tables = make_tables(
        1, max_chunks=1, weights_time=98, context_time=1, prefix_time=3, constant=5, prefix=2
    )
    assert tables.tau(0, 0, 4) == 104 + 6 + 5
    assert ticks("stage_work", tables) == 115
    assert ticks("crossing", tables) == 115


@pytest.mark.parametrize("constant", [-9, -5, 0])
def test_negative_constants_of_a_fit(constant: int):
    # Fitted coefficients: 10 l + constant >= 1 a chunk.  The optimum is 40 + 4 c + 2 (10 + c).
    tables = make_tables(stages=3, constant=constant)
    assert (
        ticks("crossing", tables) == oracle.brute_force(tables, oracle.least_price).value == 60 + 6 * constant
    )


def test_streaming_by_hand():
    # One chunk of 4 tokens; memory 0 holds one page, so 3 go to memory 1 over a link of 1 byte per
    # 1 tick; stage 0 then sends on (0), stage 1 takes 4: 3 + 4 at least.  Work alone: 4 + 4.
    tables = make_tables(max_chunks=1, linear=1, capacity=[1, 100], link_rate=1)
    assert ticks("streaming", tables) == 8
    # 30 bytes a page: 90 ticks of traffic, then 4 on stage 1.
    bound = BOUNDS["streaming"](replace(tables, page_bytes=np.array([30, 30]), capacity=np.array([30, 3000])))
    assert bound is not None
    assert bound.ticks == 94
    assert (
        oracle.brute_force(
            replace(tables, page_bytes=np.array([30, 30]), capacity=np.array([30, 3000])), oracle.least_price
        ).value
        == 94
    )
    # Without overlap they add to the work of stage 0: 4 + 90, then 4.
    slow = replace(tables, page_bytes=np.array([30, 30]), capacity=np.array([30, 3000]), overlap=Fraction(0))
    assert ticks("streaming", slow) == 98


def test_streaming_reads_what_went_away_early():
    # Chunks of at most 2 tokens, 2 of them, memory 0 holds one page of 4: of the first chunk one page
    # leaves (written, then read), of the second two: 3 written, 1 read, each 50 bytes at rate 1.
    # Written out over 0>1, read back over 1>0: the busier way takes 150 ticks, then stage 1's 2 + 0.
    tables = make_tables(
        max_chunks=2, max_length=2, linear=1, token_bytes=50, capacity=[50, 10**6], link_rate=1
    )
    assert ticks("streaming", tables) == 152


def test_weights_find_two_ways_out():
    # Stage 1 between 0 and 2: links 1>0 and 1>2 carry 1 byte per tick each, so 100 bytes take 50.
    tables = make_tables(stages=3, link_rate=1)
    demand = [Demand(1, 100, 0)]
    assert 49 < resource_weights(tables, demand).time(demand) <= 50


def test_nothing_to_stream_says_nothing():
    assert BOUNDS["streaming"](make_tables()) is None


def test_lengths_by_hand():
    # Costs of 1, 2, 3 steps: 5, 6, 20; the envelope of 1, 2, 3 has slopes 1 and 14.
    costs = np.array([[0, 5, 6, 20, 99], [0, 5, 6, 20, 99]])
    tables = make_tables(tokens=4, max_length=3)
    assert least_over_lengths(costs, LengthLimits.of(tables), [2, 3, 4]).tolist() == [12, 16, 20]


@pytest.mark.parametrize("seed", range(30))
def test_lengths_never_exceed_the_least_over_partitions(seed: int):
    rng = np.random.default_rng(seed)
    tables = make_tables(
        tokens=int(rng.integers(5, 20)), quantum=2, max_chunks=6, min_length=int(rng.integers(1, 5))
    )
    costs = rng.integers(0, 50, (2, tables.steps + 1))
    if seed % 2:
        costs = np.sort(costs, axis=1)
    index = {int(g): at for at, g in enumerate(tables.grid)}
    sums: dict[int, int] = {}
    for marks in oracle.partitions(tables):
        lengths = [index[b] - index[a] for a, b in pairwise(marks)]
        total = sum(int(costs[0, k]) for k in lengths[:-1]) + int(costs[1, lengths[-1]])
        sums[len(lengths)] = min(total, sums.get(len(lengths), total))
    counts = sorted(sums)
    found = least_over_lengths(costs, LengthLimits.of(tables), counts)
    assert (found <= [sums[count] for count in counts]).all()


# --- infeasibility -------------------------------------------------------------------------------


def test_memory_that_cannot_hold_its_weights():
    tables = make_tables(stages=3, static=[0, 0, 70], staging=5, capacity=[100, 100, 60])
    proof = prove_infeasible(tables)
    assert proof == Infeasibility(2, None, 15, proof.message)
    assert (
        str(proof) == "memory 2 (stage 2): static 70 B + reserve 5 B exceeds its 60 B by 15 B in every plan"
    )


def test_memory_that_cannot_hold_its_prefix():
    proof = prove_infeasible(make_tables(prefix=8, capacity=[100, 6]))
    assert (proof.memory, proof.slot, proof.bytes_short) == (1, 1, 2)
    assert "cached prefix 8 B" in proof.message


def test_reserve_is_the_least_possible():
    # 2 chunks of 4 tokens: the longest has at least 2, the queues hold min(2 x 2, 4) tokens of 3 bytes.
    tables = make_tables(max_chunks=2, working_bytes=3, queue_depth=1, capacity=11)
    assert (prove_infeasible(tables).memory, prove_infeasible(tables).bytes_short) == (0, 1)


def test_pool_that_is_too_small():
    # Two chunks need p_2 + p_1 >= 4 + 1 pages in slot 1, one chunk 4 in slots 0 and 1.
    assert prove_infeasible(make_tables(capacity=[2, 2], max_chunks=2)) is None
    proof = prove_infeasible(make_tables(capacity=[2, 1], max_chunks=2))
    assert (proof.memory, proof.bytes_short) == (None, 1)
    assert "1 chunks of at most 4 tokens" in proof.message
    proof = prove_infeasible(make_tables(capacity=[2, 2], max_chunks=2, exact=True))
    assert (proof.memory, proof.slot, proof.bytes_short) == (None, 1, 1)
    assert "needs 5 B of KV in slot 1 and finds room for 4 B: 1 B short" in proof.message


def test_no_partition():
    proof = prove_infeasible(make_tables(max_chunks=3, max_length=1))
    assert (proof.memory, proof.slot, proof.bytes_short) == (None, None, 0)
    assert "4 tokens in steps of 1 cannot be cut into at most 3 chunks of 1 to 1 tokens" in proof.message
    assert lower_bounds(make_tables(max_chunks=3, max_length=1)) == []
    assert prove_infeasible(make_tables(max_chunks=9, exact=True)) is not None


# --- records -------------------------------------------------------------------------------------


def test_best_keeps_to_scopes():
    anywhere = Bound("a", 10, Scope.ANY_EXECUTION, Evidence.SEARCH)
    lockstep = Bound("b", 12, Scope.LOCKSTEP, Evidence.SOLVER)
    assert best([anywhere, lockstep], {Scope.ANY_EXECUTION}) is anywhere
    assert best([anywhere, lockstep], {Scope.ANY_EXECUTION, Scope.LOCKSTEP}) is lockstep
    assert best([lockstep], {Scope.ANY_EXECUTION}) is None
    assert anywhere.covers(Scope.LOCKSTEP)
    assert not lockstep.covers(Scope.ANY_EXECUTION)


def test_bounds_are_not_negative():
    with pytest.raises(ValueError, match="expected ticks >= 0, got -1"):
        Bound("a", -1, Scope.LOCKSTEP, Evidence.SEARCH)


def test_names_are_those_of_the_registry():
    tables = make_tables(constant=2, capacity=[5, 3])
    assert {bound.name for bound in lower_bounds(tables)} <= set(QUICK) <= set(BOUNDS)
    assert [
        name for name in BOUNDS if (bound := BOUNDS[name](tables)) is not None and bound.name != name
    ] == []
