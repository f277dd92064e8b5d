"""Where to put the stages of a pipeline whose sizes are known: rules first, exchanges where links bind.

Code of ``formulations/layouts.md``, section Placement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle, islice, pairwise
from math import lcm

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError
from mocap_opt.replay.traffic import kv_traffic
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.wafer.path import PLACEMENTS, longest_path, runs_along
from mocap_opt.wafer.placement import ranks
from mocap_opt.wafer.routing import Router, overlaps
from mocap_opt.wafer.topology import Die, Topology

FloatArray = npt.NDArray[np.float64]

Placed = tuple[tuple[Die, ...], ...]
"""Dies of each stage, in the order of the tensor-parallel ranks."""

BINDS = 0.02
"""Links count once the busiest works for more than this part of the time."""

SEEDS = 3
"""Paths wanted at least; where dead parts leave fewer regular ones, as many are looked for."""

EFFORT = 6000
"""Steps that one search may try, on all paths together."""


@dataclass(frozen=True)
class Judged:
    """What a placement came to.

    Attributes
    ----------
    value : float
        What is minimised, seconds; infinity if no plan was found.
    flows : int64[memory, memory], bytes
        What its plan sends, see `plan_flows`; None without one.
    """

    value: float
    flows: IntArray | None


Score = tuple[float, float]

Judge = Callable[[Placed], Judged | None]
"""Solves the instance with a placement; None asks to stop."""


def placements(topology: Topology, sizes: Sequence[int]) -> dict[str, Placed]:
    """Lay stages out by every rule that places them, by its name; equal results once.

    Parameters
    ----------
    topology : Topology
    sizes : sequence of int
        Dies of each stage.
    """
    found: dict[str, Placed] = {}
    for name, place in PLACEMENTS.items():
        try:
            placed = place(topology, sizes)
        except InputError:
            continue
        if placed not in found.values():
            found[name] = placed
    return found


def plan_flows(tables: Tables, plan: Plan) -> IntArray:
    """Bytes that a plan sends from memory to memory: activations, and KV written and read back.

    Parameters
    ----------
    tables : Tables
    plan : Plan

    Returns
    -------
    int64[memory, memory]
        Stages first; the others are memories without a stage.
    """
    flows = np.zeros((tables.memories, tables.memories), dtype=np.int64)
    neighbours = np.arange(tables.stages - 1)
    flows[neighbours, neighbours + 1] = tables.activation_bytes[:-1] * tables.tokens
    traffic = kv_traffic(tables, plan.remote_pages(tables), plan.chunks + tables.stages - 1)
    np.add.at(flows, (traffic.source, traffic.target), traffic.flow.sum(axis=1).astype(np.int64))
    return flows


class LinkTimes:
    """How long links work on given flows, by placement.

    Parameters
    ----------
    topology : Topology
    flows : int64[memory, memory], bytes
        Those from and to memories without a stage are left out.
    degrees : sequence of int
        Tensor-parallel degree of each stage.
    """

    def __init__(self, topology: Topology, flows: IntArray, degrees: Sequence[int]) -> None:
        self.topology = topology
        self.degrees = degrees
        between = flows[: len(degrees), : len(degrees)]
        self.pairs = [(int(a), int(b), float(between[a, b])) for a, b in np.argwhere(between > 0) if a != b]
        self.seconds_per_byte = np.array([float(1 / link.bandwidth) for link in topology.links])
        several = sum(degree > 1 for degree in degrees)
        self.least_inside = several * float(self.seconds_per_byte.min(initial=1.0)) * (1 + 1e-6)
        self._router = Router(topology)
        self._routes: dict[tuple[Die, Die], tuple[int, ...]] = {}
        self._shares: dict[tuple[tuple[Die, ...], tuple[Die, ...]], tuple[IntArray, FloatArray]] = {}
        self._ranks: dict[tuple[tuple[Die, ...], int], tuple[tuple[Die, ...], float]] = {}

    def seconds(self, placed: Placed) -> FloatArray:
        """Time that every link works on all flows, float64[link].

        Raises
        ------
        InputError
            If two stages that exchange something have no living route.
        """
        busy = np.zeros(len(self.topology.links))
        for a, b, size in self.pairs:
            links, shares = self._share(placed, a, b)
            busy[links] += size * shares
        seconds: FloatArray = busy * self.seconds_per_byte
        return seconds

    def score(self, placed: Placed) -> Score:
        """What is brought down, in this order, nine digits each.

        First the seconds a byte takes on the slowest link inside each stage, summed over stages, since
        every layer waits for its collectives.  Then the sum of squares of the times that links work on the
        flows, which is least where traffic is short and spread over many links.
        """
        busy = self.seconds(placed)
        inside = sum(self._computing(dies, stage)[1] for stage, dies in enumerate(placed))
        return float(f"{inside:.8e}"), float(f"{busy @ busy:.8e}")

    def _share(self, placed: Placed, a: int, b: int) -> tuple[IntArray, FloatArray]:
        """Links between two stages and the part of a message on each."""
        key = self._computing(placed[a], a)[0], self._computing(placed[b], b)[0]
        if key not in self._shares:
            senders, receivers = key
            whole = lcm(len(senders), len(receivers))
            parts: dict[int, float] = {}
            for r, s, part in overlaps(len(senders), len(receivers)):
                for link in self._route(senders[r], receivers[s]):
                    parts[link] = parts.get(link, 0.0) + part / whole
            self._shares[key] = np.array(list(parts), dtype=np.int64), np.array(list(parts.values()))
        return self._shares[key]

    def _computing(self, dies: tuple[Die, ...], stage: int) -> tuple[tuple[Die, ...], float]:
        """The dies of a stage that compute, and the seconds of a byte on the slowest link among them."""
        key = dies, self.degrees[stage]
        if key not in self._ranks:
            chosen = ranks(self.topology, *key)
            inner = self.topology.inner_links(chosen) if len(chosen) > 1 else ()
            self._ranks[key] = chosen, max((float(1 / link.bandwidth) for link in inner), default=0.0)
        return self._ranks[key]

    def _route(self, source: Die, target: Die) -> tuple[int, ...]:
        if (source, target) not in self._routes:
            self._routes[source, target] = self._router.route(source, target)
        return self._routes[source, target]


def exchanged(topology: Topology, sizes: Sequence[int], times: LinkTimes, limit: int = 4) -> list[Placed]:
    """Move stages along paths until no exchange makes their score smaller.

    A path is a sequence of stages and of dies without one.  A step exchanges two of them, or moves a stage
    elsewhere in the sequence; what makes the score smaller is kept.

    Parameters
    ----------
    topology : Topology
    sizes : sequence of int
        Dies of each stage.
    times : LinkTimes
        Of the flows to bring together.
    limit : int
        Placements wanted at most.

    Returns
    -------
    list of Placed
        Best first, one for each score; only those with the least collectives.
    """
    found: dict[Score, Placed] = {}
    every = [path for path in paths(topology) if len(path) >= sum(sizes)]
    for path in every:
        score, placed = _descend(path, sizes, times, EFFORT // len(every))
        found.setdefault(score, placed)
    least = min(found, default=(0.0, 0.0))[0]
    return [found[score] for score in sorted(found)[:limit] if score[0] == least]


def paths(topology: Topology) -> list[tuple[Die, ...]]:
    """Longest paths of unlike shapes, on which runs of the same length are rows, columns or blocks.

    Bands of 1, 2, .. rows that are gone through column by column, the same with rows and columns
    exchanged, as far as nothing breaks them, and what CP-SAT finds from several seeds.
    """
    if topology.kind == "switch":
        return [longest_path(topology).dies]
    banded = [
        _banded(topology, side, height)
        for side, most in ((0, topology.rows), (1, topology.cols))
        for height in range(1, most + 1)
    ]
    regular = [path for path in banded if all(hop in topology.link_index for hop in pairwise(path))]
    others = [longest_path(topology, seed).dies for seed in range(SEEDS)] if len(regular) < SEEDS else []
    return list(dict.fromkeys(regular + others))


def best_placement(
    topology: Topology,
    sizes: Sequence[int],
    degrees: Sequence[int],
    judge: Judge,
    limit: int = 4,
    first: Sequence[Placed] | None = None,
) -> tuple[Placed, Judged] | None:
    """Judge some placements, then exchanges for the flows of the best plan while they bring something.

    Parameters
    ----------
    topology : Topology
    sizes : sequence of int
        Dies of each stage.
    degrees : sequence of int
        Tensor-parallel degree of each stage.
    judge : callable
        Solves the instance with a placement.
    limit : int
        Placements judged in each round at most.
    first : sequence of Placed, optional
        To begin with; those of the rules by default.

    Returns
    -------
    (Placed, Judged) or None
        None if there is none to begin with, or the judge stopped at once.
    """
    best: tuple[Placed, Judged] | None = None
    seen: set[Placed] = set()
    candidates = list(placements(topology, sizes).values() if first is None else first)
    while candidates:
        before = best
        for placed in candidates:
            seen.add(placed)
            judged = judge(placed)
            if judged is None:
                return best
            if best is None or judged.value < best[1].value:
                best = placed, judged
        if best is None or best is before or best[1].flows is None:
            break
        times = LinkTimes(topology, best[1].flows, degrees)
        busiest = times.seconds(best[0]).max(initial=0.0)
        if busiest <= BINDS * best[1].value and times.score(best[0])[0] <= times.least_inside:
            break
        candidates = [each for each in exchanged(topology, sizes, times, limit) if each not in seen]
    return best


def _banded(topology: Topology, side: int, height: int) -> tuple[Die, ...]:
    """Living dies by bands of rows (side 0) or columns (1), back and forth through each band."""
    lines = (topology.rows, topology.cols)[1 - side]

    def place(die: Die) -> tuple[int, int, int]:
        band, line = divmod(die[side], height)
        along = die[1 - side] if band % 2 == 0 else lines - 1 - die[1 - side]
        return band, along, line if (band * lines + along) % 2 == 0 else -line

    return tuple(sorted(topology.dies, key=place))


def _descend(
    path: Sequence[Die], sizes: Sequence[int], times: LinkTimes, effort: int
) -> tuple[Score, Placed]:
    """First improvements over the orders of stages and idle dies (negative numbers) along a path."""
    order = [*range(len(sizes)), *(-1 - n for n in range(len(path) - sum(sizes)))]

    def laid_out(order: Sequence[int]) -> Placed:
        runs = runs_along(path, [sizes[item] if item >= 0 else 1 for item in order])
        return tuple(run for item, run in sorted(zip(order, runs, strict=True)) if item >= 0)

    placed = laid_out(order)
    score = times.score(placed)
    steps = _steps(len(order))
    failed = 0
    for step in islice(cycle(steps), effort):
        if failed >= len(steps):
            break
        failed += 1
        other = _changed(order, *step)
        if other is not None and (now := times.score(moved := laid_out(other))) < score:
            score, order, placed, failed = now, other, moved, 0
    return score, placed


def _steps(places: int) -> list[tuple[bool, int, int]]:
    """Exchanges of two places of an order, then moves from one place to another."""
    return [
        *((True, m, n) for m, n in combinations(range(places), 2)),
        *((False, m, n) for m in range(places) for n in range(places) if abs(n - m) > 1),
    ]


def _changed(order: Sequence[int], exchange: bool, m: int, n: int) -> list[int] | None:
    """An order after a step; None where only idle dies, which are all alike, would change places."""
    if order[m] < 0 and (not exchange or order[n] < 0):
        return None
    changed = list(order)
    if exchange:
        changed[m], changed[n] = changed[n], changed[m]
    else:
        changed.insert(n, changed.pop(m))
    return changed
