"""Heuristics: boundary rules, home rules and the named methods made of them.

No method loads a solver, except those with program homes when they run.
"""

from mocap_opt.baselines.registry import BOUNDARY_RULES, HOME_RULES, METHODS
from mocap_opt.homes.proposal import Homes, Method, Proposal, Shortage

__all__ = ["BOUNDARY_RULES", "HOME_RULES", "METHODS", "Homes", "Method", "Proposal", "Shortage"]
