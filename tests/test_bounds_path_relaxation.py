"""Mixtures of paths: never above any plan, whatever the weights; sharp where theory says so."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_tables
from oracle import brute_force, least_price, price_plan
from random_plans import descend, random_plan
from random_tables import random_instances, random_tables

from mocap_opt.bounds import multiplier_program
from mocap_opt.bounds.crossing import crossing
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.multiplier_program import PathProgram
from mocap_opt.bounds.partition_pricing import Multipliers, PartitionPricer
from mocap_opt.bounds.partition_region import PathWeights, flow_along
from mocap_opt.bounds.path_relaxation import MixtureSearch, path_relaxation, whole_region
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables

UNEQUAL = {"linear": [100, 130, 130, 90], "quadratic": [5, 6, 7, 4], "constant": [40, 50, 60, 30]}
NO_QUEUE = np.zeros((1, 0), dtype=np.int64)


def pricer_of(tables: Tables) -> PartitionPricer:
    return PartitionPricer(Setting(tables), PooledMemory.of(tables))


@pytest.mark.parametrize(
    ("seed", "number"), [(20261121, 100), pytest.param(20261129, 1000, marks=pytest.mark.slow)]
)
def test_never_above_brute_force_and_often_close(seed: int, number: int):
    close = total = 0
    for tables in random_instances(seed, number):
        optimum = brute_force(tables, least_price)
        if optimum is None:
            continue
        bound = path_relaxation(tables)
        assert bound is not None
        assert bound.ticks <= optimum.value, tables.name
        total += 1
        close += bound.ticks * 1.02 > optimum.value
    assert close > total / 2  # 2 % more would be above the optimum there


def test_never_above_random_and_descended_plans():
    rng = np.random.default_rng(11)
    checked = 0
    for number in range(15):
        tables = random_tables(rng, name=f"instance {number}")
        bound = path_relaxation(tables)
        for turn in range(4):
            plan = random_plan(tables, rng)
            if plan is None:
                break
            if turn % 2:
                plan, _ = descend(tables, plan, lambda t, p: price_plan(t, p, least_price), rng, steps=10)
            assert bound is not None
            assert bound.ticks <= price_plan(tables, plan, least_price), tables.name
            checked += 1
    assert checked > 25


def test_any_weights_are_valid():
    # The program's tolerance, or its mistakes, do not matter: the weights are evaluated exactly.
    rng = np.random.default_rng(3)
    proved = 0
    for tables in random_instances(5, 80):
        optimum = brute_force(tables, least_price)
        counts = Setting(tables).counts
        if optimum is None or not counts:
            continue
        pricer = pricer_of(tables)
        region = whole_region(pricer, counts[0], counts[-1])
        stages, positions = tables.stages, region.positions
        for _ in range(5):
            depth = positions if tables.queue_depth is None else min(tables.queue_depth, positions)
            flow = flow_along(
                rng.exponential(size=(stages - 1, positions)),
                rng.exponential(size=(stages, positions - 1)),
                rng.exponential(size=(stages - 1, positions - depth)),
                int(rng.integers(1, 200)),
            )
            prices = rng.integers(0, 9, stages + positions - 1) * rng.integers(0, 2)
            weights = Multipliers(flow, prices, np.zeros(positions, dtype=np.int64))
            value = MixtureSearch(pricer).value(region, weights)
            assert value is None or value <= optimum.value, tables.name
            proved += value is not None and value > 0
    assert proved > 50


def test_identical_stages_reach_the_continuous_closed_form():
    # Section "known cases": Phi(S) + m c + (N-1)(Phi(S)/m + c), memory slack, lengths continuous.
    tables = make_tables(4, 64, max_chunks=6, exact=True, linear=1000, quadratic=30, constant=500)
    whole = 1000 * 64 + 30 * 64 * 64
    continuous = whole + 6 * 500 + 3 * (whole / 6 + 500)
    bound = path_relaxation(tables)
    assert bound is not None
    assert continuous * (1 - 1e-4) <= bound.ticks <= continuous * 1.05


def test_beats_the_pairs_of_stages_where_stages_are_unequal():
    tables = make_tables(4, 48, max_chunks=8, **UNEQUAL)
    bound, pair = path_relaxation(tables), crossing(tables)
    assert bound is not None
    assert pair is not None
    assert bound.ticks > pair.ticks


def test_a_single_path_is_priced_by_hand():
    # Two stages, two chunks [0,1) [1,3): down at once, then along stage 1.  Phi = 10 x, c = 2.
    tables = make_tables(2, 3, max_chunks=2, exact=True, linear=[10, 20], constant=2, max_length=2)
    pricer = pricer_of(tables)
    region = whole_region(pricer, 2, 2)
    flow = PathWeights(1, np.array([[1, 0]]), np.array([[0], [1]]), NO_QUEUE)
    prices = np.zeros(3, dtype=np.int64)
    # Cuts at 1 and 2: (10 + 2) + 60 + 4 = 76 and (20 + 2) + 60 + 4 = 86; the last chunk is at most 2.
    weights = Multipliers(flow, prices, np.zeros(2, dtype=np.int64))
    assert MixtureSearch(pricer).value(region, weights) == 76


def reserving(tables: Tables, rng: np.random.Generator) -> Tables | None:
    """The instance with a reserve that grows with its longest chunk, of at most half the prompt."""
    half = tables.tokens // 2 // tables.quantum * tables.quantum
    if half < max(tables.min_length, tables.quantum):
        return None
    return replace(
        tables,
        max_length=min(half, tables.max_length),
        queue_depth=1,
        working_bytes=rng.integers(0, 6, tables.stages),
        capacity=tables.capacity + rng.integers(0, 8, tables.stages) * tables.tokens,
    )


def worth_of_lengths(seed: int, rounds: int) -> list[tuple[int, int]]:
    """What random prices with lengths prove for tiny instances, and their optima."""
    rng = np.random.default_rng(seed)
    found = []
    for plain in random_instances(seed, rounds):
        tables = reserving(plain, rng)
        optimum = None if tables is None else brute_force(tables, least_price)
        if tables is None or optimum is None:
            continue
        pricer, counts = pricer_of(tables), Setting(tables).counts
        region = whole_region(pricer, counts[0], counts[-1])
        stages, positions = tables.stages, region.positions
        for _ in range(8):
            flow = flow_along(
                rng.exponential(size=(stages - 1, positions)),
                rng.exponential(size=(stages, positions - 1)),
                np.zeros((stages - 1, 0)),
                64,
            )
            prices = rng.integers(0, 400, stages + positions - 1) * rng.integers(0, 2, stages + positions - 1)
            most = int(prices.sum()) * pricer.reserve_rate(region) // pricer.memory.unit
            lengths = rng.multinomial(most, rng.dirichlet(np.full(positions, 0.3)))
            value = MixtureSearch(pricer).value(region, Multipliers(flow, prices, lengths))
            if lengths.any() and value is not None:
                found.append((value, int(optimum.value)))
    return found


@pytest.mark.parametrize(
    ("seed", "rounds"), [(31, 60), pytest.param(32, 1000, marks=pytest.mark.slow)], ids=["fast", "slow"]
)
def test_prices_of_lengths_are_valid(seed, rounds):
    found = worth_of_lengths(seed, rounds)
    assert len(found) > rounds
    assert all(value <= optimum for value, optimum in found)
    assert any(value > 0 for value, _ in found)


def test_lengths_worth_more_than_their_memory_prove_too_much(monkeypatch):
    # As by hand below, with room for a longest chunk of 3 tokens in place of 2.
    tables = make_tables(
        1, 8, max_chunks=3, max_length=4, constant=2, working_bytes=1, queue_depth=1, capacity=14
    )
    optimum, pricer = brute_force(tables, least_price), pricer_of(tables)
    assert optimum is not None
    assert optimum.value == 86
    region = replace(whole_region(pricer, 2, 3), short=2)
    flow = PathWeights(
        1, np.zeros((0, 3), dtype=np.int64), np.ones((1, 2), dtype=np.int64), np.zeros((0, 0), int)
    )

    def value(lengths: int) -> int | None:
        weights = Multipliers(flow, np.array([0, 0, 3]), np.full(3, lengths))
        return MixtureSearch(pricer).value(region, weights)

    assert value(2) == 82
    true = pricer.reserve_rate(region)
    monkeypatch.setattr(PartitionPricer, "reserve_rate", lambda self, region: 4 * true)
    monkeypatch.setattr(PartitionPricer, "room_and_reserve", PartitionPricer.room)
    assert value(8) == 94


def test_a_price_of_lengths_by_hand():
    # The example of formulations/bounds.md: 86, where the true optimum is 88.
    tables = make_tables(
        1, 8, max_chunks=4, max_length=4, constant=2, working_bytes=1, queue_depth=1, capacity=12
    )
    pricer = pricer_of(tables)
    region = whole_region(pricer, 2, 4)
    flow = PathWeights(2, np.zeros((0, 4), dtype=np.int64), np.full((1, 3), 2), np.zeros((0, 0), int))
    search = MixtureSearch(pricer)
    slots, none = np.array([0, 0, 0, 1]), np.zeros(4, dtype=np.int64)
    assert search.value(region, Multipliers(flow, slots, none)) == 84
    assert search.value(region, Multipliers(flow, slots, np.array([0, 0, 1, 1]))) == 86
    with pytest.raises(ValueError, match="than the memory they take"):
        pricer.price(region, Multipliers(flow, slots, np.array([0, 1, 1, 1])))
    optimum = brute_force(tables, least_price)
    assert optimum is not None
    assert optimum.value == 88


def test_one_mixture_sees_all_longest_chunks(monkeypatch):
    tables = make_tables(
        3, 48, max_chunks=12, max_length=12, quadratic=3, constant=20, working_bytes=2, queue_depth=2
    )
    tight = pricer_of(replace(tables, capacity=np.full(3, 60)))
    region = whole_region(tight, 4, 12)

    def value() -> int:
        found = MixtureSearch(tight).value(region, PathProgram(tight).weights(region))
        assert found is not None
        return found

    whole = value()
    monkeypatch.setattr(PartitionPricer, "reserve_rate", lambda self, region: 0)
    assert value() < 0.99 * whole


def queued(stages: int, depth: int | None, **changes: object) -> Tables:
    """Two chunks of a token that take 10 ticks on a stage and 10 to the next."""
    settings = {"max_chunks": 2, "exact": True, "activation_bytes": 10, "link_rate": 1} | changes
    return replace(make_tables(stages, 2, **settings), queue_depth=depth)  # type: ignore[arg-type]


def test_a_path_along_a_queue_is_priced_by_hand():
    # Page, section path_relaxation: down, back along the queue, down again.
    tables = queued(2, 1)
    pricer = pricer_of(tables)
    region = whole_region(pricer, 2, 2)
    flow = PathWeights(1, np.array([[1, 1]]), np.zeros((2, 1), dtype=np.int64), np.array([[1]]))
    assert flow.nodes.tolist() == [[1, 1], [0, 1]]
    prices = np.zeros(3, dtype=np.int64)
    weights = Multipliers(flow, prices, np.zeros(2, dtype=np.int64))
    assert MixtureSearch(pricer).value(region, weights) == 50
    assert brute_force(tables, least_price).value == 50
    for depth, ticks in ((1, 50), (2, 40), (None, 40)):
        bound = path_relaxation(queued(2, depth))
        assert bound is not None
        assert bound.ticks == ticks


def test_queues_raise_the_bound_and_never_lower_it():
    higher = 0
    for tables in random_instances(20261130, 60):
        unbounded = replace(tables, queue_depth=None, working_bytes=np.zeros_like(tables.working_bytes))
        bounds = [path_relaxation(replace(unbounded, queue_depth=depth)) for depth in (1, 2, None)]
        if bounds[2] is None:
            continue
        assert bounds[0] is not None
        assert bounds[1] is not None
        # Programs are solved in floating point, and their fits are not exact: a tick is theirs.
        assert bounds[0].ticks >= bounds[1].ticks - 1 >= bounds[2].ticks - 2
        higher += bounds[0].ticks > bounds[2].ticks + 1
    assert higher > 10


def test_memory_prices_raise_the_bound():
    ample = make_tables(3, 24, max_chunks=6, quadratic=3, constant=20)
    # All of the cache fits the pool only because early stages are done before late ones fill.
    tight = replace(ample, capacity=np.full(3, 20))
    free, priced = path_relaxation(ample), path_relaxation(tight)
    assert free is not None
    assert priced is not None
    assert priced.ticks > free.ticks


def test_says_nothing_where_nothing_fits():
    assert path_relaxation(make_tables(2, 8, static=5, capacity=4)) is None


def test_flows_lose_nothing():
    rng = np.random.default_rng(0)
    for _ in range(50):
        stages, positions = rng.integers(1, 6, 2)
        flow = flow_along(
            rng.normal(size=(stages - 1, positions)),
            rng.normal(size=(stages, positions - 1)),
            np.zeros((stages - 1, 0)),
            1000,
        )
        # Every path crosses every anti-diagonal once.
        skew = np.add.outer(np.arange(stages), np.arange(positions))
        assert all(flow.nodes[skew == t].sum() == 1000 for t in range(stages + positions - 1))
    for _ in range(50):
        stages, positions = rng.integers(1, 6, 2)
        depth = int(rng.integers(1, positions + 1))
        steps = rng.normal(size=(3, stages, positions))
        flow = flow_along(steps[0, 1:], steps[1, :, 1:], steps[2, 1:, depth:], 1000)
        # Now at most once: a step along a queue of depth 2 or more leaves slots out.
        skew = np.add.outer(np.arange(stages), np.arange(positions))
        passing = np.array([flow.nodes[skew == t].sum() for t in range(stages + positions - 1)])
        assert (passing <= 1000).all()
        assert depth > 1 or (passing == 1000).all()
    with pytest.raises(ValueError, match="leave every node"):
        PathWeights(2, np.array([[1, 0]]), np.array([[0], [1]]), NO_QUEUE)
    with pytest.raises(ValueError, match="parts >= 0"):
        PathWeights(1, np.array([[2, -1]]), np.array([[-1], [2]]), NO_QUEUE)


def test_refuses_prices_that_are_negative_or_too_large():
    tables = make_tables(2, 8)
    pricer = pricer_of(tables)
    region = whole_region(pricer, 2, 2)
    flow = flow_along(np.ones((1, 2)), np.ones((2, 1)), NO_QUEUE, 4)
    for price in (-1, 2**58):
        with pytest.raises(ValueError, match="below 2"):
            pricer.price(region, Multipliers(flow, np.full(3, price), np.zeros(2, dtype=np.int64)))


def test_the_plan_a_bound_is_attained_by_is_no_better():
    # One chunk only: every path is the same, and the bound is the latency.
    tables = make_tables(3, 8, max_chunks=1, **{name: values[:3] for name, values in UNEQUAL.items()})
    bound = path_relaxation(tables)
    plan = Plan((0, 8))
    assert bound is not None
    assert bound.ticks == price_plan(tables, plan, least_price)


def test_stops_when_asked_and_declines_large_instances():
    tables = make_tables(4, 48, max_chunks=8, **UNEQUAL)
    whole, stopped = path_relaxation(tables), path_relaxation(tables, asked_to_stop=lambda: True)
    assert whole is not None
    assert stopped is not None
    assert stopped.ticks < whole.ticks
    assert path_relaxation(tables, most_work=8 * 48 * 48 - 1) is None


def test_paths_that_stay_on_slow_stages_alone_prove_as_much(monkeypatch):
    slow = {"linear": [90, 130, 100, 130, 110, 130, 80], "quadratic": 3, "constant": 20}
    tables = make_tables(7, 40, max_chunks=9, capacity=150, **slow)
    pricer = pricer_of(tables)
    region = whole_region(pricer, 7, 9)
    every = MixtureSearch(pricer).value(region, PathProgram(pricer).weights(region))
    monkeypatch.setattr(multiplier_program, "MOST_CELLS", 0)
    program = PathProgram(pricer)
    assert program.staying.tolist() == [0, 1, 5, 6]
    few = MixtureSearch(pricer).value(region, program.weights(region))
    assert every is not None
    assert few is not None
    assert abs(few - every) < 0.002 * every
