"""From an instance to a plan with a certified gap."""

from mocap_opt.solving.driver import METHOD_NAMES, Solution, bound, compare, evaluate, solve
from mocap_opt.solving.state import Progress

__all__ = ["METHOD_NAMES", "Progress", "Solution", "bound", "compare", "evaluate", "solve"]
