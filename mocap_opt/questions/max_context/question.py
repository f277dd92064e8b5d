"""The question as it is asked, from the command line and from Python: the longest prompt under one rule."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds import Scope, best, lower_bounds, prove_infeasible
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.objectives import require_supported
from mocap_opt.questions.max_context.equal import longest_equal
from mocap_opt.questions.max_context.instance_family import LatencyLimit, LengthFamily
from mocap_opt.questions.max_context.result import LongestPrompt, Point
from mocap_opt.questions.max_context.search import longest_prompt
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.solving.methods import check_limits
from mocap_opt.solving.remedies import infeasible_verdict
from mocap_opt.solving.report import relative_gap
from mocap_opt.stopping import AskedToStop, Deadline, never
from mocap_opt.tables import build_tables
from mocap_opt.units import exact, format_percent, format_seconds_aligned

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.schedule.inputs import GivenInstance

SEARCHING = 0.7
"""Part of the time that the search has where a curve is wanted, whose bounds take the rest."""


@dataclass(frozen=True)
class LongestAnswer:
    """The longest prompt of an instance under a rule, and the proof of how long it could be.

    Attributes
    ----------
    instance : Instance
    family : LengthFamily
        The instance at every length.
    rule : str
        In words.
    found : LongestPrompt
    curve : sequence of dict
        Latency by length, if asked for; see `curve_row`.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/gpt3-175b-watos-longest.json")
    >>> answer = mocap_opt.max_length(instance, equal_chunks=True)
    >>> answer.tokens == answer.upper_bound_tokens
    True
    """

    instance: Instance
    family: LengthFamily
    rule: str
    found: LongestPrompt
    curve: Sequence[dict[str, Any]] = ()

    @property
    def tokens(self) -> int | None:
        """Length of the longest prompt found; None if none was."""
        return self.found.tokens

    @property
    def upper_bound_tokens(self) -> int:
        """No prompt can be longer than this."""
        return self.found.upper_bound_tokens

    @property
    def plan(self) -> Plan | None:
        """The plan of the longest prompt."""
        return None if self.found.best is None else self.found.best.assessment.plan

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        found, seconds = self.found, self.family.longest.seconds
        plan = None if found.best is None else found.best.assessment
        return {
            "instance": self.instance.name,
            "fingerprint": self.instance.fingerprint,
            "method": found.method,
            "rule": self.rule,
            "tokens": found.tokens,
            "upper_bound_tokens": found.upper_bound_tokens,
            "gap": found.gap,
            "stopped_by": None if found.stopped_by is None else found.stopped_by.to_dict(),
            "latency_s": None if plan is None else seconds(plan.latency),
            "lockstep_latency_s": None if plan is None else seconds(plan.lockstep.latency),
            "event_latency_s": None if plan is None else seconds(plan.latency_in(Execution.EVENT)),
            "found_by": None if found.best is None else found.best.source,
            "boundaries": None if plan is None else list(plan.plan.boundaries),
            "curve": list(self.curve),
        }

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The answer in words, a name and what it is."""
        answer, stop = self.to_dict(), self.found.stopped_by
        longest = "no plan found" if self.tokens is None else f"{self.tokens:,} tokens"
        above = format_percent(self.found.gap)
        rows = [
            ("longest", longest),
            ("upper bound", f"{self.upper_bound_tokens:,} tokens, {above} above"),
            ("rule", self.rule),
            ("latency", format_seconds_aligned(answer["latency_s"])),
            ("found by", answer["found_by"] or "-"),
        ]
        if stop is not None:
            proved = "proved" if stop.proved else "not proved for other methods"
            rows.append(("stopped by", f"at {stop.tokens:,} tokens: {stop.reason} ({proved})"))
        return rows

    def __str__(self) -> str:
        """The answer, a line each."""
        lines = [f"{name:12s} {text}" for name, text in self.rows]
        return "\n".join([f"{self.instance.name}: {self.found.method}", *lines])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan of the longest prompt.

        Parameters
        ----------
        path : path

        Raises
        ------
        InputError
            If there is none, or the place cannot be written.
        """
        if self.found.best is None:
            raise InputError([Problem("max_length", "no plan found", "a plan to write")])
        tokens, plan = self.found.best.tokens, self.found.best.assessment.plan
        longest = self.instance.replace(f"workload.tokens={tokens}")
        save_plan(path, plan, longest.name, self.family.at(tokens))


def max_length(
    instance: GivenInstance,
    method: str = "joint",
    *,
    equal_chunks: bool = False,
    latency_limit_s: float | None = None,
    latency_factor: float | None = None,
    time_limit_s: float = 60.0,
    seed: int = 0,
    curve_points: int = 0,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> LongestAnswer:
    """Find the longest prompt that has a plan, and prove how long it could be.

    The prompt's own length is ignored.  Without a limit on latency or on the length of a chunk the
    question is refused: a giant chunk would win and mean nothing.

    Parameters
    ----------
    instance : Instance or mapping
    method : str
        ``"joint"``: every rule; or one heuristic by name.
    equal_chunks : bool
        Exactly max_chunks equal chunks of whole quanta.
    latency_limit_s : float, optional
        What a prompt may take, however long it is, seconds.
    latency_factor : float, optional
        Times the latency of mocap at the same length with memory unlimited.
    time_limit_s : float
        Wall time, upper bounds included, seconds.
    seed : int
    curve_points : int
        Lengths at which latency and bound are told as well.
    stop : threading.Event, optional
        Set it from outside to stop early with the longest prompt so far.
    tell : callable
        Told, in words, what is being done.

    Returns
    -------
    LongestAnswer

    Raises
    ------
    InputError
        If several limits are given, or none, or a name or number is out of range.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/gpt3-175b-watos-longest.json")
    >>> mocap_opt.max_length(instance, equal_chunks=True).tokens
    234496
    """
    rule = _rule(equal_chunks, latency_limit_s, latency_factor)
    check_limits(seed, None, time_limit_s=time_limit_s)
    if method != "joint":
        find_method(method)
    instance = as_instance(instance)
    require_supported(instance, "max-length")
    decode = instance.decode
    if equal_chunks and decode is not None and decode.between_tokens is not None:
        expected, remedy = "no limit where chunks are equal", "leave it out, or limit chunking.longest"
        limit_s = f"{decode.between_tokens:g} s"
        raise InputError([Problem("decode.between_tokens", limit_s, expected, remedy)])
    family, deadline = LengthFamily.of(instance), Deadline(time_limit_s, stop)
    share_s = deadline.share(SEARCHING if curve_points else 1.0).left_s
    asked: dict[str, Any] = {"curve_points": curve_points, "time_limit_s": share_s}
    asked |= {"asked_to_stop": never if stop is None else stop.is_set, "tell": tell}
    if equal_chunks:
        found = longest_equal(family, method, **asked)
    else:
        limit = _limit(family, latency_limit_s, latency_factor)
        found = longest_prompt(family, method, limit, seed=seed, **asked)
        found = found if found.upper_bound_tokens else _explained(instance, found, deadline)
    rows = []
    for number, point in enumerate(found.curve if curve_points else ()):
        tell(f"bounds at {point.tokens:,} tokens")
        rows.append(curve_row(family, point, deadline.share(1 / (len(found.curve) - number))))
    return LongestAnswer(instance, family, rule, found, rows)


def curve_row(family: LengthFamily, point: Point, asked_to_stop: AskedToStop = never) -> dict[str, Any]:
    """A point of the curve, with the gap to the best bound at its length.

    Parameters
    ----------
    family : LengthFamily
    point : Point
    asked_to_stop : callable
        The bounds keep what they have proved by the time it says so.

    Returns
    -------
    dict
        In tokens and seconds.
    """
    tables, found = family.at(point.tokens), point.assessment
    headline = best(lower_bounds(tables, asked_to_stop=asked_to_stop), {Scope.ANY_EXECUTION})
    return {
        "tokens": point.tokens,
        "latency_s": tables.seconds(found.latency),
        "lockstep_latency_s": tables.seconds(found.lockstep.latency),
        "event_latency_s": tables.seconds(found.latency_in(Execution.EVENT)),
        "lower_bound_s": None if headline is None else tables.seconds(headline.ticks),
        "gap": relative_gap(found.latency, headline),
        "chunks": found.plan.chunks,
        "found_by": point.source,
    }


def _rule(equal: bool, limit_s: float | None, factor: float | None) -> str:
    """The rule in words."""
    if sum([equal, limit_s is not None, factor is not None]) > 1:
        found = "several of equal chunks, latency limit and latency factor"
        raise InputError([Problem("max-length", found, "at most one of them")])
    wrong = [
        Problem(name, str(value), "a number above 0")
        for name, value in (("latency_limit_s", limit_s), ("latency_factor", factor))
        if value is not None and not 0 < value < float("inf")
    ]
    if wrong:
        raise InputError(wrong)
    if equal:
        return "exactly M equal chunks"
    if limit_s is not None:
        return f"latency at most {limit_s:g} s"
    if factor is not None:
        return f"latency at most {factor:g} times that of mocap with memory unlimited"
    return "chunks within chunking.longest"


def _explained(instance: Instance, found: LongestPrompt, deadline: Deadline) -> LongestPrompt:
    """Give the verdict of `solve` where memory has no place for even the shortest prompt."""
    if found.stopped_by is None:
        return found
    shortest = instance.replace(f"workload.tokens={found.stopped_by.tokens}")
    tables = build_tables(shortest)
    proof = prove_infeasible(tables, deadline)
    if proof is None:
        return found
    reason = infeasible_verdict(shortest, tables, proof, deadline)
    return replace(found, stopped_by=replace(found.stopped_by, reason=reason))


def _limit(family: LengthFamily, limit_s: float | None, factor: float | None) -> LatencyLimit | None:
    if limit_s is not None:
        return LatencyLimit(family, ticks=Fraction(exact(limit_s)) / family.longest.tick_s)
    return None if factor is None else LatencyLimit(family, factor=Fraction(exact(factor)))
