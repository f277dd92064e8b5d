"""The page: what its templates are filled with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.instance.overrides import fields, plain
from mocap_opt.messages import said_once
from mocap_opt.pictures.html import text
from mocap_opt.pictures.html.boards import drawn
from mocap_opt.pictures.html.differences import Side, differences, saves, verdict
from mocap_opt.pictures.html.scenes import Scene, make_scenes
from mocap_opt.pictures.sentences import facts
from mocap_opt.schedule.instance_summary import overview
from mocap_opt.schedule.plan_layout import decided
from mocap_opt.solving.method_words import method_words
from mocap_opt.solving.solution import Solution
from mocap_opt.units import format_chunks, format_percent

Answers = Sequence[tuple[str, Solution]]

ABOUT_GAPS = (
    "A gap is ({words} - bound) / {words}; its bound covers every execution of every feasible plan, that of "
    "the lockstep gap the lockstep executions.  The {words} is the smaller of the two executions."
)
ABOUT_GOODPUT = (
    "A gap is (bound - {words}) / bound; the bound is the most weight that leaves in time in any execution "
    "of any feasible plan.  The {words} is the larger of the two executions."
)
ABOUT_STAGES = "Reserve, room and times are those of {whose}; the peak is that of the plan, slot by slot."
ABOUT_DIES = "  Dies a+b: a compute, b are memory only."


def html_report(instance: Instance, answers: Answers, rules: Answers = ()) -> str:
    """Write the page about plans of an instance, whatever its objective.

    Two plans are set side by side, whatever their layouts; of more the best is drawn first, and others can
    be chosen.

    Parameters
    ----------
    instance : Instance
    answers : sequence of (str, Solution)
        At least one, in the order of the table, each with its name.
    rules : sequence of (str, Solution)
        What rules of engines give, for a table of their own.

    Returns
    -------
    str
        One HTML document that needs nothing else: no network, no other file.

    Raises
    ------
    InputError
        If more than two plans have different layouts.
    """
    best = _best(answers)
    scenes = make_scenes(answers)
    sides = [
        Side(name, _laid_out(instance, answer), answer, [scene for scene in scenes if scene.answer == n])
        for n, (name, answer) in enumerate(answers)
    ]
    drawn_sides = [side for side in sides if side.scenes]
    compared = len(answers) == 2 and len(drawn_sides) == 2
    if not compared:
        _require_one_layout(instance, answers)
    overviews = [overview(side.instance, side.answer.report.boundaries) for side in sides]
    pictures = _pictures(sides, best, scenes, compared)
    staged = [n for n in range(len(sides)) if compared and _layouts(instance, answers) > 1] or [best]
    name, answer = answers[best]
    context = {
        "instance": instance,
        "style": Markup(_resource("page.css")),
        "script": Markup(_resource("page.js")),
        "summary": [
            {"name": side.name, "facts": facts(instance, side.answer)}
            for side in _told(sides, best, compared)
        ],
        "verdict": verdict(*sides) if compared else "",
        "differences": differences(sides[0], sides[1], [o["stages"] for o in overviews])
        if compared
        else None,
        "methods": text.methods_table(answers),
        "about_gaps": _about_gaps(instance),
        "names": _names(answers),
        "notes": _notes(answers),
        "rules": _rules_table(rules, answer) if rules else None,
        "chunks": text.chunks_table(answers),
        "best": name,
        "figures": _figures(answer),
        "why_none": _why_none(answers),
        "stages": [
            _stages(sides[n], overviews[n], "stages" if n == staged[0] else f"stages-{n}") for n in staged
        ],
        "fields": text.pairs(fields(instance), "instance"),
        "sizes": text.pairs(text.sizes(overviews[best]["sizes"]), "sizes"),
        "settings": text.pairs(_settings(answers, instance.fingerprint), "settings"),
        "versions": text.pairs(_versions(answers), "versions"),
        "reports": [{"name": name, **each.report.to_dict()} for name, each in answers],
        **pictures,
    }
    return _environment().get_template("page.html").render(context)


def _environment() -> Environment:
    """Templates of this package; every text is escaped but for what is marked as markup in Python."""
    made = Environment(
        loader=PackageLoader("mocap_opt.pictures.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters["plain_json"] = lambda value: json.dumps(value, allow_nan=False)
    made.filters["script_json"] = lambda value: Markup(text.script_json(value))
    return made


def _pictures(sides: Sequence[Side], best: int, scenes: Sequence[Scene], compared: bool) -> dict[str, Any]:
    """What is drawn: a board for each of two plans, or one to choose from."""
    if not scenes:
        return {"library": "", "boards": [], "described": []}
    if compared:
        return drawn([(side.name, side.instance, side.scenes) for side in sides])
    return drawn([(sides[best].name, sides[best].instance, scenes)])


def _told(sides: Sequence[Side], best: int, compared: bool) -> Sequence[Side]:
    return sides if compared else [sides[best]]


def _stages(side: Side, sections: dict[str, Any], name: str) -> dict[str, Any]:
    """The table of stages of a plan, and what it shows."""
    report = side.answer.report
    whose = "equal chunks, as many as the instance allows"
    if report.boundaries is not None:
        whose = f"the chunks of the plan, {side.name}"
    about = ABOUT_STAGES.format(whose=whose) + (ABOUT_DIES if "degree" in sections["stages"][0] else "")
    grid = text.stages_table(sections["stages"], report.peak_memory_bytes, name)
    return {"name": side.name, "table": grid, "about": about}


def _about_gaps(instance: Instance) -> str:
    """What the gaps of the table are."""
    record = objective_of(instance).record
    return (ABOUT_GOODPUT if record.maximised else ABOUT_GAPS).format(words=record.words)


def _laid_out(instance: Instance, answer: Solution) -> Instance:
    """The instance with the layout of an answer's plan, if it leaves one open."""
    free = instance.pipeline.free and answer.schedule is not None
    return decided(instance, answer.schedule) if free else instance


def _layouts(instance: Instance, answers: Answers) -> int:
    """How many different layouts the plans have."""
    if not instance.pipeline.free:
        return 1
    schedules = [answer.schedule for _, answer in answers if answer.schedule is not None]
    return len({schedule.requests[0].plan.layout for schedule in schedules})


def _require_one_layout(instance: Instance, answers: Answers) -> None:
    if _layouts(instance, answers) > 1:
        remedy = "set two of them side by side at a time"
        raise InputError(
            [
                Problem(
                    "PLAN", f"{len(answers)} plans of different layouts", "plans of one, or two plans", remedy
                )
            ]
        )


def _figures(best: Solution) -> text.Grid | None:
    """What the best plan comes to beside what is minimised, if the objective has such figures."""
    rows = best.report.figure_texts if best.report.value_s is not None else []
    return text.pairs(rows, "figures") if rows else None


def _names(answers: Answers) -> text.Grid | None:
    """The methods of the page, and steps and methods that found its plans, in plain words."""
    used = [each.report.method for _, each in answers]
    used += [part for _, each in answers for part in (each.report.found_by or "").split(" + ")]
    known = {name: words for name in used if name and (words := method_words(name)) is not None}
    return text.pairs(known.items(), "names") if known else None


def _rules_table(rules: Answers, best: Solution) -> text.Grid:
    """What each engine's rule comes to against the best plan and the bound."""
    rows = []
    bound = best.report.lower_bound_s
    for name, answer in rules:
        report, took = answer.report, answer.report.value_s
        gap = None if took is None or bound is None else 1 - bound / took
        setting = next((note.partition(": ")[2] for note in report.notes if note.startswith(name)), "-")
        chunks = report.reason or "-" if report.boundaries is None else format_chunks(report.boundaries)
        record = Objective(report.objective).record
        rows.append(
            (
                ("name", name, name),
                ("words", method_words(name) or "-", None),
                (record.fields[0], record.text(took, aligned=True), took),
                ("gap", format_percent(gap), gap),
                ("saves", saves(answer, best), None),
                ("setting", setting, None),
                ("lengths", chunks, report.boundaries),
            )
        )
    headers = ("rule", False), ("what it is", False), ("latency", True), ("gap", True)
    more = ("the best plan saves", True), ("setting", False), ("chunks, tokens", False)
    return text.table([*headers, *more], rows, "rules")


def _why_none(answers: Answers) -> list[str]:
    return said_once((name, each.report.reason) for name, each in answers if each.report.reason is not None)


def _notes(answers: Answers) -> list[str]:
    return said_once(
        (name, note)
        for name, each in answers
        for note in (each.report.reason, *each.report.violations, *each.report.notes)
        if note is not None
    )


def _best(answers: Answers) -> int:
    """The number of the best plan; the first answer's if none has a plan."""
    sign = -1 if Objective(answers[0][1].report.objective).record.maximised else 1
    known = [
        (sign * each.report.value_s, n)
        for n, (_, each) in enumerate(answers)
        if each.report.value_s is not None
    ]
    return min(known)[1] if known else 0


def _settings(answers: Answers, fingerprint: str) -> list[tuple[str, str]]:
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


def _versions(answers: Answers) -> list[tuple[str, str]]:
    found: dict[str, Any] = dict(answers[0][1].report.versions)
    return [(name, value or "not installed") for name, value in {**found, "bokeh": version("bokeh")}.items()]


def _resource(name: str) -> str:
    return files("mocap_opt.pictures.html").joinpath(name).read_text(encoding="utf-8")
