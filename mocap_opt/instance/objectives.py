"""What each objective can be asked: one table that the Python functions and the commands consult.

Whatever is not in it is refused with a message, so that nothing is answered for another objective
and no option is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from mocap_opt.errors import InputError, Problem

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


class Objective(StrEnum):
    """What an instance is about."""

    LATENCY = "latency"
    PERIOD = "period"
    STREAM = "stream"


LIMITS = frozenset({"time_limit_s", "gap", "seed", "callback", "stop", "out", "as_json"})
"""Options that every search honours."""

SUPPORTED: Mapping[Objective, Mapping[str, frozenset[str]]] = {
    Objective.PERIOD: {
        "solve": LIMITS | {"method", "solver"},
        "evaluate": frozenset({"as_json"}),
        "bound": frozenset({"quick", "as_json", "time_limit_s"}),
        "tradeoff": LIMITS - {"out"} | {"layout", "curve"},
        "tables": frozenset({"out"}),
    },
    Objective.STREAM: {
        "solve": LIMITS,
        "evaluate": frozenset({"as_json"}),
        "bound": frozenset({"quick", "as_json", "time_limit_s"}),
    },
}
"""By objective and question, the options that are honoured.  Latency is asked anything, with any option."""

OPTIONS = {
    "time_limit_s": "--time-limit",
    "as_json": "--json",
    "memory_budget_bytes": "--memory-budget",
}
"""Options whose names on the command line are not those of the keyword arguments."""

DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "method": ("auto", "joint"),
    "solver": ("auto",),
    "execution": ("best",),
}
"""What an option may be without asking for anything, where that is not None or False."""

ANSWERED = {
    Objective.PERIOD: 'solve, evaluate, bound and tradeoff answer the period; objective "latency" asks of '
    "one prompt",
    Objective.STREAM: "solve, evaluate and bound answer a stream; one of its requests as workload.tokens "
    "is a prompt",
}


def objective_of(instance: Instance) -> Objective:
    """Return what an instance is about; requests make it a stream, whether the objective says so or not."""
    return Objective.STREAM if instance.workload.requests else Objective(instance.objective)


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
        Keyword arguments with their values; None, False, an empty tuple and `DEFAULTS` ask for nothing.

    Raises
    ------
    InputError
        Listing every option that cannot be honoured.
    """
    objective = objective_of(instance)
    if objective is Objective.LATENCY:
        return
    honoured = SUPPORTED[objective].get(question)
    if honoured is None:
        stream = objective is Objective.STREAM
        path = "workload.requests" if stream else "objective"
        found = f"{len(instance.workload.requests)} requests" if stream else '"period"'
        expected = f"one prompt for {question}" if stream else f'"latency" for {question}'
        raise InputError([Problem(path, found, expected, ANSWERED[objective])])
    problems = [
        Problem(
            option_name(name) if command else name,
            _shown(value),
            f"no such option with objective {objective.value}",
            "leave it out",
        )
        for name, value in options.items()
        if name not in honoured and _asks(name, value)
    ]
    if problems:
        raise InputError(problems)


def _asks(name: str, value: object) -> bool:
    """Whether a value asks for something."""
    return value is not None and value is not False and value not in ((), *DEFAULTS.get(name, ()))


def _shown(value: object) -> str:
    return "given" if value is True else repr(value)
