"""The page: head, pictures, tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from bokeh.embed import components
from bokeh.resources import Resources

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.instance.overrides import fields, plain
from mocap_opt.messages import said_once
from mocap_opt.pictures.html import text
from mocap_opt.pictures.html.panels import (
    LINK_COLOURS,
    PORT_COLOURS,
    memory_panel,
    sample_sources,
    timeline,
    wafer_panel,
)
from mocap_opt.pictures.html.scenes import Scene, make_scenes, page_units
from mocap_opt.pictures.palette import (
    ACTIVITY_COLOURS,
    IDLE_COLOUR,
    LIMIT_COLOUR,
    MEMORY_COLOURS,
    MEMORY_NAMES,
    READ_COLOUR,
    WRITE_COLOUR,
)
from mocap_opt.replay.activity import Activity
from mocap_opt.schedule.instance_summary import overview
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.solving.solution import Solution
from mocap_opt.tables.layout import layout

ABOUT_GAPS = (
    "A gap is ({words} - bound) / {words}; its bound covers every execution of every feasible plan, that of "
    "the lockstep gap the lockstep executions.  The {words} is the smaller of the two executions."
)
ABOUT_GOODPUT = (
    "A gap is (bound - {words}) / bound; the bound is the most weight that leaves in time in any execution "
    "of any feasible plan.  The {words} is the larger of the two executions."
)
ABOUT_STAGES = (
    "Reserve, room and times are those of {whose}; the peak is that of the best plan, slot by slot."
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
{library}
</head>
<body>
{body}
</body>
</html>
"""


def html_report(instance: Instance, answers: Sequence[tuple[str, Solution]]) -> str:
    """Write the page about plans of an instance, whatever its objective.

    Parameters
    ----------
    instance : Instance
    answers : sequence of (str, Solution)
        At least one, in the order of the table, each with its name; the best ones are drawn.

    Returns
    -------
    str
        One HTML document that needs nothing else: no network, no other file.
    """
    name, best = _best(answers)
    whole, instance = instance, _laid_out(instance, answers)
    sections = overview(instance, best.report.boundaries)
    whose = "equal chunks, as many as the instance allows"
    if best.report.boundaries is not None:
        whose = f"the chunks of the best plan, {name}"
    about_dies = " Dies a+b: a compute, b are memory only." if "degree" in sections["stages"][0] else ""
    scenes = make_scenes(answers)
    library, pictures = _pictures(instance, scenes) if scenes else ("", _nothing(answers))
    body = [
        f"<h1>{escape(instance.name)}</h1>",
        f'<p class="muted">{escape(instance.description or "")}</p>',
        f'<p class="muted">fingerprint {escape(instance.fingerprint)}</p>',
        "<h2>Plans and gaps</h2>",
        text.methods_table(answers),
        f'<p class="muted">{_about_gaps(instance)}</p>',
        _notes(answers),
        *_figures(name, best),
        pictures,
        text.chunks_table(answers),
        "<h2>Stages</h2>",
        text.stages_table(sections["stages"], best.report.peak_memory_bytes),
        f'<p class="muted">{escape(ABOUT_STAGES.format(whose=whose))}{about_dies}</p>',
        '<div class="columns"><div><h2>Instance, defaults filled in</h2>',
        text.pairs(fields(whole), "instance"),
        "</div><div><h2>Sizes</h2>",
        text.pairs(text.sizes(sections["sizes"]), "sizes"),
        "<h2>Settings</h2>",
        text.pairs(_settings(answers, instance.fingerprint), "settings"),
        "<h2>Versions</h2>",
        text.pairs(_versions(answers), "versions"),
        "</div></div>",
        _embedded("mocap-reports", [{"name": name, **each.report.to_dict()} for name, each in answers]),
    ]
    title = escape(f"{instance.name} - mocap-opt")
    return PAGE.format(title=title, style=_resource("page.css"), library=library, body="\n".join(body))


def _about_gaps(instance: Instance) -> str:
    """What the gaps of the table are."""
    record = objective_of(instance).record
    return (ABOUT_GOODPUT if record.maximised else ABOUT_GAPS).format(words=record.words)


def _laid_out(instance: Instance, answers: Sequence[tuple[str, Solution]]) -> Instance:
    """The instance with the layout of the plans, if it leaves one open.

    Raises
    ------
    InputError
        If they have different layouts: one wafer and one set of memories is drawn.
    """
    if not instance.pipeline.free:
        return instance
    schedules = [answer.schedule for _, answer in answers if answer.schedule is not None]
    if len({schedule.requests[0].plan.layout for schedule in schedules}) > 1:
        raise InputError(
            [Problem("PLAN", "plans of different layouts", "plans of one", "write one report each")]
        )
    return decided(instance, schedules[0]) if schedules else instance


def _figures(name: str, best: Solution) -> list[str]:
    """What the best plan comes to beside what is minimised, if the objective has such figures."""
    rows = best.report.figure_texts if best.report.value_s is not None else []
    return [f"<h2>The best plan, {escape(name)}</h2>", text.pairs(rows, "figures")] if rows else []


def _pictures(instance: Instance, scenes: Sequence[Scene]) -> tuple[str, str]:
    """What goes into the head, and the section with the pictures."""
    tables = scenes[0].view.tables
    units = page_units(tables, scenes[0].view.latency_s)
    plots = {
        "timeline": timeline(scenes, units, sample_sources(scenes, units)),
        "memory": memory_panel(tables, units),
        "wafer": wafer_panel(layout(instance)),
    }
    script, divs = components(plots)
    # No widgets, tables or formulas: the core library alone, a third smaller.
    library = Resources(mode="inline", components=["bokeh"]).render()
    described = [
        {
            "latency": scene.view.headline,
            "latency_s": scene.view.latency_s,
            "slots": scene.view.execution.value == "lockstep",
            "unit": units.time,
        }
        for scene in scenes
    ]
    options = "".join(
        f'<option value="{n}">{escape(scene.name)}, {escape(scene.view.execution.value)}</option>'
        for n, scene in enumerate(scenes)
    )
    body = f"""<h2>Timeline, memory and wafer</h2>
<div class="controls">
<label>show <select id="scene">{options}</select></label> <span id="scene-latency"></span>
<label for="instant">instant</label><input id="instant" type="range" min="0" value="0" step="1">
<span id="readout" role="status"></span>
</div>
{_timeline_legend(scenes)}
{divs["timeline"]}
<p class="muted">Point at a bar for its times, bytes and waits; tap to move the instant there; drag to scroll;
choose the wheel's tool to zoom.</p>
<div class="panels"><div>{_memory_legend(scenes)}{divs["memory"]}</div>
<div>{_wafer_legend()}{divs["wafer"]}</div></div>
<p class="muted">Memory is that of the slot, or of the fullest moment of the interval; loads are bytes moved
in it over the bytes that could have moved.</p>
{_embedded("mocap-scenes", described)}
{script}
<script>{_resource("page.js")}</script>"""
    return library, body


def _legend(entries: Sequence[tuple[str, str]], before: str = "") -> str:
    parts = [f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in entries]
    return f'<div class="legend">{before}{"".join(parts)}</div>'


def _timeline_legend(scenes: Sequence[Scene]) -> str:
    seen = {interval.activity for scene in scenes for interval in scene.view.intervals}
    entries = [(a.value, c) for a, c in ACTIVITY_COLOURS.items() if a in seen and a is not Activity.COMPUTE]
    if any(scene.view.transfers for scene in scenes):
        entries += [("remote KV read (below)", READ_COLOUR), ("remote KV write (above)", WRITE_COLOUR)]
    gradient = "linear-gradient(90deg,#471365,#2d708e,#1f968b,#9bd93c)"
    what = "chunks" if all(len(scene.view.schedule) == 1 for scene in scenes) else "requests"
    return _legend(
        entries, f'<span><i class="chunks" style="background:{gradient}"></i>{what}, first to last</span>'
    )


def _memory_legend(scenes: Sequence[Scene]) -> str:
    shown = [name for name in MEMORY_COLOURS if any(getattr(s.view.memory, name).any() for s in scenes)]
    entries = [(MEMORY_NAMES[name], MEMORY_COLOURS[name]) for name in shown]
    return _legend([*entries, ("capacity", LIMIT_COLOUR), ("peak of the run (diamond)", "#000000")])


def _wafer_legend() -> str:
    parts = ""
    for name, kind, colours in (("links", "link", LINK_COLOURS), ("ports (dies)", "port", PORT_COLOURS)):
        gradient = f"linear-gradient(90deg,{','.join(colours[::24])})"
        ramp = f'<i class="chunks" style="background:{gradient}"></i>'
        parts += f'<span>load of {name} 0 {ramp}<b id="{kind}-most"></b></span>'
    return _legend([("no traffic", IDLE_COLOUR)], f"{parts}<span>a line per direction, on its right</span>")


def _nothing(answers: Sequence[tuple[str, Solution]]) -> str:
    said = said_once((name, each.report.reason) for name, each in answers if each.report.reason is not None)
    return "<h2>No plan to draw</h2>" + "".join(f"<p>{escape(line)}</p>" for line in said)


def _notes(answers: Sequence[tuple[str, Solution]]) -> str:
    notes = said_once(
        (name, note)
        for name, each in answers
        for note in (each.report.reason, *each.report.violations, *each.report.notes)
        if note is not None
    )
    if not notes:
        return ""
    rows = "".join(f"<li>{escape(note)}</li>" for note in notes)
    count = f"{len(notes)} note{'s' if len(notes) != 1 else ''}"
    return f"<details><summary>{count}</summary><ul>{rows}</ul></details>"


def _best(answers: Sequence[tuple[str, Solution]]) -> tuple[str, Solution]:
    """The best plan with its name; the first answer if none has a plan."""
    sign = -1 if Objective(answers[0][1].report.objective).record.maximised else 1
    known = [
        (sign * each.report.value_s, n)
        for n, (_, each) in enumerate(answers)
        if each.report.value_s is not None
    ]
    return answers[min(known)[1] if known else 0]


def _settings(answers: Sequence[tuple[str, Solution]], fingerprint: str) -> list[tuple[str, str]]:
    """How each method was run; of a given plan, what it was made for and how it was judged."""
    rows = []
    for name, answer in answers:
        rows += [(f"{name}: {key}", plain(value)) for key, value in answer.report.settings.items()]
        if answer.report.method is None:
            made_for = next((each.requests[0].plan.fingerprint for _, each in answer.streams), None)
            origin = "not said" if made_for is None else f"an instance with fingerprint {made_for}"
            rows += [
                (f"{name}: made for", "this instance" if made_for == fingerprint else origin),
                (f"{name}: execution", "the better one, both replayed"),
                (f"{name}: bounds", "those that need no plan"),
            ]
    return rows


def _versions(answers: Sequence[tuple[str, Solution]]) -> list[tuple[str, str]]:
    found: dict[str, Any] = dict(answers[0][1].report.versions)
    return [(name, value or "not installed") for name, value in {**found, "bokeh": version("bokeh")}.items()]


def _embedded(name: str, value: Any) -> str:
    return f'<script type="application/json" id="{name}">{text.script_json(value)}</script>'


def _resource(name: str) -> str:
    return files("mocap_opt.pictures.html").joinpath(name).read_text(encoding="utf-8")
