"""Links and memory ports as carriers of KV cache, without those that never bind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.formulations.presolve import may_hold_kv
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.fixed_messages import FixedLoads


@dataclass(frozen=True, eq=False)
class Carrier:
    """A link or a memory port, as seen by the KV cache that moves over it.

    Attributes
    ----------
    index : int
        Its number among the links, and after them the ports.
    name : str
        ``link a>b`` or ``port k``.
    rate : int
        Units of load per tick: bytes x share denominator on a link, bytes at a port.
    write, read : int64[stage, memory]
        Units per byte that a stage writes to a memory, and reads back from it; on links
        0 where its KV cannot live.
    fixed : FixedLoads or None
        What fixed messages load; None if it carries none.
    """

    index: int
    name: str
    rate: int
    write: IntArray
    read: IntArray
    fixed: FixedLoads | None

    def fixed_units(self, stage: int, *, weights: bool = True) -> tuple[int, int, int]:
        """Units by fixed messages of a stage with every chunk, for each page, and with the first chunk.

        Parameters
        ----------
        stage : int
        weights : bool
            Whether streamed weights count.
        """
        if self.fixed is None:
            return 0, 0, 0
        held, at = self.fixed, (self.index, stage)
        each = int(held.each[at]) - (0 if weights else int(held.weights[at]))
        return each, int(held.per_page[at]), int(held.first[at])


def fixed_on(tables: Tables) -> dict[int, FixedLoads]:
    """The links and ports that fixed messages load, by their index as a `Carrier`."""
    return dict.fromkeys(tables.fixed_loads.used(), tables.fixed_loads) if tables.messages else {}


def links(
    tables: Tables, *, endless: bool = False, homes: Sequence[Sequence[int]] | None = None
) -> list[Carrier]:
    """The links that can bind, for KV and fixed messages; a link that another one dominates is left out.

    A link whose share of every transfer, relative to its rate, is at most that of another link
    never takes longer than the other.

    Parameters
    ----------
    tables : Tables
    endless : bool
        Whether requests come again without end.
    homes : sequence of sequence of int, optional
        By stage, the memories in which its KV may live, if others than `presolve.may_hold_kv` finds.
    """
    if homes is None:
        allowed = may_hold_kv(tables, endless=endless)
    else:
        allowed = np.array([[k in held for k in range(tables.memories)] for held in homes], dtype=np.bool_)
    away = allowed & ~np.eye(tables.stages, tables.memories, dtype=np.bool_)
    out, back = tables.share[:, : tables.stages], tables.share.transpose(0, 2, 1)[:, : tables.stages]
    either = np.concatenate([np.where(away, way, 0) for way in (out, back)], axis=2)
    either = either.reshape(len(tables.links), 2 * away.size)
    if fixed := fixed_on(tables):
        loads = tables.fixed_loads
        parts = [
            part[: len(tables.links)] for part in (loads.each, loads.per_page, loads.first, loads.weights)
        ]
        either = np.concatenate([either.astype(object), *parts], axis=1)
    return [
        Carrier(
            e,
            f"link {tables.links[e]}",
            int(tables.link_rate[e]) * tables.share_denominator,
            np.where(away, out[e], 0),
            np.where(away, back[e], 0),
            fixed.get(e),
        )
        for e in undominated(either, tables.link_rate)
    ]


def ports(tables: Tables) -> Iterator[Carrier]:
    """The memory ports, for KV that other stages write and read, and fixed messages."""
    fixed = fixed_on(tables)
    for k in range(tables.memories):
        touch = np.zeros((tables.stages, tables.memories), dtype=np.int64)
        touch[:, k] = 1
        touch[k : k + 1, k] = 0
        index = len(tables.links) + k
        yield Carrier(index, f"port {k}", int(tables.port_rate[k]), touch, touch, fixed.get(index))


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
    for e in used:
        if any(_covers(exact, rate, a, e) for a in kept):
            continue
        kept = [a for a in kept if not _covers(exact, rate, e, a)] + [e]
    return sorted(kept)


def _covers(share: IntArray, rate: IntArray, a: int, b: int) -> bool:
    """Whether row a takes at least as long as row b, whatever moves."""
    return bool((share[a] * int(rate[b]) >= share[b] * int(rate[a])).all())
