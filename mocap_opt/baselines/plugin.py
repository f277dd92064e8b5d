"""Heuristics that other packages bring: found by name, and no more trusted than built-in ones."""

from __future__ import annotations

from collections.abc import Callable
from inspect import getdoc, signature
from operator import index
from typing import Any

from mocap_opt.baselines.registry import METHODS, built_in_method
from mocap_opt.errors import MocapError
from mocap_opt.homes.proposal import Method, Proposal, Propose
from mocap_opt.plugins import HEURISTICS, Plugin, plugin_named
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import STOPPED, AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables


def find_method(name: str) -> Method:
    """A heuristic by name, built in or brought by a plugin.

    Raises
    ------
    InputError
        If there is none.
    PluginError
        If the plugin cannot be loaded, or several have this name.
    """
    built_in = built_in_method(name)
    if built_in is not None:
        return built_in
    return plugin_method(plugin_named(name, HEURISTICS, place="method", built_in=METHODS))


def plugin_method(plugin: Plugin) -> Method:
    """Load a plugin's heuristic: a function from `Tables` to a `Proposal`, or a `Method`.

    A function of two arguments also gets the question whether to stop, see `Propose`.  What it proposes
    is verified; a plan that breaks a rule becomes the reason why there is none.

    Raises
    ------
    PluginError
        If it cannot be loaded or is something else; when it is asked for a plan, whatever goes wrong.
    """
    loaded = plugin.load()
    propose = loaded.propose if isinstance(loaded, Method) else loaded
    if not callable(propose):
        raise plugin.mistaken("is", loaded, "a function from Tables to a Proposal")
    summary = loaded.summary if isinstance(loaded, Method) else (getdoc(loaded) or "").partition("\n")[0]
    return Method(plugin.name, str(summary), _guarded(plugin, propose))


def _guarded(plugin: Plugin, propose: Callable[..., Any]) -> Propose:
    def ask(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        try:
            proposal = propose(tables, asked_to_stop) if _may_stop(propose) else propose(tables)
        except StoppedError:
            return Proposal(None, STOPPED)
        except (KeyboardInterrupt, MocapError):
            raise
        except BaseException as error:
            raise plugin.failed("failed", error) from error
        if not isinstance(proposal, Proposal):
            raise plugin.mistaken("gave", proposal, "a Proposal")
        return _verified(plugin, tables, proposal)

    return ask


def _may_stop(propose: Callable[..., Any]) -> bool:
    try:
        signature(propose).bind(None, never)
    except (TypeError, ValueError):
        return False
    return True


def _verified(plugin: Plugin, tables: Tables, proposal: Proposal) -> Proposal:
    notes = tuple(str(note) for note in proposal.notes)
    if proposal.plan is None:
        return Proposal(None, str(proposal.reason) or "no reason given", notes)
    plan, broken = checked_plan(plugin, tables, proposal.plan)
    return Proposal(None, broken, notes) if broken else Proposal(plan, notes=notes)


def checked_plan(plugin: Plugin, tables: Tables, plan: Plan) -> tuple[Plan, str]:
    """A plugin's plan in plain integers, and the first rule it breaks, empty if it breaks none.

    Raises
    ------
    PluginError
        If it is no plan at all.
    """
    try:
        homes = (Home(index(h.stage), index(h.chunk), index(h.memory), index(h.pages)) for h in plan.homes)
        plain = Plan(tuple(index(point) for point in plan.boundaries), tuple(sorted(homes)))
        broken = violations(tables, plain)
    except Exception as error:  # whatever something that only looks like a plan leads to
        raise plugin.failed("gave a plan that is none", error) from error
    return plain, f"its plan breaks {len(broken)} rule(s): {broken[0]}" if broken else ""
