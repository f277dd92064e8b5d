"""The objectives: one table of what each minimises, who answers for it and what it can be asked.

Python functions and commands go by it.  Whatever is not in it is refused with a message, so that nothing is
answered for another objective and no option is ignored.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.layer_profile import prompt_selection
from mocap_opt.units import format_seconds, format_seconds_aligned

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


class Objective(StrEnum):
    """What an instance is about."""

    LATENCY = "latency"
    PERIOD = "period"
    STREAM = "stream"
    MEAN_COMPLETION = "mean-completion"
    GOODPUT = "goodput"

    @property
    def record(self) -> Record:
        """Its row in the table."""
        return OBJECTIVES[self]


@dataclass(frozen=True)
class Record:
    """What tells an objective from the others.

    Attributes
    ----------
    figure : str
        What is minimised: answers hold it as ``<figure>_s``, by execution as ``lockstep_<figure>_s`` and
        ``event_<figure>_s``.
    meaning : str
        What that is, in a phrase.
    module : str
        Who answers: its ``ANSWERER`` makes a `mocap_opt.solving.answerer.Answerer`.
    honoured : Mapping of str to frozenset of str, or None
        By question, the options that are honoured; None: anything may be asked, with any option.
    answered : str
        What to ask instead where a question is refused.
    of_requests : bool
        Whether it is about ``workload.requests``.
    on_pipelines : str or None
        Who answers where ``workload.pipelines`` are several; None: nobody, and such instances are refused.
    maximised : bool
        Whether it is a weight, to be made large, instead of a time to be made small.  Answers hold it as
        ``<figure>``, and internally everything counts the weight that is missing.
    """

    figure: str
    meaning: str
    module: str
    honoured: Mapping[str, frozenset[str]] | None = None
    answered: str = ""
    of_requests: bool = False
    on_pipelines: str | None = None
    maximised: bool = False

    @property
    def words(self) -> str:
        """What is minimised, in words."""
        return self.figure.replace("_", " ")

    @property
    def fields(self) -> tuple[str, str, str]:
        """What answers hold of it: as reported, in lockstep, event-driven."""
        unit = "" if self.maximised else "_s"
        return f"{self.figure}{unit}", f"lockstep_{self.figure}{unit}", f"event_{self.figure}{unit}"

    def text(self, value: float | None, *, aligned: bool = False) -> str:
        """What is brought down or up, in words: a time, or a weight; a dash where it is unknown.

        Parameters
        ----------
        value : float or None
        aligned : bool
            Whether for a column of a table.
        """
        if value is None:
            return "-"
        if self.maximised:
            return f"{value:,.0f}"
        return format_seconds_aligned(value) if aligned else format_seconds(value)

    def load(self, pipelines: int = 1) -> Any:
        """Import who answers; not before somebody asks, since solvers take seconds to load.

        Parameters
        ----------
        pipelines : int
            Of the instance.
        """
        module = self.module if pipelines == 1 or self.on_pipelines is None else self.on_pipelines
        return importlib.import_module(module).ANSWERER


LIMITS = frozenset(
    {"time_limit_s", "gap", "seed", "threads", "memory_budget_bytes", "callback", "stop", "out"}
)
"""Options that every search honours."""

BY_METHOD = LIMITS | {"methods", "csv"}
"""Options where methods are run and set side by side."""

STREAM_QUESTIONS: Mapping[str, frozenset[str]] = {
    "solve": LIMITS | {"method", "log"},
    "evaluate": frozenset(),
    "bound": frozenset(),
    "compare": BY_METHOD,
    "study": BY_METHOD,
}
"""What a stream can be asked, whatever is minimised."""

STREAM_ANSWERED = (
    "solve, evaluate, bound, compare, study, plot and report answer a stream, which has no Pyomo program; "
    "one of its requests as workload.tokens is a prompt"
)

SELECTION_QUESTIONS: Mapping[str, frozenset[str]] = {"prompt_selection": LIMITS - {"out"}}
"""What can be asked where layers choose tokens among the whole prompt."""

SELECTION_ANSWERED = (
    "mocap_opt.prompt_selection and mocap-opt solve answer two problems in sequence, check checks them"
)

OBJECTIVES: Mapping[Objective, Record] = {
    Objective.LATENCY: Record("latency", "the time to the first token", "mocap_opt.solving.latency"),
    Objective.PERIOD: Record(
        "period",
        "the time between identical requests without end",
        "mocap_opt.solving.period",
        {
            **{name: options | {"solver", "solvers"} for name, options in STREAM_QUESTIONS.items()},
            "evaluate": frozenset(),
            "bound": frozenset(),
            "tradeoff": LIMITS - {"out"} | {"layout", "curve"},
            "tables": frozenset(),
            "export": frozenset(),
        },
        "solve, evaluate, bound, compare, tradeoff, study, export, plot and report answer the period; "
        'objective "latency" asks of one prompt',
    ),
    Objective.STREAM: Record(
        "makespan",
        "the time until the last of workload.requests has left",
        "mocap_opt.solving.stream",
        STREAM_QUESTIONS,
        STREAM_ANSWERED,
        of_requests=True,
        on_pipelines="mocap_opt.solving.pipelines",
    ),
    Objective.MEAN_COMPLETION: Record(
        "mean_completion",
        "the mean over workload.requests of the time from release to having left",
        "mocap_opt.solving.mean_completion",
        STREAM_QUESTIONS,
        STREAM_ANSWERED,
        of_requests=True,
    ),
    Objective.GOODPUT: Record(
        "goodput",
        "the weight of those of workload.requests that have left within their slo",
        "mocap_opt.solving.goodput",
        STREAM_QUESTIONS,
        STREAM_ANSWERED,
        of_requests=True,
        on_pipelines="mocap_opt.solving.goodput",
        maximised=True,
    ),
}
"""The objectives; a new one is a row here and the module it names."""

OPTIONS = {
    "time_limit_s": "--time-limit",
    "memory_budget_bytes": "--memory-budget",
}
"""Options whose names on the command line are not those of the keyword arguments."""

DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "method": ("auto", "joint"),
    "solver": ("auto",),
    "execution": ("best",),
}
"""What an option may be without asking for anything, where that is not None, False or empty."""


def objective_of(instance: Instance) -> Objective:
    """Return what an instance is about; requests make it a stream, whether the objective says so or not."""
    asked = Objective(instance.objective)
    return Objective.STREAM if instance.workload.requests and asked is Objective.LATENCY else asked


def option_name(keyword: str) -> str:
    """Return what the command line calls a keyword argument."""
    return OPTIONS.get(keyword, "--" + keyword.replace("_", "-"))


def require_supported(instance: Instance, question: str, *, command: bool = False, **options: object) -> None:
    """Refuse a question, or options, that mean nothing for the objective of an instance.

    Parameters
    ----------
    instance : Instance
    question : str
        A function or command by its name.
    command : bool
        Whether messages call options as the command line does.
    **options
        Keyword arguments with their values; None, False, empty ones and `DEFAULTS` ask for nothing.

    Raises
    ------
    InputError
        Listing every option that cannot be honoured.
    """
    objective = objective_of(instance)
    record = objective.record
    entry = prompt_selection(instance.model)
    by_question = record.honoured if entry is None else SELECTION_QUESTIONS
    if by_question is None:
        return
    honoured = by_question.get(question)
    if honoured is None and entry is not None:
        path, expected = f"model.profile[{entry}].selection", f'"chunk" for {question}'
        raise InputError([Problem(path, '"prompt"', expected, SELECTION_ANSWERED)])
    if honoured is None:
        requests = len(instance.workload.requests)
        path = "workload.requests" if requests else "objective"
        found = f"{requests} requests" if requests else f'"{objective}"'
        expected = f"one prompt for {question}" if requests else f'"latency" for {question}'
        raise InputError([Problem(path, found, expected, record.answered)])
    problems = [
        Problem(
            option_name(name) if command else name,
            "given" if value is True else repr(value),
            f"no such option with objective {objective}" if entry is None else 'none with selection "prompt"',
            "leave it out",
        )
        for name, value in options.items()
        if name not in honoured and _asks(name, value)
    ]
    if problems:
        raise InputError(problems)


def _asks(name: str, value: object) -> bool:
    """Whether a value asks for something."""
    empty = value is None or value is False or (isinstance(value, tuple | list) and not value)
    return not empty and value not in DEFAULTS.get(name, ())
