"""Which count of chunks and which layout is best, as a table of all of them with bounds.

`mocap_opt.questions.tradeoffs.pareto` loads CP-SAT and is not imported here.
Mathematics: ``formulations/tradeoffs.md``.
"""

from mocap_opt.questions.tradeoffs.axes import Axis
from mocap_opt.questions.tradeoffs.layout_choices import LayoutChoice, layout_choices
from mocap_opt.questions.tradeoffs.result import Choice, Sweep
from mocap_opt.questions.tradeoffs.sweep import chunk_choices, tradeoff

__all__ = ["Axis", "Choice", "LayoutChoice", "Sweep", "chunk_choices", "layout_choices", "tradeoff"]
