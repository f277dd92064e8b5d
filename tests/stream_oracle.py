"""Brute force over streams, in plain Python: orders, divisions, idle slots and homes.

Nothing here is shared with the package but the tables; rows and prices are written out again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, permutations, product
from math import ceil

import numpy as np
from builders import AMPLE, make_tables
from held_oracle import ring_bytes
from oracle import (
    capacities,
    chunk_times,
    message_bytes,
    own_transfers,
    pages_of,
    partitions,
    send_times,
    ways,
)

from mocap_opt.schedule.requests import Request
from mocap_opt.tables.cost_tables import Tables

Marks = tuple[int, ...]
Homes = dict[tuple[int, int, int], int]
Price = Callable[[list[Homes]], list[int]]


@dataclass(frozen=True)
class Turn:
    """A request's place in a schedule."""

    tables: Tables
    marks: Marks
    slot: int
    release: int

    @property
    def chunks(self) -> int:
        return len(self.marks) - 1

    def running(self, t: int) -> list[tuple[int, int]]:
        return [
            (i, t - self.slot - i) for i in range(self.tables.stages) if 0 <= t - self.slot - i < self.chunks
        ]


def slots_of(turns: list[Turn]) -> range:
    return range(max(turn.slot + turn.chunks + turn.tables.stages - 1 for turn in turns))


def longest_chunk(turn: Turn) -> int:
    return max(b - a for a, b in zip(turn.marks, turn.marks[1:], strict=False))


def queued(turns: list[Turn], per_token: Callable[[Tables], int]) -> int:
    """Bytes in queues of which every token of a request takes so many."""
    together = sum(turn.tables.tokens * per_token(turn.tables) for turn in turns)
    depth = turns[0].tables.queue_depth
    if depth is None:
        return together
    return min(2 * depth * max(longest_chunk(turn) * per_token(turn.tables) for turn in turns), together)


def room(turns: list[Turn]) -> list[list[int]]:
    """[memory][slot]: capacity less weights, reserve and prefixes."""
    first = turns[0].tables
    rows = []
    for k in range(first.memories):
        held = queued(turns, lambda tables, k=k: int(tables.working_bytes[k]))
        if first.buffer_bytes is not None:
            most = max(int(turn.tables.buffer_limit[k]) for turn in turns)
            buffers = min(most, queued(turns, lambda tables, k=k: int(tables.buffer_bytes[k])))
            held += max(buffers, queued(turns, lambda tables, k=k: int(tables.logit_bytes[k])))
        held += max(ring_bytes(turn.tables, k, longest_chunk(turn)) for turn in turns)
        free = int(first.capacity[k]) - int(first.static[k]) - int(first.staging[k]) - held
        prefix = [
            sum(int(turn.tables.prefix_bytes[k]) for turn in turns if 0 <= t - turn.slot - k < turn.chunks)
            for t in slots_of(turns)
        ]
        rows.append([free - there for there in prefix])
    return rows


def all_homes(turns: list[Turn], worth: Callable[[list[Homes]], bool]) -> Iterator[list[Homes]]:
    """Every choice of homes that no memory row forbids, the all-local one first if it is there.

    Choices that are not worth pursuing, the rest at home, are dropped.
    """
    left = room(turns)
    if any(free < 0 for row in left for free in row):
        return
    cells = [
        (r, i, j)
        for r, turn in enumerate(turns)
        for i in range(turn.tables.stages)
        for j in range(turn.chunks)
    ]
    homes: list[Homes] = [{} for _ in turns]

    def place(at: int) -> Iterator[list[Homes]]:
        if at == len(cells):
            yield [dict(each) for each in homes]
            return
        r, i, j = cells[at]
        turn = turns[r]
        size = int(turn.tables.page_bytes[i])
        alive = range(turn.slot + i + j, turn.slot + i + turn.chunks)
        for way in ways(pages_of(turn.tables, turn.marks)[j], turn.tables.memories, i):
            if any(left[k][t] < pages * size for k, pages in enumerate(way) if pages for t in alive):
                continue
            for k, pages in enumerate(way):
                for t in alive:
                    left[k][t] -= pages * size
                if k != i and pages:
                    homes[r][i, j, k] = pages
            if way[i] == sum(way) or worth(homes):
                yield from place(at + 1)
            for k, pages in enumerate(way):
                for t in alive:
                    left[k][t] += pages * size
                homes[r].pop((i, j, k), None)

    yield from place(0)


def price(turns: list[Turn]) -> Price:
    """Completions of every request in lockstep, as a function of homes."""
    first = turns[0].tables
    rate, serial, stages = capacities(first), 1 - first.overlap, first.stages
    tau = [chunk_times(turn.tables, turn.marks) for turn in turns]
    grid = [[int(g) for g in turn.tables.grid] for turn in turns]
    moves = [own_transfers(turn.tables, turn.marks) for turn in turns]
    base = []
    exchange = []
    port: dict[tuple[int, int], int] = defaultdict(int)
    for t in slots_of(turns):
        now = [(r, i, j) for r, turn in enumerate(turns) for i, j in turn.running(t)]
        base.append(max((tau[r][i][j] for r, i, j in now), default=0))
        for r, i, j in now:
            port[t, i] += int(turns[r].tables.own_traffic[i, grid[r].index(turns[r].marks[j + 1])])
        exchange.append(_exchange(turns, [(r, i, j) for r, i, j in now if i < stages - 1]))

    def completions(homes: list[Homes]) -> list[int]:
        work: list[Fraction | int] = list(base)
        load: dict[tuple[int, str, int], int] = defaultdict(int)
        for (t, i), size in port.items():
            load[t, "port", i] += size
        for r, turn in enumerate(turns):
            for (i, j, kind, at), size in moves[r](homes[r]).items():
                t = turn.slot + i + j
                load[t, kind, at] += size
                if serial:
                    work[t] = max(work[t], tau[r][i][j] + serial * Fraction(size, rate[kind, at]))
        for (t, kind, at), size in load.items():
            work[t] = max(work[t], Fraction(size, rate[kind, at]))
        clock, done = 0, []
        for t in slots_of(turns):
            clock = max([clock, *(turn.release for turn in turns if turn.slot == t)])
            done.append(clock + ceil(work[t]))
            clock = done[-1] + exchange[t]
        return [done[turn.slot + turn.chunks + stages - 2] for turn in turns]

    return completions


def _exchange(turns: list[Turn], senders: list[tuple[int, int, int]]) -> int:
    first = turns[0].tables
    sends = {(r, i, j): send_times(turns[r].tables, turns[r].marks)[i][j] for r, i, j in senders}
    longest: Fraction | int = max(sends.values(), default=0)
    for e, rate in enumerate(first.link_rate):
        size, hops = 0, 0
        for r, i, j in senders:
            share, marks = int(first.share[e, i, i + 1]), turns[r].marks
            if share:
                size += share * message_bytes(turns[r].tables, i, marks[j], marks[j + 1])
                hops = max(hops, int(first.hop_ticks[i, i + 1]))
        longest = max(longest, Fraction(size, int(rate) * first.share_denominator) + hops)
    return ceil(longest)


def schedules(requests: tuple[Request, ...], order_given: bool) -> Iterator[list[Turn]]:
    """Every order, division and number of idle slots up to N - 1."""
    numbers = range(len(requests))
    cuts = [list(partitions(request.tables)) for request in requests]
    for order in [tuple(numbers)] if order_given else permutations(numbers):
        for chosen in product(*(cuts[r] for r in order)):
            for idle in product(range(requests[0].tables.stages), repeat=len(requests) - 1):
                slot, turns = 0, []
                for r, marks, gap in zip(order, chosen, (*idle, 0), strict=True):
                    turns.append(Turn(requests[r].tables, marks, slot, requests[r].release))
                    slot += len(marks) - 1 + gap
                yield turns


@dataclass(frozen=True)
class Best:
    """Least makespan, and what the stream turns on."""

    makespan: int
    needs_remote: bool
    idles: bool


def brute_force(
    requests: tuple[Request, ...], order_given: bool, spend: Callable[[], None] = lambda: None
) -> Best | None:
    """Least lockstep makespan of all feasible sequences; None if there is none.

    Moving a page away never makes a slot shorter, so a schedule whose price with all KV at home is
    not below the best so far is passed over.  Every price of homes is told to `spend`, which may raise.
    """
    best: Best | None = None
    ranked = []
    for number, turns in enumerate(schedules(requests, order_given)):
        cost = price(turns)
        ranked.append((max(cost([{} for _ in turns])), number, turns, cost))
    for local, _, turns, cost in sorted(ranked, key=lambda each: each[:2]):
        if best is not None and local >= best.makespan:
            break
        gaps = any(b.slot > a.slot + a.chunks for a, b in pairwise(turns))
        found = _best_homes(turns, cost, None if best is None else best.makespan, local, spend)
        if found is not None:
            best = Best(*found, gaps)
    return best


def _best_homes(
    turns: list[Turn], cost: Price, below: int | None, local: int, spend: Callable[[], None]
) -> tuple[int, bool] | None:
    """Least makespan below a value, and whether homes away reach it; `local` is out of reach below."""
    found: tuple[int, bool] | None = None

    def better(homes: list[Homes]) -> bool:
        spend()
        least = found[0] if found is not None else below
        return least is None or max(cost(homes)) < least

    for homes in all_homes(turns, better):
        if better(homes):
            found = max(cost(homes)), any(homes)
            if found[0] == local:
                break
    return found


def random_stream(rng: np.random.Generator) -> tuple[tuple[Request, ...], bool]:
    """Two or three tiny requests on two or three stages, and whether their order is given."""
    stages = 3 if rng.random() < 0.2 else 2
    count = 3 if stages == 2 and rng.random() < 0.3 else 2
    quantum = int(rng.choice([1, 2]))

    def draw(low: int, high: int) -> list[int]:
        return [int(x) for x in rng.integers(low, high + 1, stages)]

    shared = {
        "quantum": quantum,
        "max_chunks": int(rng.integers(2, 4)),
        "linear": draw(1, 10),
        "quadratic": draw(0, 2),
        "constant": draw(0, 12),
        "staging": draw(0, 3),
        "hop": int(rng.integers(0, 3)),
        "link_rate": int(rng.integers(1, 4)) if rng.random() < 0.7 else AMPLE,
        "port_rate": int(rng.integers(1, 6)) if rng.random() < 0.6 else AMPLE,
        "queue_depth": [1, 2, None][int(rng.integers(3))],
        "overlap": [Fraction(1), Fraction(1, 2), Fraction(0)][int(rng.integers(3))],
    }
    token_bytes, working = draw(1, 4), draw(0, 1)
    made = []
    for n in range(count):
        batch = int(rng.choice([1, 1, 2]))
        made.append(
            make_tables(
                stages,
                int(rng.integers(1, 4 if count + stages == 4 else 3)) * quantum
                - int(quantum > 1 and rng.random() < 0.3),
                prefix=int(rng.integers(1, 4)) if rng.random() < 0.3 else 0,
                token_bytes=[batch * size for size in token_bytes],
                activation_bytes=batch,
                working_bytes=[batch * size for size in working],
                own_per_token=[batch * size for size in token_bytes],
                name=f"r{n}",
                **shared,
            )
        )
    turns = [Turn(t, tuple(int(g) for g in t.grid), 0, 0) for t in made]
    spare = [min(room([replace(turn) for turn in turns])[k]) for k in range(stages)]
    kv = [max(int(t.page_bytes[k] * t.pages[-1]) for t in made) for k in range(stages)]
    factor = rng.uniform(0.4, 1.7, stages)
    capacity = np.array([AMPLE - s + int(f * each) + 2 for s, f, each in zip(spare, factor, kv, strict=True)])
    releases = [int(rng.integers(0, 60)) if rng.random() < 0.5 else 0 for _ in made]
    requests = tuple(
        Request(replace(t, capacity=capacity), release, t.name)
        for t, release in zip(made, releases, strict=True)
    )
    return requests, bool(rng.random() < 0.5)
