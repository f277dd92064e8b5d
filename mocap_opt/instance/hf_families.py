"""The table of families: one row says which fields of a ``config.json`` mean what (formulations/models.md).

Figures and defaults are those of the configuration classes of the transformers library and of the models'
own repositories.
"""

from __future__ import annotations

from collections.abc import Mapping

from mocap_opt.instance.hf_family import GELU, RELU2, ExpertFields, Family, WindowFields
from mocap_opt.instance.hf_layers import (
    ALL,
    ALTERNATE,
    BEHIND,
    BETWEEN,
    CHUNKED,
    FROM_LAYER,
    INTERLEAVED,
    PATTERN,
    ROTARY,
    SPARSE_STEPS,
)
from mocap_opt.instance.hf_reader import ConfigReader

_EVERY = WindowFields(ALL)
_QWEN = WindowFields(FROM_LAYER, switch="use_sliding_window")
_QWEN_OFF = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_LOCAL = ExpertFields("num_local_experts", "num_experts_per_tok", "intermediate_size")
_ROUTED = ExpertFields(
    "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", BEHIND, shared="n_shared_experts"
)
_QWEN_EXPERTS = ExpertFields("num_experts", "num_experts_per_tok", "moe_intermediate_size", SPARSE_STEPS)
_GPT = {"layers": "n_layer", "hidden": "n_embd", "heads": "n_head", "ffn": "n_inner"} | {
    "activation": "activation_function"
}
_SINKS = "attention sinks"
_SUMMARY = "summary_type summary_use_proj summary_activation summary_first_dropout summary_proj_to_labels"
_GUESSING = "layers that guess further tokens"


def _multi_query(read: ConfigReader, heads: int) -> int:
    return 1 if read.config.get("multi_query", True) else heads


def _falcon_heads(read: ConfigReader, heads: int) -> int:
    """The new architecture groups heads, the old one shares one KV head or has one for each."""
    if read.config.get("new_decoder_architecture"):
        return read.whole("num_kv_heads", default=heads)
    return _multi_query(read, heads)


FAMILY_ROWS: tuple[Family, ...] = (
    Family(("llama",), "Llama 1 to 3, Yi, and others in this form"),
    Family(
        ("mistral", "ministral"),
        "Mistral 7B, NeMo, Small, Large",
        defaults={"num_key_value_heads": 8, "sliding_window": 4096},
        windows=_EVERY,
    ),
    Family(("ministral3",), "Ministral 3", defaults={"num_key_value_heads": 8}, windows=_EVERY),
    Family(
        ("mixtral",),
        "Mixtral 8x7B, 8x22B",
        defaults={"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
        experts=_LOCAL,
        windows=_EVERY,
    ),
    Family(
        ("qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "mimo"),
        "Qwen 1.5, 2, 2.5; the language model of Qwen2-VL, 2.5-VL; MiMo 7B",
        defaults={"num_key_value_heads": 32, **_QWEN_OFF},
        windows=_QWEN,
        left_out=_GUESSING,
    ),
    Family(
        ("qwen2_moe",),
        "Qwen1.5-MoE, Qwen2-57B-A14B",
        defaults={"num_key_value_heads": 16, "shared_expert_intermediate_size": 5632, **_QWEN_OFF},
        experts=ExpertFields(
            "num_experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
            SPARSE_STEPS,
            shared_width="shared_expert_intermediate_size",
        ),
        windows=_QWEN,
        left_out="the gate of the shared expert, one number a token",
    ),
    Family(
        ("qwen3",),
        "Qwen3",
        defaults={"num_key_value_heads": 32, "head_dim": 128, **_QWEN_OFF},
        windows=_QWEN,
    ),
    Family(
        ("qwen3_vl_text",),
        "the language model of Qwen3-VL",
        defaults={"num_key_value_heads": 32, "head_dim": 128},
    ),
    Family(
        ("qwen3_moe", "qwen3_vl_moe_text"),
        "Qwen3 30B-A3B, 235B-A22B, Coder 480B; the language model of Qwen3-VL with experts",
        defaults={"num_experts_per_tok": 8},
        experts=_QWEN_EXPERTS,
    ),
    Family(
        ("gemma",),
        "Gemma",
        fields={"activation": "hidden_activation"},
        defaults={"num_key_value_heads": 16, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh"},
        activations=GELU,
        harmless="hidden_act",
    ),
    Family(
        ("gemma2",),
        "Gemma 2",
        fields={"activation": "hidden_activation"},
        defaults={
            "vocab_size": 256000,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        activations=GELU,
        windows=WindowFields(ALTERNATE),
        alike={"sliding_window_size": "sliding_window"},
        harmless="hidden_act",
    ),
    Family(
        ("gemma3_text",),
        "Gemma 3",
        fields={"activation": "hidden_activation"},
        defaults={
            "vocab_size": 262208,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        activations=GELU,
        windows=WindowFields(PATTERN),
        harmless="hidden_act",
    ),
    Family(
        ("gpt_oss",),
        "gpt-oss 20b, 120b",
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 64,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
            "sliding_window": 128,
        },
        experts=_LOCAL,
        windows=WindowFields(ALTERNATE),
        alike={"experts_per_token": "num_experts_per_tok"},
        left_out=_SINKS,
    ),
    Family(
        ("llama4_text",),
        "Llama 4 Scout, Maverick",
        fields={"ffn": "intermediate_size_mlp"},
        defaults={
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 8192,
            "intermediate_size_mlp": 16384,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
            "attention_chunk_size": 8192,
        },
        experts=ExpertFields(
            "num_local_experts", "num_experts_per_tok", "intermediate_size", INTERLEAVED, shared=1
        ),
        windows=WindowFields(ROTARY, size="attention_chunk_size", kind=CHUNKED),
    ),
    Family(("phi3",), "Phi-3 mini and medium, Phi-4", windows=_EVERY),
    Family(
        ("phimoe",),
        "Phi-3.5-MoE",
        defaults={"num_key_value_heads": 8, "num_local_experts": 16, "num_experts_per_tok": 2},
        experts=_LOCAL,
        windows=_EVERY,
        left_out="biases",
    ),
    Family(("phi",), "Phi-1.5, Phi-2", activations=GELU, gated=False, left_out="biases"),
    Family(
        ("glm", "glm4", "glm4v_text"),
        "GLM-4 9B, 32B",
        defaults={"num_key_value_heads": 2, "head_dim": 128},
    ),
    Family(
        ("glm4_moe", "glm4v_moe_text"),
        "GLM-4.5, 4.6, 4.7, Air",
        defaults={"num_key_value_heads": 8, "first_k_dense_replace": 1},
        experts=_ROUTED,
        left_out=_GUESSING,
    ),
    Family(("deepseek",), "DeepSeekMoE 16B", experts=_ROUTED),
    Family(
        ("bailing_moe",),
        "Ling lite, plus",
        experts=ExpertFields(
            "num_experts", "num_experts_per_tok", "moe_intermediate_size", BEHIND, shared="num_shared_experts"
        ),
    ),
    Family(
        ("deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite"),
        "DeepSeek-V2, V3, R1, Kimi K2, Moonlight, GLM-4.7-Flash",
        latent=True,
        experts=_ROUTED,
        harmless="head_dim qk_head_dim",
        left_out=_GUESSING,
    ),
    Family(
        ("deepseek_v32", "glm_moe_dsa"),
        "DeepSeek-V3.2, GLM-5",
        latent=True,
        indexer=True,
        experts=_ROUTED,
        fixed={"index_topk_freq": 1, "index_topk_pattern": None},
        further=("indexer_types",),
        harmless="head_dim qk_head_dim index_share_for_mtp_iteration index_skip_topk_offset",
        left_out=_GUESSING,
    ),
    Family(
        ("minimax_m2",),
        "MiniMax-M2, M2.5",
        defaults={"num_key_value_heads": 8},
        experts=_LOCAL,
        fixed={"shared_intermediate_size": 0},
        further=("attn_type_list",),
        left_out=_GUESSING,
    ),
    Family(("granite",), "Granite 3"),
    Family(
        ("granitemoe",),
        "Granite 3 with experts",
        defaults={"num_local_experts": 8, "num_experts_per_tok": 2},
        experts=_LOCAL,
    ),
    Family(
        ("granitemoeshared",),
        "Granite 3 with routed and shared experts",
        defaults={"num_local_experts": 8, "num_experts_per_tok": 2},
        experts=ExpertFields(
            "num_local_experts",
            "num_experts_per_tok",
            "intermediate_size",
            shared_width="shared_intermediate_size",
        ),
    ),
    Family(("olmo", "olmo2"), "OLMo 1, 2", harmless="clip_qkv"),
    Family(
        ("olmo3",),
        "OLMo 3",
        defaults={"sliding_window": 4096, "sliding_window_pattern": 4},
        windows=WindowFields(PATTERN),
    ),
    Family(
        ("olmoe",),
        "OLMoE",
        defaults={"num_experts": 64, "num_experts_per_tok": 8},
        experts=ExpertFields("num_experts", "num_experts_per_tok", "intermediate_size"),
        harmless="clip_qkv",
    ),
    Family(
        ("starcoder2",),
        "StarCoder 2",
        defaults={"num_key_value_heads": 2},
        activations=GELU,
        gated=False,
        windows=_EVERY,
        fixed={"mlp_type": "default"},
        left_out="biases",
    ),
    Family(("cohere",), "Command R, R+, Aya"),
    Family(
        ("cohere2",),
        "Command R7B, Command A",
        defaults={"sliding_window": 4096, "sliding_window_pattern": 4},
        windows=WindowFields(PATTERN),
        fixed={"use_gated_activation": True},
        harmless="order_of_interleaved_layers layer_switch use_parallel_block use_parallel_embedding "
        "use_embedding_sharing",
    ),
    Family(
        ("falcon",),
        "Falcon 7B, 40B, 180B",
        fields={"ffn": "ffn_hidden_size", "activation": "activation"},
        defaults={"activation": "gelu"},
        activations=GELU,
        gated=False,
        further=("new_decoder_architecture", "multi_query", "num_kv_heads"),
        kv_heads=_falcon_heads,
        ffn_multiple=4,
        harmless="alibi parallel_attn num_ln_in_parallel_attn",
    ),
    Family(
        ("exaone4",),
        "EXAONE 4",
        defaults={"num_key_value_heads": 32, "sliding_window": 4096, "sliding_window_pattern": 4},
        windows=WindowFields(PATTERN),
    ),
    Family(("exaone",), "EXAONE 3", fields={"layers": "num_layers", "activation": "activation_function"}),
    Family(
        ("hunyuan_v1_dense",),
        "Hunyuan dense",
        alike={"attention_head_dim": "head_dim"},
        fixed={"use_mla": False},
        harmless="cla_share_factor",
    ),
    Family(("ernie4_5",), "ERNIE 4.5 dense", defaults={"num_key_value_heads": 2, "head_dim": 128}),
    Family(
        ("ernie4_5_moe",),
        "ERNIE 4.5 with experts",
        defaults={"num_key_value_heads": 4, "moe_num_shared_experts": 2, "moe_k": 6, "moe_num_experts": 64},
        experts=ExpertFields(
            "moe_num_experts", "moe_k", "moe_intermediate_size", BETWEEN, shared="moe_num_shared_experts"
        ),
        harmless="moe_capacity moe_gate moe_use_aux_free",
        left_out=_GUESSING,
    ),
    Family(("seed_oss",), "Seed-OSS", defaults={"num_key_value_heads": 8, "head_dim": 128}),
    Family(
        ("smollm3",),
        "SmolLM3",
        defaults={"num_key_value_heads": 4, "use_sliding_window": False},
        windows=WindowFields(ALL, switch="use_sliding_window"),
        harmless="no_rope_layers no_rope_layer_interval",
    ),
    Family(("internlm2", "internlm3"), "InternLM 2, 3"),
    Family(("stablelm",), "StableLM 2", harmless="use_parallel_residual"),
    Family(
        ("nemotron", "arcee"),
        "Nemotron-4, Minitron, Arcee AFM",
        defaults={"hidden_act": "relu2"},
        activations=RELU2,
        gated=False,
    ),
    Family(("apertus",), "Apertus", activations=("xielu",), gated=False),
    Family(
        ("gpt_neox",),
        "GPT-NeoX, Pythia",
        activations=GELU,
        gated=False,
        harmless="use_parallel_residual",
        left_out="biases",
    ),
    Family(
        ("gpt2", "gptj"),
        "GPT-2, GPT-J",
        fields=_GPT,
        defaults={"activation_function": "gelu_new"},
        activations=GELU,
        gated=False,
        ffn_multiple=4,
        harmless=f"{_SUMMARY} scale_attn_weights scale_attn_by_inverse_layer_idx reorder_and_upcast_attn",
        left_out="positions that are learnt, biases",
    ),
    Family(
        ("gpt_bigcode",),
        "StarCoder, SantaCoder",
        fields=_GPT,
        defaults={"activation_function": "gelu_pytorch_tanh"},
        activations=GELU,
        gated=False,
        further=("multi_query",),
        kv_heads=_multi_query,
        ffn_multiple=4,
        harmless=f"{_SUMMARY} scale_attn_weights scale_attention_softmax_in_fp32 inference_runner "
        "validate_runner_input pre_allocate_kv_cache max_batch_size",
        left_out="positions that are learnt, biases",
    ),
)
"""The rows."""

FAMILIES: Mapping[str, Family] = {name: row for row in FAMILY_ROWS for name in row.types}
"""Rows by ``model_type``."""
