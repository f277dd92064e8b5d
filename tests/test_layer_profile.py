"""Profiles of layers: what they keep and see, in tables (formulations/profiles.md)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_profiles import random_profiled, random_profiled_tables
from toy_instances import toy

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, ModelSpec
from mocap_opt.instance.layer_profile import HeadGroup, layer_shares
from mocap_opt.questions.max_context.instance_family import LengthFamily
from mocap_opt.schedule.instance_summary import ring_note
from mocap_opt.tables import build_tables
from mocap_opt.tables.attention import attention_flops
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.curves import Bend, Curve
from mocap_opt.tables.layout import layout
from mocap_opt.tables.reserve import rings
from mocap_opt.tables.stage_costs import layer_parameters
from mocap_opt.tables.tables_file import tables_from_dict, tables_to_dict
from mocap_opt.units import exact

SMALL = {"layers": 3, "hidden": 8, "heads": 4, "kv_heads": 4, "head_dim": 2, "ffn": 16, "vocabulary": 10}
ONE = Fraction(1)


def model(*profile: object, **changes: object) -> ModelSpec:
    return ModelSpec.model_validate({**SMALL, "profile": list(profile), **changes})


def test_groups_of_layers():
    window = {"kv_heads": 3, "tokens": 4}
    shares = layer_shares(model({"layers": [1, 2], "keep": 0.5, "windows": [window], "hold": "all"}), 20)
    assert shares[0].keep == 1
    assert shares[0].groups == (HeadGroup(ONE),)
    assert shares[1] == shares[2]
    assert shares[1].groups == (HeadGroup(ONE / 4), HeadGroup(3 * ONE / 4, window=4))
    assert shares[1].span(shares[1].groups[1]) == 8


def test_window_of_everything_is_none():
    window = {"kv_heads": 4, "tokens": 10}
    entry = {"layers": [0, 2], "keep": 0.5, "windows": [window]}
    assert layer_shares(model(entry), 20)[0].groups == (HeadGroup(ONE),)
    assert layer_shares(model(entry), 21)[0].groups == (HeadGroup(ONE, window=10, ring=True),)


def test_sparse_attention_sees_the_best_keys():
    sparse = {"top_k": 4, "index_heads": 1, "index_dim": 2}
    shares = layer_shares(model(sparse=sparse), 20)
    assert shares == (shares[0],) * 3
    assert shares[0].groups == (HeadGroup(ONE, window=4, chosen=True),)


@pytest.mark.parametrize(("before", "pairs"), [(0, [0, 1, 3, 5, 7]), (1, [0, 2, 4, 6, 8])])
def test_window_of_two(before: int, pairs: list[int]):
    """Known: S = 4, w = 2: Phi = 0 1 3 5 7, and 0 2 4 6 8 after a prefix of one token."""
    bend = Bend(ONE, "sliding", ONE, 2, before)
    assert [bend.at(x) - bend.at(0) for x in range(5)] == pairs


@given(st.integers(0, 60), st.integers(1, 20), st.sampled_from(["sliding", "blocks"]))
def test_pairs_are_those_that_queries_see(tokens: int, reach: int, shape: str):
    def sees(query: int, key: int) -> bool:
        return key // reach == query // reach if shape == "blocks" else query - key < reach

    pairs = sum(sees(query, key) for query in range(tokens) for key in range(query + 1))
    assert Bend(ONE, shape, ONE, reach).at(tokens) == pairs


def _kept_pairs(group: HeadGroup, kept: Fraction) -> Fraction:
    """A_w(u) by the formulas of the page."""

    def triangle(u: Fraction) -> Fraction:
        return u * (u + 1) / 2

    if group.chunk is not None:
        whole = int(kept / group.chunk)
        return whole * triangle(Fraction(group.chunk)) + triangle(kept - whole * group.chunk)
    if group.window is None or kept <= group.window:
        return triangle(kept)
    return triangle(Fraction(group.window)) + (kept - group.window) * group.window


def _phi(instance: Instance, stage: int, x: int) -> Fraction:
    """Phi_i(x) in ticks, layer by layer."""
    work, costs, laid_out = instance.workload, instance.costs, layout(instance)
    spec, before, total = instance.model, instance.workload.cached_prefix, Fraction(0)
    shares = layer_shares(spec, before + work.tokens)
    for n in laid_out.layers[stage]:
        s = shares[n].keep
        total += 2 * layer_parameters(spec, n, active=True) * s * x
        for group in shares[n].groups:
            pairs = _kept_pairs(group, s * (before + x)) - _kept_pairs(group, s * before)
            total += attention_flops(spec, range(1)) * group.part * pairs
        if spec.sparse is not None:
            whole = HeadGroup(ONE)
            pairs = _kept_pairs(whole, s * (before + x)) - _kept_pairs(whole, s * before)
            total += 2 * spec.sparse.index_heads * spec.sparse.index_dim * pairs
    speed = exact(instance.wafer.die.flops) * costs.efficiency_at(1)
    return total * work.batch / speed / build_tables(instance).tick_s


@pytest.mark.parametrize("seed", range(25))
def test_tables_are_the_formulas(seed: int):
    rng = np.random.default_rng([7, seed])
    instance = random_profiled(rng)
    if seed % 5 == 0:
        sparse = {"top_k": 3, "index_heads": 2, "index_dim": 3}
        instance = toy(model={"sparse": sparse}, workload={"tokens": 9, "cached_prefix": 2})
    tables, laid_out = build_tables(instance), layout(instance)
    spec, work = instance.model, instance.workload
    before, kv = work.cached_prefix, exact(instance.precision.kv) * work.batch
    shares = layer_shares(spec, before + work.tokens)
    each = 2 * spec.head_dim * spec.kv_heads * kv
    index = 0 if spec.sparse is None else spec.sparse.index_dim * kv
    for i in range(tables.stages):
        mine = [shares[n] for n in laid_out.layers[i]]
        for g, x in enumerate(tables.grid.tolist()):
            phi = _phi(instance, i, x)
            assert tables.phi[i, g] == (2 * phi + 1) // 2
            read = sum(
                s.keep * index * (before + x)
                + sum(
                    each
                    * group.part
                    * (
                        s.keep * (before + x)
                        if group.reach is None or group.chosen
                        else min(s.keep * (before + x), Fraction(group.reach))
                    )
                    for group in s.groups
                )
                for s in mine
            )
            weights = sum(2 * layer_parameters(spec, n, active=False) for n in laid_out.layers[i])
            assert tables.own_traffic[i, g] == ceil(weights + read)
        homes = sum(s.keep * (index + each * sum(g.part for g in s.groups if not g.ring)) for s in mine)
        assert tables.page_bytes[i] == ceil(homes * tables.page)
        rings: dict[int, Fraction] = {}
        for s in mine:
            for g in s.groups:
                if g.ring:
                    span = ceil(Fraction(g.reach) / s.keep)
                    rings[span] = rings.get(span, Fraction(0)) + each * g.part * s.keep * tables.page
        spans = [] if tables.ring_span is None else tables.ring_span.tolist()
        assert {
            span: int(size)
            for span, size in zip(spans, tables.ring_bytes[i] if spans else [], strict=True)
            if size
        } == {span: ceil(size) for span, size in rings.items()}
        if i + 1 < tables.stages:
            keep = shares[laid_out.layers[i + 1][0]].keep
            assert tables.activation_bytes[i] == ceil(keep * 2 * spec.hidden * work.batch)
    assert tables_to_dict(tables_from_dict(tables_to_dict(tables))) == tables_to_dict(tables)


def test_full_blocks_count_kept_tokens_in_groups_that_see_all():
    window = {"kv_heads": 1, "tokens": 2}
    profile = [
        {"layers": [0, 1], "keep": 0.25, "windows": []},
        {"layers": [2, 3], "keep": 0.25, "windows": [window]},
    ]
    changed = {"model": {"profile": profile, "kv_heads": 2}, "attention": "full_block"}
    tables = build_tables(toy(**changed))
    att, speed = 2 * 2 * 2 * 2, Fraction(1, 2)
    pairs = [max(Fraction(0), Fraction(n, 4) * (Fraction(n, 4) - 1) / 2) for n in tables.lengths[0].tolist()]
    assert tables.full_block[0, 0].tolist() == [(2 * 2 * att * p / speed + 1) // 2 for p in pairs]
    assert tables.full_block[1, 0].tolist() == [(2 * att * p / speed + 1) // 2 for p in pairs]


def tables_of(**changes: Any) -> dict[str, Any]:
    return tables_to_dict(build_tables(toy(**changes)))


@pytest.mark.parametrize("prefix", [0, 3])
@pytest.mark.parametrize("attention", ["causal", "full_block"])
def test_keeping_and_seeing_all_changes_nothing(prefix: int, attention: str):
    work = {"workload": {"tokens": 10, "cached_prefix": prefix}, "attention": attention}
    plain = tables_of(**work)
    windows = [{"kv_heads": 1, "tokens": 10 + prefix}]
    for entry in ({"keep": 1}, {"windows": windows}, {"windows": windows, "hold": "all"}):
        for layers in ([0, 3], [1, 2]):
            assert tables_of(model={"profile": [{"layers": layers, **entry}]}, **work) == plain
    narrower = [{"kv_heads": 1, "tokens": 9 + prefix}]
    assert tables_of(model={"profile": [{"layers": [0, 3], "windows": narrower}]}, **work) != plain
    assert tables_of(pipeline={"logits": "last"}, **work) == plain


def pages_touched(tables: Tables, span: int, start: int, end: int) -> int:
    """Pages of prefix and prompt that hold the chunk [start, end) and what its first token sees."""
    first = tables.prefix + start - (span - 1)
    seen = range(max(first, 0), tables.prefix + end)
    return len(
        {(p < tables.prefix, (p if p < tables.prefix else p - tables.prefix) // tables.page) for p in seen}
    )


def ring_of(page: int, prefix: int, tokens: int, span: int) -> Tables:
    quantum = page
    work = {
        "workload": {"tokens": tokens, "cached_prefix": prefix},
        "chunking": {"quantum": quantum, "page": page},
    }
    tables = build_tables(toy(**work))
    return replace(tables, ring_span=np.array([span]), ring_bytes=np.array([[1], [0]], dtype=np.int64))


@given(st.integers(1, 5), st.integers(0, 12), st.integers(1, 25), st.integers(1, 40), st.data())
def test_no_live_window_exceeds_its_ring(page: int, prefix: int, tokens: int, span: int, data: st.DataObject):
    tables = ring_of(page, prefix, tokens, span)
    start = page * data.draw(st.integers(0, (tokens - 1) // page))
    ends = {min(e, tokens) for e in range(start + page, tokens + page, page)}
    end = data.draw(st.sampled_from(sorted(ends)))
    assert pages_touched(tables, span, start, end) <= rings(tables, end - start)[0]


def test_a_ring_without_the_terms_for_pages_is_too_small():
    """The fault: pages of the window and the chunk alone, as if the first were whole and the prefix too."""
    short, exact_fits = 0, 0
    for page in (2, 3):
        for prefix in (0, 2, 3, 5):
            for span in range(1, 12):
                tables = ring_of(page, prefix, 12, span)
                for start in range(0, 12, page):
                    for end in range(start + page, 13, page):
                        live = pages_touched(tables, span, start, end)
                        without = -(-(span + end - start - 2) // page)
                        short += live > without
                        exact_fits += live == rings(tables, end - start)[0]
    assert short > 100
    assert exact_fits > 50


@pytest.mark.parametrize("changes", [{"layers": "auto"}, {"stages": [2, 4]}, {"placement": "auto"}])
def test_open_layouts_are_refused_with_a_profile(changes: dict[str, Any]):
    with pytest.raises(InputError, match="no profile while the layout is left open"):
        toy(model={"profile": [{"layers": [2, 3], "keep": 0.5}]}, pipeline=changes)
    with pytest.raises(InputError, match=r"model\.sparse"):
        toy(model={"sparse": {"top_k": 3, "index_heads": 2, "index_dim": 3}}, pipeline=changes)


def test_windows_of_latent_or_sparse_attention_are_refused():
    latent = {"kv_rank": 4, "nope_dim": 2, "rope_dim": 2, "value_dim": 2}
    windows = [{"layers": [0, 3], "windows": [{"kv_heads": 1, "tokens": 2}]}]
    with pytest.raises(InputError, match="no windows with latent attention"):
        toy(model={"latent": latent, "profile": windows})
    with pytest.raises(InputError, match=r"no windows where model\.sparse"):
        toy(model={"sparse": {"top_k": 3, "index_heads": 2, "index_dim": 3}, "profile": windows})
    kept = toy(model={"latent": latent, "profile": [{"layers": [2, 3], "keep": 0.5}]})
    whole = build_tables(toy(model={"latent": latent}))
    assert 2 * build_tables(kept).page_bytes[1] == whole.page_bytes[1]


def test_curves_of_equal_stages_are_one_row():
    bends = (Bend(ONE, "sliding", ONE, 2),)
    assert len({Curve((ONE,), bends), Curve((ONE,), bends)}) == 1


def test_random_tables_have_rings_and_buffers():
    """The random instances of the other tests are what they are meant to be."""
    rng, rings, buffers, unlike = np.random.default_rng(0), 0, 0, 0
    for _ in range(60):
        tables = random_profiled_tables(rng)
        rings += tables.ring_span is not None
        buffers += tables.buffer_bytes is not None
        unlike += tables.page_bytes[0] != tables.page_bytes[1]
    assert min(rings, buffers, unlike) > 15


def test_check_says_where_rings_hold_everything():
    windows = [{"kv_heads": 1, "tokens": 9}]
    profile = [
        {"layers": [0, 1], "windows": [{"kv_heads": 1, "tokens": 2}]},
        {"layers": [2, 3], "windows": windows},
    ]
    work = {"workload": {"tokens": 40}, "chunking": {"max_chunks": 10, "quantum": 4, "page": 2}}
    assert ring_note(build_tables(toy(model={"profile": profile}, **work))) is None
    short = {"workload": {"tokens": 12}, "chunking": {"max_chunks": 3, "quantum": 4, "page": 2}}
    note = ring_note(build_tables(toy(model={"profile": profile}, **short)))
    assert note is not None
    assert "windows span 9 tokens on stages 1:" in note


@pytest.mark.parametrize("prefix", [0, 3])
def test_lengths_of_a_family_are_those_of_the_instance(prefix: int):
    """Below the span of a window its KV has homes, above it lies in a ring."""
    windows = [{"kv_heads": 1, "tokens": 9}]
    instance = toy(
        model={"profile": [{"layers": [1, 3], "windows": windows}]},
        wafer={"die": {"memory_bytes": 3000}},
        workload={"tokens": 4, "cached_prefix": prefix},
        chunking={"longest": 8, "max_chunks": 5},
    )
    family = LengthFamily.of(instance)
    assert family.longest.ring_span is not None
    for steps in range(1, family.longest.steps + 1):
        tokens = 4 * steps
        fresh = build_tables(instance.replace(f"workload.tokens={tokens}"))
        assert tables_to_dict(family.at(tokens))["fields"] == tables_to_dict(fresh)["fields"]
        assert (fresh.ring_span is None) == (tokens + prefix <= 9)


@pytest.mark.parametrize("field", ["export", "prefix_from"])
def test_kv_in_rings_is_neither_exported_nor_loaded(field: str):
    link = {"bandwidth": 1e9, "hop_latency": 0}
    pool = {"name": "host", "memory_bytes": 10**6, "memory_bandwidth": 1e9, "link": link}
    windows = [{"kv_heads": 1, "tokens": 2}]
    changes = {"wafer": {"pools": [pool]}, "workload": {"tokens": 10, "cached_prefix": 2, field: "host"}}
    with pytest.raises(
        InputError, match=rf"workload\.{field}: expected no windows whose KV is held in rings"
    ):
        toy(model={"profile": [{"layers": [0, 3], "windows": windows}]}, **changes)
    entry = {"layers": [0, 3], "windows": windows, "hold": "all"}
    held = build_tables(toy(model={"profile": [entry]}, **changes))
    assert held.fixed_messages is not None
