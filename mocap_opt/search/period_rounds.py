"""Iterated local search on periodic plans until time is up, the gap closes or rounds gain nothing."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from mocap_opt.replay.evaluation import Assessment
from mocap_opt.replay.steady_state import EventPeriod
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.period_homes import HomeRule, WithinReach, housed
from mocap_opt.search.period_local_search import improve, perturb
from mocap_opt.search.rounds import run_rounds
from mocap_opt.tables.cost_tables import Tables

Start = tuple[float, Schedule, HomeRule]
"""The estimate of a plan, the plan, and the rule its homes were made with."""

IMPROVED = 16
"""Starts that a round improves by local search."""

KEPT = 3
"""Best plans of earlier rounds that a round takes beside its starts; as many are perturbed."""

PATIENCE = 40
"""Perturbations in a row without a better plan that end a round."""

REMEMBERED = 10_000
"""Starts whose results are remembered."""

NEAR = Fraction(101, 100)
"""Plans estimated below so many times the best period are replayed: the estimate leaves out contention."""


VARIANTS = 4
"""Other homes tried where requests come ever closer to a period but never repeat."""


class Judge(Protocol):
    """What rounds need of a search for the period."""

    tables: Tables
    best: Assessment | None
    notes: list[str]

    def done(self) -> bool:
        """Whether to stop."""

    def judge(self, periodic: Schedule, source: str) -> Assessment:
        """Replay a plan and keep the best.

        Parameters
        ----------
        periodic : Schedule
            Feasible.
        source : str
            What it came from, for the report.
        """


class Rounds:
    """Local search from many starts.

    Parameters
    ----------
    search : Judge
        Takes what is found, and says when to stop.
    starts : sequence of Start
        Best first.
    seed : int
        For sampled moves and perturbations; without a time limit it alone decides the result.
    """

    def __init__(self, search: Judge, starts: Sequence[Start], seed: int) -> None:
        self._search, self._rng = search, np.random.default_rng(seed)
        first: dict[tuple[int, bytes], Start] = {}
        for start in starts:
            first.setdefault((start[1].plan.chunks, start[2].key), start)
        # The best of every count and rule come first, the others after them.
        leading = set(map(id, first.values()))
        self._waiting = [*first.values(), *(start for start in starts if id(start) not in leading)]
        self._kept: list[Start] = []
        self._reached: dict[tuple[Schedule, bytes], Start] = {}

    def run(self) -> None:
        """Go through rounds and note how they ended."""
        search = self._search
        if not self._waiting:
            return
        ended = run_rounds(
            self._round,
            value=self._period,
            starts_left=lambda: bool(self._waiting),
            done=search.done,
        )
        search.notes.append(ended)

    def _period(self) -> Fraction | float:
        best = self._search.best
        return float("inf") if best is None else best.period

    def _round(self, strength: int) -> None:
        """Improve the next starts, then perturbed copies of the best plans of this and earlier rounds."""
        pool, self._kept = self._kept, []
        taken, self._waiting = self._waiting[:IMPROVED], self._waiting[IMPROVED:]
        for start in taken:
            if self._search.done():
                break
            pool.append(self._improved(start))
        misses = tries = 0
        while pool and misses < PATIENCE and tries < 10 * PATIENCE and not self._search.done():
            pool.sort(key=_estimate)
            at = int(self._rng.integers(min(len(pool), KEPT)))
            perturbed = perturb(self._search.tables, pool[at][1], pool[at][2], self._rng, strength)
            tries += 1
            if perturbed is None:
                continue
            found = self._improved((pool[at][0], *perturbed))
            misses = 0 if found[0] < pool[at][0] else misses + 1
            if found[0] <= pool[at][0]:
                pool[at] = found
        self._kept = sorted(pool, key=_estimate)[:KEPT]

    def _improved(self, start: Start) -> Start:
        """Improve a start by local search, and replay the result if it may be the best so far.

        Perturbations of a small plan come back to the same starts, whose results are remembered.
        """
        search, key = self._search, (start[1], start[2].key)
        reached = self._reached.get(key)
        if reached is None:
            found, estimate = improve(
                search.tables, start[1], start[2], rng=self._rng, asked_to_stop=search.done
            )
            reached = estimate, found, start[2]
            if not search.done():
                if len(self._reached) == REMEMBERED:
                    self._reached.clear()
                self._reached[key] = reached
        if reached[0] < NEAR * self._period():
            self._judge(reached)
        return reached

    def _judge(self, reached: Start) -> None:
        """Replay a plan; if it is not proved to repeat, and may be better, with other homes too."""
        search, rule = self._search, reached[2]
        indices, slots = reached[1].plan.grid_indices(search.tables), reached[1].slots
        found: Schedule | None = reached[1]
        for _ in range(VARIANTS):
            event = None if found is None else search.judge(found, "local search").event
            if not isinstance(event, EventPeriod) or event.steady or event.estimate >= self._period():
                return
            if not isinstance(rule, WithinReach) or search.done():
                return
            found = housed(search.tables, indices, slots, rule, self._rng)


def _estimate(start: Start) -> float:
    return start[0]
