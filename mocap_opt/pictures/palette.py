"""Colours and units that every picture shares, whatever library draws it.

Chunks take viridis without its ends; everything else takes colours of Okabe and Ito's set and one
of Tol's, which stay apart for colour-blind readers.  What is not computing is also drawn thinner, so that
shape tells it apart as well.
"""

from __future__ import annotations

from mocap_opt.replay.activity import Activity

ACTIVITY_COLOURS = {
    Activity.KV: "#D55E00",
    Activity.SEND: "#56B4E9",
    Activity.ACTIVATIONS: "#C4C4C4",
    Activity.QUEUE: "#CC79A7",
    Activity.ADMISSION: "#882255",
    Activity.BARRIER: "#606060",
}
READ_COLOUR, WRITE_COLOUR = "#E69F00", "#000000"

MEMORY_COLOURS = {
    "static": "#7F7F7F",
    "reserve": "#C4C4C4",
    "prefix": "#009E73",
    "own": "#0072B2",
    "hosted": "#E69F00",
}
MEMORY_NAMES = {
    "static": "weights",
    "reserve": "staging and activations",
    "prefix": "cached prefix",
    "own": "own KV",
    "hosted": "KV of other stages",
}
LIMIT_COLOUR = "#000000"
PLAN_COLOUR, BOUND_COLOUR = "#0072B2", "#D55E00"
DEAD_COLOUR, IDLE_COLOUR = "#000000", "#DDDDDD"

CHUNK_RANGE = (0.08, 0.9)
"""The part of viridis that chunks use."""


def time_unit(seconds: float) -> tuple[float, str]:
    """Units per second and the unit in which a time is best written: ``(1000.0, "ms")``."""
    for scale, name in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * scale >= 1:
            return scale, name
    return 1e9, "ns"


def byte_unit(size: float) -> tuple[float, str]:
    """Units per byte and the unit in which a size is best written: ``(1e-9, "GB")``."""
    for scale, name in ((1e-12, "TB"), (1e-9, "GB"), (1e-6, "MB"), (1e-3, "kB")):
        if size * scale >= 1:
            return scale, name
    return 1.0, "B"


def label_step(count: int, most: int) -> int:
    """The least power of two such that every so-many-th of `count` things gives at most `most`.

    Parameters
    ----------
    count : int
    most : int
        At least 1.
    """
    step = 1
    while count > most * step:
        step *= 2
    return step
