"""Long-context LLM prefill on wafer-scale chips, scheduled with a certified optimality gap.

>>> import mocap_opt
>>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")  # doctest: +SKIP
>>> solution = mocap_opt.solve(instance)  # doctest: +SKIP
>>> solution.report.latency_s, solution.report.gap  # doctest: +SKIP

Everything else is reached through the names below; nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mocap_opt.costs import build_tables
    from mocap_opt.errors import InputError, MocapError
    from mocap_opt.heuristics import METHODS
    from mocap_opt.instance import Instance, load_instance
    from mocap_opt.plan import Home, Plan
    from mocap_opt.plan_io import load_plan, save_plan
    from mocap_opt.replay.event import replay_event
    from mocap_opt.replay.lockstep import replay_lockstep
    from mocap_opt.report import Report
    from mocap_opt.solving import Solution, bound, compare, evaluate, solve
    from mocap_opt.tables import Tables
    from mocap_opt.verify import violations

_HOMES = {
    "InputError": "errors",
    "MocapError": "errors",
    "Instance": "instance",
    "load_instance": "instance",
    "Tables": "tables",
    "build_tables": "costs",
    "Plan": "plan",
    "Home": "plan",
    "load_plan": "plan_io",
    "save_plan": "plan_io",
    "violations": "verify",
    "replay_lockstep": "replay.lockstep",
    "replay_event": "replay.event",
    "METHODS": "heuristics",
    "Report": "report",
    "Solution": "solving",
    "solve": "solving",
    "evaluate": "solving",
    "compare": "solving",
    "bound": "solving",
}

__all__ = [
    "METHODS",
    "Home",
    "InputError",
    "Instance",
    "MocapError",
    "Plan",
    "Report",
    "Solution",
    "Tables",
    "bound",
    "build_tables",
    "compare",
    "evaluate",
    "load_instance",
    "load_plan",
    "replay_event",
    "replay_lockstep",
    "save_plan",
    "solve",
    "violations",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mocap_opt' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mocap_opt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
