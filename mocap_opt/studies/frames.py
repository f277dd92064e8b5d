"""Finished runs as tables: pandas, CSV, Parquet."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import shown_path, write_bytes_atomically, write_text_atomically
from mocap_opt.optional_dependencies import require
from mocap_opt.studies.execution import FAILED, Outcome
from mocap_opt.studies.schema import SUFFIX, load_study
from mocap_opt.studies.store import read_outcomes
from mocap_opt.studies.tasks import tasks_of

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
    held = {outcome.key: outcome for outcome in read_outcomes(file.results_path)}
    # Names and variants as the study has them now: they are no part of the key.
    return [
        Outcome(task.key, {**held[task.key].row, **task.identity()}, held[task.key].curve)
        for task in tasks_of(file)
        if task.key in held
    ]


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
        write_text_atomically(path, flat.to_csv(index=False))
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
