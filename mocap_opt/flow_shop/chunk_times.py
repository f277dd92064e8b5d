"""Times of the chunks of given boundaries on all stages, and stages that these times cannot tell apart."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.recursion import Entry
from mocap_opt.tables.cost_tables import Tables


def chunk_times(
    tables: Tables, boundaries: npt.ArrayLike, sends: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Times of all chunks on all stages before any KV traffic, and of their activations onward.

    Parameters
    ----------
    tables : Tables
    boundaries : int64[chunks + 1, ...]
        Grid indices; further axes are many partitions at once.
    sends : int64[stage, 2, G + 1], optional
        Sends by ``[stage, tail, k]``; by default those of the tables.

    Returns
    -------
    work, send : int64[stage, chunk, ...], ticks
    """
    at = np.asarray(boundaries)
    stage = np.arange(tables.stages).reshape(-1, *(1 for _ in at.shape))
    start, end = at[None, :-1], at[None, 1:]
    tail = (end == tables.steps).astype(np.int64)
    send: IntArray = (tables.send if sends is None else sends)[stage, tail, end - start]
    return tables.tau(stage, start, end), send


def entry(tables: Tables, boundaries: npt.ArrayLike) -> Entry:
    """What holds the chunks of given boundaries back before the first stage.

    Parameters
    ----------
    tables : Tables
    boundaries : int64[chunks + 1, ...]
        Grid indices; further axes are many partitions at once.
    """
    exist = tables.available
    return Entry(None if exist is None else exist[np.asarray(boundaries)[1:]], tables.loop)


def least_sends(tables: Tables) -> IntArray:
    """Time no execution can beat from the end of a chunk on a stage to its arrival at the next.

    The smaller of the send table and of hops + bytes over the slowest link, rounded down: the
    table may be rounded up, an event-driven execution pays the exact time.

    Returns
    -------
    int64[stage, 2, G + 1], ticks
        By ``[stage, tail, k]`` like ``tables.send``; 0 after the last stage and for empty chunks.
    """
    least = tables.send.copy()
    least[-1] = 0
    lengths = tables.lengths.astype(object)  # Python integers: bytes x share may leave 64 bits
    riders = 0 if tables.rider_bytes is None else tables.rider_bytes.astype(object)
    for i in range(tables.stages - 1):
        slowest = send_per_byte(tables, i)
        sent = (lengths * int(tables.activation_bytes[i]) + riders) * slowest.numerator
        exact = int(tables.hop_ticks[i, i + 1]) + sent // slowest.denominator
        least[i] = np.minimum(least[i], exact.astype(np.int64))
    least[:, :, 0] = 0
    return least


def send_per_token(tables: Tables, stage: int) -> Fraction:
    """Ticks that a token's activations take on the slowest link from a stage to the next, exact.

    Parameters
    ----------
    tables : Tables
    stage : int
        Not the last one.
    """
    return send_per_byte(tables, stage) * int(tables.activation_bytes[stage])


def send_per_byte(tables: Tables, stage: int) -> Fraction:
    """Ticks that a byte takes on the slowest link from a stage to the next, exact.

    Parameters
    ----------
    tables : Tables
    stage : int
        Not the last one.
    """
    carried = zip(tables.share[:, stage, stage + 1].tolist(), tables.link_rate.tolist(), strict=True)
    slowest = max((Fraction(part, rate) for part, rate in carried), default=Fraction(0))
    return slowest / tables.share_denominator


def stage_classes(*parts: IntArray) -> IntArray:
    """Number stages so that equal rows of all tables get equal numbers, int64[stage].

    Parameters
    ----------
    parts : int64[stage, ...]

    Returns
    -------
    int64[stage]
        Classes are numbered in the lexicographic order of their rows.
    """
    # The bytes of big-endian numbers with the sign flipped compare as the numbers do.
    keys = [
        b"".join((part[i].astype(np.uint64) ^ np.uint64(1 << 63)).astype(">u8").tobytes() for part in parts)
        for i in range(parts[0].shape[0])
    ]
    number = {key: n for n, key in enumerate(sorted(set(keys)))}
    return np.array([number[key] for key in keys], dtype=np.int64)


def class_members(classes: IntArray) -> IntArray:
    """The first stage of each class, int64[class]."""
    members: IntArray = np.unique(classes, return_index=True)[1]
    return members


def compute_classes(tables: Tables) -> IntArray:
    """Classes of stages with equal compute and memory side, int64[stage]."""
    parts = [tables.phi, tables.full_block, tables.memory_side]
    return stage_classes(*parts, *(() if tables.excess is None else (tables.excess,)))


def alike(tables: Tables) -> bool:
    """Whether every chunk takes as long on all stages; sends and KV may differ."""
    parts = [tables.phi, tables.full_block, tables.memory_side, tables.prefix_cost, tables.length_cost]
    parts += [] if tables.excess is None else [tables.excess]
    return all(np.array_equal(part, np.broadcast_to(part[:1], part.shape)) for part in parts)
