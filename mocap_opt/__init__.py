"""Long-context LLM prefill on wafer-scale chips, scheduled with a certified optimality gap.

>>> import mocap_opt
>>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
>>> solution = mocap_opt.solve(instance)
>>> solution.report.status.value, solution.plan.boundaries
('optimal', (0, 2, 4))

Instances: `load_instance` reads a file, `Instance.from_dict` a dict, `instance_from_config` makes a first one
of a model's Hugging Face ``config.json``; `Instance.replace` and
`frames.variants` make others of one.  `solve`, `evaluate`, `compare` and `bound` take dicts as well, and
`evaluate` also a plan as the dict that `save_plan` writes.

>>> mocap_opt.compare([instance.to_dict()], ["gpipe", "mocap"])[["method", "status"]].to_numpy().tolist()
[['gpipe', 'unknown'], ['mocap', 'feasible']]

Answers: a `Solution` has the `Report` (``to_dict()``, ``to_frame()``), the `Plan`, its replays and all
bounds; `frames` gives chunks, homes, bounds, plans tried, memory and the timeline as DataFrames, and makes
plans of DataFrames.  `compare` and ``studies.results`` return DataFrames.

Models: `build_model` hands out a program as a Pyomo model, `build_cp_model` as one of CP-SAT, with the
names of its page in ``formulations/``; add to it, solve it by any means, and `read_plan` gives the plan.

Plugins: other packages bring heuristics (a function from `Tables` to a `Proposal`) and programs (a
`Formulation`) by entry points, see `mocap_opt.plugins`; they are asked for by name like built-in ones.

Timings: `fit` finds the form of measured chunk times and gives costs of an instance (`FormChoice`).

Everything is reached through the names below; nothing heavy is imported before it is used.  Whatever is
wrong with an input is raised as an `InputError` that lists every problem.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mocap_opt import frames, studies
    from mocap_opt.baselines import METHODS, Method, Proposal
    from mocap_opt.calibration.choice import FormChoice, fit
    from mocap_opt.errors import InputError, MocapError
    from mocap_opt.formulations.registry import CpModel, Formulation, build_cp_model, build_model, read_plan
    from mocap_opt.instance import Instance, load_instance
    from mocap_opt.instance.from_config import instance_from_config
    from mocap_opt.pictures.drawings import (
        plot_bounds,
        plot_compare,
        plot_gantt,
        plot_memory,
        plot_mesh,
        plot_residuals,
        plot_tradeoff,
    )
    from mocap_opt.plugins import PluginError
    from mocap_opt.questions.advise import Advice, advise
    from mocap_opt.questions.explain import Explanation, explain
    from mocap_opt.questions.max_context import LongestAnswer, max_length
    from mocap_opt.questions.prompt_selection import prompt_selection
    from mocap_opt.questions.repair import Repair, repair
    from mocap_opt.questions.tradeoffs import tradeoff
    from mocap_opt.questions.virtual_stages import virtual_stages
    from mocap_opt.replay.event import replay_event
    from mocap_opt.replay.lockstep import replay_lockstep
    from mocap_opt.schedule.plan import Home, Plan
    from mocap_opt.schedule.plan_file import load_plan, plan_from_dict, plan_to_dict, save_plan
    from mocap_opt.schedule.verify import violations
    from mocap_opt.solving import Solution, compare
    from mocap_opt.solving.api import bound, evaluate, solve
    from mocap_opt.solving.report import Report
    from mocap_opt.studies import Study, load_study, run_study
    from mocap_opt.tables import build_tables
    from mocap_opt.tables.cost_tables import Tables

    __version__: str

_HOMES = {
    "InputError": "errors",
    "MocapError": "errors",
    "Instance": "instance",
    "load_instance": "instance",
    "instance_from_config": "instance.from_config",
    "Tables": "tables.cost_tables",
    "build_tables": "tables",
    "Plan": "schedule.plan",
    "Home": "schedule.plan",
    "load_plan": "schedule.plan_file",
    "save_plan": "schedule.plan_file",
    "plan_from_dict": "schedule.plan_file",
    "plan_to_dict": "schedule.plan_file",
    "violations": "schedule.verify",
    "replay_lockstep": "replay.lockstep",
    "replay_event": "replay.event",
    "METHODS": "baselines",
    "Method": "baselines",
    "Proposal": "baselines",
    "PluginError": "plugins",
    "Formulation": "formulations.registry",
    "CpModel": "formulations.registry",
    "build_model": "formulations.registry",
    "build_cp_model": "formulations.registry",
    "read_plan": "formulations.registry",
    "Advice": "questions.advise",
    "advise": "questions.advise",
    "Explanation": "questions.explain",
    "explain": "questions.explain",
    "Repair": "questions.repair",
    "repair": "questions.repair",
    "Report": "solving.report",
    "Solution": "solving",
    "solve": "solving.api",
    "evaluate": "solving.api",
    "compare": "solving",
    "bound": "solving.api",
    "tradeoff": "questions.tradeoffs",
    "FormChoice": "calibration.choice",
    "fit": "calibration.choice",
    "prompt_selection": "questions.prompt_selection",
    "virtual_stages": "questions.virtual_stages",
    "LongestAnswer": "questions.max_context",
    "max_length": "questions.max_context",
    "Study": "studies",
    "load_study": "studies",
    "run_study": "studies",
    **dict.fromkeys(
        (f"plot_{kind}" for kind in "bounds compare gantt memory mesh residuals tradeoff".split()),
        "pictures.drawings",
    ),
}

_MODULES = ("frames", "studies")

__all__ = [
    "METHODS",
    "Advice",
    "CpModel",
    "Explanation",
    "FormChoice",
    "Formulation",
    "Home",
    "InputError",
    "Instance",
    "LongestAnswer",
    "Method",
    "MocapError",
    "Plan",
    "PluginError",
    "Proposal",
    "Repair",
    "Report",
    "Solution",
    "Study",
    "Tables",
    "__version__",
    "advise",
    "bound",
    "build_cp_model",
    "build_model",
    "build_tables",
    "compare",
    "evaluate",
    "explain",
    "fit",
    "frames",
    "instance_from_config",
    "load_instance",
    "load_plan",
    "load_study",
    "max_length",
    "plan_from_dict",
    "plan_to_dict",
    "plot_bounds",
    "plot_compare",
    "plot_gantt",
    "plot_memory",
    "plot_mesh",
    "plot_residuals",
    "plot_tradeoff",
    "prompt_selection",
    "read_plan",
    "repair",
    "replay_event",
    "replay_lockstep",
    "run_study",
    "save_plan",
    "solve",
    "studies",
    "tradeoff",
    "violations",
    "virtual_stages",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name == "__version__":
        from mocap_opt.solvers.versions import package_version  # noqa: PLC0415 - nobody else needs it

        return package_version()
    if name in _MODULES:
        return importlib.import_module(f"mocap_opt.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'mocap_opt' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mocap_opt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
