"""What is drawn of a page: a board per plan that is compared, or one for all, each with its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.embed import components
from bokeh.models import Range1d
from bokeh.palettes import viridis
from bokeh.resources import Resources
from markupsafe import Markup

from mocap_opt.instance import Instance
from mocap_opt.pictures.html.panels import (
    LINK_COLOURS,
    PORT_COLOURS,
    memory_panel,
    sample_sources,
    timeline,
    wafer_panel,
)
from mocap_opt.pictures.html.scenes import Scene, Units, page_units
from mocap_opt.pictures.palette import (
    ACTIVITY_COLOURS,
    CHUNK_RANGE,
    IDLE_COLOUR,
    LIMIT_COLOUR,
    MEMORY_COLOURS,
    MEMORY_NAMES,
    READ_COLOUR,
    WRITE_COLOUR,
)
from mocap_opt.replay.activity import Activity
from mocap_opt.tables.layout import layout


@dataclass(frozen=True)
class Board:
    """A timeline, memories and a wafer that show one plan, or one of several, at the instant looked at.

    Attributes
    ----------
    prefix : str
        Of all its names on the page.
    name : str
    scenes : sequence of Scene
        To choose from.
    divs : mapping
        Where its pictures go: ``timeline``, ``memory``, ``wafer``.
    """

    prefix: str
    name: str
    scenes: Sequence[Scene]
    divs: Mapping[str, Markup]


def drawn(parts: Sequence[tuple[str, Instance, Sequence[Scene]]]) -> dict[str, Any]:
    """Draw boards, and say what templates and `page.js` need of them.

    Parameters
    ----------
    parts : sequence of (str, Instance, sequence of Scene)
        Of each board its name, its instance with a layout, its scenes.
    """
    every = [scene for _, _, scenes in parts for scene in scenes]
    units = page_units(every[0].view.tables, min(scene.view.latency_s for scene in every))
    # One axis of time and one of sizes, so that boards can be compared by eye.
    end = max(float(scenes[0].edges[-1]) for _, _, scenes in parts)
    axis = Range1d(0, end, bounds="auto", name="time-range")
    top = max(float(scene.view.tables.capacity.max()) for scene in every)
    plots = {}
    for n, (_, instance, scenes) in enumerate(parts):
        prefix = _prefix(n)
        plots[f"{prefix}timeline"] = timeline(
            scenes, units, sample_sources(scenes, units, prefix), axis, prefix
        )
        plots[f"{prefix}memory"] = memory_panel(scenes[0].view.tables, units, top, prefix)
        plots[f"{prefix}wafer"] = wafer_panel(layout(instance), prefix)
    script, divs = components(plots)
    boards = [
        Board(
            _prefix(n),
            name,
            scenes,
            {kind: Markup(divs[f"{_prefix(n)}{kind}"]) for kind in ("timeline", "memory", "wafer")},
        )
        for n, (name, _, scenes) in enumerate(parts)
    ]
    return {
        # No widgets, tables or formulas: the core library alone, a third smaller.
        "library": Markup(Resources(mode="inline", components=["bokeh"]).render()),
        "boards": boards,
        "described": [{"prefix": b.prefix, "scenes": _described(b.scenes, units)} for b in boards],
        "plots_script": Markup(script),
        **_legends(every),
    }


def _prefix(number: int) -> str:
    return "" if not number else f"second-{number}-" if number > 1 else "second-"


def _described(scenes: Sequence[Scene], units: Units) -> list[dict[str, Any]]:
    return [
        {
            "latency": scene.view.headline,
            "latency_s": scene.view.latency_s,
            "slots": scene.view.execution.value == "lockstep",
            "unit": units.time,
        }
        for scene in scenes
    ]


def _legends(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Colours and what they stand for."""
    seen = {interval.activity for scene in scenes for interval in scene.view.intervals}
    activities = [
        (c, a.value) for a, c in ACTIVITY_COLOURS.items() if a in seen and a is not Activity.COMPUTE
    ]
    if any(scene.view.transfers for scene in scenes):
        activities += [(READ_COLOUR, "remote KV read (below)"), (WRITE_COLOUR, "remote KV write (above)")]
    held = [name for name in MEMORY_COLOURS if any(getattr(s.view.memory, name).any() for s in scenes)]
    several = any(len(scene.view.schedule) > 1 for scene in scenes)
    first, last = (round(255 * end) for end in CHUNK_RANGE)
    return {
        "chunks_are": "requests" if several else "chunks",
        "chunk_colours": viridis(256)[first:last:32],
        "activities": activities,
        "memory_parts": [
            *((MEMORY_COLOURS[name], MEMORY_NAMES[name]) for name in held),
            (LIMIT_COLOUR, "capacity"),
            ("#000000", "peak of the run (diamond)"),
        ],
        "link_colours": LINK_COLOURS[::24],
        "port_colours": PORT_COLOURS[::24],
        "idle": [(IDLE_COLOUR, "no traffic")],
    }
