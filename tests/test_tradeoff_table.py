"""Trade-offs as a table: axes by hand, the curve against every plan, what cannot be placed, the command."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import pytest
from test_cli import INSTANCES, run, run_json
from test_tradeoff_curve import plans, unbeaten
from toy_instances import toy

import mocap_opt
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, load_instance
from mocap_opt.questions.tradeoffs import Axis, Choice, Sweep, layout_choices, tradeoff
from mocap_opt.questions.tradeoffs.axes import front, least_second
from mocap_opt.questions.tradeoffs.layout_choices import laid_out
from mocap_opt.replay.evaluation import assess, assess_schedule
from mocap_opt.tables import build_tables

OPEN = {"stages": "auto", "dies_per_stage": "auto"}
EVERY_AXIS = ("latency", "period", "cost")
PLANS = 200
"""Plans of a variant that are replayed at most."""


def by_hand(**changes: object) -> Instance:
    """Two stages, 1 ns a token and 1 ns a chunk on either; 4 tokens in at most two chunks; no sends."""
    costs = {"kind": "coefficients", "stages": {"constant": "1 ns", "linear": "1 ns"}}
    free = {"link": {"bandwidth": 1e18, "hop_latency": 0}}
    chunking = {"max_chunks": 2, "quantum": 1, "page": 1}
    wafer = {**free, "die": {"memory_bandwidth": 1e18}}
    return toy(costs=costs, workload={"tokens": 4}, chunking=chunking, wafer=wafer, **changes)


def test_latency_period_and_cost_by_hand():
    # A send takes a tick.  One chunk: 5 + 1 + 5; without end 6 in lockstep, and two dies for four tokens make
    # that 3 a token.  Two chunks of two tokens: 3 + 1 + 3 + 3; two slots of 4, which is 4 a token.
    nano = Fraction(1, 10**9)
    found = tradeoff(by_hand(), chunks=True, axes=EVERY_AXIS)
    one, two = sorted(found.choices, key=lambda choice: choice.chunks)
    assert [one.found[Axis(axis)] / nano for axis in EVERY_AXIS] == [11, 6, 3]
    assert [two.found[Axis(axis)] / nano for axis in EVERY_AXIS] == [10, 8, 4]
    # Bounds count no sends, those on the period no overhead either: 5 + 5, and 4 tokens on a stage.
    assert [one.proved[Axis(axis)] / nano for axis in EVERY_AXIS] == [10, 4, 2]
    assert found.best is two
    assert (found.bound, found.gap) == (9 * nano, 0.1)
    # Both are points, and one chunk might be as fast as two: a period of 4 cannot be ruled out at either.
    assert found.pareto == (two, one)
    assert [found.pareto_bound(choice) for choice in found.pareto] == [4 * nano, 4 * nano]
    assert found.pareto_gap(two) == 0.5
    assert found.pareto_gap(one) == pytest.approx(1 / 3)


def test_what_is_searched_comes_first():
    found = tradeoff(by_hand(), chunks=True, axes=("cost", "latency"))
    assert found.best is not None
    assert found.best.chunks == 1
    assert found.gap == 0
    assert [choice.chunks for choice in found.pareto] == [1, 2]


def test_the_longest_prompt_by_hand():
    # Weights 112 x 4 layers x 2 bytes, embedding and head 16 x 4 x 2 each: 1,152 bytes.  Staging: 100.  A
    # token of the only chunk on the only stage has 32 of KV, and works on 48: seven fit, eight do not.
    instance = toy(
        pipeline={"stages": 1},
        chunking={"max_chunks": 1, "quantum": 1, "page": 1},
        workload={"tokens": 2},
        wafer={"die": {"memory_bytes": 1152 + 100 + 7 * (32 + 48) + 5}},
    )
    found = tradeoff(instance, chunks=True, axes=("longest", "latency"))
    assert found.best is not None
    assert (found.best.found[Axis.LONGEST], found.bound, found.gap) == (7, 7, 0)
    assert found.rows()[0]["longest_tokens"] == 7


def test_gaps_are_those_of_the_definition():
    def choice(latency: int, period: int, bounds: tuple[int | None, int | None]) -> Choice:
        axes = (Axis.LATENCY, Axis.PERIOD)
        proved = {axis: Fraction(b) for axis, b in zip(axes, bounds, strict=True) if b is not None}
        layout = layout_choices(toy())[0]
        found = dict(zip(axes, (Fraction(latency), Fraction(period)), strict=True))
        return Choice(layout, (), 1, found, proved, outcome="first plan")

    first, second = choice(10, 8, (9, 6)), choice(12, 5, (11, 4))
    beaten = choice(13, 9, (12, 3))
    found = Sweep(toy(), (Axis.LATENCY, Axis.PERIOD), (beaten, second, first))
    assert found.pareto == (first, second)
    # At most 10: only the first one's bound of 9 allows that.  At most 12: all three.
    assert [found.pareto_bound(each) for each in found.pareto] == [6, 3]
    assert [found.pareto_gap(each) for each in found.pareto] == [0.25, 0.4]
    lost = replace(beaten, outcome="infeasible")
    assert Sweep(toy(), found.axes, (lost, second, first)).pareto_bound(second) == 4
    silent = choice(13, 9, (None, None))
    assert Sweep(toy(), found.axes, (silent, second, first)).pareto_bound(first) is None


def tiny() -> list[Instance]:
    """Two to four layouts each, memory slack or tight."""
    return [
        toy(
            model={"layers": 3},
            wafer={"rows": 1, "cols": 3, "die": {"memory_bytes": memory}},
            workload={"tokens": tokens},
            chunking={"max_chunks": 2},
            costs={"overhead": f"{overhead} ns"},
        )
        for tokens, overhead, memory in ((8, 20, 10**6), (12, 400, 10**6), (10, 5000, 10**6), (12, 20, 1700))
    ]


@pytest.mark.parametrize("number", range(4))
def test_no_plan_beats_the_curve_by_more_than_its_gaps(number):
    found = tradeoff(tiny()[number], layouts=True, chunks=True, axes=("latency", "period"))
    pairs, near = [], 0
    for choice in found.choices:
        tables = build_tables(laid_out(found.instance, choice.overrides))
        lat, per = choice.proved.get(Axis.LATENCY), choice.proved.get(Axis.PERIOD)
        for periodic in islice(plans(tables), PLANS):
            assert choice.known_to_exist
            alone, steady = assess(tables, periodic.plan), assess_schedule(periodic)
            pair = alone.latency * tables.tick_s, steady.period * tables.tick_s
            pairs.append(pair)
            assert lat <= pair[0]
            assert per <= pair[1]
            near += lat * Fraction(102, 100) > pair[0] or per * Fraction(102, 100) > pair[1]
    assert near, "bounds two per cent higher would not be noticed"
    assert len(found.pareto) >= 1
    values = [
        (choice.found[Axis.LATENCY], choice.found[Axis.PERIOD])
        for choice in found.choices
        if Axis.PERIOD in choice.found
    ]
    assert [(c.found[Axis.LATENCY], c.found[Axis.PERIOD]) for c in found.pareto] == unbeaten(values)
    for choice in found.pareto:
        bound = found.pareto_bound(choice)
        assert bound is not None
        reached = [period for latency, period in pairs if latency <= choice.found[Axis.LATENCY]]
        assert bound <= min(reached)
        assert choice.found[Axis.PERIOD] >= min(reached)
    assert found.bound is not None
    assert found.bound <= min(latency for latency, _ in pairs)


def test_the_front_is_that_of_the_definition():
    pairs = [(Fraction(n * n % 7), Fraction(n * 3 % 11)) for n in range(40)]
    assert list(front(pairs, lambda pair: pair)) == unbeaten(pairs)
    bounds = [(Fraction(a), Fraction(b)) for a, b in pairs]
    for limit in map(Fraction, range(8)):
        assert least_second(bounds, limit) == min((b for a, b in bounds if a <= limit), default=None)


def test_what_boustrophedon_cannot_place_lies_on_a_path():
    # The example of formulations/layouts.md, Placement: six living dies, a path through five of them.
    corners = {"rows": 3, "cols": 3, "dead_dies": [[0, 0], [0, 2], [2, 0]]}
    found = {each.sizes: each for each in layout_choices(toy(wafer=corners))}
    lost = found[3, 3]
    assert "boustrophedon: no connected run of 3 living dies left" in lost.problem
    assert "path: 6 dies for 2 stages, and a path through 5 of 6 living dies" in lost.problem
    swept = tradeoff(toy(wafer=corners), layouts=True)
    named = {choice.name: choice for choice in swept.choices}
    assert named["2 x 3"].outcome == "not placed"
    assert named["2 x 3"].reason == lost.problem
    assert len(swept.choices) == len(found)
    # Without the upper two of the middle column no row holds three: a path leads round below.
    gap = {"rows": 3, "cols": 3, "dead_dies": [[0, 1], [1, 1]]}
    (around,) = [each for each in layout_choices(toy(wafer=gap)) if each.sizes == (3, 3)]
    assert (around.placement, around.problem) == ("path", "")
    assert "pipeline.placement=path" in around.overrides
    assert build_tables(laid_out(toy(wafer=gap), around.overrides)).stages == 2
    # A rule that the instance names while it leaves other things open is kept to.
    given = toy(wafer=gap, pipeline={**OPEN, "placement": "boustrophedon", "degrees": "any"})
    (kept,) = [each for each in layout_choices(given) if each.sizes == (3, 3)]
    assert (kept.placement, bool(kept.problem)) == ("boustrophedon", True)


@pytest.mark.parametrize(("memory", "expected"), [(10**6, []), (1500, ["2 x 1, extras last"])])
def test_layers_left_over_go_last_too_where_memory_binds(memory, expected):
    instance = toy(
        model={"layers": 5}, pipeline={**OPEN, "stages": [2], "layers": "auto"},
        wafer={"die": {"memory_bytes": memory}},
    )  # fmt: skip
    found = tradeoff(instance, axes=("latency",))
    assert [each.name for each in found.choices if each.name == "2 x 1, extras last"] == expected
    for choice in found.choices:
        if choice.plan is not None:
            assert choice.plan.layout is not None
            assert choice.plan.layout.layers == ((2, 3) if "extras" in choice.name else (3, 2))


def test_an_open_instance_is_swept_and_its_plan_is_one_of_it(tmp_path, capsys):
    file, out = tmp_path / "open.json", tmp_path / "plan.json"
    instance = toy(pipeline={**OPEN, "placement": "auto", "layers": "auto"}, chunking={"max_chunks": 2})
    file.write_text(json.dumps(instance.to_dict()))
    code, answer = run_json("tradeoff", file, "--out", out, "--time-limit", "5", capsys=capsys)
    assert code == 0
    assert answer["axes"] == ["latency", "cost"]
    held = json.loads(out.read_text(encoding="utf-8"))
    assert held["fingerprint"] == instance.fingerprint
    judged = mocap_opt.evaluate(instance, held)
    assert judged.report.value_s == pytest.approx(answer["best"]["latency_s"])
    # Two heads: a stage of three dies computes on two of them, and pays for three.
    wide = {row["dies_per_stage"]: row for row in answer["variants"] if row["stages"] == 1}
    assert wide[3]["die_s_per_token"] == pytest.approx(1.5 * wide[2]["die_s_per_token"], rel=0.02)


def test_candidates_are_kept_to():
    some = toy(pipeline={"stages": [1, 3], "dies_per_stage": 2})
    assert [each.sizes for each in layout_choices(some)] == [(2, 2, 2), (2,)]
    rows = mocap_opt.tradeoff(some.to_dict()).to_frame()
    assert rows["stages"].tolist() == rows.sort_values("latency_s")["stages"].tolist()
    assert set(rows["stages"]) == {1, 3}


def test_the_command_writes_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file, table, picture = tmp_path / "toy.json", tmp_path / "table.csv", tmp_path / "picture.png"
    file.write_text(json.dumps(toy(chunking={"max_chunks": 2}).to_dict()))
    asked = ["tradeoff", file, "--layout", "auto", "--method", "mocap", "--top", "3"]
    code, out, _ = run(*asked, "--csv", table, "--picture", picture, capsys=capsys)
    assert code == 0
    assert "13 more: --top 16 prints" in " ".join(out.split())
    assert "no other layout beats these in latency and cost" in out
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 16
    latencies = [float(row["latency_s"]) for row in rows if row["latency_s"]]
    assert latencies == sorted(latencies)
    assert any(row["on_pareto_curve"] == "True" for row in rows)
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--axes", "latency,speed"), "axes: expected names of axes: latency, period, cost, longest"),
        (("--axes", "latency", "--picture", "x.png"), "--picture: expected two axes"),
        (("--picture", "x.bmp"), "--picture: expected a name that ends in .png"),
        (("--sort", "cost", "--out", "x.json"), "--out: expected latency as what is searched"),
        (("--sort", "cost", "--method", "gpipe"), "--method: expected none where cost comes first"),
        (("--objective", "period", "--csv", "x.csv"), "--csv: expected no such option with objective period"),
        (("--axes", "cost", "--set", "pipeline.queue_depth=unbounded"), "unbounded"),
    ],
)
def test_what_means_nothing_is_refused(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "toy.json"
    file.write_text(json.dumps(toy().to_dict()))
    code, _, err = run("tradeoff", file, "--layout", "auto", *options, capsys=capsys)
    assert code == 2
    assert said in " ".join(err.split())
    with pytest.raises(InputError, match="axes: expected names of axes"):
        tradeoff(toy(), layouts=True, axes=())


@pytest.mark.slow
def test_known_answers_of_all_layouts():
    slack = load_instance(INSTANCES / "llama-3.1-70b-watos-slack.json")
    found = tradeoff(slack, layouts=True, time_limit_s=600.0, axes=("latency",))
    # Of 3 x 1, in which memory binds, there is one more.
    assert [each.name for each in found.choices if "extras" in each.name] == ["3 x 1, extras last"]
    assert len(found.choices) == 239 + 1
    assert found.best is not None
    assert (found.best.name, found.gap) == ("4 x 14", pytest.approx(0, abs=1e-4))
    assert float(found.best.found[Axis.LATENCY]) == pytest.approx(2.447, abs=5e-4)
    dead = load_instance(INSTANCES / "gpt3-175b-watos-dead-dies.json")
    swept = tradeoff(dead, layouts=True, time_limit_s=600.0, axes=("latency",))
    assert not [each for each in swept.choices if each.outcome in ("not placed", "not reached")]
    assert {each.name for each in swept.choices} >= {"8 x 6, path", "10 x 5, path", "13 x 4, path"}
    assert swept.best is not None
    assert (swept.best.name, swept.best.layout.placement) == ("2 x 26", "boustrophedon")
    assert float(swept.best.found[Axis.LATENCY]) == pytest.approx(17.052, abs=5e-4)
