"""The runs a study consists of, each with the key that tells it from every other run."""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.registry import built_in_name
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import shown_path
from mocap_opt.instance import Instance, load_instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.messages import MOST_PROBLEMS, capped, join_path, show
from mocap_opt.solvers.versions import versions
from mocap_opt.solving.methods import EVERY_METHOD, JOINT_METHODS
from mocap_opt.solving.plain import PLAIN_METHODS
from mocap_opt.solving.plugin_methods import find_plugin_method, plugin_names
from mocap_opt.studies.schema import Instances, StudyFile

MOST_RUNS = 1_000_000


@dataclass(frozen=True)
class Settings:
    """What a run is asked, besides its instance.

    Attributes
    ----------
    method, solver, execution : str
        As `mocap_opt.solve` takes them.
    seed : int
    time_limit_s : float
    gap_wanted : float
        The run stops at this gap.
    threads : int or None
        Cores that the run takes; its solvers use no more threads.  None: one core, and as many threads
        as each solver takes by itself.
    deterministic_limit : float or None
        As `mocap_opt.solve` takes it.
    without : str or None
        A step of the joint method to leave out.
    only : str or None
        The steps of the joint method to keep, joined by commas; None: all of them.
    repeat : int or None
        Tells runs that are otherwise the same from each other.
    """

    method: str
    solver: str
    execution: str
    seed: int
    time_limit_s: float
    gap_wanted: float
    threads: int | None
    deterministic_limit: float | None = None
    without: str | None = None
    repeat: int | None = None
    only: str | None = None


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes
    ----------
    kind : str
        What the run answers.
    instance : dict
        The whole instance, so that a worker elsewhere needs no files.
    name, fingerprint : str
        Of the instance.
    variant : dict
        Value by dotted path: what the grid set.
    settings : Settings
    """

    kind: str
    instance: dict[str, Any]
    name: str
    fingerprint: str
    variant: dict[str, Any]
    settings: Settings

    @classmethod
    def of(
        cls, kind: str, instance: Instance, settings: Settings, variant: Mapping[str, Any] | None = None
    ) -> Task:
        """Make the run of an instance.

        Parameters
        ----------
        kind : str
            A key of `mocap_opt.studies.execution.KINDS`.
        instance : Instance
        settings : Settings
        variant : mapping, optional
        """
        data = instance.to_dict()
        return cls(kind, data, instance.name, instance.fingerprint, dict(variant or {}), settings)

    @cached_property
    def key(self) -> str:
        """First 32 hexadecimal digits of the SHA-256 of all that may change the answer, versions included."""
        content = {
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            # What was not asked for is left out, so that a setting added later leaves older keys alone.
            "settings": {name: value for name, value in asdict(self.settings).items() if value is not None},
            "versions": {**versions(), **_plugin_versions(self.settings.method)},
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    def identity(self) -> dict[str, Any]:
        """The columns that say which run it is, for its row."""
        return {
            "instance": self.name,
            "fingerprint": self.fingerprint,
            "variant": self.variant,
            "kind": self.kind,
            **asdict(self.settings),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; `from_dict` reads them back."""
        return {**vars(self), "settings": asdict(self.settings)} | {"key": self.key}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Task:
        """Make a task of what `to_dict` gave."""
        fields = {name: data[name] for name in ("kind", "instance", "name", "fingerprint", "variant")}
        return cls(**fields, settings=Settings(**data["settings"]))


@cache
def _plugin_versions(method: str) -> dict[str, str | None]:
    """Of the distribution that brings a method; empty for a built-in one."""
    if built_in_name(method) in EVERY_METHOD or method not in plugin_names():
        return {}
    plugin = find_plugin_method(method, EVERY_METHOD)
    return {} if plugin is None else plugin.versions


def tasks_of(file: StudyFile) -> list[Task]:
    """Every run of a study, instance by instance.

    Raises
    ------
    InputError
        Listing globs that match nothing, grids that are no lists, variants that are not valid
        instances, and instances that are there twice.
    """
    found = list(_instances(file))
    settings = list(_settings(file))
    if len(found) * len(settings) > MOST_RUNS:
        count = f"{len(found) * len(settings):,} runs"
        raise InputError([Problem(str(file.path), count, f"at most {MOST_RUNS:,}", "split the study")])
    return [
        Task(file.study.kind, data, instance.name, instance.fingerprint, variant, each)
        for instance, data, variant in found
        for each in settings
    ]


def _settings(file: StudyFile) -> Iterator[Settings]:
    study = file.study

    def _asked(
        method: str,
        solver: str,
        seed: int,
        limit_s: float,
        *,
        without: str | None = None,
        only: str | None = None,
    ) -> Settings:
        return Settings(
            method,
            solver,
            study.execution,
            seed,
            limit_s,
            study.gap,
            study.threads,
            study.deterministic_limit,
            without=without,
            only=only,
        )

    for method in study.methods:
        plugin = find_plugin_method(method, EVERY_METHOD)
        if built_in_name(method) in METHODS or (plugin is not None and plugin.heuristic):
            # No solver, no seed, and it stops by itself: more runs would repeat the first.
            yield _asked(method, "auto", 0, max(study.time_limits_s))
            continue
        if method in PLAIN_METHODS:
            # One model, given to the solver that the method names.
            for seed, limit_s in itertools.product(study.seeds, study.time_limits_s):
                yield _asked(method, "auto", seed, limit_s)
            continue
        for solver, seed, limit_s in itertools.product(study.solvers, study.seeds, study.time_limits_s):
            yield _asked(method, solver, seed, limit_s)
            if method not in JOINT_METHODS:
                continue
            for step in study.without:
                yield _asked(method, solver, seed, limit_s, without=step)
            for steps in study.only:
                yield _asked(method, solver, seed, limit_s, only=",".join(steps))


def _instances(file: StudyFile) -> Iterator[tuple[Instance, dict[str, Any], dict[str, Any]]]:
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for index, entry in enumerate(file.study.instances):
        place = f"{shown_path(file.path)}: instances[{index}]"
        try:
            paths, variants = _files(entry, file.folder, place), _variants(entry, place)
        except InputError as error:
            problems += error.problems
            continue
        for path, variant in itertools.product(paths, variants):
            source = shown_path(path)
            where = source + "".join(f" {show(key)[1:-1]}={show(value)}" for key, value in variant.items())
            try:
                instance = load_instance(path, [f"{key}={json.dumps(v)}" for key, v in variant.items()])
                require_supported(
                    instance,
                    "study",
                    execution=file.study.execution,
                    solvers=[name for name in file.study.solvers if name != "auto"],
                    deterministic_limit=file.study.deterministic_limit,
                )
            except InputError as error:
                problems += [
                    Problem(_within(where, p.path, source), p.found, p.expected, p.remedy)
                    for p in error.problems
                ]
                if len(problems) > MOST_PROBLEMS:
                    raise InputError(capped(problems, str(file.path))) from None
                continue
            if instance.fingerprint in seen:
                found = f"{where}, the same as {seen[instance.fingerprint]}"
                problems.append(Problem(place, found, "each instance once", "remove one of them"))
            seen.setdefault(instance.fingerprint, where)
            yield instance, instance.to_dict(), variant
    if problems:
        raise InputError(capped(problems, str(file.path)))


def _within(where: str, path: str, source: str) -> str:
    """The place of a problem in a variant; that of a problem with the file itself names it already."""
    inner = path.removeprefix(source).removeprefix(": ")
    return f"{where}: {inner}" if inner else where


def _files(entry: Instances, folder: Path, place: str) -> list[Path]:
    found: list[Path] = []
    problems: list[Problem] = []
    for pattern in entry.files:
        if glob.has_magic(pattern):
            matches = [] if "\0" in pattern else sorted(glob.glob(pattern, root_dir=folder))
            found += [folder / match for match in matches]
            if not matches:
                problems.append(Problem(f"{place}.files", show(pattern), "a glob that matches a file"))
        else:
            found.append(folder / pattern)
    if problems:
        raise InputError(problems)
    return found


def _flat(grid: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Unquoted dotted keys make nested tables in TOML; they mean the same paths."""
    for key, value in grid.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _variants(entry: Instances, place: str) -> list[dict[str, Any]]:
    axes: dict[str, list[Any]] = {}
    problems: list[Problem] = []
    for path, values in _flat(entry.grid):
        where = f"{place}.grid.{join_path(*path.split('.'))}"
        if path in axes:
            problems.append(Problem(where, "it twice", "each path once"))
        if not isinstance(values, list) or not values:
            problems.append(Problem(where, show(values), "a list of values", "write [1, 2]"))
            continue
        texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
        problems += [
            Problem(where, f"{show(values[texts.index(text)])} twice", "each value once", "remove one")
            for text, times in Counter(texts).items()
            if times > 1
        ]
        axes[path] = values
    variants = math.prod(map(len, axes.values()))
    if variants > MOST_RUNS:
        expected = f"at most {MOST_RUNS:,} combinations"
        problems.append(Problem(f"{place}.grid", f"{variants:,}", expected, "split the study"))
    if problems:
        raise InputError(capped(problems, place))
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
