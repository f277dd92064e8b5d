"""The longest prompt of 200 tiny instances against every plan of every length."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from random_lengths import longest_by_force, longest_within, random_family

from mocap_opt.questions.max_context import (
    LatencyLimit,
    LengthFamily,
    LongestPrompt,
    longest_equal,
    longest_prompt,
)
from mocap_opt.schedule.verify import violations

FAMILIES = 200


def families(seed: int, *, chunk_limit: bool) -> list[LengthFamily]:
    rng = np.random.default_rng(seed)
    return [random_family(rng, chunk_limit=chunk_limit) for _ in range(FAMILIES)]


def alike(family: LengthFamily) -> bool:
    return len(set(family.longest.page_bytes.tolist())) == 1


def check(family: LengthFamily, found: LongestPrompt, force: int, seen: Counter[str]) -> None:
    """The plan is real, brute force is no better than the bound, and both meet where pages are alike."""
    tokens = found.tokens or 0
    assert tokens <= force <= found.upper_bound_tokens
    if found.best is not None:
        assert violations(family.at(tokens), found.best.assessment.plan) == []
        seen["homes elsewhere"] += bool(found.best.assessment.plan.homes)
    seen["unlike pages"] += not alike(family)
    seen["nothing fits"] += force == 0
    seen["exact"] += force == tokens == found.upper_bound_tokens
    # A bound that is 2 % (of such short prompts, at least a step) too low would be beaten.
    inflated = min(found.upper_bound_tokens * 98 // 100, found.upper_bound_tokens - family.longest.quantum)
    seen["inflated bound beaten"] += force > max(inflated, 0)
    if found.stopped_by is not None:
        stop = found.stopped_by
        assert stop.tokens > tokens
        seen["stopped by memory"] += stop.slot is not None
        if stop.proved:
            assert force < stop.tokens


def test_equal_chunks() -> None:
    seen: Counter[str] = Counter()
    for family in families(1, chunk_limit=False):
        force = longest_by_force(family, equal=True)
        found = longest_equal(family, "joint")
        check(family, found, force, seen)
        if alike(family):
            assert found.tokens == (force or None)
            assert found.upper_bound_tokens == force
        for method in ("uniform", "mocap", "search-mirror"):
            assert (longest_equal(family, method).tokens or 0) <= force
    assert seen["exact"] >= 0.9 * FAMILIES
    assert seen["inflated bound beaten"] >= 0.5 * FAMILIES
    for kind in ("unlike pages", "nothing fits", "homes elsewhere", "stopped by memory"):
        assert seen[kind] >= 0.1 * FAMILIES, kind


def test_chunks_of_a_greatest_length() -> None:
    seen: Counter[str] = Counter()
    for family in families(2, chunk_limit=True):
        if family.longest.max_length >= family.longest.tokens:
            seen["one chunk may hold all"] += 1
            continue
        force = longest_by_force(family, equal=False)
        found = longest_prompt(family, "joint", None, time_limit_s=5.0)
        check(family, found, force, seen)
        if alike(family):
            assert (found.tokens or 0, found.upper_bound_tokens) == (force, force)
        seen["asked"] += 1
    assert seen["asked"] >= 0.5 * FAMILIES
    assert seen["exact"] >= 0.9 * seen["asked"]
    assert seen["inflated bound beaten"] >= 0.6 * seen["asked"]
    for kind in ("unlike pages", "homes elsewhere", "stopped by memory"):
        assert seen[kind] >= 0.1 * seen["asked"], kind


def checked_within(number: int, family: LengthFamily, seen: Counter[str]) -> None:
    quarter = int(family.longest.phi[:, -1].sum()) * (1 + number % 4) // 4 + 6
    force = longest_within(family, Fraction(quarter))
    limit = LatencyLimit(family, ticks=Fraction(quarter))
    found = longest_prompt(family, "joint", limit, time_limit_s=5.0)
    assert (found.tokens or 0) <= force <= found.upper_bound_tokens
    if found.best is not None:
        assert found.best.assessment.latency <= quarter
    memory = longest_by_force(family, equal=False)
    seen["latency decides"] += force < memory
    # Of the lengths that latency closes, a bound 2 % (at least a step) lower would be beaten.
    inflated = min(found.upper_bound_tokens * 98 // 100, found.upper_bound_tokens - family.longest.quantum)
    seen["inflated bound beaten"] += force < memory and force > max(inflated, 0)
    seen["exact"] += force == (found.tokens or 0)
    seen["bound met"] += force == found.upper_bound_tokens
    seen["asked"] += 1


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_latency_limits(part: int) -> None:
    """40 in the fast suite, all 200 in the slow one."""
    seen: Counter[str] = Counter()
    for number, family in enumerate(families(3, chunk_limit=False)[:: 1 if part else 5]):
        checked_within(number, family, seen)
    assert seen["exact"] >= 0.9 * seen["asked"]
    assert seen["latency decides"] >= 0.3 * seen["asked"]
    assert seen["bound met"] >= 0.4 * seen["asked"]
    assert seen["inflated bound beaten"] >= 0.1 * seen["asked"]
