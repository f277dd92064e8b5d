"""Methods and formulations that other packages bring, through entry points.

A distribution lists them in its metadata, for instance in its ``pyproject.toml``::

    [project.entry-points."mocap_opt.heuristics"]
    halves = "my_package.halves:propose"

    [project.entry-points."mocap_opt.formulations"]
    my-program = "my_package.program:FORMULATION"

A heuristic is a function from `mocap_opt.Tables` to a `mocap_opt.Proposal`, a plan or the reason why there
is none, and the first line of its docstring is its summary::

    def propose(tables):
        '''Two chunks of about the same length.'''
        middle = tables.steps // 2
        return mocap_opt.Proposal(mocap_opt.Plan.from_arrays(tables, [0, middle, tables.steps]))

With a second parameter it gets a question to ask now and then: whether to stop.  A program is a
`mocap_opt.Formulation`, which says what it needs.  Both are then methods like any other: `solve`,
`compare` and studies take their names, ``mocap-opt methods`` lists them with their distribution, and
`mocap_opt.build_model` hands out a program's model.

Plans of plugins are verified and replayed like any other.  The joint method does not ask plugins, so that
its answers do not depend on what is installed.  Only metadata is read until a name is asked for; then its
object is imported.  Built-in names win over those of plugins, and whatever goes wrong inside a plugin
becomes a `PluginError`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from mocap_opt.errors import InputError, MocapError, Problem
from mocap_opt.files import shown_path

HEURISTICS = "mocap_opt.heuristics"
FORMULATIONS = "mocap_opt.formulations"

_HERE = os.path.join(os.path.dirname(__file__), "")

UNREADABLE = "(unreadable)"
"""Stands for the names that a distribution with broken metadata may bring."""


class PluginError(MocapError):
    """A plugin cannot be used; the message names its distribution and entry point.

    Examples
    --------
    >>> import mocap_opt
    >>> raise mocap_opt.PluginError("my-package 1.0 (entry point best = mine:best) cannot be loaded")
    Traceback (most recent call last):
    mocap_opt.plugins.PluginError: my-package 1.0 (entry point best = mine:best) cannot be loaded
    """


@dataclass(frozen=True)
class Plugin:
    """An entry point of another distribution, not loaded yet.

    Attributes
    ----------
    group : str
        `HEURISTICS` or `FORMULATIONS`.
    name : str
        What it is asked for by.
    value : str
        Where the object is, ``module:attribute``.
    distribution, version : str
        Who brings it.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str

    def __str__(self) -> str:
        """Say who brings it and where it is."""
        origin = f"{self.distribution} {self.version}"
        return f"{origin} (entry point {self.name} = {self.value} of {self.group})"

    def load(self) -> Any:
        """Import the object.

        Raises
        ------
        PluginError
            If that fails, in whatever way.
        """
        if self.name == UNREADABLE:
            raise PluginError(f"the entry points of {self.distribution} {self.version} cannot be read")
        try:
            return EntryPoint(self.name, self.value, self.group).load()
        except (Exception, SystemExit) as error:
            raise self.failed("cannot be loaded", error) from error

    def failed(self, what: str, error: BaseException) -> PluginError:
        """The error that says what this plugin did wrong.

        Parameters
        ----------
        what : str
            What could not be done, after the plugin's name.
        error : BaseException
            Why.
        """
        reason = f"{type(error).__name__}: {error}".strip()[:500]
        place = self._place(error)
        return PluginError(f"the plugin {self} {what}: {reason}" + (f", at {place}" if place else ""))

    def _place(self, error: BaseException) -> str:
        """File and line of the plugin's code that the error comes from, empty if it has none in it."""
        package = sys.modules.get(self.value.partition(":")[0].partition(".")[0])
        folders = [os.path.join(folder, "") for folder in getattr(package, "__path__", ())]
        file = getattr(package, "__file__", None)
        frames = traceback.extract_tb(error.__traceback__)
        # The innermost of its own lines, and not one of the library that it called.
        own = [f for f in frames if f.filename == file or f.filename.startswith(tuple(folders))]
        # A module that fails on import is gone again.
        alien = [f for f in frames if not f.filename.startswith(("<", _HERE))] if package is None else []
        return next((f"{shown_path(f.filename)}:{f.lineno}" for f in reversed(own or alien)), "")

    def wrong(self, what: str) -> PluginError:
        """The error that says what is not as it should be."""
        return PluginError(f"the plugin {self} {what}")

    def mistaken(self, verb: str, value: object, wanted: str) -> PluginError:
        """The error that says what it is, or gave, instead of what is wanted.

        Parameters
        ----------
        verb : str
            ``"is"`` or ``"gave"``.
        value : object
            What it is or gave.
        wanted : str
        """
        kind = "None" if value is None else f"a {type(value).__name__}"
        return self.wrong(f"{verb} {kind}, not {wanted}")


def plugins(*groups: str) -> tuple[Plugin, ...]:
    """Every entry point of the groups, by name; a distribution installed twice counts as Python finds it.

    Parameters
    ----------
    *groups : str
        By default both.
    """
    groups = groups or (HEURISTICS, FORMULATIONS)
    found: dict[str, list[Plugin]] = {}
    for distribution in distributions():
        text = _text(distribution)
        # Metadata is slow to read, and few distributions have plugins.
        if any(f"[{group}]" in text for group in groups):
            name, version = _identity(distribution)
            found.setdefault(name.lower(), _entries(distribution, name, version, groups))
    every = (plugin for entries in found.values() for plugin in entries)
    return tuple(sorted(every, key=lambda plugin: (plugin.name, plugin.distribution)))


def plugin_named(name: str, *groups: str, place: str, built_in: Iterable[str]) -> Plugin:
    """The plugin of a name that is not built in.

    Parameters
    ----------
    name : str
    *groups : str
        Where to look; by default in both.
    place : str
        What the name was given for, for messages.
    built_in : iterable of str
        The names that need no plugin, for messages.

    Raises
    ------
    InputError
        If there is none.
    PluginError
        If several distributions bring one.
    """
    every = plugins(*groups)
    found = [plugin for plugin in every if plugin.name == name]
    if not found:
        known = ", ".join(dict.fromkeys([*built_in, *(plugin.name for plugin in every)]))
        raise InputError([Problem(place, repr(name), f"one of {known}")])
    if len(found) > 1:
        said = "; ".join(str(plugin) for plugin in found)
        raise PluginError(f"{name} is the name of {len(found)} plugins, uninstall all but one: {said}")
    return found[0]


def _text(distribution: Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, ValueError):  # no text at all
        return ""


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata
        return str(metadata["Name"] or "unnamed"), str(metadata["Version"] or "without a version")
    except Exception:  # whatever metadata that is none leads to
        return "unnamed", "without a version"


def _entries(distribution: Distribution, name: str, version: str, groups: tuple[str, ...]) -> list[Plugin]:
    try:
        entries = [entry for entry in distribution.entry_points if entry.group in groups]
    except Exception:  # the parser has no error of its own
        return [Plugin(groups[0], UNREADABLE, "", name, version)]
    return [Plugin(entry.group, entry.name, entry.value, name, version) for entry in entries]
