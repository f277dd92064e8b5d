"""The Pyomo programs as MPS and LP files, for any solver that reads them.

Pyomo's own writers are used: they write numbers with all digits, so that a solver that reads the
file gets the very coefficients that HiGHS is given here.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyomo.environ as pyo

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.formulations import contention_free, joint, joint_layers, period
from mocap_opt.formulations.layer_tables import LayerTables
from mocap_opt.formulations.rows import ModelData
from mocap_opt.messages import show
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_seconds

PROGRAMS: dict[str, tuple[Callable[..., pyo.ConcreteModel | None], str]] = {
    "joint": (joint.build, "lockstep latency"),
    "joint_layers": (joint_layers.build, "lockstep latency, whatever the layers of stages"),
    "contention_free": (contention_free.build, "contention-free latency"),
    "period": (period.build, "lockstep period"),
}
"""How each program is built from tables (and, for ``period``, from W), and what it minimises; its page is
``formulations/<name>.md``."""

COMMENT = {".mps": "*", ".lp": "\\"}
"""File formats by extension, with what begins a comment."""

_UNBOUNDED = re.compile(r"^ UI BOUND (\S+) 10E20$", re.MULTILINE)

MOST_NONZEROS = 2_000_000
"""Programs up to this size are written unasked: about 60 MB as LP, 150 MB as MPS."""


@dataclass(frozen=True)
class Export:
    """A program that was written.

    Attributes
    ----------
    rows, columns, nonzeros : int
    unit : int
        Ticks per unit of the objective and of all variables that are times.
    whole : bool
        Whether times are whole ticks.
    minimises : str
    """

    rows: int
    columns: int
    nonzeros: int
    unit: int
    whole: bool
    minimises: str

    def objective(self, tables: Tables) -> str:
        """What the objective's value means."""
        tick = format_seconds(tables.tick_s)
        unit = "ticks" if self.unit == 1 else f"units of {self.unit} ticks"
        return f"{self.minimises} in {unit} of {tick}"


def file_format(path: str | os.PathLike[str]) -> str:
    """Return ``.mps`` or ``.lp``, whichever a file's name ends in.

    Raises
    ------
    InputError
        If it ends in neither.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in COMMENT:
        raise InputError([Problem("--to", show(os.fspath(path)), "a name that ends in .mps or .lp")])
    return suffix


def export_program(
    path: str | os.PathLike[str],
    tables: Tables,
    program: str,
    *,
    interval: int | None = None,
    layers: LayerTables | None = None,
    fingerprint: str | None = None,
    most_nonzeros: int | None = MOST_NONZEROS,
) -> Export | None:
    """Write a program of an instance, whole or not at all.

    Parameters
    ----------
    path : path
        The extension, .mps or .lp, tells the format.
    tables : Tables
    program : str
        A key of `PROGRAMS`.
    interval : int, optional
        W, the slots from one request to the next: for ``"period"``, which needs it, and for no other.
    layers : LayerTables, optional
        For ``"joint_layers"``, which needs them, and for no other.
    fingerprint : str, optional
        Of the instance, for the file's head.
    most_nonzeros : int, optional
        Larger programs are refused; None: none are.

    Returns
    -------
    Export or None
        None if no boundaries are allowed at all: there is no program, and nothing is written.

    Raises
    ------
    InputError
        If the extension is another one, the program is too large, the place cannot be written, or queues
        are unbounded in a period.
    ValueError
        If there is an interval, or `layers`, where there must be none, or none where there must be one.
    """
    suffix = file_format(path)
    if (interval is None) is (program == "period"):
        raise ValueError(f"an interval belongs to the program period: {program}, {interval}")
    if (layers is None) is (program == "joint_layers"):
        raise ValueError(f"tables for every number of layers belong to the program joint_layers: {program}")
    build, minimises = PROGRAMS[program]
    model = build(layers or tables) if interval is None else build(tables, interval)
    if model is None:
        return None
    size = compile_model(model).program
    data: ModelData = model.data
    if most_nonzeros is not None and size.nonzeros > most_nonzeros:
        expected = f"a program of at most {most_nonzeros:,} non-zeros"
        remedy = "--force writes it anyway; a larger chunking.quantum makes it smaller"
        raise InputError([Problem(tables.name, f"{size.nonzeros:,}", expected, remedy)])
    time_unit = data.time_unit
    export = Export(size.rows, size.columns, size.nonzeros, time_unit.ticks, time_unit.whole, minimises)
    apart = "" if interval is None else f", requests {interval} slots apart"
    head = _head(export, tables, program, apart, fingerprint)
    lines = "".join(f"{COMMENT[suffix]} {line}\n" for line in head)
    write_text_atomically(path, lines + _written(model, suffix))
    return export


def _head(export: Export, tables: Tables, program: str, apart: str, fingerprint: str | None) -> list[str]:
    """Comments, short lines in ASCII: some readers take no others."""
    name = ascii(tables.name[:80])[1:-1]
    times = (
        "Times are whole ticks; the optimum is exact."
        if export.whole
        else "Times are continuous, not rounded up to ticks."
    )
    return [
        f"{program} program of {name}{apart}" + (f", instance {fingerprint}" if fingerprint else ""),
        f"Objective: {export.objective(tables)}. {times}",
        f"Rows, variables and why they are valid: formulations/{program}.md.",
        "Names are those of the page, with indices;",
        "HiGHS 1.10 to 1.15: solve with presolve=off, or it may call a wrong optimum optimal.",
        "c_e_, c_l_ and c_u_ before a row's name: equal, at least, at most.",
    ]


def _written(model: pyo.ConcreteModel, suffix: str) -> str:
    """Text of the file, in Pyomo's words."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / f"model{suffix}"
        model.write(str(place), io_options={"symbolic_solver_labels": True})
        text = place.read_text(encoding="utf-8")
    # Pyomo writes an integer without an upper bound as one of up to 10E20, of which readers
    # complain as no integer; PL is MPS for no upper bound.
    return _UNBOUNDED.sub(r" PL BOUND \1", text) if suffix == ".mps" else text
