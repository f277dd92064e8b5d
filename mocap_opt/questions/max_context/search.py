"""The longest prompt whose plan keeps to a latency limit or to a longest chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.baselines import HOME_RULES
from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.errors import InputError, Problem
from mocap_opt.questions.max_context.instance_family import LatencyLimit, LengthFamily, last_found
from mocap_opt.questions.max_context.result import TIME_WAS_UP, LongestPrompt, Obstacle, Point
from mocap_opt.questions.max_context.upper_bounds import (
    latency_obstacle_at,
    latency_upper_bound,
    memory_obstacle_at,
    memory_upper_bound,
    shortest_chunk,
)
from mocap_opt.replay.evaluation import Assessment, assess
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import solve_jointly
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import AskedToStop, Deadline, never
from mocap_opt.tables.cost_tables import Tables

FIRST_TRIED = ("mocap", "search-greedy", "uniform-greedy", "search-mirror")
"""Methods the joint search asks at every length before it searches for itself."""

BOUNDING = 0.3
"""Part of the time that is the upper bound's."""

SHARE = 0.1
"""Part of the time left that the joint search may spend on one length."""


def fitting_plan(tables: Tables, asked_to_stop: AskedToStop = never) -> Plan | None:
    """A plan that keeps every boundary as early as the limits allow, if memory admits one.

    For each longest chunk, shortest first, and each count these boundaries need least memory in
    every slot; with pages of one size some of them fit if any plan does.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Once it says so, there is no plan.
    """
    setting, memory = Setting(tables), PooledMemory.of(tables)
    lengths = [k for k in range(1, tables.steps + 1) if tables.length_allowed[:, k].any()]
    for longest in lengths:
        for count in setting.counts:
            if asked_to_stop():
                return None
            if setting.limits.shortest_longest(count) > longest:
                continue
            marks = setting.limits.least_boundaries(count, longest)
            if not memory.fits(marks, longest * tables.quantum):
                continue
            pages = HOME_RULES["greedy"](tables, marks).pages
            plan = None if pages is None else Plan.from_arrays(tables, marks, pages)
            if plan is not None and not violations(tables, plan):
                return plan
    return None


@dataclass(eq=False)
class LengthSearch:
    """One search: a family, a method, a limit on latency and one on time.

    Attributes
    ----------
    family : LengthFamily
    method : str
        A heuristic's name, or ``"joint"``.
    limit : LatencyLimit or None
    deadline : Deadline
        The shortest length is asked about in any case.
    seed : int
    tell : callable
        Told in words what is being done.
    cut_short : bool
        Whether some length was passed over for want of time.
    """

    family: LengthFamily
    method: str
    limit: LatencyLimit | None
    deadline: Deadline
    seed: int = 0
    tell: Callable[[str], None] = lambda doing: None
    cut_short: bool = False
    _asked: int = 0

    def attempt(self, steps: int) -> Point | None:
        """A plan of that many grid steps within the limit, if one is found."""
        self._asked += 1
        if self._asked > 1 and self.deadline.expired:
            self.cut_short = True
            return None
        self.tell(f"a plan for {steps * self.family.longest.quantum:,} tokens")
        tables = self.family.at(steps * self.family.longest.quantum)
        allowed = None if self.limit is None else self.limit.at(tables.tokens)
        if self.limit is not None and allowed is None:
            return None
        names = FIRST_TRIED if self.method == "joint" else (self.method,)
        for name in names:
            point = self._point(tables, find_method(name).propose(tables, self._late).plan, name, allowed)
            if point is not None:
                return point
        if self.method != "joint":
            return None
        if allowed is None:
            return self._point(tables, fitting_plan(tables, self._late), "earliest boundaries", None)
        return self._search(tables, allowed)

    def _late(self) -> bool:
        """Whether to leave off a length: time is up, and it is not the first one."""
        late = self._asked > 1 and self.deadline.expired
        self.cut_short |= late
        return late

    def fastest(self, steps: int) -> Point | None:
        """The fastest plan of that many grid steps that the methods asked first find, within the limit."""
        if self.deadline.expired:
            return None
        tables = self.family.at(steps * self.family.longest.quantum)
        allowed = None if self.limit is None else self.limit.at(tables.tokens)
        if self.limit is not None and allowed is None:
            return None
        names = FIRST_TRIED if self.method == "joint" else (self.method,)
        plans = ((name, find_method(name).propose(tables, self._late).plan) for name in names)
        points = (self._point(tables, plan, name, allowed) for name, plan in plans)
        known = [point for point in points if point is not None]
        return min(known, key=lambda point: point.assessment.latency) if known else self.attempt(steps)

    def _point(self, tables: Tables, plan: Plan | None, name: str, allowed: Fraction | None) -> Point | None:
        if plan is None:
            return None
        found = assess(tables, plan)
        within = allowed is None or found.latency <= allowed
        return Point(tables.tokens, found, name) if within else None

    def _search(self, tables: Tables, allowed: Fraction) -> Point | None:
        """Let the joint method look for a plan within the limit, and stop at the first one."""

        def enough() -> bool:
            best, bound = state.best_latency, state.headline
            return (best is not None and best <= allowed) or (bound is not None and bound.ticks > allowed)

        state = SearchState(tables, self.deadline.share(SHARE), 0.0)
        state.deadline = state.deadline.unless(enough)
        solve_jointly(state, choose(tables, None, "auto", by_size=True), seed=self.seed)
        best: Assessment | None = state.best
        if best is None or best.latency > allowed:
            return None
        return Point(tables.tokens, best, state.best_source or "joint")

    def obstacle_at(self, steps: int) -> Obstacle | None:
        """What stands in the way of a length without a plan."""
        tables = self.family.longest
        tokens = steps * tables.quantum
        if steps > tables.steps:
            reason = "all memories together cannot hold the first stage's KV of the whole prompt"
            return Obstacle(tokens, reason, proved=True)
        proof = memory_obstacle_at(self.family, steps)
        if proof is None and self.limit is not None:
            proof = latency_obstacle_at(self.family, self.limit, steps)
        if proof is None and self.cut_short:
            return Obstacle(tokens, TIME_WAS_UP)
        if self.method == "joint" or proof is not None:
            return proof or Obstacle(tokens, "no plan was found, and none is ruled out")
        proposal = find_method(self.method).propose(self.family.at(tokens))
        return Obstacle(tokens, proposal.reason or "the plan of this method takes longer than the limit")


def longest_prompt(
    family: LengthFamily,
    method: str,
    limit: LatencyLimit | None,
    *,
    time_limit_s: float = 60.0,
    seed: int = 0,
    curve_points: int = 0,
    asked_to_stop: AskedToStop = never,
    tell: Callable[[str], None] = lambda doing: None,
) -> LongestPrompt:
    """Find the longest prompt under a latency limit, a longest chunk, or both.

    Parameters
    ----------
    family : LengthFamily
    method : str
        A heuristic's name, or ``"joint"``.
    limit : LatencyLimit or None
        None: only if the chunks have a greatest length.
    time_limit_s : float
        Wall time, seconds; the upper bound has `BOUNDING` of it, and what the search leaves.
    seed : int
    curve_points : int
        How many lengths of the curve of latencies to fill in, the longest included; as many as there is
        time for.
    asked_to_stop : callable
        Asked often; once True, what has been found is returned.
    tell : callable
        Told in words what is being done.

    Returns
    -------
    LongestPrompt
        ``tokens`` has a plan, and none was found one quantum further; no prompt longer than
        ``upper_bound_tokens`` has one, by any method.

    Raises
    ------
    InputError
        If there is neither a limit nor a greatest length of a chunk.
    """
    tables = family.longest
    if limit is None and tables.max_length >= tables.tokens:
        raise InputError(
            [
                Problem(
                    "max-length",
                    "no limit on latency or on the length of a chunk",
                    "one of --equal-chunks, --latency-limit, --latency-factor or --set chunking.longest",
                    "without one a giant chunk wins: it pools every memory, but takes as long as the "
                    "stages one after another, and means nothing",
                )
            ]
        )
    deadline = Deadline(time_limit_s).unless(asked_to_stop)
    upper = memory_upper_bound(family)
    low = shortest_chunk(tables) * (tables.max_chunks if tables.exact_chunks else 1)
    absolute = limit is not None and limit.factor is None
    if limit is not None and absolute:
        tell("an upper bound")
        upper = latency_upper_bound(family, limit, 0, upper, deadline.share(BOUNDING))
    bounding = BOUNDING if limit is not None and not absolute else 0.0
    search = LengthSearch(family, method, limit, deadline.share(1 - bounding), seed, tell)
    found = last_found(search.attempt, low, upper, monotone=False)
    reached = 0 if found is None else found[0]
    if limit is not None and not absolute:
        tell("an upper bound")
        upper = latency_upper_bound(family, limit, reached, upper, deadline)
    points = () if found is None else _curve(search, low, found[1], curve_points)
    best = None if found is None else found[1]
    stop = search.obstacle_at(max(reached + 1, low))
    return LongestPrompt(method, best, upper * tables.quantum, stop, points)


def _curve(search: LengthSearch, low: int, last: Point, points: int) -> tuple[Point, ...]:
    """Points at evenly spread lengths up to the longest, where plans are found."""
    reached = last.tokens // search.family.longest.quantum
    wanted = sorted({low + (reached - low) * n // max(points - 1, 1) for n in range(points)} - {reached})
    found = (search.fastest(steps) for steps in wanted)
    return (*(point for point in found if point is not None), last)
