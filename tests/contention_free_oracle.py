"""The contention-free program's objective in plain Python, for `oracle.brute_force`.

Written from ``formulations/contention_free.md``, with nothing shared with the programs.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from held_oracle import held_bytes
from oracle import Homes, Marks, capacities, fixed_transfers, message_bytes, own_transfers, tokens_exist
from oracle import chunk_times as compute_times

from mocap_opt.tables.cost_tables import Tables


def contention_free_latency(tables: Tables, marks: Marks) -> Callable[[Homes], int]:
    """Recursion with least sends, rounded-down durations and queues, and the rows of links and ports."""
    stages, chunks = tables.stages, len(marks) - 1
    tau, rate = chunk_times(tables, marks), capacities(tables)
    sends = [[least_send(tables, i, a, b) for a, b in pairwise(marks)] for i in range(stages)]
    transfers, weights = own_transfers(tables, marks), fixed_transfers(tables, marks, weights=True)
    fixed = fixed_units(tables, marks)
    ways = {key: around(tables, marks, key) for key in rate if crossed(tables, key)}
    apart = 1 - tables.overlap
    depth = chunks if tables.queue_depth is None else tables.queue_depth
    exist = tokens_exist(tables, marks)

    def cost(homes: Homes) -> int:
        slow = [row[:] for row in tau]
        units = dict(fixed)
        moved = transfers(homes)
        for i, j, kind, r in {**moved, **weights}:
            load = moved.get((i, j, kind, r), 0)
            both = load + weights.get((i, j, kind, r), 0)
            units[kind, r] = units.get((kind, r), 0) + both
            stretched = tau[i][j] + apart.numerator * load // (apart.denominator * rate[kind, r])
            slow[i][j] = max(slow[i][j], stretched, both // rate[kind, r])
        start = [[0] * chunks for _ in range(stages)]
        end = [[0] * chunks for _ in range(stages)]
        for j in range(chunks):
            for i in range(stages):
                arrived = end[i - 1][j] + sends[i - 1][j] if i else 0
                queued = start[i + 1][j - depth] if i + 1 < stages and j >= depth else 0
                if i == 0:
                    arrived = exist[j]
                    if tables.loop and j >= stages:
                        arrived = max(arrived, end[-1][j - stages])
                start[i][j] = max(arrived, queued, end[i][j - 1] if j else 0)
                end[i][j] = start[i][j] + slow[i][j]
        rows = [first + units.get(key, 0) // rate[key] + follow for key, (first, follow) in ways.items()]
        return max([end[-1][-1], *rows])

    return cost


def chunk_times(tables: Tables, marks: Marks) -> list[list[int]]:
    """Compute, or f times what a chunk's fixed messages need alone, rounded down, where that is longer."""
    times, rate, load = compute_times(tables, marks), capacities(tables), {}
    for weights in (True, False):
        for key, size in fixed_transfers(tables, marks, weights=weights).items():
            load[key] = load.get(key, 0) + size
    for (i, j, kind, r), size in load.items():
        alone = tables.overlap.numerator * size // (tables.overlap.denominator * rate[kind, r])
        times[i][j] = max(times[i][j], alone)
    return times


def least_send(tables: Tables, i: int, a: int, b: int) -> int:
    """Smaller of the table and of hops + bytes over the slowest link, rounded down."""
    if i == tables.stages - 1:
        return 0
    grid = [int(g) for g in tables.grid]
    k, tail = grid.index(b) - grid.index(a), int(b == tables.tokens)
    size = message_bytes(tables, i, a, b)
    busy = [
        size * int(share) // (int(rate) * tables.share_denominator)
        for share, rate in zip(tables.share[:, i, i + 1], tables.link_rate, strict=True)
    ]
    return min(int(tables.send[i, tail, k]), max(busy, default=0) + int(tables.hop_ticks[i, i + 1]))


def remote_homes(tables: Tables) -> set[tuple[int, int]]:
    """(stage, memory) pairs: KV may live away from its stage there."""
    grid = [int(g) for g in tables.grid]
    lengths = {b - a for n, a in enumerate(grid) for b in grid[n + 1 :]}
    allowed = [n for n in lengths if tables.min_length <= n <= tables.max_length]

    def room(k: int, longest: int) -> int:
        held = tables.tokens
        if tables.queue_depth is not None:
            held = min(2 * tables.queue_depth * longest, held)
        reserve = held_bytes(tables, k, held, longest)
        return int(tables.capacity[k]) - int(tables.static[k]) - reserve

    stages, memories = range(tables.stages), range(tables.memories)
    pages = -(-tables.tokens // tables.page)
    whole = [pages * int(tables.page_bytes[k]) + int(tables.prefix_bytes[k]) for k in stages]
    whole += [0] * len(tables.pools)
    if all(whole[k] <= room(k, max(allowed)) for k in memories):
        return set()
    pairs = [(i, k) for i in stages for k in memories if i != k]
    return {(i, k) for i, k in pairs if room(k, min(allowed)) >= int(tables.page_bytes[i])}


def fixed_units(tables: Tables, marks: Marks) -> dict[tuple[str, int], int]:
    """Activations on links and own traffic at ports."""
    units = {}
    grid = [int(g) for g in tables.grid]
    for e in range(len(tables.links)):
        share = [
            int(tables.share[e, i, i + 1]) * int(tables.activation_bytes[i]) for i in range(tables.stages - 1)
        ]
        units["link", e] = sum(share) * tables.tokens
    for k in range(tables.stages):
        units["port", k] = sum(int(tables.own_traffic[k, grid.index(b)]) for b in marks[1:])
    return units


def writers_readers_senders(tables: Tables, key: tuple[str, int]) -> tuple[list[int], list[int], list[int]]:
    """Stages whose KV, fixed messages (released as writes are) or activations may pass."""
    kind, r = key
    stages, memories, away = range(tables.stages), range(tables.memories), remote_homes(tables)
    rows = [] if tables.fixed_messages is None else tables.fixed_messages.tolist()
    if kind == "port":
        others = [i for i in stages if (i, r) in away]
        carried = [i for _, i, source, target, *sizes in rows if any(sizes) and r in {source, target} - {i}]
        return sorted({*others, *carried}), others, []
    share = tables.share[r]
    writers = [i for i in stages if any(share[i, k] for k in memories if (i, k) in away)]
    carried = [i for _, i, source, target, *sizes in rows if any(sizes) and share[source, target]]
    writers = sorted({*writers, *carried})
    readers = [i for i in stages if any(share[k, i] for k in memories if (i, k) in away)]
    return writers, readers, [i for i in stages[:-1] if share[i, i + 1]]


def crossed(tables: Tables, key: tuple[str, int]) -> bool:
    """Whether anything may pass."""
    return (key[0] == "port" and key[1] < tables.stages) or any(writers_readers_senders(tables, key))


def around(tables: Tables, marks: Marks, key: tuple[str, int]) -> tuple[int, int]:
    """First possible use, and the least that follows the last one."""
    writers, readers, senders = writers_readers_senders(tables, key)
    stages, end = tables.stages, tables.tokens
    grid = [int(g) for g in tables.grid]

    def work(i: int, a: int, b: int) -> int:
        return chunk_times(tables, (a, b))[i][0] if b < end or a == 0 else _tail(tables, i, a)

    def enter(i: int, b: int) -> int:
        return sum(work(u, 0, b) + least_send(tables, u, 0, b) for u in range(i))

    # The least over first chunks at least as long, so that it grows with the first chunk.
    longer = [b for b in grid if b >= marks[1]]
    starts = [min(enter(i, b) for b in longer) for i in range(stages)]
    stops = [min(enter(i, b) + work(i, 0, b) for b in longer) for i in range(stages)]
    last = marks[-2]
    leave = [
        sum(least_send(tables, u - 1, last, end) + work(u, last, end) for u in range(i + 1, stages))
        for i in range(stages)
    ]
    first = [starts[i] for i in writers] + [stops[i] for i in [*readers, *senders]]
    follow = [leave[i] for i in [*writers, *readers]]
    follow += [leave[i] - least_send(tables, i, last, end) for i in senders]
    if key[0] == "port" and key[1] < stages:
        first.append(starts[key[1]])
        follow.append(leave[key[1]])
    return min(first), min(follow)


def _tail(tables: Tables, i: int, a: int) -> int:
    """Time of the chunk from `a` to the end, as the second of two chunks."""
    return chunk_times(tables, (0, a, tables.tokens))[i][1]
