"""Tokens decoded with chunks, tiles, and shares of a machine (formulations/decode.md, prefetch.md)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_instances import toy

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.decode import DecodeShare
from mocap_opt.questions.decode_share import best_shares, decode_step
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables import build_tables

SHIPPED = Path(__file__).parents[1] / "instances"
FITTED = {"kind": "coefficients", "stages": {"linear": 1e-6}}
OPEN = {"stages": "auto", "dies_per_stage": "auto"}
CURVE = ((0.0, 0.0), (0.25, 0.5), (0.5, 0.8), (0.75, 0.95), (1.0, 1.0))


def riding(**changes: Any) -> Instance:
    decode = {"loop": False, "tokens": 3, "context": 20} | changes.pop("decode", {})
    return toy(pipeline={"dies_per_stage": 2}, decode=decode, **changes)


def test_riders_on_a_stage_of_two_layers_by_hand():
    """112 parameters and 16 FLOPs a pair per layer, one FLOP per tick; heads are on both dies."""
    plain, tables = build_tables(toy(pipeline={"dies_per_stage": 2})), build_tables(riding())
    computed = 2 * (224 * 3 + 16 * 20)
    assert (tables.full_block - plain.full_block)[:, :, 1:].tolist() == [[[computed] * 3] * 2] * 2
    kv = 2 * 20 * 2 * 2 * 2 * 2
    assert (tables.static - plain.static).tolist() == [kv, kv]
    assert (tables.own_traffic - plain.own_traffic == kv).all()
    assert tables.rider_bytes is not None
    assert (tables.rider_bytes == 3 * 8).all()
    # Two all-reduces a layer, each of 8 bytes a token over a ring of two at 1 byte per tick.
    assert (tables.length_cost - plain.length_cost == 4 * 3 * 8).all()
    assert tables.message_bytes(0, 0, 2).tolist() == 8 * 8 + 24


def test_a_budget_thins_out_riders_and_limits_chunks():
    tables = build_tables(riding(decode={"budget": 9}))
    assert tables.rider_bytes is not None
    assert (tables.rider_bytes[0] // 8).tolist() == [3, 3, 1, 0]
    assert tables.max_length == 9
    assert build_tables(riding(decode={"budget": 9}, workload={"batch": 2})).max_length == 4


def test_tiles_are_computed_whole():
    plain, tables = build_tables(toy()), build_tables(toy(costs={"tile_tokens": 5}))
    extra = (tables.full_block - plain.full_block) // (2 * 224 * 2)
    assert extra[0, 0].tolist() == [0, 1, 2, 3]
    assert extra[0, 1].tolist() == [0, 3, 4, 0]


def test_a_share_takes_compute_and_bandwidth():
    plain = build_tables(toy())
    half = build_tables(toy(decode={"loop": False, "share": {"compute": 0.5}}))
    assert (half.phi == 2 * plain.phi).all()
    assert np.array_equal(half.memory_side, plain.memory_side)
    free = {"loop": False, "share": {"compute": 0.5, "curve": [[0, 0], [0.5, 1], [1, 1]]}}
    assert np.array_equal(build_tables(toy(decode=free)).phi, plain.phi)
    fast = {"wafer": {"die": {"memory_bandwidth": 4e9}}}
    slower = build_tables(toy(**fast, decode={"loop": False, "share": {"bandwidth": 0.25}}))
    assert (slower.port_rate == 3).all()
    assert np.array_equal(slower.memory_side, -(-slower.own_traffic // 3))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"decode": {"context": 4}}, r"decode\.context"),
        ({"decode": {"tokens": 4, "budget": 3}}, r"decode\.budget"),
        ({"decode": {"share": {"bandwidth": 1}}}, r"decode\.share\.bandwidth"),
        ({"decode": {"share": {"curve": [[0, 0], [0.5, 0.2], [1, 1]]}}}, r"decode\.share\.curve"),
        (
            {"decode": {"tokens": 2}, "costs": {"kind": "coefficients", "stages": {"linear": 1e-6}}},
            "roofline",
        ),
        (
            {"decode": {"share": {}}, "costs": {"kind": "coefficients", "stages": {"linear": 1e-6}}},
            "roofline",
        ),
        (
            {"costs": {"tile_tokens": 4}, "pipeline": {"stages": "auto", "dies_per_stage": "auto"}},
            "tile_tokens",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], place: str):
    with pytest.raises(InputError, match=place):
        toy(**changes)


def latency(instance: Instance, size: int) -> Fraction:
    """Chunks of one size, KV at home; seconds."""
    tables = build_tables(instance)
    plan = Plan((*range(0, tables.tokens, size), tables.tokens))
    ticks = min(replay_event(tables, plan).latency, replay_lockstep(tables, plan).latency)
    return ticks * tables.tick_s


def test_the_best_chunk_and_its_riders_fill_tiles():
    """SARATHI: a chunk and what rides with it should be a multiple of the tile."""
    instance = load_instance(SHIPPED / "gpt3-175b-a100-riders.json")
    sizes = range(112, 513, 16)
    times = {size: latency(instance, size) for size in sizes}
    best = min(times, key=times.__getitem__)
    assert (best + 16) % 128 == 0
    lowest = [s for s in sizes if times[s] < min(times.get(s + d, times[best] * 9) for d in (-16, 16))]
    assert [size for size in (112, 240, 368, 496) if size in lowest] == [112, 240, 368]


def layer(tokens: int, buffer: str) -> int:
    """Ticks of a chunk through one int8 layer of llama-70b on four dies of 1.6 TB/s."""
    changes = [
        "model.layers=1",
        "pipeline.stages=1",
        f"workload.tokens={tokens}",
        "chunking.max_chunks=1",
        f"chunking.quantum={tokens}",
        f"chunking.longest={tokens}",
        "costs.overhead=0",
        f"costs.prefetch_per_die={buffer}",
    ]
    tables = build_tables(load_instance(SHIPPED / "llama-3.1-70b-ascend-prefetch.json", changes))
    return int(tables.tau(0, 0, 1))


def test_reading_ahead_gains_for_short_chunks_until_the_buffer_holds_an_all_reduce():
    """PRESERVE: 1.5 at 8 tokens, 1.2 at 64, nothing from 256 on; saturates at R t, 53.4 MB a die."""
    gains = {n: layer(n, "0 MB") / layer(n, "104 MB") for n in (8, 64, 256, 512)}
    assert gains[8] == pytest.approx(1.5, abs=0.02)
    assert gains[64] == pytest.approx(1.2, abs=0.02)
    assert gains[256] == gains[512] == 1
    times = [layer(8, f"{size} MB") for size in (0, 20, 40, 52, 54, 60, 104)]
    assert times[:5] == sorted(set(times[:5]), reverse=True)
    assert len(set(times[4:])) == 1
    assert max(gains.values()) < 2


def test_the_best_share_under_a_limit_is_that_of_a_scan():
    """Nexus: latency saturates where the curve does, and decoding gets no more than its limit asks for."""
    shipped = load_instance(SHIPPED / "llama-3.1-8b-a100-share.json")
    times = [
        float(latency(shipped.replace(f"decode.share.compute={part}", "decode.share.bandwidth=0.4"), 1024))
        for part in (0, 0.25, 0.5, 0.75)
    ]
    assert times == sorted(times)
    assert times[1] / times[0] < 1.06 < times[3] / times[2]
    load = shipped.replace("decode.tokens=64", "decode.context=128k")
    limit = 0.06
    rows = best_shares(load, limit, (0.1, 0.3, 0.4, 0.6), CURVE)
    assert rows[0].compute is None
    for row in rows[1:]:
        assert row.compute is not None
        scan = [
            part / 50
            for part in range(1, 50)
            if (
                step := decode_step(
                    load, DecodeShare(compute=part / 50, bandwidth=row.bandwidth, curve=CURVE)
                )
            )
            is not None
            and step <= Fraction(limit).limit_denominator(100)
        ]
        assert scan[0] - 0.02 <= row.compute <= scan[0]
