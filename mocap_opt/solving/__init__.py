"""From an instance to a plan with a certified gap."""

from mocap_opt.solving.api import bound, evaluate, solve
from mocap_opt.solving.comparison import compare, solve_with_each
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.joint import STEPS
from mocap_opt.solving.methods import METHOD_NAMES
from mocap_opt.solving.solution import EXECUTIONS, Solution, wanted_execution

__all__ = [
    "EXECUTIONS",
    "METHOD_NAMES",
    "STEPS",
    "Progress",
    "Solution",
    "bound",
    "compare",
    "evaluate",
    "solve",
    "solve_with_each",
    "wanted_execution",
]
