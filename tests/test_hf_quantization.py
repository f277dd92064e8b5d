"""Quantised checkpoints: every matrix with its scales, what is left alone at its own width."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_hf_config import DEEPSEEK, LLAMA, MIXTRAL, QWEN3_MOE, instance_of

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, PrecisionSpec
from mocap_opt.instance.hf_config import model_from_config
from mocap_opt.tables import build_tables

LLAMA_2_70B = {**LLAMA, "vocab_size": 32000, "torch_dtype": "float16"}
FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}


def precision_of(config: dict[str, Any], quantization: dict[str, Any]) -> PrecisionSpec:
    return PrecisionSpec.model_validate(model_from_config({**config, "quantization_config": quantization})[1])


def told(config: dict[str, Any], quantization: dict[str, Any]) -> str:
    description: str = model_from_config({**config, "quantization_config": quantization})[0]["description"]
    return description


def stored(instance: Instance) -> int:
    return int(build_tables(instance).static.sum())


def groups(**weights: Any) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
    }


@pytest.mark.parametrize(
    ("quantization", "gigabytes"),
    [
        # huggingface.co/TheBloke/Llama-2-70B-AWQ, README.md: 4 bits, groups of 128.
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 36.61),
        # huggingface.co/TheBloke/Llama-2-70B-Chat-GPTQ: gptq_model-4bit--1g.safetensors.
        ({"quant_method": "gptq", "bits": 4, "group_size": -1, "desc_act": True}, 35.3),
    ],
)
def test_a_checkpoint_takes_what_its_files_take(quantization, gigabytes, tmp_path):
    """Files hold norms too, a few MB."""
    config = {**LLAMA_2_70B, "quantization_config": quantization}
    assert stored(instance_of(config, tmp_path)) / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_deepseek_v3_has_its_embedding_and_head_in_16_bits(tmp_path):
    """671 billion weights, of which 0.93 each for embedding and head (DeepSeek-V3, README_WEIGHTS.md).

    One byte each, another for embedding, head and the routers, 4 bytes per block of 128 x 128: 673.1 GB.
    """
    config = {**DEEPSEEK, "torch_dtype": "bfloat16", "quantization_config": FP8}
    instance = instance_of(config, tmp_path)
    table = 7168 * 129280
    assert stored(instance) / 1e9 == pytest.approx(671.0 + 2 * table / 1e9 + 0.106 + 0.163, abs=0.05)
    as_layers = build_tables(instance.replace("precision.embedding=fp8")).static
    more = build_tables(instance).static - as_layers
    assert more.tolist() == [table, *[0] * 12, table]


def test_the_configuration_of_deepseek_v3_is_read(shared_configs):
    config = json.loads((shared_configs / "dsv3.json").read_text())
    precision = PrecisionSpec.model_validate(model_from_config(config)[1])
    assert precision.embedding == 2
    assert isinstance(precision.weights, tuple)
    assert {round(size, 5) for size in precision.weights} == {1.00024, 1.0004}


@pytest.mark.parametrize(
    ("quantization", "weights"),
    [
        (FP8, 1 + 4 / 128**2),
        ({"quant_method": "fp8"}, 1),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 0.5 * 1.039),
        ({"quant_method": "awq", "bits": 4, "group_size": 32}, 0.5 + 2.5 / 32),
        ({"quant_method": "awq", "bits": 8}, 1 + 3 / 128),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 0.5 + 4 / 64),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
            0.5 + (1 + 4 / 256) / 64,
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 1),
        (groups(num_bits=8, type="float", strategy="tensor"), 1),
        (groups(num_bits=4, type="int", strategy="group", group_size=128), 0.5 + 2 / 128),
        (groups(num_bits=4, type="int", group_size=128, symmetric=False), 0.5 + 3 / 128),
        (groups(num_bits=4, type="float", strategy="tensor_group", group_size=16), 0.5 + 1 / 16),
        (groups(num_bits=8, type="float", strategy="block", block_structure=[128, 128]), 1 + 2 / 128**2),
        # Embedding, head and all of a dense model: the experts alone are quantised.
        ({"quant_method": "mxfp4"}, 2),
    ],
)
def test_scales_and_zeros_count(quantization, weights):
    precision = precision_of(LLAMA, quantization)
    assert precision.weights == pytest.approx(weights, rel=1e-3)
    assert precision.weights >= weights * (1 - 1e-9) or quantization["quant_method"] == "gptq"
    assert (precision.embedding, precision.kv, precision.activations) == (2, 2, 2)


def test_mxfp4_is_the_experts_alone():
    """94 layers of 128 experts with 3 matrices of 4096 x 1536."""
    experts, attention, router = 128 * 3 * 4096 * 1536, 2 * 4096 * 128 * 68, 4096 * 128
    mean = (experts * 17 / 32 + 2 * (attention + router)) / (experts + attention + router)
    assert precision_of(QWEN3_MOE, {"quant_method": "mxfp4"}).weights == pytest.approx(mean)


@pytest.mark.parametrize(
    ("listed", "kept"),
    [
        (["model.layers.0.mlp.down_proj"], {0: 28672}),
        (["model.layers.79.mlp.gate_up_proj"], {79: 2 * 28672}),
        (["model.layers.*.self_attn", "lm_head"], dict.fromkeys(range(80), 2 * 72 * 128)),
        (["re:.*self_attn\\.(q|o)_proj$"], dict.fromkeys(range(80), 2 * 64 * 128)),
        (["o_proj"], dict.fromkeys(range(80), 64 * 128)),
        (["model.layers.1"], {1: 3 * 28672 + 2 * 72 * 128}),
        (["lm_head", "gate", "input_layernorm"], {}),
    ],
)
def test_modules_that_are_left_out_keep_their_width(listed, kept):
    """By layer: how many vectors of the model's width are kept."""
    all_of_them = 3 * 28672 + 2 * 72 * 128
    weights = precision_of(LLAMA, {"quant_method": "fp8", "modules_to_not_convert": listed}).weights
    each = weights if isinstance(weights, tuple) else (weights,) * 80
    assert each == pytest.approx([1 + kept.get(layer, 0) / all_of_them for layer in range(80)], rel=1e-6)


def test_mixtral_has_names_of_its_own():
    for name in ("block_sparse_moe.experts.3.w2", "re:.*block_sparse_moe\\..*\\.w2"):
        weights = precision_of(MIXTRAL, {"quant_method": "fp8", "ignored_layers": [name]}).weights
        assert weights == pytest.approx(1 + 1 / 3, abs=0.02)


def test_the_first_group_that_names_a_module_holds():
    quantization = groups(num_bits=4, strategy="channel", type="int")
    quantization["config_groups"]["attention"] = {
        "targets": ["re:.*self_attn.*"],
        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
    }
    attention, rest = 2 * 72 * 128, 3 * 28672
    mean = (attention + rest / 2) / (attention + rest)
    assert precision_of(LLAMA, quantization).weights == pytest.approx(mean, rel=1e-3)


def test_a_group_without_weights_is_not_quantised_by_another():
    quantization = groups(num_bits=8, strategy="channel")
    quantization["config_groups"]["attention"] = {"targets": ["re:.*self_attn.*"], "weights": None}
    attention, rest = 2 * 72 * 128, 3 * 28672
    mean = (2 * attention + rest) / (attention + rest)
    assert precision_of(LLAMA, quantization).weights == pytest.approx(mean, rel=1e-3)


def test_a_checkpoint_in_its_dense_form_is_not_small():
    assert precision_of(LLAMA, groups(num_bits=8, strategy="channel") | {"format": "dense"}).weights == 2


def test_the_scheme_of_the_kv_cache_gives_its_width():
    scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}
    alone = {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": scheme}
    assert precision_of(LLAMA, alone).kv == 1
    assert precision_of(LLAMA, alone).weights == 2
    assert precision_of(LLAMA, groups(num_bits=8) | {"kv_cache_scheme": None}).kv == 2
    assert "KV of 1 bytes (kv_cache_scheme)" in told(LLAMA, alone)


def test_what_is_assumed_or_not_understood_is_said():
    plain = {key: value for key, value in LLAMA.items() if key != "torch_dtype"}
    assert "2 bytes taken for what is not quantised (no dtype is named)" in told(plain, FP8)
    said = told(LLAMA, FP8 | {"modules_to_not_convert": ["lm_head", "attn", "model.layers.80.eh_proj"]})
    assert "no matrix is called attn, model.layers.N.eh_proj" in said
    assert "2 bytes for embedding, head" in said
    assert "mlp.gate of 58 layers" in told(DEEPSEEK, FP8)


@pytest.mark.parametrize(
    ("quantization", "place"),
    [
        ({"quant_method": "hqq"}, r"quantization_config\.quant_method"),
        ({"bits": 4}, r"quantization_config\.quant_method"),
        ("fp8", r"quantization_config: expected"),
        (FP8 | {"weight_block_size": [128, 0]}, r"weight_block_size"),
        (FP8 | {"modules_to_not_convert": ["a", 3]}, r"modules_to_not_convert"),
        (FP8 | {"ignored_layers": ["re:(a+)+b"]}, r"ignore"),
        (FP8 | {"ignored_layers": ["re:("]}, r"ignore"),
        ({"quant_method": "gptq"}, r"quantization_config\.bits"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 0}, r"group_size"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*": {}}}, r"dynamic"),
        ({"quant_method": "bitsandbytes"}, r"load_in_4bit"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, r"config_groups"),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": 3}}, r"config_groups\.a"),
        (groups(num_bits=8, strategy="token"), r"group_0\.weights\.strategy"),
        (groups(num_bits="8"), r"group_0\.weights\.num_bits"),
        (groups(num_bits=8) | {"kv_cache_scheme": {"num_bits": 99}}, r"kv_cache_scheme\.num_bits"),
    ],
)
def test_a_quantisation_that_is_not_understood_is_refused(quantization, place):
    with pytest.raises(InputError, match=place):
        model_from_config({**LLAMA, "quantization_config": quantization})


def test_bytes_by_layer_fit_the_model(tmp_path):
    quantised = {**DEEPSEEK, "quantization_config": FP8}
    with pytest.raises(
        InputError, match=r"precision\.weights: expected one number, or one for each .*\(30\)"
    ):
        instance_of(quantised, tmp_path, model={"config": "config.json", "layers": 30})
    instance = instance_of(quantised, tmp_path)
    assert Instance.from_dict(instance.to_dict()) == instance
    assert instance.replace("precision.weights=fp8").precision.weights == 1


def test_an_embedding_as_the_layers_changes_nothing(tmp_path):
    plain = instance_of(LLAMA, tmp_path)
    assert plain.replace("precision.embedding=null").fingerprint == plain.fingerprint
    assert stored(plain.replace("precision.embedding=bf16")) == stored(plain)
    assert plain.replace("precision.embedding=bf16").fingerprint != plain.fingerprint
