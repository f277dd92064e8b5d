"""The benchmark family: made from a seed, as large as said, as tight as said."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from toy_instances import toy

from mocap_opt.baselines import METHODS
from mocap_opt.bounds import Scope, lower_bounds
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.instance import load_instance
from mocap_opt.replay.evaluation import assess
from mocap_opt.solving import solve
from mocap_opt.studies.bench.family import (
    SIZES,
    TIGHT,
    TIGHTER,
    VARIANTS,
    die_memory,
    equal_chunk,
    fixed_bytes,
    least_boundaries,
    make,
    names,
    tightest_share,
    uneven_layers,
    whole_cache,
    write_family,
)
from mocap_opt.tables import build_tables

FOLDER = Path(__file__).parent.parent / "instances" / "bench"
SHAPES = {"S": (4, 8, 32), "M": (8, 16, 256), "L": (16, 32, 1024), "XL": (32, 128, 4096)}


def test_the_files_can_be_made_again_byte_for_byte(tmp_path: Path) -> None:
    made = write_family(tmp_path / "new", seed=0)
    shipped = sorted(FOLDER.iterdir())
    assert sorted(path.name for path in made) == [path.name for path in shipped]
    for path in made:
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name


def test_the_seed_draws_the_unequal_variant_alone() -> None:
    changed = [name for name in names() if make(name, 1) != make(name, 0)]
    assert changed == [f"{size}-unequal" for size in SIZES]


@pytest.mark.parametrize("name", names())
def test_shapes_shares_and_variants(name: str) -> None:
    instance = load_instance(FOLDER / f"{name}.json")
    tables = build_tables(instance)
    size, _, variant = name.partition("-")
    assert (tables.stages, tables.max_chunks, tables.steps) == SHAPES[size]
    assert not tables.exact_chunks
    assert tables.min_length > 1
    share = (int(tables.capacity.sum()) - fixed_bytes(tables)) / whole_cache(tables)
    if variant == "slack":
        assert share >= 1
    elif variant in ("tight", "unequal", "prefix"):
        assert share == pytest.approx(TIGHT, abs=1e-6)
    elif variant == "tighter":
        assert share >= TIGHTER - 1e-6
        assert share >= 1.05 * tightest_share(instance) - 1e-6
    identical = all(np.array_equal(row, tables.phi[0]) for row in tables.phi)
    assert identical == (variant != "unequal")
    assert bool(instance.wafer.dead_dies) == (variant == "unequal")
    assert bool(instance.wafer.slow_links) == (variant == "links")
    assert tables.prefix == (tables.tokens // 2 if variant == "prefix" else 0)


@pytest.mark.parametrize("name", names(("S", "M", "L")) + ["XL-slack", "XL-tight"])
def test_a_heuristic_has_a_plan(name: str) -> None:
    tables = build_tables(load_instance(FOLDER / f"{name}.json"))
    plan = METHODS["search-greedy"].propose(tables).plan
    assert plan is not None
    assert assess(tables, plan).latency > 0  # verifies it first


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_heuristic_has_a_plan_at_the_largest_size(variant: str) -> None:
    tables = build_tables(load_instance(FOLDER / f"XL-{variant}.json"))
    plan = METHODS["search-greedy"].propose(tables).plan
    assert plan is not None
    assert assess(tables, plan).latency > 0


def test_slow_links_cost_latency_in_the_optimum() -> None:
    """No plan over slow links is as fast as a plan found over ample ones, by proof."""
    slow = load_instance(FOLDER / "S-links.json")
    ample = solve(slow.replace("wafer.slow_links=[]"), "search-greedy")
    tables = build_tables(slow)
    bounds = [bound for bound in lower_bounds(tables, quick=True) if bound.scope is Scope.ANY_EXECUTION]
    assert ample.report.latency_s is not None
    assert tables.seconds(max(bound.ticks for bound in bounds)) > ample.report.latency_s


def test_slow_links_join_different_stages_only() -> None:
    for size in ("S", "M"):
        slow = load_instance(FOLDER / f"{size}-links.json")
        fast = build_tables(slow.replace("wafer.slow_links=[]"))
        tables = build_tables(slow)
        seconds, ample = [[t.seconds(int(x)) for x in t.length_cost[:, 0, -1]] for t in (tables, fast)]
        assert seconds == pytest.approx(ample)
        for stage in range(tables.stages - 1):
            sends = [t.seconds(int(t.send[stage, 0, -1])) for t in (tables, fast)]
            assert sends[0] > sends[1]


def test_die_memory_gives_the_share() -> None:
    instance = toy(workload={"tokens": 40}, chunking={"max_chunks": 5})
    for share in (0.5, 1.0):
        tables = build_tables(instance.replace(f"wafer.die.memory_bytes={die_memory(instance, share)}"))
        room = int((tables.capacity - tables.static - tables.reserve(equal_chunk(tables))).sum())
        assert room == pytest.approx(share * whole_cache(tables), abs=len(tables.static))


@pytest.mark.parametrize("seed", range(40))
def test_least_boundaries_are_least(seed: int) -> None:
    random = np.random.default_rng(seed)
    steps = int(random.integers(2, 40))
    longest = int(random.integers(1, steps + 1))
    shortest = int(random.integers(1, longest + 1))
    boundaries = least_boundaries(steps, longest, shortest)
    admissible = [n for n in range(1, steps + 1) if n * shortest <= steps <= n * longest]
    assert (boundaries is None) == (not admissible)
    if boundaries is None:
        return
    lengths = np.diff(boundaries)
    assert lengths.min() >= shortest
    assert boundaries.size - 1 == admissible[0]
    assert boundaries[0] == 0
    assert boundaries[-1] == steps
    assert lengths.max() <= longest
    index = np.arange(boundaries.size)
    np.testing.assert_array_equal(
        boundaries[1:], np.maximum(steps - (boundaries.size - 1 - index) * longest, index * shortest)[1:]
    )


def test_less_than_the_tightest_share_fits_no_pool() -> None:
    instance = toy(workload={"tokens": 40}, chunking={"max_chunks": 5})
    share = tightest_share(instance)
    for factor, fits in ((0.98, False), (1.02, True)):
        memory = die_memory(instance, share * factor)
        tables = build_tables(instance.replace(f"wafer.die.memory_bytes={memory}"))
        pool = PooledMemory.of(tables)
        found = []
        for longest in range(1, tables.steps + 1):
            count = -(-tables.steps // longest)
            if count <= tables.max_chunks:
                boundaries = least_boundaries(tables.steps, longest, 1)
                assert boundaries is not None
                found.append(pool.fits(boundaries, longest * tables.quantum))
        assert any(found) == fits


def test_uneven_layers_add_up_and_are_uneven() -> None:
    for seed in range(20):
        counts = uneven_layers(Random(str(seed)), 96, 32)
        assert sum(counts) == 96
        assert 1 <= min(counts) < max(counts)
