"""Why the bound stops where it does: the bounds in order, and what the plan pays rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mocap_opt.bounds.plain_words import plain_words
from mocap_opt.flow_shop.chunk_times import chunk_times, entry
from mocap_opt.flow_shop.recursion import flow_shop_makespan
from mocap_opt.lower_bound import Bound, Scope
from mocap_opt.replay.contention_free_makespan import admission_predecessors, contention_free_makespan
from mocap_opt.schedule.plan import Plan
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import format_percent

OF_TRAFFIC = ("streaming", "energetic_traffic", "traffic_branching", "slot_traffic_branching")
"""Bounds that rest on KV that memory forces over links."""

CLOSED = Fraction(1, 10_000)
"""A gap of so much is none."""


@dataclass(frozen=True)
class ToldBound:
    """A bound with what it counts.

    Attributes
    ----------
    name : str
    value_s : float
    lockstep_only : bool
        Whether it holds for lockstep alone.
    words, leaves_out : str
    below : float
        The part of the explained latency that lies above it.
    evidence : str
    """

    name: str
    value_s: float
    lockstep_only: bool
    words: str
    leaves_out: str
    below: float
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dict(vars(self))


def told_bounds(tables: Tables, bounds: Sequence[Bound], latency: Fraction) -> tuple[ToldBound, ...]:
    """All bounds, weakest first; of each name the best.

    Parameters
    ----------
    tables : Tables
    bounds : sequence of Bound
    latency : Fraction, ticks
        That is explained.
    """
    best: dict[str, Bound] = {}
    for bound in bounds:
        if bound.name not in best or best[bound.name].ticks < bound.ticks:
            best[bound.name] = bound
    found = []
    for bound in sorted(best.values(), key=lambda each: each.ticks):
        words = plain_words(bound.name)
        found.append(
            ToldBound(
                bound.name,
                tables.seconds(bound.ticks),
                bound.scope is Scope.LOCKSTEP,
                words.words,
                words.leaves_out,
                float(1 - bound.ticks / latency) if latency else 0.0,
                bound.evidence.value,
            )
        )
    return tuple(found)


def paid_by_rule(tables: Tables, plan: Plan, latency: Fraction) -> tuple[tuple[str, Fraction], ...]:
    """What a plan pays as rules are added one by one, ticks; the parts add up to its latency.

    The same chunks in flow shops with ever more rules (`mocap_opt.flow_shop.recursion`), then the run itself.
    A part is what a rule adds to those before it.

    Parameters
    ----------
    tables : Tables
    plan : Plan
    latency : Fraction, ticks
        Of the run that is explained.
    """
    indices, pages = plan.grid_indices(tables), plan.remote_pages(tables)
    work, send = chunk_times(tables, indices)
    depth, begins = tables.queue_depth, entry(tables, indices)
    waits = admission_predecessors(tables, indices, pages) if plan.homes else None
    levels = (
        ("chunks and sends alone", flow_shop_makespan(work, send, None, None, begins)),
        ("full queues", flow_shop_makespan(work, send, depth, None, begins)),
        ("admission to memory", flow_shop_makespan(work, send, depth, waits, begins)),
        ("its own KV traffic", contention_free_makespan(tables, indices, pages)),
        ("sharing links and ports, barriers", latency),
    )
    parts, before = [], Fraction(0)
    for name, level in levels:
        # Rounded up as tables are, so never counted beyond the run itself.
        reached = max(before, min(Fraction(level), latency))
        parts.append((name, reached - before))
        before = reached
    return tuple(parts)


def verdict(
    latency: Fraction, bounds: Sequence[Bound], covering: Bound | None, parts: Sequence[tuple[str, Fraction]]
) -> list[str]:
    """Sentences on what the gap is made of.

    Parameters
    ----------
    latency : Fraction, ticks
    bounds : sequence of Bound
    covering : Bound or None
        The best one for the explained execution.
    parts : sequence of (str, Fraction)
        As `paid_by_rule`.
    """
    if covering is None:
        return ["No bound is known."]
    said, gap = [], latency - covering.ticks
    if gap <= CLOSED * latency:
        said.append("The bound is reached: neither the plan nor the proof loses more than 0.01 %.")
    else:
        rules = sum((ticks for _, ticks in parts[1:]), Fraction(0))
        if rules == 0:
            said.append(
                "Queues, memory and KV traffic cost this plan nothing: what is open is whether other chunks "
                "are faster."
            )
        elif rules >= gap:
            most = max(parts[1:], key=lambda part: part[1])
            said.append(
                f"The plan's chunks alone come within the bound; it pays most for: {most[0]}.  "
                "What is open is whether other homes or chunks avoid that."
            )
        else:
            said.append("Part of the gap is in the chunks, part in what rules add to them.")
    value = {bound.name: bound.ticks for bound in bounds}
    free, pooled = value.get("crossing"), value.get("crossing_pooled_memory")
    if free is not None and pooled is not None:
        said.append(
            "The bound of work is equal with and without memory: chunks that do not fit are no loss there."
            if free >= pooled
            else "The bound of work is higher with memory than without: memory forbids the best chunks."
        )
    if covering.name in OF_TRAFFIC and pooled is not None and covering.ticks > pooled:
        part = format_percent(float((covering.ticks - pooled) / latency)) if latency else "-"
        said.append(
            f"KV traffic that memory forces out of its stages raises the bound by {part} of the latency."
        )
    return said
