"""Bounds over layouts against every layout, partition and placement of KV of tiny instances."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from layout_oracle import every_layout, random_free
from oracle import brute_force, least_price

from mocap_opt.bounds import BOUNDS
from mocap_opt.instance import Instance, load_instance
from mocap_opt.layouts.box_bound import LayoutBounds
from mocap_opt.layouts.layer_times import LayerTimes
from mocap_opt.layouts.space import LayoutBox, shapes
from mocap_opt.solving.layout_leaves import QUICK_POOLED, SLOW_POOLED, unplaced
from mocap_opt.tables import build_tables


def optima(instance: Instance) -> dict[tuple[tuple[int, ...], tuple[int, ...]], Fraction]:
    """Least time of any execution by degrees and layers, seconds."""
    best: dict[tuple[tuple[int, ...], tuple[int, ...]], Fraction] = {}
    for choice in every_layout(instance):
        tables = build_tables(instance.with_layout(choice))
        found = brute_force(tables, least_price)
        if found is not None:
            heads = instance.model.heads
            key = tuple(instance.pipeline.degree(len(dies), heads) for dies in choice.dies), choice.layers
            value = found.value * tables.tick_s
            best[key] = min(best.get(key, value), value)
    return best


def with_experts(instance: Instance) -> Instance:
    """The same with experts in every other layer, the first one dense, and a wide shared one."""
    data, layers = instance.to_dict(), range(1, instance.model.layers, 2)
    experts = {"count": 2, "active": 1, "ffn": 16, "shared": 1, "shared_ffn": 48, "layers": [*layers]}
    return Instance.from_dict({**data, "model": {**data["model"], "experts": experts}})


def beaten(
    seed: int, inflated: Fraction = Fraction(1), *, memories: bool = False, experts: bool = False
) -> int:
    """How many optima lie below a bound, times a factor, on boxes around them."""
    instance = random_free(np.random.default_rng(seed), f"random {seed}", memories=memories)
    instance = with_experts(instance) if experts else instance
    bounds, layers, count = LayoutBounds(LayerTimes.of(instance)), instance.model.layers, 0
    spare = instance.pipeline.degree_rule != "any" or instance.pipeline.spare_dies == "memory"
    for (degrees, given), optimum in optima(instance).items():
        dies = instance.wafer.living_dies if spare else sum(degrees)
        around = tuple(max(1, n - 1) for n in given), tuple(n + 1 for n in given)
        for low, high in ((given, given), around, ((1,) * len(given), (layers,) * len(given))):
            box = LayoutBox(degrees, low, high, layers).tightened()
            assert box is not None
            for ordered in (True, False):
                bound = bounds.latency(box, dies, ordered=ordered)
                count += bound is None or bound * inflated > optimum
    return count


def test_no_layout_beats_a_bound():
    assert sum(beaten(seed) for seed in range(40)) == 0


def test_no_layout_with_experts_in_some_layers_beats_a_bound():
    assert sum(beaten(seed, experts=True) for seed in range(12)) == 0
    assert sum(beaten(seed, Fraction(2), experts=True) for seed in range(12)) > 0


@pytest.mark.slow
def test_no_layout_of_many_instances_beats_a_bound():
    assert sum(beaten(seed) for seed in range(1000, 1300)) == 0


def test_no_layout_with_memories_without_a_stage_beats_a_bound():
    assert sum(beaten(seed, memories=True) for seed in range(40)) == 0
    assert sum(beaten(seed, Fraction(102, 100), memories=True) for seed in range(10)) > 0


@pytest.mark.slow
def test_no_layout_of_many_instances_with_memories_without_a_stage_beats_a_bound():
    assert sum(beaten(seed, memories=True) for seed in range(1000, 1200)) == 0


def beaten_leaves(seed: int, *, inflated: Fraction = Fraction(1), memories: bool = True) -> int:
    """How many bounds of tables without a place, times a factor, some plan of the same layers beats."""
    instance = random_free(np.random.default_rng(seed), f"random {seed}", memories=memories)
    spare = instance.pipeline.degree_rule != "any" or instance.pipeline.spare_dies == "memory"
    best, heads, count = optima(instance), instance.model.heads, 0
    for choice in every_layout(instance):
        degrees = tuple(instance.pipeline.degree(len(dies), heads) for dies in choice.dies)
        optimum = best.get((degrees, choice.layers))
        if optimum is not None:
            dies = instance.wafer.living_dies if spare else sum(degrees)
            tables = unplaced(instance.with_layout(choice), dies)
            found = (BOUNDS[name](tables) for name in (*QUICK_POOLED, *SLOW_POOLED))
            bounds = [bound.ticks * tables.tick_s for bound in found if bound is not None]
            count += sum(bound * inflated > optimum for bound in bounds)
    return count


def test_no_layout_beats_bounds_of_tables_without_a_place():
    """In some, weights overflow a stage of fewer dies (seeds 10 and 14): elsewhere they need not."""
    assert sum(beaten_leaves(seed) for seed in (3, 10, 14)) == 0
    assert sum(beaten_leaves(seed, inflated=Fraction(102, 100)) for seed in (3,)) > 0


@pytest.mark.slow
def test_no_layout_of_many_instances_beats_bounds_of_tables_without_a_place():
    for memories in (True, False):
        assert sum(beaten_leaves(seed, memories=memories) for seed in range(200)) == 0


def test_slow_links_of_odd_rates_have_a_tick_of_their_own():
    """Tables without a place know the fastest link alone: where that changes the tick they prove nothing."""
    open_layers = ["pipeline.layers=auto", "pipeline.placement=auto"]
    slow = 'wafer.slow_links=[{"between": [[0, 0], [0, 1]], "bandwidth": 1234500000}]'
    path = Path(__file__).parent.parent / "instances/gpt3-175b-watos-dead-dies.json"
    assert LayerTimes.of(load_instance(path, open_layers)).one_tick([4] * 8)
    assert not LayerTimes.of(load_instance(path, [*open_layers, slow])).one_tick([4] * 8)


def test_bounds_two_percent_too_great_are_found_out():
    assert sum(beaten(seed, Fraction(102, 100)) for seed in range(10)) > 0


def test_every_layout_belongs_to_a_shape():
    for seed in range(20):
        instance = random_free(np.random.default_rng(seed), f"random {seed}")
        known = {(shape.stages, tuple(sorted(shape.degrees))) for shape in shapes(instance)}
        for choice in every_layout(instance):
            degrees = [instance.pipeline.degree(len(dies), instance.model.heads) for dies in choice.dies]
            assert (choice.stages, tuple(sorted(degrees))) in known


def test_three_layers_on_two_stages_take_three_times_a_layer_however_they_are_split():
    """The page's worked example: one chunk crosses three layers, whatever the list."""
    data = random_free(np.random.default_rng(1), "example").to_dict()
    data["model"] |= {"layers": 3}
    data["wafer"] |= {"cols": 2}
    data["wafer"]["die"] |= {"memory_bytes": 10**9, "memory_bandwidth": 1e12}
    data["wafer"]["link"] |= {"bandwidth": 1e15, "hop_latency": 0}
    data["pipeline"] |= {"stages": 2, "degrees": "any"}
    data["chunking"] |= {"max_chunks": 1}
    data["costs"] |= {"overhead": 0, "half_efficiency_tokens": 0}
    instance = Instance.from_dict(data)
    values = {layers: value for (degrees, layers), value in optima(instance).items() if degrees == (1, 1)}
    assert set(values) == {(1, 2), (2, 1)}
    box = LayoutBox.of((1, 1), 3).tightened()
    bound = LayoutBounds(LayerTimes.of(instance)).latency(box, 2)
    assert float(bound) == pytest.approx(float(min(values.values())), rel=1e-3)
    assert max(values.values()) - min(values.values()) < Fraction(1, 10**6)


def even_path(stages: int, chunks: int, rng: np.random.Generator) -> tuple[float, float]:
    """Longest path of weights t_i w_j that add up to 1 each, and the page's least one."""
    t, w = rng.dirichlet(np.ones(stages)), rng.dirichlet(np.ones(chunks))
    longest = np.zeros((stages + 1, chunks + 1))
    for i, j in np.ndindex(stages, chunks):
        longest[i + 1, j + 1] = max(longest[i, j + 1], longest[i + 1, j]) + t[i] * w[j]
    return float(longest[-1, -1]), (stages + chunks - 1) / (stages * chunks)


def test_no_split_of_products_has_a_shorter_longest_path_than_the_even_one():
    rng = np.random.default_rng(7)
    pairs = [even_path(int(rng.integers(1, 7)), int(rng.integers(1, 7)), rng) for _ in range(500)]
    assert all(longest >= least - 1e-12 for longest, least in pairs)
    assert min(longest - least for longest, least in pairs) < 0.01


def test_even_layers_with_memory_to_spare_are_within_the_grid_of_any_list():
    """Identical dies, N | L, slack: the bound over all lists comes near the even list's own."""
    instance = load_instance("instances/gpt3-175b-watos-dead-dies.json")
    bounds = LayoutBounds(LayerTimes.of(instance))
    box = LayoutBox.of((4,) * 8, 96).tightened()
    every = bounds.latency(box, 10**4)
    even = bounds.latency(LayoutBox((4,) * 8, (12,) * 8, (12,) * 8, 96), 10**4)
    assert Fraction(95, 100) * even < every <= even
