"""What can go wrong, and the exit code each case has on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


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
    """Base of every error this package raises on purpose."""

    exit_code = ExitCode.BAD_INPUT


class InputError(MocapError):
    """An input is malformed; every problem found is listed.

    Attributes
    ----------
    problems : tuple of Problem
        All of them, in the order of the input.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SolverUnavailableError(MocapError):
    """A solver cannot be loaded; the message says why and what to install."""

    exit_code = ExitCode.SOLVER_UNAVAILABLE
