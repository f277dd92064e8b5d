"""Published figures of systems with profiles and mini-sequences, the table in formulations/profiles.md."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.instance.moa_plan import kv_density, moa_profile, window_tokens
from mocap_opt.questions.max_context.instance_family import LatencyLimit, LengthFamily
from mocap_opt.questions.max_context.search import longest_prompt
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

EIGHT_B = "llama-3.1-8b"


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


def compute(model: Any, tokens: int = 131072) -> int:
    return int(build_tables(one_stage(model, tokens, tokens)).phi[0, -1])


@pytest.mark.parametrize(("keep", "ratio"), [(0.2, 1.841), (2048 / 131072, 1.991)])
def test_fastkv(keep: float, ratio: float):
    """Published 1.82 and 1.97 times at 128k tokens, 16 of 32 layers full."""
    kept = {"preset": EIGHT_B, "profile": [{"layers": [16, 31], "keep": keep}]}
    assert compute(EIGHT_B) / compute(kept) == pytest.approx(ratio, abs=5e-4)


def test_dynamic_llava():
    """Published about 75 % less: 2 of 32 layers see all, the others keep 0.2; so says the linear part."""
    model = {
        "layers": 32,
        "hidden": 4096,
        "heads": 32,
        "kv_heads": 32,
        "head_dim": 128,
        "ffn": 11008,
        "vocabulary": 32000,
    }
    whole, kept = compute(model, 1), compute({**model, "profile": [{"layers": [2, 31], "keep": 0.2}]}, 1)
    assert 1 - kept / whole == pytest.approx(0.75, abs=1e-3)


def longest(**pipeline: Any) -> int:
    family = LengthFamily.of(one_stage(EIGHT_B, 131072, 512, pipeline=pipeline))
    found = longest_prompt(family, "gpipe", LatencyLimit(family, ticks=Fraction(10**15)))
    assert found.tokens == found.upper_bound_tokens
    return found.tokens


def test_mom():
    """Published 155k and 455k tokens on one GPU of 80 GB."""
    assert longest(logits="all") // 1000 == 158
    assert round(longest(mini_sequence=256) / 1000) == pytest.approx(434, abs=1)


@pytest.mark.parametrize(
    ("tokens", "overlap", "price"),
    [(524288, 1, 1.0), (1048576, 1, 1.0), (524288, 0, 1.00135), (1048576, 0, 1.05274)],
)
def test_beyond_what_fits_a_host_pool_takes_its_time(tokens: int, overlap: int, price: float):
    """KV that finds no room goes to the host over 25 GB/s and is read back for every later chunk.

    With compute at full speed it hides behind it entirely if it overlaps, and costs this much if it does not.
    """
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
    ratio = replay_lockstep(tables, away).latency / replay_lockstep(tables, near).latency
    assert ratio == pytest.approx(price, abs=1e-4)


#: The published plan of vicuna-7b-v1.5-16k: heads by (alpha, beta); which is which does not matter here.
VICUNA_7B = {
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


def vicuna_plan() -> dict[str, Any]:
    """A file of that plan, heads in any order."""
    heads = [pair for pair, count in VICUNA_7B.items() for _ in range(count)]
    rows = [heads[n : n + 32] for n in range(0, len(heads), 32)]
    return {"alphas": [[a for a, _ in row] for row in rows], "betas": [[b for _, b in row] for row in rows]}


def vicuna(batch: int, profile: list[Any]) -> Tables:
    model = {
        "layers": 32,
        "hidden": 4096,
        "heads": 32,
        "kv_heads": 32,
        "head_dim": 128,
        "ffn": 11008,
        "vocabulary": 32000,
        "profile": profile,
    }
    work = {"tokens": 8192, "batch": batch}
    return build_tables(one_stage(model, 8192, 512, workload=work, chunking={"max_chunks": 16, "page": 64}))


def held(tables: Tables) -> int:
    kept = tables.static + tables.reserve(512) + tables.page_bytes * int(tables.pages[-1])
    return int(kept[0])


def test_moa(tmp_path: Path):
    """Published: 1.2 to 1.4 times less memory; here at batches of 2 to 4 prompts of 8k in chunks of 512."""
    path = tmp_path / "moa_alpha_beta.json"
    path.write_text(json.dumps(vicuna_plan()))
    profile = moa_profile(path, 32, 8192)
    assert kv_density(profile, 32, 32, 8192) == pytest.approx(0.492, abs=5e-4)
    for batch in (2, 3, 4):
        assert 1.2 <= held(vicuna(batch, [])) / held(vicuna(batch, profile)) <= 1.4


def test_a_small_plan_of_moa():
    plan = {"alphas": [[0, -64.0], [0.0, 0], [0, 0]], "betas": [[0.5, 1], [1.0, 1], [0.01, 0.01]]}
    assert moa_profile(plan, 2, 1024) == [
        {"layers": [0, 0], "windows": [{"kv_heads": 1, "tokens": 512}, {"kv_heads": 1, "tokens": 960}]},
        {"layers": [2, 2], "windows": [{"kv_heads": 2, "tokens": 128}]},
    ]
    assert window_tokens(10.0, 0.5, 300) == 192
    density = (512 + 960 + 2 * 1024 + 2 * 128) / (6 * 1024)
    assert kv_density(moa_profile(plan, 2, 1024), 3, 2, 1024) == pytest.approx(density)


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        ({"alphas": [[0, 0]]}, "betas: expected a list with a list of numbers"),
        ({"alphas": [[0, "x"]], "betas": [[0, 1]]}, "alphas: expected a list with a list of numbers"),
        ({"alphas": [[0, 0]], "betas": [[0]]}, "betas: expected as many numbers as alphas"),
        ({"alphas": [[0, 0, 0]], "betas": [[0, 0, 0]]}, "expected windows of 2 heads"),
    ],
)
def test_what_is_no_plan_of_moa_is_refused(plan: dict[str, Any], problem: str):
    with pytest.raises(InputError, match=problem):
        moa_profile(plan, 2, 1024)


def test_tellme():
    """Published 0.45 and 0.96 s for 64 and 128 tokens; one fitted speed."""
    bitnet = {
        "layers": 24,
        "hidden": 1536,
        "heads": 16,
        "kv_heads": 16,
        "head_dim": 96,
        "ffn": 4096,
        "vocabulary": 32002,
    }
    for tokens, seconds in ((64, 0.45), (128, 0.96)):
        instance = one_stage(
            bitnet,
            tokens,
            tokens,
            wafer="kv260",
            precision={"weights": "ternary", "embedding": "bf16", "kv": "int8", "activations": "int8"},
        )
        tables = build_tables(instance)
        found = tables.seconds(replay_lockstep(tables, Plan((0, tokens))).latency)
        assert found == pytest.approx(seconds, rel=0.1)
