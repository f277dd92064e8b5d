"""An answer in plain words: what it comes to, how much better is possible, what proves it.

Every figure is one of the report, and none is said to be better than it is: what could be saved at most is
rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mocap_opt.bounds.plain_words import plain_words
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective
from mocap_opt.lower_bound import Evidence, Scope
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.method_words import method_words
from mocap_opt.solving.report import Report
from mocap_opt.solving.solution import Solution
from mocap_opt.units import format_percent, format_seconds

BETTER = {
    Objective.LATENCY: "is faster",
    Objective.PERIOD: "lets prompts follow each other more closely",
    Objective.STREAM: "has the last request out earlier",
    Objective.MEAN_COMPLETION: "is faster on average",
    Objective.GOODPUT: "lets more leave in time",
}
"""What a better plan would do, after "nothing"."""


@dataclass(frozen=True)
class Facts:
    """An answer in plain words.

    Attributes
    ----------
    first : str
        What it comes to and how much better is possible, in a sentence or two.
    proof : tuple of str
        What proves that, with the internal name in brackets.
    found : str or None
        How the plan was found.
    """

    first: str
    proof: tuple[str, ...] = ()
    found: str | None = None


def facts(instance: Instance, answer: Solution) -> Facts:
    """Say an answer in plain words.

    Parameters
    ----------
    instance : Instance
        What was asked.
    answer : Solution
    """
    report = answer.report
    if report.value_s is None:
        return Facts(_without(report))
    said = [f"{_value(instance, report)}; {_certificate(instance, report)}"]
    full = _fullest(answer)
    if full is not None:
        said.append(f"memory {full} full")
    saves = report.figures.get("refinement_saves")
    if saves is not None:
        said.append(f"a finer grid with more chunks could save at most {at_most(saves)}")
    return Facts("; ".join(said) + ".", tuple(_proof(report)), _found(report))


def at_most(part: float) -> str:
    """A part of a whole, rounded up to hundredths of a percent: what it is at most."""
    return format_percent(math.ceil(max(part, 0.0) * 1e4 - 1e-6) / 1e4)


def _without(report: Report) -> str:
    if report.violations:
        more = len(report.violations) - 1
        others = f", and {more} more" if more else ""
        return f"This plan cannot run: {report.violations[0].rstrip('.')}{others}."
    reason = "" if report.reason is None else f": {report.reason.rstrip('.')}"
    if report.status is Status.INFEASIBLE:
        return f"No plan can exist for this instance{reason}."
    return f"No plan was found{reason}."


def _value(instance: Instance, report: Report) -> str:
    """What is minimised, with what it is."""
    objective, figures = Objective(report.objective), report.figures
    text, requests = objective.record.text(report.value_s), len(instance.workload.requests)
    if objective is Objective.GOODPUT:
        return f"{text} of a weight of {figures['weight']:,.0f} leaves in time"
    if objective is Objective.PERIOD:
        rate = figures.get("requests_per_s")
        often = "" if rate is None else f", {rate:.3g} per second"
        return f"A prompt every {text}, without end{often}"
    if objective is Objective.STREAM:
        return f"{text} until the last of {_requests(requests)} has left"
    if objective is Objective.MEAN_COMPLETION:
        return f"{text} from release to having left, on average over {_requests(requests)}"
    return f"{text} to the first token"


def _requests(count: int) -> str:
    return f"{count} request{'s' if count != 1 else ''}"


def _certificate(instance: Instance, report: Report) -> str:
    """How much better is possible."""
    objective = Objective(report.objective)
    where = _where(instance, report)
    if report.gap is None:
        return "how much better is possible is not known"
    if report.bound_evidence == Evidence.SOLVER_UNCONFIRMED.value:
        return f"at most {at_most(report.gap)} better by a solver's word, which is no proof"
    if report.status is Status.OPTIMAL:
        margin = f" by more than {at_most(report.gap)}" if report.gap > 0 else ""
        return f"nothing that {where} {BETTER[objective]}{margin}"
    if objective.record.maximised:
        most = objective.record.text(report.figures["upper_bound"])
        return f"nothing that {where} lets more than {most} leave in time"
    least = format_seconds(report.lower_bound_s or 0.0)
    return f"at most {at_most(report.gap)} could be saved, nothing that {where} takes less than {least}"


def _where(instance: Instance, report: Report) -> str:
    """What a bound covers, after "nothing that"."""
    over_layouts = instance.pipeline.free and "layouts" in report.figures
    covered = "this wafer and grid allow" if over_layouts else "this wafer, layout and grid allow"
    return f"{covered} in lockstep" if report.bound_scope == Scope.LOCKSTEP.value else covered


def _fullest(answer: Solution) -> str | None:
    """How full the fullest memory gets."""
    peaks, sizes = answer.report.peak_memory_bytes, answer.tables.capacity.tolist()
    if not peaks or len(peaks) != len(sizes):
        return None
    part = max(used / max(size, 1) for used, size in zip(peaks, sizes, strict=True))
    return format_percent(part, 0 if part < 0.99 else 2)


def _proof(report: Report) -> list[str]:
    """What proves the bound, and what it leaves out."""
    if report.bound_name is None or report.gap is None:
        return []
    record = Objective(report.objective).record
    known = plain_words(report.bound_name)
    computed = "" if report.bound_evidence is None else f", computed {Evidence(report.bound_evidence).words}"
    if record.maximised:
        limit = f"No plan lets more than {record.text(report.figures['upper_bound'])} leave in time"
    else:
        limit = f"No plan takes less than {format_seconds(report.lower_bound_s or 0.0)}"
    said = [f"{limit}: {known.words}{computed} ({report.bound_name})."]
    if report.status is not Status.OPTIMAL or report.gap > 0:
        said.append(f"What that leaves out: {known.leaves_out}.")
    if report.bound_scope is not None:
        said.append(f"It covers {report.bound_scope}.")
    layouts = report.figures.get("layouts")
    if layouts and "covers" in layouts:
        said.append(f"Layouts: {layouts['covers']}.")
    return said


def _found(report: Report) -> str | None:
    """How the plan was found."""
    source = report.found_by or report.method
    if source is None:
        return None
    first, *rest = source.split(" + ")
    words = method_words(first)
    said = f"{words} ({first})" if words is not None else first
    return ", then ".join([said, *rest])
