"""Pipelines of virtual stages: devices that host several runs of layers (formulations/virtual_stages.md).

The model is cut into V = v N runs of consecutive layers, virtual stages u = 0 .. V - 1 in order; every device
hosts v of them.  A device's layers are alike: a run's time, KV cache and cached prefix are its part of the
device's, and parts add up to the device's own exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.tables.cost_tables import Tables


class Shape(StrEnum):
    """Which device hosts a virtual stage."""

    INTERLEAVED = "interleaved"
    """Device i hosts i, N + i, 2 N + i, ..."""
    V = "v"
    """Device i hosts i, 2 N - 1 - i, 2 N + i, ...: there and back again."""


def hosts(shape: Shape, devices: int, runs: int) -> tuple[int, ...]:
    """The device of every virtual stage.

    Parameters
    ----------
    shape : Shape
    devices : int
        N.
    runs : int
        v, runs of layers of every device.
    """
    there = list(range(devices))
    turn = shape is Shape.V
    return tuple(i for r in range(runs) for i in (there[::-1] if turn and r % 2 else there))


@dataclass(frozen=True, eq=False)
class VirtualPipeline:
    """Virtual stages on the devices of an ordinary pipeline.

    Attributes
    ----------
    tables : Tables
        Of the ordinary pipeline, whose stage i is device i with all its layers.
    device : tuple of int
        Of each virtual stage, V of them.
    layers : tuple of int
        Of each virtual stage.
    static : int64[device], bytes
        Always in a device's memory: weights.
    overhead : int, ticks
        What a chunk on a virtual stage takes beyond its part of the device's time.
    """

    tables: Tables
    device: tuple[int, ...]
    layers: tuple[int, ...]
    static: IntArray
    overhead: int = 0

    @classmethod
    def of(
        cls,
        tables: Tables,
        shape: Shape | str,
        runs: int,
        layers: Sequence[int] | None = None,
        *,
        overhead: int = 0,
    ) -> VirtualPipeline:
        """Split every device's layers into runs as even as can be, the later ones longer.

        Parameters
        ----------
        tables : Tables
        shape : Shape or str
        runs : int
            v; 1 is the ordinary pipeline.
        layers : sequence of int, optional
            Of every device; by default as many as runs.
        overhead : int, ticks

        Raises
        ------
        InputError
            If a device has fewer layers than runs, or stages move fixed messages.
        """
        counts = [runs] * tables.stages if layers is None else [int(n) for n in layers]
        if runs < 1 or min(counts) < runs:
            expected = f"a whole number from 1 to {min(counts)}, the layers of the shortest stage"
            raise InputError([Problem("runs", repr(runs), expected, "fewer runs or fewer stages")])
        if tables.messages:
            given = ", ".join(sorted({message.kind.name.lower() for message in tables.messages}))
            expected = "no streamed weights, export or prefix load: virtual stages know none"
            raise InputError([Problem("runs", f"{runs} runs with {given}", expected, "leave them out")])
        device = hosts(Shape(shape), tables.stages, runs)
        run = [u // tables.stages for u in range(len(device))]
        sizes = [
            counts[i] * (r + 1) // runs - counts[i] * r // runs for r, i in zip(run, device, strict=True)
        ]
        return cls(tables, device, tuple(sizes), tables.static[: tables.stages], overhead)

    def with_static(self, static: IntArray) -> VirtualPipeline:
        """The same with other weights.

        Parameters
        ----------
        static : int64[device], bytes
        """
        return replace(self, static=static)

    @property
    def stages(self) -> int:
        """V, the number of virtual stages."""
        return len(self.device)

    @property
    def devices(self) -> int:
        """N, the number of devices."""
        return self.tables.stages

    @property
    def runs(self) -> int:
        """v, virtual stages of a device."""
        return self.stages // self.devices

    @cached_property
    def hosted(self) -> tuple[tuple[int, ...], ...]:
        """Virtual stages of every device, ascending."""
        return tuple(tuple(u for u, i in enumerate(self.device) if i == k) for k in range(self.devices))

    @cached_property
    def _part(self) -> IntArray:
        """Layers of the device before a virtual stage, up to its end, and all, int64[3, V]."""
        seen = [0] * self.devices
        rows = []
        for u, i in enumerate(self.device):
            rows.append((seen[i], seen[i] + self.layers[u]))
            seen[i] += self.layers[u]
        total = [seen[i] for i in self.device]
        return np.array([[a for a, _ in rows], [b for _, b in rows], total], dtype=np.int64)

    def part(self, stage: int, whole: IntArray) -> IntArray:
        """A virtual stage's part of something of its device; parts add up to the whole exactly.

        Parameters
        ----------
        stage : int
            Virtual.
        whole : int64 array

        Returns
        -------
        int64 array
            floor(whole x layers up to its end / all) - floor(whole x layers before it / all).
        """
        before, upto, total = self._part[:, stage].tolist()
        quotient, rest = np.divmod(whole, total)
        parts: IntArray = quotient * (upto - before) + rest * upto // total - rest * before // total
        return parts

    def tau(self, stage: int, start: IntArray, end: IntArray) -> IntArray:
        """Time of chunks on a virtual stage, int64 array, ticks.

        Parameters
        ----------
        stage : int
            Virtual.
        start, end : int64 array
            Grid indices of the chunks' ends, broadcast together.
        """
        return self.part(stage, self.tables.tau(self.device[stage], start, end)) + self.overhead

    def send_time(self, stage: int, lengths: IntArray) -> IntArray:
        """Uncontended time of chunks' activations to the next virtual stage, ticks.

        Hops, and the largest over links of bytes / bandwidth, rounded up; 0 within a device and after the
        last.

        Parameters
        ----------
        stage : int
            Virtual.
        lengths : int64 array, tokens
        """
        tables = self.tables
        if stage + 1 == self.stages or self.device[stage] == self.device[stage + 1]:
            return np.zeros_like(lengths)
        a, b = self.device[stage], self.device[stage + 1]
        slowest = np.zeros_like(lengths)
        size = int(tables.activation_bytes[a])
        for e in np.flatnonzero(tables.share[:, a, b]).tolist():
            carried = lengths * (size * int(tables.share[e, a, b]))
            rate = tables.share_denominator * int(tables.link_rate[e])
            slowest = np.maximum(slowest, -(-carried // rate))
        times: IntArray = slowest + int(tables.hop_ticks[a, b])
        return times

    def times(self, indices: IntArray) -> tuple[IntArray, IntArray]:
        """Work and send of every chunk on every virtual stage, two int64[V, chunk], ticks.

        Parameters
        ----------
        indices : int64[chunk + 1]
            Boundaries as grid indices.
        """
        start, end = indices[:-1], indices[1:]
        lengths = np.diff(self.tables.grid[indices])
        work = np.stack([self.tau(u, start, end) for u in range(self.stages)])
        return work, np.stack([self.send_time(u, lengths) for u in range(self.stages)])

    @cached_property
    def page_bytes(self) -> IntArray:
        """KV of a page of positions on every virtual stage, int64[V], bytes."""
        whole = self.tables.page_bytes
        return np.array([self.part(u, whole[i]) for u, i in enumerate(self.device)], dtype=np.int64)

    @cached_property
    def prefix_bytes(self) -> IntArray:
        """KV of the cached prefix on every virtual stage, int64[V], bytes."""
        whole = self.tables.prefix_bytes
        return np.array([self.part(u, whole[i]) for u, i in enumerate(self.device)], dtype=np.int64)

    def reserve(self, longest: int) -> IntArray:
        """Bytes of every device kept for staging and activations, int64[device]: queues of every run.

        Parameters
        ----------
        longest : int
            The longest chunk, tokens.
        """
        ordinary = self.tables.reserve(longest)[: self.devices]
        staging = self.tables.staging[: self.devices]
        return staging + self.runs * (ordinary - staging)
