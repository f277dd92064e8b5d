"""Pairings of stages: MBKR as it can be read from what is public, and BPipe's mirror as a foil."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes, Shortage
from mocap_opt.homes.thresholds import greatest_thresholds, threshold_homes
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def half_apart(stages: int) -> IntArray:
    """Partner of every stage, int64[stage].

    Even N: i and i + N/2 are each other's partners.  Odd N: i and i + (N+1)/2 are, and the stage
    in the middle, left over, sends to the last one, which is its half of the pipeline away.
    A single stage has only itself.
    """
    half = (stages + 1) // 2
    stage = np.arange(stages, dtype=np.int64)
    partner = np.where(stage + half < stages, stage + half, stage - half)
    if stages % 2:
        partner[stages // 2] = stages - 1
    return partner


def mbkr(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Keep KV local up to a threshold, send the rest to the stage half the pipeline away.

    Of all thresholds that fit, the greatest, hence the least traffic; they exist exactly if
    thresholds that minimise the pair's peak fit.  Unlike page sizes, memories and prefixes enter
    through the memory rows, in bytes.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    asked_to_stop : callable
        Asked once; `StoppedError` is raised when it says so.

    Source: MOCAP (arXiv 2606.22968), whose own thresholds are not public; this is the natural
    reading of "keep what fits, send the rest to the partner".
    """
    return threshold_homes(tables, indices, half_apart(tables.stages), asked_to_stop)


def pair_shortage(tables: Tables, indices: IntArray, longest: int | None = None) -> Shortage | None:
    """The memory row that no thresholds of MBKR's pairs meet, or None.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    longest : int, optional
        The longest chunk that the reserve has to allow for, tokens; by default that of the boundaries.
    """
    return greatest_thresholds(tables, indices, half_apart(tables.stages), longest)[1]


def mirrored(stages: int) -> IntArray:
    """Partner N - 1 - i of every stage, int64[stage]; the middle one of an odd N has itself."""
    return np.arange(stages, dtype=np.int64)[::-1].copy()


def mirror(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Keep KV local up to a threshold, send the rest to the mirrored stage.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    asked_to_stop : callable
        As of `mbkr`.

    Source: BPipe's pairing of the first stage with the last (Kim et al., ICML 2023).  In prefill
    the stages near the middle are paired with neighbours that fill at the same time.
    """
    return threshold_homes(tables, indices, mirrored(tables.stages), asked_to_stop)


def mirror_shortage(tables: Tables, indices: IntArray, longest: int | None = None) -> Shortage | None:
    """The memory row that no thresholds of mirrored stages meet, or None.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    longest : int, optional
        As of `pair_shortage`.
    """
    return greatest_thresholds(tables, indices, mirrored(tables.stages), longest)[1]
