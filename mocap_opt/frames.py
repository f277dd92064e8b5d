"""Answers as pandas DataFrames, and plans and variants of instances made of them.

>>> import mocap_opt
>>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
>>> solution = mocap_opt.solve(instance)
>>> mocap_opt.frames.chunks(solution).to_dict("list")
{'start': [0, 2], 'end': [2, 4], 'tokens': [2, 2]}
>>> mocap_opt.frames.plan(instance, mocap_opt.frames.chunks(solution)).boundaries
(0, 2, 4)

Times are seconds, lengths tokens, sizes bytes.  All but `reports` are about one prompt; the answer of a
period or of a stream is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import Objective
from mocap_opt.messages import show
from mocap_opt.pictures.run_view import view_run
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.inputs import as_instance, as_tables
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import plan_from_dict
from mocap_opt.schedule.verify import memory_use
from mocap_opt.solving import Solution
from mocap_opt.solving.report import Report

if TYPE_CHECKING:
    import pandas as pd

    from mocap_opt.instance import Instance
    from mocap_opt.schedule.inputs import GivenInstance, GivenTables


def _frame(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], index: str | None = None
) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - slow to load

    made = pd.DataFrame(list(rows), columns=list(columns))
    return made if index is None else made.set_index(index)


def _prompt(solution: Solution) -> Solution:
    """Refuse the answer of a period or of a stream, whose plan is another kind of thing.

    Raises
    ------
    InputError
        If it is not that of one prompt.
    """
    if solution.report.objective == Objective.LATENCY:
        return solution
    expected = "the answer for one prompt (objective latency)"
    raise InputError([Problem("solution", solution.report.objective, expected, "frames.reports takes it")])


def reports(given: Sequence[Report | Solution]) -> pd.DataFrame:
    """A row per answer with the fields of its report; lists and dicts stay what they are.

    Parameters
    ----------
    given : sequence of Report or Solution
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    plain = [each if isinstance(each, Report) else each.report for each in given]
    return pd.DataFrame([report.to_dict() for report in plain])


def chunks(solution: Solution) -> pd.DataFrame:
    """A row per chunk: ``start``, ``end``, ``tokens``; empty without a plan."""
    solution = _prompt(solution)
    points = () if solution.plan is None else solution.plan.boundaries
    rows = [
        {"chunk": j, "start": start, "end": end, "tokens": end - start}
        for j, (start, end) in enumerate(pairwise(points))
    ]
    return _frame(rows, ("chunk", "start", "end", "tokens"), "chunk")


def homes(solution: Solution) -> pd.DataFrame:
    """A row per piece of KV away from its stage: ``stage``, ``chunk``, ``memory``, ``tokens``, ``bytes``."""
    solution = _prompt(solution)
    tables, plan = solution.tables, solution.plan
    rows = [
        {
            "stage": home.stage,
            "chunk": home.chunk,
            "memory": home.memory,
            "tokens": home.pages * tables.page,
            "bytes": home.pages * int(tables.page_bytes[home.stage]),
        }
        for home in (() if plan is None else plan.homes)
    ]
    return _frame(rows, ("stage", "chunk", "memory", "tokens", "bytes"))


def bounds(solution: Solution) -> pd.DataFrame:
    """A row per lower bound: ``bound_name``, ``lower_bound_s``, its scope, its evidence and a ``note``."""
    solution = _prompt(solution)
    rows = [
        {
            "bound_name": bound.name,
            "lower_bound_s": solution.tables.seconds(bound.ticks),
            "bound_scope": bound.scope.value,
            "bound_evidence": bound.evidence.value,
            "note": bound.note,
        }
        for bound in solution.lower_bounds
    ]
    return _frame(rows, ("bound_name", "lower_bound_s", "bound_scope", "bound_evidence", "note"))


def trials(solution: Solution) -> pd.DataFrame:
    """A row per plan tried: ``source``, ``lockstep_latency_s``, ``event_latency_s``; NaN where unknown."""
    solution = _prompt(solution)
    seconds = solution.tables.seconds
    rows = [
        {
            "source": trial.source,
            "lockstep_latency_s": None if trial.lockstep is None else seconds(trial.lockstep),
            "event_latency_s": None if trial.event is None else seconds(trial.event),
        }
        for trial in solution.trials
    ]
    made = _frame(rows, ("source", "lockstep_latency_s", "event_latency_s"))
    return made.astype({"lockstep_latency_s": float, "event_latency_s": float})


def memory(solution: Solution) -> pd.DataFrame:
    """Bytes in every memory, downwards, in every slot, across; everything included; empty without a plan."""
    import pandas as pd  # noqa: PLC0415 - slow to load

    solution = _prompt(solution)
    used = None if solution.plan is None else memory_use(solution.tables, solution.plan)
    return pd.DataFrame(used).rename_axis(index="memory", columns="slot")


def timeline(solution: Solution, execution: str | None = None) -> pd.DataFrame:
    """A row per interval of a stage's time in one execution of the plan.

    Parameters
    ----------
    solution : Solution
        Of one prompt.
    execution : str, optional
        ``"lockstep"`` or ``"event-driven"``; by default the faster one.

    Returns
    -------
    DataFrame
        ``stage``, ``chunk`` (the one computed, or that the wait delays), ``activity``, ``start_s``,
        ``end_s``; empty without a plan.

    Raises
    ------
    InputError
        If the execution is another one, or the answer that of a period or of a stream.
    """
    columns = ("stage", "chunk", "activity", "start_s", "end_s")
    if execution not in (None, *(str(known) for known in Execution)):
        raise InputError([Problem("execution", show(execution), " or ".join(Execution))])
    solution = _prompt(solution)
    if solution.plan is None:
        return _frame((), columns)
    view = view_run(solution.tables, solution.plan, None if execution is None else Execution(execution))
    rows = [
        {
            "stage": piece.stage,
            "chunk": piece.chunk,
            "activity": piece.activity.value,
            "start_s": solution.tables.seconds(piece.start),
            "end_s": solution.tables.seconds(piece.end),
        }
        for piece in view.intervals
    ]
    return _frame(rows, columns)


def plan(given: GivenTables, chunks: pd.DataFrame, homes: pd.DataFrame | None = None) -> Plan:
    """Make a plan of frames such as `chunks` and `homes` return.

    Parameters
    ----------
    given : Tables, Instance or mapping
        What the plan is for.
    chunks : DataFrame
        With the column ``end`` (tokens), or else ``tokens``, a row per chunk in order.
    homes : DataFrame, optional
        With the columns ``stage``, ``chunk``, ``memory``, ``tokens``.

    Raises
    ------
    InputError
        If columns are missing, or listing everything in them that cannot be a plan of the instance.
    """
    wanted = ("stage", "chunk", "memory", "tokens")
    if "end" in chunks.columns:
        ends = _plain(chunks["end"])
    elif "tokens" in chunks.columns:
        ends = _plain(chunks["tokens"].cumsum())
    else:
        raise InputError([Problem("chunks", show(list(chunks.columns)), 'a column "end" or "tokens"')])
    if homes is not None and (lacking := [name for name in wanted if name not in homes.columns]):
        expected = f"also the columns {', '.join(lacking)}"
        raise InputError([Problem("homes", show(list(homes.columns)), expected)])
    placed = [] if homes is None else list(zip(*(_plain(homes[name]) for name in wanted), strict=True))
    data = {
        "version": 1,
        "kind": "plan",
        "boundaries": [0, *ends],
        "homes": [dict(zip(wanted, row, strict=True)) for row in placed],
    }
    return plan_from_dict(data, as_tables(given))


def _plain(column: pd.Series[Any]) -> list[Any]:
    """Whole floats, which pandas makes of integers beside missing values, as integers."""
    values: list[Any] = column.tolist()
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def _scalar(value: Any) -> Any:
    """A number of numpy's as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def variants(given: GivenInstance, changes: pd.DataFrame | Sequence[Mapping[str, Any]]) -> list[Instance]:
    """Instances that differ from a given one in some fields.

    Parameters
    ----------
    given : Instance or mapping
    changes : DataFrame or sequence of mappings
        A row per variant, a column per dotted path, such as ``workload.batch``; missing values change
        nothing.

    Raises
    ------
    InputError
        Listing every problem of a row, with its number.
    """
    instance = as_instance(given)
    records = changes if isinstance(changes, Sequence) else changes.astype(object).to_dict("records")
    rows: list[Mapping[Any, Any]] = list(records)
    made = []
    for number, row in enumerate(rows):
        values = {str(path): _scalar(value) for path, value in row.items()}
        overrides = [f"{path}={json.dumps(v)}" for path, v in values.items() if v is not None and v == v]
        try:
            made.append(instance.replace(*overrides))
        except InputError as error:
            raise InputError(
                [Problem(f"row {number}: {p.path}", p.found, p.expected, p.remedy) for p in error.problems]
            ) from None
    return made
