"""The lockstep program without integrality, re-proved from its duals.

Statement and proof: ``formulations/bounds.md``, `lp_relaxation`.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from mocap_opt.bounds.safe_dual import safe_dual_bound
from mocap_opt.lower_bound import Bound, Evidence, Scope
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables import Tables

#: Chunk variables (positions x pairs of grid indices) up to which the program is built.
MOST_CHUNK_VARIABLES = 20_000
TIME_LIMIT_S = 60.0
#: Rows are scaled by one division, correctly rounded, on their way from integers to floats.
RELATIVE_ERROR = Fraction(1, 2**52)


def lp_relaxation(tables: Tables, asked_to_stop: AskedToStop = never) -> Bound | None:
    """Bound lockstep by the linear relaxation of its program.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked before the program is built, and between iterations of the simplex method.

    Returns
    -------
    Bound or None
        None if the program is too large, has no chunks at all or is not solved in time.

    Raises
    ------
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """
    too_large = max(tables.counts, default=0) * tables.steps**2 // 2 > MOST_CHUNK_VARIABLES
    if too_large or asked_to_stop():
        return None
    # Pyomo and HiGHS are loaded only where they are asked for.
    from mocap_opt.formulations.joint import build  # noqa: PLC0415
    from mocap_opt.solvers.highs import solve_lp  # noqa: PLC0415
    from mocap_opt.solvers.pyomo_form import compile_model  # noqa: PLC0415

    model = build(tables)
    if model is None:
        return None
    program = compile_model(model).program
    result = solve_lp(program, time_limit_s=TIME_LIMIT_S, asked_to_stop=asked_to_stop)
    if result.objective is None or result.row_duals is None:
        return None
    # Slot times have no upper bound.  Plans slower than `most` are no concern of a bound below it,
    # and in all others no slot takes longer.
    most = float(math.ceil(2 * abs(result.objective)) + 1)
    proved = safe_dual_bound(
        program.cost,
        program.matrix,
        program.row_lower,
        program.row_upper,
        program.column_lower,
        np.minimum(program.column_upper, most),
        result.row_duals,
        relative_error=RELATIVE_ERROR,
    )
    assert proved is not None  # every column is boxed
    units = min(proved + Fraction(program.offset), Fraction(most))
    ticks = max(0, math.ceil(units * model.frame.clock.unit))
    note = f"{program.columns} columns, {program.rows} rows"
    return Bound("lp_relaxation", ticks, Scope.LOCKSTEP, Evidence.LP_DUAL, note)
