"""Reading ahead while dies wait for an all-reduce (formulations/prefetch.md): known answers, brute force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from toy_instances import toy

from mocap_opt.bounds.refinement import refinement
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

LAYER: dict[str, Any] = {
    "model": {"layers": 1},
    "precision": {"weights": 0.5, "kv": 0.5, "activations": 2},
    "wafer": {"rows": 1, "cols": 2, "die": {"flops": 24e9}, "link": {"hop_latency": "1 ns"}},
    "pipeline": {"stages": 1, "dies_per_stage": 2},
    "workload": {"tokens": 1},
    "chunking": {"max_chunks": 1, "quantum": 1, "page": 1},
    "costs": {"efficiency": 1, "overhead": 0},
}
"""Weights and KV of 60 bytes at 2 bytes per tick, 240 FLOPs at 48 per tick, all-reduces of 2 + 8."""


@pytest.mark.parametrize(("buffer", "ticks"), [(0, 50), (6, 38), (9, 32), (10, 30), (1000, 30)])
def test_a_layer_reads_ahead_as_much_as_buffer_and_all_reduce_allow(buffer: int, ticks: int):
    costs = {**LAYER["costs"], "prefetch_per_die": buffer}
    tables = build_tables(toy(**{**LAYER, "costs": costs}))
    assert int(tables.tau(0, 0, 1)) == ticks


def random_costs(rng: np.random.Generator) -> Iterator[tuple[Instance, Instance]]:
    """Small instances on stages of one to four dies, without and with a buffer."""
    while True:
        dies = int(rng.choice([1, 2, 2, 4]))
        changes: dict[str, Any] = {
            "model": {"kv_heads": int(rng.choice([1, 2])), "layers": int(rng.integers(2, 5))},
            "wafer": {
                "die": {
                    "flops": float(rng.choice([1e9, 1e10, 1e12])),
                    "memory_bandwidth": float(rng.choice([1e9, 2e9])),
                },
                "link": {"bandwidth": float(rng.choice([1e9, 2e9, 3e9]))},
            },
            "pipeline": {"stages": 2, "dies_per_stage": dies},
            "workload": {"tokens": int(rng.integers(2, 14)), "batch": int(rng.integers(1, 3))},
            "attention": str(rng.choice(["causal", "full_block"])),
            "tick": "1 ns",
        }
        if rng.random() < 0.3:
            changes["model"]["profile"] = [{"layers": [1, changes["model"]["layers"] - 1], "keep": 0.4}]
        plain = toy(**changes)
        yield plain, plain.replace(f"costs.prefetch_per_die={int(rng.integers(1, 200))}")


def test_prefetching_is_taken_from_the_memory_side_and_no_more_than_the_collectives():
    cases, hidden = random_costs(np.random.default_rng(3)), 0
    for _ in range(60):
        plain_instance, instance = next(cases)
        plain, tables = build_tables(plain_instance), build_tables(instance)
        ahead = tables.full_block - plain.full_block
        hidden += bool(ahead[:, :, 1:].any())
        assert (ahead >= 0).all()
        assert (ahead <= plain.length_cost).all()
        assert np.array_equal(tables.length_cost, plain.length_cost - ahead)
        for i, a, b in chunks(tables):
            tail, k = int(b == tables.steps), b - a
            compute = int(plain.phi[i, b] - plain.phi[i, a] + plain.full_block[i, tail, k])
            reading = int(plain.memory_side[i, b] - ahead[i, tail, k])
            fixed = int(plain.prefix_cost[i, a] + plain.length_cost[i, tail, k])
            taken = int(tables.tau(i, a, b))
            assert taken == max(compute, reading) + fixed
            assert 2 * taken + 2 >= int(plain.tau(i, a, b)) >= taken >= int(plain.memory_side[i, b])
    assert hidden > 20


def chunks(tables: Tables) -> Iterator[tuple[int, int, int]]:
    for i in range(tables.stages):
        for b in range(1, tables.steps + 1):
            yield from ((i, a, b) for a in range(b))


def test_a_larger_buffer_never_takes_longer():
    instance = toy(**LAYER)
    times = [
        int(build_tables(instance.replace(f"costs.prefetch_per_die={size}")).tau(0, 0, 1))
        for size in range(14)
    ]
    assert times == sorted(times, reverse=True)


def test_without_a_buffer_nothing_changes():
    plain = toy(pipeline={"dies_per_stage": 2})
    zero = plain.replace("costs.prefetch_per_die=0")
    assert zero.fingerprint == plain.fingerprint
    one, other = build_tables(plain), build_tables(zero)
    assert np.array_equal(one.full_block, other.full_block)
    assert np.array_equal(one.length_cost, other.length_cost)


def test_refused_without_the_roofline_and_with_an_open_layout():
    with pytest.raises(InputError, match=r"costs\.prefetch_per_die"):
        toy(costs={"kind": "coefficients", "stages": {"linear": 1e-6}, "prefetch_per_die": 100})
    with pytest.raises(InputError, match=r"costs\.prefetch_per_die"):
        toy(pipeline={"stages": "auto", "dies_per_stage": "auto"}, costs={"prefetch_per_die": 100})


def test_no_bound_for_finer_grids():
    instance = toy(pipeline={"dies_per_stage": 2}, costs={"prefetch_per_die": 100})
    assert "reading ahead" in str(refinement(instance, build_tables(instance)).reason)
