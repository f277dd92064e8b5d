"""Which count of chunks and which layout is best, swept with bounds that spare most of the solving.

`mocap_opt.questions.tradeoffs.pareto` loads CP-SAT and is not imported here.
Mathematics: ``formulations/tradeoffs.md``.
"""

from mocap_opt.questions.tradeoffs.sweep import Choice, Sweep, chunk_choices, layout_choices, sweep

__all__ = ["Choice", "Sweep", "chunk_choices", "layout_choices", "sweep"]
