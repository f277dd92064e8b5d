"""A method from a boundary rule and a home rule."""

from __future__ import annotations

from mocap_opt.homes.proposal import BoundaryRule, HomeRule, Proposal, Propose
from mocap_opt.homes.selection import Selection
from mocap_opt.replay.contention_free_makespan import estimate
from mocap_opt.stopping import AskedToStop, StoppedError, never, stop_if
from mocap_opt.tables.cost_tables import Tables


def compose(boundaries: BoundaryRule, homes: HomeRule) -> Propose:
    """Place the KV of a rule's candidates and keep the best that is feasible.

    Candidates are tried by their estimate with all KV at home, which homes elsewhere never lower,
    so the trial ends when that estimate reaches the best plan's.  Among equals the candidate the
    rule names first wins.
    """

    def place(tables: Tables, selection: Selection, asked_to_stop: AskedToStop) -> None:
        candidates = boundaries(tables, asked_to_stop)
        bounds: list[int] = []
        for indices in candidates:
            stop_if(asked_to_stop)
            bounds.append(estimate(tables, indices))
        for n in sorted(range(len(candidates)), key=lambda n: (bounds[n], n)):
            if selection.best is not None and bounds[n] >= selection.best:
                break
            stop_if(asked_to_stop)
            if not selection.known(candidates[n]):
                selection.offer(candidates[n], homes(tables, candidates[n], asked_to_stop))

    def propose(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        selection = Selection(tables)
        try:
            place(tables, selection, asked_to_stop)
        except StoppedError:
            return selection.proposal(stopped=True)
        return selection.proposal()

    return propose
