"""Which dies and layers stages get."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_wafer import topology
from toy_instances import toy

from mocap_opt.errors import InputError
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.placement import balanced_layers, place_on_snake, snake


def test_snake_turns_at_the_end_of_each_row():
    assert snake(topology("mesh", 2, 3)) == ((0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0))


def test_snake_skips_dead_dies():
    assert snake(topology("mesh", 2, 2, dead_dies=[[0, 1]])) == ((0, 0), (1, 1), (1, 0))


def test_stages_take_consecutive_runs():
    stages = place_on_snake(topology("mesh", 2, 4), [3, 1, 2])
    assert stages == (((0, 0), (0, 1), (0, 2)), ((0, 3),), ((1, 2), (1, 3)))


def test_a_run_broken_by_a_dead_die_starts_later():
    # . x .    Row by row: 0,0 | 0,2 1,2 1,1 1,0.  0,0 and 0,2 are not linked, so the stage
    # . . .    starts at 0,2 and 0,0 stays unused.
    topo = topology("mesh", 2, 3, dead_dies=[[0, 1]])
    assert place_on_snake(topo, [2, 2]) == (((0, 2), (1, 2)), ((1, 0), (1, 1)))


def test_a_run_may_go_round_a_dead_die_if_it_stays_in_one_piece():
    # . x    The run 0,0 1,1 1,0 is one piece although 0,0 and 1,1 are no neighbours.
    # . .
    topo = topology("mesh", 2, 2, dead_dies=[[0, 1]])
    assert place_on_snake(topo, [3]) == (((0, 0), (1, 0), (1, 1)),)


def test_a_dead_link_breaks_a_run():
    topo = topology("mesh", 1, 4, dead_links=[[[0, 0], [0, 1]]])
    assert place_on_snake(topo, [2]) == (((0, 1), (0, 2)),)


def test_no_room_names_the_stage_and_the_remedy():
    topo = topology("mesh", 1, 5, dead_dies=[[0, 2]])
    with pytest.raises(
        InputError, match=r"no connected run of 3 living dies left for stage 0.*pipeline\.placement"
    ):
        place_on_snake(topo, [3])
    with pytest.raises(InputError, match="left for stage 2"):
        place_on_snake(topo, [2, 1, 2])


def test_explicit_placement_must_be_connected():
    dies = [[[0, 0], [0, 2]], [[0, 1], [1, 1]]]
    with pytest.raises(
        InputError, match=r"pipeline\.placement\[0\]: expected a connected set of dies, got 0,0 0,2"
    ):
        layout(toy(pipeline={"dies_per_stage": 2, "placement": dies}))


def test_every_disconnected_stage_is_listed():
    dies = [[[0, 0], [0, 2]], [[1, 0], [1, 3]]]
    with pytest.raises(InputError, match=r"placement\[0\].*\n.*placement\[1\]") as caught:
        layout(toy(pipeline={"dies_per_stage": 2, "placement": dies}))
    assert len(caught.value.problems) == 2


def test_dies_on_a_switch_are_always_connected():
    wafer = {"topology": "switch", "rows": 1, "cols": 4}
    dies = [[[0, 0], [0, 2]], [[0, 1], [0, 3]]]
    placed = layout(toy(wafer=wafer, pipeline={"dies_per_stage": 2, "placement": dies}))
    assert placed.dies[0] == ((0, 0), (0, 2))


@pytest.mark.parametrize(
    ("layers", "stages", "counts"),
    [
        (8, 4, (2, 2, 2, 2)),
        (5, 4, (1, 2, 1, 1)),  # first = (4 - 1) // 2 = 1
        (6, 4, (1, 2, 2, 1)),
        (7, 4, (2, 2, 2, 1)),  # first = (4 - 3) // 2 = 0
        (3, 3, (1, 1, 1)),
    ],
)
def test_layers_left_over_go_to_the_middle(layers: int, stages: int, counts: tuple[int, ...]):
    assert balanced_layers(layers, stages) == counts


@given(st.integers(1, 60), st.integers(0, 100))
def test_balanced_layers_add_up_and_differ_by_one_at_most(stages: int, more: int):
    counts = balanced_layers(stages + more, stages)
    assert sum(counts) == stages + more
    assert max(counts) - min(counts) <= 1
    assert len(counts) == stages


def placeable(topo, sizes: list[int]) -> bool:
    try:
        return len(place_on_snake(topo, sizes)) == len(sizes)
    except InputError:
        return False


@given(
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=9),
    st.lists(st.integers(1, 4), max_size=7),
)
def test_placed_stages_are_disjoint_connected_and_alive(dead: set[tuple[int, int]], sizes: list[int]):
    topo = topology("mesh", 4, 5, dead_dies=sorted(dead))
    path = snake(topo)
    joined = nx.Graph((link.source, link.target) for link in topo.links)
    joined.add_nodes_from(topo.dies)
    fits = [placeable(topo, sizes[:count]) for count in range(len(sizes) + 1)]
    if not fits[-1]:
        # The stage that is refused has no connected run after the dies of those before it.
        refused = fits.index(False) - 1
        before = [die for stage in place_on_snake(topo, sizes[:refused]) for die in stage]
        rest = path[max((path.index(die) for die in before), default=-1) + 1 :]
        runs = [rest[n : n + sizes[refused]] for n in range(len(rest) - sizes[refused] + 1)]
        assert not any(nx.is_connected(joined.subgraph(run)) for run in runs)
        return
    stages = place_on_snake(topo, sizes)
    owned = [die for stage in stages for die in stage]
    assert [len(stage) for stage in stages] == sizes
    assert len(set(owned)) == len(owned)
    assert set(owned) <= set(topo.dies)
    assert all(topo.connected(stage) for stage in stages)
    # Stages follow the path, each an unbroken run of it.
    places = [sorted(path.index(die) for die in stage) for stage in stages]
    assert all(run == list(range(run[0], run[0] + len(run))) for run in places)
    assert places == sorted(places)
