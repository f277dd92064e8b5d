"""Proofs that an instance has no feasible plan (formulations/bounds.md, Infeasibility)."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import decimal_bytes


@dataclass(frozen=True)
class Infeasibility:
    """Why no plan is feasible.

    Attributes
    ----------
    memory : int or None
        The memory that cannot hold what must be there; None: all together, or not a matter of memory.
    slot : int or None
        Slot in which bytes are short in the plan that comes closest; None if in all its slots, or
        not a matter of memory.
    bytes_short : int
        How many; 0 if not a matter of memory.
    message : str
    """

    memory: int | None
    slot: int | None
    bytes_short: int
    message: str

    def __str__(self) -> str:
        """Return the message."""
        return self.message


def prove_infeasible(tables: Tables, asked_to_stop: AskedToStop = never) -> Infeasibility | None:
    """Prove that no plan is feasible, or return None, which proves nothing.

    Looks at every count and every length of the longest chunk, with all memories pooled; once asked to
    stop it gives up.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before each count and range of lengths.
    """
    setting = Setting(tables)
    if not setting.counts:
        return _no_partition(tables)
    shortest = min(setting.limits.shortest_longest(chunks) for chunks in setting.counts)
    memory = PooledMemory.of(tables)
    # At least one chunk is that long; only the last one's final step may be shorter than the others.
    alone = _memory_too_small(tables, memory, int(tables.lengths[1, shortest]))
    return alone if alone is not None else _pool_too_small(setting, memory, asked_to_stop)


def _no_partition(tables: Tables) -> Infeasibility:
    counts = tables.counts
    wanted = f"exactly {counts[-1]}" if tables.exact_chunks else f"at most {counts[-1]}"
    message = (
        f"no partition: {tables.tokens} tokens in steps of {tables.quantum} cannot be cut into {wanted} "
        f"chunks of {tables.min_length} to {tables.max_length} tokens"
    )
    return Infeasibility(None, None, 0, message)


def _memory_too_small(tables: Tables, memory: PooledMemory, longest: int) -> Infeasibility | None:
    """Compare each memory with what it holds whatever the plan."""
    short = tables.prefix_bytes - memory.free(longest)
    k = int(short.argmax())
    if short[k] <= 0:
        return None
    parts = {
        "static": int(tables.static[k]),
        "reserve": int(tables.reserve(longest)[k]),
        "cached prefix": int(tables.prefix_bytes[k]),
    }
    total = " + ".join(f"{name} {decimal_bytes(size)}" for name, size in parts.items() if size)
    name = tables.memory_name(k) + f" (stage {k})" * (k < tables.stages)
    message = (
        f"{name}: {total} exceeds its {decimal_bytes(int(tables.capacity[k]))} "
        f"by {decimal_bytes(int(short[k]))} in every plan"
    )
    return Infeasibility(k, k if tables.prefix_bytes[k] else None, int(short[k]), message)


@dataclass(order=True, frozen=True)
class _Shortfall:
    """Least bytes short in plans of one count whose longest chunk has from `least` to `most` steps."""

    bytes_short: int
    chunks: int
    least: int
    most: int
    slot: int
    need: int


def _short(setting: Setting, memory: PooledMemory, chunks: int, least: int, most: int) -> _Shortfall | None:
    """Compare least need with most room; None if a memory overflows without any KV of the request."""
    room = memory.room(chunks, int(setting.tables.lengths[1, least]))
    if room is None:
        return None
    need = memory.need(setting.limits.least_boundaries(chunks, most))
    slot = int((need - room).argmax())
    return _Shortfall(int(need[slot] - room[slot]), chunks, least, most, slot, int(need[slot]))


def _pool_too_small(
    setting: Setting, memory: PooledMemory, asked_to_stop: AskedToStop
) -> Infeasibility | None:
    """Look for the count and longest chunk that come closest to fitting the pool, best first."""
    limits, steps = setting.limits, setting.tables.steps
    spans = [(chunks, limits.shortest_longest(chunks), steps) for chunks in setting.counts]
    heap: list[_Shortfall] = []
    while True:
        found = (_short(setting, memory, *span) for span in spans)
        for shortage in found:
            if asked_to_stop():
                return None
            if shortage is not None:
                heapq.heappush(heap, shortage)
        # Never empty: the least longest chunk has passed every memory alone, and is tried.
        closest = heapq.heappop(heap)
        if closest.least == closest.most:
            return None if closest.bytes_short <= 0 else _pool_message(setting.tables, closest)
        middle = (closest.least + closest.most) // 2
        spans = [(closest.chunks, closest.least, middle), (closest.chunks, middle + 1, closest.most)]


def _pool_message(tables: Tables, closest: _Shortfall) -> Infeasibility:
    room = closest.need - closest.bytes_short
    message = (
        f"all memories together: even the plan that comes closest, with {closest.chunks} chunks of at most "
        f"{min(closest.most * tables.quantum, tables.tokens)} tokens, needs {decimal_bytes(closest.need)} of "
        f"KV in slot {closest.slot} and finds room for {decimal_bytes(room)}: "
        f"{decimal_bytes(closest.bytes_short)} short"
    )
    return Infeasibility(None, closest.slot, closest.bytes_short, message)
