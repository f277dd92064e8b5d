"""A method from a boundary rule and a home rule."""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.heuristics.estimate import estimate
from mocap_opt.heuristics.proposal import BoundaryRule, HomeRule, Proposal
from mocap_opt.heuristics.selection import Selection
from mocap_opt.tables import Tables


def compose(boundaries: BoundaryRule, homes: HomeRule) -> Callable[[Tables], Proposal]:
    """Place the KV of a rule's candidates and keep the best that is feasible.

    Candidates are tried by their estimate with all KV at home, which homes elsewhere never lower,
    so the trial ends when that estimate reaches the best plan's.  Among equals the candidate the
    rule names first wins.
    """

    def propose(tables: Tables) -> Proposal:
        selection = Selection(tables)
        candidates = boundaries(tables)
        bounds = [estimate(tables, indices) for indices in candidates]
        for n in sorted(range(len(candidates)), key=lambda n: (bounds[n], n)):
            if selection.best is not None and bounds[n] >= selection.best:
                break
            if not selection.known(candidates[n]):
                selection.offer(candidates[n], homes(tables, candidates[n]))
        return selection.proposal()

    return propose
