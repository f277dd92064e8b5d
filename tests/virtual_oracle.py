"""All orders of devices' work on virtual stages by enumeration, priced by relaxation: no code in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product


def linear_orders(rows: list[int], chunks: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Every order of (virtual stage, chunk) on one device with chunks and a chunk's stages ascending."""

    def extend(counts: tuple[int, ...], done: tuple[tuple[int, int], ...]) -> Iterator[tuple]:
        if all(count == chunks for count in counts):
            yield done
        for r, count in enumerate(counts):
            if count < chunks and (r == 0 or counts[r - 1] > count):
                yield from extend((*counts[:r], count + 1, *counts[r + 1 :]), (*done, (rows[r], count)))

    yield from extend((0,) * len(rows), ())


def price(device: list[int], work, send, orders, depth: int | None) -> int | None:
    """Makespan of given orders by repeated relaxation; None if they wait in a circle."""
    stages, chunks = len(work), len(work[0])
    arcs = []  # (task, task, how much later it begins)
    for u, j in product(range(stages), range(chunks)):
        if u + 1 < stages:
            arcs.append(((u, j), (u + 1, j), work[u][j] + send[u][j]))
            if depth is not None and j + depth < chunks:
                arcs.append(((u + 1, j), (u, j + depth), 0))
    for order in orders:
        arcs += [(a, b, work[a[0]][a[1]]) for a, b in pairwise(order)]
    begin = dict.fromkeys(product(range(stages), range(chunks)), 0)
    for _ in range(stages * chunks + 1):
        late = [(b, begin[a] + length) for a, b, length in arcs if begin[a] + length > begin[b]]
        if not late:
            return max(begin[u, j] + work[u][j] for u, j in begin)
        for b, when in late:
            begin[b] = max(begin[b], when)
    return None


def least_makespan(device: list[int], work, send, depth: int | None) -> int:
    """The best over all orders of all devices."""
    chunks = len(work[0])
    hosted = [[u for u, i in enumerate(device) if i == k] for k in range(max(device) + 1)]
    choices = [list(linear_orders(rows, chunks)) for rows in hosted]
    prices = (price(device, work, send, orders, depth) for orders in product(*choices))
    return min(value for value in prices if value is not None)
