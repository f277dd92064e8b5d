"""Every heuristic by name, built in (one line each) or brought by a plugin, which is verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import getdoc, signature
from operator import index
from typing import Any

from mocap_opt.baselines import atom, fixed_size, sglang, vllm_ascend
from mocap_opt.baselines.compose import compose, engine_method, guarded, read_setting, split_setting
from mocap_opt.baselines.engine_chunks import EngineRule
from mocap_opt.baselines.gpipe import gpipe
from mocap_opt.baselines.mbkr import mbkr, mirror, mirror_shortage
from mocap_opt.baselines.mocap import mocap
from mocap_opt.baselines.seq1f1b import flops_balanced
from mocap_opt.baselines.terapipe import terapipe
from mocap_opt.baselines.uniform import uniform, uniform_any_count
from mocap_opt.chunking.chunk_count_search import bottleneck_search
from mocap_opt.errors import MocapError
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.home_search import placement_program, refine_homes
from mocap_opt.homes.link_balanced_greedy import link_balanced_greedy
from mocap_opt.homes.proposal import BoundaryRule, HomeRule, Method, Proposal
from mocap_opt.homes.slot_placement import pooled_shortage
from mocap_opt.homes.thresholds import local
from mocap_opt.plugins import HEURISTICS, Plugin, plugin_named
from mocap_opt.schedule.plan import Home, Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.stopping import STOPPED, AskedToStop, StoppedError, never
from mocap_opt.tables.cost_tables import Tables

BOUNDARY_RULES: dict[str, BoundaryRule] = {
    "gpipe": gpipe,
    "uniform": uniform,
    "uniform-any-count": uniform_any_count,
    "flops-balanced": flops_balanced,
    "terapipe": terapipe,
}

HOME_RULES: dict[str, HomeRule] = {
    "local": local,
    "mbkr": mbkr,
    "mirror": mirror,
    "greedy": greedy,
    "spread": link_balanced_greedy,
    "program": placement_program,
}


ENGINE_RULES: dict[str, EngineRule] = {
    "fixed-size": fixed_size.RULE,
    "sglang-dynamic": sglang.RULE,
    "vllm-ascend-dynamic": vllm_ascend.RULE,
    "atom-dynamic": atom.RULE,
}
"""Rules with a base size, which may be given behind their name, ``sglang-dynamic:8192``, and behind
that the smoothing of those that have one, ``sglang-dynamic:8192:0.65``."""


_METHODS = (
    Method("gpipe", "one chunk, KV at home", compose(gpipe, local)),
    Method("uniform", "equal chunks, as many as allowed, KV at home", compose(uniform, local)),
    Method("uniform-best", "equal chunks, best count, KV at home", compose(uniform_any_count, local)),
    Method(
        "flops-balanced",
        "equal compute per chunk (Seq1F1B), best count, KV at home",
        compose(flops_balanced, local),
    ),
    *(
        engine_method(name, f"{rule.what}, best base size, KV at home", rule, local)
        for name, rule in ENGINE_RULES.items()
    ),
    Method("terapipe", "TeraPipe's dynamic program, best count, KV at home", compose(terapipe, local)),
    Method("uniform-greedy", "equal chunks, best count, greedy homes", compose(uniform_any_count, greedy)),
    Method("terapipe-greedy", "TeraPipe's dynamic program, greedy homes", compose(terapipe, greedy)),
    Method("mocap", "LBCP chunks and MBKR homes, iterated, best count", mocap),
    Method(
        "search-mirror",
        "searched chunks, best count, BPipe's mirror as homes",
        bottleneck_search(mirror_shortage, mirror),
    ),
    Method(
        "search-greedy",
        "searched chunks, best count, pooled memory, greedy homes",
        bottleneck_search(pooled_shortage, greedy),
    ),
    Method(
        "search-spread",
        "the chunks of search-greedy, homes that share out the links",
        refine_homes(bottleneck_search(pooled_shortage, greedy), link_balanced_greedy),
    ),
    Method(
        "search-program",
        "the chunks of search-greedy, homes by the placement program",
        refine_homes(bottleneck_search(pooled_shortage, greedy)),
    ),
)

METHODS: dict[str, Method] = {
    method.name: replace(method, propose=guarded(method.propose)) for method in _METHODS
}


def built_in_name(name: str) -> str:
    """Name under which a built-in method is listed: without the setting of an engine's rule.

    Raises
    ------
    InputError
        If what stands behind an engine's rule is no setting.
    """
    rule, setting = split_setting(name)
    if setting is None or rule not in ENGINE_RULES:
        return name
    read_setting(name, setting, ENGINE_RULES[rule])
    return rule


def built_in_method(name: str) -> Method | None:
    """A built-in heuristic by name, with its setting if it is an engine's rule that has one.

    Raises
    ------
    InputError
        As `built_in_name`.
    """
    rule, text = split_setting(name)
    if text is None or rule not in ENGINE_RULES:
        return METHODS.get(name)
    engine = ENGINE_RULES[rule]
    setting = read_setting(name, text, engine)
    summary = f"{engine.what}, base size {setting.base}, KV at home"
    method = engine_method(name, summary, engine, local, setting)
    return replace(method, propose=guarded(method.propose))


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
    return Method(plugin.name, str(summary), partial(_ask_plugin, plugin, propose))


def _ask_plugin(
    plugin: Plugin, propose: Callable[..., Any], tables: Tables, asked_to_stop: AskedToStop = never
) -> Proposal:
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

    Parameters
    ----------
    plugin : Plugin
        Whose plan it is, for messages.
    tables : Tables
    plan : Plan
        Or whatever the plugin gave for one.

    Returns
    -------
    plan : Plan
    broken : str
        How many rules it breaks, and the first one; empty if none.

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
