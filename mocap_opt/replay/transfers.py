"""What the chunks of a plan compute and send, and what their admission waits for; exact integers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.replay.traffic import Whole, whole_type
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule, chunk_releases
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.fixed_messages import FixedMessage, MessageKind


class Kind(Enum):
    """What a message carries."""

    OWN = "own memory traffic"
    WRITE = "KV write"
    READ = "KV read"
    WEIGHTS = "streamed weights"
    EXPORT = "KV export"
    PREFIX = "prefix load"
    ACTIVATION = "activations"


_KINDS = {
    MessageKind.WEIGHTS: Kind.WEIGHTS,
    MessageKind.EXPORT: Kind.EXPORT,
    MessageKind.PREFIX: Kind.PREFIX,
}

_Fixed = tuple[FixedMessage, Whole]
"""A fixed message and its bytes with each chunk."""


@dataclass(frozen=True)
class Route:
    """Messages that load the same links and ports in the same way.

    Attributes
    ----------
    kind : Kind
    source, destination : int
        Stages (memories) between which they move; equal for a stage's own memory traffic.
    """

    kind: Kind
    source: int
    destination: int

    @property
    def port(self) -> int | None:
        """The memory whose port they load: the remote one for KV and fixed messages, none for activations."""
        if self.kind is Kind.ACTIVATION:
            return None
        return self.source if self.kind in (Kind.READ, Kind.WEIGHTS, Kind.PREFIX) else self.destination

    def __str__(self) -> str:
        """Name the route for messages and tracks."""
        return f"{self.kind.value} {self.source} > {self.destination}"


@dataclass(frozen=True, eq=False)
class Messages:
    """A schedule as work for the event-driven execution.

    Attributes
    ----------
    routes : tuple of Route
        Every route that carries at least one byte.
    released : tuple of tuple of tuple of (int, int), by [stage][chunk]
        Route and bytes of the messages a chunk releases at its start: own memory traffic, writes,
        reads, fixed messages.
    activations : tuple of tuple of (int, int) or None, by [stage][chunk]
        Route and bytes of the message that leaves at a chunk's end; None if it has no bytes or
        crosses no link.
    compute : tuple of tuple of Fraction, ticks, by [stage][chunk]
        tau + (1 - f) x.
    send : int64[stage, chunk], ticks
        The tabulated, uncontended time of the chunk's activations.
    admission_predecessors : tuple of tuple of tuple of (int, int), by [stage][chunk]
        Stages, and how many chunks each must have ended, before this chunk is admitted.
    brings : int64[stage, chunk, memory], bytes
        What a chunk charges to each memory when it starts: its KV and, with a request's first chunk,
        the cached prefix.  All a request charges on a stage goes when its last chunk ends there.
    last : tuple of bool, by [chunk]
        Whether it is the last chunk of its request.
    release : tuple of int, ticks, by [chunk]
        When its request is released and, where tokens come to exist by and by, the chunk's exist.
    floor : int64[memory], bytes
        What every memory holds always: weights and the reserve.
    """

    routes: tuple[Route, ...]
    released: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    activations: tuple[tuple[tuple[int, int] | None, ...], ...]
    compute: tuple[tuple[Fraction, ...], ...]
    send: IntArray
    admission_predecessors: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    brings: IntArray
    last: tuple[bool, ...]
    release: tuple[int, ...]
    floor: IntArray


@dataclass(frozen=True, eq=False)
class _Part:
    """One request's share of `Messages`."""

    released: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    activations: tuple[tuple[tuple[int, int] | None, ...], ...]
    compute: tuple[tuple[Fraction, ...], ...]
    send: IntArray
    brings: IntArray


def schedule_messages(schedule: Schedule) -> Messages:
    """Spell out the messages, times and admissions of a schedule, its requests once.

    Chunks are numbered through all requests.

    Raises
    ------
    ValueError
        If a boundary is not on its grid, or a chunk's homes exceed its pages.
    """
    routes: dict[Route, int] = {}
    known: dict[tuple[int, int], _Part] = {}
    parts: list[_Part] = []
    slots: list[int] = []
    last: list[bool] = []
    release: list[int] = []
    for request in schedule:
        key = id(request.tables), id(request.plan)
        if key not in known:
            known[key] = _part(request.tables, request.plan, routes)
        parts.append(known[key])
        chunks = request.plan.chunks
        slots += range(request.slot, request.slot + chunks)
        last += [False] * (chunks - 1) + [True]
        release += chunk_releases(request)
    stages = range(schedule.stages)
    brings = np.concatenate([part.brings for part in parts], axis=1)
    return Messages(
        routes=tuple(routes),
        released=tuple(tuple(c for part in parts for c in part.released[i]) for i in stages),
        activations=tuple(tuple(c for part in parts for c in part.activations[i]) for i in stages),
        compute=tuple(tuple(c for part in parts for c in part.compute[i]) for i in stages),
        send=np.concatenate([part.send for part in parts], axis=1),
        admission_predecessors=_admission_predecessors(brings, np.array(slots), np.flatnonzero(last)),
        brings=brings,
        last=tuple(last),
        release=tuple(release),
        floor=schedule.machine.static + schedule.reserve,
    )


def _part(tables: Tables, plan: Plan, routes: dict[Route, int]) -> _Part:
    index = plan.grid_indices(tables)
    pages = plan.all_pages(tables)
    stages = np.arange(tables.stages)
    if (pages < 0).any():
        stage, chunk, memory = (int(n) for n in np.argwhere(pages < 0)[0])
        raise ValueError(
            f"stage {stage}, chunk {chunk}: negative pages in memory {memory}, homes exceed the chunk"
        )
    stored = pages * tables.page_bytes[:, None, None]
    written = stored.copy()
    written[stages, :, stages] = 0
    # Running chunk j, a stage reads what its chunks before j keep elsewhere.
    read = np.cumsum(written, axis=1) - written

    tau = tables.compute_time(stages[:, None], index[None, :-1], index[None, 1:])
    fixed = [(message, message.sizes(np.diff(tables.pages[index]))) for message in tables.messages]
    compute = _stretched(tau, 1 - tables.overlap, _longest_transfer(tables, written, read, fixed))
    released = _released(tables.own_traffic[:, index[1:]], written, read, fixed, routes)
    sizes = tables.message_bytes(stages[:, None], index[None, :-1], index[None, 1:])
    brings = stored.copy()
    brings[stages, 0, stages] += tables.prefix_bytes[: tables.stages]
    return _Part(
        released=released,
        activations=_activations(tables, sizes, routes),
        compute=compute,
        send=tables.send_time(stages[:, None], index[None, :-1], index[None, 1:]),
        brings=brings,
    )


def _released(
    own: IntArray, written: IntArray, read: IntArray, fixed: list[_Fixed], routes: dict[Route, int]
) -> tuple[tuple[tuple[tuple[int, int], ...], ...], ...]:
    stages, chunks, _ = written.shape
    found: list[list[list[tuple[int, int]]]] = [[[] for _ in range(chunks)] for _ in range(stages)]
    for i, j in np.argwhere(own).tolist():
        found[i][j].append((routes.setdefault(Route(Kind.OWN, i, i), len(routes)), int(own[i, j])))
    for i, j, k in np.argwhere(written).tolist():
        found[i][j].append((routes.setdefault(Route(Kind.WRITE, i, k), len(routes)), int(written[i, j, k])))
    for i, j, k in np.argwhere(read).tolist():
        found[i][j].append((routes.setdefault(Route(Kind.READ, k, i), len(routes)), int(read[i, j, k])))
    for message, sizes in fixed:
        route = Route(_KINDS[message.kind], message.source, message.target)
        for j, size in enumerate(sizes):
            if size:
                found[message.stage][j].append((routes.setdefault(route, len(routes)), int(size)))
    return tuple(tuple(tuple(chunk) for chunk in stage) for stage in found)


def _activations(
    tables: Tables, sizes: IntArray, routes: dict[Route, int]
) -> tuple[tuple[tuple[int, int] | None, ...], ...]:
    rows: list[tuple[tuple[int, int] | None, ...]] = []
    for i, row in enumerate(sizes.tolist()):
        if i + 1 == tables.stages or not tables.share[:, i, i + 1].any():
            rows.append((None,) * len(row))
            continue
        route = Route(Kind.ACTIVATION, i, i + 1)
        rows.append(tuple((routes.setdefault(route, len(routes)), size) if size else None for size in row))
    return tuple(rows)


def _stretched(
    tau: IntArray, serial: Fraction, transfer: tuple[tuple[Fraction, ...], ...]
) -> tuple[tuple[Fraction, ...], ...]:
    if serial == 0:
        return tuple(tuple(map(Fraction, row)) for row in tau.tolist())
    return tuple(
        tuple(time + serial * x for time, x in zip(times, row, strict=True))
        for times, row in zip(tau.tolist(), transfer, strict=True)
    )


def _longest_transfer(
    tables: Tables, written: IntArray, read: IntArray, fixed: list[_Fixed]
) -> tuple[tuple[Fraction, ...], ...]:
    """x: the most time a chunk's own bytes, not streamed weights, need on a link or port, [stage][chunk]."""
    stages, chunks, _ = written.shape
    waited = [(message, sizes) for message, sizes in fixed if message.kind is not MessageKind.WEIGHTS]
    most = int((written + read).sum(axis=2).max(initial=0)) + sum(sum(sizes) for _, sizes in waited)
    kind = whole_type(2 * most * max(int(tables.share.max(initial=0)), 1))
    rows: list[tuple[Fraction, ...]] = []
    for i in range(stages):
        there, back = written[i].T.astype(kind), read[i].T.astype(kind)
        for message, sizes in waited:
            if message.stage == i:
                (there if message.source == i else back)[message.port] += sizes.astype(kind)
        if not (there.any() or back.any()):
            rows.append((Fraction(0),) * chunks)
            continue
        on_links = tables.share[:, i, :].astype(kind) @ there + tables.share[:, :, i].astype(kind) @ back
        times = [Fraction(0)] * chunks
        for load, rate, unit in (
            (on_links, tables.link_rate, tables.share_denominator),
            (there + back, tables.port_rate, 1),
        ):
            _raise_to_largest(times, load, rate, unit)
        rows.append(tuple(times))
    return tuple(rows)


def _raise_to_largest(times: list[Fraction], load: Whole, rate: IntArray, unit: int) -> None:
    """Raise every chunk's time to the largest of load [resource, chunk] / (rate x unit)."""
    # Among resources of equal rate only the largest load matters, and few rates are distinct.
    for each in np.unique(rate).tolist():
        for j, largest in enumerate(load[rate == each].max(axis=0).tolist()):
            if largest:
                times[j] = max(times[j], Fraction(largest, each * unit))


def _admission_predecessors(
    brings: IntArray, slots: IntArray, finals: IntArray
) -> tuple[tuple[tuple[tuple[int, int], ...], ...], ...]:
    """Chunks that must have ended before each chunk is admitted, by [stage][chunk].

    Stage i' frees what request r holds after slot slots[finals[r]] + i'.  What slot t brings to a
    memory waits for all that is freed there before t: on every stage, for the last such request.
    Chunks end in order on a stage, and from stage to stage, so the latest of them are enough.

    Parameters
    ----------
    brings : int64[stage, chunk, memory], bytes
    slots : int64[chunk]
        The slot in which stage 0 works on each chunk.
    finals : int64[request]
        Every request's last chunk.
    """
    stages, chunks, memories = brings.shape
    stage = np.arange(stages)
    firsts = np.concatenate([[0], finals[:-1] + 1])
    holds = np.add.reduceat(brings > 0, firsts, axis=1, dtype=np.int64) > 0
    # latest[i', p, k]: chunks up to the end of the last of the first p requests that hold anything of
    # stage i' in memory k.
    latest = np.zeros((stages, finals.size + 1, memories), dtype=np.int64)
    latest[:, 1:] = np.maximum.accumulate(np.where(holds, finals[None, :, None] + 1, 0), axis=1)
    rows: list[tuple[tuple[tuple[int, int], ...], ...]] = []
    for i in range(stages):
        through = np.searchsorted(slots[finals], slots[:, None] + i - stage, side="left")
        needed = np.where(brings[i, :, None, :] > 0, latest[stage, through], 0).max(axis=2)
        # A chunk that has arrived has ended on the stages before, and its stage is done with the last.
        needed[:, : i + 1][needed[:, : i + 1] <= np.arange(chunks)[:, None]] = 0
        later = np.maximum.accumulate(needed[:, ::-1], axis=1)[:, ::-1]
        needed[:, :-1][needed[:, :-1] <= later[:, 1:]] = 0
        found: list[list[tuple[int, int]]] = [[] for _ in range(chunks)]
        for c, other in np.argwhere(needed).tolist():
            found[c].append((other, int(needed[c, other])))
        rows.append(tuple(map(tuple, found)))
    return tuple(rows)
