"""Feasibility: every rule by hand, then against brute force's own reading of the rules."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
from builders import make_tables
from random_plans import random_plan
from random_tables import random_instances, random_tables

from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import Violation, memory_use, violations


def rules(tables, plan):
    return [violation.rule for violation in violations(tables, plan)]


# Two stages, four tokens, pages of one token: 10 bytes on stage 0, 20 on stage 1.
# Chunks of 1 and 3 tokens.  Queue depth 1: a stage holds min(2 x 3, 4) = 4 tokens of activations.
# Fixed:  memory 0: static 5 + staging 1 + 4 x 3 = 18;  memory 1: static 7 + staging 2 = 9.
# Prefix of 2 tokens: 20 bytes in memory 0 in slots 0-1, 40 bytes in memory 1 in slots 1-2.
ROOMY = {
    "prefix": 2,
    "token_bytes": [10, 20],
    "static": [5, 7],
    "staging": [1, 2],
    "working_bytes": [3, 0],
    "queue_depth": 1,
}


def test_memory_use_by_hand():
    # KV in memory 0: 10, 40, gone; in memory 1: none yet, 20, 80.
    use = memory_use(make_tables(**ROOMY), Plan((0, 1, 4)))
    assert use.tolist() == [[18 + 20 + 10, 18 + 20 + 40, 18], [9, 9 + 40 + 20, 9 + 40 + 80]]


def test_remote_kv_is_charged_to_its_home_until_its_own_stage_is_done():
    # Two of stage 0's pages move to memory 1 in slot 1 and are gone in slot 2, when stage 0 is done.
    use = memory_use(make_tables(**ROOMY), Plan((0, 1, 4), (Home(0, 1, 1, 2),)))
    assert use.tolist() == [[48, 58, 18], [9, 89, 129]]


def test_kv_of_a_later_stage_outlives_the_earlier_stage():
    # Stage 1's first page sits in memory 0 in slots 1 and 2.
    use = memory_use(make_tables(**ROOMY), Plan((0, 1, 4), (Home(1, 0, 0, 1),)))
    assert use.tolist() == [[48, 78 + 20, 18 + 20], [9, 69 - 20, 129 - 20]]


def test_reserve_is_the_whole_request_if_queues_are_unbounded():
    # Chunks of 2 and 2 would need 2 x 2 = 4 tokens at depth 1, 1 and 1 and 2 as many; unbounded: 4.
    tables = make_tables(working_bytes=[3, 0], queue_depth=1, token_bytes=0)
    assert memory_use(tables, Plan((0, 1, 2, 3, 4)))[0, 0] == 2 * 3
    assert memory_use(replace(tables, queue_depth=None), Plan((0, 1, 2, 3, 4)))[0, 0] == 4 * 3


def test_partial_page_takes_a_whole_one():
    # Grid 0, 4, 5 with pages of 2: chunk [0, 4) takes 2 pages, chunk [4, 5) one, 20 bytes each.
    tables = make_tables(tokens=5, quantum=4, page=2, token_bytes=10)
    assert memory_use(tables, Plan((0, 4, 5))).tolist() == [[40, 60, 0], [0, 40, 60]]


def test_exactly_full_is_feasible_and_one_byte_less_is_not():
    tables = make_tables(**ROOMY, capacity=[78, 129])
    assert violations(tables, Plan((0, 1, 4))) == []
    short = violations(replace(tables, capacity=np.array([77, 120])), Plan((0, 1, 4)))
    assert short == [
        Violation("capacity", "memory 0, slot 1: 78 B needed, 77 B there, 1 B short", 0, 1, 1),
        Violation("capacity", "memory 1, slot 2: 129 B needed, 120 B there, 9 B short", 1, 2, 9),
    ]
    assert str(short[0]) == "memory 0, slot 1: 78 B needed, 77 B there, 1 B short"


def test_a_home_elsewhere_makes_room():
    tables = make_tables(**ROOMY, capacity=[58, 129])
    assert rules(tables, Plan((0, 1, 4))) == ["capacity"]
    assert rules(tables, Plan((0, 1, 4), (Home(0, 1, 1, 2),))) == []


@pytest.mark.parametrize(
    ("boundaries", "expected"),
    [
        ((), ["boundaries", "count"]),
        ((0,), ["boundaries", "count"]),
        ((0, 2), ["boundaries"]),
        ((2, 8), ["boundaries"]),
        ((0, 4, 4, 8), ["boundaries", "length"]),
        ((0, 6, 2, 8), ["boundaries", "length"]),
        ((0, 3, 8), ["grid"]),
        ((0, -2, 8), ["boundaries", "grid", "length", "length"]),
        ((0, 10**30, 8), ["boundaries", "grid", "length", "length"]),
        ((0, 2, 4, 6, 8), ["count"]),
        ((0, 6, 8), []),
        ((0, 8), ["length"]),
    ],
)
def test_malformed_boundaries_are_reported_not_raised(boundaries, expected):
    tables = make_tables(tokens=8, quantum=2, max_chunks=3, max_length=6)
    assert rules(tables, Plan(boundaries)) == expected


def test_count_is_exact_where_the_instance_says_so():
    tables = make_tables(max_chunks=3, exact=True)
    assert rules(tables, Plan((0, 1, 2, 4))) == []
    assert [str(v) for v in violations(tables, Plan((0, 2, 4)))] == [
        "2 chunks, but the instance asks for exactly 3"
    ]


def test_shortest_length_binds_the_last_chunk_too():
    tables = make_tables(tokens=5, quantum=2, min_length=2)
    assert rules(tables, Plan((0, 2, 5))) == []
    assert [str(v) for v in violations(tables, Plan((0, 4, 5)))] == [
        "chunk 1 has 1 tokens; allowed are 2 to 5"
    ]


@pytest.mark.parametrize(
    ("homes", "message"),
    [
        ((Home(2, 0, 0, 1),), "stages and memories are 0 to 1"),
        ((Home(0, 0, -1, 1),), "stages and memories are 0 to 1"),
        ((Home(0, 2, 1, 1),), "chunks are 0 to 1"),
        ((Home(0, -1, 1, 1),), "chunks are 0 to 1"),
        ((Home(0, 0, 0, 1),), "what stays on its own stage is not listed"),
        ((Home(0, 0, 1, 0),), "pages must be positive"),
        ((Home(0, 0, 1, -1),), "pages must be positive"),
        ((Home(0, 1, 1, 4),), "stage 0, chunk 1: 4 pages placed elsewhere, but it has 3"),
        ((Home(0, 1, 1, 10**30),), "pages placed elsewhere, but it has 3"),
        ((Home(0, 1, 1, 1), Home(0, 1, 1, 1)), "stage 0, chunk 1, memory 1 is listed 2 times"),
    ],
)
def test_malformed_homes_are_reported_not_raised(homes, message):
    (found,) = violations(make_tables(), Plan((0, 1, 4), homes))
    assert found.rule == "homes"
    assert message in str(found)


def test_everything_wrong_is_listed_at_once():
    tables = make_tables(tokens=8, quantum=2, max_chunks=2, max_length=3)
    plan = Plan((0, 1, 4, 8), (Home(0, 0, 0, 1), Home(5, 0, 0, 1)))
    assert rules(tables, plan) == ["grid", "count", "length", "homes", "homes"]


def test_memory_use_needs_boundaries_on_the_grid():
    with pytest.raises(ValueError, match="not all on the grid"):
        memory_use(make_tables(tokens=8, quantum=2), Plan((0, 3, 8)))


def broken(tables, plan, rng):
    """A plan that is likely to break one rule or another."""
    marks, homes = list(plan.boundaries), list(plan.homes)
    where = [int(x) for x in rng.integers(-1, [tables.stages + 1, len(marks), tables.stages + 1])]
    match int(rng.integers(6)):
        case 0:
            marks[int(rng.integers(len(marks)))] += int(rng.integers(-2, 3))
        case 1:
            marks.insert(int(rng.integers(len(marks))), int(rng.integers(tables.tokens + 1)))
        case 2 if len(marks) > 2:
            del marks[int(rng.integers(len(marks)))]
        case 3:
            homes.append(Home(*where, int(rng.integers(-1, 4))))
        case 4 if homes:
            del homes[int(rng.integers(len(homes)))]
        case _:
            homes.append(Home(where[0] % tables.stages, max(where[1], 0), where[2] % tables.stages, 1))
    return Plan(tuple(marks), tuple(homes))


def test_agrees_with_brute_force_on_thousands_of_plans():
    rng = np.random.default_rng(20)
    verdicts = []
    middling = [random_tables(rng) for _ in range(12)]
    for tables in [*random_instances(21, 200), *middling]:
        start = random_plan(tables, rng, scatter=0.5) or Plan((0, tables.tokens))
        for _ in range(12):
            plan = start
            for _ in range(int(rng.integers(3))):
                plan = broken(tables, plan, rng)
            feasible = oracle.is_feasible(tables, plan)
            assert (violations(tables, plan) == []) == feasible, (tables.name, plan)
            verdicts.append(feasible)
    assert len(verdicts) > 2500
    assert 0.2 < np.mean(verdicts) < 0.8


def test_more_memory_never_hurts_and_what_is_short_is_what_is_needed():
    rng = np.random.default_rng(22)
    repaired = 0
    for tables in random_instances(23, 150):
        for marks in list(oracle.partitions(tables))[:4]:
            missing = violations(tables, Plan(marks))
            if not missing:
                continue
            extra = np.zeros(tables.stages, dtype=np.int64)
            for violation in missing:
                extra[violation.memory] = max(extra[violation.memory], violation.bytes_short)
            enough = replace(tables, capacity=tables.capacity + extra)
            assert violations(enough, Plan(marks)) == []
            less = int(rng.choice(np.flatnonzero(extra)))
            extra[less] -= 1
            assert violations(replace(tables, capacity=tables.capacity + extra), Plan(marks)) != []
            repaired += 1
    assert repaired > 50
