"""From an instance to a plan with a certified gap."""

from mocap_opt.solve.comparison import compare, solve_with_each
from mocap_opt.solve.incumbent import Progress
from mocap_opt.solve.joint import STEPS
from mocap_opt.solve.latency import (
    EXECUTIONS,
    METHOD_NAMES,
    Solution,
    bound,
    evaluate,
    solve,
    wanted_execution,
)

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
