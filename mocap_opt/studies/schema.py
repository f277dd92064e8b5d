"""The study file: what to run, as TOML, checked before anything runs."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mocap_opt.baselines.registry import built_in_name
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import STANDARD_INPUT, read_text, source_name
from mocap_opt.instance.problems import from_validation
from mocap_opt.messages import capped, show
from mocap_opt.solving import EXECUTIONS, STEPS
from mocap_opt.solving.methods import EVERY_METHOD
from mocap_opt.solving.plugin_methods import plugin_names
from mocap_opt.solving.programs import MOST_SEED, MOST_THREADS, Solver

MAX_BYTES = 2**20
MAX_DOTS = 100
"""In a line: the time and memory to read a dotted key grow with the square of its length."""

SUFFIX = ".toml"
SOLVERS = ("auto", *(solver.value for solver in Solver))

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Instances(_Section):
    """Instance files and the variants to make of each."""

    files: list[str] = Field(min_length=1, description="paths or globs, relative to the study file")
    grid: dict[str, Any] = Field(
        default_factory=dict, description='lists of values by dotted path, such as "workload.tokens"'
    )


class Study(_Section):
    """A study as its file has it.

    The runs are instances x methods x solvers x seeds x time limits.  The joint method runs again without
    each step named, and with each list of steps alone; a plain program has its own solver.  A heuristic uses
    no solver and no seed and stops by itself, so it runs once on each instance, under the longest limit.

    Examples
    --------
    >>> import mocap_opt
    >>> study = mocap_opt.load_study("instances/studies/tiny.toml").study
    >>> study.methods, study.seeds
    (['gpipe', 'uniform', 'terapipe', 'mocap', 'joint'], [0, 1])
    """

    kind: Literal["latency"] = Field("latency", description="what each run answers")
    instances: list[Instances] = Field(min_length=1, description="instance files, each with a grid")
    methods: list[str] = Field(min_length=1, description="names of methods", examples=[["mocap", "joint"]])
    solvers: list[str] = Field(["auto"], min_length=1, description="solvers of the joint method's programs")
    seeds: list[Annotated[int, Field(ge=0, le=MOST_SEED)]] = Field(
        [0], min_length=1, description="random seeds of the joint method"
    )
    time_limits_s: list[Seconds] = Field([60.0], min_length=1, description="wall time of a run, seconds")
    gap: Annotated[float, Field(ge=0, le=1)] = Field(1e-4, description="a run stops at this gap")
    execution: str = Field("best", description="the latency to bring down")
    deterministic_limit: Seconds | None = Field(
        None, description="effort of each program that depends on no machine, see `mocap-opt solve`"
    )
    without: list[str] = Field(
        default_factory=list, description="steps of the joint method: it runs again without each in turn"
    )
    only: list[Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=list, description="lists of steps of the joint method: it runs again with these alone"
    )
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = Field(
        1, description="cores that a run takes, and threads it uses"
    )
    grace_s: Seconds = Field(30.0, description="seconds over its limit before a run is killed")
    retries: Annotated[int, Field(ge=0)] = Field(3, description="new attempts after a worker was lost")
    results: str | None = Field(
        None, min_length=1, description="the results file, relative to the study file"
    )


@dataclass(frozen=True)
class StudyFile:
    """A study and where it stands.

    Attributes
    ----------
    study : Study
    path : Path
    """

    study: Study
    path: Path

    @property
    def folder(self) -> Path:
        """The folder that paths in the study are relative to."""
        return self.path.parent

    @property
    def results_path(self) -> Path:
        """The file of finished runs: the one named, or ``NAME.results.sqlite`` beside ``NAME.toml``."""
        return self.folder / self.study.results if self.study.results else results_beside(self.path)


def results_beside(path: str | os.PathLike[str]) -> Path:
    """The file of finished runs that belongs to ``NAME.toml`` or ``NAME.csv``: ``NAME.results.sqlite``."""
    return Path(path).with_name(f"{Path(path).stem}.results.sqlite")


def load_study(path: str | os.PathLike[str]) -> StudyFile:
    """Read a study file.

    Raises
    ------
    InputError
        If it cannot be read or is not TOML, or listing every unknown key, wrong type, unknown name
        and repeated value.

    Examples
    --------
    >>> import mocap_opt
    >>> file = mocap_opt.load_study("instances/studies/tiny.toml")
    >>> file.results_path.name
    'tiny.results.sqlite'
    """
    source = source_name(path)
    if source == STANDARD_INPUT:
        raise InputError([Problem(source, "", "a file with a name: results are kept beside it", "save it")])
    text = read_text(path, max_bytes=MAX_BYTES)
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS:
            place, found = f"{source}, line {number}", f"{line.count('.'):,}"
            raise InputError([Problem(place, found, f"at most {MAX_DOTS} dots in a line", "break the line")])
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([Problem(source, str(error), "valid TOML")]) from None
    except (ValueError, RecursionError):
        raise InputError([Problem(source, "a value that is too large or too deep", "valid TOML")]) from None
    try:
        study = Study.model_validate(data)
    except ValidationError as error:
        raise InputError(_placed(source, from_validation(error, Study))) from None
    problems = [
        *_names("methods", [built_in_name(name) for name in study.methods], EVERY_METHOD, plugin_names),
        *_names("solvers", study.solvers, SOLVERS),
        *_names("execution", [study.execution], EXECUTIONS),
        *_names("without", study.without, [step.name for step in STEPS]),
        *_names("only", [name for steps in study.only for name in steps], [step.name for step in STEPS]),
    ]
    for key in ("methods", "solvers", "seeds", "time_limits_s", "without"):
        problems += _repeated(key, getattr(study, key))
    problems += _repeated("only", [", ".join(steps) for steps in study.only])
    if (study.without or study.only) and not {"auto", "joint"} & set(study.methods):
        key = "without" if study.without else "only"
        problems.append(Problem(key, "no method with steps", '"joint" among the methods', "add it"))
    # "auto" is another name of the joint method.
    if {"auto", "joint"} <= set(study.methods):
        problems.append(Problem("methods", '"auto" and "joint"', "one of the two, they are the same method"))
    if problems:
        raise InputError(_placed(source, capped(problems, "study")))
    return StudyFile(study, Path(path))


def _placed(source: str, problems: Sequence[Problem]) -> list[Problem]:
    return [
        Problem(f"{source}: {p.path}" if p.path else source, p.found, p.expected, p.remedy) for p in problems
    ]


def _names(
    key: str, given: Sequence[str], known: Sequence[str], more: Callable[[], Sequence[str]] = tuple
) -> list[Problem]:
    """Names that are neither known nor, which takes longer to find out, among those that `more` gives."""
    unknown = [name for name in given if name not in known]
    every = [*known, *more()] if unknown else known
    return [Problem(key, show(name), "one of " + ", ".join(every)) for name in unknown if name not in every]


def _repeated(key: str, given: Sequence[Any]) -> list[Problem]:
    repeated = [value for value, times in Counter(given).items() if times > 1]
    return [Problem(key, f"{show(value)} twice", "each value once", "remove one") for value in repeated]
