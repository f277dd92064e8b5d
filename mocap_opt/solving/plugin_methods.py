"""Methods of other packages, run like built-in ones: heuristics, and programs with solvers of their own.

Their plans are verified and replayed like any other.  A heuristic bounds nothing.  A program's bound
enters the gaps if it says what the bound covers; it is refused if a plan beats it, and a program's word
that no plan exists is passed on but is no proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.registry import built_in_name, checked_plan, plugin_method
from mocap_opt.bounds import Bound, Evidence, Scope
from mocap_opt.errors import MocapError
from mocap_opt.formulations.registry import load_formulation
from mocap_opt.plugins import HEURISTICS, Plugin, plugin_named, plugins
from mocap_opt.replay.evaluation import assess
from mocap_opt.schedule.plan import Plan
from mocap_opt.solvers.outcome import ProgramResult, SolveOutcome, Status
from mocap_opt.solving.bound_steps import add_quick_bounds
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.programs import solver_evidence
from mocap_opt.solving.report import BoundBeatenError
from mocap_opt.solving.start_steps import FIRST


@dataclass(frozen=True)
class PluginMethod:
    """A method that a plugin brings.

    Attributes
    ----------
    plugin : Plugin
    """

    plugin: Plugin

    @property
    def heuristic(self) -> bool:
        """Whether it is a heuristic, which uses no solver and no seed."""
        return self.plugin.group == HEURISTICS

    @property
    def versions(self) -> dict[str, str | None]:
        """What to add to the versions that an answer depends on."""
        return {self.plugin.distribution: self.plugin.version}

    def run(self, state: SearchState, *, seed: int) -> tuple[str | None, str | None]:
        """Let the plugin look for a plan, and add the quick bounds.

        Parameters
        ----------
        state : SearchState
            Receives plan, bounds and notes; its deadline holds.
        seed : int
            Of the plugin's solver; a heuristic uses none.

        Returns
        -------
        reason : str or None
            Why there is no plan, if there is none.
        solver : str or None
            What the plugin calls its solver, if it has one.

        Raises
        ------
        PluginError
            If it fails, or a plan beats its bound.
        """
        reason, solver = _propose(self.plugin, state) if self.heuristic else _solve(self.plugin, state, seed)
        add_quick_bounds(state)
        return reason, solver


def plugin_names() -> tuple[str, ...]:
    """The methods that plugins bring, by name; none is loaded."""
    return tuple(dict.fromkeys(plugin.name for plugin in plugins()))


def find_plugin_method(name: str, built_in: Sequence[str]) -> PluginMethod | None:
    """The plugin behind a name; None if the name is built in.

    Parameters
    ----------
    name : str
        Of a method.
    built_in : sequence of str
        Names of the built-in methods.

    Raises
    ------
    InputError
        If there is no such method, or the base size of an engine's rule is none.
    PluginError
        If several plugins have this name.
    """
    if built_in_name(name) in built_in:
        return None
    return PluginMethod(plugin_named(name, place="method", built_in=built_in))


def blamed(error: BoundBeatenError, built_in: Sequence[str]) -> Exception:
    """What to raise where a bound was beaten: the error of the plugin that proved it, if one did.

    Parameters
    ----------
    error : BoundBeatenError
    built_in : sequence of str
        Names of the built-in methods.
    """
    if error.bound.name in built_in or error.bound.name not in plugin_names():
        return error
    found = find_plugin_method(error.bound.name, built_in)
    return error if found is None else found.plugin.wrong(f"proved a bound that is none: {error}")


def _propose(plugin: Plugin, state: SearchState) -> tuple[str | None, str | None]:
    proposal = plugin_method(plugin).propose(state.tables, state.deadline)
    state.offer(proposal.plan, plugin.name)
    state.notes.extend(proposal.notes)
    return proposal.reason or None, None


def _solve(plugin: Plugin, state: SearchState, seed: int) -> tuple[str | None, str | None]:
    formulation = load_formulation(plugin)
    if formulation.solve is None:
        raise plugin.wrong("has a model, but no way to solve it")
    try:
        result: Any = formulation.solve(
            state.tables,
            None,
            time_limit_s=state.deadline.limit_s,
            gap=state.gap,
            seed=seed,
            callback=state.asked_to_stop,
        )
    except (KeyboardInterrupt, MocapError):
        raise
    except BaseException as error:
        raise plugin.failed("failed", error) from error
    if not isinstance(result, ProgramResult):
        raise plugin.mistaken("gave", result, "a ProgramResult")
    return _enter(plugin, state, result, formulation.scope)


def _enter(
    plugin: Plugin, state: SearchState, result: ProgramResult, scope: Scope | None
) -> tuple[str | None, str]:
    outcome = result.outcome
    state.record(plugin.name, outcome)
    if outcome.message:
        state.notes.append(f"{plugin.name}: {outcome.message}")
    reason = None if result.plan is not None else f"{plugin.name} found no plan ({outcome.stop.value})"
    if outcome.status is Status.INFEASIBLE:
        reason = f"{plugin.name} says that there is none; its word is not taken for a proof"
    if result.plan is not None:
        plan, broken = checked_plan(plugin, state.tables, result.plan)
        state.offer(None if broken else plan, plugin.name)
        reason = broken or None
    if outcome.bound is not None and scope is not None:
        _add_bound(plugin, state, outcome, scope)
    return reason, str(outcome.solver)


def _add_bound(plugin: Plugin, state: SearchState, outcome: SolveOutcome, scope: Scope) -> None:
    """Enter the bound unless a plan is better, one of the plugin's own or of a fast heuristic."""
    assert outcome.bound is not None
    ticks = math.floor(outcome.bound)
    plans: list[Plan | None]
    plans = [METHODS[name].propose(state.tables, state.deadline).plan for name in FIRST]
    found = [state.best] if state.best is not None else []
    found += [assess(state.tables, plan) for plan in plans if plan is not None]
    for each in found:
        latency = each.lockstep.latency if scope is Scope.LOCKSTEP else each.latency
        if latency < ticks:
            raise plugin.wrong(
                f"proved a bound that is none: {ticks} ticks, but a plan takes {float(latency):g}"
            )
    note = f"{plugin.distribution} {plugin.version}"
    # A plugin answers for its solver; what HiGHS says is confirmed or closes nothing, whoever asks it.
    evidence = Evidence.SOLVER if outcome.solver != "highs" else solver_evidence(outcome)
    state.add_bounds([Bound(plugin.name, ticks, scope, evidence, note)], plugin.name)
