"""One instance at every length of its prompt: tables that are slices of the longest one's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import require_supported
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

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


@dataclass(frozen=True, eq=False)
class LengthFamily:
    """An instance at every length of its prompt that is a multiple of the quantum.

    Attributes
    ----------
    longest : Tables
        Of a prompt that is a multiple of the quantum; no longer one has a plan.
    """

    longest: Tables

    def at(self, tokens: int) -> Tables:
        """Tables at a length that is a multiple of the quantum, at most that of `longest`."""
        return shorten(self.longest, tokens // self.longest.quantum)

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
        given = build_tables(instance)
        limits = [most_tokens(given)]
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
            return cls(build_tables(instance.replace(f"workload.tokens={steps * quantum}")))
        except InputError as error:
            if instance.costs.kind != "measured":
                raise
            found = f"prompts of up to {steps * quantum:,} tokens"
            remedy = "lower chunking.max_chunks or chunking.longest, or fit coefficients (mocap-opt fit)"
            reach = Problem("max-length", found, "measured times that reach as far as limits do", remedy)
            raise InputError([*error.problems, reach]) from None
