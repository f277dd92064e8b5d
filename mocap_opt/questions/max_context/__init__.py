"""The longest prompt: on equal chunks, under a latency limit, or with a longest chunk.

Mathematics: ``formulations/max_length.md``.
"""

from mocap_opt.questions.max_context.equal import EQUAL_METHODS, longest_equal
from mocap_opt.questions.max_context.instance_family import LatencyLimit, LengthFamily
from mocap_opt.questions.max_context.question import LongestAnswer, curve_row, max_length
from mocap_opt.questions.max_context.result import LongestPrompt, Obstacle, Point
from mocap_opt.questions.max_context.search import longest_prompt

__all__ = [
    "EQUAL_METHODS",
    "LatencyLimit",
    "LengthFamily",
    "LongestAnswer",
    "LongestPrompt",
    "Obstacle",
    "Point",
    "curve_row",
    "longest_equal",
    "longest_prompt",
    "max_length",
]
