"""KV and fixed messages of a plan, slot by slot, and the load they put on links; exact integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.fixed_messages import MessageKind

# Whole numbers: int64 where they are sure to fit, Python integers (dtype object) where they may not.
Whole = npt.NDArray[Any]

_SAFE = 2**62


@dataclass(frozen=True, eq=False)
class KvTraffic:
    """What stages write to and read from each other's memories, and their fixed messages.

    One row per pair (owner, other) and direction: all writes, then all reads in the same order of
    pairs, then fixed messages.  A write of stage i to memory k travels i -> k, a read k -> i; both belong
    to stage i (the owner) and load the port of memory k (the other).

    Attributes
    ----------
    owner, other, source, target : int64[row]
        Stages and memories.
    stretches : bool[row]
        Whether compute waits for the part (1 - f) of it: not for streamed weights, which have a part of
        their own.
    flow : int64 or object [row, slot], bytes
        Bytes that move in every slot.
    """

    owner: IntArray
    other: IntArray
    source: IntArray
    target: IntArray
    stretches: npt.NDArray[np.bool_]
    flow: Whole


def ceil_div(numerator: Whole, denominator: Whole) -> IntArray:
    """Quotients rounded up, int64.

    Parameters
    ----------
    numerator, denominator : int64 or object array
        Broadcast together; denominators above 0.
    """
    quotient: IntArray = (-(-numerator // denominator)).astype(np.int64, copy=False)
    return quotient


def whole_type(*largest: int) -> type[np.generic]:
    """int64 if numbers of these sizes fit with room to spare, else Python integers."""
    return np.int64 if max(largest, default=0) < _SAFE else np.object_


def link_capacity(tables: Tables, kind: npt.DTypeLike) -> Whole:
    """Bytes per tick of every link, [link, 1], in the unit of link loads: 1 / share_denominator bytes.

    Parameters
    ----------
    tables : Tables
    kind : dtype
        Of the result: int64, or object for Python integers.
    """
    capacity: Whole = tables.link_rate[:, None].astype(kind) * tables.share_denominator
    return capacity


def kv_traffic(tables: Tables, pages: IntArray, slots: int) -> KvTraffic:
    """Bytes that every pair of stages exchanges in every slot; whole pages move.

    Parameters
    ----------
    tables : Tables
    pages : int64[stage, chunk, memory]
        Pages that live away from their stage.
    slots : int
        chunks + stages - 1.
    """
    owner, other = np.nonzero(pages.any(axis=1))
    kind = _kv_type(tables, pages)
    written = pages[owner, :, other].astype(kind) * tables.page_bytes[owner][:, None].astype(kind)
    # Running chunk j, a stage reads what its chunks before j keep elsewhere.
    read = np.cumsum(written, axis=1) - written
    flow = np.zeros((2 * owner.size, slots), dtype=kind)
    pair = np.arange(owner.size)[:, None]
    slot = owner[:, None] + np.arange(pages.shape[1])
    flow[pair, slot] = written
    flow[pair + owner.size, slot] = read
    return KvTraffic(
        owner=np.concatenate([owner, owner]),
        other=np.concatenate([other, other]),
        source=np.concatenate([owner, other]),
        target=np.concatenate([other, owner]),
        stretches=np.ones(2 * owner.size, dtype=np.bool_),
        flow=flow,
    )


def with_fixed_messages(tables: Tables, traffic: KvTraffic, pages: IntArray) -> KvTraffic:
    """KV traffic and what fixed messages move beside it.

    Parameters
    ----------
    tables : Tables
    traffic : KvTraffic
    pages : int64[chunk]
        Of the chunks of a request, which begins in slot 0.
    """
    if not tables.messages:
        return traffic
    messages, moved = tables.messages, [message.sizes(pages) for message in tables.messages]
    # In one slot a stage moves each byte of a message at most once.
    most = sum(sum(sizes.tolist()) for sizes in moved)
    kind = np.result_type(traffic.flow.dtype, _size_type(tables, most)) if most else traffic.flow.dtype
    flow = np.zeros((len(messages), traffic.flow.shape[1]), dtype=kind)
    for row, message, sizes in zip(flow, messages, moved, strict=True):
        row[message.stage : message.stage + pages.size] = sizes
    rows = {
        "owner": [message.stage for message in messages],
        "other": [message.port for message in messages],
        "source": [message.source for message in messages],
        "target": [message.target for message in messages],
    }
    return KvTraffic(
        **{name: np.concatenate([getattr(traffic, name), listed]) for name, listed in rows.items()},
        stretches=np.concatenate(
            [traffic.stretches, [message.kind is not MessageKind.WEIGHTS for message in messages]]
        ),
        flow=np.concatenate([traffic.flow.astype(kind), flow]),
    )


def crossings(tables: Tables, source: IntArray, target: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Which row of traffic crosses which link with what share.

    Parameters
    ----------
    tables : Tables
    source, target : int64[row]
        Where every row of traffic comes from and goes to.

    Returns
    -------
    link, row, numerator : int64[crossing]
        Sorted by link.
    """
    share = tables.share[:, source, target]
    link, row = np.nonzero(share)
    return link, row, share[link, row]


def link_load(tables: Tables, source: IntArray, target: IntArray, flow: Whole) -> Whole:
    """Load of every link in every slot, [link, slot], in 1 / share_denominator bytes.

    Parameters
    ----------
    tables : Tables
    source, target : int64[row]
        Stages and memories.
    flow : int64 or object [row, slot], bytes
    """
    link, row, numerator = crossings(tables, source, target)
    load = np.zeros((len(tables.links), flow.shape[1]), dtype=flow.dtype)
    used, total = reduce_by(np.add, link, numerator[:, None] * flow[row])
    load[used] = total
    return load


def stretch(tables: Tables, traffic: KvTraffic) -> IntArray:
    """(1 - f) x of every stage in every slot, rounded up, int64[stage, slot], ticks.

    x is the most time that the stage's own writes, reads and fixed messages need on any one link or port,
    streamed weights left out.

    Parameters
    ----------
    tables : Tables
    traffic : KvTraffic
    """
    longest = np.zeros((tables.stages, traffic.flow.shape[1]), dtype=np.int64)
    serial = 1 - tables.overlap
    if serial == 0 or not traffic.stretches.any():
        return longest
    kind, kept = traffic.flow.dtype, traffic.stretches
    stage, other, flow = traffic.owner[kept], traffic.other[kept], traffic.flow[kept]
    link, row, numerator = crossings(tables, traffic.source[kept], traffic.target[kept])
    key = stage[row] * len(tables.links) + link
    order = np.argsort(key, kind="stable")
    used, load = reduce_by(np.add, key[order], numerator[order, None] * flow[row[order]])
    owner, link = np.divmod(used, max(len(tables.links), 1))
    capacity = link_capacity(tables, kind)[link] * serial.denominator
    owner, slowest = reduce_by(np.maximum, owner, ceil_div(load * serial.numerator, capacity))
    longest[owner] = slowest

    key = stage * tables.memories + other
    order = np.argsort(key, kind="stable")
    used, touched = reduce_by(np.add, key[order], flow[order])
    owner, other = np.divmod(used, tables.memories)
    rate = tables.port_rate[other, None].astype(kind) * serial.denominator
    owner, slowest = reduce_by(np.maximum, owner, ceil_div(touched * serial.numerator, rate))
    longest[owner] = np.maximum(longest[owner], slowest)
    return longest


def reduce_by(ufunc: np.ufunc, key: IntArray, values: Whole) -> tuple[IntArray, Whole]:
    """Reduce together the rows of `values` whose keys are equal; the keys must be sorted.

    Parameters
    ----------
    ufunc : numpy.ufunc
    key : int64[row]
        Sorted.
    values : int64 or object [row, ...]
    """
    if key.size == 0:
        return key, values
    first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    return key[first], ufunc.reduceat(values, first, axis=0)


def _kv_type(tables: Tables, pages: IntArray) -> type[np.generic]:
    remote = pages.sum(axis=(1, 2)).tolist()
    size = sum(count * each for count, each in zip(remote, tables.page_bytes.tolist(), strict=True))
    return _size_type(tables, size)


def _size_type(tables: Tables, size: int) -> type[np.generic]:
    """Type that holds loads of so many bytes in a slot, twice over, and capacities."""
    numerator = max(int(tables.share.max(initial=0)), 1)
    fraction = tables.overlap.denominator
    rate = max(int(tables.link_rate.max(initial=0)), int(tables.port_rate.max()))
    # In one slot a stage writes and reads each of its remote bytes at most once between them.
    return whole_type(2 * size * numerator * fraction, rate * tables.share_denominator * fraction)
