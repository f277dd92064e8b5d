"""Degrees an engine can run: what the dies of a stage beyond its degree add, and efficiency by degree."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from toy_instances import preset, toy

from mocap_opt.errors import InputError
from mocap_opt.instance import StageLayout, load_instance
from mocap_opt.pictures.wafer_geometry import draw_wafer
from mocap_opt.questions.tradeoffs import layout_choices
from mocap_opt.tables import build_tables
from mocap_opt.tables.layout import layout

# Two heads: of three dies two compute.
ODD = toy(pipeline={"dies_per_stage": 3, "degrees": "divide-heads"})


def test_tables_by_hand():
    # Boustrophedon: stage 0 on 0,0 0,1 0,2; stage 1 on 0,3 1,2 1,3.  The die 1,2 hangs on 1,3 alone.
    assert layout(ODD).ranks == (((0, 0), (0, 1)), ((0, 3), (1, 3)))
    tables = build_tables(ODD)
    # Two layers on two dies of 0.5 FLOP/ns: 448 x + 16 x (x + 1).
    assert tables.phi.tolist() == [[0, 2112, 4736, 6240]] * 2
    # Overhead 20; four all-reduces of 8 bytes a token: 4 x 2 x 10 + 4 x 8 l.
    assert tables.length_cost[0, 0].tolist() == [100, 228, 356, 484]
    assert tables.port_rate.tolist() == [2, 2]
    # One KV head, a copy on each of the two: 2 layers x 2 x 2 x 2 x 2 bytes = 32 a token.
    assert tables.page_bytes.tolist() == [64, 64]
    assert tables.working_bytes.tolist() == [64, 64]
    # All three dies hold memory and a staging buffer.
    assert tables.capacity.tolist() == [3 * 10**6] * 2
    assert tables.staging.tolist() == [300, 300]
    # 0,0 > 0,3 and 0,1 > 1,3, half each.
    carried = dict(
        zip(tables.links, (tables.share[:, 0, 1] / tables.share_denominator).tolist(), strict=True)
    )
    assert {link: part for link, part in carried.items() if part} == {
        "0,0>0,1": 0.5,
        "0,1>0,2": 1.0,
        "0,2>0,3": 1.0,
        "0,3>1,3": 0.5,
    }


@pytest.mark.parametrize(("dies", "degrees"), [(3, "divide-heads"), (4, [1, 2]), (4, [1, 3]), (3, "any")])
def test_dies_beyond_the_degree_are_memory_and_nothing_else(dies, degrees):
    """A second reading: the ranks alone, as a pipeline of their own, on dies with more memory."""
    instance = toy(pipeline={"dies_per_stage": dies, "degrees": degrees})
    computing = layout(instance).ranks
    fewer = [
        d
        for d in range(1, dies + 1)
        if degrees == "any" or (2 % d == 0 if degrees == "divide-heads" else d in degrees)
    ]
    assert [len(ranks) for ranks in computing] == [fewer[-1]] * 2
    alone = toy(pipeline={"dies_per_stage": len(computing[0]), "placement": computing})
    found, known = build_tables(instance), build_tables(alone)
    for field in dataclasses.fields(found):
        value, other = getattr(found, field.name), getattr(known, field.name)
        if field.name in ("capacity", "staging"):
            assert (value * len(computing[0])).tolist() == (other * dies).tolist()
        elif isinstance(value, np.ndarray):
            assert np.array_equal(value, other), field.name
        else:
            assert value == other, field.name


def test_degree_is_the_largest_that_fits():
    pipeline = preset("gpt3-175b", "watos-c3", 8, 7, pipeline={"degrees": "divide-heads"}).pipeline
    for dies in range(1, 57):
        divisors = [degree for degree in range(1, dies + 1) if 96 // degree * degree == 96]
        assert pipeline.degree(dies, 96) == divisors[-1]
    listed = pipeline.model_copy(update={"degrees": (8, 2)})
    assert [listed.degree(dies, 96) for dies in (1, 2, 7, 8, 30)] == [0, 2, 2, 8, 8]


def test_stages_without_any_degree_are_refused():
    with pytest.raises(
        InputError, match=r"pipeline.dies_per_stage: expected enough for one of pipeline.degr"
    ):
        toy(pipeline={"degrees": [2, 4]})


def test_sweeps_over_layouts_keep_to_the_degrees():
    widths = {
        each.overrides[1] for each in layout_choices(toy(pipeline={"dies_per_stage": 2, "degrees": [2, 4]}))
    }
    assert widths == {f"pipeline.dies_per_stage={width}" for width in range(2, 9)}


def test_one_efficiency_equals_a_table_of_it():
    one, table = (
        toy(pipeline={"dies_per_stage": 3}, costs={"efficiency": given})
        for given in (0.41, {"1": 0.41, "8": 0.41})
    )
    for field in dataclasses.fields(build_tables(one)):
        assert np.array_equal(
            getattr(build_tables(one), field.name), getattr(build_tables(table), field.name)
        )


def test_efficiency_between_entries_is_linear_in_the_logarithm():
    costs = toy(costs={"efficiency": {"8": 0.4, "2": 0.6}}).costs
    found = [float(costs.efficiency_at(degree)) for degree in (1, 2, 4, 8, 16)]
    assert found == [0.6, 0.6, 0.5, 0.4, 0.4]
    # log2(3 / 2) / log2(8 / 2) = 0.2924812504 of the way down.
    assert float(costs.efficiency_at(3)) == 0.54150375
    slow = toy(pipeline={"dies_per_stage": 2}, costs={"efficiency": {"1": 0.5, "2": 0.25}})
    assert build_tables(slow).phi.tolist() == build_tables(toy()).phi.tolist()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"0": 0.5},
        {"two": 0.5},
        {"1": 1.5},
        {"1": "0.5"},
        {"1.5": 0.5},
        {"01": 0.5},
        {"99999": 0.5},
        [0.5],
    ],
)
def test_efficiencies_that_are_refused(given):
    with pytest.raises(InputError, match=r"costs.efficiency: expected"):
        toy(costs={"efficiency": given})


@pytest.mark.parametrize("layers", [(1, 2, 1), (2, 1, 1), (1, 1, 2)])
def test_unlike_layers_are_charged_where_they_stand(layers):
    # Two plain layers, then two of four experts of width 3, two at work and one shared, with a router.
    experts = {"count": 4, "active": 2, "shared": 1, "ffn": 3, "dense_layers": 2}
    free = toy(
        model={"experts": experts},
        pipeline={"stages": "auto", "layers": "auto", "placement": "auto"},
        precision={"weights": [2, 2, 2, 1]},
    )
    choice = StageLayout((((0, 0),), ((0, 1),), ((0, 2),)), layers)
    tables = build_tables(free.with_layout(choice))
    # Multiplications of a token: 48 of attention and 64 plain, or 16 of the router and three experts of 24.
    multiplied = [48 + 64, 48 + 64, 48 + 16 + 3 * 24, 48 + 16 + 3 * 24]
    stored = [2 * (48 + 64), 2 * (48 + 64), 2 * (48 + 16 + 5 * 24), 48 + 16 + 5 * 24]
    ends = [0, layers[0], layers[0] + layers[1], 4]
    embedding = 16 * 4 * 2
    for i, (first, last) in enumerate(itertools.pairwise(ends)):
        flops = [
            2 * sum(multiplied[first:last]) * x + layers[i] * 16 * x * (x + 1) // 2 for x in (0, 4, 8, 10)
        ]
        assert tables.phi[i].tolist() == [2 * each for each in flops]
        assert tables.static[i] == sum(stored[first:last]) + (embedding if i != 1 else 0)
        assert tables.page_bytes[i] == layers[i] * 2 * 2 * 2 * 2


def test_experts_in_every_other_layer_are_charged_where_they_stand():
    experts = {"count": 4, "active": 2, "shared": 1, "ffn": 3, "shared_ffn": 5, "layers": [0, 2]}
    free = toy(model={"experts": experts}, pipeline={"stages": "auto", "layers": "auto", "placement": "auto"})
    choice = StageLayout((((0, 0),), ((0, 1),)), (1, 3))
    tables = build_tables(free.with_layout(choice))
    # Experts: the router of 16, two of 8 x 3 at work of four, the shared one of 8 x 5.
    sparse, dense = 48 + 16 + 2 * 24 + 40, 48 + 64
    assert tables.phi[:, 1].tolist() == [4 * (4 * sparse + 80), 4 * (4 * (sparse + 2 * dense) + 3 * 80)]
    stored = 48 + 16 + 4 * 24 + 40
    assert tables.static.tolist() == [2 * (stored + 64), 2 * (stored + 2 * dense + 64)]


def test_dies_that_are_memory_only_are_drawn_as_such():
    drawing = draw_wafer(layout(ODD))
    assert {die.die for die in drawing.dies if die.memory_only} == {(0, 2), (1, 2)}
    assert not any(die.memory_only for die in draw_wafer(layout(toy())).dies)


def test_the_shipped_instance_runs_on_six_of_seven_dies(request):
    instance = load_instance(request.config.rootpath / "instances" / "gpt3-175b-watos-heads.json")
    tables = build_tables(instance)
    assert [len(ranks) for ranks in layout(instance).ranks] == [6] * 8
    # With the shortest chunks allowed no stage holds the KV of its own layers.
    shortest = tables.static + tables.reserve(tables.min_length) + tables.page_bytes * tables.pages[-1]
    assert (shortest > tables.capacity).all()
