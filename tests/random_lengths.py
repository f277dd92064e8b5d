"""Tiny instances at every length of their prompt, and brute force over all of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
from builders import AMPLE, make_tables
from oracle import feasible_homes, lockstep_price, partitions

from mocap_opt.questions.max_context import LengthFamily
from mocap_opt.replay.evaluation import assess
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables.cost_tables import Tables


def random_family(rng: np.random.Generator, *, chunk_limit: bool) -> LengthFamily:
    """A family that ends where `most_tokens` says, or a bit below; sometimes with unlike pages."""
    stages = int(rng.choice([2, 3], p=[0.65, 0.35]))
    chunks = int(rng.integers(2, 4)) if stages == 2 else 2
    quantum = int(rng.choice([1, 2]))
    unlike = bool(rng.random() < 0.4)

    def draw(low: int, high: int) -> list[int]:
        each = [int(x) for x in rng.integers(low, high + 1, stages)]
        return each if unlike else each[:1] * stages

    token_bytes = draw(2, 4)
    static = [int(x) for x in rng.integers(0, 5, stages)]
    working = int(rng.integers(0, 2)) if rng.random() < 0.4 else 0
    prefix = quantum if rng.random() < 0.2 else 0
    # Room for 1 to 3 quanta of KV at each stage, and lopsided now and then.
    room = [int(rng.integers(2, 8 if stages == 2 else 5)) * quantum * b // 2 for b in token_bytes]
    capacity = [s + r + prefix * b for s, r, b in zip(static, room, token_bytes, strict=True)]
    longest = int(rng.integers(1, 4)) * quantum if chunk_limit else None
    if longest is not None and longest > quantum and rng.random() < 0.3:
        least = int(rng.integers(1, longest + 1))
    else:
        least = 1
    most = sum(room) // token_bytes[0] // quantum * quantum
    cap = max(min(most, 8 * quantum, AMPLE if longest is None else longest * chunks), quantum)
    tables = make_tables(
        stages,
        cap,
        quantum=quantum,
        max_chunks=chunks,
        exact=bool(rng.random() < 0.25) and cap >= chunks * quantum,
        min_length=least,
        max_length=longest,
        prefix=prefix,
        linear=draw(1, 12),
        quadratic=draw(0, 2),
        constant=draw(0, 6),
        token_bytes=token_bytes,
        capacity=capacity,
        static=static,
        working_bytes=working,
        activation_bytes=1,
        queue_depth=1,
        link_rate=int(rng.integers(2, 9)) if rng.random() < 0.5 else AMPLE,
        hop=int(rng.integers(0, 3)),
    )
    return LengthFamily(tables)


def lengths(family: LengthFamily) -> range:
    quantum = family.longest.quantum
    return range(quantum, family.longest.tokens + 1, quantum)


def has_plan(tables: Tables, *, equal: bool) -> bool:
    """Whether any partition (of equal chunks, if asked) has homes that fit."""
    for marks in partitions(tables):
        if equal and len({b - a for a, b in pairwise(marks)}) > 1:
            continue
        if next(feasible_homes(tables, marks), None) is not None:
            return True
    return False


def longest_by_force(family: LengthFamily, *, equal: bool) -> int:
    """Longest prompt with a feasible plan; 0 if there is none."""
    kept = [family.at(tokens) for tokens in lengths(family)]
    if equal:
        unit = family.longest.max_chunks * family.longest.quantum
        kept = [replace(tables, exact_chunks=True) for tables in kept if tables.tokens % unit == 0]
    return max((tables.tokens for tables in kept if has_plan(tables, equal=equal)), default=0)


def longest_within(family: LengthFamily, ticks: Fraction) -> int:
    """Longest prompt with a plan whose smaller replay is within the ticks; 0 if there is none."""
    for tokens in reversed(lengths(family)):
        tables = family.at(tokens)
        for marks in partitions(tables):
            price = lockstep_price(tables, marks)
            for homes in feasible_homes(tables, marks):
                if price(homes) <= ticks:
                    return tokens
                away = tuple(sorted(Home(*where, pages) for where, pages in homes.items() if pages))
                if assess(tables, Plan(marks, away)).latency <= ticks:
                    return tokens
    return 0
