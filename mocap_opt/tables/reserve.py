"""Parts of the reserve of memories, whole bytes (formulations/profiles.md); `Tables.reserve` adds them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.arrays import IntArray

if TYPE_CHECKING:
    from mocap_opt.tables.cost_tables import Tables


def activations(tables: Tables, held: int) -> IntArray:
    """Bytes of activations in every memory, int64[memory], of tokens that its queues hold.

    working_bytes h + max( min( buffer_bytes h, buffer_limit ), logit_bytes h ).

    Parameters
    ----------
    tables : Tables
    held : int
        h, from `Tables.held_tokens`.
    """
    total: IntArray = held * tables.working_bytes
    if tables.buffer_bytes is None or tables.buffer_limit is None or tables.logit_bytes is None:
        return total
    buffers = np.minimum(held * tables.buffer_bytes, tables.buffer_limit)
    return total + np.maximum(buffers, held * tables.logit_bytes)


def rings(tables: Tables, longest: int) -> IntArray:
    """Bytes of the rings in every memory, int64[memory].

    For each span w' a page times min( ceil((w' + longest - 2) / page) + 1 + [P > 0], pages of prefix and
    prompt ).

    Parameters
    ----------
    tables : Tables
    longest : int
        The plan's longest chunk, tokens.
    """
    if tables.ring_span is None or tables.ring_bytes is None:
        return np.zeros_like(tables.working_bytes)
    each = [touched_pages(tables, span, longest) for span in tables.ring_span.tolist()]
    total: IntArray = tables.ring_bytes @ np.array(each, dtype=np.int64)
    return total


def touched_pages(tables: Tables, span: int, longest: int) -> int:
    """Pages that a chunk and what its first token sees can lie in at most.

    Parameters
    ----------
    tables : Tables
    span : int
        w', tokens of the window.
    longest : int
        Tokens of the chunk, at most.
    """
    touched = -(-(span + longest - 2) // tables.page) + 1 + (tables.prefix > 0)
    return min(touched, int(tables.pages[-1]) - (-tables.prefix // tables.page))


def plain_reserve(tables: Tables) -> bool:
    """Whether the reserve is proportional to the tokens that queues hold: no buffers, no rings."""
    return tables.buffer_bytes is None and tables.ring_span is None
