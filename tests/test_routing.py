"""Routes and what transfers between stages put on links."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_wafer import topology
from toy_instances import toy

from mocap_opt.errors import InputError
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.routing import Router, link_shares, overlaps

DIES = st.tuples(st.integers(0, 3), st.integers(0, 3))
EDGES = st.tuples(DIES, st.sampled_from([(0, 1), (1, 0)])).map(
    lambda pair: (pair[0], (pair[0][0] + pair[1][0], pair[0][1] + pair[1][1]))
)


def way(topo, source, target) -> str:
    """The nodes of a route, as ``"0,0 0,1 1,1"``."""
    links = [topo.links[e].name.split(">") for e in Router(topo).route(source, target)]
    assert all(here[1] == there[0] for here, there in pairwise(links))
    return " ".join([links[0][0], *(link[1] for link in links)]) if links else ""


def test_columns_first_then_rows():
    topo = topology("mesh", 3, 3)
    assert way(topo, (0, 0), (2, 1)) == "0,0 0,1 1,1 2,1"
    assert way(topo, (2, 1), (0, 0)) == "2,1 2,0 1,0 0,0"
    assert way(topo, (1, 1), (1, 1)) == ""


def test_torus_takes_the_shorter_way_round():
    topo = topology("torus", 5, 5)
    assert way(topo, (0, 0), (0, 4)) == "0,0 0,4"
    assert way(topo, (0, 0), (0, 3)) == "0,0 0,4 0,3"
    assert way(topo, (4, 4), (0, 1)) == "4,4 4,0 4,1 0,1"


def test_torus_tie_goes_forwards():
    topo = topology("torus", 1, 4)
    assert way(topo, (0, 0), (0, 2)) == "0,0 0,1 0,2"
    assert way(topo, (0, 2), (0, 0)) == "0,2 0,3 0,0"


def test_switch_routes_through_its_middle():
    assert way(topology("switch", 1, 9), (0, 8), (0, 3)) == "0,8 switch 0,3"


def test_detour_of_equal_length_when_the_first_column_is_cut():
    # Dimension order 0,0 0,1 1,1 is cut at its first link; down first is just as short.
    topo = topology("mesh", 2, 2, dead_links=[[[0, 0], [0, 1]]])
    assert way(topo, (0, 0), (1, 1)) == "0,0 1,0 1,1"
    # Neighbours: the only way left has three hops.
    assert way(topo, (0, 0), (0, 1)) == "0,0 1,0 1,1 0,1"


def test_detour_round_a_dead_die_prefers_forwards_along_the_row_then_down():
    # Both detours round 1,1 have four hops; no step along the row is left at 1,0, so down beats up.
    topo = topology("mesh", 3, 3, dead_dies=[[1, 1]])
    assert way(topo, (1, 0), (1, 2)) == "1,0 2,0 2,1 2,2 1,2"
    # From 0,1 to 2,1 both sides are open: forwards along the row wins.
    assert way(topo, (0, 1), (2, 1)) == "0,1 0,2 1,2 2,2 2,1"


def test_detour_on_a_torus_may_go_the_long_way_round():
    topo = topology("torus", 1, 5, dead_links=[[[0, 0], [0, 1]]])
    assert way(topo, (0, 0), (0, 1)) == "0,0 0,4 0,3 0,2 0,1"


def test_unreachable_names_both_dies_and_the_remedy():
    topo = topology("mesh", 1, 3, dead_dies=[[0, 1]])
    with pytest.raises(InputError, match=r"between dies 0,0 and 0,2 \(revive.*pipeline\.placement"):
        Router(topo).route((0, 0), (0, 2))


def test_stages_on_two_sides_of_a_gap_are_refused():
    with pytest.raises(InputError, match="none between dies 0,0 and 0,2"):
        layout(toy(wafer={"rows": 1, "cols": 3, "dead_dies": [[0, 1]]}))


@given(
    st.sampled_from(["mesh", "torus"]), st.sets(DIES, max_size=6), st.sets(EDGES, max_size=8), st.randoms()
)
def test_routes_are_living_and_as_short_as_can_be(kind, dead, edges, random):
    rows = cols = 4
    inside = [edge for edge in sorted(edges) if max(edge[1]) < rows]
    topo = topology(kind, rows, cols, dead_dies=sorted(dead), dead_links=inside)
    graph = nx.DiGraph((link.source, link.target) for link in topo.links)
    graph.add_nodes_from(topo.dies)
    router = Router(topo)
    for source in random.sample(topo.dies, min(4, len(topo.dies))):
        reach = nx.single_source_shortest_path_length(graph, source)
        for target in topo.dies:
            if target not in reach:
                with pytest.raises(InputError, match="a living route between every two stages"):
                    router.route(source, target)
                continue
            links = [topo.links[e] for e in router.route(source, target)]
            assert len(links) == reach[target]
            here = source
            for link in links:
                assert link.source == here
                here = link.target
            assert here == target


@given(st.sampled_from(["mesh", "torus"]), st.sets(EDGES, max_size=5), EDGES, DIES, DIES)
def test_a_dead_link_never_shortens_a_route(kind, edges, extra, source, target):
    inside = {edge for edge in edges | {extra} if max(edge[1]) < 4}
    before = topology(kind, 4, 4, dead_links=sorted(inside - {extra}))
    after = topology(kind, 4, 4, dead_links=sorted(inside))
    graph = nx.DiGraph((link.source, link.target) for link in after.links)
    graph.add_nodes_from(after.dies)
    if nx.has_path(graph, source, target):
        assert len(Router(after).route(source, target)) >= len(Router(before).route(source, target))
    else:
        with pytest.raises(InputError, match="a living route between every two stages"):
            Router(after).route(source, target)


def test_overlaps_by_hand():
    assert list(overlaps(1, 1)) == [(0, 0, 1)]
    assert list(overlaps(2, 2)) == [(0, 0, 1), (1, 1, 1)]
    assert list(overlaps(1, 3)) == [(0, 0, 1), (0, 1, 1), (0, 2, 1)]
    # Halves [0, 3) [3, 6) against thirds [0, 2) [2, 4) [4, 6), in sixths.
    assert list(overlaps(2, 3)) == [(0, 0, 2), (0, 1, 1), (1, 1, 1), (1, 2, 2)]


def test_shares_of_unlike_stages_by_hand():
    # Row: stage 0 = 0,0 0,1; stage 1 = 0,2 0,3 0,4.  In sixths, 0 > 1 sends
    # 0,0>0,2: 2, 0,0>0,3: 1, 0,1>0,3: 1, 0,1>0,4: 2.
    topo = topology("mesh", 1, 5)
    shares = link_shares(topo, [((0, 0), (0, 1)), ((0, 2), (0, 3), (0, 4))])
    assert shares.denominator == 6
    there = {link.name: int(n) for link, n in zip(topo.links, shares.numerators[:, 0, 1], strict=True) if n}
    assert there == {"0,0>0,1": 3, "0,1>0,2": 6, "0,2>0,3": 4, "0,3>0,4": 2}
    back = {link.name: int(n) for link, n in zip(topo.links, shares.numerators[:, 1, 0], strict=True) if n}
    assert back == {"0,4>0,3": 2, "0,3>0,2": 4, "0,2>0,1": 6, "0,1>0,0": 3}
    # The longest of these routes: three hops, 0,0 > 0,3 and 0,1 > 0,4.
    assert shares.hops.tolist() == [[0, 3], [3, 0]]


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.sampled_from(["mesh", "torus", "switch"]))
def test_shares_conserve_flow(sizes, kind):
    rows = 1 if kind == "switch" else 4
    topo = topology(kind, rows, 16 // rows)
    dies = iter(topo.dies)
    stages = [tuple(next(dies) for _ in range(size)) for size in sizes]
    shares = link_shares(topo, stages)
    for a, senders in enumerate(stages):
        for b, receivers in enumerate(stages):
            net = dict.fromkeys([*topo.dies, None], Fraction(0))
            for link, n in zip(topo.links, shares.numerators[:, a, b].tolist(), strict=True):
                assert 0 <= n <= shares.denominator
                net[link.source] += Fraction(n, shares.denominator)
                net[link.target] -= Fraction(n, shares.denominator)
            wanted = dict.fromkeys([*topo.dies, None], Fraction(0))
            if a != b:
                wanted |= {die: Fraction(1, len(senders)) for die in senders}
                wanted |= {die: Fraction(-1, len(receivers)) for die in receivers}
            assert net == wanted


def test_layout_routes_are_the_same_every_time():
    wafer = {"rows": 4, "cols": 4, "dead_dies": [[1, 1]], "dead_links": [[[2, 2], [2, 3]]]}
    changes = {"wafer": wafer, "pipeline": {"stages": 4, "dies_per_stage": 3}}
    one, other = layout(toy(**changes)), layout(toy(**changes))
    assert one.dies == other.dies
    assert np.array_equal(one.shares.numerators, other.shares.numerators)
