"""The lockstep execution of a sequence of requests, whose slots overlap.

Mathematics and a worked example: ``formulations/streams.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.replay.lockstep import LockstepReplay, SlotRows, price_slots, slot_rows
from mocap_opt.replay.traffic import Whole, whole_type
from mocap_opt.schedule.sequence import RequestSequence
from mocap_opt.schedule.verify_sequence import sequence_memory


@dataclass(frozen=True, eq=False)
class SequenceLockstep:
    """What a sequence costs in lockstep.

    Attributes
    ----------
    slots : LockstepReplay
        The price of every slot; its ``start`` and ``latency`` know no release times.
    start : int64[slot], ticks
        When every slot begins: after the one before, and not before the release of a request whose
        first slot it is.
    completion : tuple of int, ticks
        When every request has left: the end of the work phase of its last slot.
    """

    slots: LockstepReplay
    start: IntArray
    completion: tuple[int, ...]

    @property
    def makespan(self) -> int:
        """When the last request has left, ticks."""
        return max(self.completion)


def replay_sequence_lockstep(sequence: RequestSequence) -> SequenceLockstep:
    """Price a sequence in lockstep.

    Like `mocap_opt.replay.lockstep.replay_lockstep` it prices what overfills a memory, too.

    Raises
    ------
    ValueError
        If a boundary is not on its grid.
    """
    offsets = [request.slot for request in sequence]
    parts = [slot_rows(request.tables, request.plan) for request in sequence]
    rows = overlap_rows(parts, offsets, sequence.slots)
    slots = price_slots(sequence.machine, rows, sequence_memory(sequence))
    release = np.zeros(sequence.slots, dtype=np.int64)
    np.maximum.at(release, offsets, [request.release for request in sequence])
    start = slot_starts(slots.duration, release)
    done = start + slots.work
    return SequenceLockstep(slots, start, tuple(int(done[request.last_slot]) for request in sequence))


def overlap_rows(parts: Sequence[SlotRows], offsets: Sequence[int], slots: int) -> SlotRows:
    """Rows of requests in slots of their own as rows of common slots: loads add up.

    Parameters
    ----------
    parts : sequence of SlotRows
    offsets : sequence of int
        The common slot in which each begins.
    slots : int
        How many common slots there are.
    """

    def added(of: Callable[[SlotRows], Whole]) -> Whole:
        tables = [of(part) for part in parts]
        most = sum(int(each.max(initial=0)) for each in tables)
        objects = any(each.dtype == np.object_ for each in tables)
        kind = np.object_ if objects else whole_type(most)
        total = np.zeros((tables[0].shape[0], slots), dtype=kind)
        for offset, each in zip(offsets, tables, strict=True):
            total[:, offset : offset + each.shape[1]] += each
        return total

    delay = np.zeros((parts[0].delay.shape[0], slots), dtype=np.int64)
    for offset, part in zip(offsets, parts, strict=True):
        window = delay[:, offset : offset + part.delay.shape[1]]
        np.maximum(window, part.delay, out=window)
    return SlotRows(
        # A stage works for one request in a slot, so these sums have one term.
        busy=added(lambda part: part.busy),
        alone=added(lambda part: part.alone),
        link_kv=added(lambda part: part.link_kv),
        link_activation=added(lambda part: part.link_activation),
        port=added(lambda part: part.port),
        delay=delay,
    )


def slot_starts(duration: IntArray, release: IntArray) -> IntArray:
    """When slots begin, int64[slot], ticks.

    Parameters
    ----------
    duration, release : int64[slot], ticks
        Of every slot; no slot begins before its release.
    """
    before = np.cumsum(duration) - duration
    starts: IntArray = before + np.maximum.accumulate(release - before)
    return starts
