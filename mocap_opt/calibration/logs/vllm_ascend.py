"""vLLM-Ascend's log of profiled chunks: the coefficients that the engine fitted.

Source: vllm-project/vllm-ascend at 182b75ea84ff, ``core/profiling_chunk_predictor.py``: ``[ProfilingChunk]
Fitted: a=1.23e-07, b=4.56e-03, c=7.89e+00`` and ``[ProfilingChunk With History] Fitted: ..``, milliseconds.
Single timings are not logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mocap_opt.calibration.logs.log import Asked, FloatArray, Law, Log

_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
STARTUP = re.compile(rf"\[ProfilingChunk\] Fitted: a={_NUMBER}, b={_NUMBER}, c={_NUMBER}")
SERVED = re.compile(rf"\[ProfilingChunk With History\] Fitted: a={_NUMBER}, b={_NUMBER}, c={_NUMBER}")

BASE = re.compile(r"\(base_chunk=([1-9][0-9]{0,8})\)")


def found(text: str) -> bool:
    """Whether a text has lines of this form."""
    return bool(STARTUP.search(text) or SERVED.search(text))


def read(text: str, source: str, asked: Asked) -> Log:
    """Read the last coefficients: those of served batches, or of prefix-free chunks if there are no others.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    asked : Asked
        Means nothing here.
    """
    bases = BASE.findall(text)
    most = int(bases[-1]) if bases else Law.most
    served, startup = SERVED.findall(text), STARTUP.findall(text)
    notes = ["the log holds three digits of the engine's own fit, no timings: what it says can be no better"]
    if served:
        a, b, c = (float(part) / 1000 for part in served[-1])
        formula = f"{a:.3g} C (C + H) + {b:.3g} (C + H) + {c:.3g}"
        notes.append(f"{len(served)} fits of served batches, the last one taken: {formula} s")
        return Log("vllm-ascend", source, None, Law(formula, _served(a, b, c), most=most), tuple(notes))
    a, b, c = (float(part) / 1000 for part in startup[-1])
    formula = f"{a:.3g} (2 H C + C^2) + {b:.3g} C + {c:.3g}"
    notes.append(f"prefix-free chunks alone were fitted, and a prefix costs what follows: {formula} s")
    return Log("vllm-ascend", source, None, Law(formula, _prefix_free(a, b, c), most=most), tuple(notes))


def _served(a: float, b: float, c: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    return lambda length, prefix: a * length * (length + prefix) + b * (length + prefix) + c


def _prefix_free(a: float, b: float, c: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    return lambda length, prefix: a * (2 * prefix * length + length**2) + b * length + c
