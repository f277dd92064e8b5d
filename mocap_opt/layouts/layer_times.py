"""What one layer costs on a stage of a degree, never more than the tables of any layout say.

Statement and proof: ``formulations/layouts.md``, *One layer*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.flow_shop.partitions import NEVER
from mocap_opt.instance import Instance
from mocap_opt.instance.costs import Roofline
from mocap_opt.memory_budget import require_memory
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.curves import straight
from mocap_opt.tables.held_memory import working_bytes
from mocap_opt.tables.layout import Layout
from mocap_opt.tables.rounding import Polynomial, choose_tick
from mocap_opt.tables.stage_costs import (
    kv_bytes_per_token,
    layer_weight_bytes,
    linear_flops,
    roofline_times,
    static_bytes,
)
from mocap_opt.units import exact
from mocap_opt.wafer.routing import link_shares
from mocap_opt.wafer.topology import Die, Topology, build_topology


@dataclass(frozen=True, eq=False)
class DegreeTimes:
    """One layer on a stage of one degree, in units of time, at least; or a multiple that is least of several.

    Attributes
    ----------
    steady : int64[G + 1]
        Compute and collectives of the first x tokens: what chunks take together, fixed times aside.
    chunk : int64[G + 1, G]
        Time of the chunk [a, b) by ``[b, a]``, fixed time aside; `NEVER` where a is not before b.
    fixed : int
        Time of a chunk whatever its length.
    first, last : int
        Least time of a first and of a last chunk, `fixed` included.
    kv_page : Fraction
        Bytes of KV of a page of positions.
    working : int
        Bytes of activations per token of a stage of this degree, at least; what mini-sequences cap apart.
    """

    steady: IntArray
    chunk: IntArray
    fixed: int
    first: int
    last: int
    kv_page: Fraction
    working: int


Coefficients = tuple[Fraction, ...]
"""Compute (1, x, x^2), full blocks (1, l, l^2), collectives (1, l), reads of memory (1, x): seconds."""

Kind = int | frozenset[int]
"""A degree, or several: the time of a layer times its degree that is least, coefficient by coefficient."""


@dataclass(eq=False)
class LayerTimes:
    """What layers of an instance cost by degree, at least.

    Attributes
    ----------
    instance : Instance
        Its times are those of the roofline.
    topology : Topology
        Its living dies, all links as fast as the fastest.
    """

    instance: Instance
    topology: Topology
    _known: dict[Kind, DegreeTimes] = field(default_factory=dict)

    @classmethod
    def of(cls, instance: Instance) -> LayerTimes:
        """Take an instance, free or not."""
        real = build_topology(instance.wafer)
        fastest = max((link.bandwidth for link in real.links), default=Fraction(0))
        links = tuple(replace(link, bandwidth=fastest) for link in real.links)
        return cls(instance, replace(real, links=links))

    def __getitem__(self, kind: Kind) -> DegreeTimes:
        """One layer on a stage of some degree; or what a layer takes times its degree, at least."""
        if kind not in self._known:
            if isinstance(kind, int):
                coefficients = self._coefficients(kind)
            else:
                each = [[d * c for c in self._coefficients(d)] for d in kind]
                coefficients = tuple(min(column) for column in zip(*each, strict=True))
            layout = self._single(kind if isinstance(kind, int) else min(kind), range(1))
            self._known[kind] = self._tabulate(coefficients, layout)
        return self._known[kind]

    @cached_property
    def tables(self) -> Tables:
        """Grid, pages, limits and reserves, as in the tables of every layout; the rest is of no use."""
        return build_tables(self.instance, self._single(1, range(self.instance.model.layers)))

    @cached_property
    def setting(self) -> Setting:
        """Limits on lengths and counts."""
        return Setting(self.tables)

    @cached_property
    def unit(self) -> Fraction:
        """Seconds of a unit: the longest time of a layer takes so many that all sums stay below 2^60."""
        tokens, most = self.tables.tokens, self.instance.model.layers * len(self.topology.dies)
        times = self._coefficients(1)
        whole = _at(times[:3], tokens) + _at(times[3:6], tokens) + _at(times[8:], tokens)
        longest = max(whole + self.tables.max_chunks * _at(times[6:8], tokens), Fraction(1, 10**9))
        return longest / (1 << max(0, 58 - most.bit_length()))

    @cached_property
    def overhead(self) -> int:
        """What a chunk takes on a stage beside its layers, less all that rounding can take, units.

        A chunk's time is put together from at most five tables, each rounded to the nearest tick, and here
        from as many per layer, each rounded down to a unit.
        """
        rounded = 3 * self.longest_tick + 6 * self.instance.model.layers * self.unit
        return int((exact(self._costs.overhead) - rounded) // self.unit)

    @cached_property
    def longest_tick(self) -> Fraction:
        """Seconds of the longest tick that any layout's tables may have."""
        if self.instance.tick is not None:
            return exact(self.instance.tick)
        die, links = self.instance.wafer.die, build_topology(self.instance.wafer).links
        ports = (d * exact(die.memory_bandwidth) for d in range(1, len(self.topology.dies) + 1))
        return choose_tick([*ports, *(link.bandwidth for link in links), *self._pool_rates])

    def one_tick(self, degrees: Sequence[int]) -> bool:
        """Whether the tables of all layouts with these degrees have one tick, wherever spare dies lie.

        Also where no link is slow.  The tick grows with the set of rates: that of the rates all of them
        have is the longest one.
        """
        if self.instance.tick is not None:
            return True
        wafer = self.instance.wafer
        ports = (d * exact(wafer.die.memory_bandwidth) for d in degrees)
        rates = [*ports, exact(wafer.link.bandwidth), *self._pool_rates]
        return choose_tick(rates) == self.longest_tick

    @property
    def _pool_rates(self) -> list[Fraction]:
        """Rates of memories off the wafer and of their links."""
        pools = self.instance.wafer.pools
        return [exact(rate) for pool in pools for rate in (pool.memory_bandwidth, pool.link.bandwidth)]

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the weights of all layers, the embedding and the head, at least."""
        whole = self._single(1, range(self.instance.model.layers))
        return static_bytes(self.instance, whole, 0) - 1

    @cached_property
    def _without_logits(self) -> Instance:
        """The instance without the logits that the last stage alone may hold."""
        pipeline = self.instance.pipeline.model_copy(update={"logits": "last"})
        return self.instance.model_copy(update={"pipeline": pipeline})

    @cached_property
    def _costs(self) -> Roofline:
        if self.instance.costs.kind != "roofline":
            raise TypeError("times by layer and degree are those of the roofline")
        return self.instance.costs

    @cached_property
    def _lightest(self) -> int:
        """The layer with the fewest FLOPs; all have the same attention."""
        layers = range(self.instance.model.layers)
        return min(layers, key=lambda n: linear_flops(self.instance.model, range(n, n + 1)))

    def _single(self, degree: int, layers: range) -> Layout:
        """One stage of some degree; its dies need not be one piece, two of them are joined by a link."""
        joined: list[Die] = []
        if degree > 1 and self.topology.links:
            ends = (self.topology.links[0].source, self.topology.links[0].target)
            joined = [die for die in ends if die is not None]
        others = [die for die in self.topology.dies if die not in joined]
        dies = ((*joined, *others)[:degree],)
        shares = link_shares(self.topology, ((self.topology.dies[0],),))
        return Layout(self.topology, dies, dies, (layers,), (), (), shares)

    def _coefficients(self, degree: int) -> Coefficients:
        """What a layer takes on a stage of some degree, at least."""
        costs, layers = self._costs, range(self.instance.model.layers)
        layout = self._single(degree, range(self._lightest, self._lightest + 1))
        times = roofline_times(self.instance, costs, layout, 0)
        start, slope = (*straight(times.length_cost), Fraction(0))[:2]
        bandwidth = degree * exact(self.instance.wafer.die.memory_bandwidth)
        weights = min(layer_weight_bytes(self.instance, range(n, n + 1)) for n in layers) - 1
        kappa = kv_bytes_per_token(self.instance, layout, 0)
        read = weights + kappa * self.instance.workload.cached_prefix
        lengths = (start - exact(costs.overhead), slope)
        block = (*straight(times.full_block), Fraction(0), Fraction(0))[:3]
        return (*straight(times.compute), *block, *lengths, read / bandwidth, kappa / bandwidth)

    def _tabulate(self, times: Coefficients, layout: Layout) -> DegreeTimes:
        """Tabulate the time of every chunk, and what depends on the degree beside it."""
        tables = self.tables
        points = tables.steps + 1
        require_memory("times of a layer's chunks", 4 * points * points)
        compute = self._floor(times[:3], tables.grid)
        block = np.maximum(self._floor(times[3:6], tables.lengths), 0)
        collective = self._floor((Fraction(0), times[7]), tables.grid)
        reads = self._floor(times[8:], tables.grid)
        b, a = np.arange(points)[:, None], np.arange(points - 1)[None, :]
        length = np.maximum(b - a, 0)
        slowest = np.maximum(compute[b] - compute[a] + block[(b == tables.steps) * 1, length], reads[b])
        chunk = np.where(a < b, slowest + collective[b] - collective[a], NEVER)
        fixed = int(times[6] // self.unit)
        ends = np.arange(1, points)
        starts = chunk[ends, 0][tables.length_allowed[(ends == tables.steps) * 1, ends]]
        leaving = chunk[-1][tables.length_allowed[1, points - 1 - np.arange(points - 1)]]
        return DegreeTimes(
            compute + collective,
            chunk,
            fixed,
            int(starts.min(initial=NEVER)) + fixed,
            int(leaving.min(initial=NEVER)) + fixed,
            kv_bytes_per_token(self.instance, layout, 0) * tables.page,
            working_bytes(self._without_logits, layout, 0),
        )

    def _floor(self, polynomial: Polynomial, at: IntArray) -> IntArray:
        values = [int(_at(polynomial, x) // self.unit) for x in at.ravel().tolist()]
        return np.array(values, dtype=np.int64).reshape(at.shape)


def _at(polynomial: Polynomial, x: int) -> Fraction:
    """Value of a polynomial, exactly."""
    value = Fraction(0)
    for power, coefficient in enumerate(polynomial):
        value += coefficient * x**power
    return value
