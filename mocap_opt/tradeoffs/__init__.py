"""Which count of chunks and which layout is best, swept with bounds that spare most of the solving."""

from mocap_opt.tradeoffs.sweep import Choice, Sweep, chunk_choices, layout_choices, sweep

__all__ = ["Choice", "Sweep", "chunk_choices", "layout_choices", "sweep"]
