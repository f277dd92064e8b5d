"""The figures of a language model, read from its ``config.json`` by the row of its family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from mocap_opt.instance.hf_family import Family
from mocap_opt.instance.hf_fields import unknown_fields
from mocap_opt.instance.hf_layers import CHUNKED, FULL, MOST_LAYERS, SPARSE, listed_windows
from mocap_opt.instance.hf_reader import ConfigReader
from mocap_opt.messages import MOST_PROBLEMS, show

REMEDY = 'give the model\'s figures, or "ignore": ["the field"] beside "config" if it costs nothing'


def figures(family: Family, read: ConfigReader) -> dict[str, Any]:
    """Fields of a `ModelSpec`; what is wrong is noted by the reader.

    Parameters
    ----------
    family : Family
    read : ConfigReader
        Of the language model's configuration, with the defaults of its class.
    """
    layers = read.whole(family.name_of("layers"), most=MOST_LAYERS)
    profile = _windows(family, read, layers)
    _checked(family, read, layers)
    hidden, heads = read.whole(family.name_of("hidden")), read.whole(family.name_of("heads"))
    experts = _experts(family, read, layers)
    latent = _latent(read) if family.latent else None
    if latent is not None:
        head_dim = (latent["nope_dim"] or 0) + (latent["rope_dim"] or 0)
    else:
        head_dim = read.whole(family.name_of("head_dim"), default=max(hidden // heads, 1))
    dense = experts is None or "layers" in experts or "dense_layers" in experts
    width = family.ffn_multiple * hidden or None
    spec: dict[str, Any] = {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": _kv_heads(family, read),
        "head_dim": head_dim,
        "ffn": read.whole(family.name_of("ffn"), default=width) if dense else 0,
        "gated": _gated(family, read),
        "vocabulary": read.whole(family.name_of("vocabulary")),
        "experts": experts,
        "latent": latent,
    }
    spec |= {"profile": profile} if profile else {}
    return spec | ({"sparse": _indexer(read)} if family.indexer else {})


def _windows(family: Family, read: ConfigReader, layers: int) -> list[dict[str, Any]]:
    """The layer profile: runs of layers that see a window."""
    fields, config = family.windows, read.config
    if fields is None:
        _no_windows(read, layers, family.indexer)
        return []
    marks = listed_windows(read, layers, fields.kind)
    off = config.get(fields.size) in (None, False)
    if off or (fields.switch and not config.get(fields.switch)):
        if marks is not None and any(marks):
            read.refuse(fields.size, f'a window, for layers of type "{fields.kind}"')
        return []
    if marks is None:
        marks = fields.rule.mark(read, layers)
    if not any(marks):
        return []
    size, heads = read.whole(fields.size), _kv_heads(family, read)
    key = "chunk" if fields.kind == CHUNKED else "tokens"
    return [{"layers": list(run), "windows": [{"kv_heads": heads, key: size}]} for run in _runs(marks)]


def _runs(marks: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last of every run of layers that are marked."""
    place = 0
    for marked, run in groupby(marks):
        length = len(list(run))
        if marked:
            yield place, place + length - 1
        place += length


def _no_windows(read: ConfigReader, layers: int, sparse: bool) -> None:
    """Refuse windows in a family of which no form with windows is known."""
    config = read.config
    window, first = config.get("sliding_window"), config.get("max_window_layers")
    # Layers from max_window_layers on have the window, so none has it if there are no such layers.
    beyond = isinstance(first, int) and first >= layers and bool(config.get("use_sliding_window"))
    if window not in (None, False) and config.get("use_sliding_window") is not False and not beyond:
        read.refuse("sliding_window", "no sliding window in use (null, or use_sliding_window false)")
    chosen = sparse and config.get("layer_types") == [SPARSE] * layers
    listed_windows(read, layers, "", SPARSE if chosen else FULL)


def _kv_heads(family: Family, read: ConfigReader) -> int:
    heads = read.whole(family.name_of("heads"))
    if family.kv_heads is not None:
        return family.kv_heads(read, heads)
    return read.whole(family.name_of("kv_heads"), default=heads)


def _checked(family: Family, read: ConfigReader, layers: int) -> None:
    """Refuse fields that are not understood, and those that ask for what is not expressed."""
    config = read.config
    for key, expected in islice(unknown_fields(config, family.understood), MOST_PROBLEMS + 1):
        read.refuse(key, expected, REMEDY if expected.startswith("no field") else "")
    for key, value in family.fixed.items():
        if config.get(key, value) != value:
            read.refuse(key, f"{show(value)}: nothing else can be expressed", REMEDY)
    for key, other in family.alike.items():
        if config.get(key) is not None and config[key] != config.get(other, config[key]):
            read.refuse(key, f"what {other} says, {show(config[other])}")
    for key, only in LAYERS_ALIKE.items():
        listed = config.get(key)
        if key in family.further and listed is not None and listed != [only] * layers:
            read.refuse(key, f"{show(only)} for every layer: {LAYERS_UNLIKE[key]} cannot be expressed")


LAYERS_ALIKE: dict[str, object] = {"attn_type_list": 1, "indexer_types": "full"}
"""Lists with an entry for every layer, which must be this."""
LAYERS_UNLIKE = {
    "attn_type_list": "linear attention",
    "indexer_types": "an index that layers share",
}


def _experts(family: Family, read: ConfigReader, layers: int) -> dict[str, Any] | None:
    fields = family.experts
    if fields is None:
        return None
    found: dict[str, Any] = {
        "count": read.whole(fields.count),
        "active": read.whole(fields.active),
        "ffn": read.whole(fields.ffn),
    }
    shared = fields.shared
    if shared := read.whole(shared, default=0, least=0) if isinstance(shared, str) else shared:
        found["shared"] = shared
    if fields.shared_width and (width := read.whole(fields.shared_width, default=0, least=0)):
        found |= {"shared": 1, "shared_ffn": width}
    if fields.rule is None:
        return found
    have = [layer for layer, marked in enumerate(fields.rule.mark(read, layers)) if marked]
    if not have:
        # Their figures are read, so that mistakes in them show.
        return None
    if have == list(range(have[0], layers)):
        return found | ({"dense_layers": have[0]} if have[0] else {})
    return found | {"layers": have}


def _latent(read: ConfigReader) -> dict[str, int | None]:
    rank = read.config.get("q_lora_rank")
    return {
        "kv_rank": read.whole("kv_lora_rank"),
        "query_rank": None if rank is None else read.whole("q_lora_rank"),
        "nope_dim": read.whole("qk_nope_head_dim"),
        "rope_dim": read.whole("qk_rope_head_dim"),
        "value_dim": read.whole("v_head_dim"),
    }


def _indexer(read: ConfigReader) -> dict[str, int]:
    return {
        "top_k": read.whole("index_topk"),
        "index_heads": read.whole("index_n_heads"),
        "index_dim": read.whole("index_head_dim"),
    }


def _gated(family: Family, read: ConfigReader) -> bool:
    """Whether feed-forward networks have a gate; another activation is another model."""
    key = family.name_of("activation")
    if family.activations and read.config.get(key) not in (None, *family.activations):
        kind = "a gated" if family.gated else "an ungated"
        read.refuse(key, f"{show(family.activations[0])} ({kind} feed-forward network)")
    return family.gated
