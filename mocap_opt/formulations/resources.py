"""Links and memory ports as carriers of KV cache, without those that never bind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True, eq=False)
class Carrier:
    """A link or a memory port, as seen by the KV cache that moves over it.

    Attributes
    ----------
    name : str
        ``link a>b`` or ``port k``.
    rate : int
        Units of load per tick: bytes x share denominator on a link, bytes at a port.
    write, read : int64[stage, memory]
        Units per byte that a stage writes to a memory, and reads back from it.
    """

    name: str
    rate: int
    write: IntArray
    read: IntArray


def links(tables: Tables) -> list[Carrier]:
    """The links that can bind, for KV; a link that another one dominates is left out.

    A link whose share of every transfer, relative to its rate, is at most that of another link
    never takes longer than the other.
    """
    away = ~np.eye(tables.stages, dtype=bool)
    share = np.where(away[None], tables.share, 0)
    found = []
    for e in undominated(share.reshape(len(tables.links), tables.stages**2), tables.link_rate):
        rate = int(tables.link_rate[e]) * tables.share_denominator
        found.append(Carrier(f"link {tables.links[e]}", rate, share[e], share[e].T))
    return found


def ports(tables: Tables) -> Iterator[Carrier]:
    """The memory ports, for KV that other stages write and read."""
    for k in range(tables.stages):
        touch = np.zeros((tables.stages, tables.stages), dtype=np.int64)
        touch[:, k] = 1
        touch[k, k] = 0
        yield Carrier(f"port {k}", int(tables.port_rate[k]), touch, touch)


def undominated(share: IntArray, rate: IntArray) -> list[int]:
    """Rows of `share` that carry something and that no other row dominates, relative to `rate`.

    Parameters
    ----------
    share : int64[row, transfer]
    rate : int64[row]

    Returns
    -------
    list of int
        Of several equal rows, the first.
    """
    kept: list[int] = []
    used = [e for e in range(rate.size) if share[e].any()]
    exact = share.astype(object) if share.size and int(share.max()) * int(rate.max()) >= 2**63 else share

    def covers(a: int, b: int) -> bool:
        return bool((exact[a] * int(rate[b]) >= exact[b] * int(rate[a])).all())

    for e in used:
        if any(covers(a, e) for a in kept):
            continue
        kept = [a for a in kept if not covers(e, a)] + [e]
    return sorted(kept)
