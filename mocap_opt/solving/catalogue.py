"""Every method and program by name, with who brings it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.registry import plugin_method
from mocap_opt.errors import MocapError
from mocap_opt.formulations.registry import BUILT_IN, load_formulation
from mocap_opt.plugins import FORMULATIONS, HEURISTICS, Plugin, plugins
from mocap_opt.solving.methods import ASSIGNMENT_RULES, EVERY_METHOD, REJECTION_RULES

HERE = "mocap-opt"

JOINT = {
    "auto": "joint, with only the programs that are worth their time at the instance's size",
    "joint": "heuristics, searches and bounds, then both programs from the best plan",
}
PLAIN = {
    "plain-highs": "the lockstep program as it stands, by HiGHS",
    "plain-cpsat": "the lockstep program as it stands, by CP-SAT",
    "plain-pyjobshop": "the lockstep program with homes left out, modelled and solved by PyJobShop",
}


@dataclass(frozen=True)
class Entry:
    """A method or a program.

    Attributes
    ----------
    kind : str
        ``"method"``: what `solve` takes; ``"model"``: what `mocap_opt.build_model` takes.
    name, summary : str
    origin : str
        The distribution that brings it, with its version if that is another one.
    problem : str or None
        Why it cannot be used.
    """

    kind: str
    name: str
    summary: str
    origin: str = HERE
    problem: str | None = None


def catalogue() -> list[Entry]:
    """Every method and program, built-in ones first; plugins are loaded, and those that fail say why."""
    known = {
        **JOINT,
        **PLAIN,
        **ASSIGNMENT_RULES,
        **REJECTION_RULES,
        **{name: method.summary for name, method in METHODS.items()},
    }
    built_in = [Entry("method", name, known[name]) for name in EVERY_METHOD]
    built_in += [Entry("model", name, program.summary) for name, program in BUILT_IN.items()]
    return [*built_in, *_brought()]


def _brought() -> Iterator[Entry]:
    heuristics, programs = plugins(HEURISTICS), plugins(FORMULATIONS)
    names = [plugin.name for plugin in (*heuristics, *programs)]
    for plugin in (*heuristics, *programs):
        twice = names.count(plugin.name) > 1
        if plugin.group == HEURISTICS:
            yield from _described(plugin, ("method",), EVERY_METHOD, twice)
        else:
            yield from _described(plugin, ("method", "model"), (*EVERY_METHOD, *BUILT_IN), twice)


def _described(
    plugin: Plugin, kinds: tuple[str, ...], built_in: tuple[str, ...], twice: bool
) -> Iterator[Entry]:
    summary, problem, able = "", None, dict.fromkeys(kinds, True)
    try:
        if plugin.group == HEURISTICS:
            summary = plugin_method(plugin).summary
        else:
            program = load_formulation(plugin)
            summary = program.summary
            able = {"method": program.solve is not None, "model": program.build is not None}
    except MocapError as error:
        problem = str(error)
    if plugin.name in built_in:
        problem = "not used: the built-in of this name comes first"
    elif twice:
        problem = "not used: several plugins have this name"
    for kind in kinds:
        if able[kind]:
            yield Entry(kind, plugin.name, summary, f"{plugin.distribution} {plugin.version}", problem)
