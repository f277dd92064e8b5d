"""What a search for the longest prompt answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mocap_opt.replay.evaluation import Assessment
from mocap_opt.units import decimal_bytes

TIME_WAS_UP = "time was up before a plan of this length was found"


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of the next longer prompt.

    Attributes
    ----------
    tokens : int
        Length of that prompt.
    reason : str
        In words.
    memory : int or None
        The memory that overflows; None if it is all of them together, or not a matter of memory.
    slot : int or None
        In which slot; None if not a matter of memory.
    bytes_short : int or None
        By how much; None if not a matter of memory.
    proved : bool
        Whether no plan of that length exists under the same rules; otherwise none was found.
    """

    tokens: int
    reason: str
    memory: int | None = None
    slot: int | None = None
    bytes_short: int | None = None
    proved: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "tokens": self.tokens,
            "reason": self.reason,
            "memory": self.memory,
            "slot": self.slot,
            "bytes_short": self.bytes_short,
            "proved": self.proved,
        }


def memory_obstacle(tokens: int, memory: int | None, slot: int, short: int, proved: bool) -> Obstacle:
    """Say that memory is short.

    Parameters
    ----------
    tokens : int
        Length of the prompt.
    memory : int or None
        None: all of them together.
    slot : int
    short : int
        Bytes that are missing.
    proved : bool
        Whether no plan of that length exists.
    """
    where = "all memories together are" if memory is None else f"memory {memory} is"
    reason = f"{where} {decimal_bytes(short)} short in slot {slot}"
    return Obstacle(tokens, reason, memory, slot, short, proved)


@dataclass(frozen=True)
class Point:
    """A length and the plan found for it.

    Attributes
    ----------
    tokens : int
    assessment : Assessment
        The plan with its two replays.
    source : str
        The method that found it.
    """

    tokens: int
    assessment: Assessment
    source: str


@dataclass(frozen=True)
class LongestPrompt:
    """The longest prompt found, and how much longer it could be at most.

    Attributes
    ----------
    method : str
    best : Point or None
        None if no plan was found at any length.
    upper_bound_tokens : int
        No longer prompt has a plan under the rules of the search, whatever the method; 0 if none has.
    stopped_by : Obstacle or None
        None if nothing does: the upper bound was reached by a limit that is part of the question.
    curve : tuple of Point
        Shorter lengths and the longest, ascending.
    """

    method: str
    best: Point | None
    upper_bound_tokens: int
    stopped_by: Obstacle | None
    curve: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        """Check that the plan does not beat the bound."""
        if self.best is not None and self.best.tokens > self.upper_bound_tokens:
            raise ValueError(f"{self.best.tokens} tokens beat the upper bound {self.upper_bound_tokens}")

    @property
    def tokens(self) -> int | None:
        """Length of the longest prompt with a plan; None if there is none."""
        return None if self.best is None else self.best.tokens

    @property
    def gap(self) -> float | None:
        """(upper bound - tokens) / upper bound; None without a plan."""
        return None if self.tokens is None else 1 - self.tokens / self.upper_bound_tokens
