"""The programs by name, those of plugins included; none is loaded before it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.lower_bound import Scope
from mocap_opt.plugins import FORMULATIONS, Plugin, plugin_named
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.solvers.outcome import ProgramResult


@dataclass(frozen=True)
class Formulation:
    """A program.

    Attributes
    ----------
    summary : str
        What it asks, in a line.
    build : callable or None
        `Tables`, and options of its own, to a Pyomo model; None without a model to hand out.
    solve : callable or None
        ``(tables, start, *, time_limit_s, gap, seed, callback)`` to a
        `mocap_opt.solvers.outcome.ProgramResult` in ticks; what ``solve --method NAME`` runs.  `start`
        is a feasible plan or None; `callback` takes a `mocap_opt.solvers.outcome.Progress` and returns
        whether to stop.
    scope : Scope or None
        What the outcome's bound covers; None: nothing, and it enters no gap.
    """

    summary: str
    build: Callable[..., Any] | None = None
    solve: Callable[..., ProgramResult] | None = None
    scope: Scope | None = None


def _builder(stem: str) -> Callable[..., Any]:
    def build(*arguments: Any, **options: Any) -> Any:
        return importlib.import_module(f"mocap_opt.formulations.{stem}").build(*arguments, **options)

    return build


def _chunk_partition(tables: Tables, memory: str = "pooled") -> Any:
    # Pyomo takes a second to load.
    from mocap_opt.formulations.chunk_partition import Memory, build  # noqa: PLC0415

    return build(tables, Memory(memory))


def _kv_placement(tables: Tables, boundaries: Sequence[int]) -> Any:
    given = Plan(tuple(int(point) for point in boundaries))
    broken = [v for v in violations(tables, given) if v.rule != "capacity"]
    if broken:
        raise InputError([Problem("boundaries", "", "tokens that a plan may have", str(v)) for v in broken])
    return _builder("kv_placement")(tables, given.grid_indices(tables))


BUILT_IN: Mapping[str, Formulation] = {
    "joint": Formulation("boundaries and homes of least lockstep latency", _builder("joint")),
    "contention_free": Formulation(
        "a lower bound on every execution of every feasible plan", _builder("contention_free")
    ),
    "kv_placement": Formulation(
        "homes of least lockstep latency for given boundaries (option boundaries, tokens)", _kv_placement
    ),
    "chunk_partition": Formulation(
        'boundaries alone, memory pooled or own (option memory="pooled" or "local")', _chunk_partition
    ),
}
"""The programs of this package; a page each in ``formulations/``."""


def find_formulation(name: str) -> Formulation:
    """A program by name, built in or brought by a plugin.

    Raises
    ------
    InputError
        If there is none.
    PluginError
        If the plugin cannot be loaded, or several have this name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    return load_formulation(plugin_named(name, FORMULATIONS, place="formulation", built_in=BUILT_IN))


def load_formulation(plugin: Plugin) -> Formulation:
    """Load a plugin's program.

    Raises
    ------
    PluginError
        If it cannot be loaded or is no `Formulation`.
    """
    loaded = plugin.load()
    if not isinstance(loaded, Formulation):
        raise plugin.mistaken("is", loaded, "a mocap_opt.Formulation")
    return loaded
