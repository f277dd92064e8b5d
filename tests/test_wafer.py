"""Topologies, presets and layouts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from toy_instances import preset, toy

from mocap_opt.instance import WaferSpec
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.spec import WAFERS
from mocap_opt.wafer.topology import build_topology, neighbours


def topology(kind: str, rows: int, cols: int, **parts: object):
    wafer = {
        "topology": kind,
        "rows": rows,
        "cols": cols,
        "die": {"flops": 1e12, "memory_bytes": 10**9, "memory_bandwidth": 1e12},
        "link": {"bandwidth": 1e9, "hop_latency": 1e-8},
    }
    return build_topology(WaferSpec.model_validate(wafer | parts))


def names(topo) -> list[str]:
    return [link.name for link in topo.links]


def test_mesh_links_neighbours_both_ways():
    assert names(topology("mesh", 2, 2)) == [
        "0,0>0,1", "0,0>1,0", "0,1>0,0", "0,1>1,1", "1,0>1,1", "1,0>0,0", "1,1>1,0", "1,1>0,1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "rows", "cols", "links"),
    [
        ("mesh", 7, 8, 2 * (7 * 7 + 6 * 8)),
        ("torus", 16, 16, 16 * 16 * 4),
        ("torus", 1, 5, 5 * 2),
        # In a torus of two rows the way round is the direct link: 3 ring links a row, 1 a column.
        ("torus", 2, 3, 2 * (2 * 3 + 3 * 1)),
        ("mesh", 1, 1, 0),
        ("switch", 1, 6, 6 * 2),
    ],
)
def test_number_of_links(kind: str, rows: int, cols: int, links: int):
    topo = topology(kind, rows, cols)
    assert len(topo.links) == links
    assert len(topo.link_index) == links


def test_torus_neighbours_wrap():
    assert neighbours("torus", 3, 4, (0, 0)) == ((0, 1), (0, 3), (1, 0), (2, 0))
    assert neighbours("mesh", 3, 4, (0, 0)) == ((0, 1), (1, 0))


def test_switch_has_one_port_in_and_one_out_of_every_die():
    assert names(topology("switch", 1, 2)) == ["0,0>switch", "switch>0,0", "0,1>switch", "switch>0,1"]


def test_dead_dies_take_their_links_along():
    topo = topology("mesh", 2, 2, dead_dies=[[0, 1]])
    assert topo.dies == ((0, 0), (1, 0), (1, 1))
    assert names(topo) == ["0,0>1,0", "1,0>1,1", "1,0>0,0", "1,1>1,0"]


def test_dead_and_slow_links_count_in_both_directions():
    topo = topology(
        "mesh",
        2,
        2,
        dead_links=[[[0, 1], [0, 0]]],
        slow_links=[{"between": [[1, 1], [1, 0]], "bandwidth": 5e8}],
    )
    assert {"0,0>0,1", "0,1>0,0"}.isdisjoint(names(topo))
    rates = {link.name: link.bandwidth for link in topo.links}
    assert rates["1,0>1,1"] == rates["1,1>1,0"] == 5 * 10**8
    assert rates["0,0>1,0"] == 10**9


def test_latencies_and_rates_are_the_decimals_they_were_written_as():
    topo = topology("mesh", 1, 2, link={"bandwidth": "0.3 GB/s", "hop_latency": "15 ns"})
    assert topo.hop_latency == Fraction(15, 10**9)
    assert topo.links[0].bandwidth == 3 * 10**8


def test_connected():
    topo = topology("mesh", 2, 3, dead_dies=[[0, 1]], dead_links=[[[1, 1], [1, 2]]])
    assert topo.connected([(0, 0), (1, 0), (1, 1)])
    assert not topo.connected([(1, 1), (1, 2)])
    assert not topo.connected([(0, 0), (1, 1)])
    assert topology("switch", 1, 5).connected([(0, 0), (0, 4)])


@pytest.mark.parametrize("name", list(WAFERS))
def test_every_preset_is_a_valid_wafer_with_its_source(name: str):
    wafer = WaferSpec.model_validate(WAFERS[name])
    topo = build_topology(wafer)
    assert len(topo.dies) == wafer.rows * wafer.cols
    assert any(
        word in wafer.description.lower() for word in ("arxiv", "vendor", "press", "published", "recalled")
    )


def test_preset_figures():
    dies = {name: wafer["rows"] * wafer["cols"] for name, wafer in WAFERS.items()}
    assert dies["watos-c3"] == 56
    assert dies["pjlab-5x4"] == 20
    assert dies["cloudmatrix-384"] == 384
    assert WAFERS["watos-c3"]["die"] == {
        "flops": 708 * 10**12,
        "memory_bytes": 70 * 10**9,
        "memory_bandwidth": 2 * 10**12,
    }


def test_layout_of_the_default_wafer():
    placed = layout(preset("llama-3.1-70b", "watos-c3", 14, 4))
    # Two stages a row; the second row runs backwards, so stage 2 sits under stage 1.
    assert placed.dies[1] == ((0, 4), (0, 5), (0, 6), (0, 7))
    assert placed.dies[2] == ((1, 4), (1, 5), (1, 6), (1, 7))
    assert placed.unused == ()
    # 80 layers on 14 stages: 5 each, the 10 left over on stages 2 to 11.
    assert [len(layers) for layers in placed.layers] == [5, 5] + [6] * 10 + [5, 5]
    assert placed.layers[0] == range(5)
    assert placed.layers[-1] == range(75, 80)
    # Stage 1 to 2: every rank goes one row down.
    assert placed.shares.hops[1, 2] == 1
    # Stage 0 to 1: rank r goes from (0, r) to (0, r + 4), all four over the link in the middle.
    assert placed.shares.hops[0, 1] == 4
    middle = placed.topology.link_index[(0, 3), (0, 4)]
    assert placed.shares.numerators[middle, 0, 1] == placed.shares.denominator == 4


def test_layout_reports_unused_dies():
    placed = layout(toy(pipeline={"stages": 2, "dies_per_stage": 3}))
    assert placed.dies == (((0, 0), (0, 1), (0, 2)), ((0, 3), (1, 2), (1, 3)))
    assert placed.unused == ((1, 0), (1, 1))


def test_layout_takes_listed_dies_and_layers():
    dies = [[[1, 0]], [[0, 0], [0, 1]]]
    placed = layout(toy(pipeline={"dies_per_stage": [1, 2], "placement": dies, "layers": [1, 3]}))
    assert placed.dies == (((1, 0),), ((0, 0), (0, 1)))
    assert placed.layers == (range(1), range(1, 4))
