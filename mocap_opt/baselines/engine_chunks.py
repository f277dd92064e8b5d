"""What the rules of serving engines share: a setting, and chunk after chunk of the lengths a rule wants.

An engine has one setting: a base size (``--chunked-prefill-size``, ``--max-num-batched-tokens``,
``max_num_tokens``), and where it sizes chunks itself a smoothing factor, the part of the way from the base
size to what it computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.tables.cost_tables import Tables

ALIGNMENT = 64
"""Engines that size chunks round to multiples of this or of the page, whichever is larger; tokens."""

TOLERANCE = 1e-3
"""Keeps a chunk of exactly a multiple from being cut short by rounding; tokens."""

SEPARATOR = ":"
"""Between a rule, its base size and its smoothing, as in ``sglang-dynamic:8192:0.65``."""

SizeRule = Callable[[int, int], float]
"""From the tokens so far (a cached prefix included) and the base size to the length wanted next, tokens."""


class NoFitError(ValueError):
    """The engine's fit fails on these times; the message says why."""


@dataclass(frozen=True)
class Setting:
    """The one setting of an engine.

    Attributes
    ----------
    base : int
        Base chunk size, tokens.
    smoothing : float or None
        From 0 to 1; None: the engine's default, or the engine has none.
    """

    base: int
    smoothing: float | None = None

    def __str__(self) -> str:
        """Return it as it stands behind the name of a rule."""
        return f"{self.base}" + ("" if self.smoothing is None else f"{SEPARATOR}{self.smoothing:g}")


@dataclass(frozen=True)
class EngineRule:
    """How an engine cuts a prompt under one setting.

    Attributes
    ----------
    what : str
        In words, for summaries.
    boundaries : callable
        From the tables and a `Setting` to grid indices int64[chunks + 1]; None if limits are missed.
        Raises `NoFitError` where the engine turns its rule off.
    smoothing : float or None
        The engine's default; None if it does not size chunks.
    """

    what: str
    boundaries: Callable[[Tables, Setting], IntArray | None]
    smoothing: float | None = None

    def smoothed(self, setting: Setting) -> float:
        """Return the smoothing of a setting, the default if it names none."""
        default = 0.0 if self.smoothing is None else self.smoothing
        return default if setting.smoothing is None else setting.smoothing


def smoothed(base: int, length: float, smoothing: float) -> float:
    """Go from the base size part of the way to a computed length, tokens.

    Parameters
    ----------
    base : int
        Tokens.
    length : float
        Tokens.
    smoothing : float
        0 keeps the base size, 1 takes the computed length.
    """
    return base + smoothing * (length - base)


def successive_chunks(
    tables: Tables,
    base: int,
    rule: SizeRule,
    *,
    sized_first: bool = False,
    alignment: int = ALIGNMENT,
    up: bool = False,
    at_most_base: bool = False,
) -> IntArray | None:
    """Boundaries from a base size, chunk after chunk, int64[chunks + 1], or None if the limits are missed.

    Lengths are rounded to a multiple of the alignment (or of the page, where that is larger), at least
    one, and of the grid; then moved inside the limits.  The number of chunks follows.

    Parameters
    ----------
    tables : Tables
    base : int
        Base chunk size, tokens.
    rule : callable
        Lengths wanted.
    sized_first : bool
        Whether the rule sizes the first chunk too.  SGLang sizes chunks of a request that is under way:
        the first one is of the base size, also after a cached prefix.
    alignment : int
        Tokens; 1 where the engine takes lengths as they are.
    up : bool
        Round up instead of down.
    at_most_base : bool
        Cut what is rounded beyond the base size back to it.
    """
    limits = LengthLimits.of(tables)
    page = tables.page if alignment > 1 else 1
    unit = math.lcm(max(page, alignment), tables.quantum)
    # A chunk as long as the prompt is the only one.
    most = tables.steps if tables.length_allowed[0, tables.steps] else limits.most
    if at_most_base:
        most = min(most, max(base // tables.quantum, limits.least))
    indices = [0]
    while indices[-1] < tables.steps:
        at = indices[-1]
        length = rule(tables.prefix + int(tables.grid[at]), base) if at or sized_first else base
        whole = -(-int(length - TOLERANCE) // unit) if up else int(length + TOLERANCE) // unit
        step = min(max(max(whole, 1) * unit // tables.quantum, limits.least), most)
        left = tables.steps - at
        if step >= left or left < step + limits.last_least:
            step = left if left <= limits.last_most else left - limits.last_least
        if not (limits.least <= step <= limits.most if step < left else left >= limits.last_least):
            return None
        indices.append(at + step)
        if len(indices) > tables.max_chunks + 1:
            return None
    count = len(indices) - 1
    return np.array(indices, dtype=np.int64) if count in tables.counts else None
