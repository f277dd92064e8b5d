"""A longest chain through a run: chunks, sends and waits that follow each other without a pause.

Event-driven, a chunk starts at the very instant the last of its conditions comes true
(`mocap_opt.replay.accounting.account` checks that), so that a chain leads from the end of the last chunk
back to time 0 (critical path of a project: Kelley and Walker, 1959).  In lockstep it is the row that sets
the length of each phase.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from mocap_opt.replay.event import EventReplay
from mocap_opt.replay.lockstep import LockstepReplay
from mocap_opt.replay.run import loop_length
from mocap_opt.replay.transfers import Kind, schedule_messages
from mocap_opt.schedule.schedule import Schedule


class Cause(StrEnum):
    """What passes the time of a leg."""

    COMPUTE = "computing"
    KV = "KV traffic"
    SEND = "sending activations"
    TOKENS = "waiting for tokens"


class Turn(StrEnum):
    """Why a chunk could not start before another one; takes no time itself."""

    QUEUE = "queue room"
    ADMISSION = "admission"
    LOOP = "a place in the loop"


@dataclass(frozen=True)
class Leg:
    """A part of the chain.

    Attributes
    ----------
    cause : Cause
    stage, chunk : int
        Whose.
    start, end : Fraction, ticks
        ``start < end``.
    resource : str
        The stage that computes, or the link or port that limits; ``""`` where none does.
    """

    cause: Cause
    stage: int
    chunk: int
    start: Fraction
    end: Fraction
    resource: str

    @property
    def ticks(self) -> Fraction:
        """How long it takes."""
        return self.end - self.start


@dataclass(frozen=True)
class CriticalPath:
    """A longest chain.

    Attributes
    ----------
    legs : tuple of Leg
        In order of time; one ends where the next begins, the first begins at 0, the last ends with the run.
    turns : tuple of (Turn, int, int)
        Where the chain goes on with a chunk of another stage because of a rule, and the stage and chunk
        that the rule held back; in order of time.
    """

    legs: tuple[Leg, ...]
    turns: tuple[tuple[Turn, int, int], ...] = ()

    def shares(self) -> list[tuple[Cause, str, Fraction]]:
        """Ticks by cause and resource, most first; they add up to the latency."""
        spent: dict[tuple[Cause, str], Fraction] = defaultdict(Fraction)
        for leg in self.legs:
            spent[leg.cause, leg.resource] += leg.ticks
        return sorted(((*key, ticks) for key, ticks in spent.items()), key=lambda each: -each[2])

    def of_cause(self, cause: Cause) -> Fraction:
        """Ticks of one cause, on any resource."""
        return sum((leg.ticks for leg in self.legs if leg.cause is cause), Fraction(0))


def lockstep_path(replay: LockstepReplay) -> CriticalPath:
    """What sets the length of every phase of a lockstep run of one request.

    Parameters
    ----------
    replay : LockstepReplay
        Its phases that a stage sets count as computing; with an overlap below 1 part of that is KV traffic.
    """
    legs: list[Leg] = []
    stages, chunks = replay.schedule.machine.stages, replay.schedule.plan.chunks
    now = 0
    for t, start in enumerate(replay.start.tolist()):
        phases = (
            (Cause.TOKENS, "", start - now),
            _phase(replay.work_bound_by[t], int(replay.work[t])),
            _phase(replay.exchange_bound_by[t], int(replay.exchange[t]), Cause.SEND),
        )
        for cause, resource, ticks in phases:
            if ticks and now < replay.latency:
                stage = int(resource.split()[1]) if resource.startswith(("stage", "send")) else -1
                stage = stage if stage >= 0 else min(max(t - chunks + 1, 0), stages - 1)
                name = resource.replace("send ", "send of stage ")
                legs.append(Leg(cause, stage, t - stage, Fraction(now), Fraction(now + ticks), name))
            now += ticks
    return CriticalPath(tuple(legs))


def _phase(bound_by: str, ticks: int, otherwise: Cause = Cause.KV) -> tuple[Cause, str, int]:
    """A phase with what sets its length."""
    return (Cause.COMPUTE if bound_by.startswith("stage") else otherwise), bound_by, ticks


def event_path(schedule: Schedule, replay: EventReplay) -> CriticalPath:
    """A longest chain of an event-driven run of one request.

    Where several conditions of a start come true at once, the chunk before on the same stage counts first,
    then activations, then queue room, then admission.

    Parameters
    ----------
    schedule : Schedule
    replay : EventReplay
        Of that schedule, recorded (``log=True``).
    """
    legs, turns = [], []
    for step in _backwards(schedule, replay):
        if isinstance(step, Leg):
            if step.ticks:
                legs.append(step)
        else:
            turns.append(step)
    return CriticalPath(tuple(reversed(legs)), tuple(reversed(turns)))


def _backwards(schedule: Schedule, replay: EventReplay) -> Iterator[Leg | tuple[Turn, int, int]]:
    """The chain from its end, chunk by chunk."""
    waits_for = schedule_messages(schedule).admission_predecessors
    depth, loop = schedule.machine.queue_depth, schedule.machine.loop
    limits = {
        (record.stage, record.chunk, record.route.kind is Kind.ACTIVATION): record.rates[-1][2]
        for record in replay.recorded()
        if record.rates
    }
    i, j = schedule.stages - 1, len(replay.end[-1]) - 1
    ended = True
    while True:
        start = replay.start[i][j]
        if ended:
            computed, end = replay.compute_end[i][j], replay.end[i][j]
            yield Leg(Cause.KV, i, j, computed, end, limits.get((i, j, False), ""))
            yield Leg(Cause.COMPUTE, i, j, start, computed, f"stage {i}")
        here = max(replay.arrival[i][j], replay.end[i][j - 1] if j else Fraction(0))
        if start == here:
            if j and replay.end[i][j - 1] == start:
                j, ended = j - 1, True
            elif i:
                left = replay.end[i - 1][j]
                yield Leg(Cause.SEND, i - 1, j, left, start, limits.get((i - 1, j, True), "hops"))
                i, ended = i - 1, True
            elif loop and j >= loop_length(schedule.stages):
                yield Turn.LOOP, i, j
                i, j, ended = schedule.stages - 1, j - loop_length(schedule.stages), True
            else:
                yield Leg(Cause.TOKENS, i, j, Fraction(0), start, "")
                return
        elif (
            depth is not None
            and j >= depth
            and i + 1 < schedule.stages
            and (replay.start[i + 1][j - depth] == start)
        ):
            yield Turn.QUEUE, i, j
            i, j, ended = i + 1, j - depth, False
        else:
            yield Turn.ADMISSION, i, j
            i, j = max(
                ((stage, count - 1) for stage, count in waits_for[i][j]),
                key=lambda at: replay.end[at[0]][at[1]],
            )
            ended = True
