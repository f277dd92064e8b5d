"""Lower bounds on the period of every feasible periodic plan (formulations/period.md).

What a request needs of a stage's time, of a link, and of all memories over time must fit into one
period, whoever executes the plan and however.  The first and the last depend on the boundaries;
they are added with weights and minimised exactly over all partitions, for each count of chunks.
"""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.fixed_messages import least_units
from mocap_opt.bounds.forced_traffic import ForcedTraffic, pooled_chunks
from mocap_opt.bounds.period_cycles import CycleBound
from mocap_opt.bounds.period_partitions import listed_partitions
from mocap_opt.bounds.period_sums import FloatArray, PeriodClass, by_length, period_sums
from mocap_opt.flow_shop.partitions import NEVER, cheapest_boundaries, least_by_count
from mocap_opt.formulations.presolve import free_bytes, pooled_room
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, Deadline, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

RANGES = (10, 64)
"""Ranges of the longest chunk, at least and most: longer chunks leave less memory, shorter ones cost more."""

RANGES_SIZE = 2**22
"""Stages x chunks x ranges that more ranges than the least are kept to."""

ROUNDS = 60
"""Most weightings tried in all, beside the first of every range."""

BUDGET_S = 6.0
"""Seconds after which no further weighting is tried."""

SCOPES = {Scope.ANY_EXECUTION: "work_and_memory", Scope.LOCKSTEP: "slots_and_memory"}
"""Names of the bounds over partitions."""

MOST_ARCS = 16_000_000
"""Chunks x stages with distinct times that fit into memory; beyond, only closed forms are given."""

SETTLED = 1e-5
"""A bound this close to what any weighting could give is not sharpened further."""

FORCING = 0.25
"""Part of the time left that weighing links and ports for forced traffic may take."""

LISTING = 0.5
"""Part of the time left that going through all partitions may take."""

CYCLES = 10
"""Mixtures of cycles tried for each weighting of sums."""

CYCLES_S = 6.0
"""Seconds after which no further cycles of queues are mixed."""

MOST_FORCED = 2**24
"""Chunks x stages x ranges up to which each range knows the traffic it forces."""


class PartitionBound:
    """Bounds by count of chunks, sharpened weighting by weighting.

    Parameters
    ----------
    tables : Tables
    scope : Scope
        Lockstep adds the sends, which then take their own phase.
    asked_to_stop : callable
        Once it says so, traffic that lack of room forces is left out, which leaves weaker bounds.
    like : PartitionBound, optional
        Of the same tables: what it knows of forced traffic is taken over.
    """

    def __init__(
        self,
        tables: Tables,
        scope: Scope,
        asked_to_stop: AskedToStop = never,
        like: PartitionBound | None = None,
    ) -> None:
        self._tables, self.scope = tables, scope
        self._forced: ForcedTraffic | None = None if like is None else like._forced
        self._weigh = like is None
        self.counts = list(tables.counts)
        points = tables.steps + 1
        a, b = np.triu_indices(points, 1)
        self.classes = self._ranges(points, a, b, asked_to_stop)

    def _ranges(self, points: int, a: IntArray, b: IntArray, asked_to_stop: AskedToStop) -> list[PeriodClass]:
        """One class for each range of the longest chunk that some memory does not rule out."""
        tables = self._tables
        length = tables.grid[b] - tables.grid[a]
        within = tables.length_allowed[(b == tables.steps).astype(np.int64), b - a]
        least = -(-tables.tokens // max(self.counts, default=1))
        possible = np.unique(length[within & (length >= least)])
        possible = possible[[self._fits(int(each)) for each in possible]]
        if not possible.size:
            return []
        found = []
        ranges = int(np.clip(RANGES_SIZE // (tables.stages * points**2), *RANGES))
        edges = np.unique(np.linspace(0, possible.size, ranges + 1).astype(int))
        tau = tables.tau(np.arange(tables.stages)[:, None], a, b)
        sums = period_sums(tables, self.scope, a, b, tau, np.zeros((0, a.size)))
        if self._weigh and tables.stages * points**2 * len(edges) <= MOST_FORCED:
            free = free_bytes(tables, int(possible[0]), endless=True)
            with suppress(StoppedError):
                self._forced = ForcedTraffic.of(tables, free, asked_to_stop)
        forced = self._forced
        for low, high in pairwise(edges.tolist()):
            shortest, longest = int(possible[low]), int(possible[high - 1])
            room, free = pooled_room(tables, shortest), free_bytes(tables, shortest, endless=True)
            assert room is not None
            times = tau
            if forced is not None:
                times, together = forced.occupancy(a, b, free), forced.together(a, b, free)
                sums = period_sums(tables, self.scope, a, b, times, together)
            steps = -(-longest // tables.quantum)
            allowed = within & (length <= longest) & pooled_chunks(tables, a, b, room, steps)
            table = by_length(points, a, b, allowed)
            if room == 0:
                table &= sums.occupied == 0
            found.append(PeriodClass(table, room, sums, self._possible(table), times))
        return found

    def _fits(self, longest: int) -> bool:
        """Whether every memory has room for its prefix beside the reserve of such a longest chunk."""
        free = free_bytes(self._tables, longest, endless=True)
        return bool((free >= np.maximum(self._tables.prefix_bytes, 0)).all())

    def _possible(self, allowed: npt.NDArray[np.bool_]) -> IntArray:
        """0 for every count that has a partition into allowed chunks, `NEVER` for others."""
        layers = list(islice(least_by_count(np.where(allowed, 0, NEVER)), max(self.counts, default=0)))
        return np.array([layers[count - 1][-1] for count in self.counts], dtype=np.int64)

    def sharpen(self, deadline: Deadline, rounds: int = ROUNDS) -> None:
        """Try weightings where the bound is least, until none helps or after `BUDGET_S` of the time.

        Parameters
        ----------
        deadline : Deadline
            What is proved by then stands.
        rounds : int
            Most weightings tried, besides the first of each class.
        """
        late = deadline.at_most(BUDGET_S)
        for each in self.classes:
            busiest = np.zeros(len(each.sums.rows) + 1)
            busiest[int(np.argmax([work[-1, -1] for work in each.sums.rows]))] = 1.0
            self._evaluate(each, busiest, deadline)
        for _ in range(rounds if self.classes else 0):
            each = min(self.classes, key=lambda c: float(c.value.min()))
            if not each.cuts or late.expired:
                return
            weights, most = _weights(each.cuts)
            proved = int(each.value.min())
            if most < max(proved * (1 + SETTLED), proved + 1):
                return
            self._evaluate(each, weights, late)

    def at(self, slots: int | None = None) -> int | None:
        """The bound for requests `slots` slots apart, or for any number; None if no plan is left."""
        fits = [n for n, count in enumerate(self.counts) if slots is None or count <= slots]
        least = min((int(each.value[n]) for each in self.classes for n in fits), default=NEVER)
        return None if least == NEVER else least

    def of(self, count: int) -> int | None:
        """The bound for requests of exactly that many chunks; None if no plan is left."""
        return self.only(count).at()

    def only(self, count: int) -> PartitionBound:
        """The same for plans of exactly that many chunks."""
        part, at = copy(self), [self.counts.index(count)]
        part.counts = [count]
        part.classes = [replace(each, value=each.value[at]) for each in self.classes]
        return part

    def _evaluate(self, each: PeriodClass, weights: FloatArray, late: Deadline) -> None:
        """Minimise the weighted sum over the partitions of each count, and keep the least one's sums.

        Stopped before it is through it leaves what was known.
        """
        weighed, unit = each.sums.weighed(weights, each.room)
        cost = np.where(each.allowed, weighed, NEVER)
        layers = []
        for layer in islice(least_by_count(cost), self.counts[-1]):
            if late.expired:
                return
            layers.append(layer)
        values = np.array([layers[count - 1][-1] for count in self.counts])
        # Lockstep periods are whole ticks; event-driven ones need not be.
        ticks = -(-values // unit) if self.scope is Scope.LOCKSTEP else values // unit
        each.value = np.maximum(each.value, ticks)
        at = int(values.argmin())
        if values[at] >= NEVER:
            return
        indices = cheapest_boundaries(layers[: self.counts[at]], cost)
        chunks = indices[1:], np.diff(indices) - 1
        stages = [float(row[chunks].sum()) / each.sums.subticks for row in each.sums.rows]
        each.cuts.append(np.array([*stages, float(each.sums.occupied[chunks].sum()) / max(each.room, 1)]))


def _weights(cuts: list[FloatArray]) -> tuple[FloatArray, float]:
    """Weights, adding up to 1, that make the least of the known partitions' sums greatest; and that sum."""
    size = cuts[0].size
    scale = max(float(np.max(cuts)), 1.0)
    answer = linprog(
        np.r_[np.zeros(size), -1.0],
        A_ub=np.c_[-np.array(cuts) / scale, np.ones(len(cuts))],
        b_ub=np.zeros(len(cuts)),
        A_eq=np.r_[np.ones(size), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * (size + 1),
    )
    chosen = np.full(size, 1 / size) if answer.x is None else np.maximum(answer.x[:size], 0.0)
    weights: FloatArray = chosen / chosen.sum()
    return weights, min(float(cut @ weights) for cut in cuts)


def link_load(tables: Tables) -> Bound | None:
    """Bound any execution by the busiest link: activations and fixed messages cross it once a period."""
    best, name, fixed = 0, "", least_units(tables)
    for e, link in enumerate(tables.links):
        units = sum(
            int(tables.share[e, i, i + 1]) * int(tables.activation_bytes[i]) for i in range(tables.stages - 1)
        )
        units = units * tables.tokens + fixed.get(e, 0)
        ticks = units // (int(tables.link_rate[e]) * tables.share_denominator)
        if ticks > best:
            best, name = ticks, link
    if not best:
        return None
    return Bound("link_load", best, Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, f"link {name}")


def compute_total(tables: Tables) -> Bound:
    """Bound any execution by the compute of the slowest stage, whatever the chunks."""
    stage = int((tables.phi[:, -1] - tables.phi[:, 0]).argmax())
    ticks = int(tables.phi[stage, -1] - tables.phi[stage, 0])
    return Bound("compute_total", max(ticks, 0), Scope.ANY_EXECUTION, Evidence.CLOSED_FORM, f"stage {stage}")


def closed_forms(tables: Tables) -> list[Bound]:
    """Bounds that take no search: the slowest stage's compute, and the busiest link."""
    return [bound for bound in (compute_total(tables), link_load(tables)) if bound is not None]


def period_bounds(
    tables: Tables,
    deadline: Deadline | None = None,
    rounds: int = ROUNDS,
    known: dict[Scope, PartitionBound] | None = None,
) -> tuple[list[Bound], dict[Scope, PartitionBound]]:
    """Bounds over every W, and what knows them by W.

    Parameters
    ----------
    tables : Tables
    deadline : Deadline, optional
        What is not proved by then is left out.
    rounds : int
        Most weightings tried for the bounds over partitions, and a tenth of the mixtures of cycles.
    known : dict of Scope to PartitionBound, optional
        Instead of making them.

    Returns
    -------
    bounds : list of Bound
    by_slots : dict of Scope to PartitionBound
        Empty for sizes beyond `MOST_ARCS`.
    """
    deadline = deadline or Deadline()
    found = closed_forms(tables)
    by_slots = dict(known or {})
    small = tables.stages * tables.steps**2 // 2 <= MOST_ARCS and tables.counts
    for scope in SCOPES if small and known is None else ():
        if not deadline.expired:
            like = next(iter(by_slots.values()), None)
            by_slots[scope] = PartitionBound(tables, scope, deadline.share(FORCING), like)
            by_slots[scope].sharpen(deadline, rounds)
    for scope, partition in by_slots.items():
        ticks = partition.at()
        if ticks:
            note = "minimised over partitions, counts and longest chunks"
            found.append(Bound(SCOPES[scope], ticks, scope, Evidence.SEARCH, note))
    listed = None if deadline.expired else listed_partitions(tables, deadline.share(LISTING))
    if listed is None and Scope.ANY_EXECUTION in by_slots and not deadline.expired:
        partition = by_slots[Scope.ANY_EXECUTION]
        cycles = CycleBound(tables, partition.classes, partition.counts)
        cycles.sharpen(deadline.at_most(CYCLES_S), rounds * CYCLES)
        listed = cycles.bound()
    return [*found, *([] if listed is None else [listed])], by_slots
