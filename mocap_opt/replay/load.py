"""How busy links and memory ports are, over the whole of an execution or by intervals of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mocap_opt.replay.event import EventReplay
from mocap_opt.replay.lockstep import LockstepReplay
from mocap_opt.replay.transfers import Kind
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Load:
    """Use of links and ports, interval by interval: bytes moved over bytes that could move.

    Attributes
    ----------
    edges : float64[interval + 1], ticks
        Where the intervals begin and end.
    link : float64[link, interval]
        Parts of the links' capacity.
    port : float64[memory, interval]
        Parts of the ports' capacity.
    """

    edges: FloatArray
    link: FloatArray
    port: FloatArray

    def overall(self) -> Load:
        """The same over the whole time, as one interval."""
        length = np.diff(self.edges)
        whole = float(length.sum()) or 1.0
        link = (self.link @ length / whole)[:, None]
        port = (self.port @ length / whole)[:, None]
        return Load(self.edges[[0, -1]], link, port)


def lockstep_load(tables: Tables, replay: LockstepReplay) -> Load:
    """Load by slot, KV cache and activations together.

    Parameters
    ----------
    tables : Tables
    replay : LockstepReplay
    """
    edges = np.append(replay.start, replay.latency).astype(np.float64)
    length = np.maximum(np.diff(edges), 1.0)
    moved = (replay.link_kv_bytes + replay.link_activation_bytes).astype(np.float64)
    link = moved / tables.share_denominator / tables.link_rate[:, None] / length
    return Load(edges, link, replay.port_bytes / tables.port_rate[:, None] / length)


def event_load(tables: Tables, replay: EventReplay, edges: Sequence[float] | FloatArray) -> Load:
    """Load by the intervals between `edges` (ticks, rising).

    Parameters
    ----------
    tables : Tables
    replay : EventReplay
        Recorded (``log=True``).
    edges : float64[interval + 1], ticks

    Raises
    ------
    ValueError
        If the run was not recorded.
    """
    if replay.log is None:
        raise ValueError("the run was not recorded: replay with log=True")
    bounds = np.asarray(edges, dtype=np.float64)
    length = np.diff(bounds)
    routes = {record.route: None for record in replay.log}
    rows = {route: n for n, route in enumerate(routes)}
    # Bytes of a route until an edge: a piecewise linear sum over its messages' steps.
    until = np.zeros((len(routes), bounds.size))
    for record in replay.log:
        at = [_number(step[0]) for step in record.rates] + [_number(record.end)]
        moved = [0.0]
        for (_, rate, _), begin, end in zip(record.rates, at[:-1], at[1:], strict=True):
            moved.append(moved[-1] + _number(rate) * (end - begin))
        until[rows[record.route]] += np.interp(bounds, at, moved)
    moved_by_route = np.diff(until, axis=1)
    link = np.zeros((len(tables.links), length.size))
    port = np.zeros((tables.stages, length.size))
    for route, n in rows.items():
        if route.kind is not Kind.OWN:
            share = tables.share[:, route.source, route.destination] / tables.share_denominator
            used = np.flatnonzero(share)
            link[used] += share[used, None] * moved_by_route[n]
        if route.port is not None:
            port[route.port] += moved_by_route[n]
    return Load(bounds, link / tables.link_rate[:, None] / length, port / tables.port_rate[:, None] / length)


def _number(value: Fraction) -> float:
    return value.numerator / value.denominator
