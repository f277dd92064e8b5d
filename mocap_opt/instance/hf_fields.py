"""Fields of a ``config.json`` that cost nothing, and those that no cost can be made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HARMLESS = frozenset(
    # Of every configuration class: names, tokens, what generation does.
    "_name_or_path _attn_implementation _attn_implementation_autoset attn_implementation architectures "
    "auto_map transformers_version model_name name_or_path custom_pipelines bad_words_ids "
    "begin_suppress_tokens suppress_tokens chunk_size_feed_forward diversity_penalty do_sample "
    "early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty finetuning_task "
    "id2label label2id num_labels is_decoder length_penalty max_length min_length max_new_tokens "
    "no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions "
    "output_hidden_states output_router_logits output_scores output_past prefix problem_type "
    "remove_invalid_values repetition_penalty return_dict return_dict_in_generate task_specific_params "
    "temperature tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torchscript "
    "typical_p use_bfloat16 use_cache cache_implementation gradient_checkpointing pretraining_tp "
    "tensor_parallel_rank ep_size for_llm_compressor ignore_index unsloth_version unsloth_fixed "
    "keys_to_ignore_at_inference model_revision "
    # Positions.
    "max_position_embeddings original_max_position_embeddings max_sequence_length model_max_length "
    "seq_length n_positions n_ctx initial_context_length rope_theta rope_scaling rope_parameters "
    "rope_type rope_interleave rope_local_base_freq rope_pct rotary_pct rotary_percent rotary_emb_base "
    "rotary_dim rotary_base rope_ratio partial_rotary_factor position_embedding_type use_mrope "
    "mrope_section rope_traditional use_rope indexer_rope_interleave "
    # Numbers that scale, cap or route.
    "attn_logit_softcapping final_logit_softcapping query_pre_attn_scalar logit_scale logits_scaling "
    "embedding_multiplier residual_multiplier attention_multiplier attn_temperature_tuning floor_scale "
    "attn_scale swiglu_limit swiglu_alpha scale_emb scale_depth dim_model_base n_group topk_group "
    "topk_method scoring_func routed_scaling_factor seq_aux router_dtype moe_router_dtype "
    "moe_router_use_sigmoid use_grouped_topk moe_router_scaling_factor attention_softmax_in_fp32 "
    # Layers that guess further tokens, which prefill does not run.
    "num_nextn_predict_layers use_mtp mtp_transformer_layers num_mtp_modules mtp_loss_scaling_factor".split()
)
"""Fields that change no cost of prefill in any family."""

_HARMLESS_NAMES = re.compile(
    r"dropout|pdrop$|norm|bias|initializer|init_(std|method)|loss|jitter|_eps(ilon)?$|(^|_)tokens?$|_token_(ids?|index)$"
    r"|^use_unified_vision|^(vision|image|video|audio|visual|mm|img|vit)_|^projector_|^multimodal_projector"
)
"""Norms and biases are not counted, towers for images and sound are passed over."""

TOWERS = ("vision_config", "audio_config", "visual", "vit_config")
"""Where files describe what turns images and sound into tokens."""

INEXPRESSIBLE: Mapping[str, str] = {
    "attention_chunk_size": "chunked attention",
    "attn_type_list": "linear attention",
    "linear_attn_config": "linear attention",
    "full_attention_interval": "linear attention",
    "linear_num_value_heads": "linear attention",
    "linear_num_key_heads": "linear attention",
    "index_topk": "sparse attention",
    "sparse_attention_config": "sparse attention",
    "ssm_cfg": "state-space layers",
    "mamba_d_state": "state-space layers",
    "ssm_state_size": "state-space layers",
    "mamba_num_heads": "state-space layers",
    "hybrid_override_pattern": "layers of unlike kinds",
    "block_configs": "layers of unlike shapes",
    "cross_attention_layers": "cross-attention",
    "add_cross_attention": "cross-attention",
    "use_bidirectional_attention": "attention to later tokens",
    "num_kv_shared_layers": "KV shared between layers",
    "use_cla": "KV shared between layers",
    "is_encoder_decoder": "an encoder",
    "pruned_heads": "heads missing in some layers",
    "text_config": "a multi-modal model",
    "llm_config": "a multi-modal model",
    "shared_expert_intermediate_size": "a shared expert of another width",
}
"""Fields that ask for something that is not expressed unless the family says how, and for what."""

_TELLING_IF_FALSE = re.compile(r"gate|glu|causal")
"""Fields of such names say something costly by being false."""


def unknown_fields(config: Mapping[str, Any], understood: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Fields that may cost something and are not understood, and what was expected of each.

    A field outside both lists is passed over only where it is off: null, false, zero or empty.

    Parameters
    ----------
    config : mapping
        A language model's configuration.
    understood : frozenset of str
        Fields that the family reads or knows to be harmless.
    """
    for key, value in config.items():
        if key in understood or key in HARMLESS:
            continue
        if key == "is_causal":
            if value is not True:
                yield key, "true: attention to later tokens cannot be expressed"
        elif key in INEXPRESSIBLE:
            if value:
                yield key, f"none: {INEXPRESSIBLE[key]} cannot be expressed"
        elif _HARMLESS_NAMES.search(key) or key in TOWERS:
            continue
        elif value or (value is False and _TELLING_IF_FALSE.search(key)):
            yield key, "no field that this family is not known to have: what it costs is not known"
