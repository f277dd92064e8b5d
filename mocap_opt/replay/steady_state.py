"""The event-driven execution of endless identical requests, until it provably repeats.

The run is the engine of `mocap_opt.replay.run` on a row of requests.  When its last stage ends a
request, everything that can influence what comes next is written down relative to that instant
and that request.  If two such states are equal, the run goes on from the second exactly as from
the first, for ever; the period is then the time between them over the requests between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from mocap_opt.replay.accounting import ReplayError
from mocap_opt.replay.event import REFINEMENT
from mocap_opt.replay.event_queue import Stamp
from mocap_opt.replay.network import MESSAGE
from mocap_opt.replay.run import Run
from mocap_opt.replay.transfers import Messages, schedule_messages
from mocap_opt.schedule.schedule import Schedule, identical_requests
from mocap_opt.tables.cost_tables import Tables

REQUESTS = 32
"""Requests simulated at most, beside those in flight, before giving up on a repetition."""


@dataclass(frozen=True)
class EventPeriod:
    """What endless requests cost when stages go on as soon as they can.

    Attributes
    ----------
    period : Fraction or None, ticks
        Limit of the completion differences; None if the run was not proved to repeat.
    estimate : Fraction, ticks
        `period`, or else the mean difference over the second half of the requests that ran.
    cycle : int or None
        Requests after which the run repeats.
    completions : tuple of Fraction, ticks
        When the last stage ended each request.
    latency : Fraction or None, ticks
        From the start of a request's first chunk until its last one has left, mean over a cycle; None
        if the run was not proved to repeat.
    rounded : int
        Message ends that were rounded up to the resolution of the clock; a run with any is never
        called steady.
    """

    period: Fraction | None
    estimate: Fraction
    cycle: int | None
    completions: tuple[Fraction, ...]
    latency: Fraction | None
    rounded: int

    @property
    def steady(self) -> bool:
        """Whether the run was proved to repeat."""
        return self.period is not None


def run_steady(
    schedule: Schedule, *, requests: int | None = None, refinement: int = REFINEMENT
) -> EventPeriod:
    """Run requests without end and without barriers until the run repeats.

    Parameters
    ----------
    schedule : Schedule
        One request with an interval; feasible: check with `mocap_opt.schedule.verify.schedule_violations`.
    requests : int, optional
        Most requests to run, at least 2; `REQUESTS` and four times those in flight if not given.
    refinement : int
        See `mocap_opt.replay.event.run_event`.

    Raises
    ------
    ReplayError
        If the plan overfills a memory.
    """
    tables, plan = schedule.machine, schedule.plan
    if requests is None:
        requests = REQUESTS + 4 * -(-2 * tables.stages // plan.chunks)
    if requests < 2:
        raise ValueError(f"requests: expected at least 2, got {requests}")
    row = identical_requests(tables, plan, requests, schedule.slots)
    # The reserve of endless requests, even where those that are run would need less.
    messages = replace(schedule_messages(row), floor=tables.static + schedule.reserve)
    run = _EndlessRun(tables, messages, plan.chunks, refinement)
    run.execute()
    return run.result()


class _EndlessRun(Run):
    """A row of identical requests; stops as soon as a state comes back."""

    def __init__(self, tables: Tables, messages: Messages, each: int, refinement: int) -> None:
        super().__init__(tables, messages, refinement)
        self._each = each
        self._states: dict[Any, int] = {}
        self._done: list[Stamp] = []
        self._cycle: int | None = None

    def execute(self) -> None:
        """Run until a state comes back or the requests are used up."""
        self._start_ready()
        self.network.share()
        while self._cycle is None and (event := self.clock.pop()) is not None:
            kind, sequence, item = event
            self._take(kind, sequence, item)
            if not self.clock.more_now():
                self._start_ready()
                self.network.share()
                if self.ended[-1] // self._each > len(self._done):
                    self._request_done()
        if self._cycle is None and self.ended != [self.chunks] * self.stages:
            raise ReplayError(f"deadlock: stages have ended {self.ended} of {self.chunks} chunks")

    def _take(self, kind: int, sequence: int, item: Any) -> None:
        if kind == MESSAGE:
            if item.event == sequence:
                self._message_done(item)
        elif isinstance(item, tuple):
            stage, chunk = item
            self.arrival[stage][chunk] = self.clock.stamp()
            self.ready.add(stage)
        else:
            self._part_done(item, None)

    def _request_done(self) -> None:
        done = self.ended[-1] // self._each
        while len(self._done) < done:
            self._done.append(self.clock.stamp())
        # A run that has no more requests to start, or that was rounded, says nothing of an endless one.
        if self.started[0] >= self.chunks or self.clock.rounded:
            return
        state = self._state(done)
        if state in self._states:
            self._cycle = done - self._states[state]
        else:
            self._states[state] = done

    def _state(self, done: int) -> Any:
        """All that decides what comes next, relative to now and to request `done`."""
        clock, base = self.clock, done * self._each
        events = sorted(
            (kind, *self._what(kind, item, base), Fraction(time - clock.now, clock.scale))
            for time, kind, sequence, item in clock._queue
            if kind != MESSAGE or item.event == sequence
        )
        arrived = tuple(
            sum(self.arrival[i][j] is not None for j in range(self.started[i], self.chunks))
            for i in range(1, self.stages)
        )
        flows = sorted(
            (
                flow.way.index,
                flow.stage,
                flow.chunk - base,
                Fraction(flow.work - flow.speed * (clock.now - flow.since), flow.unit * clock.scale),
                Fraction(clock.now - clock.units(flow.began), clock.scale),
            )
            for flow in self.network._active
        )
        relative = [tuple(n - base for n in counts) for counts in (self.started, self.ended)]
        return (*relative, tuple(self.pending), arrived, tuple(events), tuple(flows))

    @staticmethod
    def _what(kind: int, item: Any, base: int) -> tuple[int, int, int]:
        if kind == MESSAGE:
            return item.way.index, item.stage, item.chunk - base
        if isinstance(item, tuple):
            return 0, item[0], item[1] - base
        return 0, item, 0

    def result(self) -> EventPeriod:
        """Completions, and their limit if the run repeats."""
        scale = self.clock.scale
        at = tuple(Fraction(self.clock.units(stamp), scale) for stamp in self._done)
        half = len(at) // 2
        # The first request to measure from: the end of the row lacks later requests' interference.
        estimate = (at[-1] - at[half - 1]) / (len(at) - half) if len(at) > 1 else at[0]
        period = latency = None
        if self._cycle is not None:
            period = estimate = (at[-1] - at[-1 - self._cycle]) / self._cycle
            latency = self._latency(at, period)
        return EventPeriod(period, estimate, self._cycle, at, latency, self.clock.rounded)

    def _latency(self, at: tuple[Fraction, ...], period: Fraction) -> Fraction:
        """Mean latency of the requests that start within the cycle that was proved to come back.

        Those in flight when it began have come from the start of the run; those that start in it end
        in later cycles, as many periods after the ends in this one.
        """
        assert self._cycle is not None
        scale, first, total = self.clock.scale, len(at) - self._cycle, Fraction(0)
        for chunk in range(0, len(self.start[0]), self._each):
            began = Fraction(self.clock.units(self.start[0][chunk]), scale)
            if at[first - 1] < began <= at[-1]:
                later = chunk // self._each - first
                total += at[first + later % self._cycle] + later // self._cycle * self._cycle * period - began
        return total / self._cycle
