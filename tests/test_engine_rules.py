"""Rules of serving engines as the engines have them, with a base size given or the best one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from builders import make_tables

from mocap_opt import InputError, load_instance, solve
from mocap_opt.baselines import METHODS, vllm_ascend
from mocap_opt.baselines import atom as atom_dynamic
from mocap_opt.baselines.compose import base_candidates
from mocap_opt.baselines.engine_chunks import NoFitError, Setting, successive_chunks
from mocap_opt.baselines.registry import ENGINE_RULES, built_in_method
from mocap_opt.baselines.sglang import fit_quadratic, next_chunk, sampled_lengths, sglang_dynamic
from mocap_opt.schedule.verify import violations


def test_sglang_times_lengths_up_to_a_quarter_beyond_the_base_without_the_first() -> None:
    tables = make_tables(tokens=20_000, quantum=1)
    # 1.25 x 8192 = 10,240 = 128 x 80: samples 10,240 - 80 i, the first dropped.
    assert sampled_lengths(tables, 8192).tolist() == [10_240 - 80 * i for i in range(1, 128)]
    # 1.25 x 100 = 125, steps of 0: floor(125 / 128) = 0 leaves one length, as in the engine.
    assert set(sampled_lengths(tables, 100).tolist()) == {125}


def test_sglang_fits_the_first_stage_alone() -> None:
    tables = make_tables(2, tokens=65_536, quantum=64, linear=[500, 900], quadratic=[3, 7], constant=1000)
    a, b, _ = fit_quadratic(tables, 8192)
    assert (a, b) == pytest.approx((3, 500), rel=1e-6)


def test_sglang_fits_prefix_free_chunks_of_a_request_with_a_prefix_and_counts_it_as_history() -> None:
    cached = make_tables(tokens=65_536, quantum=64, linear=500, quadratic=3, prefix=4096)
    a, b, _ = fit_quadratic(cached, 8192)
    assert (a, b) == pytest.approx((3, 500), rel=1e-6)
    assert next_chunk((a, b), 4096, 8192) < 8192


def test_sglang_begins_with_the_base_size_also_after_a_cached_prefix() -> None:
    cached = make_tables(tokens=65_536, quantum=64, linear=500, quadratic=3, prefix=16_384, max_chunks=64)
    lengths = np.diff(cached.grid[sglang_dynamic(cached, Setting(8192))])
    assert lengths[0] == 8192
    # L = 16,384 + 8192: T = 3 x 8192^2 + 500 x 8192 = 3 x^2 + 147,956 x gives x = 1349.2, smoothed 3059.9.
    assert lengths[1] == 3008


def test_atom_sizes_the_chunks_that_its_page_shows() -> None:
    """Kimi-K2.5 on MI355X: 131,072 tokens, budget 32,768, blocks of 64, smoothing factor 1."""
    fit = (26.1, 6.03e-3, 3.25e-7, 5.39e-4)
    assert atom_dynamic.shrinks_usefully(fit, 32_768)
    tables = make_tables(tokens=131_072, quantum=64, max_chunks=64)
    rule = partial(atom_dynamic.next_chunk, fit, smoothing=1.0)
    indices = successive_chunks(tables, 32_768, rule, sized_first=True)
    shown = [32768, 16192, 12416, 10368, 9088, 8192, 7488, 6912, 6464, 6080, 5760, 5504, 3840]
    assert np.diff(tables.grid[indices]).tolist() == shown


def test_atom_fits_the_first_stage_alone() -> None:
    tables = make_tables(2, 4096, quantum=64, linear=[500, 900], quadratic=[3, 7], constant=1000)
    _, b, a, _ = atom_dynamic.fit_with_prefix(tables)
    assert (b, a) == pytest.approx((500, 3), rel=1e-6)


def test_atom_keeps_fixed_chunks_where_sizing_them_would_change_little() -> None:
    # Without attention, and with 2 a B far below b, the second chunk would be less than 5 % shorter.
    for quadratic in (0, 1):
        tables = make_tables(2, 65_536, quantum=64, linear=10**6, quadratic=quadratic, max_chunks=64)
        lengths = np.diff(tables.grid[atom_dynamic.atom_dynamic(tables, Setting(8192))])
        assert set(lengths.tolist()) == {8192}


def test_a_negative_slope_counts_as_none_and_no_growth_is_refused() -> None:
    tables = make_tables(tokens=65_536, quantum=64, linear=500)
    with pytest.raises(NoFitError, match="a <= 0"):
        fit_quadratic(tables, 8192)
    proposal = METHODS["sglang-dynamic"].propose(tables)
    assert proposal.plan is None
    assert "a <= 0" in proposal.reason
    with pytest.raises(NoFitError, match="too few lengths"):
        fit_quadratic(make_tables(tokens=4096, quantum=1024, quadratic=1), 1024)


@pytest.mark.parametrize("name", ENGINE_RULES)
def test_every_base_keeps_to_grid_count_and_lengths(name: str) -> None:
    rng = np.random.default_rng(7)
    planned = 0
    for _ in range(25):
        quantum = int(rng.choice([1, 4, 64]))
        tokens = int(rng.integers(3, 40)) * quantum * 64 - int(rng.integers(0, quantum))
        tables = make_tables(
            int(rng.integers(1, 5)),
            tokens,
            quantum=quantum,
            max_chunks=int(rng.integers(1, 9)),
            min_length=int(rng.integers(1, 2 * quantum + 1)),
            max_length=int(rng.integers(tokens // 3 + 1, tokens + 1)),
            linear=int(rng.integers(1, 30)),
            quadratic=int(rng.integers(1, 3)),
            constant=int(rng.integers(0, 300)),
        )
        for base in base_candidates(tables):
            try:
                indices = ENGINE_RULES[name].boundaries(tables, Setting(base))
            except NoFitError:
                continue
            if indices is not None:
                planned += 1
                lengths = np.diff(tables.grid[indices])
                assert indices.size - 1 in tables.counts
                assert tables.min_length <= lengths.min() <= lengths.max() <= tables.max_length
    assert planned > 20


@pytest.mark.parametrize("name", ENGINE_RULES)
def test_a_base_may_be_given_and_the_one_in_use_is_told(name: str) -> None:
    tables = make_tables(2, 65_536, quantum=64, linear=100, quadratic=1, max_chunks=64)
    best, given = METHODS[name].propose(tables), built_in_method(f"{name}:8192").propose(tables)
    # vLLM-Ascend sizes the first chunk by its refit, too.
    assert given.plan.boundaries[1] == 8192 or name == "vllm-ascend-dynamic"
    default = ENGINE_RULES[name].smoothing
    smoothing = "" if default is None else f", smoothing {default:g}"
    assert given.notes[-1] == f"{name}:8192: base size 8192 tokens{smoothing}, given"
    assert violations(tables, given.plan) == []
    assert best.notes[-1].endswith(f"the best of {len(base_candidates(tables))}")


def test_solve_takes_a_base_and_refuses_what_is_none() -> None:
    instance = load_instance("instances/llama-3.1-70b-pjlab-128k.json")
    report = solve(instance, "sglang-dynamic:8192", time_limit_s=2).report
    assert any("base size 8192 tokens, smoothing 0.75, given" in note for note in report.notes)
    for wrong in ("sglang-dynamic:", "sglang-dynamic:0", "sglang-dynamic:8k", "atom-dynamic:-1"):
        with pytest.raises(InputError, match="a base size in tokens"):
            solve(instance, wrong)
    for wrong in ("sglang-dynamic:8192:", "atom-dynamic:8192:1.5", "sglang-dynamic:8192:0.5:1"):
        with pytest.raises(InputError, match="a smoothing from 0 to 1"):
            solve(instance, wrong)
    with pytest.raises(InputError, match="no smoothing"):
        solve(instance, "fixed-size:8192:0.5")
    with pytest.raises(InputError, match="mocap:8"):
        solve(instance, "mocap:8")


def test_smoothing_goes_from_the_base_size_to_what_is_computed() -> None:
    tables = make_tables(2, 65_536, quantum=64, linear=100, quadratic=1, max_chunks=400)
    lists = {}
    for smoothing in (0, 0.5, 1):
        plan = built_in_method(f"sglang-dynamic:8192:{smoothing}").propose(tables).plan
        lists[smoothing] = np.diff(plan.boundaries)
    assert set(lists[0].tolist()) == {8192}
    # L = 8192: T = 8192^2 + 100 x 8192 = x^2 + 16,484 x gives x = 3425; half way 5808.
    assert lists[0.5][1] == 5808 // 64 * 64
    assert lists[1][1] == 3425 // 64 * 64


def test_sglang_sizes_the_chunks_that_a_published_log_shows() -> None:
    """Kimi-K2.5, four stages: coefficients to three digits, target 98.68 ms, then 2048, 1920, 1792 tokens."""
    a, b, _ = fit = (1.11e-6, 4.59e-2, 36.7)
    assert a * 2048**2 + b * 2048 == pytest.approx(98.68, rel=1e-3)
    second, third = next_chunk(fit, 2048, 2048), next_chunk(fit, 2048 + 1920, 2048)
    # Rounding to 64 tokens decides by 0.2 tokens, which the third digit of the coefficients moves.
    assert second == pytest.approx(1920, abs=1)
    assert int(third) // 64 * 64 == 1792


def test_fixed_size_leaves_the_rest_to_the_last_chunk() -> None:
    tables = make_tables(2, 10_000, quantum=8, max_chunks=40)
    plan = built_in_method("fixed-size:1500").propose(tables).plan
    # 1500 is no multiple of the grid's 8: 1496, and not of 64.
    assert np.diff(plan.boundaries).tolist() == [1496] * 6 + [1024]
    assert built_in_method("fixed-size:200").propose(tables).plan is None  # 50 chunks, 40 allowed


def test_vllm_ascend_times_64_lengths_of_the_last_stage() -> None:
    tables = make_tables(2, 65_536, quantum=64, linear=[500, 900], quadratic=[3, 7], constant=1000)
    a, b, c = vllm_ascend.fit_startup(tables, 8192)
    assert (a, b, c) == pytest.approx((7, 900, 1000), rel=1e-6)
    with pytest.raises(NoFitError, match="too few lengths"):
        vllm_ascend.fit_startup(make_tables(tokens=4096, quantum=1024, quadratic=1), 1024)


def test_vllm_ascend_refits_on_what_it_serves_and_rounds_up() -> None:
    # t(C, H) = 3 C (C + H) + 500 (C + H) + 10^6: Phi = 500 x + 1.5 x^2 and 1.5 C^2 are not of the engine's
    # form, so the refit compromises; gamma = 500 ties it to the slope.
    tables = make_tables(
        2, 131_072, quantum=64, linear=50_000, quadratic=3, constant=10**6, prefix_time=40, max_chunks=64
    )
    model = vllm_ascend.calibrated(tables, Setting(16_384))
    assert not model.timed
    assert model.target == tables.tau(1, 0, 256)
    a, b, c = model.served
    for history in (0, 16_384, 65_536):
        length = model.solved(history)
        assert a * length * (length + history) + b * (length + history) + c == pytest.approx(model.target)
    lengths = np.diff(tables.grid[vllm_ascend.vllm_ascend_dynamic(tables, Setting(16_384))])
    assert lengths[0] <= 16_384
    expected, at = [], 0
    while at < 131_072:
        wanted = min(max(model.solved(at), 4096), 16_384)
        expected.append(min(-(-int(wanted - 1e-3) // 64) * 64, 16_384, 131_072 - at))
        at += expected[-1]
    assert lengths.tolist() == expected


def test_vllm_ascend_keeps_the_base_where_no_length_takes_the_target() -> None:
    model = vllm_ascend.Model((1.0, 2.0, 3.0), 100.0, (0.0, 1.0, 0.0), timed=False)
    assert model.solved(10) is None
    tables = make_tables(tokens=65_536, quantum=64, max_chunks=8)
    assert set(np.diff(tables.grid[vllm_ascend.chunks(tables, Setting(8192), model)])) == {8192}


def test_vllm_ascend_after_a_cached_prefix_never_stops_timing() -> None:
    tables = make_tables(tokens=65_536, quantum=64, linear=50_000, quadratic=3, prefix=65_536, max_chunks=64)
    model = vllm_ascend.calibrated(tables, Setting(16_384))
    assert model.timed
    assert np.diff(vllm_ascend.chunks(tables, Setting(16_384), model))[0] == 256
