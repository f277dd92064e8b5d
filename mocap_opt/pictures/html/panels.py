"""Timeline, memory and wafer of the page; `page.js` fills the last two in for the instant looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import (
    BoxAnnotation,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    GlyphRenderer,
    HoverTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.palettes import Blues256, Magma256, viridis
from bokeh.plotting import figure

from mocap_opt.pictures.html.scenes import Scene, Units
from mocap_opt.pictures.palette import (
    ACTIVITY_COLOURS,
    CHUNK_RANGE,
    DEAD_COLOUR,
    IDLE_COLOUR,
    LIMIT_COLOUR,
    MEMORY_COLOURS,
    MEMORY_NAMES,
    READ_COLOUR,
    WRITE_COLOUR,
    label_step,
)
from mocap_opt.pictures.wafer_geometry import Drawing, draw_wafer
from mocap_opt.replay.activity import WAITS
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import Layout

PORT_COLOURS, LINK_COLOURS = Blues256[::-1][8:155], Magma256[::-1][26:230]
CHANGING = ("reserve", "prefix", "own", "hosted")


def memory_panel(tables: Tables, units: Units, top: float, prefix: str = "") -> figure:
    """Stacked bars per memory, its capacity as a line, the peak of the whole run as a mark.

    Parameters
    ----------
    tables : Tables
    units : Units
        Of the page.
    top : float
        Bytes that the axis reaches.
    prefix : str
        Of the names that `page.js` looks up.
    """
    memories = tables.memories
    plot = figure(
        name=f"{prefix}memory",
        height=min(720, max(440, 110 + 12 * memories)),
        sizing_mode="stretch_width",
        x_range=Range1d(0, 1.04 * top * units.per_byte),
        y_range=Range1d(memories - 0.45, -0.55),
        x_axis_label=f"memory, {units.size}",
        y_axis_label="stage" if not tables.pools else "memory",
        tools="save",
    )
    plot.toolbar.logo = None
    plot.ygrid.visible = False
    plot.yaxis.ticker = list(range(0, memories, label_step(memories, 16)))
    zero = np.zeros(memories)
    source = ColumnDataSource(
        {
            "stage": np.arange(memories, dtype=np.int32),
            "static": tables.static * units.per_byte,
            **dict.fromkeys(CHANGING, zero),
            **{f"{side}_{name}": zero for name in MEMORY_COLOURS for side in ("from", "to")},
            "total": zero,
            "peak": zero,
            "capacity": tables.capacity * units.per_byte,
        },
        name=f"{prefix}memory-now",
    )
    bars = [
        plot.hbar(
            y="stage",
            left=f"from_{name}",
            right=f"to_{name}",
            height=0.8,
            fill_color=colour,
            line_color=None,
            source=source,
        )
        for name, colour in MEMORY_COLOURS.items()
    ]
    edges = {"y0": np.arange(memories) - 0.45, "y1": np.arange(memories) + 0.45}
    limits = ColumnDataSource({**edges, "x": tables.capacity * units.per_byte})
    plot.segment(x0="x", x1="x", y0="y0", y1="y1", line_color=LIMIT_COLOUR, line_width=2, source=limits)
    plot.scatter(x="peak", y="stage", marker="diamond", size=7, color="black", source=source)
    rows = [("stage", "@stage"), ("held", f"@total{{0.000}} {units.size}")]
    rows += [(MEMORY_NAMES[name], f"@{name}{{0.000}} {units.size}") for name in MEMORY_COLOURS]
    rows += [
        ("peak of the run", f"@peak{{0.000}} {units.size}"),
        ("capacity", f"@capacity{{0.000}} {units.size}"),
    ]
    plot.add_tools(HoverTool(tooltips=rows, renderers=bars, visible=False, point_policy="follow_mouse"))
    return plot


def wafer_panel(layout: Layout, prefix: str = "") -> figure:
    """Dies coloured by the load of their stage's port, links by their own.

    Parameters
    ----------
    layout : Layout
    prefix : str
        Of the names that `page.js` looks up.
    """
    drawing = draw_wafer(layout)
    plot = figure(
        name=f"{prefix}wafer",
        height=440,
        sizing_mode="stretch_width",
        match_aspect=True,
        x_range=Range1d(drawing.left, drawing.right),
        y_range=Range1d(drawing.bottom, drawing.top),
        x_axis_label="column of dies",
        y_axis_label="row of dies",
        tools="pan,wheel_zoom,reset,save",
        active_scroll=None,
    )
    plot.toolbar.logo = None
    plot.grid.visible = False
    plot.xaxis.ticker = list(range(0, drawing.cols, label_step(drawing.cols, 16)))
    plot.yaxis.ticker = list(range(0, drawing.rows, label_step(drawing.rows, 16)))
    dies, lines = _dies_now(plot, drawing, prefix), _links_now(plot, drawing, prefix)
    plot.scatter(
        [x for x, _ in drawing.cuts],
        [y for _, y in drawing.cuts],
        marker="x",
        size=9,
        color=DEAD_COLOUR,
        line_width=2,
    )
    labels = drawing.labels
    size = "11px" if max(drawing.rows, drawing.cols) <= 10 else "8px"
    plot.text(
        [x for x, _ in labels],
        [y for _, y in labels],
        [str(i) for i in range(len(labels))],
        text_align="center",
        text_baseline="middle",
        text_font_size=size,
    )
    tips = [("stage", "@stage"), ("load of its port", "@load{0.0000} %"), ("memory held", "@held{0.0} %")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[dies], visible=False))
    tips = [("link", "@name"), ("load", "@load{0.0000} %")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[lines], visible=False, line_policy="interp"))
    return plot


def _dies_now(plot: figure, drawing: Drawing, prefix: str) -> GlyphRenderer:
    """Dies and borders of stages; the dies that stages own take the colour of the instant."""
    alive = [die for die in drawing.dies if not die.dead]
    owned = [die for die in alive if die.stage is not None]
    side = 2 * drawing.half
    plot.rect(
        [d.x for d in alive], [d.y for d in alive], side, side, fill_color="white", line_color="#888888"
    )
    port_map = LinearColorMapper(PORT_COLOURS, low=0, high=1, name=f"{prefix}port-map")
    ports = ColumnDataSource(
        {
            "x": [die.x for die in owned],
            "y": [die.y for die in owned],
            "stage": np.array([die.stage for die in owned], dtype=np.int32),
            "load": np.zeros(len(owned)),
            "held": np.zeros(len(owned)),
        },
        name=f"{prefix}ports-now",
    )
    fill = {"field": "load", "transform": port_map}
    dies = plot.rect("x", "y", side, side, fill_color=fill, line_color="#888888", source=ports)
    spare = [die for die in drawing.dies if die.memory_only]
    plot.rect([d.x for d in spare], [d.y for d in spare], side, side, fill_color="white", hatch_pattern=".")
    dead = [die for die in drawing.dies if die.dead]
    plot.rect(
        [d.x for d in dead],
        [d.y for d in dead],
        side,
        side,
        fill_color="white",
        hatch_pattern="x",
        line_color=DEAD_COLOUR,
    )
    plot.segment(
        [a[0] for a, _ in drawing.borders],
        [a[1] for a, _ in drawing.borders],
        [b[0] for _, b in drawing.borders],
        [b[1] for _, b in drawing.borders],
        line_color="#222222",
        line_width=1.5,
    )
    return dies


def _links_now(plot: figure, drawing: Drawing, prefix: str) -> GlyphRenderer:
    """Links in the colour of the instant."""
    link_map = LinearColorMapper(
        Magma256[::-1][26:230], low=1e-12, high=1, low_color=IDLE_COLOUR, name=f"{prefix}link-map"
    )
    links = ColumnDataSource(
        {
            **{
                end: np.array([getattr(link, end) for link in drawing.links])
                for end in ("x0", "y0", "x1", "y1")
            },
            "name": [link.name for link in drawing.links],
            "load": np.zeros(len(drawing.links)),
        },
        name=f"{prefix}links-now",
    )
    colour = {"field": "load", "transform": link_map}
    return plot.segment("x0", "y0", "x1", "y1", line_color=colour, line_width=3, source=links)


def sample_sources(scenes: Sequence[Scene], units: Units, prefix: str = "") -> list[ColumnDataSource]:
    """What `page.js` looks up for an instant: five sources per scene, by name.

    Parameters
    ----------
    scenes : sequence of Scene
    units : Units
        Of the page.
    prefix : str
        Of their names.
    """
    found = []
    for n, scene in enumerate(scenes):
        peak, reserve = scene.view.memory.peak * units.per_byte, scene.view.memory.reserve * units.per_byte
        found += [
            ColumnDataSource({"edge": scene.edges}, name=f"{prefix}edges-{n}"),
            ColumnDataSource(scene.memory, name=f"{prefix}held-{n}"),
            ColumnDataSource({"link": scene.link}, name=f"{prefix}link-{n}"),
            ColumnDataSource({"port": scene.port}, name=f"{prefix}port-{n}"),
            ColumnDataSource({"peak": peak, "reserve": reserve}, name=f"{prefix}fixed-{n}"),
        ]
    return found


CHUNK_TIPS = """
<b>stage @stage, @label</b>: tokens @first to @last<br>
starts @left{{0.000000}} {time}, computed @right{{0.000000}}, ends @end{{0.000000}}<br>
before it: @before<br>after computing: @after<br>
remote KV read: @read{{0.000}} {size}, written: @written{{0.000}} {size}
"""
WAIT_TIPS = """
<b>stage @stage, @kind{{custom}}</b> (@label)<br>
@left{{0.000000}} to @right{{0.000000}} {time}: @length{{0.000000}} {time}<br>limited by: @cause
"""
TRANSFER_TIPS = """
<b>stage @stage, @label</b>: remote KV @read{{custom}}<br>
@size{{0.000}} {size}, memories @memories<br>@left{{0.000000}} to @right{{0.000000}} {time}
"""


def timeline(
    scenes: Sequence[Scene],
    units: Units,
    samples: Sequence[ColumnDataSource],
    axis: Range1d,
    prefix: str = "",
) -> figure:
    """Bars of all scenes, only those of the first visible; a band marks the instant looked at.

    Parameters
    ----------
    scenes : sequence of Scene
        At least one, all of the same instance.
    units : Units
        Of the page.
    samples : sequence of ColumnDataSource
        What `sample_sources` gives, carried along for `page.js`.
    axis : Range1d
        Of time, in the page's unit; all timelines of a page share it.
    prefix : str
        Of the names that `page.js` looks up.
    """
    stages = scenes[0].view.tables.stages
    plot = figure(
        name=f"{prefix}timeline",
        height=min(820, max(230, 110 + 18 * stages)),
        sizing_mode="stretch_width",
        x_range=axis,
        y_range=Range1d(stages - 0.45, -0.55),
        x_axis_label=f"time, {units.time}",
        y_axis_label="stage",
        tools="xpan,xwheel_zoom,xbox_zoom,reset,save",
        active_scroll=None,
        output_backend="canvas",
    )
    plot.toolbar.logo = None
    plot.ygrid.visible = False
    plot.yaxis.ticker = list(range(0, stages, label_step(stages, 32)))
    chunks, waits, transfers = (
        [_renderer(plot, scene, n, kind, prefix) for n, scene in enumerate(scenes)]
        for kind in ("chunks", "waits", "transfers")
    )
    names = CustomJSHover(args={"names": [wait.value for wait in WAITS]}, code="return names[value]")
    direction = CustomJSHover(code='return value == 1 ? "read" : "written"')
    written = {"time": units.time, "size": units.size}
    tips: list[tuple[str, list[GlyphRenderer], dict[str, CustomJSHover]]] = [
        (CHUNK_TIPS, chunks, {}),
        (WAIT_TIPS, waits, {"@kind": names}),
        (TRANSFER_TIPS, transfers, {"@read": direction}),
    ]
    for text, renderers, formatters in tips:
        hover = HoverTool(
            tooltips=text.format(**written),
            renderers=renderers,
            formatters=formatters,
            point_policy="follow_mouse",
            visible=False,
        )
        plot.add_tools(hover)
    plot.add_layout(
        BoxAnnotation(
            name=f"{prefix}now", left=0, right=0, fill_color="#D55E00", fill_alpha=0.25, line_color="#D55E00"
        )
    )
    # Only what a model refers to reaches the page: the callback carries the samples for `page.js`.
    plot.js_on_event("tap", CustomJS(args={"samples": list(samples)}, code="window.mocapSeek(cb_obj.x)"))
    return plot


def _renderer(plot: figure, scene: Scene, number: int, kind: str, prefix: str) -> GlyphRenderer:
    source = ColumnDataSource(getattr(scene, kind))
    look = {
        "source": source,
        "left": "left",
        "right": "right",
        "name": f"{prefix}{kind}-{number}",
        "visible": number == 0,
    }
    if kind == "chunks":
        count = int(scene.chunks["shade"].max()) + 1
        colours = viridis(256)[int(255 * CHUNK_RANGE[0]) : int(255 * CHUNK_RANGE[1])]
        mapper = LinearColorMapper(colours, low=0, high=max(count - 1, 1))
        thin = len(scene.chunks["shade"]) > 2000
        fill = {"field": "shade", "transform": mapper}
        return plot.hbar(
            y="stage", height=0.86, fill_color=fill, line_color=None if thin else "white", **look
        )
    if kind == "waits":
        mapper = LinearColorMapper(
            [ACTIVITY_COLOURS[wait] for wait in WAITS], low=-0.5, high=len(WAITS) - 0.5
        )
        fill = {"field": "kind", "transform": mapper}
        return plot.hbar(y="stage", height=0.34, fill_color=fill, line_color=None, **look)
    mapper = LinearColorMapper([WRITE_COLOUR, READ_COLOUR], low=-0.5, high=1.5)
    fill = {"field": "read", "transform": mapper}
    # A line keeps what is shorter than a pixel visible.
    return plot.hbar(y="y", height=0.18, fill_color=fill, line_color=fill, line_width=1, **look)
