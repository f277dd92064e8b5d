"""The best feasible plan among those a heuristic comes upon, judged by the estimate."""

from __future__ import annotations

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes, Proposal, Shortage
from mocap_opt.replay.contention_free_makespan import estimate
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import STOPPED
from mocap_opt.tables.cost_tables import Tables

NO_BOUNDARIES = "no boundaries of this rule keep to the limits on counts and lengths"


class Selection:
    """Collects boundaries with homes, and hands back the best that passes the verifier.

    Parameters
    ----------
    tables : Tables

    Attributes
    ----------
    best : int or None
        Least estimate so far, ticks.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.best: int | None = None
        self._found: list[tuple[int, int, IntArray, IntArray | None, tuple[str, ...]]] = []
        self._seen: set[bytes] = set()
        self._shortage: Shortage | None = None
        self._reason = NO_BOUNDARIES

    def short(self, shortage: Shortage | None) -> bool:
        """Remember a failed memory row, the least of all; True if there is one."""
        if shortage is None:
            return False
        if self._shortage is None or shortage.bytes_short < self._shortage.bytes_short:
            self._shortage = shortage
        return True

    def known(self, indices: IntArray) -> bool:
        """Whether these boundaries were asked about before."""
        key = indices.tobytes()
        if key in self._seen:
            return True
        self._seen.add(key)
        return False

    def offer(self, indices: IntArray, homes: Homes, notes: tuple[str, ...] = ()) -> None:
        """Take boundaries and their homes, or the reason why there are none."""
        if homes.pages is None:
            self.short(homes.shortage)
            self._reason = homes.why
            return
        pages = homes.pages if homes.pages.any() else None
        ticks = estimate(self.tables, indices, pages)
        self._found.append((ticks, len(self._found), indices, pages, notes))
        self.best = ticks if self.best is None else min(self.best, ticks)

    def proposal(self, *, stopped: bool = False) -> Proposal:
        """Hand back the best plan found that the verifier passes, the earliest among equals."""
        notes = (STOPPED,) if stopped else ()
        wrong = STOPPED if stopped else ""
        for _, _, indices, pages, own in sorted(self._found, key=lambda found: found[:2]):
            plan = Plan.from_arrays(self.tables, indices, pages)
            broken = violations(self.tables, plan)
            if not broken:
                return Proposal(plan, notes=own + notes)
            wrong = wrong or str(broken[0])
        reason = wrong or (str(self._shortage) if self._shortage is not None else self._reason)
        return Proposal(None, reason, notes)
