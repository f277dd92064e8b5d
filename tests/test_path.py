"""The path through the living dies, and stages along it."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_wafer import topology

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.instance import load_instance
from mocap_opt.wafer.path import longest_path, place_on_path, runs_along
from mocap_opt.wafer.placement import place_on_snake, snake
from mocap_opt.wafer.topology import build_topology

DEAD_DIES = Path(__file__).parent.parent / "instances" / "gpt3-175b-watos-dead-dies.json"


def most_dies(topo) -> int:
    """Dies of the longest path, by trying all."""

    def longest(die, seen) -> int:
        onwards = [longest(other, seen | {other}) for other in topo.successors[die] if other not in seen]
        return 1 + max(onwards, default=0)

    return max(longest(die, {die}) for die in topo.dies)


@st.composite
def wafers(draw):
    kind = draw(st.sampled_from(["mesh", "torus"]))
    rows, cols = draw(st.sampled_from([(1, 5), (2, 4), (3, 3), (3, 4)]))
    chance = random.Random(draw(st.integers(0, 10**6)))
    dies = [[row, col] for row in range(rows) for col in range(cols)]
    dead = chance.sample(dies, chance.randint(0, 4))
    alive = [die for die in dies if die not in dead]
    pairs = [[a, b] for a in alive for b in alive if a < b and abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1]
    cut = chance.sample(pairs, min(len(pairs), chance.randint(0, 3)))
    return topology(kind, rows, cols, dead_dies=dead, dead_links=cut)


@settings(max_examples=60, deadline=None)
@given(wafers(), st.integers(0, 2))
def test_the_path_is_a_longest_one(topo, seed):
    path = longest_path(topo, seed)
    assert len(set(path.dies)) == len(path.dies) == path.most == most_dies(topo)
    assert all(hop in topo.link_index for hop in pairwise(path.dies))


def test_nothing_dead_leaves_the_boustrophedon_path():
    topo = topology("mesh", 7, 8)
    assert longest_path(topo).dies == snake(topo)
    assert place_on_path(topo, [4] * 14) == place_on_snake(topo, [4] * 14)
    switch = topology("switch", 1, 5, dead_dies=[[0, 2]])
    assert place_on_path(switch, [2, 2]) == (((0, 0), (0, 1)), ((0, 3), (0, 4)))


def test_colours_that_differ_by_three_cost_two_dies():
    # x . x    Black (sum even) dies (1,1) and (2,2); white ones (0,1) (1,0) (1,2) (2,1):  a path takes at
    # . . .    most one white more than black, so one of the six is left out.
    # x . .
    topo = topology("mesh", 3, 3, dead_dies=[[0, 0], [0, 2], [2, 0]])
    path = longest_path(topo)
    assert len(path.dies) == path.most == 5
    assert place_on_path(topo, [3, 2]) == (((0, 1), (1, 1), (1, 2)), ((2, 1), (2, 2)))
    with pytest.raises(InputError, match=r"6 dies for 2 stages, and a path through 5 of 6 living dies"):
        place_on_path(topo, [3, 3])


def test_stages_are_connected_runs_around_dead_parts():
    # . x .    The boustrophedon path breaks at the dead die; the path goes down and up again.
    # . . .
    topo = topology("mesh", 2, 3, dead_dies=[[0, 1]])
    assert longest_path(topo).dies == ((0, 0), (1, 0), (1, 1), (1, 2), (0, 2))
    assert place_on_path(topo, [2, 2]) == (((0, 0), (1, 0)), ((1, 1), (1, 2)))


def test_whole_wafers_with_dead_dies_are_proved():
    chance = random.Random(0)
    for _ in range(5):
        dead = chance.sample([[row, col] for row in range(7) for col in range(8)], 3)
        path = longest_path(topology("mesh", 7, 8, dead_dies=dead))
        white = sum((row + col) % 2 for row, col in path.dies)
        assert len(path.dies) == path.most
        assert abs(2 * white - len(path.dies)) <= 1
        black_dead = sum((row + col) % 2 == 0 for row, col in dead)
        # 28 of each colour, less the dead ones.
        assert path.most <= 2 * min(28 - black_dead, 25 + black_dead) + 1


def test_every_process_finds_the_same_path():
    code = (
        "from mocap_opt.instance import load_instance as read;"
        "from mocap_opt.wafer.topology import build_topology as build;"
        "from mocap_opt.wafer.path import longest_path as path;"
        f"print(path(build(read({str(DEAD_DIES)!r}).wafer)).dies)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert printed.strip() == str(longest_path(build_topology(load_instance(DEAD_DIES).wafer)).dies)


@pytest.mark.parametrize(("stages", "each"), [(8, 6), (10, 5), (13, 4), (4, 13)])
def test_stages_that_boustrophedon_cannot_place(stages, each):
    topo = build_topology(load_instance(DEAD_DIES).wafer)
    with pytest.raises(InputError, match="no connected run"):
        place_on_snake(topo, [each] * stages)
    placed = place_on_path(topo, [each] * stages)
    assert len({die for dies in placed for die in dies}) == stages * each
    assert all(topo.connected(dies) for dies in placed)


MIXED = [6, 7, 7, 7, 7, 6, 7, 6]
WIDE_FIRST = [7, 7, 7, 7, 7, 6, 6, 6]


@pytest.mark.parametrize(
    ("dies", "layers", "seconds"),
    [
        ([6] * 8, [12] * 8, 23.480),
        (MIXED, [12] * 8, 22.709),
        (MIXED, [11, 12, 12, 13, 13, 11, 13, 11], 21.511),
        (WIDE_FIRST, [12, 12, 13, 13, 13, 11, 11, 11], 21.326),
        # So no bound over all eight stages of any degrees is above this, whatever holds for like degrees.
        ([1, 1, 1, 1, 1, 1, 24, 23], [1, 1, 1, 1, 1, 1, 45, 45], 18.824),
    ],
)
def test_known_answers_on_a_path(dies, layers, seconds):
    data = load_instance(DEAD_DIES).to_dict()
    data["pipeline"] |= {"dies_per_stage": dies, "layers": layers, "placement": "path"}
    report = mocap_opt.solve(data).report
    assert report.status.value == "optimal"
    assert report.latency_s == pytest.approx(seconds, rel=1e-4)


def test_another_path_changes_the_answer_by_less_than_a_ten_thousandth():
    data = load_instance(DEAD_DIES).to_dict()
    topo = build_topology(load_instance(DEAD_DIES).wafer)
    other = longest_path(topo, seed=1).dies
    assert other != longest_path(topo).dies
    data["pipeline"] |= {
        "dies_per_stage": WIDE_FIRST,
        "layers": [12, 12, 13, 13, 13, 11, 11, 11],
        "placement": [[list(die) for die in stage] for stage in runs_along(other, WIDE_FIRST)],
    }
    assert mocap_opt.solve(data).report.latency_s == pytest.approx(21.326, rel=1e-4)
