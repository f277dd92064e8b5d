"""Brute force: every plan of a tiny instance, judged and priced in plain Python.

Nothing here is shared with the verifier, the replays or the programs: memory rows and prices are
written out again, from the fields of the tables, with Python integers and fractions.

A price is a function of (tables, boundaries) that returns a function of homes.  It must never fall
when a page moves away from its stage; brute force skips plans on the strength of that, and of
nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations, pairwise
from math import ceil

from held_oracle import held_bytes

from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.tables.cost_tables import Tables

Marks = tuple[int, ...]  # boundaries, tokens
Homes = dict[tuple[int, int, int], int]  # (stage, chunk, memory) -> pages that live away
Number = int | Fraction
Price = Callable[[Tables, Marks], Callable[[Homes], Number]]


@dataclass(frozen=True)
class Optimum:
    """The best plan there is."""

    tables: Tables
    value: Number
    plan: Plan

    @cached_property
    def feasible_plans(self) -> int:
        """The number of feasible plans, counted one by one."""
        return count_plans(self.tables)


# --- which plans exist -------------------------------------------------------------------------


def partitions(tables: Tables) -> Iterator[Marks]:
    """Every way to cut the prompt that respects the grid, the count and the limits."""
    *inner, end = [int(g) for g in tables.grid][1:]
    for chunks in range(1, min(tables.max_chunks, len(inner) + 1) + 1):
        if tables.exact_chunks and chunks != tables.max_chunks:
            continue
        for cuts in combinations(inner, chunks - 1):
            marks = (0, *cuts, end)
            if all(tables.min_length <= b - a <= tables.max_length for a, b in chunks_of(marks)) and (
                between_tokens_kept(tables, marks)
            ):
                yield marks


def between_tokens_kept(tables: Tables, marks: Marks) -> bool:
    """Whether every chunk passes all stages within the limit on the time between tokens."""
    if tables.between_tokens is None:
        return True
    rows = [*chunk_times(tables, marks), *send_times(tables, marks)]
    return all(sum(chunk) <= tables.between_tokens for chunk in zip(*rows, strict=True))


def tokens_exist(tables: Tables, marks: Marks) -> list[int]:
    """When all tokens up to the end of each chunk exist, ticks."""
    if tables.available is None:
        return [0] * (len(marks) - 1)
    grid = [int(g) for g in tables.grid]
    return [int(tables.available[grid.index(end)]) for end in marks[1:]]


def chunks_of(marks: Marks) -> list[tuple[int, int]]:
    return list(pairwise(marks))


def pages_of(tables: Tables, marks: Marks) -> list[int]:
    """Pages that each chunk's KV takes: those up to its end less those up to its start."""
    return [ceil(Fraction(b, tables.page)) - ceil(Fraction(a, tables.page)) for a, b in chunks_of(marks)]


def room_for_kv(tables: Tables, marks: Marks) -> list[list[int]]:
    """[memory][slot]: capacity less all that is there whatever the homes are."""
    longest = max(b - a for a, b in chunks_of(marks))
    chunks = len(marks) - 1
    room = []
    for k in range(tables.memories):
        held = tables.tokens
        if tables.queue_depth is not None:
            held = min(2 * tables.queue_depth * longest, held)
        reserve = held_bytes(tables, k, held, longest)
        free = int(tables.capacity[k]) - int(tables.static[k]) - reserve
        prefix = int(tables.prefix_bytes[k])
        slots = range(chunks + tables.stages - 1)
        room.append([free - prefix if 0 <= t - k < chunks and k < tables.stages else free for t in slots])
    return room


def ways(pages: int, memories: int, own: int) -> list[tuple[int, ...]]:
    """Every way to spread pages over memories, most on the own memory first."""

    def spread(left: int, count: int) -> Iterator[tuple[int, ...]]:
        if count == 1:
            yield (left,)
            return
        for first in range(left + 1):
            for rest in spread(left - first, count - 1):
                yield (first, *rest)

    return sorted(spread(pages, memories), key=lambda way: -way[own])


def feasible_homes(
    tables: Tables, marks: Marks, worth: Callable[[Homes], bool] = lambda homes: True
) -> Iterator[Homes]:
    """Every choice of homes that no memory row forbids, the all-local one first if it is among them.

    A choice is dropped as soon as the KV placed so far overfills a row (more KV never frees any),
    or is not worth pursuing.
    """
    stages, chunks = tables.stages, len(marks) - 1
    page_bytes = [int(size) for size in tables.page_bytes]
    room = room_for_kv(tables, marks)
    if any(free < 0 for row in room for free in row):
        return
    cells = [(i, j) for i in range(stages) for j in range(chunks)]
    choices = {(i, j): ways(pages_of(tables, marks)[j], tables.memories, i) for i, j in cells}
    homes: Homes = {}

    def place(at: int) -> Iterator[Homes]:
        if at == len(cells):
            yield dict(homes)
            return
        i, j = cells[at]
        alive = range(i + j, i + chunks)  # from the chunk's slot to that of the stage's last chunk
        for way in choices[i, j]:
            sizes = [pages * page_bytes[i] for pages in way]
            if all(room[k][t] >= size for k, size in enumerate(sizes) if size for t in alive):
                for k, size in enumerate(sizes):
                    for t in alive:
                        room[k][t] -= size
                    if k != i and way[k]:
                        homes[i, j, k] = way[k]
                if way[i] == sum(way) or worth(homes):
                    yield from place(at + 1)
                for k, size in enumerate(sizes):
                    for t in alive:
                        room[k][t] += size
                    homes.pop((i, j, k), None)

    yield from place(0)


def count_plans(tables: Tables) -> int:
    return sum(1 for marks in partitions(tables) for _ in feasible_homes(tables, marks))


def is_feasible(tables: Tables, plan: Plan) -> bool:
    """Whether a plan, however malformed, is one of those that brute force would visit."""
    marks, stages = plan.boundaries, tables.stages
    if not _cut_properly(tables, marks):
        return False
    left = {(i, j): pages for i in range(stages) for j, pages in enumerate(pages_of(tables, marks))}
    use = defaultdict(int)
    seen = set()
    for home in plan.homes:
        cell, where = (home.stage, home.chunk), (home.stage, home.chunk, home.memory)
        outside = cell not in left or not 0 <= home.memory < tables.memories or home.memory == home.stage
        if outside or home.pages < 1 or where in seen:
            return False
        seen.add(where)
        left[cell] -= home.pages
        use[where] += home.pages
    if min(left.values()) < 0:
        return False
    for (i, j), pages in left.items():
        use[i, j, i] = pages
    room = room_for_kv(tables, marks)
    for (i, j, k), pages in use.items():
        for t in range(i + j, i + plan.chunks):
            room[k][t] -= pages * int(tables.page_bytes[i])
    return all(free >= 0 for row in room for free in row)


def _cut_properly(tables: Tables, marks: Marks) -> bool:
    counts = {tables.max_chunks} if tables.exact_chunks else set(range(1, tables.max_chunks + 1))
    points = {int(g) for g in tables.grid}
    return (
        len(marks) - 1 in counts
        and (marks[0], marks[-1]) == (0, tables.tokens)
        and set(marks) <= points
        and all(a < b and tables.min_length <= b - a <= tables.max_length for a, b in chunks_of(marks))
        and between_tokens_kept(tables, marks)
    )


# --- what a plan costs -------------------------------------------------------------------------


def chunk_times(tables: Tables, marks: Marks) -> list[list[int]]:
    """tau, [stage][chunk], ticks."""
    grid = [int(g) for g in tables.grid]
    times = []
    for i in range(tables.stages):
        row = []
        for start, end in chunks_of(marks):
            a, b = grid.index(start), grid.index(end)
            tail = 1 if b == len(grid) - 1 else 0
            compute = int(tables.phi[i, b]) - int(tables.phi[i, a]) + int(tables.full_block[i, tail, b - a])
            slowest = max(compute, int(tables.memory_side[i, b]))
            extra = 0 if tables.residual is None else int(tables.residual[i, a, b])
            fixed = int(tables.prefix_cost[i, a]) + int(tables.length_cost[i, tail, b - a])
            row.append(slowest + fixed + extra)
        times.append(row)
    return times


def send_times(tables: Tables, marks: Marks) -> list[list[int]]:
    """Uncontended sends, [stage][chunk], ticks; the last stage sends nothing."""
    grid = [int(g) for g in tables.grid]
    spans = [(grid.index(a), grid.index(b)) for a, b in chunks_of(marks)]
    tail = [1 if b == len(grid) - 1 else 0 for _, b in spans]
    return [
        [
            int(tables.send[i, tail[j], b - a]) if i < tables.stages - 1 else 0
            for j, (a, b) in enumerate(spans)
        ]
        for i in range(tables.stages)
    ]


def routes(tables: Tables) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """(from, to) -> links crossed, each with the numerator of its share."""
    pairs = [(a, b) for a in range(tables.memories) for b in range(tables.memories)]
    shares = tables.share.tolist()
    return {(a, b): [(e, row[a][b]) for e, row in enumerate(shares) if row[a][b]] for a, b in pairs}


Loads = dict[tuple[int, int, str, int], int]


def fixed_transfers(tables: Tables, marks: Marks, *, weights: bool) -> Loads:
    """What each chunk moves whatever the homes: streamed weights, or exports and the prefix load."""
    way, load = routes(tables), defaultdict(int)
    rows = [] if tables.fixed_messages is None else tables.fixed_messages.tolist()
    for kind, i, source, target, each, per_page, first in rows:
        for j, pages in enumerate(pages_of(tables, marks)):
            size = each + per_page * pages + (first if j == 0 else 0)
            if size and (kind == 0) == weights:
                for link, share in way[source, target]:
                    load[i, j, "link", link] += size * share
                load[i, j, "port", source if target == i else target] += size
    return dict(load)


def own_transfers(tables: Tables, marks: Marks) -> Callable[[Homes], Loads]:
    """What each chunk moves: (stage, chunk, "link" or "port", which) -> bytes; streamed weights apart.

    Bytes on links are in units of 1 / share_denominator.
    """
    way = routes(tables)
    page_bytes = [int(size) for size in tables.page_bytes]
    chunks, fixed = len(marks) - 1, fixed_transfers(tables, marks, weights=False)

    def loads(homes: Homes) -> Loads:
        load: Loads = defaultdict(int, fixed)
        for (i, j, k), pages in homes.items():
            size = pages * page_bytes[i]
            for later in range(j, chunks):  # chunk j writes; every later chunk reads
                for link, share in way[i, k] if later == j else way[k, i]:
                    load[i, later, "link", link] += size * share
                load[i, later, "port", k] += size
        return load

    return loads


def capacities(tables: Tables) -> dict[tuple[str, int], int]:
    """Units per tick of every link and port, in the units of `own_transfers`."""
    links = {("link", e): int(rate) * tables.share_denominator for e, rate in enumerate(tables.link_rate)}
    return links | {("port", k): int(rate) for k, rate in enumerate(tables.port_rate)}


def lockstep_price(tables: Tables, marks: Marks) -> Callable[[Homes], int]:
    """Sum over slots of work and exchange, each the most of its rows, rounded up."""
    stages, chunks = tables.stages, len(marks) - 1
    tau, rate = chunk_times(tables, marks), capacities(tables)
    grid = [int(g) for g in tables.grid]
    ends = [grid.index(end) for end in marks[1:]]
    slots = range(chunks + stages - 1)
    running = [[(i, t - i) for i in range(stages) if 0 <= t - i < chunks] for t in slots]
    own_port = [{i: int(tables.own_traffic[i, ends[j]]) for i, j in running[t]} for t in slots]
    alone = [max(tau[i][j] for i, j in running[t]) for t in slots]
    for t in slots:
        for i, size in own_port[t].items():
            alone[t] = max(alone[t], ceil(Fraction(size, rate["port", i])))
    exchange = [_exchange_time(tables, marks, running[t]) for t in slots]
    exist = tokens_exist(tables, marks)
    transfers, weights = own_transfers(tables, marks), fixed_transfers(tables, marks, weights=True)
    serial = 1 - tables.overlap

    def cost(homes: Homes) -> int:
        load: dict[tuple[int, str, int], int] = defaultdict(int)
        for (i, j, kind, r), size in weights.items():
            load[i + j, kind, r] += size
        work: list[Number] = list(alone)
        for (i, j, kind, r), size in transfers(homes).items():
            t = i + j
            if serial:
                work[t] = max(work[t], tau[i][j] + serial * Fraction(size, rate[kind, r]))
            load[t, kind, r] += size
        for (t, kind, r), size in load.items():
            own = own_port[t].get(r, 0) if kind == "port" else 0
            work[t] = max(work[t], Fraction(size + own, rate[kind, r]))
        now = 0
        for t in slots:
            # Slot t begins once the tokens of the chunk exist that enters stage 0 in it.
            now = max([now, *exist[t : t + 1]]) + ceil(work[t]) + exchange[t]
        return now

    return cost


def message_bytes(tables: Tables, stage: int, start: int, end: int) -> int:
    """Activations of a chunk, between tokens, and of what is decoded with it."""
    size = (end - start) * int(tables.activation_bytes[stage])
    if tables.rider_bytes is None:
        return size
    steps = -(-(end - start) // tables.quantum)
    return size + int(tables.rider_bytes[int(end == tables.tokens), steps])


def _exchange_time(tables: Tables, marks: Marks, running: list[tuple[int, int]]) -> int:
    """Sends that share a slot: each alone, and together on every link."""
    senders = [(i, j) for i, j in running if i < tables.stages - 1]
    sends = send_times(tables, marks)
    longest: Number = max((sends[i][j] for i, j in senders), default=0)
    for e, rate in enumerate(tables.link_rate):
        size, hops = 0, 0
        for i, j in senders:
            share = int(tables.share[e, i, i + 1])
            if share:
                size += share * message_bytes(tables, i, marks[j], marks[j + 1])
                hops = max(hops, int(tables.hop_ticks[i, i + 1]))
        longest = max(longest, Fraction(size, int(rate) * tables.share_denominator) + hops)
    return ceil(longest)


def contention_free_price(tables: Tables, marks: Marks) -> Callable[[Homes], Fraction]:
    """Latency if nothing waited for another stage's traffic, a queue or memory; sends as tabulated."""
    return _recursion(tables, marks, send_times(tables, marks))


def least_price(tables: Tables, marks: Marks) -> Callable[[Homes], Fraction]:
    """The same with sends not rounded up: no execution of the plan, with barriers or without, is faster."""
    rates = [int(rate) * tables.share_denominator for rate in tables.link_rate]
    sends: list[list[Number]] = []
    for i, row in enumerate(send_times(tables, marks)):
        sends.append([])
        for (a, b), tabulated in zip(chunks_of(marks), row, strict=True):
            if i == tables.stages - 1:
                sends[i].append(tabulated)
                continue
            size = message_bytes(tables, i, a, b)
            parts = [Fraction(size * int(tables.share[e, i, i + 1]), rate) for e, rate in enumerate(rates)]
            sends[i].append(min(tabulated, int(tables.hop_ticks[i, i + 1]) + max(parts, default=0)))
    return _recursion(tables, marks, sends)


def _recursion(tables: Tables, marks: Marks, sends: list[list[Number]]) -> Callable[[Homes], Fraction]:
    """Start and end of every chunk by the recursion, exact; a chunk takes max(tau + (1 - f) x, x).

    In the second x streamed weights count too.  A chunk starts once it has arrived, the stage is idle, and
    the chunk Q before it has been started on the next stage.
    """
    stages, chunks = tables.stages, len(marks) - 1
    tau, rate, transfers = chunk_times(tables, marks), capacities(tables), own_transfers(tables, marks)
    weights = fixed_transfers(tables, marks, weights=True)
    depth = chunks if tables.queue_depth is None else tables.queue_depth
    exist = tokens_exist(tables, marks)

    def cost(homes: Homes) -> Fraction:
        slowest = {(i, j): Fraction(0) for i in range(stages) for j in range(chunks)}
        held = dict(slowest)
        moved = transfers(homes)
        for (i, j, kind, r), size in moved.items():
            slowest[i, j] = max(slowest[i, j], Fraction(size, rate[kind, r]))
        for i, j, kind, r in {**moved, **weights}:
            size = moved.get((i, j, kind, r), 0) + weights.get((i, j, kind, r), 0)
            held[i, j] = max(held[i, j], Fraction(size, rate[kind, r]))
        begun: dict[tuple[int, int], Fraction] = {}
        done: dict[tuple[int, int], Fraction] = {}
        for j in range(chunks):
            for i in range(stages):
                x = slowest[i, j]
                arrived = done[i - 1, j] + sends[i - 1][j] if i else Fraction(0)
                idle = done[i, j - 1] if j else Fraction(0)
                queued = begun[i + 1, j - depth] if i + 1 < stages and j >= depth else Fraction(0)
                if i == 0:
                    arrived = Fraction(exist[j])
                    if tables.loop and j >= stages:
                        arrived = max(arrived, done[stages - 1, j - stages])
                begun[i, j] = max(arrived, idle, queued)
                done[i, j] = begun[i, j] + max(tau[i][j] + (1 - tables.overlap) * x, held[i, j])
        return done[stages - 1, chunks - 1]

    return cost


def price_plan(tables: Tables, plan: Plan, price: Price = lockstep_price) -> Number:
    """What a plan costs, feasible or not."""
    homes = {(home.stage, home.chunk, home.memory): home.pages for home in plan.homes}
    return price(tables, plan.boundaries)(homes)


# --- the best plan -----------------------------------------------------------------------------


def brute_force(tables: Tables, price: Price = lockstep_price) -> Optimum | None:
    """The cheapest feasible plan; None if there is none."""
    best: Optimum | None = None
    by_local_price = sorted((price(tables, marks)({}), marks) for marks in partitions(tables))
    for local, marks in by_local_price:
        if best is not None and local >= best.value:
            break  # KV that lives away never makes a partition cheaper than it is without any
        limit = None if best is None else best.value
        found = _cheapest_homes(tables, marks, price(tables, marks), local, limit)
        if found is not None:
            best = found
    return best


def _cheapest_homes(
    tables: Tables, marks: Marks, cost: Callable[[Homes], Number], local: Number, limit: Number | None
) -> Optimum | None:
    """The cheapest feasible homes of one partition, if cheaper than the limit."""
    best: Optimum | None = None

    # Called while the rest is still at home, whose moving away can only raise the price.
    def worth(homes: Homes) -> bool:
        return limit is None or cost(homes) < limit

    for homes in feasible_homes(tables, marks, worth):
        value = cost(homes)
        if limit is None or value < limit:
            limit, best = value, Optimum(tables, value, _plan(marks, homes))
        if value == local:
            break
    return best


def local_optimum(tables: Tables, price: Price = lockstep_price) -> Optimum | None:
    """The cheapest feasible plan whose KV all stays at home; None if there is none."""
    found = [Plan(marks) for marks in partitions(tables) if is_feasible(tables, Plan(marks))]
    priced = [(price_plan(tables, plan, price), plan.boundaries) for plan in found]
    if not priced:
        return None
    value, marks = min(priced)
    return Optimum(tables, value, Plan(marks))


def _plan(marks: Marks, homes: Homes) -> Plan:
    return Plan(marks, tuple(sorted(Home(i, j, k, pages) for (i, j, k), pages in homes.items())))
