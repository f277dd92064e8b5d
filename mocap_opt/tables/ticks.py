"""The length of a tick, and rates as whole bytes per tick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from mocap_opt.errors import InputError, Problem
from mocap_opt.units import format_bandwidth, format_seconds

MAX_LOSS = Fraction(1, 10_000)
"""Rounding a rate down to whole bytes per tick must lose less than this part of it."""

NANOSECOND = Fraction(1, 10**9)
LONGEST_TICK = Fraction(1, 1000)


def rate_per_tick(rate: Fraction, tick: Fraction) -> int:
    """Bytes per tick, rounded down, so that no link or port is ever faster than it is."""
    return int(rate * tick)


def loss(rate: Fraction, tick: Fraction) -> Fraction:
    """Return the part of a rate that rounding down to whole bytes per tick loses."""
    return 1 - rate_per_tick(rate, tick) / (rate * tick)


def choose_tick(rates: Iterable[Fraction]) -> Fraction:
    """Pick the shortest of 1, 2, 5, 10, ... ns at which no rate loses 1e-4 or more.

    Parameters
    ----------
    rates : iterable of Fraction
        Bytes per second of every link and memory port.

    Returns
    -------
    Fraction
        Seconds.

    Raises
    ------
    InputError
        If no tick up to a millisecond will do.
    """
    distinct = sorted(set(rates))
    for tick in _round_ticks():
        if all(loss(rate, tick) < MAX_LOSS for rate in distinct):
            return tick
    found = f"a rate of {format_bandwidth(distinct[0])}"
    expected = f"rates of many bytes in {format_seconds(LONGEST_TICK)}, the longest tick"
    raise InputError([Problem("wafer", found, expected, "check the bandwidths: they are in bytes/s")])


def check_tick(tick: Fraction, rates: Iterable[Fraction]) -> Fraction:
    """Return a tick the instance asks for, if every rate keeps its value at it.

    Raises
    ------
    InputError
        If a rate loses 1e-4 or more; names the tick that would do.
    """
    distinct = sorted(set(rates))
    worst = max(distinct, key=lambda rate: loss(rate, tick))
    if loss(worst, tick) >= MAX_LOSS:
        lost = f"{float(loss(worst, tick)):.2g}"
        found = f"{format_seconds(tick)}, at which {format_bandwidth(worst)} loses {lost} of itself"
        remedy = f"use {format_seconds(choose_tick(distinct))}, or leave it out"
        expected = "a tick at which rates in whole bytes per tick lose less than 1e-4"
        raise InputError([Problem("tick", found, expected, remedy)])
    return tick


def _round_ticks() -> Iterator[Fraction]:
    """1, 2, 5, 10, 20, 50, ... nanoseconds."""
    decade = NANOSECOND
    while decade <= LONGEST_TICK:
        yield from (step * decade for step in (1, 2, 5) if step * decade <= LONGEST_TICK)
        decade *= 10
