"""What solve does where tokens are chosen among the whole prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mocap_opt.cli.live import follow
from mocap_opt.cli.options import print_json
from mocap_opt.cli.render import console, pairs, titled
from mocap_opt.errors import ExitCode
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import LIMITS, require_supported
from mocap_opt.questions.prompt_selection import PromptSelectionAnswer, prompt_selection
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.solution import TIME_LIMIT_S
from mocap_opt.units import format_chunks, format_percent
from mocap_opt.units import format_seconds_aligned as seconds


def solve_prompt_selection(instance: Instance, as_json: bool, options: Mapping[str, Any]) -> ExitCode:
    """Solve both problems and print them.

    Parameters
    ----------
    instance : Instance
        With ``selection: "prompt"`` in its profile.
    as_json : bool
    options : mapping
        Of the command; those without a meaning here are refused.

    Raises
    ------
    InputError
        Listing every option that cannot be honoured, or as `prompt_selection`.
    """
    require_supported(instance, "prompt_selection", command=True, **options)
    given = {name: options[name] for name in LIMITS & options.keys() if options[name] is not None}
    given.pop("out", None)
    found = follow(
        "two problems in sequence",
        lambda stop, line: prompt_selection(
            instance, **{"time_limit_s": TIME_LIMIT_S, **given}, stop=stop, callback=line.tell
        ),
    )
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    if found.status is Status.INFEASIBLE:
        return ExitCode.INFEASIBLE
    return ExitCode.NO_PLAN if found.status is Status.UNKNOWN else ExitCode.ANSWERED


def _print(found: PromptSelectionAnswer) -> None:
    table = titled("Two problems in sequence")
    for name in ("part", "stages", "tokens", "latency", "bound", "chunks"):
        table.add_column(name, justify="left" if name == "part" else "right")
    first, last = found.parts.stage, found.parts.stage + found.second.tables.stages
    spans = (("before the choice", 0, first), ("behind it", first, last))
    for (name, begin, end), part in zip(spans, (found.first, found.second), strict=True):
        times = [None if value is None else float(value) for value in (part.latency, part.floor)]
        numbers = f"{begin}" if end == begin + 1 else f"{begin}-{end - 1}"
        plan = None if part.best is None else part.best.plan
        chunks = (part.infeasible or "none found") if plan is None else format_chunks(plan.boundaries)
        table.add_row(name, numbers, f"{part.tables.tokens:,}", *map(seconds, times), chunks)
    gap = "-" if found.gap is None else format_percent(found.gap)
    rows: list[tuple[str, Any]] = [
        ("instance", found.instance.name),
        ("status", found.status.value),
        ("both, one after the other", f"{seconds(found.latency_s)}, bound {seconds(found.lower_bound_s)}"),
        ("gap", gap),
    ]
    if found.chunkwise is not None:
        report = found.chunkwise.report
        said = f"{seconds(report.latency_s)}, bound {seconds(report.lower_bound_s)}"
        rows.append(("each chunk choosing among its own", said))
    out = console()
    out.print(table)
    out.print(pairs(rows))
