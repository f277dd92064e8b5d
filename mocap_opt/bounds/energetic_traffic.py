"""Traffic that memory forces, in the windows of time that a target leaves for it; for few partitions.

Statement and proof: ``formulations/bounds.md``, `energetic_traffic`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.crossing import crossing_pooled_memory
from mocap_opt.bounds.enumerated_partitions import PartitionEnumeration, TooManyError, can_be_enumerated
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.flow_shop.chunk_times import chunk_times, entry
from mocap_opt.flow_shop.recursion import earliest_starts, latest_ends, latest_starts
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.solvers.linear_program import LinearProgram, without_negligible
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables

FloatArray = npt.NDArray[np.float64]

#: Partitions below a target beyond which it is given up.
MOST_PARTITIONS = 400
#: Targets tried, halving what is left below the incumbent or a target that failed; without either, by
#: what factor they grow.
MOST_TARGETS = 12
STRIDE = 1.03
#: Parts of one in which multipliers are counted.
PARTS = 2**90
#: Parts of a target, or units of memory, that count as none in floats.
NOTHING = 1e-7
#: Windows of a link added at once.
MOST_ADDED = 3
#: Price of a link's time: of homes that fit, those that move little are looked at.
TRAFFIC = 1e-5


def energetic_traffic(
    tables: Tables,
    asked_to_stop: AskedToStop = never,
    *,
    incumbent: int | None = None,
    known: int = 0,
) -> Bound | None:
    """Bound any execution by ruling out one by one the partitions that could be faster than a target.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Checked often; the bound is valid whenever the search stops.
    incumbent : int or None, ticks
        Latency of a known plan, rounded down: no higher target is tried.  It is no premise of the proof.
    known : int, ticks
        A bound on any execution known already.

    Returns
    -------
    Bound or None
        None if no target above what is known was proved, nothing has to move, or the instance is too large.
    """
    setting, memory = Setting(tables), PooledMemory.of(tables)
    if not can_be_enumerated(tables) or not tables.share.any() or not setting.counts:
        # Also where there is one memory, or no link: then no route crosses any.
        return None
    most_bytes = int(tables.page_bytes.max()) * int(tables.pages[-1]) * tables.stages * setting.counts[-1]
    if most_bytes * tables.share_denominator >= 2**62:
        return None
    if (pooled := crossing_pooled_memory(tables, asked_to_stop)) is None:
        return None
    survey = _Survey(PartitionEnumeration(setting, memory))
    proved = max(known, pooled.ticks)
    known, ceiling = proved, incumbent
    for _ in range(MOST_TARGETS):
        target = int(proved * STRIDE) + 1 if ceiling is None else (proved + ceiling + 1) // 2
        if target <= proved:
            break
        try:
            reached = survey.reach(target, asked_to_stop)
        except StoppedError:
            break
        except TooManyError:
            reached = 0
        proved = max(proved, reached)
        if reached < target:
            ceiling = target
        if asked_to_stop():
            break
    if proved <= known:
        return None
    ruled_out = f"{len(survey.ruled_out)} partitions ruled out"
    return Bound("energetic_traffic", proved, Scope.ANY_EXECUTION, Evidence.LP_DUAL, ruled_out)


@dataclass(eq=False)
class _Survey:
    """What is known of partitions and targets, so that no partition is ruled out twice.

    Attributes
    ----------
    partitions : PartitionEnumeration
    ruled_out : dict of bytes to int
        Of a partition the highest target that it is proved not to keep to; nor does it keep to any lower one.
    survivor : (int, int64[chunks + 1]) or None
        Longest path, ticks, and indices of the last partition that could not be ruled out: the next, lower
        target is most likely to fail at it again.
    """

    partitions: PartitionEnumeration
    ruled_out: dict[bytes, int] = field(default_factory=dict)
    survivor: tuple[int, IntArray] | None = None

    def reach(self, target: int, asked_to_stop: AskedToStop) -> int:
        """Latency, at most the target, that no plan falls short of, ticks.

        Partitions are looked at in the order of their longest paths.  The first one that cannot be ruled
        out, or that there is no time for, leaves its own path as a bound, as those after it take no less.
        0 if the survivor of a higher target cannot be ruled out either: a lower one is worth more then.

        Parameters
        ----------
        target : int, ticks
        asked_to_stop : callable
            Asked before each partition and linear program.

        Raises
        ------
        StoppedError
            If asked to stop before all partitions below the target are listed.
        TooManyError
            If there are too many of them, or too many dead ends on the way to them.
        """
        if self.survivor is not None and self.survivor[0] < target:
            survivor, self.survivor = self.survivor, None
            if not self._is_ruled_out(*survivor, target, asked_to_stop):
                return 0
        listed = list(islice(self.partitions.below(target, asked_to_stop), MOST_PARTITIONS + 1))
        if len(listed) > MOST_PARTITIONS:
            raise TooManyError(f"more than {MOST_PARTITIONS} partitions")
        for path, indices in sorted(listed, key=lambda entry: entry[0]):
            try:
                if not self._is_ruled_out(path, indices, target, asked_to_stop):
                    return path
            except StoppedError:
                return path
        return target

    def _is_ruled_out(self, path: int, indices: IntArray, target: int, asked_to_stop: AskedToStop) -> bool:
        if self.ruled_out.get(indices.tobytes(), 0) >= target:
            return True
        if Windows(self.partitions.setting, self.partitions.memory, indices, target).ruled_out(asked_to_stop):
            self.ruled_out[indices.tobytes()] = target
            return True
        self.survivor = path, indices
        return False


@dataclass(frozen=True, eq=False)
class Windows:
    """One partition and a target: what must move when, if an execution is to be faster.

    Columns are pages v[i, j, k] of chunk j on stage i that live in memory k, i != k, in this order.

    Attributes
    ----------
    setting : Setting
    memory : PooledMemory
    indices : int64[chunks + 1]
        The partition, as grid indices.
    target : int, ticks
    """

    setting: Setting
    memory: PooledMemory
    indices: IntArray
    target: int

    @property
    def tables(self) -> Tables:
        """The instance."""
        return self.setting.tables

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return int(self.indices.size - 1)

    @cached_property
    def shares(self) -> IntArray:
        """Share numerators of the links that some transfer crosses, int64[link, memory, memory]."""
        shares: IntArray = self.tables.share[self.tables.share.any(axis=(1, 2))]
        return shares

    @cached_property
    def rates(self) -> list[int]:
        """What these links pass in a tick, bytes x share denominator."""
        rates = self.tables.link_rate[self.tables.share.any(axis=(1, 2))].tolist()
        return [rate * self.tables.share_denominator for rate in rates]

    @cached_property
    def scale(self) -> FloatArray:
        """What these links pass up to the target, float64[link], bytes x share denominator."""
        return np.array(self.rates, dtype=np.float64) * float(self.target)

    @cached_property
    def places(self) -> tuple[IntArray, IntArray, IntArray]:
        """Stage, chunk and memory of each column, three int64[column]."""
        elsewhere = ~np.eye(self.tables.stages, self.tables.memories, dtype=np.bool_)
        return np.nonzero(np.repeat(elsewhere[:, None], self.chunks, axis=1))  # type: ignore[return-value]

    @cached_property
    def times(self) -> tuple[IntArray, IntArray, IntArray, IntArray]:
        """Earliest start and end, latest start and end, int64[stage, chunk] each, ticks."""
        work, send = chunk_times(self.tables, self.indices, self.setting.send)
        gate, depth = entry(self.tables, self.indices), self.tables.queue_depth
        earliest = earliest_starts(work, send, depth, entry=gate)
        latest = latest_starts(work, send, depth, self.target, loop=gate.loop)
        return earliest, earliest + work, latest, latest_ends(latest, send, self.target)

    @cached_property
    def memory_rows(self) -> tuple[IntArray, IntArray]:
        """Memory rows by memory and slot: rows @ v <= room, in units of the pool.

        Returns
        -------
        rows : int64[row, column]
        room : int64[row]
        """
        tables, stages, chunks = self.tables, self.tables.stages, self.chunks
        stage, chunk, memory = self.places
        size = tables.page_bytes // self.memory.unit
        free = self.memory.free(int(np.diff(tables.grid[self.indices]).max()))
        rows, room = list[IntArray](), list[int]()
        for t in range(stages + chunks - 1):
            alive = np.where((stage + chunk <= t) & (t < stage + chunks), size[stage], 0)
            done = t - np.arange(stages) + 1
            running = (done >= 1) & (done <= chunks)
            own = size * np.where(running, tables.pages[self.indices[np.clip(done, 0, chunks)]], 0)
            left = free.copy()
            left[:stages] -= np.where(running, tables.prefix_bytes[:stages], 0)
            left //= self.memory.unit
            left[:stages] -= own
            for k in range(tables.memories):
                rows.append(np.where(memory == k, alive, 0) - np.where(stage == k, alive, 0))
            room += left.tolist()
        return np.array(rows), np.array(room)

    @cached_property
    def jobs(self) -> IntArray:
        """KV that every link moves for each chunk on each stage, int64[link, job, column].

        Bytes x share denominator for a page of the column; jobs are stage x chunks + chunk.
        """
        tables, (stage, chunk, memory) = self.tables, self.places
        number = np.arange(tables.stages * self.chunks)[:, None]
        writes = number == stage * self.chunks + chunk
        reads = (number // self.chunks == stage) & (number % self.chunks > chunk)
        size = tables.page_bytes[stage]
        out, back = self.shares[:, stage, memory] * size, self.shares[:, memory, stage] * size
        loads: IntArray = writes * out[:, None] + reads * back[:, None]
        return loads

    @cached_property
    def spans(self) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Windows of time, from the earliest start of a job to the latest end of one.

        Returns
        -------
        ends : int64[window, 2], ticks
        inside : bool[window, job]
            The jobs that have to lie within.
        """
        released, due = self.times[0].ravel(), self.times[3].ravel()
        first, last = (axis.ravel() for axis in np.meshgrid(np.unique(released), np.unique(due)))
        inside = (released >= first[:, None]) & (due <= last[:, None])
        some = inside.any(axis=1)
        return np.stack([first, last], axis=1)[some], inside[some]

    @cached_property
    def room(self) -> list[list[int]]:
        """What each link can pass in each window beside activations, bytes x share denominator."""
        tables, (ends, _) = self.tables, self.spans
        sent, arrived = self.times[1][:-1].ravel(), self.times[2][1:].ravel()
        within = (sent >= ends[:, :1]) & (arrived <= ends[:, 1:])
        bytes_sent = (tables.activation_bytes[:-1, None] * np.diff(tables.grid[self.indices])).ravel()
        shares = self.shares[:, : tables.stages, : tables.stages]
        onward = np.diagonal(shares, 1, axis1=1, axis2=2).repeat(self.chunks, axis=1)
        lengths = (ends[:, 1] - ends[:, 0]).tolist()
        taken = ((onward * bytes_sent) @ within.T.astype(np.int64)).tolist()
        return [
            [rate * length - used for length, used in zip(lengths, row, strict=True)]
            for rate, row in zip(self.rates, taken, strict=True)
        ]

    def ruled_out(self, asked_to_stop: AskedToStop = never) -> bool:
        """Whether no homes fit all memories and all windows, proved by multipliers in whole numbers.

        Windows are added where the homes at hand do not fit them.

        Raises
        ------
        StoppedError
            If asked to stop.
        """
        scale = self.scale[:, None]
        room = np.array(self.room, dtype=np.float64) / scale
        jobs = self.jobs / scale[:, None]
        inside = self.spans[1].astype(np.float64)
        chosen: list[tuple[int, int]] = []
        while True:
            stop_if(asked_to_stop)
            found = self._least_shortage(chosen, asked_to_stop)
            if found is None:
                return False
            shortage, homes, prices = found
            if shortage > NOTHING and self._contradict(chosen, prices):
                return True
            late = (jobs @ homes) @ inside.T - room - shortage
            worst = [(e, int(w)) for e in range(late.shape[0]) for w in np.argsort(-late[e])[:MOST_ADDED]]
            added = [(e, w) for e, w in worst if late[e, w] > NOTHING and (e, w) not in chosen]
            if not added:
                return False
            chosen += added

    def _row(self, link: int, window: int) -> IntArray:
        """What a link moves within a window, int64[column], bytes x share denominator."""
        return np.asarray(self.jobs[link][self.spans[1][window]].sum(axis=0))

    def _least_shortage(
        self, chosen: list[tuple[int, int]], asked_to_stop: AskedToStop
    ) -> tuple[float, FloatArray, FloatArray] | None:
        """How much too little room and time there is, units of memory and parts of the target, in floats.

        With it pages float64[column], and prices float64[row] of memory rows, then of the windows chosen.
        """
        # HiGHS is slow to load, and most instances do not come here.
        from mocap_opt.solvers.highs import solve_lp  # noqa: PLC0415

        cost, fixed, room = self._without_windows
        moved = [np.append(self._row(e, w) / self.scale[e], -1.0) for e, w in chosen]
        moved_room = [self.room[e][w] / self.scale[e] for e, w in chosen]
        matrix = sparse.vstack([fixed, sparse.csr_array(np.array(moved))]) if chosen else fixed
        program = LinearProgram(
            cost,
            np.zeros(cost.size),
            np.full(cost.size, np.inf),
            np.zeros(cost.size, dtype=np.bool_),
            # The proof is made of the prices, in whole numbers and with every coefficient.
            without_negligible(sparse.csr_array(matrix)),
            np.full(matrix.shape[0], -np.inf),
            np.concatenate([room, moved_room]),
        )
        found = solve_lp(program, asked_to_stop=asked_to_stop)
        stop_if(asked_to_stop)
        if found.primal is None or found.row_duals is None:
            return None
        prices = np.maximum(-found.row_duals, 0.0)[room.size - self.memory_rows[1].size :]
        return float(found.primal[-1]), found.primal[:-1], prices

    @cached_property
    def _without_windows(self) -> tuple[FloatArray, sparse.csr_array, FloatArray]:
        """The linear program before any window is chosen: costs, rows of chunks and of memory, right sides.

        The last column is the shortage.
        """
        held, held_room = self.memory_rows
        stage, chunk, _ = self.places
        columns = stage.size
        produced = sparse.csr_array(
            (np.ones(columns), (stage * self.chunks + chunk, np.arange(columns))),
            shape=(self.tables.stages * self.chunks, columns + 1),
        )
        short = np.hstack([held, np.full((held_room.size, 1), -1)])
        fresh = np.tile(np.diff(self.tables.pages[self.indices]), self.tables.stages)
        cost = np.append(TRAFFIC * (self.jobs.sum(axis=1) / self.scale[:, None]).sum(axis=0), 1.0)
        return cost, sparse.vstack([produced, sparse.csr_array(short)]), np.concatenate([fresh, held_room])

    def _contradict(self, chosen: list[tuple[int, int]], prices: FloatArray) -> bool:
        """Whether no homes meet the weighed sum of memory rows and windows; in whole numbers."""
        held, held_room = self.memory_rows
        scale = np.array([1.0] * held_room.size + [float(self.scale[e]) for e, _ in chosen])
        weights = prices / scale
        whole = [int(weight) for weight in np.rint(weights / max(float(weights.max()), 1e-300) * PARTS)]
        moved = [self._row(e, w) for e, w in chosen]
        rows = np.array([*held, *moved], dtype=object)
        room = [*held_room.tolist(), *(self.room[e][w] for e, w in chosen)]
        weighed = np.array(whole, dtype=object) @ rows
        # The least that homes can make of it: all of a chunk's pages where a page counts least, if below 0.
        cells = weighed.reshape(self.tables.stages, self.chunks, self.tables.memories - 1)
        fresh = np.diff(self.tables.pages[self.indices]).tolist()
        least = sum(fresh[j] * min(0, *cell) for row in cells for j, cell in enumerate(row))
        return bool(least > sum(w * r for w, r in zip(whole, room, strict=True)))
