"""A first look at a layout: bounds without a search, and a plan of a heuristic replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds import prove_infeasible
from mocap_opt.bounds.period import closed_forms
from mocap_opt.errors import InputError
from mocap_opt.questions.max_context.equal import longest_equal
from mocap_opt.questions.max_context.instance_family import LengthFamily
from mocap_opt.questions.max_context.upper_bounds import path_bound
from mocap_opt.questions.tradeoffs.axes import Axis
from mocap_opt.replay.evaluation import assess
from mocap_opt.replay.lockstep import run_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import smallest_interval
from mocap_opt.search.period_starts import starts
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables, require_bounded_queues

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

QUICK = ("mocap", "search-greedy")
"""Heuristics that give the first plan, the next one only where one finds none."""


@dataclass(frozen=True)
class Look:
    """What is known of a variant after a first look.

    Attributes
    ----------
    found, proved : Mapping of Axis to Fraction
        The value of a plan found, and a bound on that of every plan; seconds, die-seconds per token, tokens.
    plan : Plan or None
        That of the latency.
    infeasible : str
        Why the prompt has no plan; empty unless that is proved.
    reason : str
        Why none was found.
    """

    found: Mapping[Axis, Fraction] = field(default_factory=dict)
    proved: Mapping[Axis, Fraction] = field(default_factory=dict)
    plan: Plan | None = None
    infeasible: str = ""
    reason: str = ""


def heuristics_for(method: str) -> tuple[str, ...]:
    """The heuristics of a first look: the method asked for, if it is one."""
    with suppress(InputError):
        return (find_method(method).name,)
    return QUICK


def look(
    instance: Instance,
    tables: Tables,
    dies: int,
    axes: Sequence[Axis],
    heuristics: Sequence[str],
    deadline: Deadline,
) -> Look:
    """Bound and plan a variant without a search; what is not known when time is up is left out.

    Parameters
    ----------
    instance : Instance
        With its layout.
    tables : Tables
    dies : int
        In use.
    axes : sequence of Axis
        What is wanted.
    heuristics : sequence of str
        Tried in this order for a plan.
    deadline : Deadline

    Raises
    ------
    InputError
        If a period is asked for and queues are unbounded, or a longest prompt and nothing limits it.
    """
    found: dict[Axis, Fraction] = {}
    proved: dict[Axis, Fraction] = {}
    if Axis.LONGEST in axes:
        longest = longest_equal(LengthFamily.of(instance), "mocap", asked_to_stop=deadline)
        proved[Axis.LONGEST] = Fraction(longest.upper_bound_tokens)
        if longest.tokens is not None:
            found[Axis.LONGEST] = Fraction(longest.tokens)
    hopeless = prove_infeasible(tables, deadline)
    if hopeless is not None:
        return Look(found, proved, infeasible=hopeless.message)
    least = path_bound(tables, deadline)
    if least is not None:
        proved[Axis.LATENCY] = least * tables.tick_s
    wants_period = Axis.PERIOD in axes or Axis.COST in axes
    if wants_period:
        require_bounded_queues(tables)
        least = max((bound.ticks for bound in closed_forms(tables)), default=0)
        proved |= per_request(instance, dies, least * tables.tick_s)
    plan, reason = first_plan(tables, heuristics, deadline)
    if plan is not None:
        found[Axis.LATENCY] = assess(tables, plan).latency * tables.tick_s
    if wants_period and not deadline.expired:
        plans = [] if plan is None else [smallest_interval(tables, plan)]
        plans += [next((made for made, _ in starts(tables, (), deadline)), None)]
        periods = [Fraction(run_lockstep(made).period) for made in plans if made is not None]
        if periods:
            found |= per_request(instance, dies, min(periods) * tables.tick_s)
    return Look(found, proved, plan, reason=reason)


def first_plan(
    tables: Tables, heuristics: Sequence[str], asked_to_stop: Callable[[], bool]
) -> tuple[Plan | None, str]:
    """The plan of the first heuristic that finds one, and why the others do not.

    Parameters
    ----------
    tables : Tables
    heuristics : sequence of str
    asked_to_stop : callable
    """
    reasons: list[str] = []
    for name in heuristics:
        proposal = find_method(name).propose(tables, asked_to_stop)
        if proposal.plan is not None:
            return proposal.plan, ""
        reasons.append(f"{name}: {proposal.reason}")
    return None, "; ".join(reasons)


def per_request(instance: Instance, dies: int, period: Fraction) -> dict[Axis, Fraction]:
    """A period, and what it costs: dies in use x period / (tokens x batch).

    Parameters
    ----------
    instance : Instance
    dies : int
        In use.
    period : Fraction
        Seconds.
    """
    work = instance.workload
    return {Axis.PERIOD: period, Axis.COST: dies * period / (work.tokens * work.batch)}


def stamped(plan: Plan, instance: Instance) -> Plan:
    """The plan as one of this instance.

    Parameters
    ----------
    plan : Plan
    instance : Instance
        With its layout.
    """
    return replace(plan, fingerprint=instance.fingerprint, layout=instance.decided)
