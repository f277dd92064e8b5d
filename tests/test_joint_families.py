"""Every family of the lockstep program, alone (what it allows) and left out (what it is good for)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from builders import make_tables

from mocap_opt.formulations import chunk_partition, joint
from mocap_opt.formulations.chunk_partition import Memory
from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.outcome import Status
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

NAMES = [name for name, _ in joint.FAMILIES]

# The worked example: stage 0 holds two of its three pages, a page takes 26 ticks to move.
WORKED = {
    "stages": 2,
    "tokens": 3,
    "max_chunks": 3,
    "linear": 10,
    "constant": 4,
    "token_bytes": 26,
    "capacity": [52, 78],
    "link_rate": 1,
}
# Chunks of 2 tokens at most make room: the reserve takes 5 bytes per token of 2 x the longest chunk.
RESERVE = {"stages": 1, "tokens": 4, "max_chunks": 4, "constant": 30, "working_bytes": 5, "queue_depth": 1}
RESERVE |= {"capacity": 22, "token_bytes": 1}

POOLED = {"stages": 3, "tokens": 9, "max_chunks": 5, "exact": True, "quadratic": 3, "constant": 16}
POOLED |= {"capacity": [9, 2, 8], "token_bytes": 1}


def two_senders() -> Tables:
    """Three stages whose activations all cross link 0>1, at a token per 7 ticks."""
    tables = make_tables(3, 3, max_chunks=3, activation_bytes=7, link_rate={"0>1": 1}, hop=2)
    share = tables.share.copy()
    share[tables.links.index("0>1"), 1, 2] = 1
    return replace(tables, share=share)


def appearing() -> Tables:
    """Two tokens, of which the first exists at 3 and the second at 40."""
    return replace(make_tables(2, 2, max_chunks=2), available=np.array([0, 3, 40]))


def answer(model: Any) -> tuple[Status, float | None]:
    outcome = solve_mip(compile_model(model).program).outcome
    return outcome.status, None if outcome.objective is None else round(outcome.objective, 6)


def allows(family: str, tables: Tables, **values: dict[Any, float]) -> bool:
    """Whether a family alone allows these values of some variables, all others free."""
    model = joint.build(tables, without=[name for name in NAMES if name != family])
    assert model is not None
    for name, fixed in values.items():
        for index, value in fixed.items():
            variable = getattr(model, name)[index]
            variable.setlb(value)
            variable.setub(value)
    return answer(model)[0] is Status.OPTIMAL


ALONE: list[tuple[str, Tables, dict[str, dict[Any, float]], bool]] = [
    ("one_boundary", make_tables(**WORKED), {"boundary": {(1, 1): 1, (1, 0): 0}}, True),
    ("one_boundary", make_tables(**WORKED), {"boundary": {(1, 1): 1, (1, 0): 1}}, False),
    (
        "chunk_starts_at_boundary",
        make_tables(**WORKED),
        {"boundary": {(1, 1): 1}, "chunk": {(1, 1, 2): 1}},
        True,
    ),
    (
        "chunk_starts_at_boundary",
        make_tables(**WORKED),
        {"boundary": {(1, 1): 0}, "chunk": {(1, 1, 2): 1}},
        False,
    ),
    (
        "chunk_ends_at_boundary",
        make_tables(**WORKED),
        {"boundary": {(2, 2): 1}, "chunk": {(1, 1, 2): 1}},
        True,
    ),
    (
        "chunk_ends_at_boundary",
        make_tables(**WORKED),
        {"boundary": {(2, 2): 0}, "chunk": {(1, 1, 2): 1}},
        False,
    ),
    # Two tokens take 10 x 2 + 4 = 24 ticks.
    (
        "chunk_takes_its_time",
        make_tables(**WORKED),
        {"chunk": {(2, 1, 3): 1, (2, 0, 3): 0, (2, 2, 3): 0}, "duration": {(0, 2): 24}},
        True,
    ),
    (
        "chunk_takes_its_time",
        make_tables(**WORKED),
        {"chunk": {(2, 1, 3): 1, (2, 0, 3): 0, (2, 2, 3): 0}, "duration": {(0, 2): 23}},
        False,
    ),
    # A token's 5 bytes take 3 ticks over a link of 2 bytes per tick, and a hop takes 1.
    (
        "message_takes_its_time",
        make_tables(2, 2, max_chunks=2, activation_bytes=5, link_rate=2, hop=1),
        {"chunk": {(1, 1, 2): 1, (1, 0, 2): 0}, "message": {(1, 1): 4}},
        True,
    ),
    (
        "message_takes_its_time",
        make_tables(2, 2, max_chunks=2, activation_bytes=5, link_rate=2, hop=1),
        {"chunk": {(1, 1, 2): 1, (1, 0, 2): 0}, "message": {(1, 1): 3}},
        False,
    ),
    ("one_reserve_level", make_tables(**RESERVE), {"reserve": {0: 1, 1: 0}}, True),
    ("one_reserve_level", make_tables(**RESERVE), {"reserve": {0: 1, 1: 1}}, False),
    ("reserve_covers_chunk", make_tables(**RESERVE), {"chunk": {(3, 2, 4): 1}, "reserve": {1: 1}}, True),
    ("reserve_covers_chunk", make_tables(**RESERVE), {"chunk": {(3, 2, 4): 1}, "reserve": {1: 0}}, False),
    (
        "pages_are_housed",
        make_tables(**WORKED),
        {"boundary": {(1, 0): 0, (1, 1): 1}, "home": {(0, 1, 0): 0, (0, 1, 1): 1}},
        True,
    ),
    (
        "pages_are_housed",
        make_tables(**WORKED),
        {"boundary": {(1, 0): 0, (1, 1): 1}, "home": {(0, 1, 0): 0, (0, 1, 1): 0}},
        False,
    ),
    ("homes_stay", make_tables(**WORKED), {"home": {(0, 1, 1): 1, (0, 2, 1): 1, (0, 3, 1): 2}}, True),
    ("homes_stay", make_tables(**WORKED), {"home": {(0, 1, 1): 1, (0, 2, 1): 0}}, False),
    # Slot 2: stage 0 has three chunks, stage 1 two; memory 1 holds three pages.
    ("memory_has_room", make_tables(**WORKED), {"home": {(0, 3, 1): 1, (1, 2, 1): 2}}, True),
    ("memory_has_room", make_tables(**WORKED), {"home": {(0, 3, 1): 1, (1, 2, 1): 3}}, False),
    # Slot 3: stage 0 is done, its pages are gone.
    ("memory_has_room", make_tables(**WORKED), {"home": {(0, 3, 1): 1, (1, 3, 1): 3}}, True),
    ("compute_ends", make_tables(**WORKED), {"duration": {(0, 1): 24}, "work": {1: 24}}, True),
    ("compute_ends", make_tables(**WORKED), {"duration": {(0, 1): 24}, "work": {2: 23}}, False),
    # Slot 1: stage 0 reads its first chunk's page and writes another: 26 bytes each way.
    ("kv_passes_links", make_tables(**WORKED), {"home": {(0, 1, 1): 1, (0, 2, 1): 2}, "work": {1: 26}}, True),
    (
        "kv_passes_links",
        make_tables(**WORKED),
        {"home": {(0, 1, 1): 1, (0, 2, 1): 2}, "work": {1: 25}},
        False,
    ),
    # Both at port 1: 52 bytes at 2 bytes per tick.
    (
        "kv_passes_ports",
        make_tables(**WORKED, port_rate=2),
        {"home": {(0, 1, 1): 1, (0, 2, 1): 2, (1, 1, 0): 0}, "work": {1: 26}},
        True,
    ),
    (
        "kv_passes_ports",
        make_tables(**WORKED, port_rate=2),
        {"home": {(0, 1, 1): 1, (0, 2, 1): 2, (1, 1, 0): 0}, "work": {1: 25}},
        False,
    ),
    # Nothing overlaps: 14 to compute, then 26 to write.
    (
        "own_kv_delays_compute",
        make_tables(**WORKED, overlap=0),
        {"home": {(0, 1, 1): 1}, "duration": {(0, 0): 14}, "work": {0: 40}},
        True,
    ),
    (
        "own_kv_delays_compute",
        make_tables(**WORKED, overlap=0),
        {"home": {(0, 1, 1): 1}, "duration": {(0, 0): 14}, "work": {0: 39}},
        False,
    ),
    # The first of two chunks ends with the token that exists at 3.
    ("slots_wait_for_tokens", appearing(), {"boundary": {(1, 1): 1, (1, 0): 0}, "wait": {0: 3}}, True),
    ("slots_wait_for_tokens", appearing(), {"boundary": {(1, 1): 1, (1, 0): 0}, "wait": {0: 2}}, False),
    ("messages_end", two_senders(), {"message": {(1, 0): 7}, "exchange": {0: 7, 1: 7}}, True),
    ("messages_end", two_senders(), {"message": {(1, 0): 7}, "exchange": {0: 6}}, False),
    # Slot 1 with chunks of one token: 7 + 7 bytes at 1 per tick, and 2 ticks for the hop.
    (
        "activations_pass_links",
        two_senders(),
        {"boundary": {(0, 0): 1, (1, 1): 1, (1, 0): 0, (2, 2): 1, (2, 0): 0}, "exchange": {1: 16}},
        True,
    ),
    (
        "activations_pass_links",
        two_senders(),
        {"boundary": {(0, 0): 1, (1, 1): 1, (1, 0): 0, (2, 2): 1, (2, 1): 0, (2, 0): 0}, "exchange": {1: 15}},
        False,
    ),
]


@pytest.mark.parametrize(
    ("family", "tables", "values", "feasible"),
    ALONE,
    ids=[
        f"{family}-{'allows' if feasible else 'forbids'}-{n}"
        for n, (family, _, _, feasible) in enumerate(ALONE)
    ],
)
def test_family_alone(
    family: str, tables: Tables, values: dict[str, dict[Any, float]], feasible: bool
) -> None:
    assert allows(family, tables, **values) is feasible


def test_target_alone() -> None:
    tables = make_tables(**WORKED)
    for work, feasible in ((64, True), (65, False)):
        model = joint.build(
            tables, no_worse_than=64, without=[name for name in NAMES if name != "latency_within_target"]
        )
        assert model is not None
        model.work[0].setlb(work)
        assert (answer(model)[0] is Status.OPTIMAL) is feasible


NEEDED: dict[str, Tables] = {
    **dict.fromkeys(
        [
            "one_boundary",
            "chunk_starts_at_boundary",
            "chunk_ends_at_boundary",
            "chunk_takes_its_time",
            "pages_are_housed",
            "memory_has_room",
            "compute_ends",
            "kv_passes_links",
        ],
        make_tables(**WORKED),
    ),
    "message_takes_its_time": make_tables(2, 3, activation_bytes=5, link_rate=2),
    "messages_end": make_tables(2, 3, activation_bytes=5, link_rate=2),
    "activations_pass_links": two_senders(),
    "kv_passes_ports": make_tables(**{**WORKED, "link_rate": 1000}, port_rate=1),
    "own_kv_delays_compute": make_tables(**WORKED, overlap=Fraction(1, 2)),
    "slots_wait_for_tokens": appearing(),
    "reserve_covers_chunk": make_tables(**RESERVE),
    # Two levels at once would add up to a third one that takes more of memory 1.
    "one_reserve_level": make_tables(
        2,
        8,
        max_chunks=2,
        constant=7,
        token_bytes=10,
        capacity=[82, 113],
        working_bytes=[2, 7],
        queue_depth=1,
    ),
    # Pages that could move on their own would dodge reads.
    "homes_stay": make_tables(
        3,
        4,
        exact=True,
        max_chunks=3,
        constant=2,
        token_bytes=10,
        capacity=[39, 22, 37],
        link_rate=2,
        overlap=0,
    ),
}


@pytest.mark.parametrize("family", [name for name in NAMES if name != "latency_within_target"])
def test_family_is_necessary(family: str) -> None:
    tables = NEEDED[family]
    complete, partial = answer(joint.build(tables)), answer(joint.build(tables, without=[family]))
    assert complete[0] is Status.OPTIMAL
    assert partial != complete


def test_target_is_necessary() -> None:
    tables = make_tables(**WORKED)
    assert answer(joint.build(tables, no_worse_than=63))[0] is Status.INFEASIBLE
    assert (
        answer(joint.build(tables, no_worse_than=63, without=["latency_within_target"]))[0] is Status.OPTIMAL
    )
    assert answer(joint.build(tables, no_worse_than=64)) == (Status.OPTIMAL, 64)


@pytest.mark.parametrize(
    ("family", "memory", "tables", "values"),
    [
        # Pruning enforces most of the pooled rows; here the sum of several boundaries matters.
        ("pooled_memory_has_room", Memory.POOLED, make_tables(**POOLED), (765, 677)),
        # One stage, four pages: only chunks of one token leave room for them.
        ("own_memory_has_room", Memory.LOCAL, make_tables(**RESERVE), (160, 70)),
    ],
)
def test_memory_of_the_partition_is_necessary(
    family: str, memory: Memory, tables: Tables, values: tuple[int, int]
) -> None:
    models = [chunk_partition.build(tables, memory, without=without) for without in ([], [family])]
    assert [answer(model)[1] for model in models] == list(values)


def test_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="no such family: memory_row"):
        joint.build(make_tables(), without=["memory_row"])


def test_every_family_is_tested_alone() -> None:
    assert {family for family, _, _, _ in ALONE} | {"latency_within_target"} == set(NAMES)
    assert {family for family, _, _, feasible in ALONE if not feasible} | {"latency_within_target"} == set(
        NAMES
    )
    assert np.all([name in NEEDED for name in NAMES if name != "latency_within_target"])
