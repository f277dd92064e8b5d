"""The interactive timeline of the page."""

from __future__ import annotations

from collections.abc import Sequence

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
from bokeh.palettes import viridis
from bokeh.plotting import figure

from mocap_opt.pictures.html.scenes import Scene, Units
from mocap_opt.pictures.palette import ACTIVITY_COLOURS, CHUNK_RANGE, READ_COLOUR, WRITE_COLOUR, label_step
from mocap_opt.replay.activity import WAITS

CHUNK_TIPS = """
<b>stage @stage, chunk @chunk</b>: tokens @first to @last<br>
starts @left{{0.000000}} {time}, computed @right{{0.000000}}, ends @end{{0.000000}}<br>
before it: @before<br>after computing: @after<br>
remote KV read: @read{{0.000}} {size}, written: @written{{0.000}} {size}
"""
WAIT_TIPS = """
<b>stage @stage, @kind{{custom}}</b> (chunk @chunk)<br>
@left{{0.000000}} to @right{{0.000000}} {time}: @length{{0.000000}} {time}<br>limited by: @cause
"""
TRANSFER_TIPS = """
<b>stage @stage, chunk @chunk</b>: remote KV @read{{custom}}<br>
@size{{0.000}} {size}, memories @memories<br>@left{{0.000000}} to @right{{0.000000}} {time}
"""


def timeline(scenes: Sequence[Scene], units: Units, samples: Sequence[ColumnDataSource]) -> figure:
    """Bars of all scenes, only those of the first visible; a band marks the instant looked at."""
    stages = scenes[0].view.tables.stages
    plot = figure(
        name="timeline",
        height=min(820, max(230, 110 + 18 * stages)),
        sizing_mode="stretch_width",
        x_range=Range1d(0, float(scenes[0].edges[-1]), bounds="auto", name="time-range"),
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
        [_renderer(plot, scene, n, kind) for n, scene in enumerate(scenes)]
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
            name="now", left=0, right=0, fill_color="#D55E00", fill_alpha=0.25, line_color="#D55E00"
        )
    )
    # Only what a model refers to reaches the page: the callback carries the samples for `page.js`.
    plot.js_on_event("tap", CustomJS(args={"samples": list(samples)}, code="window.mocapSeek(cb_obj.x)"))
    return plot


def _renderer(plot: figure, scene: Scene, number: int, kind: str) -> GlyphRenderer:
    source = ColumnDataSource(getattr(scene, kind))
    look = {
        "source": source,
        "left": "left",
        "right": "right",
        "name": f"{kind}-{number}",
        "visible": number == 0,
    }
    if kind == "chunks":
        count = scene.view.plan.chunks
        colours = viridis(256)[int(255 * CHUNK_RANGE[0]) : int(255 * CHUNK_RANGE[1])]
        mapper = LinearColorMapper(colours, low=0, high=max(count - 1, 1))
        thin = scene.view.tables.stages * count > 2000
        fill = {"field": "chunk", "transform": mapper}
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
