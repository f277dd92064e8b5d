"""What a chunk costs at least because KV finds no room at home (formulations/bounds.md, Forced traffic).

Whatever the homes and the execution: a stage keeps no more pages in its own memory than fit there, and
every chunk writes its own pages, and reads all earlier ones, that live elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.streaming import Demand, resource_weights
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

MIXES = ((1, 0), (0, 1), (1, 1))
"""Parts written and read that weights on links and ports are made for."""

SAFE = 1 - 2.0**-36
"""Taken off for rounding: a sum of n terms, none negative, errs by less than n 2^-52 of itself."""


@dataclass(frozen=True, eq=False)
class ForcedTraffic:
    """Least time for the pages that find no room at home.

    Attributes
    ----------
    tables : Tables
    written, read : float64[weighting, stage], ticks
        What a page of a stage takes at least if the stage has all links and ports for itself.
    written_together, read_together : float64[weighting, stage], ticks
        What a page of a stage counts where all stages share links and ports: what they count together
        is no more than the time that passes.
    whole : list of Fraction, ticks
        What the first page that moves takes at least: pages are whole and go to one memory.
    """

    tables: Tables
    written: FloatArray
    read: FloatArray
    written_together: FloatArray
    read_together: FloatArray
    whole: list[Fraction]

    @classmethod
    def of(cls, tables: Tables, free: IntArray, asked_to_stop: AskedToStop = never) -> ForcedTraffic | None:
        """Weigh links and ports; None if no page is forced away, or there is nowhere to go.

        Parameters
        ----------
        tables : Tables
        free : int64[memory], bytes
            For KV and prefixes, at most.
        asked_to_stop : callable

        Raises
        ------
        StoppedError
            If asked to stop before all is weighed.
        """
        away = forced_pages(tables, tables.pages[-1:], free)[:, 0]
        who = np.flatnonzero(away).tolist()
        if tables.memories == 1 or not who:
            return None
        alone = np.zeros((len(MIXES), 2, tables.stages))
        together = np.zeros_like(alone)
        moved = away * tables.page_bytes
        for n, (written, read) in enumerate(MIXES):
            demands = [Demand(i, written * int(moved[i]), read * int(moved[i])) for i in who]
            together[n] = _page_times(tables, demands, asked_to_stop)
            for i, demand in zip(who, demands, strict=True):
                alone[n, :, i] = _page_times(tables, [demand], asked_to_stop)[:, i]
        whole = [_whole_page(tables, i) for i in range(tables.stages)]
        return cls(tables, alone[:, 0], alone[:, 1], together[:, 0], together[:, 1], whole)

    def occupancy(self, start: IntArray, end: IntArray, free: IntArray) -> IntArray:
        """Time a chunk occupies a stage at least, int64[stage, chunk], ticks.

        Parameters
        ----------
        start, end : int64[chunk]
            Grid indices.
        free : int64[memory], bytes
        """
        tables = self.tables
        tau = tables.tau(np.arange(tables.stages)[:, None], start, end)
        x = self._times(self.written, self.read, start, end, free).max(axis=0) * SAFE
        shown = np.floor(x * float(1 - tables.overlap) * SAFE).astype(np.int64)
        taken: IntArray = np.maximum(tau + shown, np.floor(x).astype(np.int64))
        moves = forced_pages(tables, tables.pages[end], free) > 0
        for i, time in enumerate(self.whole):
            one = np.maximum(tau[i] + floor((1 - tables.overlap) * time), floor(time))
            taken[i, moves[i]] = np.maximum(taken[i], one)[moves[i]]
        return taken

    def together(self, start: IntArray, end: IntArray, free: IntArray) -> FloatArray:
        """What a chunk counts on all stages, float64[weighting, chunk], ticks: their sums fit in the time.

        Parameters
        ----------
        start, end : int64[chunk]
            Grid indices.
        free : int64[memory], bytes
            For KV and prefixes, at most.
        """
        times = self._times(self.written_together, self.read_together, start, end, free)
        counted: FloatArray = times.sum(axis=1) * SAFE
        return counted

    def _times(
        self, written: FloatArray, read: FloatArray, start: IntArray, end: IntArray, free: IntArray
    ) -> FloatArray:
        """Least time of what must move, writes or reads first, whichever is cheaper."""
        before, upto = self.tables.pages[start], self.tables.pages[end]
        away = forced_pages(self.tables, upto, free)
        out, back = written[..., None], read[..., None]
        writes = np.where(out <= back, np.minimum(away, upto - before), np.maximum(away - before, 0))
        times: FloatArray = writes * out + (away - writes) * back
        return times


def forced_pages(tables: Tables, held: IntArray, free: IntArray) -> IntArray:
    """Pages that a stage cannot keep at home, int64[stage, chunk].

    Parameters
    ----------
    held : int64[chunk]
        Pages of a stage alive while it works on the chunk.
    free : int64[memory], bytes
        For KV and prefixes.
    """
    size = np.maximum(tables.page_bytes, 1)
    home = np.maximum(free - tables.prefix_bytes, 0)[: tables.stages] // size
    away = np.maximum(held[None, :] - home[:, None], 0)
    forced: IntArray = np.where(tables.page_bytes[:, None] > 0, away, 0)
    return forced


def pooled_chunks(
    tables: Tables, start: IntArray, end: IntArray, room: int, longest: int
) -> npt.NDArray[np.bool_]:
    """Whether all memories together may hold what is alive while a chunk is worked on, bool[chunk].

    In the slot in which stage s works on chunk [a, b) it holds b, stage s + 1 holds a, stage s + 1 + d at
    least a less d longest chunks, and stage s - 1, if [a, b) is not the last chunk, a grid step more than b.

    Parameters
    ----------
    start, end : int64[chunk]
        Grid indices.
    room : int
        Bytes of KV and prefixes in all memories.
    longest : int
        Longest chunk, grid steps, at most.
    """
    stages = tables.stages
    after = np.maximum(start[None, :] - longest * np.arange(stages)[:, None], 0)
    reached = np.vstack([end[None, :], after])[:stages]
    most = np.zeros(start.size, dtype=np.int64)
    for s in range(stages):
        who = np.arange(s, stages)
        points = reached[: stages - s]
        held = tables.page_bytes[who, None] * tables.pages[points] + tables.prefix_bytes[who, None]
        need = np.where(points > 0, held, 0).sum(axis=0)
        if s > 0:
            more = np.minimum(end + 1, tables.steps)
            held_before = tables.page_bytes[s - 1] * tables.pages[more] + tables.prefix_bytes[s - 1]
            need += np.where(end < tables.steps, held_before, 0)
        most = np.maximum(most, need)
    fits: npt.NDArray[np.bool_] = most <= room
    return fits


def _whole_page(tables: Tables, stage: int) -> Fraction:
    """Least time in which a page of a stage is written to some other memory or read from it, ticks."""
    size = int(tables.page_bytes[stage])
    times = []
    for k in range(tables.memories):
        for origin, target in ((stage, k), (k, stage)) if k != stage else ():
            loads = [Fraction(size, int(tables.port_rate[k]))]
            shares = tables.share[:, origin, target].tolist()
            for share, rate in zip(shares, tables.link_rate.tolist(), strict=True):
                loads.append(Fraction(size * share, tables.share_denominator * rate))
            times.append(max(loads))
    return min(times)


def _page_times(tables: Tables, demands: list[Demand], asked_to_stop: AskedToStop) -> FloatArray:
    """What a page of every stage counts, written and read, under weights that are good for the demands.

    Returns
    -------
    float64[2, stage], ticks
    """
    weights = resource_weights(tables, demands, asked_to_stop)
    own = np.eye(tables.memories, dtype=np.bool_)
    least = [np.where(own, np.inf, way).min(axis=1) for way in (weights.out, weights.back)]
    times: FloatArray = np.array(least)[:, : tables.stages] * tables.page_bytes / weights.capacity
    return times
