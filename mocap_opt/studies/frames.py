"""Finished runs as tables: pandas, CSV, Parquet, Markdown, LaTeX."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import shown_path, write_bytes_atomically, write_text_atomically
from mocap_opt.optional_dependencies import require
from mocap_opt.studies.driver import held_outcomes
from mocap_opt.studies.execution import FAILED, Outcome
from mocap_opt.studies.schema import SUFFIX, load_study
from mocap_opt.studies.store import read_outcomes
from mocap_opt.studies.tasks import tasks_of
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

FIRST = (
    "instance",
    "variant",
    "kind",
    "method",
    "solver",
    "seed",
    "time_limit_s",
    "outcome",
    "status",
    "latency_s",
    "lower_bound_s",
    "gap",
    "runtime_s",
    "reason",
)
"""Columns that come first, in this order."""

TIMING = ("runtime_s", "build_s", "solve_s")
"""Columns of wall time, which no two runs share."""

NESTED = ("variant", "boundaries", "homes", "peak_memory_bytes", "notes", "versions")
"""Columns that hold lists or objects; in CSV and Parquet they are JSON."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: "\\" + char for char in "&%$#_{}"},
}
_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")

PERCENT_COLUMNS = frozenset({"median_gap", "worst_gap"})

_ORDER = ("instance", "fingerprint", "method", "solver", "time_limit_s", "seed")


def outcomes(path: str | os.PathLike[str]) -> list[Outcome]:
    """Finished runs, in an order that does not depend on when they finished.

    Parameters
    ----------
    path : path
        A study file: its own runs with the versions installed, in its order.  Or a results file:
        all it holds.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if PurePath(path).suffix.lower() != SUFFIX:
        return sorted(read_outcomes(path), key=lambda o: (*(str(o.row[name]) for name in _ORDER), o.key))
    file = load_study(path)
    return held_outcomes(tasks_of(file), file.results_path)


def results(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Finished runs of a study as a DataFrame, a row each.

    Parameters
    ----------
    path : path
        A study file or a results file.

    Returns
    -------
    pandas.DataFrame
        The columns of `Report` (seconds, tokens, bytes), before them what identifies the run, and
        ``outcome``: ``"ok"``, or ``"failed"`` with its ``reason``.  What a grid set stands in
        columns named by the dotted paths.  ``solver`` is the one asked for, ``solver_used`` the one
        that ran.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    return frame_of(outcomes(path))


def frame_of(given: list[Outcome]) -> pd.DataFrame:
    """Rows of outcomes as a DataFrame, see `results`."""
    import pandas as pd  # noqa: PLC0415 - slow to load

    rows = [{**outcome.row, **outcome.row["variant"]} for outcome in given]
    names = dict.fromkeys([*FIRST, *(name for row in rows for name in row)])
    return pd.DataFrame(rows, columns=list(names))


def write_frame(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write rows as CSV or Parquet, by the name's ending, whole or not at all.

    Parameters
    ----------
    frame : DataFrame
    path : path

    Raises
    ------
    InputError
        If the name ends in neither ``.csv`` nor ``.parquet``, or the place cannot be written.
    ExtraMissingError
        If Parquet is asked for without pyarrow.
    """
    flat = frame.copy()
    for name in flat.columns:
        if name in NESTED or flat[name].map(lambda value: isinstance(value, list | dict)).any():
            flat[name] = flat[name].map(_as_json)
    kind = Path(path).suffix.lower()
    if kind == ".csv":
        write_text_atomically(path, flat.to_csv(index=False, lineterminator="\n"))
    elif kind == ".parquet":
        require("pyarrow", "study")
        buffer = io.BytesIO()
        flat.to_parquet(buffer, index=False, engine="pyarrow")
        write_bytes_atomically(path, buffer.getvalue())
    else:
        raise InputError([Problem(shown_path(path), "", "a name that ends in .csv or .parquet")])


def _as_json(value: Any) -> str | None:
    return json.dumps(value) if isinstance(value, list | dict) else None


def failed(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs that have a reason instead of an answer."""
    return frame[frame["outcome"] == FAILED]


def gaps_as_text(gaps: pd.DataFrame) -> pd.DataFrame:
    """Every gap in percent."""
    return gaps.map(format_percent)


def standings_as_text(standings: pd.DataFrame) -> pd.DataFrame:
    """Counts as they are, gaps in percent, means to four digits."""
    forms: Mapping[str, str] = {"mean_ratio": "{:.4f}", "mean_time_s": "{:.3g}"}
    columns = {}
    for name in standings.columns:
        if name in PERCENT_COLUMNS:
            columns[name.replace("_", " ")] = standings[name].map(format_percent)
        else:
            form = forms.get(name, "{:d}")
            title = "mean time, s" if name == "mean_time_s" else name.replace("_", " ")
            columns[title] = standings[name].map(
                lambda value, form=form: "-" if value is None or value != value else form.format(value)
            )
    return type(standings)(columns, index=standings.index)


def rows_as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Times to five digits, gaps in percent, a dash for what is not known."""

    def _text(value: Any, name: str) -> str:
        if value is None or value != value:
            return "-"
        if name == "gap":
            return format_percent(value)
        return f"{value:.5g}" if isinstance(value, float) else str(value)

    columns = {name: rows[name].map(lambda value, name=name: _text(value, name)) for name in rows.columns}
    return type(rows)(columns, index=rows.index)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, its index first, numbers to the right."""
    header = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in safe)) for i in range(len(header))]
    lines = [
        " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in safe
    ]
    rule = " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths))
    return "".join(f"| {line} |\n" for line in (lines[0], rule, *lines[1:]))


def latex(table: pd.DataFrame) -> str:
    """A ``tabular`` for the package booktabs, its index first, numbers to the right."""
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]

    def line(cells: list[str]) -> str:
        escaped = (_SPECIAL.sub(lambda m: _LATEX[m.group()], cell.replace("\n", " ")) for cell in cells)
        return " & ".join(escaped) + r" \\" + "\n"

    return (
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n\\toprule\n"
        + line([str(table.index.name or ""), *map(str, table.columns)])
        + "\\midrule\n"
        + "".join(map(line, rows))
        + "\\bottomrule\n\\end{tabular}\n"
    )
