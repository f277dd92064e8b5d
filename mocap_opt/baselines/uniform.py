"""Uniform: chunks of equal token counts."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits, for_every_count, snap
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def equal_chunks(tables: Tables, count: int) -> IntArray | None:
    """`count` chunks of nearly equal tokens: boundary k is the grid point nearest to k S / count.

    Parameters
    ----------
    tables : Tables
    count : int

    Returns
    -------
    int64[count + 1] or None
        Grid indices; None if the limits admit no such count.

    Source: SARATHI (arXiv 2308.16369) and the chunk budgets of serving engines.
    """
    targets = np.arange(count + 1) * (tables.tokens / count)
    return snap(tables, LengthLimits.of(tables), targets)


def uniform(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """Equal chunks, as many as the limits allow (M, if they do).

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        As of `uniform_any_count`.

    Returns
    -------
    list of int64[chunks + 1]
        Grid indices.
    """
    return uniform_any_count(tables, asked_to_stop)[-1:]


def uniform_any_count(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """Equal chunks, one candidate for every count the limits allow, fewest first.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before each count; `StoppedError` is raised when it says so.

    Returns
    -------
    list of int64[chunks + 1]
        Grid indices.
    """
    return for_every_count(tables, equal_chunks, asked_to_stop)
