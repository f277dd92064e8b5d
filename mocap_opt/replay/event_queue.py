"""Exact time as integers: an event queue whose unit is refined whenever an instant falls between two."""

from __future__ import annotations

import heapq
from typing import Any

Stamp = tuple[int, int]
"""An instant: units, and how many of them made a tick when it was taken."""


class EventQueue:
    """Events in the order of one key: (time, kind, sequence).

    Times are integers, `scale` units to a tick.  An instant that is no whole number of units makes
    the unit smaller, and all times stay exact, until that would use up the bits `begin` allows.
    Under fair sharing the common denominator of the times grows with every event that depends on
    another, so a long run must stop there; whoever schedules then rounds up to a whole unit.

    Attributes
    ----------
    now : int
        The current time, units.
    scale : int
        Units per tick.
    rounded : int
        How many instants have been rounded up.
    """

    def __init__(self) -> None:
        self.now = 0
        self.scale = 1
        self.rounded = 0
        self._limit = 1
        self._sequence = 0
        self._queue: list[tuple[int, int, int, Any]] = []

    def begin(self, scale: int, refinement: int) -> None:
        """Set the scale to start with, and how many bits refining may add to it.

        Parameters
        ----------
        scale : int
            Units per tick.
        refinement : int
            Bits.
        """
        self.scale = scale
        self._limit = scale.bit_length() + refinement

    def stamp(self) -> Stamp:
        """Return the current instant, to be read at any later scale."""
        return self.now, self.scale

    def units(self, stamp: Stamp) -> int:
        """Convert an instant to units of the current scale."""
        time, scale = stamp
        return time if scale == self.scale else time * (self.scale // scale)

    def push(self, time: int, kind: int, item: Any) -> int:
        """Schedule an event and return its sequence number.

        Parameters
        ----------
        time : int
            Units.
        kind : int
            Ranks events of the same instant.
        item : object
            Whatever the event is about.
        """
        self._sequence += 1
        heapq.heappush(self._queue, (time, kind, self._sequence, item))
        return self._sequence

    def pop(self) -> tuple[int, int, Any] | None:
        """Kind, sequence number and item of the next event, or None; time moves on to it."""
        if not self._queue:
            return None
        self.now, kind, sequence, item = heapq.heappop(self._queue)
        return kind, sequence, item

    def more_now(self) -> bool:
        """Tell whether another event has the current time."""
        return bool(self._queue) and self._queue[0][0] == self.now

    def refine(self, factor: int) -> bool:
        """Divide the unit by a factor unless the scale would become too large; tell whether.

        Once refused, the unit stays as it is.
        """
        if (self.scale * factor).bit_length() > self._limit:
            self._limit = 0
            return False
        self.now *= factor
        self.scale *= factor
        # Multiplying all times keeps their order, so the queue stays a heap.
        self._queue = [(time * factor, kind, sequence, item) for time, kind, sequence, item in self._queue]
        return True
