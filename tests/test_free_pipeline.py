"""Pipelines that leave something open: what may be written, what is refused, what a layout decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from malformed import changed

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, StageLayout, json_schema, load_instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.placement import ranks
from mocap_opt.wafer.topology import build_topology

OPEN = {"stages": "auto", "dies_per_stage": "auto", "layers": "auto", "placement": "auto"}


def pipeline(**changes: Any) -> dict[str, Any]:
    return changed(("pipeline", {"stages": 2, **changes}))


SHIPPED = Path(__file__).parents[1] / "instances"
FREE = Instance.from_dict(pipeline(**OPEN))
# The wafer has 2 x 3 dies; [1, 2] is dead and so is the link between [0, 0] and [1, 0].
CHOICE = StageLayout((((0, 0), (0, 1), (1, 1)), ((0, 2),)), (6, 2))


@pytest.mark.parametrize(
    "given",
    [
        OPEN,
        {"stages": "auto"},
        {"stages": [1, 2, 4]},
        {"dies_per_stage": "auto"},
        {"layers": "auto", "degrees": [1, 2, 4]},
        {"placement": "auto", "degrees": "any"},
        {"stages": [2], "dies_per_stage": 2, "degrees": None},
    ],
)
def test_what_may_be_left_open(given):
    data = pipeline(**given)
    instance = Instance.from_dict(data)
    assert instance.pipeline.free
    jsonschema.validate(data, json_schema())
    again = Instance.from_dict(instance.to_dict())
    assert again == instance
    assert again.fingerprint == instance.fingerprint


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stages": "many"}, r'pipeline.stages: expected a whole number or "auto", got "many"'),
        ({"stages": []}, r"pipeline.stages: expected at least one number, each once"),
        ({"stages": [2, 2]}, r"pipeline.stages: expected at least one number, each once"),
        ({"stages": [2, 9]}, r"pipeline.stages\[1\]: expected at most model.layers \(8\), got 9"),
        ({"stages": [2, 3], "dies_per_stage": 2}, r"pipeline.stages\[1\]: expected at most 5, the living"),
        ({"stages": "auto", "dies_per_stage": 6}, r"pipeline.dies_per_stage: expected at most 5, the living"),
        ({"stages": "auto", "layers": [4, 4]}, r"pipeline.layers: expected no list by stage while"),
        ({"stages": [2, 4], "dies_per_stage": [1, 1]}, r"pipeline.dies_per_stage: expected no list by stage"),
        ({"placement": [[[0, 0]], [[0, 1]]], "dies_per_stage": "auto"}, r"got \"auto\" \(write \[1, 1\]\)"),
        ({"degrees": []}, r"pipeline.degrees: expected at least one number"),
        ({"degrees": [2, 4]}, r"pipeline.dies_per_stage: expected enough for one of pipeline.degrees"),
        ({"degrees": "all"}, r'pipeline.degrees: expected "divide-heads" or "any" or null'),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        Instance.from_dict(pipeline(**given))


def test_given_times_need_given_stages():
    data = pipeline(layers="auto")
    data["costs"] = {"kind": "coefficients", "stages": {"linear": 1e-6}}
    with pytest.raises(InputError, match=r"pipeline.layers: expected a value where costs are coefficients"):
        Instance.from_dict(data)
    data["pipeline"] = {"stages": 2, "placement": "auto"}
    assert Instance.from_dict(data).pipeline.open_fields == ("placement",)


def test_numbers_of_stages_to_choose_from():
    assert FREE.pipeline.counts(8, 5) == (1, 2, 3, 4, 5)
    assert Instance.from_dict(pipeline(stages="auto", dies_per_stage=2)).pipeline.counts(8, 5) == (1, 2)
    assert Instance.from_dict(pipeline(stages=[4, 2])).pipeline.counts(8, 5) == (2, 4)


def test_tables_of_a_free_instance_are_refused_once():
    with pytest.raises(InputError) as raised:
        build_tables(FREE)
    (problem,) = raised.value.problems
    assert (problem.path, problem.found) == ("pipeline.stages", '"auto"')
    assert "open as well: dies_per_stage, layers, placement" in str(problem)


def test_overrides_open_and_give_fields():
    opened = load_instance(
        SHIPPED / "gpt3-175b-watos-tight.json", ["pipeline.layers=auto", "pipeline.stages=[4,8]"]
    )
    assert opened.pipeline.open_fields == ("stages", "layers")
    changed = opened.replace("pipeline.stages=8", "pipeline.layers=balanced", "pipeline.degrees=divide-heads")
    assert not changed.pipeline.free
    assert changed.fingerprint != load_instance(SHIPPED / "gpt3-175b-watos-tight.json").fingerprint
    table = changed.replace('costs.efficiency={"1": 0.6, "8": 0.4}')
    assert table.costs.efficiency == {1: 0.6, 8: 0.4}
    assert table.replace("costs.efficiency.8=0.5").costs.efficiency == {1: 0.6, 8: 0.5}


def test_other_ways_to_write_the_same_pipeline_count_as_the_same():
    def written(**given: Any) -> str:
        return Instance.from_dict(pipeline(**given)).fingerprint

    assert (
        written(stages=[1, 2])
        == written(stages=[2, 1], degrees="divide-heads")
        == written(stages=[1, 2], degrees=None)
    )
    assert written(degrees=[2, 1]) == written(degrees=[1, 2])
    assert (
        len(
            {
                written(),
                written(layers="auto"),
                written(stages="auto"),
                written(stages=[1, 2]),
                written(degrees=[1]),
            }
        )
        == 5
    )


def test_a_layout_decides_everything():
    decided = FREE.with_layout(CHOICE)
    assert not decided.pipeline.free
    assert decided.decided == CHOICE
    assert decided.fingerprint == FREE.fingerprint
    assert FREE.decided is None
    laid_out = layout(decided)
    assert laid_out.dies == CHOICE.dies
    assert [*map(len, laid_out.layers)] == [6, 2]
    # 8 heads: of three dies two compute; that is the rule "divide-heads" of whatever is open.
    assert laid_out.ranks == (((0, 0), (0, 1)), ((0, 2),))


def test_layouts_of_other_pipelines_are_refused_with_every_reason():
    def reasons(instance: Instance, choice: StageLayout) -> list[str]:
        with pytest.raises(InputError) as raised:
            instance.with_layout(choice)
        return [str(problem) for problem in raised.value.problems]

    dead = StageLayout((((1, 2),), ((0, 0), (0, 0), (3, 0))), (4, 3))
    found = "\n".join(reasons(FREE, dead))
    for said in ("[1, 2], which is dead", "used at", "[3, 0]", "a sum of 7"):
        assert said in found
    apart = StageLayout((((0, 0), (1, 0)), ((0, 2),)), (4, 4))
    assert "layout.dies[0]: expected a connected set of dies" in reasons(FREE, apart)[0]
    assert "one number for each" in reasons(FREE, StageLayout((((0, 0),),), (4, 4)))[0]
    listed = Instance.from_dict(pipeline(stages=[1, 3], placement="auto", layers="auto"))
    assert "2 stages" in reasons(listed, CHOICE)[0]
    wide = Instance.from_dict(pipeline(dies_per_stage=2, placement="auto", degrees=[2]))
    assert [reason.split(":")[0] for reason in reasons(wide, CHOICE)] == [
        "layout.dies[1]",
        "layout.dies[0]",
        "layout.dies[1]",
        "layout.layers",
    ]
    snake = Instance.from_dict(pipeline(layers="auto"))
    snake.with_layout(StageLayout((((0, 0),), ((0, 1),)), (5, 3)))
    assert "boustrophedon" in reasons(snake, StageLayout((((0, 1),), ((0, 2),)), (5, 3)))[0]


def test_degrees_any_is_what_was_meant_all_along():
    given, ruled = Instance.from_dict(changed()), Instance.from_dict(changed(("pipeline.degrees", "any")))
    assert given.fingerprint == ruled.fingerprint
    assert layout(given).ranks == layout(given).dies


def test_ranks_are_one_piece_in_the_order_of_the_dies():
    topology = build_topology(FREE.wafer)
    assert ranks(topology, ((0, 0), (0, 1), (1, 1)), 2) == ((0, 0), (0, 1))
    # [1, 0] comes first but hangs on [1, 1] alone; [0, 0] only joins through [0, 1].
    around = ((1, 0), (0, 0), (0, 1), (1, 1))
    assert ranks(topology, around, 2) == ((1, 0), (1, 1))
    assert ranks(topology, around, 3) == ((1, 0), (0, 1), (1, 1))


def test_fingerprints_of_shipped_instances_stay(request):
    known = {"gpt3-175b-watos-tight": "ea6f196bec6bcec6", "llama-3.1-70b-watos-uneven": "258e539d1979e1c1"}
    for name, fingerprint in known.items():
        path = request.config.rootpath / "instances" / f"{name}.json"
        assert load_instance(path).fingerprint == fingerprint
