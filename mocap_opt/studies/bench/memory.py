"""How much memory a die needs for its stage to hold a given part of one request's cache."""

from __future__ import annotations

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.instance import Instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables


def equal_chunk(tables: Tables) -> int:
    """Tokens of the longest chunk when as many chunks as allowed are as equal as the grid lets them be."""
    return -(-tables.steps // tables.max_chunks) * tables.quantum


def fixed_bytes(tables: Tables) -> int:
    """Weights, cached prefixes and the reserve of equal chunks, all memories together, bytes."""
    return int((tables.static + tables.prefix_bytes + tables.reserve(equal_chunk(tables))).sum())


def whole_cache(tables: Tables) -> int:
    """KV of the whole request on all stages, bytes."""
    return int(tables.page_bytes.sum() * tables.pages[-1])


def die_memory(instance: Instance, share: float) -> int:
    """Size of a die's memory, bytes, with which the memories hold a part of one request's cache.

    All memories together then have room for ``share`` of the cache on all stages beside weights,
    cached prefixes and the reserve of equal chunks.  Identical stages differ by the embedding and the
    output head only, so each has room for nearly that part of its own cache.

    Parameters
    ----------
    instance : Instance
        Its own memory size does not matter.
    share : float
    """
    tables = build_tables(instance)
    return round((fixed_bytes(tables) + share * whole_cache(tables)) / sum(instance.pipeline.dies))


def tightest_share(instance: Instance) -> float:
    """Least part of one request's cache that all memories, pooled, must hold for a plan to fit.

    For a limit on the length of chunks, the plan whose chunks all are that long but the first has the
    least boundaries of all plans within it, and therefore the least KV in every slot; the least over
    all limits is what some plan needs.  The reserve grows with the limit, and counts.

    Parameters
    ----------
    instance : Instance
        Without a cached prefix; its memory size does not matter.
    """
    tables = build_tables(instance)
    pool = PooledMemory.of(tables)
    shortest = -(-tables.min_length // tables.quantum)
    least: int | None = None
    for longest in range(max(shortest, -(-tables.steps // tables.max_chunks)), tables.steps + 1):
        tokens = longest * tables.quantum
        if tokens > tables.max_length:
            break
        boundaries = least_boundaries(tables.steps, longest, shortest)
        if boundaries is None:
            continue
        peak = int(pool.need(boundaries).max())
        needed = peak + int((tables.static + tables.reserve(tokens)).sum())
        least = needed if least is None else min(least, needed)
    if least is None:
        raise ValueError(f"{instance.name}: no count of chunks keeps to the limits on their length")
    return (least - fixed_bytes(tables)) / whole_cache(tables)


def least_boundaries(steps: int, longest: int, shortest: int) -> IntArray | None:
    """Boundaries of the fewest chunks of at most `longest` grid steps, each as small as can be.

    None if so few chunks are already too many for chunks of at least `shortest` steps.
    """
    count = -(-steps // longest)
    if count * shortest > steps:
        return None
    return LengthLimits(steps, shortest, longest, shortest, longest).least_boundaries(count)
