"""The integer tables: every number that programs, bounds, heuristics and replays may read.

Rounding happens once, when :mod:`mocap_opt.tables` fills these tables from an instance.
After that, times are whole ticks, sizes whole bytes and KV cache whole pages.
The symbols are those of ``formulations/notation.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.tables.fixed_messages import FixedLoads, FixedMessage, excess, fixed_messages
from mocap_opt.tables.reserve import activations, rings
from mocap_opt.tables.table_shapes import check_tables


@dataclass(frozen=True, eq=False)
class Tables:
    """An instance in ticks, bytes and pages.

    Boundaries are indices into ``grid`` (0 .. G).  Tables over a chunk's length are indexed
    ``[stage, tail, k]`` with ``k = b - a`` in grid steps and ``tail = 1`` for the chunk that ends
    at the last grid point, whose step may be shorter than the others.  Memories are numbered like
    the stages they belong to (memory ``k`` is the dies of stage ``k`` together); memories without a stage
    follow, which only hold KV.

    Attributes
    ----------
    name : str
        The instance's name, for messages only.
    tick_s : Fraction
        Length of a tick, seconds.
    max_chunks : int
        M, the most chunks a plan may use.
    exact_chunks : bool
        True if a plan must use exactly M chunks.
    quantum, page : int
        Grid step and page, tokens; ``page`` divides ``quantum``.
    min_length, max_length : int
        Limits on a chunk's length, tokens.
    prefix : int
        P, tokens cached before the prompt.
    grid : int64[G + 1], tokens
        Admissible boundaries: 0, q, 2q, ..., S.
    phi : int64[stage, G + 1], ticks
        Phi_i, cumulative compute time.
    full_block : int64[stage, 2, G + 1], ticks
        Extra time of counting attention in full blocks, by ``[stage, tail, k]``; inside the max.
    memory_side : int64[stage, G + 1], ticks
        omega_i + rho_i (P + b), by the chunk's end.
    prefix_cost : int64[stage, G + 1], ticks
        gamma_i (P + a), by the chunk's start.
    length_cost : int64[stage, 2, G + 1], ticks
        c_i, by ``[stage, tail, k]``; entry ``k = 0`` is never read.
    send : int64[stage, 2, G + 1], ticks
        Uncontended time of a chunk's activations to the next stage, hops included; 0 after the last.
    activation_bytes : int64[stage], bytes per token
        Size of a chunk's activations as a message, per token of its length.
    page_bytes : int64[stage], bytes
        kappa_i x page, KV of one page of positions on stage i.
    prefix_bytes : int64[memory], bytes
        KV of the cached prefix, in whole pages.
    capacity, static : int64[memory], bytes
        Size of the memory; bytes always there (weights).
    staging : int64[memory], bytes
        Staging buffers, part of the reserve.
    working_bytes : int64[memory], bytes per token
        Activations a stage holds per token of its queues, without those in the buffers below.
    queue_depth : int or None
        Q; None if unbounded.
    own_traffic : int64[stage, G + 1], bytes
        Bytes that running a chunk ending at b moves through the stage's own memory port
        (weights + kappa (P + b)); already counted in ``memory_side``.
    port_rate : int64[memory], bytes per tick
        R_k.
    links : tuple of str
        Names of the living directed links, e.g. ``"0,1>0,2"``.
    link_rate : int64[link], bytes per tick
        B_e.
    share_denominator : int
        Common denominator of ``share``.
    share : int64[link, memory, memory]
        Numerators of lambda: a unit from memory (stage) a to b puts
        ``share[e, a, b] / share_denominator`` on link e.
    hop_ticks : int64[memory, memory], ticks
        Latency of the longest route from a to b, hops x latency of a hop.
    overlap : Fraction
        f, the part of a chunk's KV transfers that overlaps with its compute.
    residual : int64[stage, G + 1, G + 1] or None, ticks
        What a measured chunk [a, b) takes beyond the other tables, by ``[stage, a, b]``; never negative,
        so that leaving it out relaxes a problem.  None if times are not measured.
    pools : tuple of str
        Names of the memories without a stage, N, N + 1, ...: without prefix and working bytes.
    fixed_messages : int64[message, entry] or None
        What stages move beside KV: streamed weights, exports, loaded prefixes; columns as in
        `mocap_opt.tables.fixed_messages.Entry`.  None if nothing.
    available : int64[G + 1] or None, ticks
        avail(x), when the first ``grid[g]`` tokens exist; never falls, 0 first.  Stage 0 starts no chunk
        earlier than at that of its end.  None if all exist from the start on.
    loop : bool
        Whether a chunk enters stage 0 only once the one N before it has left stage N - 1.
    between_tokens : int or None, ticks
        The most that tau and send of a chunk may add up to over all stages; None if unlimited.
    buffer_bytes, logit_bytes : int64[memory] or None, bytes per token
        Of feed-forward networks and of logits, the larger counts; None without mini-sequences.
    buffer_limit : int64[memory] or None, bytes
        The most that feed-forward networks hold; None with `buffer_bytes`.
    ring_span : int64[window] or None, tokens
        What windows span whose KV lives in rings; None if there are none.
    ring_bytes : int64[memory, window] or None, bytes
        A page of the rings of each span.

    Examples
    --------
    >>> import mocap_opt
    >>> tables = mocap_opt.build_tables(mocap_opt.load_instance("instances/tiny-pooled.json"))
    >>> tables.stages, tables.tokens, int(tables.tau(0, 0, 4))
    (2, 4, 43)
    """

    name: str
    tick_s: Fraction
    max_chunks: int
    exact_chunks: bool
    quantum: int
    page: int
    min_length: int
    max_length: int
    prefix: int
    grid: IntArray
    phi: IntArray
    full_block: IntArray
    memory_side: IntArray
    prefix_cost: IntArray
    length_cost: IntArray
    send: IntArray
    activation_bytes: IntArray
    page_bytes: IntArray
    prefix_bytes: IntArray
    capacity: IntArray
    static: IntArray
    staging: IntArray
    working_bytes: IntArray
    queue_depth: int | None
    own_traffic: IntArray
    port_rate: IntArray
    links: tuple[str, ...]
    link_rate: IntArray
    share_denominator: int
    share: IntArray
    hop_ticks: IntArray
    overlap: Fraction
    residual: IntArray | None = None
    pools: tuple[str, ...] = ()
    fixed_messages: IntArray | None = None
    available: IntArray | None = None
    loop: bool = False
    between_tokens: int | None = None
    buffer_bytes: IntArray | None = None
    buffer_limit: IntArray | None = None
    logit_bytes: IntArray | None = None
    ring_span: IntArray | None = None
    ring_bytes: IntArray | None = None
    rider_bytes: IntArray | None = None

    def __post_init__(self) -> None:
        """Check shapes and types, and make the arrays read-only."""
        check_tables(self)

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return int(self.phi.shape[0])

    @property
    def memories(self) -> int:
        """The number of memories: one of every stage, and those without a stage."""
        return self.stages + len(self.pools)

    def memory_name(self, memory: int) -> str:
        """Name a memory in words, ``"memory 3"`` or ``"memory 8 (spare dies)"``."""
        pool = f" ({self.pools[memory - self.stages]})" if memory >= self.stages else ""
        return f"memory {memory}{pool}"

    @property
    def steps(self) -> int:
        """G, the number of grid steps; grid indices run from 0 to G."""
        return int(self.grid.size - 1)

    @property
    def tokens(self) -> int:
        """S, tokens to prefill."""
        return int(self.grid[-1])

    @property
    def counts(self) -> range:
        """The numbers of non-empty chunks a plan may have."""
        most = min(self.max_chunks, self.steps)
        if self.exact_chunks:
            return range(self.max_chunks, self.max_chunks + 1)
        return range(1, most + 1)

    @cached_property
    def pages(self) -> IntArray:
        """Pages needed for the first ``grid[g]`` tokens, int64[G + 1]; a partial page is whole."""
        return -(-self.grid // self.page)

    @cached_property
    def length_allowed(self) -> npt.NDArray[np.bool_]:
        """bool[2, G + 1]: whether a chunk of length ``[tail, k]`` keeps to the limits."""
        lengths = self.lengths
        allowed = (lengths >= self.min_length) & (lengths <= self.max_length)
        allowed[:, 0] = False
        if self.tokens % self.quantum:
            allowed[0, self.steps] = False
        return allowed

    def chunk_allowed(self, start: npt.ArrayLike, end: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether chunks keep to all limits: on lengths, and on the time between tokens.

        Parameters
        ----------
        start, end : array_like of int
            Grid indices, ``start < end``; broadcast together.
        """
        a, b = np.broadcast_arrays(start, end)
        allowed: npt.NDArray[np.bool_] = self.length_allowed[(b == self.steps).astype(np.int64), b - a]
        if self.between_tokens is not None:
            stages = np.arange(self.stages).reshape(-1, *(1 for _ in a.shape))
            crossing = (self.tau(stages, a, b) + self.send_time(stages, a, b)).sum(axis=0)
            allowed = allowed & (crossing <= self.between_tokens)
        return allowed

    @cached_property
    def lengths(self) -> IntArray:
        """Tokens of a chunk of k grid steps, int64[2, G + 1], by ``[tail, k]``."""
        steps = np.arange(self.steps + 1, dtype=np.int64)
        return np.stack([steps * self.quantum, self.tokens - self.grid[::-1]])

    @cached_property
    def messages(self) -> tuple[FixedMessage, ...]:
        """What stages move beside KV; empty if nothing."""
        return fixed_messages(self.fixed_messages)

    @cached_property
    def fixed_loads(self) -> FixedLoads:
        """What that puts on links and ports."""
        rates = self.link_rate, self.port_rate
        return FixedLoads.of(self.messages, self.share, self.share_denominator, rates)

    @cached_property
    def excess(self) -> IntArray | None:
        """What `tau` has beyond the tables Phi to c, int64[stage, G + 1, G + 1], ticks; None if nothing.

        The residual of measured times, and what is missing then to f x, x what the chunk's fixed messages
        need on an idle wafer: no execution is faster (formulations/fixed_messages.md).  Left out where it
        would outgrow `mocap_opt.tables.fixed_messages.MOST_EXCESS`: that relaxes.
        """
        return excess(self)

    def tau(self, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
        """Time of chunks on stages, before any KV traffic: `compute_time`, or longer for fixed messages.

        Parameters
        ----------
        stage, start, end : array_like of int
            As for `compute_time`.

        Returns
        -------
        int64 array, ticks
            The larger of `compute_time` and f x, rounded down, x what the chunk's fixed messages need on
            an idle wafer.
        """
        return self._time(stage, start, end, self.excess)

    def compute_time(self, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
        """Time of chunks on stages before any traffic: what replays count as compute.

        Parameters
        ----------
        stage, start, end : array_like of int
            Stage and grid indices of the chunk's ends, ``start < end``; broadcast together.

        Returns
        -------
        int64 array, ticks
            max(Phi(b) - Phi(a) + full block, memory side) + gamma (P + a) + c(b - a), and the residual
            of measured times.
        """
        return self._time(stage, start, end, self.residual)

    def _time(
        self, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike, beyond: IntArray | None
    ) -> IntArray:
        i, a, b = np.broadcast_arrays(stage, start, end)
        tail = (b == self.steps).astype(np.int64)
        compute = self.phi[i, b] - self.phi[i, a] + self.full_block[i, tail, b - a]
        slowest = np.maximum(compute, self.memory_side[i, b])
        total: IntArray = slowest + self.prefix_cost[i, a] + self.length_cost[i, tail, b - a]
        if beyond is not None:
            total += beyond[i, a, b]
        return total

    def send_time(self, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
        """Uncontended time of chunks' activations to the next stage, ticks; broadcasts like `tau`.

        Parameters
        ----------
        stage, start, end : array_like of int
            As for `tau`.
        """
        i, a, b = np.broadcast_arrays(stage, start, end)
        times: IntArray = self.send[i, (b == self.steps).astype(np.int64), b - a]
        return times

    def message_bytes(self, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
        """Size of chunks' messages to the next stage, bytes; broadcasts like `tau`.

        Parameters
        ----------
        stage, start, end : array_like of int
            As for `tau`.
        """
        i, a, b = np.broadcast_arrays(stage, start, end)
        size: IntArray = self.activation_bytes[i] * (self.grid[b] - self.grid[a])
        if self.rider_bytes is not None:
            size += self.rider_bytes[(b == self.steps).astype(np.int64), b - a]
        return size

    def held_tokens(self, longest: int, *, endless: bool = False) -> int:
        """Tokens a stage's queues hold at most: min(2 Q x the longest chunk, those of the request).

        Parameters
        ----------
        longest : int
            The plan's longest chunk, tokens.
        endless : bool
            Whether requests follow one another without end: queues may then hold chunks of several, and no
            request's tokens cap them.

        Raises
        ------
        InputError
            If requests without end have unbounded queues.
        """
        if endless:
            return 2 * require_bounded_queues(self) * longest
        return self.tokens if self.queue_depth is None else min(2 * self.queue_depth * longest, self.tokens)

    def reserve(self, longest: int, *, endless: bool = False) -> IntArray:
        """Bytes of every memory kept for staging, activations and rings, int64[memory]; as `held_tokens`.

        The one place where the reserve is put together; it never falls with the longest chunk.

        Parameters
        ----------
        longest, endless
            As for `held_tokens`.
        """
        held = self.held_tokens(longest, endless=endless)
        return self.staging + activations(self, held) + rings(self, longest)

    def free_memory(self, reserve: IntArray) -> IntArray:
        """Bytes of every memory left for KV and prefixes, int64[memory]; negative where nothing fits.

        Parameters
        ----------
        reserve : int64[memory], bytes
            What is kept for staging and activations.
        """
        return self.capacity - self.static - reserve

    def seconds(self, ticks: float | Fraction) -> float:
        """Ticks as seconds."""
        return float(Fraction(ticks) * self.tick_s)


def require_bounded_queues(tables: Tables) -> int:
    """Return the queue depth Q.

    Raises
    ------
    InputError
        If queues are unbounded: requests without end would fill any memory.
    """
    if tables.queue_depth is None:
        expected = "a whole number >= 1 for the objective period"
        remedy = "endless requests need bounded queues; set it to 2"
        raise InputError([Problem("pipeline.queue_depth", "unbounded", expected, remedy)])
    return tables.queue_depth
