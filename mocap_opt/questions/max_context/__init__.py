"""The longest prompt: on equal chunks, under a latency limit, or with a longest chunk.

Mathematics: ``formulations/max_length.md``.
"""

from mocap_opt.questions.max_context.equal import EQUAL_METHODS, longest_equal
from mocap_opt.questions.max_context.instance_family import LengthFamily
from mocap_opt.questions.max_context.limits import LatencyLimit
from mocap_opt.questions.max_context.result import LongestPrompt, Point, Stop
from mocap_opt.questions.max_context.search import longest_prompt

__all__ = [
    "EQUAL_METHODS",
    "LatencyLimit",
    "LengthFamily",
    "LongestPrompt",
    "Point",
    "Stop",
    "longest_equal",
    "longest_prompt",
]
