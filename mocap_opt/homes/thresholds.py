"""Homes by a threshold per stage: KV stays local up to it, the rest goes to one partner.

The rows say: own KV up to the stage's threshold, plus what others send beyond theirs, fits.  A
higher threshold needs more room at home and less at the partner, so of two vectors of thresholds
that fit, the larger of each component fits too.  There is therefore one greatest vector, and
lowering thresholds from "all local" only where a row is broken finds it.  It is the vector with
the least traffic, and it exists exactly if thresholds that minimise the peak fit.
"""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes, Shortage
from mocap_opt.homes.slot_placement import produced, room, worst
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

UNBOUNDED = 2**61
"""Stands for "no row" among bytes."""


def greatest_thresholds(
    tables: Tables, indices: IntArray, partner: IntArray, longest: int | None = None
) -> tuple[IntArray, Shortage | None]:
    """Find the greatest thresholds with which every memory row holds.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    partner : int64[stage]
        Where each stage sends what exceeds its threshold; itself if nowhere.
    longest : int, optional
        The longest chunk that the reserve has to allow for, tokens; by default that of the boundaries.

    Returns
    -------
    int64[stage], pages
        The thresholds (as far as they got, if there is a shortage).
    Shortage or None
        A row that no thresholds meet with these partners.
    """
    stage = np.arange(tables.stages)
    size = np.maximum(tables.page_bytes, 1)
    # In bytes from here on.
    own, left = size[:, None] * produced(tables, indices), room(tables, indices, longest)
    theta = np.full(tables.stages, int(tables.pages[-1]), dtype=np.int64)
    if tables.pools:
        # Nothing goes to a memory without a stage, but what is always there must fit.
        overfull = worst(-np.where(np.arange(tables.memories)[:, None] < tables.stages, 0, left))
        if overfull is not None:
            return theta, overfull
        left = left[: tables.stages]
    moves = partner != stage
    stay = np.flatnonzero(~moves)
    mutual = (partner[partner] == stage) & moves
    giver = np.argsort(partner, kind="stable")
    one_each = bool(np.all(partner[giver] == stage))
    # Both sides of a pair's rows are multiples of what divides both page sizes.
    unit = np.gcd(size, size[partner])
    while True:
        beyond = own - (size * theta)[:, None]
        sent = np.maximum(beyond, 0)
        if stay.size:
            sent[stay] = 0
        free = left - (sent[giver] if one_each else _gathered(sent, partner))
        # What others send here is already the least of any thresholds that fit.
        lacking = -free
        if stay.size:
            lacking[stay] += own[stay]
        shortage = worst(lacking)
        if shortage is None and mutual.any():
            full = beyond >= 0
            if not mutual.all():
                full &= mutual[:, None]
            # What is left of a memory with one giver, before that gives anything, is free + sent.
            room_for_both = left if one_each else free + sent[partner]
            slack = np.where(full & full[partner], room_for_both - own[partner], UNBOUNDED)
            shortage = _locked(slack, partner, unit)
        if shortage is not None:
            return theta, shortage
        cap = np.where(own > free, free, UNBOUNDED).min(axis=1) // size
        bound = np.where(moves, np.minimum(cap, theta), theta)
        if np.all(bound >= theta):
            return theta, None
        theta = bound


def _gathered(sent: IntArray, partner: IntArray) -> IntArray:
    """What every memory is sent, where several stages may send to one."""
    foreign = np.zeros_like(sent)
    np.add.at(foreign, partner, sent)
    return foreign


def _locked(slack: IntArray, partner: IntArray, unit: IntArray) -> Shortage | None:
    """A pair whose rows contradict each other, however low its thresholds.

    Where both have produced at least their thresholds, now and with any lower ones, the row of
    memory a reads theta_a - theta_b <= free_a - own_b (in bytes), and that of b the same with a and
    b exchanged.  If the least right-hand sides add up to less than 0, lowering one threshold
    after the other would go on until nothing is left.

    Parameters
    ----------
    slack : int64[memory, slot], bytes
        The right-hand sides, of which only whole units count; `UNBOUNDED` where there is no row.
    partner, unit : int64[stage]
    """
    least = slack.min(axis=1) // unit * unit
    gap = least + least[partner]
    n = int(gap.argmin())
    if gap[n] >= 0:
        return None
    return Shortage(n, int((slack[n] < least[n] + unit[n]).argmax()), -int(gap[n]))


def threshold_homes(
    tables: Tables, indices: IntArray, partner: IntArray, asked_to_stop: AskedToStop = never
) -> Homes:
    """Homes by the greatest thresholds that fit; see `greatest_thresholds`.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    partner : int64[stage]
        Where each stage sends what exceeds its threshold; itself if nowhere.
    asked_to_stop : callable
        Asked once; `StoppedError` is raised when it says so.
    """
    stop_if(asked_to_stop)
    theta, shortage = greatest_thresholds(tables, indices, partner)
    if shortage is not None:
        return Homes(None, shortage)
    beyond = np.maximum(tables.pages[indices][None, :] - theta[:, None], 0)
    pages = np.zeros((tables.stages, indices.size - 1, tables.memories), dtype=np.int64)
    away = np.flatnonzero(partner != np.arange(tables.stages))
    pages[away, :, partner[away]] = np.diff(beyond[away], axis=1)
    return Homes(pages)


def local(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Every page at its own stage, or the first memory row this breaks most.

    Parameters
    ----------
    tables : Tables
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    asked_to_stop : callable
        As of `threshold_homes`.
    """
    return threshold_homes(tables, indices, np.arange(tables.stages), asked_to_stop)
