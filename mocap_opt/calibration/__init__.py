"""From measured chunk times to costs: reading timings, fitting coefficients, interpolating a table."""

from mocap_opt.calibration.fit import NAMES, Fit, Weighting, fit_timings
from mocap_opt.instance.timings import Timings, lattice, parse_timings, read_timings

__all__ = [
    "NAMES",
    "Fit",
    "Timings",
    "Weighting",
    "fit_timings",
    "lattice",
    "parse_timings",
    "read_timings",
]
