"""Which layers of a ``config.json`` have a window or experts: a rule for each way in which files say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mocap_opt.instance.hf_reader import ConfigReader

MOST_LAYERS = 10_000
"""Layers up to which a file is read."""


class Rule(NamedTuple):
    """Which layers have something.

    Attributes
    ----------
    told : str
        In words, for the page about families.
    fields : tuple of str
        What of the file it reads.
    mark : callable
        From a reader and the number of layers to a truth value per layer.
    """

    told: str
    fields: tuple[str, ...]
    mark: Callable[[ConfigReader, int], list[bool]]


def _all(read: ConfigReader, layers: int) -> list[bool]:
    return [True] * layers


def _alternate(read: ConfigReader, layers: int) -> list[bool]:
    return [layer % 2 == 0 for layer in range(layers)]


def _from_layer(read: ConfigReader, layers: int) -> list[bool]:
    """Layers from ``max_window_layers`` on have the window (Qwen2)."""
    first = read.whole("max_window_layers", default=0, least=0)
    return [layer >= first for layer in range(layers)]


def _pattern(read: ConfigReader, layers: int) -> list[bool]:
    """All but every n-th layer, by a number or by letters (L local, G global) that repeat."""
    key = next((key for key in PATTERN_FIELDS if read.config.get(key) is not None), PATTERN_FIELDS[0])
    found = read.config.get(key)
    if isinstance(found, str) and found and set(found) <= {"L", "G"}:
        return [found[layer % len(found)] == "L" for layer in range(layers)]
    every = read.whole(key, default=1)
    return [(layer + 1) % every != 0 for layer in range(layers)]


PATTERN_FIELDS = ("sliding_window_pattern", "_sliding_window_pattern")


def _rotary(read: ConfigReader, layers: int) -> list[bool]:
    """Layers with rotary positions are chunked (Llama 4); every fourth has none unless the file says so."""
    listed = read.config.get("no_rope_layers")
    if listed:
        if isinstance(listed, list) and len(listed) == layers and all(flag in (0, 1) for flag in listed):
            return [bool(flag) for flag in listed]
        read.refuse("no_rope_layers", f"{layers} numbers, 1 for a layer with rotary positions, else 0")
        return [False] * layers
    every = read.whole("no_rope_layer_interval", default=4)
    return [(layer + 1) % every != 0 for layer in range(layers)]


ALL = Rule("all layers", (), _all)
ALTERNATE = Rule("every second layer, the first included", (), _alternate)
FROM_LAYER = Rule("layers from max_window_layers on", ("max_window_layers",), _from_layer)
PATTERN = Rule("all but every n-th layer", PATTERN_FIELDS, _pattern)
ROTARY = Rule(
    "layers with rotary positions, all but every fourth",
    ("no_rope_layers", "no_rope_layer_interval"),
    _rotary,
)


def _flags(read: ConfigReader, key: str, layers: int) -> list[bool] | None:
    """A list of 0 and 1, one for each layer; None if the field is no list."""
    listed = read.config.get(key)
    if not isinstance(listed, list):
        return None
    if len(listed) == layers and all(flag in (0, 1) for flag in listed):
        return [bool(flag) for flag in listed]
    read.refuse(key, f"{layers} numbers, 1 for a layer with experts, else 0")
    return [False] * layers


def _behind(read: ConfigReader, layers: int) -> list[bool]:
    """Leading layers are dense, of the others every ``moe_layer_freq``-th has experts (DeepSeek)."""
    kinds = read.config.get("mlp_layer_types")
    if kinds is not None:
        if isinstance(kinds, list) and len(kinds) == layers and {*map(str, kinds)} <= {"dense", "sparse"}:
            return [kind == "sparse" for kind in kinds]
        read.refuse("mlp_layer_types", f'"dense" or "sparse" for each of {layers} layers')
        return [False] * layers
    first = read.whole("first_k_dense_replace", least=0)
    if (flags := _flags(read, "moe_layer_freq", layers)) is not None:
        return [flag and layer >= first for layer, flag in enumerate(flags)]
    every = read.whole("moe_layer_freq", default=1)
    return [layer >= first and layer % every == 0 for layer in range(layers)]


def _sparse_steps(read: ConfigReader, layers: int) -> list[bool]:
    """Every ``decoder_sparse_step``-th layer but those listed as dense (Qwen)."""
    listed = read.config.get("mlp_only_layers") or []
    whole = isinstance(listed, list) and all(type(n) is int and 0 <= n < layers for n in listed)
    if not whole:
        read.refuse("mlp_only_layers", f"a list of layers from 0 to {layers - 1}")
        listed = []
    every, dense = read.whole("decoder_sparse_step", default=1), {*listed}
    return [(layer + 1) % every == 0 and layer not in dense for layer in range(layers)]


def _interleaved(read: ConfigReader, layers: int) -> list[bool]:
    """The layers listed, or every ``interleave_moe_layer_step``-th (Llama 4)."""
    listed = read.config.get("moe_layers")
    if listed is not None:
        if isinstance(listed, list) and all(type(n) is int and 0 <= n < layers for n in listed):
            return [layer in {*listed} for layer in range(layers)]
        read.refuse("moe_layers", f"a list of layers from 0 to {layers - 1}")
        return [False] * layers
    every = read.whole("interleave_moe_layer_step", default=1)
    return [(layer + 1) % every == 0 for layer in range(layers)]


def _between(read: ConfigReader, layers: int) -> list[bool]:
    """Every ``moe_layer_interval``-th layer between a first and a last one, -1 for the model's (Ernie)."""
    first = read.whole("moe_layer_start_index", default=1, least=0)
    last = read.whole("moe_layer_end_index", default=-1, least=-1)
    every = read.whole("moe_layer_interval", default=1)
    last = layers - 1 if last < 0 else last
    return [(layer + 1) % every == 0 and first <= layer <= last for layer in range(layers)]


BEHIND = Rule(
    "behind leading dense layers, at a step",
    ("first_k_dense_replace", "moe_layer_freq", "mlp_layer_types"),
    _behind,
)
SPARSE_STEPS = Rule(
    "at a step, but those listed as dense", ("decoder_sparse_step", "mlp_only_layers"), _sparse_steps
)
INTERLEAVED = Rule("at a step, or listed", ("interleave_moe_layer_step", "moe_layers"), _interleaved)
BETWEEN = Rule(
    "between a first and a last layer, at a step",
    ("moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval"),
    _between,
)

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
SPARSE = "deepseek_sparse_attention"


def listed_windows(read: ConfigReader, layers: int, kind: str, others: str = FULL) -> list[bool] | None:
    """Layers with a window by ``layer_types``; None where the field is absent.

    Parameters
    ----------
    read : ConfigReader
    layers : int
    kind : str
        What stands for a layer with a window: ``sliding_attention`` or ``chunked_attention``;
        empty: none may.
    others : str
        What stands for the other layers.
    """
    types = read.config.get("layer_types")
    if types is None:
        return None
    known = {others, kind} - {""}
    if not isinstance(types, list) or len(types) != layers or not {*map(str, types)} <= known:
        names = " or ".join(f'"{name}"' for name in sorted(known))
        read.refuse("layer_types", f"{names} for {'every layer' if not kind else f'each of {layers} layers'}")
        return [False] * layers
    return [each == kind for each in types]
