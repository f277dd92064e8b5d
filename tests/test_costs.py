"""Tables from instances: every formula by hand on a toy, parameters and FLOPs of real models."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from toy_instances import toy

from mocap_opt.instance import ModelSpec
from mocap_opt.instance.models import MODELS
from mocap_opt.tables import build_tables
from mocap_opt.tables.attention import attention_flops
from mocap_opt.tables.stage_costs import layer_parameters, linear_flops
from mocap_opt.tables.tables_file import tables_to_dict

GRID = [0, 4, 8, 10]
# Lengths by [tail, k]: whole steps, and the chunk of k steps that ends at token 10.
LENGTHS = [[0, 4, 8, 12], [0, 2, 6, 10]]


def model(name: str) -> ModelSpec:
    return ModelSpec.model_validate(MODELS[name])


def by_length(formula) -> list[list[int]]:
    return [[formula(length) for length in row] for row in LENGTHS]


# --- compute ---------------------------------------------------------------------------------


def test_grid_and_lengths():
    tables = build_tables(toy())
    assert tables.grid.tolist() == GRID
    assert tables.lengths.tolist() == LENGTHS
    assert (tables.quantum, tables.page, tables.min_length, tables.max_length) == (4, 2, 1, 10)
    assert tables.tick_s == Fraction(1, 10**9)


def test_compute_time_by_hand():
    # Two layers: lin = 2 x 112 x 2 = 448 FLOPs a token, att = 2 x 2 heads x (2 + 2) x 2 = 32 a pair.
    # Speed 1e9 x 0.5 = 0.5 FLOP/ns.  Phi(x) = (448 x + 32 x (x + 1) / 2) / 0.5 = 896 x + 32 x (x + 1):
    # Phi(4) = 3584 + 640, Phi(8) = 7168 + 2304, Phi(10) = 8960 + 3520.
    tables = build_tables(toy())
    assert tables.phi.tolist() == [[0, 4224, 9472, 12480]] * 2
    assert not tables.full_block.any()
    assert not tables.prefix_cost.any()


def test_cached_prefix_adds_pairs():
    # Every token also attends to 3 cached ones: 64 x 3 = 192 ns a token.
    plain, cached = build_tables(toy()), build_tables(toy(workload={"cached_prefix": 3}))
    assert (cached.phi - plain.phi).tolist() == [[0, 768, 1536, 1920]] * 2
    assert cached.prefix == 3


def test_batch_multiplies_compute_activations_and_kv_but_not_weights():
    one, three = build_tables(toy()), build_tables(toy(workload={"batch": 3}))
    assert np.array_equal(three.phi, 3 * one.phi)
    assert np.array_equal(three.page_bytes, 3 * one.page_bytes)
    assert np.array_equal(three.activation_bytes, 3 * one.activation_bytes)
    assert np.array_equal(three.working_bytes, 3 * one.working_bytes)
    assert np.array_equal(three.static, one.static)
    # Weights 448 + 16 (P + b) bytes become 448 + 48 (P + b).
    assert three.own_traffic[0].tolist() == [448 + 48 * b for b in GRID]


def test_dies_and_efficiency_divide_compute():
    # Two dies at full efficiency are four times as fast as one at half.
    fast = toy(pipeline={"dies_per_stage": 2}, costs={"efficiency": 1})
    assert build_tables(fast).phi.tolist() == [[0, 1056, 2368, 3120]] * 2


def test_full_blocks_add_the_other_half_of_the_square():
    # 64 ns a pair, l (l - 1) / 2 pairs: 32 l (l - 1).
    tables = build_tables(toy(attention="full_block"))
    assert tables.full_block[0].tolist() == by_length(lambda length: 32 * length * (length - 1))
    # Phi stays causal; together a chunk of l tokens after a has l (a + l) pairs, here 4 x (4 + 4).
    assert np.array_equal(tables.phi, build_tables(toy()).phi)
    assert tables.tau(0, 1, 2) == 896 * 4 + 64 * 32 + 20


def test_overhead_and_half_efficiency():
    # 20 ns, and the matrix products of 3 more tokens: 896 x 3.
    tables = build_tables(toy(costs={"half_efficiency_tokens": 3}))
    assert tables.length_cost.tolist() == [by_length(lambda _: 20 + 2688)] * 2


def test_prefix_cost_is_paid_by_the_chunks_start():
    tables = build_tables(toy(costs={"prefix_cost": "7 ns"}, workload={"cached_prefix": 3}))
    assert tables.prefix_cost.tolist() == [[7 * (3 + a) for a in GRID]] * 2


def test_collectives_by_hand():
    # Two dies, two layers: 4 all-reduces of 2 x 1/2 x 8 bytes a token at 1 byte/ns and 2 steps of 10 ns:
    # 4 (8 l + 20), after the overhead of 20.
    tables = build_tables(toy(pipeline={"dies_per_stage": 2}))
    assert tables.length_cost[0].tolist() == by_length(lambda length: 20 + 80 + 32 * length)


def test_collectives_are_paced_by_the_slowest_link_inside_the_stage():
    # 2 bytes/ns everywhere but between the dies of stage 0: 4 (8 l + 20) there, 4 (4 l + 20) on stage 1.
    links = {"link": {"bandwidth": 2e9}, "slow_links": [{"between": [[0, 0], [0, 1]], "bandwidth": 1e9}]}
    tables = build_tables(toy(pipeline={"dies_per_stage": 2}, wafer=links))
    assert tables.length_cost[0].tolist() == by_length(lambda length: 20 + 80 + 32 * length)
    assert tables.length_cost[1].tolist() == by_length(lambda length: 20 + 80 + 16 * length)


def test_a_switch_is_two_hops_wide():
    # As above, but each of the 2 steps of an all-reduce takes two hops: 4 x 2 x 20 = 160.
    switch = {"topology": "switch", "rows": 1, "cols": 4}
    tables = build_tables(toy(pipeline={"dies_per_stage": 2}, wafer=switch))
    assert tables.length_cost[0].tolist() == by_length(lambda length: 20 + 160 + 32 * length)
    # Each die sends half of 8 bytes a token through its port, and two hops follow.
    assert tables.send[0].tolist() == by_length(lambda length: 20 + 4 * length)


def test_coefficients():
    costs = {
        "kind": "coefficients",
        "stages": [
            {"constant": "5 ns", "linear": 3e-9, "quadratic": 2e-9, "prefix": 1e-9},
            {"linear": 1e-9},
        ],
    }
    tables = build_tables(toy(costs=costs, workload={"cached_prefix": 3}))
    # 3 x + 2 (x^2 + 2 P x) = 15 x + 2 x^2 with P = 3.
    assert tables.phi.tolist() == [[15 * x + 2 * x * x for x in GRID], GRID]
    assert tables.length_cost.tolist() == [by_length(lambda _: 5), by_length(lambda _: 0)]
    assert tables.prefix_cost.tolist() == [[3 + a for a in GRID], [0] * 4]
    # c + gamma L + b x + a (2 L x + x^2) for the chunk of 4 after L = 3 + 4 tokens.
    assert tables.tau(0, 1, 2) == 5 + 7 + 3 * 4 + 2 * (2 * 7 * 4 + 16)
    assert not tables.memory_side.any()
    assert not tables.own_traffic.any()
    assert tables.static.tolist() == [576, 576]


def test_one_set_of_coefficients_serves_all_stages():
    tables = build_tables(toy(costs={"kind": "coefficients", "stages": {"linear": 1e-9}}))
    assert tables.phi.tolist() == [GRID, GRID]


# --- parameters and FLOPs of real models ---------------------------------------------------------


def test_parameters_of_grouped_query_attention():
    # llama-3.1-70b, per layer: attention 2 x 8192 x 128 x (64 + 8) = 150,994,944,
    # feed-forward 3 x 8192 x 28672 = 704,643,072.
    assert layer_parameters(model("llama-3.1-70b"), 0, active=True) == 150_994_944 + 704_643_072
    # With embedding and head (2 x 128256 x 8192) the published 70.6 billion, but for the norms.
    everything = 80 * 855_638_016 + 2 * 128256 * 8192
    assert everything == pytest.approx(70.55e9, rel=1e-3)


def test_parameters_of_experts():
    # mixtral-8x7b: 46.7 billion in all, 12.9 billion active (published).
    mixtral = model("mixtral-8x7b")
    ends = 2 * 32000 * 4096
    assert 32 * layer_parameters(mixtral, 0, active=False) + ends == pytest.approx(46.7e9, rel=1e-3)
    assert 32 * layer_parameters(mixtral, 0, active=True) + ends == pytest.approx(12.88e9, rel=1e-3)


def test_parameters_of_latent_attention():
    # deepseek-v3, attention: queries 1536 x (7168 + 128 x 192) = 48,758,784; down 7168 x 576 = 4,128,768;
    # up 512 x 128 x 256 = 16,777,216; output 128 x 128 x 7168 = 117,440,512.
    deepseek = model("deepseek-v3")
    attention = 48_758_784 + 4_128_768 + 16_777_216 + 117_440_512
    expert = 3 * 7168 * 2048
    router = 7168 * 256
    assert layer_parameters(deepseek, 0, active=True) == attention + 3 * 7168 * 18432
    assert layer_parameters(deepseek, 3, active=True) == attention + 9 * expert + router
    assert layer_parameters(deepseek, 3, active=False) == attention + 257 * expert + router
    # Published: 671 billion in all, 37 billion active (with embedding and head).
    ends = 2 * 129280 * 7168
    total = sum(layer_parameters(deepseek, layer, active=False) for layer in range(61)) + ends
    assert total == pytest.approx(671e9, rel=1e-3)
    assert linear_flops(deepseek, range(61)) / 2 + ends == pytest.approx(37.5e9, rel=0.02)
    # 2 x 128 heads x (192 + 128) a pair and layer.
    assert attention_flops(deepseek, range(2)) == 2 * 81920


def test_uncompressed_queries():
    deepseek = model("deepseek-v3")
    latent = deepseek.latent.model_copy(update={"query_rank": None})
    plain = deepseek.model_copy(update={"latent": latent})
    # 7168 x 128 x 192 instead of 1536 x (7168 + 128 x 192).
    difference = 7168 * 128 * 192 - 48_758_784
    assert layer_parameters(plain, 0, active=True) == layer_parameters(deepseek, 0, active=True) + difference


# --- memory --------------------------------------------------------------------------------------


def test_sizes_by_hand():
    tables = build_tables(toy(workload={"cached_prefix": 3}))
    # KV: 2 layers x (key + value) x 1 head x 2 x 2 bytes = 16 a token, pages of 2 tokens.
    assert tables.page_bytes.tolist() == [32, 32]
    # 3 cached tokens take two pages.
    assert tables.prefix_bytes.tolist() == [64, 64]
    # Weights 112 x 2 layers x 2 bytes = 448; embedding or head 16 x 4 x 2 = 128.
    assert tables.static.tolist() == [576, 576]
    assert tables.capacity.tolist() == [10**6, 10**6]
    assert tables.staging.tolist() == [100, 100]
    # 2 hidden + 2 FFN = 24 elements of 2 bytes.
    assert tables.working_bytes.tolist() == [48, 48]
    assert tables.activation_bytes.tolist() == [8, 8]
    # Weights and the KV of all tokens so far, at 1 byte/ns.
    assert tables.own_traffic.tolist() == [[448 + 16 * (3 + b) for b in GRID]] * 2
    assert np.array_equal(tables.memory_side, tables.own_traffic)
    assert tables.port_rate.tolist() == [1, 1]


def test_sizes_of_stages_with_more_dies():
    tables = build_tables(toy(pipeline={"dies_per_stage": [1, 3]}, model={"kv_heads": 2}))
    # Two KV heads: 32 bytes a token on one die; three dies hold three heads, 48 bytes.
    assert tables.page_bytes.tolist() == [64, 96]
    assert tables.capacity.tolist() == [10**6, 3 * 10**6]
    assert tables.staging.tolist() == [100, 300]
    # 2 x 4 x d + 2 x 8 elements of 2 bytes: 48 and 80.
    assert tables.working_bytes.tolist() == [48, 80]
    assert tables.port_rate.tolist() == [1, 3]
    # Attention 2 x 4 x 2 x (2 + 2) = 64, so weights of (64 + 64) x 2 x 2 = 512 bytes;
    # (512 + 48 b) / 3 rounded up: 170.7, 234.7, 298.7, 330.7.
    assert tables.own_traffic[1].tolist() == [512 + 48 * b for b in GRID]
    assert tables.memory_side[1].tolist() == [171, 235, 299, 331]


def test_latent_kv_lies_on_every_die():
    latent = {"kv_rank": 3, "rope_dim": 1, "nope_dim": 2, "value_dim": 2}
    tables = build_tables(toy(model={"latent": latent}, pipeline={"dies_per_stage": [1, 2]}))
    # 2 layers x (3 + 1) x 2 bytes = 16 a token and die, pages of 2 tokens.
    assert tables.page_bytes.tolist() == [32, 64]


def test_expert_weights_are_all_kept_and_read_but_few_compute():
    experts = {"count": 5, "active": 2, "shared": 1, "ffn": 3, "dense_layers": 1}
    tables = build_tables(toy(model={"experts": experts}))
    # Dense layer 112 parameters; expert layer 48 + 2 x 4 x 3 x (5 + 1) + router 20 = 212, active 140.
    assert tables.own_traffic[:, 0].tolist() == [(112 + 212) * 2, (212 + 212) * 2]
    assert tables.static.tolist() == [(112 + 212) * 2 + 128, (212 + 212) * 2 + 128]
    # At 0.5 FLOP/ns: 4 ns a parameter and token, 32 x (x + 1) for attention.
    assert tables.phi[:, 1].tolist() == [4 * 252 * 4 + 640, 4 * 280 * 4 + 640]
    # The widest activation: 3 experts of 3, or the dense layer of 8.
    assert tables.working_bytes.tolist() == [2 * (8 + 18)] * 2


def test_experts_of_some_layers_beside_a_shared_one_of_another_width():
    experts = {"count": 5, "active": 2, "shared": 1, "ffn": 3, "shared_ffn": 10, "layers": [1, 3]}
    tables = build_tables(toy(model={"experts": experts}))
    # Dense layers 112 parameters; expert layers 48 + 2 x 4 x (3 x 5 + 10) + router 20 = 268, active 196.
    assert tables.own_traffic[:, 0].tolist() == [(112 + 268) * 2] * 2
    assert tables.phi[:, 1].tolist() == [4 * (112 + 196) * 4 + 640] * 2
    # The widest activation: 2 experts of 3 and the shared one of 10.
    assert tables.working_bytes.tolist() == [2 * (8 + 32)] * 2


def test_experts_by_a_list_of_layers_are_those_behind_dense_ones():
    leading = {"count": 5, "active": 2, "shared": 1, "ffn": 3, "dense_layers": 1}
    listed = {**leading, "dense_layers": 0, "layers": [1, 2, 3], "shared_ffn": 3}
    one, other = (build_tables(toy(model={"experts": each})) for each in (leading, listed))
    assert tables_to_dict(one, "") == tables_to_dict(other, "")


def test_precisions():
    instance = toy(precision={"weights": "fp8", "kv": "fp4", "activations": "fp32"})
    tables = build_tables(instance)
    assert tables.static.tolist() == [224 + 64] * 2
    assert tables.page_bytes.tolist() == [8, 8]
    assert tables.activation_bytes.tolist() == [16, 16]
    assert tables.working_bytes.tolist() == [96, 96]


def test_one_stage_has_embedding_and_head_and_sends_nothing():
    tables = build_tables(toy(pipeline={"stages": 1}))
    assert tables.static.tolist() == [2 * 448 + 2 * 128]
    assert not tables.send.any()


def test_unbounded_queue():
    assert build_tables(toy(pipeline={"queue_depth": "unbounded"})).queue_depth is None
    assert build_tables(toy(pipeline={"queue_depth": 3})).queue_depth == 3


# --- links -----------------------------------------------------------------------------------------


def test_send_by_hand():
    # 8 bytes a token over one link of 1 byte/ns, one hop of 10 ns; nothing after the last stage.
    tables = build_tables(toy())
    assert tables.send.tolist() == [by_length(lambda length: 10 + 8 * length), by_length(lambda _: 0)]
    assert tables.hop_ticks.tolist() == [[0, 10], [10, 0]]
    assert tables.links[:2] == ("0,0>0,1", "0,0>1,0")
    assert set(tables.link_rate.tolist()) == {1}


def test_send_takes_the_busiest_link_and_the_longest_route():
    # Stage 0 = 0,0 0,1 and stage 1 = 0,2 0,3: both halves cross 0,1>0,2, two hops each.
    tables = build_tables(toy(pipeline={"dies_per_stage": 2}))
    assert tables.send[0].tolist() == by_length(lambda length: 20 + 8 * length)
    # A link that carries half, at a third of the speed, is the busiest: 4 bytes / (1/3) a token.
    slow = [{"between": [[0, 0], [0, 1]], "bandwidth": "0.333333333333 GB/s"}]
    third = toy(pipeline={"dies_per_stage": 2}, wafer={"slow_links": slow, "link": {"bandwidth": 1e12}})
    tables = build_tables(third)
    rate = tables.link_rate[tables.links.index("0,0>0,1")]
    assert tables.send[0, 0, 2] == ceil(tables.hop_ticks[0, 1] + Fraction(4 * 8, int(rate)))


def test_send_of_the_worked_example_in_notation():
    # Two ranks to three in a row: all of it crosses 0,1>0,2, the longest route has three hops of 10 ns.
    tables = build_tables(toy(wafer={"rows": 1, "cols": 5}, pipeline={"dies_per_stage": [2, 3]}))
    assert tables.send[0].tolist() == by_length(lambda length: 30 + 8 * length)
    assert tables.share_denominator == 6
    assert tables.share[tables.links.index("0,0>0,1"), 0, 1] == 3


def test_overlap_is_exact():
    assert build_tables(toy(overlap=0.3)).overlap == Fraction(3, 10)
