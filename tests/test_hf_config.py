"""Hugging Face configurations, cut down to the fields that matter and some that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mocap_opt.errors import InputError
from mocap_opt.instance import MODELS, Instance, ModelSpec, load_instance
from mocap_opt.instance.hf_config import model_from_config
from mocap_opt.tables import build_tables

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "bos_token_id": 128000,
    "hidden_act": "silu",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
MISTRAL = {
    "model_type": "mistral",
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 5120,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 40,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "vocab_size": 131072,
}
QWEN2 = {
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "max_window_layers": 70,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "sliding_window": 131072,
    "use_sliding_window": False,
    "vocab_size": 152064,
}
QWEN3 = {
    "model_type": "qwen3",
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "layer_types": ["full_attention"] * 64,
    "max_window_layers": 64,
    "num_attention_heads": 64,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "max_window_layers": 94,
    "mlp_only_layers": [],
    "moe_intermediate_size": 1536,
    "num_attention_heads": 64,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 94,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "sliding_window": None,
    "vocab_size": 32000,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"quant_method": "fp8"},
    "v_head_dim": 128,
    "vocab_size": 129280,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama-3.1-70b": LLAMA,
    "qwen2.5-72b": QWEN2,
    "qwen3-32b": QWEN3,
    "qwen3-235b-a22b": QWEN3_MOE,
    "mixtral-8x7b": MIXTRAL,
    "deepseek-v3": DEEPSEEK,
}


def read(config: dict[str, Any]) -> ModelSpec:
    return ModelSpec.model_validate(model_from_config(config)[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_says_what_the_preset_says(name: str) -> None:
    from_config = read(CONFIGS[name]).model_copy(update={"name": "", "description": ""})
    assert from_config == ModelSpec.model_validate(MODELS[name])


def test_fields_with_defaults() -> None:
    """Old files leave out the KV heads (one per head) and the head size (hidden / heads)."""
    spec = read({key: value for key, value in LLAMA.items() if key != "num_key_value_heads"})
    assert (spec.kv_heads, spec.head_dim) == (64, 128)
    assert read({**LLAMA, "head_dim": None}).head_dim == 128
    assert read({**LLAMA, "head_dim": 96}).head_dim == 96


def test_a_mistral_has_as_many_parameters_as_its_name_says() -> None:
    """Mistral NeMo: heads narrower than hidden / heads, 12.2 billion parameters, norms left out."""
    spec = read(MISTRAL)
    assert spec.head_dim == 128 < spec.hidden // spec.heads
    data = {
        "version": 1,
        "name": "nemo",
        "model": spec.model_dump(),
        "wafer": "watos-c3",
        "pipeline": {"stages": 1, "dies_per_stage": 1},
        "workload": {"tokens": 1024},
        "chunking": {"max_chunks": 1},
    }
    weights = build_tables(Instance.from_dict(data)).static.sum()
    assert weights / 2 == pytest.approx(12.247e9, rel=1e-3)


def test_leading_dense_layers_of_a_mixture() -> None:
    spec = read({**QWEN3_MOE, "mlp_only_layers": [0, 1]})
    assert spec.experts is not None
    assert (spec.experts.dense_layers, spec.ffn) == (2, 12288)


def test_uncompressed_query() -> None:
    spec = read({**DEEPSEEK, "q_lora_rank": None})
    assert spec.latent is not None
    assert spec.latent.query_rank is None


def test_window_that_no_layer_has() -> None:
    spec = read({**QWEN2, "use_sliding_window": True, "max_window_layers": 80})
    assert spec == read(QWEN2)


@pytest.mark.parametrize(
    ("base", "changes", "named"),
    [
        (LLAMA, {"model_type": "nemotron_h"}, "model_type"),
        (LLAMA, {"model_type": "unheard_of"}, "model_type"),
        (LLAMA, {"model_type": None}, "model_type"),
        (LLAMA, {"model_type": ["llama"]}, "model_type"),
        (LLAMA, {"sliding_window": 4096}, "sliding_window"),
        (MISTRAL, {"sliding_window": 4096.5}, "sliding_window"),
        (MIXTRAL, {"sliding_window": 0.5}, "sliding_window"),
        (QWEN2, {"use_sliding_window": True, "max_window_layers": "no"}, "max_window_layers"),
        (QWEN3, {"layer_types": ["full_attention"] * 63 + ["sliding_attention"]}, "sliding_window"),
        (LLAMA, {"layer_types": ["full_attention"] * 79 + ["sliding_attention"]}, "layer_types"),
        (QWEN3, {"layer_types": ["linear_attention"] * 64}, "layer_types"),
        (QWEN3, {"layer_types": ["full_attention"] * 63}, "layer_types"),
        (QWEN3, {"layer_types": "full_attention"}, "layer_types"),
        (QWEN3, {"full_attention_interval": 4}, "full_attention_interval"),
        (QWEN3_MOE, {"linear_num_value_heads": 32}, "linear_num_value_heads"),
        (QWEN3_MOE, {"decoder_sparse_step": 0}, "decoder_sparse_step"),
        (QWEN3_MOE, {"mlp_only_layers": [94]}, "mlp_only_layers"),
        (QWEN3_MOE, {"mlp_only_layers": 5}, "mlp_only_layers"),
        (QWEN3_MOE, {"shared_expert_intermediate_size": 512}, "shared_expert_intermediate_size"),
        (LLAMA, {"attention_chunk_size": 8192}, "attention_chunk_size"),
        (LLAMA, {"cross_attention_layers": [3, 8]}, "cross_attention_layers"),
        (LLAMA, {"vision_config": {}, "text_config": {"hidden_size": 1}}, "text_config"),
        (LLAMA, {"is_encoder_decoder": True}, "is_encoder_decoder"),
        (DEEPSEEK, {"index_topk": 2048}, "index_topk"),
        (DEEPSEEK, {"moe_layer_freq": 0}, "moe_layer_freq"),
        (DEEPSEEK, {"moe_layer_freq": [0, 1]}, "moe_layer_freq"),
        (LLAMA, {"mamba_d_state": 16}, "mamba_d_state"),
        (LLAMA, {"a_field_of_next_year": 3}, "a_field_of_next_year"),
        (LLAMA, {"num_experts": 8}, "num_experts"),
        (LLAMA, {"gated_mlp": False}, "gated_mlp"),
        (LLAMA, {"is_causal": False}, "is_causal"),
        (LLAMA, {"hidden_act": "gelu"}, "hidden_act"),
        (LLAMA, {"hidden_size": "8192"}, "hidden_size"),
        (LLAMA, {"hidden_size": True}, "hidden_size"),
        (LLAMA, {"num_attention_heads": 0}, "num_attention_heads"),
        (LLAMA, {"num_hidden_layers": 10**9}, "num_hidden_layers"),
        (LLAMA, {"vocab_size": None}, "vocab_size"),
        (DEEPSEEK, {"kv_lora_rank": None}, "kv_lora_rank"),
        (DEEPSEEK, {"first_k_dense_replace": -1}, "first_k_dense_replace"),
    ],
)
def test_refused_by_name(base: dict[str, Any], changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=rf"model\.config\.{named}: expected") as caught:
        model_from_config({**base, **changes})
    assert len(caught.value.problems) == 1


def test_all_problems_of_a_configuration_at_once() -> None:
    with pytest.raises(InputError, match="sliding_window") as caught:
        model_from_config({**LLAMA, "sliding_window": 4096, "hidden_size": 0, "vocab_size": None})
    found = [problem.path for problem in caught.value.problems]
    assert found == ["model.config.sliding_window", "model.config.hidden_size", "model.config.vocab_size"]


BASE: dict[str, Any] = {
    "version": 1,
    "name": "from-config",
    "model": {"config": "llama/config.json", "layers": 40},
    "wafer": "watos-c3",
    "pipeline": {"stages": 4},
    "workload": {"tokens": "8k"},
    "chunking": {"max_chunks": 4},
}


def test_path_is_relative_to_the_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to the working directory; fields beside it change the model."""
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "instance.json").write_text(json.dumps(BASE))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    instance = load_instance(tmp_path / "instance.json")
    assert (instance.model.layers, instance.model.hidden) == (40, 8192)
    assert Instance.from_dict(instance.to_dict()) == instance
    directory = load_instance(tmp_path / "instance.json", ["model.config=llama"])
    assert directory.model == instance.model


def test_problems_of_the_file_come_with_those_of_the_instance(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama" / "config.json").write_text(json.dumps({**LLAMA, "sliding_window": 9}))
    with pytest.raises(InputError, match="sliding_window") as caught:
        Instance.from_dict({**BASE, "overlap": 2}, tmp_path)
    assert [problem.path for problem in caught.value.problems] == ["model.config.sliding_window", "overlap"]


def instance_of(config: dict[str, Any], tmp_path: Path, **more: Any) -> Instance:
    (tmp_path / "config.json").write_text(json.dumps(config))
    data = {
        "version": 1,
        "name": "x",
        "model": {"config": "config.json"},
        "wafer": "watos-c3",
        "pipeline": {"stages": 14, "dies_per_stage": 4},
        "workload": {"tokens": "32k"},
        "chunking": {"max_chunks": 8, "quantum": 1024},
        **more,
    }
    return Instance.from_dict(data, tmp_path)


def test_a_precision_that_is_given_wins(tmp_path):
    quantised = {**LLAMA, "quantization_config": {"quant_method": "fp8"}}
    instance = instance_of(quantised, tmp_path, precision={"kv": "fp8"})
    assert instance.precision.weights == pytest.approx(1, rel=1e-6)
    assert (instance.precision.embedding, instance.precision.kv) == (2, 1)
    given = instance_of(quantised, tmp_path, precision={"weights": "int4", "embedding": "fp8"}).precision
    assert (given.weights, given.embedding, given.kv) == (0.5, 1, 2)


def test_the_type_of_numbers_is_read_under_either_name(tmp_path):
    plain = {key: value for key, value in LLAMA.items() if key != "torch_dtype"}
    for key in ("torch_dtype", "dtype"):
        instance = instance_of({**plain, key: "float32"}, tmp_path)
        assert {*instance.precision.model_dump().values()} == {4, None}
    with pytest.raises(InputError, match=r"model\.config\.torch_dtype"):
        instance_of({**LLAMA, "torch_dtype": "int3"}, tmp_path)


def test_what_a_config_says_and_costs_do_not_use_is_listed(tmp_path, capsys):
    instance = instance_of({**LLAMA, "rope_theta": 5e5, "tie_word_embeddings": True}, tmp_path)
    told = instance.model.description
    assert "not used: architectures, attention_bias" in told
    assert "rope_theta" in told
    assert "tie_word_embeddings" in told
    assert "hidden_size" not in told


def test_latent_attention_is_not_shown_as_heads():
    shown = str(load_instance("instances/tiny-pooled.json").replace('model="deepseek-v3"'))
    assert "128 heads on a KV latent of 512 + 64" in shown
    assert "KV heads" not in shown


def test_a_field_that_costs_nothing_can_be_ignored(tmp_path):
    strange = {**LLAMA, "router_temperature": 0.5}
    with pytest.raises(InputError, match=r"router_temperature: expected no field .*\"ignore\""):
        instance_of(strange, tmp_path)
    asked = {"config": "config.json", "ignore": ["router_temperature"]}
    instance = instance_of(strange, tmp_path, model=asked)
    assert "ignored as asked: router_temperature" in instance.model.description
    assert instance.fingerprint == instance_of(LLAMA, tmp_path).fingerprint
    with pytest.raises(InputError, match=r"model\.ignore: expected a field of the config\.json"):
        instance_of(LLAMA, tmp_path, model=asked)
    with pytest.raises(InputError, match=r"model\.ignore: expected a list of names") as caught:
        instance_of(LLAMA, tmp_path, model={**asked, "ignore": "vocab_size"})
    assert len(caught.value.problems) == 1
    with pytest.raises(InputError, match=r"model\.ignore: expected no such key"):
        instance_of(LLAMA, tmp_path, model={"preset": "llama-3.1-8b", "ignore": []})


def windows(config: dict[str, Any]) -> list[tuple[int, ...]]:
    """First and last layer, KV heads and size of every run of layers with a window."""
    groups = [(each, *each.windows) for each in read(config).profile]
    return [(*entry.layers, group.kv_heads, group.tokens or -(group.chunk or 0)) for entry, group in groups]


def test_windows_are_layers_of_the_profile():
    assert windows({**MISTRAL, "sliding_window": 4096}) == [(0, 39, 8, 4096)]
    assert windows({key: value for key, value in MISTRAL.items() if key != "sliding_window"}) == [
        (0, 39, 8, 4096)
    ]
    assert windows({**QWEN2, "use_sliding_window": True}) == [(70, 79, 8, 131072)]
    listed = ["full_attention", "sliding_attention"] * 32
    slides = {**QWEN3, "use_sliding_window": True, "sliding_window": 100, "layer_types": listed}
    assert windows(slides) == [(n, n, 8, 100) for n in range(1, 64, 2)]


def experts(config: dict[str, Any]) -> dict[str, Any]:
    found = read(config).experts
    assert found is not None
    return found.model_dump(exclude_defaults=True)


def test_layers_with_experts():
    dense = {"mlp_only_layers": [5], "num_hidden_layers": 6, "num_key_value_heads": 64}
    assert experts({**QWEN3_MOE, **dense})["layers"] == (0, 1, 2, 3, 4)
    assert experts({**QWEN3_MOE, "num_hidden_layers": 6, "decoder_sparse_step": 2})["layers"] == (1, 3, 5)
    sparse = {**DEEPSEEK, "num_hidden_layers": 6, "first_k_dense_replace": 1}
    assert experts({**sparse, "moe_layer_freq": 2})["layers"] == (2, 4)
    assert experts({**sparse, "moe_layer_freq": [1, 0, 0, 1, 1, 1]})["dense_layers"] == 3
    assert read({**QWEN3_MOE, "mlp_only_layers": list(range(94))}).experts is None
