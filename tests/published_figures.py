"""What other systems publish, computed here: the figures in the table of .docs/guides/systems.md.

One function per system; its figures go by name into the system's row of data/published_systems.toml.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from test_decode_loop import bubbles

from mocap_opt import load_instance, solve
from mocap_opt.bounds import BOUNDS
from mocap_opt.instance import Instance
from mocap_opt.instance.moa_plan import kv_density, moa_profile
from mocap_opt.questions.max_context.instance_family import LatencyLimit, LengthFamily
from mocap_opt.questions.max_context.search import longest_prompt
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solving import solve_with_each
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.stage_costs import linear_flops

INSTANCES = Path(__file__).parent.parent / "instances"
EIGHT_B = "llama-3.1-8b"
VICUNA_SHAPE = {
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 32,
    "head_dim": 128,
    "ffn": 11008,
    "vocabulary": 32000,
}
"""Of a 7B model with all heads its own KV."""


def one_stage(model: Any, tokens: int, quantum: int, *, wafer: Any = "a100-80gb", **changes: Any) -> Instance:
    """One stage on one die, all tokens in one chunk unless changed."""
    sections: dict[str, Any] = {
        "pipeline": {"stages": 1, "queue_depth": 1, "staging_per_die": 0},
        "chunking": {"max_chunks": 1, "quantum": quantum},
        "workload": {"tokens": tokens},
        "costs": {"efficiency": 1.0, "overhead": 0},
    }
    for name, change in changes.items():
        sections[name] = {**sections.get(name, {}), **change} if isinstance(change, dict) else change
    return Instance.from_dict({"version": 1, "name": "published", "model": model, "wafer": wafer, **sections})


def equal_chunks(tokens: int, chunk: int) -> Plan:
    return Plan(tuple(range(0, tokens + 1, chunk)))


def compute(model: Any, tokens: int = 131072) -> int:
    return int(build_tables(one_stage(model, tokens, tokens)).phi[0, -1])


# Layers that keep or see part of the tokens.


def fastkv_ratio(keep: float) -> float:
    """How many times faster 128k tokens are, the first 16 of 32 layers full."""
    return compute(EIGHT_B) / compute({"preset": EIGHT_B, "profile": [{"layers": [16, 31], "keep": keep}]})


def dynamic_llava_saves() -> float:
    """The share of the linear part that is saved: 2 of 32 layers see all, the others keep 0.2."""
    kept = {**VICUNA_SHAPE, "profile": [{"layers": [2, 31], "keep": 0.2}]}
    return 1 - compute(kept, 1) / compute(VICUNA_SHAPE, 1)


VICUNA_PLAN = {
    (0.0, 0.125): 279,
    (0.0, 0.625): 183,
    (0.0, 0.75): 171,
    (0.0, 0.25): 122,
    (0.0, 0.875): 102,
    (-1024.0, 1.0): 75,
    (0.0, 0.5): 64,
    (0.0, 0.375): 17,
    (1024.0, 0.125): 11,
}
"""The published plan of vicuna-7b-v1.5-16k: heads by (alpha, beta); which is which does not matter here."""


def vicuna_plan() -> dict[str, Any]:
    """A file of that plan, heads in any order."""
    heads = [pair for pair, count in VICUNA_PLAN.items() for _ in range(count)]
    rows = [heads[n : n + 32] for n in range(0, len(heads), 32)]
    return {"alphas": [[a for a, _ in row] for row in rows], "betas": [[b for _, b in row] for row in rows]}


def moa_density() -> float:
    return kv_density(moa_profile(vicuna_plan(), 32, 8192), 32, 32, 8192)


def moa_memory_ratio(batch: int) -> float:
    """How many times less memory prompts of 8k take in chunks of 512, weights included."""

    def held(profile: list[Any]) -> int:
        work = {"tokens": 8192, "batch": batch}
        model = {**VICUNA_SHAPE, "profile": profile}
        chunking = {"max_chunks": 16, "page": 64}
        tables = build_tables(one_stage(model, 8192, 512, workload=work, chunking=chunking))
        kept = tables.static + tables.reserve(512) + tables.page_bytes * int(tables.pages[-1])
        return int(kept[0])

    return held([]) / held(moa_profile(vicuna_plan(), 32, 8192))


# Activations and memories beside.


def longest(**pipeline: Any) -> int:
    """The longest prompt of llama-3.1-8b on 80 GB, proved."""
    family = LengthFamily.of(one_stage(EIGHT_B, 131072, 512, pipeline=pipeline))
    found = longest_prompt(family, "gpipe", LatencyLimit(family, ticks=Fraction(10**15)))
    assert found.tokens == found.upper_bound_tokens
    return found.tokens


def price_of_a_host(tokens: int, overlap: int) -> float:
    """Time with the KV that finds no room in a pool over 25 GB/s, over the time without limits of memory."""
    pool = {
        "name": "host",
        "memory_bytes": "1 TB",
        "memory_bandwidth": "200 GB/s",
        "link": {"bandwidth": "25 GB/s", "hop_latency": "2 us"},
    }
    instance = one_stage(
        EIGHT_B,
        tokens,
        16384,
        wafer={"preset": "a100-80gb", "pools": [pool]},
        pipeline={"mini_sequence": 256},
        chunking={"max_chunks": 64},
        overlap=overlap,
    )
    tables = build_tables(instance)
    near = Plan.from_arrays(tables, np.arange(tables.steps + 1))
    free = int(tables.free_memory(tables.reserve(near.longest))[0])
    kept = free // int(tables.page_bytes[0])
    away = Plan(near.boundaries, tuple(Home(0, j, 1, 1) for j in range(kept, tables.steps)))
    assert kept < tables.steps
    assert violations(tables, near)
    assert not violations(tables, away)
    return float(replay_lockstep(tables, away).latency / replay_lockstep(tables, near).latency)


def tellme_seconds(tokens: int) -> float:
    """BitNet 0.73B on a kv260, whose one speed is fitted."""
    bitnet = {
        "layers": 24,
        "hidden": 1536,
        "heads": 16,
        "kv_heads": 16,
        "head_dim": 96,
        "ffn": 4096,
        "vocabulary": 32002,
    }
    precision = {"weights": "ternary", "embedding": "bf16", "kv": "int8", "activations": "int8"}
    tables = build_tables(one_stage(bitnet, tokens, tokens, wafer="kv260", precision=precision))
    return tables.seconds(replay_lockstep(tables, Plan((0, tokens))).latency)


# Fixed messages.


def loading_pays_from(flops: float) -> float:
    """GB/s from which loading 8k tokens of prefix beats computing them on eight dies of this speed."""
    instance = load_instance(INSTANCES / "llama-3.1-70b-h800-prefix-load.json")
    alone = ("workload.cached_prefix=0", "workload.prefix_from=null", f"wafer.die.flops={flops}")
    computed = build_tables(instance.replace(*alone))
    return int(build_tables(instance).prefix_bytes[0]) / computed.seconds(int(computed.phi[0, -1])) / 1e9


def export_seconds(gigabytes_per_s: float | None) -> tuple[float, float]:
    """Latency of equal chunks of 4k whose KV leaves over one link, and the bound; None: nothing leaves."""
    instance = load_instance(INSTANCES / "llama-3.1-70b-a800-export.json")
    if gigabytes_per_s is None:
        instance = instance.replace("workload.export=null")
    else:
        data = instance.to_dict()
        data["wafer"]["pools"][0]["link"]["bandwidth"] = gigabytes_per_s * 1e9
        instance = Instance.from_dict(data)
    tables, plan = build_tables(instance), equal_chunks(131072, 4096)
    ticks = min(replay_event(tables, plan).latency, replay_lockstep(tables, plan).latency)
    bound = 0 if gigabytes_per_s is None else BOUNDS["fixed_messages"](tables).ticks
    assert bound <= ticks
    return tables.seconds(ticks), tables.seconds(bound)


def streamed_mixtral(streamed: int, overlap: int) -> Tables:
    """Tables of ProMoE's case with so many of eight experts fetched; overlap 1: ahead, 0: on demand."""
    instance = load_instance(INSTANCES / "mixtral-8x7b-24gb-streamed.json")
    return build_tables(
        instance.replace(
            f"pipeline.weights.streamed_experts={streamed}", f"pipeline.weights.overlap={overlap}"
        )
    )


def fetching_ahead(streamed: int, chunk: int) -> float:
    """How many times faster equal chunks are if experts are fetched ahead rather than on demand."""
    plan = equal_chunks(32768, chunk)
    ahead, demand = (streamed_mixtral(streamed, overlap) for overlap in (1, 0))
    return float(replay_event(demand, plan).latency / replay_event(ahead, plan).latency)


def room_for_kv(streamed: int) -> float:
    """Thousand tokens of KV beside the experts that are kept, chunks of 2k."""
    tables = streamed_mixtral(streamed, 1)
    return int(tables.free_memory(tables.reserve(2048))[0]) / float(tables.page_bytes[0]) * tables.page / 1e3


def tokens_per_npu() -> float:
    """DeepSeek's matrix products at 495 TFLOP/s effective, tokens/s."""
    given = {
        "model": "deepseek-v3",
        "wafer": "cloudmatrix-384",
        "pipeline": {"stages": 1, "dies_per_stage": 32},
        "workload": {"tokens": 4096},
        "chunking": {"max_chunks": 4},
    }
    instance = Instance.from_dict({"version": 1, "name": "cloudmatrix", **given})
    assert build_tables(instance).pools == ("host",)
    return 495e12 / linear_flops(instance.model, range(instance.model.layers))


# Availability and the decode loop.

IMAGE_TOKENS, IMAGE_S = 640, 0.062


def images(count: int, workers: int, first: bool) -> Instance:
    """The shipped prompt with so many images, all encoded first or ahead of prefill."""
    curve: Any = {"starts": [IMAGE_TOKENS * n for n in range(count)], "seconds": IMAGE_S, "workers": workers}
    if first:
        curve = [[0, IMAGE_S * -(-count // workers)]]
    return load_instance(INSTANCES / "minicpm-v-2.6-a100-images.json").replace(
        f"workload.tokens={IMAGE_TOKENS * count + 128}", f"workload.available={json.dumps(curve)}"
    )


def seconds_to_first_token(instance: Instance) -> float:
    latency = solve(instance, time_limit_s=3).report.latency_s
    assert latency is not None
    return latency


def fewer_bubbles(size: int, seed: int | None = None) -> float:
    """How many times more bubbles whole prompts leave than chunks of one size; shipped prompts or others."""
    instance = load_instance(INSTANCES / "streams" / "gpt3-175b-a100-loop.json")
    if seed is not None:
        data = instance.to_dict()
        drawn = np.random.default_rng(seed).integers(16, 65, 24)
        data["workload"] = {"requests": [{"tokens": 64 * int(n)} for n in drawn]}
        instance = Instance.from_dict(data)
    return bubbles(instance, None) / bubbles(instance, size)


# Prefetch.


def prefetch_gain(tokens: int, buffer: float) -> float:
    """How many times faster a chunk of an int8 llama-3.1-70b is on four dies with so large a buffer each."""
    die = {"flops": 376e12, "memory_bytes": 64e9, "memory_bandwidth": "1.6 TB/s"}
    link = {"bandwidth": "100 GB/s", "hop_latency": "2 us"}
    wafer = {"name": "four", "topology": "switch", "rows": 1, "cols": 4, "die": die, "link": link}
    instance = one_stage(
        "llama-3.1-70b",
        tokens,
        tokens,
        wafer=wafer,
        precision={"weights": "int8"},
        pipeline={"dies_per_stage": 4},
        chunking={"page": 1},
    )
    plain, ahead = (
        int(build_tables(instance.replace(f"costs.prefetch_per_die={size}")).tau(0, 0, 1))
        for size in (0, int(buffer))
    )
    return plain / ahead


# Several pipelines.


def reports(name: str, methods: tuple[str, ...], limit_s: float) -> list[Any]:
    """Reports of several methods on one of the shipped sets of requests, against the same bounds."""
    instance = load_instance(INSTANCES / "pipelines" / f"{name}.json")
    return [each.report for each in solve_with_each(instance, methods, time_limit_s=limit_s)]


# Rows of the table.


def mooncake() -> dict[str, float]:
    found = {"a800": loading_pays_from(312e12), "h800": loading_pays_from(989e12)}
    found["none"], _ = export_seconds(None)
    for name, rate in {"flat": 5, "one": 1, "half": 0.5}.items():
        found[name], found[f"{name}_bound"] = export_seconds(rate)
    return found


def sarathi() -> dict[str, float]:
    found = {}
    for name, size in {"long": 512, "short": 256}.items():
        others = [fewer_bubbles(size, seed) for seed in range(5)]
        found |= {name: fewer_bubbles(size), f"{name}_least": min(others), f"{name}_most": max(others)}
    return found


def hybrid_mip() -> dict[str, float]:
    free, assigned = reports("jobs-200-pipelines", ("first-free", "joint"), 60)
    assert free.lower_bound_s == assigned.lower_bound_s
    return {
        "free": 100 * free.utilisation,
        "assigned": 100 * assigned.utilisation,
        "free_s": free.value_s,
        "assigned_s": assigned.value_s,
        "bound_s": assigned.lower_bound_s,
    }


def preserve() -> dict[str, float]:
    found = {f"tokens_{tokens}": prefetch_gain(tokens, 104e6) for tokens in (8, 64, 256)}
    sizes = [size * 1e6 for size in range(1, 105)]
    found["enough"] = next(size for size in sizes if prefetch_gain(8, size) == found["tokens_8"]) / 1e6
    return {**found, "small": prefetch_gain(8, 8e6)}


def mom() -> dict[str, float]:
    return {
        "all": longest(logits="all") / 1e3,
        "last": longest(mini_sequence=256) / 1e3,
        **{f"price_{k}": 100 * (price_of_a_host(k * 1024, 0) - 1) for k in (512, 1024)},
        "hidden": 100 * (max(price_of_a_host(k * 1024, 1) for k in (512, 1024)) - 1),
    }


def fastkv() -> dict[str, float]:
    return {"fifth": fastkv_ratio(0.2), "window": fastkv_ratio(2048 / 131072)}


def dynamic_llava() -> dict[str, float]:
    return {"saved": 100 * dynamic_llava_saves()}


def moa() -> dict[str, float]:
    return {"density": moa_density(), **{f"batch_{n}": moa_memory_ratio(n) for n in (2, 3, 4)}}


def promoe() -> dict[str, float]:
    return {
        **{f"chunks_{32768 // chunk}": fetching_ahead(6, chunk) for chunk in (2048, 4096, 8192)},
        "room_4": room_for_kv(4),
        "room_0": room_for_kv(8),
    }


def epd() -> dict[str, float]:
    found = {}
    for count in (2, 4, 8, 16):
        before, ahead = images(count, 1, True), images(count, 5, False)
        found[f"saved_{count}"] = 100 * (1 - seconds_to_first_token(ahead) / seconds_to_first_token(before))
    tables = build_tables(ahead)
    bound = tables.seconds(BOUNDS["availability"](tables).ticks)
    found["most_16"] = math.ceil(100 * (1 - bound / seconds_to_first_token(before)))
    return found


def cloudmatrix() -> dict[str, float]:
    return {"tokens": tokens_per_npu()}


def tellme() -> dict[str, float]:
    return {"short": tellme_seconds(64), "long": tellme_seconds(128)}


FIGURES: dict[str, Callable[[], dict[str, float]]] = {
    each.__name__: each
    for each in (
        mooncake,
        sarathi,
        hybrid_mip,
        mom,
        preserve,
        fastkv,
        dynamic_llava,
        moa,
        promoe,
        epd,
        cloudmatrix,
        tellme,
    )
}
"""By the name in the data file."""
