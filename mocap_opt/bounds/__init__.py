"""Lower bounds on the latency of every plan, each with what it covers and how it is proved.

Mathematics: ``formulations/bounds.md``.
"""

from mocap_opt.bounds.boundary_branching import branch_on_boundaries
from mocap_opt.bounds.infeasible import Infeasibility, prove_infeasible
from mocap_opt.bounds.registry import BOUNDS, QUICK, affordable_bound, lower_bounds
from mocap_opt.lower_bound import Bound, Evidence, Scope, best

__all__ = [
    "BOUNDS",
    "QUICK",
    "Bound",
    "Evidence",
    "Infeasibility",
    "Scope",
    "affordable_bound",
    "best",
    "branch_on_boundaries",
    "lower_bounds",
    "prove_infeasible",
]
