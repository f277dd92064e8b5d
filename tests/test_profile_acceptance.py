"""Published figures of systems with profiles and mini-sequences, the table in formulations/profiles.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published_figures import (
    dynamic_llava_saves,
    fastkv_ratio,
    longest,
    moa_memory_ratio,
    price_of_a_host,
    tellme_seconds,
    vicuna_plan,
)

from mocap_opt.errors import InputError
from mocap_opt.instance.moa_plan import kv_density, moa_profile, window_tokens


@pytest.mark.parametrize(("keep", "ratio"), [(0.2, 1.841), (2048 / 131072, 1.991)])
def test_fastkv(keep: float, ratio: float):
    """Published 1.82 and 1.97 times at 128k tokens, 16 of 32 layers full."""
    assert fastkv_ratio(keep) == pytest.approx(ratio, abs=5e-4)


def test_dynamic_llava():
    """Published about 75 % less: 2 of 32 layers see all, the others keep 0.2; so says the linear part."""
    assert dynamic_llava_saves() == pytest.approx(0.75, abs=1e-3)


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
    assert price_of_a_host(tokens, overlap) == pytest.approx(price, abs=1e-4)


def test_moa(tmp_path: Path):
    """Published: 1.2 to 1.4 times less memory; here at batches of 2 to 4 prompts of 8k in chunks of 512."""
    path = tmp_path / "moa_alpha_beta.json"
    path.write_text(json.dumps(vicuna_plan()))
    profile = moa_profile(path, 32, 8192)
    assert kv_density(profile, 32, 32, 8192) == pytest.approx(0.492, abs=5e-4)
    for batch in (2, 3, 4):
        assert 1.2 <= moa_memory_ratio(batch) <= 1.4


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
    for tokens, seconds in ((64, 0.45), (128, 0.96)):
        assert tellme_seconds(tokens) == pytest.approx(seconds, rel=0.1)
