"""A model from its Hugging Face ``config.json``.

What the cost model cannot express is refused by the name of the field that asks for it; fields
that change no cost (rotary scaling, dropout, token numbers, ...) are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json
from mocap_opt.instance.hf_quantization import kv_bytes, read_quantization
from mocap_opt.instance.hf_reader import PATH, Config, ConfigReader
from mocap_opt.instance.schema import ModelSpec
from mocap_opt.messages import show

NAMED_TYPES = {
    "bfloat16": 2.0,
    "float16": 2.0,
    "half": 2.0,
    "float32": 4.0,
    "float": 4.0,
    "float8_e4m3fn": 1.0,
    "float8_e5m2": 1.0,
}
"""Bytes of what ``dtype`` (``torch_dtype`` until transformers 4.56) may name."""

ASSUMED = 2.0
"""Bytes of a number where no type is named."""

USED = frozenset(
    "model_type num_hidden_layers hidden_size num_attention_heads num_key_value_heads head_dim "
    "intermediate_size hidden_act vocab_size num_local_experts num_experts num_experts_per_tok "
    "n_routed_experts n_shared_experts moe_intermediate_size first_k_dense_replace mlp_only_layers "
    "kv_lora_rank q_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim dtype torch_dtype "
    "quantization_config sliding_window use_sliding_window max_window_layers layer_types".split()
)
"""Fields that figures are made of, whatever the family."""
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral", "deepseek_v3")


def _sliding(config: Config) -> str:
    """Why the sliding window is in use, or nothing."""
    window = config.get("sliding_window")
    if window is None or window is False or config.get("use_sliding_window") is False:
        return ""
    # Layers from max_window_layers on have the window, so none has it if there are no such layers.
    first, layers = config.get("max_window_layers"), config.get("num_hidden_layers")
    if (
        isinstance(first, int)
        and isinstance(layers, int)
        and config.get("use_sliding_window")
        and first >= layers
    ):
        return ""
    return "no sliding window in use (null, or use_sliding_window false)"


def _layer_types(config: Config) -> str:
    types = config.get("layer_types")
    if types is None:
        return ""
    full = isinstance(types, list) and all(kind == "full_attention" for kind in types)
    if full and len(types) == config.get("num_hidden_layers"):
        return ""
    return '"full_attention" for every layer'


def _absent(key: str, meaning: str) -> Callable[[Config], str]:
    """Refuse a field that is anything but absent, null, false, zero or empty."""

    def check(config: Config) -> str:
        return f"none: {meaning} cannot be expressed" if config.get(key) else ""

    return check


def _always(key: str, value: Any, meaning: str) -> Callable[[Config], str]:
    """Refuse a field that is neither absent nor the one value that can be expressed."""

    def check(config: Config) -> str:
        return f"{show(value)}: {meaning} cannot be expressed" if config.get(key, value) != value else ""

    return check


REFUSED: tuple[tuple[str, Callable[[Config], str]], ...] = (
    ("sliding_window", _sliding),
    ("layer_types", _layer_types),
    *(
        (key, _absent(key, meaning))
        for key, meaning in (
            ("attention_chunk_size", "chunked attention"),
            ("attn_type_list", "linear attention"),
            ("linear_attn_config", "linear attention"),
            ("full_attention_interval", "linear attention"),
            ("linear_num_value_heads", "linear attention"),
            ("linear_num_key_heads", "linear attention"),
            ("index_topk", "sparse attention"),
            ("sparse_attention_config", "sparse attention"),
            ("ssm_cfg", "state-space layers"),
            ("mamba_d_state", "state-space layers"),
            ("cross_attention_layers", "cross-attention"),
            ("num_kv_shared_layers", "KV shared between layers"),
            ("is_encoder_decoder", "an encoder"),
            ("text_config", "a multi-modal model"),
            ("vision_config", "a multi-modal model"),
            ("shared_expert_intermediate_size", "a shared expert of another width"),
        )
    ),
    ("moe_layer_freq", _always("moe_layer_freq", 1, "experts in some layers only")),
    ("decoder_sparse_step", _always("decoder_sparse_step", 1, "experts in some layers only")),
    ("is_causal", _always("is_causal", True, "attention to later tokens")),
)


def _activation(read: ConfigReader) -> bool:
    """All the families read here gate their feed-forward networks; another activation is another model."""
    name = read.config.get("hidden_act", "silu")
    if name not in ("silu", "swish"):
        read.refuse("hidden_act", '"silu" (a gated feed-forward network)')
    return True


def _dense_layers_listed(read: ConfigReader) -> int:
    """Leading dense layers of a Qwen mixture of experts."""
    listed = read.config.get("mlp_only_layers") or []
    if not isinstance(listed, list) or listed != list(range(len(listed))):
        read.refuse(
            "mlp_only_layers", "leading layers only (0, 1, ...): other dense layers cannot be expressed"
        )
        return 0
    return len(listed)


def _experts(family: str, read: ConfigReader) -> dict[str, int] | None:
    if family == "mixtral":
        return {
            "count": read.whole("num_local_experts"),
            "active": read.whole("num_experts_per_tok"),
            "ffn": read.whole("intermediate_size"),
        }
    if family == "qwen3_moe":
        return {
            "count": read.whole("num_experts"),
            "active": read.whole("num_experts_per_tok"),
            "ffn": read.whole("moe_intermediate_size"),
            "dense_layers": _dense_layers_listed(read),
        }
    if family == "deepseek_v3":
        return {
            "count": read.whole("n_routed_experts"),
            "active": read.whole("num_experts_per_tok"),
            "shared": read.whole("n_shared_experts", default=0, least=0),
            "ffn": read.whole("moe_intermediate_size"),
            "dense_layers": read.whole("first_k_dense_replace", default=0, least=0),
        }
    return None


def _latent(read: ConfigReader) -> dict[str, int | None]:
    rank = read.config.get("q_lora_rank")
    return {
        "kv_rank": read.whole("kv_lora_rank"),
        "query_rank": None if rank is None else read.whole("q_lora_rank"),
        "nope_dim": read.whole("qk_nope_head_dim"),
        "rope_dim": read.whole("qk_rope_head_dim"),
        "value_dim": read.whole("v_head_dim"),
    }


def _precision(read: ConfigReader, model: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Bytes of numbers as a checkpoint stores them, and where each was read."""
    key = "dtype" if "dtype" in read.config else "torch_dtype"
    named = read.config.get(key)
    found: dict[str, Any] = {}
    told: list[str] = []
    if named is not None:
        size = NAMED_TYPES.get(str(named).removeprefix("torch."))
        if size is None:
            read.refuse(key, f"one of {', '.join(NAMED_TYPES)}", "or leave it out and give precision")
        else:
            found = {"weights": size, "kv": size, "activations": size}
            told.append(f"precision of {named} ({key})")
    if read.config.get("quantization_config") is None:
        return found, told
    if named is None:
        told.append(f"{ASSUMED:g} bytes taken for what is not quantised (no dtype is named)")
    kept = found.get("weights", ASSUMED)
    quantization = read_quantization(read, kept)
    kv = None if quantization is None else kv_bytes(read)
    if read.problems or quantization is None:
        return found, told
    try:
        means, account = quantization.bytes_per_weight(ModelSpec.model_validate(model))
    except ValidationError:
        # Reported where the model's figures are checked.
        return found, told
    least, most = min(means), max(means)
    found |= {"weights": most if least == most else means, "embedding": kept}
    span = f"{most:.6g}" if least == most else f"{least:.6g} to {most:.6g}"
    told.append(
        f"weights of {span} bytes, scales included (quantization_config, {quantization.method}), {account}"
    )
    if kv is not None:
        found["kv"] = kv
        told.append(f"KV of {kv:g} bytes (kv_cache_scheme)")
    return found, told


def _notes(config: Config, told: list[str]) -> str:
    """What was read besides figures, and which fields the cost model does not use."""
    notes = [f"from a {config.get('model_type')} config.json"]
    if told:
        notes.append("where precision is not given: " + ", ".join(told))
    if config.get("tie_word_embeddings") is True:
        notes.append(
            "embedding and head counted apart (tie_word_embeddings: each end of the pipeline has one)"
        )
    unused = sorted(key for key in config if key not in USED | {"tie_word_embeddings"})
    if unused:
        notes.append("not used: " + ", ".join(unused))
    return "; ".join(notes)


def model_from_config(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the fields of a `ModelSpec` and of a `PrecisionSpec` from a parsed ``config.json``.

    Parameters
    ----------
    config : mapping

    Returns
    -------
    model : dict
        With a description that says what was read from where, and what was not used.
    precision : dict
        Bytes per element, as far as the file says; of the weights one number, or one per layer.

    Raises
    ------
    InputError
        Listing all fields that are missing, malformed or beyond the cost model.
    """
    family = config.get("model_type")
    read = ConfigReader(config)
    if family not in FAMILIES:
        read.refuse("model_type", f"one of {', '.join(FAMILIES)}", "give the model's figures instead")
        raise InputError(read.problems)
    for key, check in REFUSED:
        if expected := check(config):
            read.refuse(key, expected)
    hidden, heads = read.whole("hidden_size"), read.whole("num_attention_heads")
    experts = _experts(family, read)
    latent = _latent(read) if family == "deepseek_v3" else None
    if latent is not None:
        head_dim = (latent["nope_dim"] or 0) + (latent["rope_dim"] or 0)
    else:
        head_dim = read.whole("head_dim", default=max(hidden // heads, 1))
    dense = experts is None or experts.get("dense_layers", 0) > 0
    spec: dict[str, Any] = {
        "name": f"{family} config",
        "layers": read.whole("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": read.whole("num_key_value_heads", default=heads),
        "head_dim": head_dim,
        "ffn": read.whole("intermediate_size") if dense else 0,
        "gated": _activation(read),
        "vocabulary": read.whole("vocab_size"),
        "experts": experts,
        "latent": latent,
    }
    precision, told = _precision(read, spec)
    if read.problems:
        raise InputError(read.problems)
    return spec | {"description": _notes(config, told)}, precision


def read_config(path: object, base_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a ``config.json``, or the one in a model's directory.

    Parameters
    ----------
    path : str
        Relative paths start from `base_dir`.
    base_dir : Path

    Raises
    ------
    InputError
        If there is no such file, or as `model_from_config`.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        raise InputError([Problem(PATH, show(path), "the path of a config.json", 'write "config.json"')])
    full = base_dir / path
    try:
        is_directory = full.is_dir()
    except OSError:
        is_directory = False
    return model_from_config(read_json(full / "config.json" if is_directory else full))
