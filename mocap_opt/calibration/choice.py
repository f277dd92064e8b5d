"""One call from timings to costs: every form fitted, one chosen and why, costs as an instance takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.calibration.forms import AS_GOOD, FORMS, FormFit, choose_form, fit_forms, to_measured
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.costs import MeasuredTimes
from mocap_opt.instance.timings import Timings, read_timings

if TYPE_CHECKING:
    import pandas as pd

AUTO = "auto"
COEFFICIENTS = "engine"
"""The form that instances take as coefficients; all others become a table of times."""


@dataclass(frozen=True, eq=False)
class FormChoice:
    """Forms fitted to the same timings, and the one that was chosen.

    Attributes
    ----------
    timings : Timings
    fits : tuple of FormFit
    asked : str
        Name of the form, or "auto".

    Examples
    --------
    >>> import mocap_opt
    >>> choice = mocap_opt.fit("instances/timings/llama-3.1-70b-pjlab.csv")
    >>> choice.chosen.name, len(choice.fits)
    ('length', 11)
    >>> choice.costs()["kind"]
    'measured'
    """

    timings: Timings
    fits: tuple[FormFit, ...]
    asked: str = AUTO

    @cached_property
    def chosen(self) -> FormFit:
        """The form that was asked for, or that which predicts best what was left out."""
        if self.asked == AUTO:
            return choose_form(self.fits)
        return next(fit for fit in self.fits if fit.name == self.asked)

    @property
    def reason(self) -> str:
        """Why it was chosen, in words."""
        if self.asked != AUTO:
            return "asked for"
        judged = [fit.held_out_score for fit in self.fits if fit.held_out_score is not None]
        if not judged:
            return "too few timings to leave any out: the first form"
        least = min(judged)
        if self.chosen.held_out_score == least:
            return "least error on what was left out (geometric mean over rows, lengths, prefixes)"
        return (
            "fewest parameters of those whose error on what was left out is within "
            f"{100 * (AS_GOOD - 1):.0f} % of the least"
        )

    def costs(
        self,
        lengths: Sequence[int] | None = None,
        prefixes: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Costs as an instance takes them: coefficients of `engine`, else a table of times.

        Parameters
        ----------
        lengths, prefixes : sequence of int, tokens, optional
            Of the table; by default those that were measured.

        Raises
        ------
        InputError
            If they lie beyond what was measured, or a stage is missing.
        """
        chosen, timings = self.chosen, self.timings
        if chosen.name == COEFFICIENTS and lengths is None and prefixes is None:
            stages = [
                {name: fitted.parameters[name] for name in ("constant", "linear", "quadratic", "prefix")}
                for fitted in _every_stage(chosen)
            ]
            return {"kind": "coefficients", "stages": stages[0] if timings.stage is None else stages}
        table = to_measured(
            chosen,
            np.unique(timings.length).tolist() if lengths is None else lengths,
            np.unique(timings.prefix).tolist() if prefixes is None else prefixes,
        )
        if isinstance(table, MeasuredTimes):
            return {"kind": "measured", "stages": table.model_dump(mode="json")}
        return {"kind": "measured", "stages": [each.model_dump(mode="json") for each in table]}

    def to_frame(self) -> pd.DataFrame:
        """A row per form: parameters of a stage; residuals, fitted and of what was left out, in parts."""
        import pandas as pd  # noqa: PLC0415 - slow to import, and only this function needs it

        return pd.DataFrame(
            [
                {
                    "form": fit.name,
                    "formula": fit.form.formula,
                    "parameters": fit.size,
                    "rms": fit.rms,
                    "largest": fit.largest,
                    "held_out_rms": fit.held_out_rms,
                    **{f"held_out_{kind}": rms for kind, rms in fit.held_out_by_kind.items()},
                    "chosen": fit is self.chosen,
                }
                for fit in self.fits
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Figures for reports."""
        return {
            "forms": [fit.to_dict() for fit in self.fits],
            "chosen": self.chosen.name,
            "reason": self.reason,
        }


def _every_stage(fit: FormFit) -> list[Any]:
    stages = list(fit.stages)
    if stages != [None] and stages != list(range(len(stages))):
        found = ", ".join(str(stage) for stage in stages[:20])
        raise InputError([Problem(f"{fit.timings.source}, stage", found, "every stage from 0 up")])
    return list(fit.stages.values())


def fit(
    timings: Timings | str | os.PathLike[str], *, form: str = AUTO, breaks: Sequence[int] = ()
) -> FormChoice:
    """Fit forms to timings of chunks and choose one by what it predicts of rows that were left out.

    Parameters
    ----------
    timings : Timings or path
        A CSV file with the columns chunk_tokens, prefix_tokens, seconds and, if stages differ, stage.
    form : str
        One of `FORMS` to fit that alone, or "auto".
    breaks : sequence of int, tokens
        Where kernels switch: prefix and chunk together, ascending; searched by default.

    Returns
    -------
    FormChoice
        With ``costs()`` for an instance, ``to_frame()`` for all forms.

    Raises
    ------
    InputError
        If the file cannot be read, the form is unknown, breaks mean nothing for it, or there are too few
        timings.

    Examples
    --------
    >>> import mocap_opt
    >>> choice = mocap_opt.fit("instances/timings/llama-3.1-70b-pjlab.csv")
    >>> choice.chosen.name, round(100 * choice.chosen.rms, 1)
    ('length', 1.5)
    >>> round(float(choice.chosen.predict(4096, 65536)), 2)
    0.52
    """
    read = timings if isinstance(timings, Timings) else read_timings(timings)
    problems = []
    if form != AUTO and form not in FORMS:
        problems.append(Problem("form", repr(form), f"{AUTO} or one of {', '.join(FORMS)}"))
    elif breaks and form != AUTO and not FORMS[form].switched:
        switched = ", ".join(name for name, each in FORMS.items() if each.switched)
        problems.append(Problem("break", f"with form {form}", f"a form with breaks: {switched}"))
    longest = int((read.length + read.prefix).max())
    problems += [
        Problem("break", f"{at}", f"tokens of prefix and chunk together, from 1 to {longest - 1}")
        for at in breaks
        if not 0 < at < longest
    ]
    if problems:
        raise InputError(problems)
    return FormChoice(
        read, tuple(fit_forms(read, names=None if form == AUTO else [form], breaks=breaks)), form
    )
