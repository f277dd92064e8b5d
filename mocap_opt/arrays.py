"""Array types that every floor of the package shares."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
