"""The wafer: where stages sit, what is dead, how busy links and memory ports are."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mocap_opt.pictures.palette import DEAD_COLOUR, IDLE_COLOUR
from mocap_opt.pictures.plots.style import add_boxes, boxes, link_map, port_map
from mocap_opt.pictures.run_view import RunView
from mocap_opt.pictures.wafer_geometry import Drawing, draw_wafer
from mocap_opt.replay.usage import FloatArray
from mocap_opt.tables.layout import Layout


def mesh(ax: Axes, layout: Layout, view: RunView) -> Axes:
    """Draw dies filled with the load of their stage's memory port, links with their own load.

    Loads are bytes moved over the whole execution, over the bytes that could have moved.  The two
    directions of a link are two lines, each on the right of its direction of travel.

    Parameters
    ----------
    ax : Axes
        Drawn on; two colour bars are put beside it.
    layout : Layout
    view : RunView

    Returns
    -------
    Axes
        The one given.
    """
    drawing = draw_wafer(layout)
    load = view.load.overall()
    port, link = 100 * load.port[:, 0], 100 * load.link[:, 0]
    ports = ScalarMappable(Normalize(0, max(port.max(initial=0), 1e-9)), port_map())
    links = ScalarMappable(Normalize(0, max(link.max(initial=0), 1e-9)), link_map())
    ports.set_array(port)
    links.set_array(link)
    _dies(ax, drawing, ports.to_rgba(port))
    ax.add_collection(LineCollection(drawing.borders, colors="#222222", linewidths=1.4), autolim=False)
    colours = links.to_rgba(link)
    colours[link == 0] = to_rgba(IDLE_COLOUR)
    lines = [[(line.x0, line.y0), (line.x1, line.y1)] for line in drawing.links]
    ax.add_collection(LineCollection(lines, colors=colours, linewidths=_width(drawing)), autolim=False)
    if drawing.cuts:
        ax.plot(
            *zip(*drawing.cuts, strict=True),
            "x",
            color=DEAD_COLOUR,
            mew=1.6,
            markersize=2.4 * _width(drawing),
        )
    _numbers(ax, drawing)
    _frame(ax, drawing)
    for mappable, text in ((links, "load of a link"), (ports, "load of a stage's memory port (dies)")):
        bar = ax.figure.colorbar(mappable, ax=ax, fraction=0.035, pad=0.03)
        bar.set_label(f"{text}, % of its bandwidth")
        bar.ax.yaxis.set_major_formatter("{x:.3g}")
        bar.outline.set_visible(False)
    _legend(ax, drawing)
    return ax


def _dies(ax: Axes, drawing: Drawing, colours: FloatArray) -> None:
    centre = np.array([(die.x, die.y) for die in drawing.dies])
    x, y, half = centre[:, 0], centre[:, 1], drawing.half
    corners = boxes(x - half, x + half, y - half, y + half)
    fill = ["white" if die.stage is None or die.memory_only else colours[die.stage] for die in drawing.dies]
    add_boxes(ax, corners, facecolors=fill, edgecolors="#888888", linewidths=0.6)
    spare = np.array([die.memory_only for die in drawing.dies])
    add_boxes(ax, corners[spare], facecolors="white", edgecolors="#888888", hatch="..", linewidths=0.6)
    dead = np.array([die.dead for die in drawing.dies])
    add_boxes(ax, corners[dead], facecolors="white", edgecolors=DEAD_COLOUR, hatch="xxxx", linewidths=0.6)


def _legend(ax: Axes, drawing: Drawing) -> None:
    handles: list[Artist] = [Line2D([], [], color="#222222", linewidth=1.4, label="border of a stage")]
    if any(die.stage is None and not die.dead for die in drawing.dies):
        handles.append(Patch(facecolor="white", edgecolor="#888888", label="die without a stage"))
    if any(die.memory_only for die in drawing.dies):
        handles.append(
            Patch(facecolor="white", edgecolor="#888888", hatch="..", label="die that is memory only")
        )
    if any(die.dead for die in drawing.dies):
        handles.append(Patch(facecolor="white", edgecolor=DEAD_COLOUR, hatch="xxxx", label="dead die"))
    if drawing.cuts:
        handles.append(Line2D([], [], color=DEAD_COLOUR, marker="x", linestyle="", label="dead link"))
    handles.append(
        Line2D(
            [],
            [],
            color=IDLE_COLOUR,
            linewidth=2.5,
            label="link without traffic (one line per direction, on its right)",
        )
    )
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def _width(drawing: Drawing) -> float:
    return float(np.clip(24 / max(drawing.rows, drawing.cols), 1.2, 3.0))


def _numbers(ax: Axes, drawing: Drawing) -> None:
    size = float(np.clip(80 / max(drawing.rows, drawing.cols), 4.5, 9))
    for stage, (x, y) in enumerate(drawing.labels):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
        ax.text(x, y, str(stage), ha="center", va="center", fontsize=size, bbox=box)


def _frame(ax: Axes, drawing: Drawing) -> None:
    ax.set_xlim(drawing.left, drawing.right)
    ax.set_ylim(drawing.bottom, drawing.top)
    ax.set_aspect("equal")
    step_x, step_y = (1 + max(count - 1, 0) // 16 for count in (drawing.cols, drawing.rows))
    ax.set_xticks(range(0, drawing.cols, step_x))
    ax.set_yticks(range(0, drawing.rows, step_y))
    ax.set_xlabel("column of dies")
    ax.set_ylabel("row of dies")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
