"""One look for all pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.patches import Patch

from mocap_opt.pictures.palette import CHUNK_RANGE, label_step

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.2,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "svg.hashsalt": "mocap-opt",
}
MOST_LABELS = 16
"""Stages named on an axis before only every second, fourth, ... one is."""


@contextmanager
def look() -> Iterator[None]:
    """Draw in the common style."""
    with mpl.rc_context(SETTINGS):
        yield


def chunk_colours(count: int) -> npt.NDArray[np.float64]:
    """A colour per chunk, float64[chunk, 4], RGBA."""
    colours: npt.NDArray[np.float64] = mpl.colormaps["viridis"](np.linspace(*CHUNK_RANGE, max(count, 2)))
    return colours[:count]


def chunk_map() -> Colormap:
    """The colours of chunks as a colour map, for a colour bar."""
    return LinearSegmentedColormap.from_list(
        "chunks", mpl.colormaps["viridis"](np.linspace(*CHUNK_RANGE, 64))
    )


def link_map() -> Colormap:
    """Light to dark, little load to much."""
    return LinearSegmentedColormap.from_list("link", mpl.colormaps["magma_r"](np.linspace(0.1, 0.9, 64)))


def port_map() -> Colormap:
    """Light to middling, little load to much: what is written on it stays readable."""
    return LinearSegmentedColormap.from_list("port", mpl.colormaps["Blues"](np.linspace(0.03, 0.6, 64)))


def boxes(
    left: npt.ArrayLike, right: npt.ArrayLike, top: npt.ArrayLike, bottom: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Corners of rectangles for a `PolyCollection`, float64[box, 4, 2].

    Parameters
    ----------
    left, right, top, bottom : array_like[box]
        Coordinates on the axes; broadcast together.
    """
    x0, x1, y0, y1 = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (left, right, top, bottom))
    )
    return np.stack([np.stack([x0, x1, x1, x0], axis=-1), np.stack([y0, y0, y1, y1], axis=-1)], axis=-1)


def add_boxes(ax: Axes, corners: npt.NDArray[np.float64], **style: object) -> None:
    """Draw rectangles as one collection: thousands take milliseconds.

    Parameters
    ----------
    ax : Axes
    corners : float64[box, 4, 2]
        As `boxes` gives them; none draws nothing.
    **style
        Of a `PolyCollection`.
    """
    if len(corners):
        ax.add_collection(PolyCollection(list(corners), **style), autolim=False)  # type: ignore[arg-type]


def label_stages(ax: Axes, stages: int, name: str = "stage") -> Sequence[int]:
    """Number the stages, or memories, downwards on the vertical axis; return those that are named.

    Parameters
    ----------
    ax : Axes
    stages : int
    name : str
        Of the axis.
    """
    named = range(0, stages, label_step(stages, MOST_LABELS))
    ax.set_yticks(list(named), [str(i) for i in named])
    ax.set_ylim(stages - 0.5, -0.5)
    ax.set_ylabel(name)
    ax.tick_params(axis="y", length=0)
    return named


def legend_above(ax: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """Explain colours between the title and the axes.

    Parameters
    ----------
    ax : Axes
    entries : sequence of (str, str)
        Names and colours.
    """
    handles = [
        Patch(facecolor=colour, edgecolor="#888888", linewidth=0.4, label=name) for name, colour in entries
    ]
    if handles:
        # A legend wider than the axes would push them aside.
        letters = sum(len(name) + 7 for name, _ in entries)
        columns = len(handles) if letters <= 120 else -(-len(handles) // 2)
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)
