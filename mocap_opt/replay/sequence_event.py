"""The event-driven execution of a sequence of requests.

Mathematics and a worked example: ``formulations/streams.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from mocap_opt.replay.event import REFINEMENT, EventReplay, run_messages
from mocap_opt.replay.transfers import sequence_messages
from mocap_opt.schedule.sequence import RequestSequence


@dataclass(frozen=True, eq=False)
class SequenceEvent:
    """What a sequence costs when stages go on as soon as they can.

    Attributes
    ----------
    run : EventReplay
        The whole run, its chunks numbered through all requests.
    last : tuple of int
        Every request's last chunk, numbered so.
    """

    run: EventReplay
    last: tuple[int, ...]

    @property
    def completion(self) -> tuple[Fraction, ...]:
        """When every request has left, ticks."""
        return tuple(self.run.end[-1][chunk] for chunk in self.last)

    @property
    def makespan(self) -> Fraction:
        """When the last request has left, ticks."""
        return self.run.latency


def replay_sequence_event(
    sequence: RequestSequence, *, log: bool = False, refinement: int = REFINEMENT
) -> SequenceEvent:
    """Run a sequence without barriers: `mocap_opt.replay.event.replay_event` over many requests.

    Queues know no requests, admission follows the slots of all of them, and the first stage starts
    no request before its release.

    Parameters
    ----------
    sequence : RequestSequence
        Feasible: check with `mocap_opt.schedule.verify_sequence.sequence_violations`.
    log : bool
        Whether to record every message with its rates.
    refinement : int
        As in `mocap_opt.replay.event.replay_event`.

    Raises
    ------
    ValueError
        If a boundary is not on its grid, or homes exceed their chunk.
    ReplayError
        If the sequence overfills a memory.
    """
    run = run_messages(sequence.machine, sequence_messages(sequence), log=log, refinement=refinement)
    ends = accumulate(request.plan.chunks for request in sequence)
    return SequenceEvent(run, tuple(end - 1 for end in ends))
