"""Malformed instance files: what stands in the file, and the place every message must name."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

BASE: dict[str, Any] = {
    "version": 1,
    "name": "base",
    "model": {
        "layers": 8,
        "hidden": 64,
        "heads": 8,
        "kv_heads": 4,
        "head_dim": 8,
        "ffn": 256,
        "vocabulary": 100,
        "experts": {"count": 4, "active": 2, "ffn": 32, "dense_layers": 1},
    },
    "precision": {"weights": "bf16", "kv": "fp8", "activations": 2},
    "wafer": {
        "topology": "mesh",
        "rows": 2,
        "cols": 3,
        "die": {"flops": "1 TFLOP/s", "memory_bytes": "1 GB", "memory_bandwidth": "1 TB/s"},
        "link": {"bandwidth": "100 GB/s", "hop_latency": "15 ns"},
        "dead_dies": [[1, 2]],
        "dead_links": [[[0, 0], [1, 0]]],
        "slow_links": [{"between": [[0, 0], [0, 1]], "bandwidth": "50 GB/s"}],
    },
    "pipeline": {
        "stages": 2,
        "dies_per_stage": [2, 1],
        "layers": [5, 3],
        "placement": [[[0, 0], [0, 1]], [[0, 2]]],
    },
    "workload": {"tokens": "8k"},
    "chunking": {"max_chunks": 4, "quantum": 1024, "page": 256, "shortest": 1024, "longest": 4096},
    "costs": {"kind": "roofline", "efficiency": 0.5, "overhead": "20 us"},
}
DELETED = object()


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """BASE with values set (or `DELETED`) at dotted paths; numbers in a path index lists."""
    data = copy.deepcopy(BASE)
    for path, value in changes:
        *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        here: Any = data
        for step in way:
            here = here[step]
        if value is DELETED:
            del here[last]
        elif isinstance(here, list) and last == len(here):
            here.append(value)
        else:
            here[last] = value
    return data


def _file(*changes: tuple[str, Any]) -> bytes:
    return json.dumps(changed(*changes)).encode()


_TEXT = json.dumps(BASE)
_SWITCH = (("wafer.topology", "switch"), ("wafer.rows", 1), ("wafer.cols", 6), ("wafer.dead_dies", []))

# Broken files: the message names the file (its name is part of the source) or the place in it.
_FILES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "valid JSON"),
    ("not-json", b"stages: 4", "valid JSON"),
    ("cut-off", _TEXT[:-30].encode(), "valid JSON"),
    ("trailing-comma", _TEXT.replace('"name": "base",', '"name": "base",,', 1).encode(), "line 1"),
    ("list-at-the-top", b"[1, 2]", "a JSON object at the top level"),
    ("number-at-the-top", b"3", "a JSON object at the top level"),
    ("utf-16", _TEXT.encode("utf-16"), "UTF-8"),
    ("latin-1", _TEXT.replace("base", "bäse").encode("latin-1"), "UTF-8"),
    ("nested-too-deep", b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "levels of nesting"),
    ("unclosed-nesting", b'{"a":' * 50_000, "levels of nesting"),
    ("number-of-5000-digits", _TEXT.replace('"stages": 2', f'"stages": {"9" * 5000}').encode(), "digits"),
    ("repeated-key", _TEXT.replace('"stages": 2', '"stages": 2, "stages": 3').encode(), "pipeline.stages"),
    ("repeated-section", _TEXT.replace("{", '{"workload": {"tokens": 1}, ', 1).encode(), "workload"),
    ("file-too-large", b" " * (16 * 2**20 + 1), "at most 16 MiB"),
]


_TIMES = {"lengths": [1024], "prefixes": [0], "seconds": [[0.5]]}
_MEASURED = {"kind": "measured", "stages": _TIMES}


def _measured(**changes: Any) -> dict[str, Any]:
    """Measured costs with one thing changed."""
    return {"kind": "measured", "stages": {**_TIMES, **changes}}


EXPERTS = {"count": 4, "active": 2, "ffn": 32}

# One change to BASE each.
_VALUES: list[tuple[str, str, Any, str]] = [
    ("no-version", "version", DELETED, "version"),
    ("later-version", "version", 2, "version"),
    ("version-true", "version", True, "version"),
    ("no-name", "name", DELETED, "name"),
    ("empty-name", "name", "", "name"),
    ("name-with-escape", "name", "\x1b[31mred", "name"),
    ("name-half-surrogate", "name", "\ud800", "name"),
    ("name-number", "name", 7, "name"),
    ("long-description", "description", "x" * 10_001, "description"),
    ("unknown-section", "workloads", {}, "workloads"),
    ("mistyped-key", "pipeline.stage", 3, "pipeline.stage: expected no such key"),
    ("misplaced-key", "pipeline.tokens", 3, "it belongs at workload.tokens"),
    ("odd-key", "wafer.die.a b\n", 3, 'wafer.die."a b\\n"'),
    ("half-surrogate-key", "wafer.\udfff", 3, 'wafer."\\udfff"'),
    ("section-a-number", "pipeline", 3, "pipeline"),
    ("section-null", "workload", None, "workload"),
    ("section-a-list", "wafer.die", [1], "wafer.die"),
    ("no-section", "chunking", DELETED, "chunking"),
    ("no-field", "workload.tokens", DELETED, "workload.tokens"),
    ("unknown-model", "model", "lama-3.1-70b", 'did you mean "llama-3.1-70b"?'),
    ("unknown-wafer", "wafer", "watos", "wafer"),
    ("unknown-preset", "wafer", {"preset": 3}, "wafer.preset"),
    ("model-a-list", "model", [], "model"),
    ("preset-and-config", "model", {"preset": "llama-3.1-8b", "config": "config.json"}, "model"),
    ("config-missing", "model", {"config": "nowhere/config.json"}, "config.json"),
    ("config-a-number", "model", {"config": 3}, "model.config"),
    ("config-with-nul", "model", {"config": "a\0b"}, "model.config"),
    ("layers-a-string", "model.layers", "80", "model.layers"),
    ("layers-a-fraction", "model.layers", 1.5, "model.layers"),
    ("layers-a-bool", "model.layers", True, "model.layers"),
    ("layers-zero", "model.layers", 0, "model.layers"),
    ("hidden-negative", "model.hidden", -64, "model.hidden"),
    ("hidden-huge", "model.hidden", 10**30, "model.hidden"),
    ("gated-a-number", "model.gated", 1, "model.gated"),
    ("heads-not-divided", "model.kv_heads", 3, "model.kv_heads"),
    ("ffn-zero", "model.ffn", 0, "model.ffn"),
    ("more-active-experts", "model.experts.active", 5, "model.experts.active"),
    ("more-dense-layers", "model.experts.dense_layers", 9, "model.experts.dense_layers"),
    ("experts-of-no-layer", "model.experts", {**EXPERTS, "layers": []}, "model.experts.layers"),
    ("experts-twice", "model.experts", {**EXPERTS, "layers": [1, 1]}, "model.experts.layers"),
    ("experts-beyond", "model.experts", {**EXPERTS, "layers": [0, 99]}, "model.experts.layers"),
    ("no-shared-expert", "model.experts.shared_ffn", 8, "model.experts.shared_ffn"),
    ("latent-incomplete", "model.latent", {"kv_rank": 4}, "model.latent.value_dim"),
    ("unknown-precision", "precision.kv", "bf61", "precision.kv"),
    ("zero-precision", "precision.weights", 0, "precision.weights"),
    ("unknown-topology", "wafer.topology", "ring", "wafer.topology"),
    ("rows-null", "wafer.rows", None, "wafer.rows"),
    (
        "memory-zero",
        "wafer.die.memory_bytes",
        0,
        'wafer.die.memory_bytes: expected > 0, got 0 (write 70e9 or "70 GB")',
    ),
    ("memory-in-bits", "wafer.die.memory_bytes", "70 Gb", "not bits"),
    ("memory-in-seconds", "wafer.die.memory_bytes", "70 s", "wafer.die.memory_bytes"),
    ("memory-a-fraction", "wafer.die.memory_bytes", 0.5, "wafer.die.memory_bytes"),
    ("memory-infinite", "wafer.die.memory_bytes", math.inf, "wafer.die.memory_bytes"),
    ("flops-nan", "wafer.die.flops", math.nan, "wafer.die.flops"),
    ("flops-huge", "wafer.die.flops", 1e300, "wafer.die.flops"),
    ("bandwidth-without-s", "wafer.link.bandwidth", "1 TB", "wafer.link.bandwidth"),
    ("latency-negative", "wafer.link.hop_latency", "-1 ns", "wafer.link.hop_latency"),
    ("dead-die-outside", "wafer.dead_dies.1", [2, 0], "wafer.dead_dies[1]"),
    ("dead-die-twice", "wafer.dead_dies.1", [1, 2], "wafer.dead_dies[1]"),
    ("dead-die-bool", "wafer.dead_dies.1", [True, 0], "wafer.dead_dies[1]"),
    ("dead-die-one-number", "wafer.dead_dies.1", [1], "wafer.dead_dies[1]"),
    ("dead-dies-not-a-list", "wafer.dead_dies", {"0": 1}, "wafer.dead_dies"),
    ("all-dies-dead", "wafer.dead_dies", [[r, c] for r in range(2) for c in range(3)], "wafer.dead_dies"),
    ("dead-link-diagonal", "wafer.dead_links.1", [[0, 0], [1, 1]], "wafer.dead_links[1]"),
    ("dead-link-outside", "wafer.dead_links.1", [[0, 2], [0, 3]], "wafer.dead_links[1]"),
    ("dead-link-one-end", "wafer.dead_links.1", [[0, 2]], "wafer.dead_links[1]"),
    ("dead-link-loop", "wafer.dead_links.1", [[0, 1], [0, 1]], "wafer.dead_links[1]"),
    ("dead-link-twice", "wafer.dead_links.1", [[1, 0], [0, 0]], "wafer.dead_links[1]"),
    ("slow-link-too-far", "wafer.slow_links.0.between", [[0, 0], [0, 2]], "wafer.slow_links[0].between"),
    ("slow-link-fast", "wafer.slow_links.0.bandwidth", "1 TB/s", "wafer.slow_links[0].bandwidth"),
    ("slow-link-unnamed", "wafer.slow_links.0.between", DELETED, "wafer.slow_links[0].between"),
    ("stages-above-layers", "model.layers", 1, "pipeline.stages"),
    ("stages-too-many", "pipeline.stages", 513, "pipeline.stages"),
    ("layers-sum", "pipeline.layers", [5, 4], "pipeline.layers"),
    ("layers-length", "pipeline.layers", [5, 2, 1], "pipeline.layers"),
    ("layers-zero-in-stage", "pipeline.layers", [8, 0], "pipeline.layers[1]"),
    ("layers-word", "pipeline.layers", "even", "pipeline.layers"),
    ("dies-length", "pipeline.dies_per_stage", [2], "pipeline.dies_per_stage"),
    ("dies-too-many", "pipeline.dies_per_stage", 3, "pipeline.stages: expected at most 5"),
    ("placement-length", "pipeline.placement.2", [[1, 0]], "pipeline.placement"),
    ("placement-shape", "pipeline.placement.0", [[0, 0]], "pipeline.placement[0]"),
    ("placement-flat", "pipeline.placement", [[0, 0], [0, 1]], "pipeline.placement[0][0]"),
    ("placement-on-dead-die", "pipeline.placement.1.0", [1, 2], "pipeline.placement[1][0]"),
    ("placement-outside", "pipeline.placement.1.0", [0, 3], "pipeline.placement[1][0]"),
    ("placement-twice", "pipeline.placement.1.0", [0, 1], "pipeline.placement[1][0]"),
    ("profile-layer-missing", "model.profile", [{"layers": [0, 8]}], "model.profile[0].layers"),
    ("profile-layers-backwards", "model.profile", [{"layers": [3, 2]}], "model.profile[0].layers"),
    (
        "profile-layers-twice",
        "model.profile",
        [{"layers": [0, 3]}, {"layers": [3, 7]}],
        "model.profile[1].layers: expected layers of no other entry; model.profile[0] has [0, 3]",
    ),
    ("profile-keeps-nothing", "model.profile", [{"layers": [0, 7], "keep": 0}], "model.profile[0].keep"),
    (
        "profile-keeps-more-later",
        "model.profile",
        [{"layers": [4, 7], "keep": 0.5}, {"layers": [0, 3], "keep": 0.25}],
        "model.profile[0].keep: expected at most 0.25, which model.profile[1] keeps",
    ),
    ("profile-tokens-return", "model.profile", [{"layers": [0, 3], "keep": 0.5}], "no entry for layer 4"),
    (
        "windows-without-heads",
        "model.profile",
        [{"layers": [0, 3], "windows": [{"kv_heads": 3, "tokens": 8}, {"kv_heads": 2, "chunk": 8}]}],
        "model.profile[0].windows: expected at most model.kv_heads (4) together, got 5",
    ),
    (
        "window-of-no-width",
        "model.profile",
        [{"layers": [0, 3], "windows": [{"kv_heads": 3}]}],
        "model.profile[0].windows[0]",
    ),
    ("queue-zero", "pipeline.queue_depth", 0, "pipeline.queue_depth"),
    ("queue-word", "pipeline.queue_depth", "infinite", "pipeline.queue_depth"),
    ("tokens-zero", "workload.tokens", 0, "workload.tokens"),
    ("tokens-fraction", "workload.tokens", "1.3k", "workload.tokens"),
    ("tokens-word", "workload.tokens", "many", "workload.tokens"),
    ("tokens-object", "workload.tokens", {}, "workload.tokens"),
    ("tokens-huge", "workload.tokens", "1e9m", "workload.tokens"),
    ("prefix-negative", "workload.cached_prefix", -1, "workload.cached_prefix"),
    ("batch-zero", "workload.batch", 0, "workload.batch"),
    ("exact-a-string", "chunking.exact", "yes", "chunking.exact"),
    ("page-does-not-divide", "chunking.page", 300, "chunking.page"),
    ("shortest-above-longest", "chunking.shortest", 5000, "chunking.shortest"),
    ("longest-below-quantum", "chunking.longest", 1023, "chunking"),
    ("too-few-chunks", "chunking.max_chunks", 1, "chunking"),
    ("unknown-kind", "costs.kind", "table", "costs.kind"),
    ("efficiency-above-one", "costs.efficiency", 1.01, "costs.efficiency"),
    ("efficiency-zero", "costs.efficiency", 0, "costs.efficiency"),
    ("overhead-no-unit", "costs.overhead", "20 parsecs", "costs.overhead"),
    ("coefficients-missing", "costs", {"kind": "coefficients"}, "costs.stages"),
    ("coefficients-length", "costs", {"kind": "coefficients", "stages": [{}]}, "costs.stages"),
    (
        "coefficients-nan",
        "costs",
        {"kind": "coefficients", "stages": [{}, {"linear": math.nan}]},
        "costs.stages[1].linear",
    ),
    ("coefficients-key", "costs", {"kind": "coefficients", "stages": {"liner": 1}}, "costs.stages.liner"),
    ("measured-without-times", "costs", {"kind": "measured"}, "costs.stages"),
    ("measured-file-a-number", "costs", {"kind": "measured", "file": 3}, "costs.file"),
    ("measured-file-with-nul", "costs", {"kind": "measured", "file": "a\0b"}, "costs.file"),
    ("measured-file-missing", "costs", {"kind": "measured", "file": "nowhere.csv"}, "nowhere.csv"),
    ("measured-file-a-folder", "costs", {"kind": "measured", "file": "."}, "a directory"),
    ("measured-file-and-stages", "costs", {**_MEASURED, "file": "timings.csv"}, "one source of times"),
    ("measured-per-stage", "costs", {"kind": "measured", "stages": [_TIMES]}, "costs.stages"),
    ("measured-nan", "costs", _measured(seconds=[[math.nan]]), "costs.stages.seconds[0][0]"),
    ("measured-negative", "costs", _measured(seconds=[[-1]]), "costs.stages.seconds[0][0]: expected > 0"),
    ("measured-zero", "costs", _measured(seconds=[["0 s"]]), "costs.stages.seconds[0][0]: expected > 0"),
    ("measured-descending", "costs", _measured(lengths=[2, 1], seconds=[[1], [1]]), "costs.stages.lengths"),
    ("measured-nothing", "costs", _measured(prefixes=[], seconds=[[]]), "costs.stages.prefixes"),
    ("measured-row-short", "costs", _measured(prefixes=[0, 1]), "costs.stages.seconds[0]"),
    ("measured-rows-missing", "costs", _measured(lengths=[1, 2]), "costs.stages.seconds"),
    ("overlap-above-one", "overlap", 2, "overlap"),
    ("overlap-of-many-decimals", "overlap", 0.1 + 0.2, "overlap: expected a number of at most six decimals"),
    ("flops-tiny", "wafer.die.flops", 1e-300, "wafer.die.flops: expected >= 1"),
    ("bandwidth-tiny", "wafer.link.bandwidth", 1e-300, "wafer.link.bandwidth: expected >= 1"),
    ("overlap-true", "overlap", True, "overlap"),
    ("unknown-attention", "attention", "casual", "attention"),
    ("unknown-objective", "objective", "throughput", "objective"),
    ("tick-too-long", "tick", "1 s", "tick"),
    ("tick-zero", "tick", 0, "tick"),
]

_SEVERAL: list[tuple[str, tuple[tuple[str, Any], ...], str]] = [
    ("exact-above-steps", (("chunking.exact", True), ("chunking.max_chunks", 9)), "chunking.max_chunks"),
    ("shortest-above-prompt", (("chunking.shortest", "9k"), ("chunking.longest", None)), "chunking.shortest"),
    ("exact-too-long", (("chunking.exact", True), ("chunking.shortest", 3000)), "chunking"),
    ("switch-dead-link", (*_SWITCH, ("wafer.slow_links", [])), "wafer.dead_links[0]"),
    (
        "switch-in-rows",
        (("wafer.topology", "switch"), ("wafer.dead_links", []), ("wafer.slow_links", [])),
        "wafer.rows",
    ),
    (
        "full-block-coefficients",
        (("attention", "full_block"), ("costs", {"kind": "coefficients", "stages": {"linear": 1e-6}})),
        "attention",
    ),
    (
        "full-block-measured",
        (("attention", "full_block"), ("costs", _MEASURED)),
        "attention",
    ),
    (
        "grid-too-fine",
        (
            ("workload.tokens", "1024m"),
            ("chunking", {"max_chunks": 4, "quantum": 1}),
        ),
        "chunking.quantum",
    ),
    ("wafer-too-large", (("wafer.rows", 1024), ("wafer.cols", 1024)), "wafer.rows"),
]

MALFORMED: list[tuple[str, bytes, str]] = [
    *_FILES,
    *((name, _file((path, value)), place) for name, path, value, place in _VALUES),
    *((name, _file(*changes), place) for name, changes, place in _SEVERAL),
]
"""(name, content of the file, what its message contains)."""

BROKEN_FILES = frozenset(name for name, _, _ in _FILES)
"""Names of those that are not even JSON objects with unique keys."""
