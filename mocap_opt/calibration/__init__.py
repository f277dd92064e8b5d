"""From measured chunk times to costs: reading timings, fitting coefficients, interpolating a table."""

from mocap_opt.calibration.choice import FormChoice
from mocap_opt.calibration.fit import NAMES, Fit, Weighting, fit_timings
from mocap_opt.calibration.form_fit import Form
from mocap_opt.calibration.forms import FORMS, FormFit, choose_form, fit_forms, to_measured
from mocap_opt.instance.timings import Timings, lattice, parse_timings, read_timings

__all__ = [
    "FORMS",
    "NAMES",
    "Fit",
    "Form",
    "FormChoice",
    "FormFit",
    "Timings",
    "Weighting",
    "choose_form",
    "fit_forms",
    "fit_timings",
    "lattice",
    "parse_timings",
    "read_timings",
    "to_measured",
]
