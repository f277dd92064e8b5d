"""What can go wrong: the exit code of each case, how a failure is named, and whether tests see it."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    ANSWERED = 0
    BAD_INPUT = 2
    INFEASIBLE = 3
    NO_PLAN = 4
    SOLVER_UNAVAILABLE = 5


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input.

    Attributes
    ----------
    path : str
        Where it is: a dotted field path (``wafer.die.memory_bytes``) or a file name.
    found : str
        The value found there, shortened for display; empty if it is missing.
    expected : str
        What was expected instead.
    remedy : str
        What to do about it; may be empty.
    """

    path: str
    found: str
    expected: str
    remedy: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        got = f", got {self.found}" if self.found else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{self.path}: expected {self.expected}{got}{remedy}"


class MocapError(Exception):
    """Base of every error this package raises on purpose.

    Examples
    --------
    >>> import mocap_opt
    >>> try:
    ...     mocap_opt.load_instance("no-such-file.json")
    ... except mocap_opt.MocapError as error:
    ...     print(int(error.exit_code))
    2
    """

    exit_code = ExitCode.BAD_INPUT


class InputError(MocapError):
    """An input is malformed; every problem found is listed.

    Attributes
    ----------
    problems : tuple of Problem
        All of them, in the order of the input.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> try:
    ...     instance.replace("workload.tokens=0", "overlap=2")
    ... except mocap_opt.InputError as error:
    ...     print([problem.path for problem in error.problems])
    ['workload.tokens', 'overlap']
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SolverUnavailableError(MocapError):
    """A solver cannot be loaded; the message says why and what to install."""

    exit_code = ExitCode.SOLVER_UNAVAILABLE


raise_unexpected = False
"""Whether an unexpected failure of one part is raised instead of noted; tests set it, so that none hides."""


def described(error: BaseException) -> str:
    """An error in one line: its type, what it says and where in this package it was raised."""
    package = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if package in Path(frame.filename).parents]
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}{': ' if text else ''}{text}"
    if not frames:
        return said
    last = (inside or frames)[-1]
    return f"{said} ({'/'.join(Path(last.filename).parts[-2:])}:{last.lineno})"
