"""Costs of an instance from what a log says: a whole table as it is, else a form that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mocap_opt.calibration.fit import fit_timings
from mocap_opt.calibration.forms import choose_form, fit_forms, to_measured
from mocap_opt.calibration.logs.log import Law, Log
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.costs import MeasuredTimes
from mocap_opt.instance.timings import Timings, lattice
from mocap_opt.units import format_percent

MOST_STEPS = 512
"""Steps of the grid at most, unless a quantum is asked for: what is proved within half a minute."""

ALIGNMENT = 64
"""Tokens that engines round to; the grid's steps are multiples of it."""

MOST_PREFIXES = 64
"""Prefixes at which a form is tabulated."""


@dataclass(frozen=True)
class Reach:
    """Which chunks a plan may use, tokens.

    Attributes
    ----------
    tokens : int
        Of the prompt.
    quantum : int
        Chunks are multiples of it.
    shortest, longest : int
    """

    tokens: int
    quantum: int
    shortest: int
    longest: int


def reach_of(log: Log, tokens: int, quantum: int | None, longest: int | None) -> Reach:
    """Choose a grid and the lengths that chunks may have: those that were measured.

    Parameters
    ----------
    log : Log
    tokens : int
        Of the prompt.
    quantum, longest : int, optional
        As asked for, tokens.

    Raises
    ------
    InputError
        If no multiple of the quantum lies within the measured lengths.
    """
    step = quantum or ALIGNMENT * -(-tokens // (ALIGNMENT * MOST_STEPS))
    if log.law is not None:
        measured = log.law.least, log.law.most
    elif log.timings is None:
        measured = 1, tokens
    else:
        measured = int(log.timings.length.min()), int(log.timings.length.max())
    most = min(measured[1], tokens, longest or tokens)
    if most < measured[0]:
        expected = f"chunks of at least {measured[0]} tokens, the shortest there are times for"
        asked = "longest" if (longest or tokens) < tokens else "tokens"
        raise InputError([Problem(asked, f"{most}", expected, "measure shorter chunks")])
    least = -(-measured[0] // step) * step
    whole = most // step * step
    if most == tokens:
        whole = tokens
    if least > whole:
        found = f"lengths of {measured[0]} to {most} tokens"
        remedy = "measure longer chunks, or ask for a finer --quantum"
        raise InputError([Problem(log.source, found, f"some multiple of {step} tokens among them", remedy)])
    return Reach(tokens, step, least, whole)


def costs_of(log: Log, stages: int, reach: Reach, extrapolate: bool) -> tuple[dict[str, Any], str]:
    """Costs as an instance takes them, and a line on how they came about.

    Parameters
    ----------
    log : Log
    stages : int
    reach : Reach
        Chunks that need a time.
    extrapolate : bool
        Whether a form may be used beyond what was measured.

    Raises
    ------
    InputError
        If the log names another number of stages, or does not reach as far and must not be extrapolated, or
        its formula gives no time above 0.
    """
    if log.law is not None:
        return _tabulated(log.law, log.source, reach), "the engine's own formula"
    assert log.timings is not None
    timings = log.timings
    named = timings.by_stage()
    if None not in named and list(named) != list(range(stages)):
        found = f"stages {', '.join(str(stage) for stage in list(named)[:20])}"
        raise InputError([Problem(f"{timings.source}, stage", found, f"stages 0 to {stages - 1}, as asked")])
    if _covered(timings, reach):
        return {"kind": "measured", "stages": lattice(timings)}, "the times as they are, interpolated"
    if any(np.unique(part.prefix).size == 1 for part in named.values()):
        return _prefix_free(timings, stages)
    fit = choose_form(fit_forms(timings))
    lengths, prefixes = _points(timings, reach)
    beyond = _beyond(timings, reach)
    if beyond and not extrapolate:
        expected = f"chunks after up to {reach.tokens - reach.shortest} tokens, as the prompt has"
        remedy = "measure a prompt of this length, or go beyond what was measured: --extrapolate"
        raise InputError([Problem(timings.source, beyond, expected, remedy)])
    tables = to_measured(fit, lengths, prefixes, extrapolate=True)
    whole = [table.model_dump() for table in ([tables] if isinstance(tables, MeasuredTimes) else tables)]
    said = f"form {fit.name}, {fit.form.formula}: RMS {format_percent(fit.rms)}"
    if fit.held_out_rms is not None:
        said += f", {format_percent(fit.held_out_rms)} where it was not fitted"
    if beyond:
        said += f"; EXTRAPOLATED beyond {beyond}"
    return {"kind": "measured", "stages": whole[0] if len(whole) == 1 else whole}, said


def _covered(timings: Timings, reach: Reach) -> bool:
    """Whether every chunk lies between measured ones, all lengths after all prefixes."""
    try:
        tables = lattice(timings)
    except InputError:
        return False
    return all(
        table["prefixes"][0] == 0
        and table["prefixes"][-1] >= reach.tokens - reach.shortest
        and len(table["lengths"]) > 1
        for table in ([tables] if isinstance(tables, dict) else tables)
    )


def _beyond(timings: Timings, reach: Reach) -> str:
    """How far prefixes were measured, if that is not far enough; else nothing."""
    most = min(int(part.prefix.max()) for part in timings.by_stage().values())
    # One chunk more is no reach: the last one of a served prompt, which some logs do not time.
    parts = timings.by_stage().values()
    ends = min(int((part.prefix + part.length).max()) + int(part.length.max()) for part in parts)
    return "" if ends >= reach.tokens else f"chunks after at most {most} tokens"


def _points(timings: Timings, reach: Reach) -> tuple[list[int], list[int]]:
    """Lengths and prefixes at which a form is tabulated: every step of the grid, and what was measured."""
    lengths = {*range(reach.shortest, reach.longest + 1, reach.quantum), reach.longest}
    measured = timings.length[(timings.length >= reach.shortest) & (timings.length <= reach.longest)]
    lengths |= {int(value) for value in np.unique(measured)}
    prefixes = np.unique(np.append(timings.prefix[timings.prefix <= reach.tokens], [0, reach.tokens]))
    chosen = prefixes[np.unique(np.linspace(0, prefixes.size - 1, MOST_PREFIXES).round().astype(int))]
    return sorted(lengths), [int(value) for value in chosen]


def _prefix_free(timings: Timings, stages: int) -> tuple[dict[str, Any], str]:
    """Coefficients from chunks of one prefix: what a prefix costs follows from the square of lengths."""
    if int(timings.prefix.max()) > 0:
        found, expected = (
            f"chunks after {int(timings.prefix.max())} tokens alone",
            "several prefixes, or none",
        )
        raise InputError([Problem(timings.source, found, expected, "measure prefix-free chunks too")])
    fits = fit_timings(timings, held=("prefix",))
    costs = [fit.coefficients for fit in fits]
    largest = max(float(np.abs(fit.residuals).max()) for fit in fits)
    said = (
        "no chunk after a prefix was timed: its cost is taken from the square of the length, as SGLang does; "
        f"residuals up to {format_percent(largest)}"
    )
    return {"kind": "coefficients", "stages": costs[0] if len(costs) == 1 else costs}, said


def _tabulated(law: Law, source: str, reach: Reach) -> dict[str, Any]:
    """The table of a formula that is linear in the prefix: every step, and two prefixes."""
    lengths = sorted({*range(reach.shortest, reach.longest + 1, reach.quantum), reach.longest})
    prefixes = [0, reach.tokens]
    seconds = law.seconds(np.array(lengths, dtype=float)[:, None], np.array(prefixes, dtype=float))
    if not (seconds > 0).all():
        place = np.argwhere(seconds <= 0)[0]
        found = f"{seconds[tuple(place)]:.3g} s for {lengths[place[0]]} tokens after {prefixes[place[1]]}"
        raise InputError(
            [Problem(source, found, "times above 0", "the engine's own fit does not hold there")]
        )
    table = {"lengths": lengths, "prefixes": prefixes, "seconds": seconds.tolist()}
    return {"kind": "measured", "stages": table}
