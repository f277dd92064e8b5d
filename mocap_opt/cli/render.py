"""Answers as text for people: tables that fit 80 columns, colour only on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mocap_opt.bounds import best
from mocap_opt.cli.fitting_table import FittingTable
from mocap_opt.cli.text_gantt import text_gantt
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective
from mocap_opt.instance.overrides import fields
from mocap_opt.messages import said_once
from mocap_opt.pictures.run_view import RunView
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.instance_summary import dies_text
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import Solution, wanted_execution
from mocap_opt.solving.report import Report, covering, relative_gap
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import decimal_bytes, format_chunks, format_percent
from mocap_opt.units import format_seconds_aligned as seconds

WIDEST_GANTT = 160


def console(stream: TextIO | None = None) -> Console:
    """A console that never guesses: no highlighting, no markup in texts from files."""
    return _Console(file=stream, highlight=False, markup=False, soft_wrap=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Where the reader of the output has gone, `main` says how the command ends.
        raise BrokenPipeError


def titled(title: str) -> Table:
    """An empty table under a title."""
    return FittingTable(title)


def pairs(rows: Sequence[tuple[str, str]]) -> Table:
    """Two columns, a name and what it is."""
    table = FittingTable(show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def bound_text(value: float | None, name: str | None, evidence: str | None) -> str:
    """A bound with what it is called and what it rests on.

    Parameters
    ----------
    value : float or None
        Seconds.
    name, evidence : str or None
        As in reports.
    """
    return "-" if value is None else f"{seconds(value)}  ({name}, {evidence})"


def report_rows(report: Report, tables: Tables) -> list[tuple[str, str]]:
    """The rows of one answer.

    Parameters
    ----------
    report : Report
    tables : Tables
        Of its instance.
    """
    rows = [("instance", f"{report.instance}  [{report.fingerprint}]")]
    if report.method is not None:
        rows.append(("method", f"{report.method}" + (f", solver {report.solver}" if report.solver else "")))
    rows.append(("status", report.status_text))
    if report.reason:
        rows.append(("reason", report.reason))
    rows.extend(("breaks", each) for each in report.violations)
    return [*rows, *_value_rows(report), *_plan_rows(report, tables), *_run_rows(report)]


def _value_rows(report: Report) -> Iterator[tuple[str, str]]:
    """What is minimised with its bounds and gaps, and the objective's other figures."""
    record = Objective(report.objective).record
    if report.value_s is not None:
        by = f", by {report.found_by})" if report.found_by else ")"
        yield record.words, f"{record.text(report.value_s, aligned=True)}  ({report.execution}{by}"
        yield "  lockstep", record.text(report.lockstep_value_s, aligned=True)
        unsteady = report.event_value_s is None
        yield (
            "  event-driven",
            "not proved to repeat" if unsteady else record.text(report.event_value_s, aligned=True),
        )
    if record.maximised:
        most = report.figures["upper_bound"]
        proof = f"  ({report.bound_name}, {report.bound_evidence})" if most is not None else ""
        yield "upper bound", f"{record.text(most, aligned=True)} of {report.figures['weight']}{proof}"
        yield "gap", format_percent(report.gap)
        yield from report.figure_texts
        return
    if report.lower_bound_s is not None or report.value_s is not None:
        yield "lower bound", bound_text(report.lower_bound_s, report.bound_name, report.bound_evidence)
        yield "gap", format_percent(report.gap)
        lockstep = report.lockstep_bound_s, report.lockstep_bound_name, report.lockstep_bound_evidence
        yield "lockstep bound", bound_text(*lockstep)
        yield "lockstep gap", format_percent(report.lockstep_gap)
    yield from report.figure_texts


def _plan_rows(report: Report, tables: Tables) -> Iterator[tuple[str, str]]:
    if report.boundaries is not None:
        chunks = len(report.boundaries) - 1
        yield f"{chunks} chunk{'s' if chunks != 1 else ''}", format_chunks(report.boundaries)
    if report.homes is not None:
        moved = sum(home["tokens"] for home in report.homes)
        text = f"{moved} token positions in {len(report.homes)} places" if report.homes else "none"
        yield "KV away from home", text
    if report.peak_memory_bytes is not None:
        capacity = tables.capacity.tolist()
        fill = [used / max(size, 1) for used, size in zip(report.peak_memory_bytes, capacity, strict=True)]
        peak = fill.index(max(fill))
        used, share = report.peak_memory_bytes[peak], format_percent(fill[peak])
        text = (
            f"{tables.memory_name(peak)}: {decimal_bytes(used)} of {decimal_bytes(capacity[peak])} ({share})"
        )
        yield "fullest memory", text


def _run_rows(report: Report) -> Iterator[tuple[str, str]]:
    apart = f"building {report.build_s:.2f}, in solvers {report.solve_s:.2f}"
    yield "time", f"{report.runtime_s:.2f} s ({apart})"
    for run in report.programs:
        size = "" if run.nonzeros is None else f", {run.nonzeros:,} non-zeros"
        if run.nonzeros is not None and run.arcs is not None:
            size = f", {run.arcs:,} of {run.all_arcs:,} chunks, {run.columns:,} columns, {run.rows:,} rows"
        times = f"built in {run.build_s:.2f} s, {run.solve_s:.2f} s in {run.solver}{size}"
        if run.confirmed_by is not None:
            times += f", confirmed by {run.confirmed_by}"
        yield "  " + run.program, times
    for note in report.notes:
        yield "note", note


def trial_table(solution: Solution) -> Table:
    """The plans tried, each with its gap to the final bound."""
    tables, execution = solution.tables, wanted_execution(solution.report.settings["execution"])
    headline = best(solution.lower_bounds, covering(execution))
    reasons = {row["method"]: row["reason"] for row in solution.report.figures.get("methods", ())}
    table = titled("Plans tried")
    for header in ("method", "lockstep", "event-driven", "gap"):
        table.add_column(header, justify="left" if header == "method" else "right")
    for trial in solution.trials:
        if trial.latency is None:
            table.add_row(Text(trial.source), reasons.get(trial.source) or Status.UNKNOWN.words, "-", "-")
            continue
        both = (None if ticks is None else tables.seconds(ticks) for ticks in (trial.lockstep, trial.event))
        judged = trial.lockstep if execution is Execution.LOCKSTEP else trial.latency
        lockstep, event = (seconds(value) for value in both)
        if trial.event is None:
            # It would have been no better than the best plan then, and its gap is not known.
            event, judged = "ruled out", trial.lockstep if execution is Execution.LOCKSTEP else None
        gap = "-" if judged is None else format_percent(relative_gap(judged, headline))
        table.add_row(Text(trial.source), lockstep, event, gap)
    return table


def print_steps(report: Report) -> None:
    """Print what every step cost and gained; those that did not run with the reason."""
    if not report.steps:
        return
    table = titled("Steps")
    for header in ("step", "runs", "allowed", "took", "latency", "bound"):
        table.add_column(header, justify="left" if header == "step" else "right", no_wrap=header == "step")
    skipped: dict[str, list[str]] = {}
    for run in report.steps:
        if run.skipped is not None:
            skipped.setdefault(run.skipped, []).append(run.step)
            continue
        table.add_row(
            Text(run.step),
            str(run.runs),
            "-" if run.allowed_s is None else f"{run.allowed_s:.2f} s",
            f"{run.cost_s:.2f} s",
            change(run.latency_before_s, run.latency_after_s, run.latency_gain_s),
            change(run.bound_before_s, run.bound_after_s, run.bound_gain_s),
        )
    out = console()
    out.print(table)
    for reason, names in skipped.items():
        out.print(Text(f"not run, {reason}: {', '.join(names)}"))
    for run in report.steps:
        if run.note:
            out.print(Text(f"{run.step}: {run.note}"))
    out.print()


def change(before: float | None, after: float | None, gain: float) -> str:
    """By how much a step moved a value, as a part of what it became.

    Parameters
    ----------
    before, after : float or None
        The value, seconds; None where there was none.
    gain : float
        What the step's own runs moved it by, seconds.
    """
    if after is None or (gain == 0 and before is not None):
        return "-"
    if before is None:
        return seconds(after)
    return f"{100 * gain / after:+.2f} %"


def print_solution(solution: Solution) -> None:
    """Print one answer, with the methods that were tried on the way."""
    out = console()
    if len(solution.trials) > 1:
        out.print(trial_table(solution))
        out.print()
    out.print(pairs(report_rows(solution.report, solution.tables)))


def print_gantt(view: RunView) -> None:
    """Print a schedule as a chart in letters, as wide as the terminal but readable."""
    out = console()
    out.print()
    for line in text_gantt(view, min(out.width, WIDEST_GANTT)):
        out.print(Text(line), no_wrap=True)


def print_comparison(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table of methods per instance."""
    out = console()
    for name in dict.fromkeys(row["instance"] for row in rows):
        table, here = titled(name), [row for row in rows if row["instance"] == name]
        figure = Objective(here[0]["objective"]).record
        bound = "upper bound" if figure.maximised else "lower bound"
        for header in ("method", figure.words, "lockstep", "event-driven", bound, "gap", "time"):
            table.add_column(header, justify="left" if header == "method" else "right")
        flagged = False
        for row in here:
            flag = " *" if row.get("event_exceeds_lockstep") and not figure.maximised else ""
            value, lockstep, event = (row[name] for name in figure.fields)
            flagged = flagged or bool(flag)
            table.add_row(
                Text(row["method"]),
                Status(row["status"]).words if value is None else figure.text(value, aligned=True),
                figure.text(lockstep, aligned=True),
                figure.text(event, aligned=True) + flag,
                figure.text(row["upper_bound" if figure.maximised else "lower_bound_s"], aligned=True),
                format_percent(row["gap"]),
                f"{row['runtime_s']:.1f} s",
            )
        out.print(table)
        if flagged:
            out.print("* slower without barriers than in lockstep")
        for line in said_once((row["method"], row["reason"]) for row in here if row["reason"]):
            out.print(Text(line))
        out.print()


def print_bounds(
    name: str,
    rows: Sequence[dict[str, Any]],
    reason: str | None,
    notes: Sequence[str] = (),
    refined: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Print bounds, weakest first, or why the instance is infeasible.

    Parameters
    ----------
    name : str
        Of the instance.
    rows : sequence of mapping
        As `bound --json` prints them.
    reason : str or None
        Why the instance is infeasible; None if that is not proved.
    notes : sequence of str
    refined : mapping
        What `bound --json` says of finer grids; empty where there is nothing to say.
    """
    out = console()
    if reason is not None:
        out.print(Text(f"{name} is infeasible: {reason}"))
        return
    table = titled(name)
    for header in ("bound", "value", "covers", "evidence"):
        table.add_column(header, justify="right" if header == "value" else "left")
    for row in rows:
        table.add_row(
            Text(row["bound_name"]),
            f"{row['upper_bound']:,}" if "upper_bound" in row else seconds(row["lower_bound_s"]),
            row["bound_scope"],
            row["bound_evidence"],
        )
    out.print(table)
    if refined:
        value, unknown = refined["refinement_bound_s"], refined["refinement_unknown"]
        known = f"at least {seconds(value)}" if unknown is None else f"not known: {unknown}"
        out.print(Text(f"on any finer grid, in any number of chunks: {known}"))
    for note in notes:
        out.print(Text(f"note  {note}"))


def print_overview(instance: Instance, sections: dict[str, Any]) -> None:
    """Print an instance with every default, and where its memory and time go.

    Parameters
    ----------
    instance : Instance
    sections : dict
        As `mocap_opt.schedule.instance_summary.overview` returns them.
    """
    out = console()
    out.print(Text(str(instance)), style="bold")
    out.print(pairs(fields(instance)))
    for note in sections.get("notes", ()):
        out.print(Text(f"note  {note}"))
    out.print()
    if "open" in sections:
        out.print(pairs(_open_rows(sections["open"])))
        return
    memory = titled("Memory")
    for header in (
        "stage",
        "layers",
        "dies",
        "memory",
        "weights",
        "reserve",
        "prefix",
        "room",
        "request's KV",
    ):
        memory.add_column(header, justify="right")
    work = titled("Time")
    for header in ("stage", "total", "compute", "per-chunk costs", "sends", "memory-bound chunks"):
        work.add_column(header, justify="right")
    for row in sections["stages"]:
        sizes = ("memory", "weight", "reserve", "prefix", "kv_room", "kv")
        memory.add_row(
            str(row["stage"]),
            str(row["layers"]),
            dies_text(row),
            *(decimal_bytes(row[f"{s}_bytes"]) for s in sizes),
        )
        times = ("work_s", "compute_s", "chunk_costs_s", "send_s")
        work.add_row(str(row["stage"]), *(seconds(row[t]) for t in times), str(row["memory_bound_chunks"]))
    out.print(memory)
    for row in sections.get("pools", ()):
        size, left = decimal_bytes(row["memory_bytes"]), decimal_bytes(row["kv_room_bytes"])
        dies = f"{len(row['dies'])} dies, " if row["dies"] else ""
        out.print(f"{row['name']}: {dies}{size}, of which {left} for KV of any stage")
    if any("degree" in row for row in sections["stages"]):
        out.print("dies a+b: a compute, b are memory only")
    pressure = sections["memory_pressure"]
    if pressure is not None:
        out.print(f"the request's KV is {format_percent(pressure)} of the room for it, all stages together")
    if sections["unused_dies"]:
        out.print(f"dies without a stage: {sections['unused_dies']}")
    out.print()
    out.print(work)
    sizes = sections["sizes"]
    chunks = (
        "equal chunks of {equal_chunk_tokens}"
        if "equal_chunk_tokens" in sizes
        else ("the plan's chunks, the longest of {longest_chunk_tokens}")
    )
    out.print(f"with {chunks.format_map(sizes)} tokens")


def _open_rows(left: dict[str, Any]) -> list[tuple[str, str]]:
    """What is left to be decided, as a table of two columns."""
    counts = left["stages"]
    listed = f"{counts[0]} to {counts[-1]}" if len(counts) > 3 else " or ".join(map(str, counts))
    return [
        ("to be decided", ", ".join(f"pipeline.{name}" for name in left["fields"])),
        ("numbers of stages", listed),
        ("degrees", " ".join(map(str, left["degrees"]))),
        ("living dies", str(left["living_dies"])),
    ]
