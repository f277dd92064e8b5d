"""What heuristics take and give: homes or a shortage, a plan or a reason, named methods, the best plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mocap_opt.arrays import IntArray
from mocap_opt.replay.contention_free_makespan import contention_free_makespan
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import STOPPED, AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import decimal_bytes


@dataclass(frozen=True)
class Shortage:
    """A memory row that cannot be met.

    Attributes
    ----------
    memory : int or None
        The memory that is too small; None if all memories together are.
    slot : int
        The slot in which it is.
    bytes_short : int
        By how much, bytes, > 0.
    """

    memory: int | None
    slot: int
    bytes_short: int

    def __str__(self) -> str:
        """Return the shortage in words."""
        where = "the memories together are" if self.memory is None else f"memory {self.memory} is"
        return f"{where} {decimal_bytes(self.bytes_short)} short in slot {self.slot}"


@dataclass(frozen=True)
class Homes:
    """Where the KV of given boundaries lives, or why no place was found.

    Attributes
    ----------
    pages : int64[stage, chunk, memory] or None
        Pages away from their stage; entries on the stage's own memory are 0.
    shortage : Shortage or None
        The row that fails, if `pages` is None and the rule knows it.
    reason : str
        Any other cause, if `pages` is None.
    """

    pages: IntArray | None
    shortage: Shortage | None = None
    reason: str = ""

    @property
    def why(self) -> str:
        """The cause of a failure in words; empty if there are homes."""
        return str(self.shortage) if self.shortage is not None else self.reason


@dataclass(frozen=True)
class Proposal:
    """What a heuristic found.

    Attributes
    ----------
    plan : Plan or None
        A feasible plan (checked by `mocap_opt.schedule.verify`), or None.
    reason : str
        Why there is no plan: the memory, the slot and the bytes short, or the limit on counts or
        lengths that no boundaries of the rule meet.  Empty if there is one.
    notes : tuple of str
        Remarks on how the plan came about.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> proposal = mocap_opt.METHODS["gpipe"].propose(mocap_opt.build_tables(instance))
    >>> proposal.plan is None, proposal.reason
    (True, 'memory 0 is 2 B short in slot 0')
    """

    plan: Plan | None
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A heuristic with a name.

    Attributes
    ----------
    name : str
    summary : str
        One line: boundaries, count of chunks, homes.
    propose : callable
        Tables to a `Proposal`; deterministic unless asked to stop, and then it ends soon with the
        best whole plan so far, or none and `mocap_opt.stopping.STOPPED` as the reason.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> mocap = mocap_opt.METHODS["mocap"]
    >>> mocap.summary
    'LBCP chunks and MBKR homes, iterated, best count'
    >>> mocap.propose(mocap_opt.build_tables(instance)).plan.boundaries
    (0, 2, 4)
    """

    name: str
    summary: str
    propose: Propose


class Propose(Protocol):
    """Finds a plan."""

    def __call__(self, tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        """Propose a plan, or say why there is none."""


class BoundaryRule(Protocol):
    """Lists candidates of grid indices int64[chunks + 1], all within the limits on counts and lengths."""

    def __call__(self, tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
        """List them; a rule that is asked to stop raises `StoppedError` or lists those it has."""


class HomeRule(Protocol):
    """Finds homes for given grid indices."""

    def __call__(self, tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
        """Find homes for all KV, or none; a rule that is asked to stop raises `StoppedError`."""


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
        """Take boundaries and their homes, or the reason why there are none.

        Parameters
        ----------
        indices : int64[chunks + 1]
            Grid indices of the boundaries.
        homes : Homes
        notes : tuple of str
            Remarks for the proposal, if these boundaries are the best.
        """
        if homes.pages is None:
            self.short(homes.shortage)
            self._reason = homes.why
            return
        pages = homes.pages if homes.pages.any() else None
        ticks = contention_free_makespan(self.tables, indices, pages)
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


class Offer(Protocol):
    """A search that offers plans to a selection."""

    def __call__(self, selection: Selection, asked_to_stop: AskedToStop) -> None:
        """Offer plans; a search that is asked to stop may raise `StoppedError`, what it offered counts."""


def best_offered(search: Offer) -> Propose:
    """Make a heuristic of a search: it proposes the best plan offered, also when it was stopped."""
    return partial(_best_offered, search)


def _best_offered(search: Offer, tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
    selection = Selection(tables)
    try:
        search(selection, asked_to_stop)
    except StoppedError:
        return selection.proposal(stopped=True)
    return selection.proposal()
