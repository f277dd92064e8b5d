"""Faults of solver releases that this package must not meet unnoticed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from mocap_opt.solvers.highs import solve_mip
from mocap_opt.solvers.linear_program import LinearProgram
from mocap_opt.solvers.versions import PACKAGES, versions


def test_the_optimum_that_highspy_1_14_misses() -> None:
    # min 2x + y, 2x + y >= 10, x binary, y >= 9 continuous: 10 at x = 0.  highspy 1.14.0 says 11.
    program = LinearProgram(
        cost=np.array([2.0, 1.0]),
        column_lower=np.array([0.0, 9.0]),
        column_upper=np.array([1.0, np.inf]),
        integer=np.array([True, False]),
        matrix=sparse.csr_array(np.array([[2.0, 1.0]])),
        row_lower=np.array([10.0]),
        row_upper=np.array([np.inf]),
    )
    result = solve_mip(program)
    assert result.outcome.objective == pytest.approx(10)
    assert result.outcome.bound == pytest.approx(10)


USES = {
    "highspy": "import highspy; highspy.Highs()",
    "ortools": "from ortools.sat.python import cp_model; cp_model.CpSolver().solve(cp_model.CpModel())",
    "linear_solver": "from ortools.linear_solver import pywraplp",
}


@pytest.mark.parametrize(
    "order",
    [
        ("highspy", "ortools"),
        ("ortools", "highspy"),
        ("highspy", "linear_solver"),
        ("linear_solver", "highspy"),
    ],
)
def test_highspy_and_ortools_share_a_process(order: tuple[str, str]) -> None:
    # Both ship a libhighs.so.1; with some pairs of versions the second import fails.
    code = "; ".join(USES[name] for name in order)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_versions_are_read_without_importing_solvers() -> None:
    code = (
        "import sys; from mocap_opt.solvers.versions import versions; from mocap_opt.solvers import outcome; "
        "versions(); print([m for m in ('pyomo', 'highspy', 'ortools', 'pandas') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_versions_name_everything_installed() -> None:
    found = versions()
    assert list(found) == ["python", *PACKAGES]
    assert all(found.values())
