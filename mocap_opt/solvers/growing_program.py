"""A linear program that gets more rows, solved again from where it was left, by HiGHS."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from mocap_opt.arrays import IntArray
from mocap_opt.solvers.highs_listener import check, load_highspy
from mocap_opt.solvers.linear_program import FloatArray

ITERATIONS = 20_000
"""Simplex iterations before a solve gives up."""


class GrowingProgram:
    """Minimise ``objective @ x`` subject to ``rows @ x <= sides`` and bounds; rows come and go.

    Parameters
    ----------
    objective : float64[column]
    rows : sparse matrix, row x column
        They stay.
    sides : float64[row]

    Raises
    ------
    SolverUnavailableError
        If HiGHS cannot be loaded.
    """

    def __init__(self, objective: FloatArray, rows: Any, sides: FloatArray) -> None:
        self.highspy = load_highspy()
        self.highs = self.highspy.Highs()
        for name, value in {
            "output_flag": False,
            "presolve": "off",
            "threads": 1,
            "simplex_iteration_limit": ITERATIONS,
        }.items():
            check(self.highs.setOptionValue(name, value), name)
        self.columns = np.arange(objective.size, dtype=np.int32)
        infinity = self.highspy.kHighsInf
        free = np.full(objective.size, infinity)
        check(self.highs.addVars(objective.size, -free, free), "addVars")
        check(self.highs.changeColsCost(objective.size, self.columns, objective), "changeColsCost")
        self.add(rows, sides)
        self.lasting = sides.size

    def add(self, rows: Any, sides: FloatArray) -> None:
        """Add rows.

        Parameters
        ----------
        rows : matrix, row x column
        sides : float64[row]
            Right-hand sides.
        """
        matrix = sparse.csr_array(rows)
        lower = np.full(sides.size, -self.highspy.kHighsInf)
        check(
            self.highs.addRows(
                sides.size, lower, sides, matrix.nnz, matrix.indptr[:-1], matrix.indices, matrix.data
            ),
            "addRows",
        )

    def drop(self, rows: IntArray) -> None:
        """Take away rows that do not stay, by their numbers among them."""
        marked = (rows + self.lasting).astype(np.int32)
        check(self.highs.deleteRows(marked.size, marked), "deleteRows")

    def solve(self, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, float] | None:
        """Values of the columns within bounds and the objective; None if the solver gives up.

        Parameters
        ----------
        lower, upper : float64[column]
        """
        check(self.highs.changeColsBounds(self.columns.size, self.columns, lower, upper), "changeColsBounds")
        status = self.highs.run()
        if status == self.highspy.HighsStatus.kError:
            # Its scheduler lives as long as the process; someone has used it with other threads.
            self.highspy.Highs.resetGlobalScheduler(True)
            status = self.highs.run()
        check(status, "run")
        if self.highs.getModelStatus() != self.highspy.HighsModelStatus.kOptimal:
            return None
        values = np.array(self.highs.getSolution().col_value)
        return values, float(self.highs.getInfo().objective_function_value)
