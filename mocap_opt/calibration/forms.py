"""Forms of chunk times beyond coefficients: all fitted, judged by what was left out, one chosen.

>>> fits = fit_forms(read_timings("instances/timings/llama-3.1-70b-pjlab.csv"))
>>> choose_form(fits).name
'length'

The formulae stand in ``formulations/calibration.md``, forms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mocap_opt.calibration.cross_validation import held_out_residuals, subset
from mocap_opt.calibration.form_columns import FloatArray
from mocap_opt.calibration.form_fit import FittedStage, Form, fit_form
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.costs import MeasuredTimes
from mocap_opt.instance.timings import Timings

_PAIRS = "a (2 h l + l^2)"

FORMS = {
    form.name: form
    for form in (
        Form("engine", f"c + gamma h + b l + {_PAIRS}"),
        Form("tiles", f"c + gamma h + b T ceil(l / T) + {_PAIRS}", length="tiles"),
        Form("floor", f"max(f, c + gamma h + b l + {_PAIRS})", floor=True),
        Form("length", f"c(l) + gamma h + {_PAIRS}", length="free"),
        Form("length-slope", f"c(l) + gamma(l) h + {_PAIRS}", length="free", sloped=True),
        Form("position", f"c(l) + gamma h + F(h + l) - F(h) + {_PAIRS}", length="free", by_position=True),
        Form("length-floor", f"c(l) + max(f, r + gamma h + b l + {_PAIRS})", length="free", floor=True),
        Form("sparse", f"c(l) + gamma h + {_PAIRS} + s pairs(w)", length="free", windowed=True),
        Form(
            "sparse-floor",
            f"c(l) + max(f, r + gamma h + b l + {_PAIRS} + s pairs(w))",
            length="free",
            floor=True,
            windowed=True,
        ),
        Form(
            "switched", "length, with coefficients of its own up to h + l = B", length="free", switched=True
        ),
        Form(
            "switched-floor",
            "length up to h + l = B, length-floor beyond",
            length="free",
            floor=True,
            switched=True,
        ),
    )
}
"""By name; few parameters first."""

AS_GOOD = 1.1
"""A form with fewer parameters is chosen if its held-out error is at most this times the least."""

NEGLIGIBLE = 1e-4
"""Errors smaller than this part of a time choose no form."""

SHORTEST_S = 1e-9
"""Shorter times are refused: residuals count as parts of the times."""

MOST_FITTED = 500
"""Rows of a stage that forms are fitted to; of more, as many evenly spread over the times."""


@dataclass(frozen=True, eq=False)
class FormFit:
    """A form fitted to timings, by stage where they name stages.

    Attributes
    ----------
    form : Form
    timings : Timings
    stages : dict of int or None to FittedStage
        Under None: one fit for all stages.
    held_out : dict of str to float64[row left out]
        Residuals of rows that were left out, as parts of the times: "rows", "lengths", "prefixes".
    """

    form: Form
    timings: Timings
    stages: Mapping[int | None, FittedStage]
    held_out: Mapping[str, FloatArray]

    @property
    def name(self) -> str:
        """Of the form."""
        return self.form.name

    def predict(self, length: npt.ArrayLike, prefix: npt.ArrayLike, stage: int | None = None) -> FloatArray:
        """Seconds of chunks on a stage, float64 of the common shape.

        Beyond what was measured the form goes on: level below the least length, else as between the last
        two; `to_measured` refuses that.

        Parameters
        ----------
        length, prefix : array_like, tokens
        stage : int, optional
            Needed where timings name stages.

        Raises
        ------
        KeyError
            If there are no timings of this stage.
        """
        return self.stages[None if None in self.stages else stage].seconds(length, prefix)

    @property
    def residuals(self) -> FloatArray:
        """Measured - fitted, float64[row], as parts of what was measured; rows stage by stage."""
        return np.concatenate(list(self.residuals_by_stage().values()))

    def residuals_by_stage(self) -> dict[int | None, FloatArray]:
        """Residuals of the rows of every stage."""
        return {
            stage: 1 - self.stages[stage].seconds(part.length, part.prefix) / part.seconds
            for stage, part in self.timings.by_stage().items()
        }

    @property
    def rms(self) -> float:
        """Root mean square of the residuals, of all stages together."""
        return _rms(self.residuals)

    @property
    def largest(self) -> float:
        """Largest residual in size."""
        return float(np.abs(self.residuals).max())

    @property
    def held_out_rms(self) -> float | None:
        """Root mean square of the residuals of what was left out; None if nothing was."""
        together = np.concatenate([np.zeros(0), *self.held_out.values()])
        return _rms(together) if together.size else None

    @property
    def held_out_by_kind(self) -> dict[str, float | None]:
        """Root mean square of the residuals of rows, whole lengths and whole prefixes that were left out."""
        return {kind: _rms(off) if off.size else None for kind, off in self.held_out.items()}

    @property
    def held_out_score(self) -> float | None:
        """Geometric mean of `held_out_by_kind`, by which forms are chosen; None if nothing was left out.

        So no kind drowns the others: twice as good between prefixes makes up for twice as bad between
        lengths.  Errors below `NEGLIGIBLE` count as that.
        """
        rms = [max(each, NEGLIGIBLE) for each in self.held_out_by_kind.values() if each is not None]
        return float(np.exp(np.mean(np.log(rms)))) if rms else None

    @property
    def parameters(self) -> dict[str, float]:
        """Coefficients, seconds and tokens, by name; with "stage 3: " before where timings name stages."""
        return {
            name if stage is None else f"stage {stage}: {name}": value
            for stage, fitted in self.stages.items()
            for name, value in fitted.parameters.items()
        }

    @property
    def size(self) -> int:
        """Parameters of a stage, of that with most."""
        return max(fitted.size for fitted in self.stages.values())

    def to_dict(self) -> dict[str, Any]:
        """Figures for reports."""
        return {
            "form": self.name,
            "formula": self.form.formula,
            "parameters": self.parameters,
            "parameters_of_a_stage": self.size,
            "rms_relative_residual": self.rms,
            "largest_relative_residual": self.largest,
            "held_out_rms": self.held_out_rms,
            "held_out_rms_by_kind": self.held_out_by_kind,
            "rms_by_stage": [
                {"stage": stage, "rms": _rms(off), "largest": float(np.abs(off).max())}
                for stage, off in self.residuals_by_stage().items()
            ],
        }


def _rms(off: FloatArray) -> float:
    return float(np.sqrt(np.mean(off**2)))


def fit_forms(
    timings: Timings, *, names: Collection[str] | None = None, breaks: Sequence[int] = ()
) -> list[FormFit]:
    """Fit all forms that the timings are enough for, and how far off each is where it was not fitted.

    Parameters
    ----------
    timings : Timings
    names : collection of str, optional
        Of the forms to fit; default: all.
    breaks : sequence of int, tokens
        Where kernels switch, of the switched forms; default: searched.

    Returns
    -------
    list of FormFit
        In the order of `FORMS`; a form is left out that has as many parameters as there are chunks.

    Raises
    ------
    InputError
        If a name is unknown, or the timings are of one prefix, too few lengths, or too few for any form, or
        shorter than a clock tells.
    """
    chosen = list(FORMS) if names is None else list(names)
    unknown = [name for name in chosen if name not in FORMS]
    if unknown:
        raise InputError([Problem("form", ", ".join(unknown), f"one of {', '.join(FORMS)}")])
    parts = timings.by_stage()
    for part in parts.values():
        _refuse_few(part)
    fits = [_fit(form, timings, parts, breaks) for name, form in FORMS.items() if name in chosen]
    found = [fit for fit in fits if fit is not None]
    if not found:
        expected = f"more chunks than {', '.join(chosen)} has parameters"
        remedy = "measure more, or choose another form"
        raise InputError([Problem(timings.source, f"{timings.length.size} rows", expected, remedy)])
    return found


def _refuse_few(timings: Timings) -> None:
    lengths, prefixes = np.unique(timings.length).size, np.unique(timings.prefix).size
    if lengths < 3 or prefixes < 2:
        found = f"{lengths} lengths and {prefixes} prefixes"
        remedy = "measure more; coefficients alone need less (--hold)"
        raise InputError([Problem(timings.source, found, "three lengths and two prefixes at least", remedy)])
    shortest = float(timings.seconds.min())
    if shortest < SHORTEST_S:
        found, expected = f"{shortest:.3g} s", f"times of {SHORTEST_S:g} s or more"
        raise InputError([Problem(timings.source, found, expected, "check the unit")])


def _fit(
    form: Form, timings: Timings, parts: Mapping[int | None, Timings], breaks: Sequence[int]
) -> FormFit | None:
    """Fit a form to every stage; None if one has too few chunks for it.  Stages alike are fitted once."""
    done: dict[bytes, tuple[FittedStage, dict[str, FloatArray]]] = {}
    stages: dict[int | None, FittedStage] = {}
    held_out: dict[str, list[FloatArray]] = {}
    for stage, whole in parts.items():
        part = _thinned(whole)
        key = b"".join(values.tobytes() for values in (part.length, part.prefix, part.seconds))
        if key not in done:
            fitted = fit_form(form, part, breaks)
            if np.unique(np.stack([part.length, part.prefix]), axis=1).shape[1] <= fitted.size:
                return None
            left = held_out_residuals(part, lambda kept: fit_form(form, kept, breaks).seconds)
            done[key] = fitted, left
        stages[stage] = done[key][0]
        for kind, off in done[key][1].items():
            held_out.setdefault(kind, []).append(off)
    return FormFit(form, timings, stages, {kind: np.concatenate(off) for kind, off in held_out.items()})


def _thinned(timings: Timings) -> Timings:
    """At most `MOST_FITTED` rows, the fastest and the slowest among them."""
    if timings.length.size <= MOST_FITTED:
        return timings
    kept = np.zeros(timings.length.size, dtype=np.bool_)
    order = np.argsort(timings.seconds, kind="stable")
    kept[order[np.linspace(0, order.size - 1, MOST_FITTED).round().astype(int)]] = True
    return subset(timings, kept)


def choose_form(fits: Sequence[FormFit]) -> FormFit:
    """Choose by what was left out: the fewest parameters among those hardly worse than the best.

    Parameters
    ----------
    fits : sequence of FormFit
        Of the same timings; one at least.  Without held-out errors the first is chosen.
    """
    judged = [(fit, score) for fit in fits if (score := fit.held_out_score) is not None]
    if not judged:
        return fits[0]
    least = min(score for _, score in judged)
    good = [(fit.size, score, fit) for fit, score in judged if score <= AS_GOOD * least]
    return min(good, key=lambda each: each[:2])[2]


def to_measured(
    fit: FormFit, lengths: Sequence[int], prefixes: Sequence[int], *, extrapolate: bool = False
) -> MeasuredTimes | tuple[MeasuredTimes, ...]:
    """Tabulate a form as instances take measured times: one table, or one for every stage.

    Parameters
    ----------
    fit : FormFit
    lengths, prefixes : sequence of int, tokens
        Ascending; between them times are interpolated.
    extrapolate : bool
        Whether they may lie beyond what was measured.

    Raises
    ------
    InputError
        If they lie beyond what was measured, or timings lack a stage.
    """
    measured = fit.timings
    problems = [
        Problem(
            f"{measured.source}, {name}",
            f"{min(asked)} to {max(asked)} tokens",
            f"within the measured {int(values.min())} to {int(values.max())} tokens",
            "measure more, or allow extrapolation",
        )
        for name, asked, values in (
            ("lengths", lengths, measured.length),
            ("prefixes", prefixes, measured.prefix),
        )
        if not extrapolate and not values.min() <= min(asked) <= max(asked) <= values.max()
    ]
    stages = list(fit.stages)
    if stages != [None] and stages != list(range(len(stages))):
        found = ", ".join(str(stage) for stage in stages[:20])
        problems.append(Problem(f"{measured.source}, stage", found, "every stage from 0 up"))
    if problems:
        raise InputError(problems)
    tables = tuple(
        MeasuredTimes(
            lengths=tuple(lengths),
            prefixes=tuple(prefixes),
            seconds=tuple(
                tuple(row) for row in fitted.seconds(np.array(lengths)[:, None], np.array(prefixes)).tolist()
            ),
        )
        for fitted in fit.stages.values()
    )
    return tables[0] if stages == [None] else tables
