"""CP-SAT's modelling library, or a message that says what to install."""

from __future__ import annotations

from mocap_opt.errors import SolverUnavailableError
from mocap_opt.solvers.versions import installed_version
from mocap_opt.stopping import signals_wait

try:
    with signals_wait():
        from ortools.sat.python import cp_model
except ImportError as error:
    found = installed_version("ortools")
    state = "is not installed" if found is None else f"{found} cannot be loaded ({error})"
    raise SolverUnavailableError(f"ortools {state}: pip install 'ortools>=9.15,<9.16'") from error

__all__ = ["cp_model"]
