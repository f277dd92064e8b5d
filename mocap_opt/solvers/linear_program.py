"""A mixed-integer linear program as arrays, the form in which HiGHS takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

FloatArray = npt.NDArray[np.float64]

FEASIBILITY_TOLERANCE = 1e-6
"""Largest violation of a row, a bound or integrality that counts as none (HiGHS's own)."""


@dataclass(frozen=True, eq=False)
class LinearProgram:
    """Minimise ``cost x + offset`` over ``row_lower <= matrix x <= row_upper`` and column bounds.

    Attributes
    ----------
    cost, column_lower, column_upper : float64[column]
        Absent bounds are -inf and inf.
    integer : bool[column]
        Which columns are integer.
    matrix : scipy.sparse.csr_array, float64[row, column]
    row_lower, row_upper : float64[row]
        Absent sides are -inf and inf.
    offset : float
        Constant of the objective.

    Raises
    ------
    ValueError
        If the shapes do not fit together or a number is NaN.
    """

    cost: FloatArray
    column_lower: FloatArray
    column_upper: FloatArray
    integer: npt.NDArray[np.bool_]
    matrix: sparse.csr_array
    row_lower: FloatArray
    row_upper: FloatArray
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Check the shapes."""
        rows, columns = self.matrix.shape
        for name in ("cost", "column_lower", "column_upper", "integer", "row_lower", "row_upper"):
            array = getattr(self, name)
            expected = rows if name.startswith("row") else columns
            if array.shape != (expected,):
                raise ValueError(f"{name}: expected shape ({expected},), got {array.shape}")
            if np.isnan(array).any():
                raise ValueError(f"{name} contains NaN")
        if np.isnan(self.matrix.data).any():
            raise ValueError("matrix contains NaN")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.matrix.shape[0])

    @property
    def columns(self) -> int:
        """Number of columns."""
        return int(self.matrix.shape[1])

    @property
    def nonzeros(self) -> int:
        """Number of stored coefficients."""
        return int(self.matrix.nnz)

    def objective(self, values: FloatArray) -> float:
        """Objective of a point, ``values`` float64[column]."""
        return float(self.cost @ values) + self.offset

    def violation(self, values: FloatArray) -> tuple[float, str]:
        """How far a point is from being feasible, and where.

        Parameters
        ----------
        values : float64[column]

        Returns
        -------
        float
            The largest violation of a row, a column bound or integrality; 0 if there is none.
        str
            Its place: ``"row 7"``, ``"column 3"``, ``"integrality of column 3"`` or ``""``.

        Raises
        ------
        ValueError
            If a value is missing, infinite or NaN: a start must value every column.
        """
        if values.shape != (self.columns,):
            raise ValueError(f"expected a value for each of {self.columns} columns, got shape {values.shape}")
        if not np.isfinite(values).all():
            column = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"column {column} has no finite value")
        activity = self.matrix @ values
        fraction = np.where(self.integer, np.abs(values - np.round(values)), 0.0)
        parts = {
            "row": np.maximum(self.row_lower - activity, activity - self.row_upper),
            "column": np.maximum(self.column_lower - values, values - self.column_upper),
            "integrality of column": fraction,
        }
        worst, where = 0.0, ""
        for name, amounts in parts.items():
            if amounts.size and amounts.max() > worst:
                worst, where = float(amounts.max()), f"{name} {int(amounts.argmax())}"
        return worst, where


NEGLIGIBLE = 2e-9
"""Coefficients up to 1e-9 HiGHS ignores with a warning, which counts as a failure."""


def without_negligible(matrix: sparse.csr_array) -> sparse.csr_array:
    """Leave out the coefficients that HiGHS would ignore: for programs whose answer only proposes.

    Parameters
    ----------
    matrix : csr_array
        Scaled so that coefficients that matter are around 1.
    """
    kept = matrix.copy()
    kept.data[np.abs(kept.data) < NEGLIGIBLE] = 0.0
    kept.eliminate_zeros()
    return kept
