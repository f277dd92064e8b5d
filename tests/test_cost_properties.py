"""Tables of all instances: exact rounding, ticks, what must hold whatever the instance, real sizes."""

from __future__ import annotations

import importlib
import re
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_instances import preset, toy

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.layout import layout
from mocap_opt.tables.rounding import Rounding, check_tick, choose_tick, loss, rate_per_tick, tabulate, whole

# --- rounding --------------------------------------------------------------------------------------


def test_halves_round_up_to_the_nearest():
    assert [whole(Fraction(n, 2), Rounding.NEAREST, "x") for n in range(6)] == [0, 1, 1, 2, 2, 3]
    assert [whole(Fraction(n, 3), Rounding.UP, "x") for n in range(5)] == [0, 1, 1, 1, 2]


COEFFICIENT = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**9)


@given(
    st.lists(COEFFICIENT, min_size=1, max_size=3),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    st.sampled_from(list(Rounding)),
)
def test_tabulated_polynomials_are_exact_on_both_roads(coefficients, points, rounding):
    # Small ones run in machine integers, the others in Python's; the range covers both.
    table = tabulate(tuple(coefficients), np.array(points, dtype=np.int64), rounding, "x")
    exact = [sum((c * x**n for n, c in enumerate(coefficients)), Fraction(0)) for x in points]
    if rounding is Rounding.UP:
        assert table.tolist() == [ceil(value) for value in exact]
    else:
        assert table.tolist() == [floor(value + Fraction(1, 2)) for value in exact]


def test_what_reaches_2_to_the_62_is_refused():
    assert whole(Fraction(2**62 - 1), Rounding.UP, "x") == 2**62 - 1
    with pytest.raises(InputError, match=r"weights: expected less than 2\^62, got 4\.61e\+18"):
        whole(Fraction(2**62), Rounding.UP, "weights")


def test_sums_over_a_plan_that_could_overflow_are_refused():
    # A million prompts side by side, 2 x 2 x 10^6 elements of 2 bytes each: 8e12 bytes a token in the
    # reserve, of 2^30 tokens; no table by itself reaches 2^62.
    wide = toy(
        model={"hidden": 10**6},
        wafer={"die": {"flops": 1e18}},
        workload={"tokens": 2**30, "batch": 10**6},
        chunking={"quantum": 2**26},
        tick="1 ms",
    )
    with pytest.raises(InputError, match=r"bytes in a memory: expected less than 2\^62"):
        build_tables(wide)
    slow = toy(
        costs={"kind": "coefficients", "stages": {"linear": 900, "quadratic": 0}},
        workload={"tokens": 2**22},
        chunking={"quantum": 2**20},
    )
    with pytest.raises(InputError, match=r"ticks of all chunks: expected less than 2\^62.*longer tick"):
        build_tables(slow)


@pytest.mark.parametrize(
    ("rates", "nanoseconds"),
    [
        ([10**12], 1),
        ([10**9, 3 * 10**9], 1),
        # 1.5 bytes a ns lose a third; two ticks of it are whole.
        ([Fraction(3, 2) * 10**9], 2),
        # 12345.6 bytes a ns lose 0.6 / 12345.6 < 1e-4.
        ([Fraction(123456 * 10**8)], 1),
        # 1.2345 bytes a ns: 500 ns lose 0.25 / 617.25 = 4e-4, 1 us 0.5 / 1234.5 = 4e-4, 2 us nothing.
        ([Fraction(12345 * 10**5)], 2000),
        ([Fraction(3, 2) * 10**9, Fraction(1, 5) * 10**9], 10),
    ],
)
def test_automatic_tick(rates: list[Fraction], nanoseconds: int):
    tick = choose_tick([Fraction(rate) for rate in rates])
    assert tick == Fraction(nanoseconds, 10**9)
    assert all(loss(Fraction(rate), tick) < Fraction(1, 10**4) for rate in rates)


def test_rates_are_never_overstated():
    assert rate_per_tick(Fraction(1999, 1000), Fraction(1)) == 1
    assert loss(Fraction(5, 4), Fraction(1)) == Fraction(1, 5)


def test_a_tick_too_short_is_refused_with_one_that_does():
    with pytest.raises(
        InputError, match=r"1 ns, at which 1.5 GB/s loses 0\.33 of itself \(use 2 ns, or leave it out"
    ):
        check_tick(Fraction(1, 10**9), [Fraction(3, 2) * 10**9])
    assert build_tables(toy(tick="3 ns")).tick_s == Fraction(3, 10**9)
    with pytest.raises(InputError, match=r"^tick: .*use 1 ns"):
        build_tables(toy(tick="1.5 ns"))


def test_a_link_too_slow_for_any_tick_is_refused():
    with pytest.raises(InputError, match=r"a rate of 3 B/s.*bandwidths"):
        build_tables(toy(wafer={"link": {"bandwidth": 3}}))


def test_a_longer_tick_scales_times():
    one, ten = build_tables(toy()), build_tables(toy(tick="10 ns"))
    assert ten.phi.tolist() == [[0, 422, 947, 1248]] * 2  # 422.4, 947.2
    assert ten.link_rate.tolist() == [10] * len(ten.links)
    assert np.array_equal(ten.page_bytes, one.page_bytes)
    assert ten.hop_ticks[0, 1] == 1


# --- properties --------------------------------------------------------------------------------------


EFFICIENCY = st.integers(1, 10).map(lambda tenths: tenths / 10)


@st.composite
def instances(draw) -> Instance:
    stages = draw(st.integers(1, 3))
    dies = draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages))
    quantum = draw(st.integers(1, 9))
    return toy(
        model={
            "layers": draw(st.integers(3, 9)),
            "hidden": draw(st.integers(1, 50)),
            "gated": draw(st.booleans()),
        },
        wafer={
            "die": {
                "flops": draw(st.integers(1, 10**6)) * 10**6,
                "memory_bandwidth": draw(st.integers(1, 99)) * 10**8,
            },
            "link": {
                "bandwidth": draw(st.integers(1, 99)) * 10**8,
                "hop_latency": f"{draw(st.integers(0, 99))} ns",
            },
        },
        pipeline={
            "stages": stages,
            "dies_per_stage": dies,
            "degrees": draw(st.sampled_from([None, "divide-heads", [1]])),
        },
        workload={
            "tokens": draw(st.integers(1, 60)),
            "cached_prefix": draw(st.integers(0, 20)),
            "batch": draw(st.integers(1, 5)),
        },
        chunking={"quantum": quantum, "page": quantum},
        costs={
            "efficiency": draw(EFFICIENCY | st.fixed_dictionaries({"1": EFFICIENCY, "2": EFFICIENCY})),
            "half_efficiency_tokens": draw(st.integers(0, 5)),
            "prefix_cost": f"{draw(st.integers(0, 5))} ns",
        },
        attention=draw(st.sampled_from(["causal", "full_block"])),
    )


@given(instances())
def test_compute_tables_are_the_formula_rounded_once(instance: Instance):
    tables, placed = build_tables(instance), layout(instance)
    m, work = instance.model, instance.workload
    for i, (layers, dies) in enumerate(zip(placed.layers, placed.dies, strict=True)):
        # Stages have one die or two, and two heads: only the list of degrees leaves a die without work.
        computing = 1 if instance.pipeline.degrees == (1,) else len(dies)
        known = instance.costs.efficiency
        efficiency = Fraction(str(known[computing] if isinstance(known, dict) else known))
        speed = computing * Fraction(int(instance.wafer.die.flops)) * efficiency
        assert tables.capacity[i] == len(dies) * instance.wafer.die.memory_bytes
        assert tables.working_bytes[i] == 2 * work.batch * (2 * m.hidden * computing + 2 * m.ffn)
        per_layer = (
            2 * m.hidden * m.head_dim * (m.heads + m.kv_heads) + (3 if m.gated else 2) * m.hidden * m.ffn
        )
        unit = work.batch * len(layers) / speed / tables.tick_s
        for g, x in enumerate(tables.grid.tolist()):
            pairs = work.cached_prefix * x + Fraction(x * (x + 1), 2)
            exact = unit * (2 * per_layer * x + 2 * m.heads * 2 * m.head_dim * pairs)
            assert tables.phi[i, g] == floor(exact + Fraction(1, 2))
        if instance.attention == "full_block":
            for tail, k in np.ndindex(2, tables.grid.size):
                length = int(tables.lengths[tail, k])
                exact = unit * 2 * m.heads * 2 * m.head_dim * Fraction(length * (length - 1), 2)
                assert tables.full_block[i, tail, k] == floor(exact + Fraction(1, 2))


@given(instances())
def test_tables_agree_with_the_links_and_ports_that_replays_use(instance: Instance):
    tables = build_tables(instance)
    # A chunk's own traffic alone takes the memory side, rounded up: never longer than its tau.
    exact = [
        [Fraction(int(n), int(r)) for n in row]
        for row, r in zip(tables.own_traffic, tables.port_rate, strict=True)
    ]
    assert tables.memory_side.tolist() == [[ceil(value) for value in row] for row in exact]
    for i in range(tables.stages - 1):
        for tail, k in np.ndindex(2, tables.grid.size):
            size = int(tables.activation_bytes[i] * tables.lengths[tail, k])
            rows = [
                Fraction(size * int(share), int(rate) * tables.share_denominator)
                for share, rate in zip(tables.share[:, i, i + 1], tables.link_rate, strict=True)
            ]
            assert tables.send[i, tail, k] == ceil(max(rows) + int(tables.hop_ticks[i, i + 1]))
    assert not tables.send[-1].any()


@given(instances())
def test_tables_rise_along_the_prompt(instance: Instance):
    tables = build_tables(instance)
    for table in (tables.phi, tables.memory_side, tables.prefix_cost, tables.own_traffic):
        assert (np.diff(table, axis=1) >= 0).all()
    for table in (tables.full_block, tables.length_cost, tables.send):
        assert (np.diff(table, axis=2) >= 0).all()
    assert not tables.phi[:, 0].any()


@given(instances(), st.sampled_from(["flops", "memory_bandwidth", "bandwidth"]), st.integers(2, 5))
def test_a_faster_part_never_slows_anything(instance: Instance, part: str, factor: int):
    tick = "1 us"
    owner = "link" if part == "bandwidth" else "die"
    faster = getattr(getattr(instance.wafer, owner), part) * factor
    slow = build_tables(instance.replace(f"tick={tick}"))
    fast = build_tables(instance.replace(f"tick={tick}", f"wafer.{owner}.{part}={faster}"))
    for name in ("phi", "full_block", "memory_side", "prefix_cost", "length_cost", "send"):
        assert (getattr(fast, name) <= getattr(slow, name)).all()
    assert (fast.link_rate >= slow.link_rate).all()
    assert (fast.port_rate >= slow.port_rate).all()


@given(instances(), st.sampled_from([2, 5, 10]))
def test_scaling_all_times_and_the_tick_changes_no_table(instance: Instance, factor: int):
    wafer, costs = instance.wafer, instance.costs

    def longer(seconds: float) -> str:
        return f"{round(seconds * 1e9) * factor} ns"

    one = build_tables(instance)
    slower = instance.replace(
        f"tick={longer(float(one.tick_s))}",
        f"wafer.die.flops={wafer.die.flops / factor}",
        f"wafer.die.memory_bandwidth={wafer.die.memory_bandwidth / factor}",
        f"wafer.link.bandwidth={wafer.link.bandwidth / factor}",
        f"wafer.link.hop_latency={longer(wafer.link.hop_latency)}",
        f"costs.overhead={longer(costs.overhead)}",
        f"costs.prefix_cost={longer(costs.prefix_cost)}",
    )
    other = build_tables(slower)
    assert other.tick_s == factor * one.tick_s
    for name in ("phi", "full_block", "memory_side", "prefix_cost", "length_cost", "send", "hop_ticks"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert np.array_equal(one.link_rate, other.link_rate)
    assert np.array_equal(one.port_rate, other.port_rate)


# --- real sizes --------------------------------------------------------------------------------------


def test_llama_70b_on_the_default_wafer():
    tables = build_tables(preset("llama-3.1-70b", "watos-c3", 14, 4))
    # 23 kB of KV per token position and stage on average, about 270 GB left for it, 11 million tokens.
    kappa = tables.page_bytes / tables.page
    assert kappa.mean() == pytest.approx(23e3, rel=0.03)
    room = tables.capacity - tables.static
    assert room.mean() == pytest.approx(270e9, rel=0.01)
    assert (room / kappa).min() == pytest.approx(11e6, rel=0.01)
    # FLOPs of the whole prompt by the usual count, 2 x parameters x tokens + 4 x layers x hidden x S^2 / 2.
    tokens = 131072
    flops = 2 * 80 * 855_638_016 * tokens + 80 * 4 * 8192 * tokens**2 / 2
    total = tables.seconds(int(tables.phi[:, -1].sum()))
    assert total == pytest.approx(flops / (4 * 708e12 * 0.5), rel=1e-4)


def test_gpt3_175b_kv():
    tables = build_tables(preset("gpt3-175b", "watos-c3", 14, 4))
    kappa = tables.page_bytes / tables.page
    assert kappa.mean() == pytest.approx(337e3, rel=0.001)
    assert 131072 * kappa.mean() == pytest.approx(44e9, rel=0.01)


def test_dojo_tile_cannot_hold_a_large_model():
    tables = build_tables(preset("llama-3.1-70b", "dojo-tile", 25, 1))
    assert (tables.static > tables.capacity).all()


def test_short_chunks_of_a_small_model_are_memory_bound():
    # TeraPipe's 1B model takes as long for a short chunk as for a longer one: the weights' side binds.
    instance = preset("gpt3-1b", "watos-c3", 24, 1, workload={"tokens": 2048}, chunking={"quantum": 1})
    tables = build_tables(instance)
    assert tables.tau(0, 0, 1) == pytest.approx(int(tables.tau(0, 0, 128)), rel=0.01)
    assert tables.tau(0, 0, 2048) > 3 * tables.tau(0, 0, 1)


def test_stages_alike_share_their_tables_and_layouts_may_be_given():
    instance = preset("llama-3.1-70b", "watos-c3", 8, 7)
    tables, again = build_tables(instance), build_tables(instance, layout(instance))
    assert (tables.phi == tables.phi[0]).all()
    assert np.array_equal(tables.share, again.share)


def test_functions_named_on_the_page_of_notation_exist():
    page = (Path(__file__).parent.parent / "formulations" / "notation.md").read_text(encoding="utf-8")
    modules = {
        "tables": ("build", "prefetch", "riders", "sends", "stage_costs"),
        "wafer": ("topology", "placement", "routing"),
    }
    found = 0
    for package, stems in modules.items():
        for stem in stems:
            module = importlib.import_module(f"mocap_opt.{package}.{stem}")
            for name in re.findall(rf"`{stem}\.([A-Za-z_.]+)`", page):
                target = module
                for part in name.split("."):
                    target = getattr(target, part)
                assert callable(target)
                found += 1
    assert found >= 15
