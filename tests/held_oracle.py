"""What a memory holds beside weights and KV with homes, number by number: activations and rings."""

from __future__ import annotations

from math import ceil

from mocap_opt.tables.cost_tables import Tables


def ring_bytes(tables: Tables, k: int, longest: int) -> int:
    """Pages that a window and a chunk touch, wherever they lie, times the bytes of a page."""
    if tables.ring_span is None or tables.ring_bytes is None:
        return 0
    every = ceil(tables.prefix / tables.page) + ceil(tables.tokens / tables.page)
    total = 0
    for span, size in zip(tables.ring_span.tolist(), tables.ring_bytes[k].tolist(), strict=True):
        positions = span - 1 + longest
        # The first position at the end of a page, and a page that the prefix does not fill.
        touched = 1 + ceil((positions - 1) / tables.page) + (1 if tables.prefix else 0)
        total += size * min(touched, every)
    return total


def buffer_bytes(tables: Tables, k: int, held: int) -> int:
    """Feed-forward activations or logits of so many tokens, whichever are more."""
    if tables.buffer_bytes is None or tables.buffer_limit is None or tables.logit_bytes is None:
        return 0
    capped = min(held * int(tables.buffer_bytes[k]), int(tables.buffer_limit[k]))
    return max(capped, held * int(tables.logit_bytes[k]))


def held_bytes(tables: Tables, k: int, held: int, longest: int) -> int:
    """Staging, activations of the tokens held in queues, and rings."""
    activations = held * int(tables.working_bytes[k]) + buffer_bytes(tables, k, held)
    return int(tables.staging[k]) + activations + ring_bytes(tables, k, longest)
