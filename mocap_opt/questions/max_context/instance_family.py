"""One instance at every length of its prompt, how long each may take, and the last length with an answer.

The tables of a length are slices of the longest one's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mocap_opt.baselines import METHODS
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import require_supported
from mocap_opt.replay.evaluation import assess
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.message_tables import export_room

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

Found = TypeVar("Found")

MOST_STEPS = 2**16
"""More grid steps than this are refused: nothing that follows would end in reasonable time."""


def shorten(tables: Tables, steps: int) -> Tables:
    """Cut the tables of a prompt down to its first `steps` grid steps.

    Exact: no entry of the tables depends on the end of the prompt but through the last step, which
    is a whole one here (formulations/max_length.md, Slices).

    Parameters
    ----------
    tables : Tables
        Of a prompt that is a multiple of the quantum.
    steps : int
        From 1 to ``tables.steps``.

    Raises
    ------
    ValueError
        If the prompt has a short last step, or not that many steps.
    """
    if tables.tokens % tables.quantum or not 1 <= steps <= tables.steps:
        raise ValueError(f"cannot cut {tables.tokens} tokens in steps of {tables.quantum} down to {steps}")
    kept = slice(0, steps + 1)
    return replace(
        tables,
        grid=tables.grid[kept],
        phi=tables.phi[:, kept],
        full_block=tables.full_block[:, :, kept],
        memory_side=tables.memory_side[:, kept],
        prefix_cost=tables.prefix_cost[:, kept],
        length_cost=tables.length_cost[:, :, kept],
        send=tables.send[:, :, kept],
        own_traffic=tables.own_traffic[:, kept],
        residual=None if tables.residual is None else tables.residual[:, kept, kept],
        available=None if tables.available is None else tables.available[kept],
        rider_bytes=None if tables.rider_bytes is None else tables.rider_bytes[:, kept],
        max_length=min(tables.max_length, steps * tables.quantum),
    )


def pooled_room(tables: Tables) -> int:
    """Bytes that all memories together have at most for KV, whatever the plan."""
    return int(np.maximum(tables.free_memory(tables.staging), 0).sum())


def most_tokens(tables: Tables) -> int | None:
    """No prompt of more tokens has a plan; None if KV takes no room.

    When the first stage has run the last chunk, its KV of the whole prompt is alive somewhere.
    """
    size = int(tables.page_bytes[0])
    return pooled_room(tables) // size * tables.page if size else None


def most_exported(instance: Instance, tables: Tables) -> int | None:
    """Tokens whose KV fits in the pool that it is exported to; None without exports.

    Parameters
    ----------
    instance : Instance
    tables : Tables
        Of `instance`, at any length.
    """
    room, size = export_room(instance, tables), int(tables.page_bytes.sum())
    return None if room is None or not size else room // size * tables.page


@dataclass(frozen=True, eq=False)
class LengthFamily:
    """An instance at every length of its prompt that is a multiple of the quantum.

    Attributes
    ----------
    longest : Tables
        Of a prompt that is a multiple of the quantum; no longer one has a plan.
    instance : Instance or None
        Of which they are; needed where windows span whole prompts that are shorter.
    """

    longest: Tables
    instance: Instance | None = None
    _rebuilt: dict[int, Tables] = field(default_factory=dict)

    def at(self, tokens: int) -> Tables:
        """Tables at a length that is a multiple of the quantum, at most that of `longest`."""
        spans = self.longest.ring_span
        if self.instance is None or spans is None or tokens + self.longest.prefix > int(spans[-1]):
            return shorten(self.longest, tokens // self.longest.quantum)
        # Some window spans all of such a prompt: its KV is held in full, with homes.
        if tokens not in self._rebuilt:
            self._rebuilt[tokens] = build_tables(self.instance.replace(f"workload.tokens={tokens}"))
        return self._rebuilt[tokens]

    @classmethod
    def of(cls, instance: Instance) -> LengthFamily:
        """Build the tables at the greatest length that memory and the limit on chunks could admit.

        Raises
        ------
        InputError
            If nothing limits the length, or the grid would have more than `MOST_STEPS` steps.
        """
        require_supported(instance, "the longest prompt")
        chunking = instance.chunking
        given = build_tables(_beyond_windows(instance))
        limits = [most_tokens(given), most_exported(instance, given)]
        if chunking.longest is not None:
            limits.append(chunking.max_chunks * chunking.longest)
        known = [limit for limit in limits if limit is not None]
        if not known:
            raise InputError(
                [Problem("chunking.longest", "null", "a limit", "KV takes no room that memory could limit")]
            )
        quantum = chunking.quantum
        steps = max(min(known) // quantum, 1)
        if steps > MOST_STEPS:
            raise InputError(
                [
                    Problem(
                        "chunking.quantum",
                        str(quantum),
                        f"at least {min(known) // MOST_STEPS + 1} tokens",
                        f"memory could hold prompts of {min(known):,} tokens, {steps:,} grid steps",
                    )
                ]
            )
        try:
            return cls(build_tables(instance.replace(f"workload.tokens={steps * quantum}")), instance)
        except InputError as error:
            if instance.costs.kind != "measured":
                raise
            found = f"prompts of up to {steps * quantum:,} tokens"
            remedy = "lower chunking.max_chunks or chunking.longest, or fit coefficients (mocap-opt fit)"
            reach = Problem("max-length", found, "measured times that reach as far as limits do", remedy)
            raise InputError([*error.problems, reach]) from None


def _beyond_windows(instance: Instance) -> Instance:
    """The instance with a prompt that no window spans, so that least of its KV has homes."""
    groups = [(entry.keep, group) for entry in instance.model.profile for group in entry.windows]
    spans = [int((group.tokens or group.chunk or 0) / keep) + 2 for keep, group in groups]
    tokens = max([instance.workload.tokens, *spans])
    return instance if tokens == instance.workload.tokens else instance.replace(f"workload.tokens={tokens}")


def without_memory_limits(tables: Tables) -> Tables:
    """The same tables with memories in which everything fits at home."""
    needed = tables.static + tables.reserve(tables.tokens) + tables.prefix_bytes
    needed[: tables.stages] += tables.page_bytes * int(tables.pages[-1])
    return replace(tables, capacity=np.maximum(tables.capacity, needed))


@dataclass(eq=False)
class LatencyLimit:
    """Either so many ticks at any length, or a multiple of what `mocap` takes where memory is no obstacle.

    Attributes
    ----------
    family : LengthFamily
    ticks : Fraction or None
        The limit at any length.
    factor : Fraction or None
        The multiple; exactly one of the two is given.
    """

    family: LengthFamily
    ticks: Fraction | None = None
    factor: Fraction | None = None
    _known: dict[int, Fraction | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that one limit is given."""
        if (self.ticks is None) == (self.factor is None):
            raise ValueError("give either ticks or a factor")

    def at(self, tokens: int) -> Fraction | None:
        """The limit at a length, ticks; None if `mocap` has no plan even where memory is no obstacle."""
        if self.factor is None:
            return self.ticks
        if tokens not in self._known:
            tables = without_memory_limits(self.family.at(tokens))
            plan = METHODS["mocap"].propose(tables).plan
            self._known[tokens] = None if plan is None else self.factor * assess(tables, plan).latency
        return self._known[tokens]


def last_found(
    attempt: Callable[[int], Found | None], low: int, high: int, *, monotone: bool = True
) -> tuple[int, Found] | None:
    """Look for the greatest number in low .. high with an answer.

    Parameters
    ----------
    attempt : callable
        Asked at most once for each number.
    low, high : int
        Both included.
    monotone : bool
        Whether an answer at n means one at n - 1 too; then the result is the greatest number with
        an answer.  Otherwise every doubling is asked, and the result is a number with an answer
        whose successor has none (or is beyond `high`); others beyond it may have one.

    Returns
    -------
    (int, answer) or None
        None if no number asked about has an answer.
    """
    best: tuple[int, Found] | None = None
    beyond = high + 1
    for n in _doublings(low, high):
        found = attempt(n)
        if found is not None:
            best, beyond = (n, found), high + 1
        else:
            beyond = min(beyond, n)
            if monotone:
                break
    if best is None:
        return None
    while beyond - best[0] > 1:
        middle = (best[0] + beyond) // 2
        found = attempt(middle)
        if found is None:
            beyond = middle
        else:
            best = middle, found
    return best


def _doublings(low: int, high: int) -> list[int]:
    """List low, low + 1, low + 3, low + 7, ... and high at the end."""
    numbers = []
    step = 0
    while low + step < high:
        numbers.append(low + step)
        step = 2 * step + 1
    return [*numbers, high] if low <= high else []
