"""How far off a form is where it was not fitted: rows, whole lengths and whole prefixes left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from mocap_opt.calibration.form_columns import FloatArray
from mocap_opt.instance.timings import Timings

Mask = npt.NDArray[np.bool_]

FOLDS = 5
"""Parts of the rows, of the lengths and of the prefixes that are left out, one after the other, each."""

SEED = 20
"""Of the order in which rows are dealt to the parts."""

KINDS = ("rows", "lengths", "prefixes")


def left_out(timings: Timings) -> Iterator[tuple[str, Mask]]:
    """Say what is left out together: kind and bool[row].

    Rows are dealt at random.  Of lengths and prefixes only inner ones are left out, never neighbours
    where there are many: beyond what was measured nothing is claimed.

    Parameters
    ----------
    timings : Timings
        Of one stage.
    """
    rows = timings.length.size
    dealt = np.random.default_rng(SEED).permutation(rows) % FOLDS
    for part in range(min(FOLDS, rows)):
        yield "rows", dealt == part
    for kind, values in (("lengths", timings.length), ("prefixes", timings.prefix)):
        inner = np.unique(values)[1:-1]
        for part in range(min(FOLDS, inner.size)):
            yield kind, np.isin(values, inner[part::FOLDS])


def held_out_residuals(
    timings: Timings, fit: Callable[[Timings], Callable[[FloatArray, FloatArray], FloatArray]]
) -> dict[str, FloatArray]:
    """Residuals of rows that were left out, as parts of what was measured, by kind.

    Parameters
    ----------
    timings : Timings
        Of one stage.
    fit : callable
        From timings to a predictor, of lengths and prefixes.

    Returns
    -------
    dict of str to float64[row left out]
        An empty array where a kind leaves nothing out.
    """
    found: dict[str, list[FloatArray]] = {kind: [] for kind in KINDS}
    for kind, out in left_out(timings):
        if out.all() or not out.any():
            continue
        predict = fit(subset(timings, ~out))
        seconds = predict(timings.length[out].astype(float), timings.prefix[out].astype(float))
        found[kind].append(1 - seconds / timings.seconds[out])
    return {kind: np.concatenate([np.zeros(0), *parts]) for kind, parts in found.items()}


def subset(timings: Timings, kept: Mask) -> Timings:
    """Some rows of the timings of one stage.

    Parameters
    ----------
    timings : Timings
    kept : bool[row]
    """
    length, prefix = timings.length[kept], timings.prefix[kept]
    return Timings(timings.source, length, prefix, timings.seconds[kept], None)
