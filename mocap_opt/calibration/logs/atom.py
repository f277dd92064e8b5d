"""ATOM's log of dynamic chunking: the coefficients that its calibrator fitted.

Source: ROCm/ATOM, pull request 2007, ``model_engine/dynamic_chunking.py``: ``dynamic chunking calibrated
from 41 real prefill shapes over 2 chunk sizes: a=3.250e-07 b=6.030e-03 c=2.610e+01 gamma=5.390e-04``, in ms.
"""

from __future__ import annotations

import re

from mocap_opt.calibration.logs.log import Asked, FloatArray, Law, Log

_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
LINE = re.compile(
    r"dynamic chunking calibrated from \d+ real prefill shapes over \d+ chunk sizes: "
    rf"a={_NUMBER} b={_NUMBER} c={_NUMBER} gamma={_NUMBER}"
)


def found(text: str) -> bool:
    """Whether a text has lines of this form."""
    return LINE.search(text) is not None


def read(text: str, source: str, asked: Asked) -> Log:
    """Read the coefficients, of the last line that has them.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    asked : Asked
        Means nothing here.
    """
    a, b, c, gamma = (float(part) / 1000 for part in LINE.findall(text)[-1])

    def _time(length: FloatArray, prefix: FloatArray) -> FloatArray:
        return c + gamma * prefix + b * length + a * (2 * prefix * length + length**2)

    formula = f"{c:.4g} + {gamma:.4g} H + {b:.4g} C + {a:.4g} (2 H C + C^2)"
    notes = (
        "the log holds four digits of the engine's own fit, no timings: what it says can be no better",
        f"a chunk of C tokens after H: {formula} s",
    )
    return Log("atom", source, None, Law(formula, _time), notes)
