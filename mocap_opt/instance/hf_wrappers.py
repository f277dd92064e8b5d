"""Models with a tower around their language model, and families that cannot be expressed."""

from __future__ import annotations

from collections.abc import Mapping

WRAPPERS: Mapping[str, tuple[str, str]] = {
    "mistral3": ("text_config", "mistral"),
    "qwen2_vl": ("text_config", "qwen2_vl_text"),
    "qwen2_5_vl": ("text_config", "qwen2_5_vl_text"),
    "qwen3_vl": ("text_config", "qwen3_vl_text"),
    "qwen3_vl_moe": ("text_config", "qwen3_vl_moe_text"),
    "gemma3": ("text_config", "gemma3_text"),
    "llama4": ("text_config", "llama4_text"),
    "llava": ("text_config", "llama"),
    "llava_next": ("text_config", "llama"),
    "llava_onevision": ("text_config", "qwen2"),
    "idefics3": ("text_config", "llama"),
    "smolvlm": ("text_config", "llama"),
    "paligemma": ("text_config", "gemma"),
    "aya_vision": ("text_config", "cohere2"),
    "internvl": ("text_config", "qwen2"),
    "internvl_chat": ("llm_config", "qwen2"),
    "glm4v": ("text_config", "glm4v_text"),
    "glm4v_moe": ("text_config", "glm4v_moe_text"),
    "kimi_vl": ("text_config", "deepseek_v3"),
    "kimi_k25": ("text_config", "kimi_k2"),
}
"""Models with a tower: where their language model stands, and its ``model_type`` unless the file says."""

_STATE_SPACE = "state-space layers"
_LINEAR = "linear attention"
REFUSED_FAMILIES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "mamba mamba2 falcon_mamba falcon_h1 nemotron_h jamba bamba zamba zamba2 granitemoehybrid plamo2 "
            "phi4flash"
        ).split(),
        _STATE_SPACE,
    ),
    **dict.fromkeys(
        (
            "rwkv rwkv5 rwkv7 qwen3_next qwen3_5 qwen3_5_moe qwen3_5_text qwen3_5_moe_text kimi_linear "
            "kimi_k3 minimax minimax_text_01 minimax_m1 bailing_moe_linear"
        ).split(),
        _LINEAR,
    ),
    **dict.fromkeys(("recurrent_gemma", "lfm2", "lfm2_moe"), "recurrent or convolutional layers"),
    **dict.fromkeys(("mllama", "mllama_text_model"), "cross-attention"),
    **dict.fromkeys(("t5", "mt5", "bart", "whisper", "t5gemma", "seamless_m4t"), "an encoder"),
    **dict.fromkeys(("bert", "roberta", "modernbert", "deberta-v2"), "attention to later tokens"),
    **dict.fromkeys(("gemma3n", "gemma3n_text"), "KV shared between layers"),
    **dict.fromkeys(("gemma4", "gemma4_text", "mimo_v2_flash"), "heads of unlike sizes"),
    **dict.fromkeys(("nemotron-nas", "deci"), "layers of unlike shapes"),
    **dict.fromkeys(("minimax_m3", "minimax_m3_vl"), "attention to chosen blocks"),
    **dict.fromkeys(("deepseek_v4", "deepseek_ref"), "compressed KV"),
    "longcat_flash": "two attentions in a layer and experts that do nothing",
}
"""Families that are known and cannot be expressed, and why."""
