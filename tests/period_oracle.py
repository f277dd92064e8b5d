"""Brute force for the period: every periodic plan of a tiny instance, in plain Python.

Shares the enumeration of partitions and the tables' plain readings with `oracle`; memory rows and
slots of the cycle are written out again here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from held_oracle import held_bytes
from oracle import (
    Homes,
    Marks,
    Number,
    _exchange_time,
    _plan,
    capacities,
    chunk_times,
    chunks_of,
    own_transfers,
    pages_of,
    partitions,
    ways,
)

from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class PeriodOptimum:
    """The best lockstep period, and a plan that has it."""

    value: int
    plan: Plan
    slots: int


def cyclic_free_memory(tables: Tables, marks: Marks, slots: int) -> list[list[int]]:
    """[memory][cyclic slot]: capacity less all that is there whatever the homes are."""
    assert tables.queue_depth is not None
    chunks = len(marks) - 1
    longest = max(b - a for a, b in chunks_of(marks))
    rooms = []
    for k in range(tables.memories):
        reserve = held_bytes(tables, k, 2 * tables.queue_depth * longest, longest)
        row = []
        for t in range(slots):
            there = int(tables.prefix_bytes[k]) if (t - k) % slots <= chunks - 1 else 0
            row.append(int(tables.capacity[k]) - int(tables.static[k]) - reserve - there)
        rooms.append(row)
    return rooms


def cyclic_homes(tables: Tables, marks: Marks, slots: int, worth: Callable[[Homes], bool]) -> Iterator[Homes]:
    """Every choice of homes that no cyclic memory row forbids."""
    stages, chunks = tables.stages, len(marks) - 1
    room = cyclic_free_memory(tables, marks, slots)
    if any(free < 0 for row in room for free in row):
        return
    pages = pages_of(tables, marks)
    cells = [(i, j) for i in range(stages) for j in range(chunks)]
    alive = {(i, j): [t for t in range(slots) if j <= (t - i) % slots <= chunks - 1] for i, j in cells}
    choices = {(i, j): ways(pages[j], tables.memories, i) for i, j in cells}
    homes: Homes = {}

    def place(at: int) -> Iterator[Homes]:
        if at == len(cells):
            yield dict(homes)
            return
        i, j = cells[at]
        for way in choices[i, j]:
            sizes = [count * int(tables.page_bytes[i]) for count in way]
            if any(room[k][t] < size for k, size in enumerate(sizes) if size for t in alive[i, j]):
                continue
            for k, size in enumerate(sizes):
                for t in alive[i, j]:
                    room[k][t] -= size
                if k != i and way[k]:
                    homes[i, j, k] = way[k]
            if way[i] == sum(way) or worth(homes):
                yield from place(at + 1)
            for k, size in enumerate(sizes):
                for t in alive[i, j]:
                    room[k][t] += size
                homes.pop((i, j, k), None)

    yield from place(0)


def period_price(tables: Tables, marks: Marks, slots: int) -> Callable[[Homes], int]:
    """Sum over the cyclic slots of work and exchange, each the most of its rows, rounded up."""
    chunks = len(marks) - 1
    running = [
        [(i, (t - i) % slots) for i in range(tables.stages) if (t - i) % slots < chunks] for t in range(slots)
    ]
    tau, rate = chunk_times(tables, marks), capacities(tables)
    grid = [int(g) for g in tables.grid]
    exchange = sum(_exchange_time(tables, marks, pairs) for pairs in running)
    transfers = own_transfers(tables, marks)

    def cost(homes: Homes) -> int:
        moved = transfers(homes)
        whole = exchange
        for pairs in running:
            work: list[Number] = [0]
            load: dict[tuple[str, int], int] = defaultdict(int)
            for i, j in pairs:
                load["port", i] += int(tables.own_traffic[i, grid.index(marks[j + 1])])
                late: Number = 0
                for (owner, chunk, kind, r), size in moved.items():
                    if (owner, chunk) == (i, j):
                        load[kind, r] += size
                        late = max(late, Fraction(size, rate[kind, r]))
                work.append(tau[i][j] + (1 - tables.overlap) * late)
            work += [Fraction(size, rate[where]) for where, size in load.items()]
            whole += ceil(max(work))
        return whole

    return cost


def brute_force_period(tables: Tables, slots: int) -> PeriodOptimum | None:
    """The least lockstep period of requests `slots` slots apart; None if no plan is feasible."""
    best: PeriodOptimum | None = None
    for marks in partitions(tables):
        if len(marks) - 1 <= slots:
            best = _better_homes(tables, marks, slots, best)
    return best


def _better_homes(
    tables: Tables, marks: Marks, slots: int, best: PeriodOptimum | None
) -> PeriodOptimum | None:
    """The best plan of one partition if it is better than the best so far."""
    cost = period_price(tables, marks, slots)
    local = cost({})
    limit = None if best is None else best.value

    def worth(homes: Homes) -> bool:
        return limit is None or cost(homes) < limit

    if not worth({}):
        return best  # KV that lives away never makes a partition cheaper
    for homes in cyclic_homes(tables, marks, slots, worth):
        value = cost(homes)
        if limit is None or value < limit:
            limit, best = value, PeriodOptimum(value, _plan(marks, homes), slots)
        if value == local:
            break
    return best
