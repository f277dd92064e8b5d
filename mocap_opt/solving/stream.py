"""Answer a stream: exactly where it is short, as one prompt where it is one, by searches otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mocap_opt.baselines.registry import find_method
from mocap_opt.bounds import Bound, lower_bounds, prove_infeasible
from mocap_opt.bounds.makespan import StreamNeeds, completion_bounds, ranked_bound
from mocap_opt.homes.proposal import Method, Proposal
from mocap_opt.replay.evaluation import Assessment, Execution, assess_schedule
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.requests import Request, alone, build_requests
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import stream_from_dict
from mocap_opt.search.stream_candidate import Candidate, Pricer
from mocap_opt.search.stream_enumeration import MOST_SCHEDULES, UnfinishedError, schedules, solve_exactly
from mocap_opt.solving import latency
from mocap_opt.solving.answerer import NOT_FOUND, Answerer, BoundsFound
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.methods import JOINT_METHODS
from mocap_opt.solving.schedule_search import MAKESPAN, StreamGoal, StreamSearch
from mocap_opt.solving.solution import Found, Query
from mocap_opt.solving.stream_planner import plan_stream
from mocap_opt.stopping import STOPPED, Deadline
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

BOUNDING = 0.4
"""Part of the time that the bounds may take."""

EXACT_SHARE = 0.5
"""Part of the time that going through all schedules of a short stream may take."""

PERCENTILE = Fraction(99, 100)
"""The 99th percentile is the least completion that 99 % of the requests do not exceed."""

FIGURES = (
    *("makespan_s", "lockstep_makespan_s", "event_makespan_s"),
    *("mean_completion_s", "lockstep_mean_completion_s", "event_mean_completion_s"),
    *("p99_completion_s", "throughput_rps"),
    *("mean_lower_bound_s", "mean_gap", "p99_lower_bound_s", "p99_gap"),
)
"""What is reported of every stream, whichever of them is minimised: completions run from release to having
left in the reported execution, throughput is requests over makespan, gaps are to any execution's bounds."""


class StreamAnswerer(Answerer):
    """Answers several requests; a stream of one request is answered as the prompt it is.

    Attributes
    ----------
    goal : StreamGoal
        What is minimised.
    """

    def __init__(
        self, instance: Instance, tables: Tables | None = None, *, goal: StreamGoal = MAKESPAN
    ) -> None:
        super().__init__(instance, tables)
        self.goal = goal
        self.objective = goal.objective
        self.order_given = instance.workload.order == "given"

    @cached_property
    def requests(self) -> tuple[Request, ...]:
        """In the order of the instance."""
        return build_requests(self.instance)

    @cached_property
    def needs(self) -> StreamNeeds | None:
        """What the requests need at least, for bounds on completions; None if one has no plan."""
        return StreamNeeds.of(self.requests)

    def search(self, query: Query) -> Found:
        """Bound, then plan all requests together, or run a heuristic's plans.

        Short streams are solved exactly in lockstep as well as searched; the better of both sequences is
        taken.

        Raises
        ------
        InputError
            As `mocap_opt.schedule.requests.build_requests`, or if there is no such method.
        """
        asked, deadline = query.asked, query.deadline
        if len(self.requests) == 1:
            return self._search_one(query)
        heuristic = None if asked.method in JOINT_METHODS else find_method(asked.method)
        search = StreamSearch(
            self.requests,
            self.order_given,
            self.instance.fingerprint,
            deadline=deadline,
            gap=asked.gap,
            callback=query.callback,
            threads=asked.threads,
            goal=self.goal,
        )
        search.begin(f"bounds on the {self.objective.record.words}")
        search.add_bounds(self.goal.bounds(self.requests, self.order_given, deadline.share(BOUNDING)))
        reason = _search(search, asked.seed) if heuristic is None else _repeat(search, heuristic)
        return Found(
            tables=search.machine,
            best=search.best,
            bounds=search.bounds,
            infeasible=search.infeasible,
            reason=reason,
            found_by=search.found_by,
            notes=search.notes,
        )

    def _search_one(self, query: Query) -> Found:
        """Solve a stream of one request as a prompt; all times begin at its release."""
        (request,), callback = self.requests, query.callback
        later_s = 0.0 if self.goal.from_release else request.tables.seconds(request.release)

        def tell(news: Progress) -> None:
            if callback is None:
                return
            later = [None if value is None else value + later_s for value in (news.latency_s, news.bound_s)]
            relative = None if None in later or not later[0] else (later[0] - (later[1] or 0.0)) / later[0]
            callback(replace(news, latency_s=later[0], bound_s=later[1], gap=relative))

        found = latency.ANSWERER(alone(self.instance, 0)).search(replace(query, callback=tell))
        best = None
        if found.best is not None:
            best = assess_schedule(Schedule((request.scheduled(found.best.plan, 0, 0),)))
        return replace(
            found,
            tables=request.tables,
            best=best,
            bounds=self.goal.of_one(request, found.bounds),
            trials=(),
            figures={},
        )

    def read(self, plan: Any) -> Schedule:
        """Take a sequence of the requests; see `Answerer.read`."""
        return plan if isinstance(plan, Schedule) else stream_from_dict(plan, self.requests)

    def quick_bounds(self) -> Sequence[Bound]:
        """Bounds on what is minimised, of one request those of its latency; see `Answerer.quick_bounds`."""
        return self._bounds(Query(deadline=Deadline()))

    def _bounds(self, query: Query) -> list[Bound]:
        if len(self.requests) > 1:
            return self.goal.bounds(self.requests, self.order_given, query.deadline)
        (request,) = self.requests
        return self.goal.of_one(request, lower_bounds(request.tables, query.quick, query.deadline))

    def bound(self, query: Query) -> BoundsFound:
        """Bound what is minimised; a request without a plan alone has none here; see `Answerer.bound`."""
        tables = self.requests[0].tables
        for request in {id(request.tables): request for request in self.requests}.values():
            impossible = prove_infeasible(request.tables, query.deadline)
            if impossible is not None:
                message = f"request {request.name}: {impossible.message}"
                return tables, [], replace(impossible, message=message)
        query.on_bound(f"bounds on the {self.objective.record.words}")
        found = [replace(each, ticks=each.ticks // self.divisor) for each in self._bounds(query)]
        if query.deadline.expired:
            query.on_note(STOPPED)
        return tables, sorted(found, key=lambda each: each.ticks), None

    def value(self, found: Assessment, execution: Execution) -> Fraction:
        """What the goal minimises; see `Answerer.value`.

        Parameters
        ----------
        found, execution
            As there.
        """
        return self.goal.value(self.requests, self.goal.ranks(found)[execution])

    @property
    def divisor(self) -> int:
        """The number of requests where a mean is minimised; see `Answerer.divisor`."""
        return len(self.requests) if self.goal.from_release else 1

    def figures(self, found: Assessment | None, bound: Bound | None) -> dict[str, Any]:
        """Makespan, completions and throughput, and every request; see `Answerer.figures`.

        Parameters
        ----------
        found, bound
            As there.
        """
        count, figure = len(self.requests), self.objective.record.figure
        made: dict[str, Any] = {"requests": count, **dict.fromkeys(FIGURES), "completions": []}
        if found is not None:
            made |= self._figures(found, bound)
        # What is minimised stands among the report's own fields.
        return {name: value for name, value in made.items() if not name.endswith(f"{figure}_s")}

    def _figures(self, found: Assessment, bound: Bound | None) -> dict[str, Any]:
        schedule = found.schedule
        seconds, count = schedule.machine.seconds, len(schedule)
        made: dict[str, Any] = {}
        released = sum(request.release for request in schedule)
        for kind, execution in (
            ("", self.reported(found)),
            ("lockstep_", Execution.LOCKSTEP),
            ("event_", Execution.EVENT),
        ):
            ends = [Fraction(end) for end in found.completion_in(execution)]
            made[f"{kind}makespan_s"] = seconds(max(ends))
            made[f"{kind}mean_completion_s"] = seconds((sum(ends, Fraction(0)) - released) / count)
        ends = [Fraction(end) for end in found.completion_in(self.reported(found))]
        waited = [end - request.release for end, request in zip(ends, schedule, strict=True)]
        rank = -(-count * PERCENTILE.numerator // PERCENTILE.denominator)
        mean, slow = sum(waited, Fraction(0)) / count, sorted(waited)[rank - 1]
        others = self._other_bounds(bound, rank)
        for name, value, least in zip(("mean", "p99"), (mean, slow), others, strict=True):
            made[f"{name}_lower_bound_s"] = None if least is None else seconds(least)
            made[f"{name}_gap"] = None if least is None or not value else float(1 - least / value)
        return made | {
            "p99_completion_s": seconds(slow),
            "throughput_rps": count / made["makespan_s"] if made["makespan_s"] else None,
            "completions": [
                {
                    "request": request.number,
                    "name": request.name,
                    "slot": request.slot,
                    "chunks": request.plan.chunks,
                    "release_s": seconds(request.release),
                    "completion_s": seconds(each),
                }
                for request, each in zip(schedule, waited, strict=True)
            ],
        }

    def _other_bounds(self, bound: Bound | None, rank: int) -> list[Fraction | None]:
        """The greatest bounds on the mean and on the completion of a rank, ticks, the goal's too."""
        requests, needs, only = self.requests, self.needs, []
        if bound is not None and len(requests) == 1:
            # What is minimised grows evenly with the only request's completion.
            at_release, a_tick_later = (
                self.goal.value(requests, self.goal.ranked(end, end))
                for end in (Fraction(requests[0].release), Fraction(requests[0].release + 1))
            )
            only = [(bound.ticks - at_release) / (a_tick_later - at_release)]
        mean, slow = list(only), list(only)
        if needs is not None:
            mean.append(Fraction(completion_bounds(needs, self.order_given), len(requests)))
            slow.append(Fraction(ranked_bound(needs, self.order_given, rank)))
        if bound is not None and self.goal.from_release:
            mean.append(Fraction(bound.ticks, len(requests)))
        return [max(mean, default=None), max(slow, default=None)]


def _search(search: StreamSearch, seed: int) -> str:
    """Look for a sequence by every means; return why none was found, should that be so."""
    if schedules(search.requests, search.order_given) <= MOST_SCHEDULES:
        _search_exactly(search)
    if search.infeasible is None and not search.closed:
        plan_stream(search, seed=seed)
    if search.infeasible is None and search.best is None:
        _refute(search)
    return NOT_FOUND


def _repeat(search: StreamSearch, method: Method) -> str:
    """Run a heuristic's plans of all requests one after the other; return why that cannot be done."""
    search.begin(method.name)
    numbers = range(len(search.requests))
    order = list(numbers)
    if not search.order_given:
        order.sort(key=lambda r: (search.requests[r].release, r))
    proposals: dict[int, Proposal] = {}
    for r in numbers:
        tables = search.requests[r].tables
        if id(tables) not in proposals:
            proposals[id(tables)] = method.propose(tables, search.deadline)
    plans: list[Plan] = []
    for r in order:
        proposal = proposals[id(search.requests[r].tables)]
        if proposal.plan is None:
            return f"request {search.requests[r].name}: {proposal.reason}"
        plans.append(proposal.plan)
    pricer = Pricer(search.requests, search.fingerprint, search.goal.ranked)
    cuts = [plan.grid_indices(search.requests[r].tables) for r, plan in zip(order, plans, strict=True)]
    found = pricer.candidate(order, cuts, plans)
    if found is None:
        return "its plans of the requests do not fit in memory one after the other"
    search.offer(found, method.name)
    return ""


def _search_exactly(search: StreamSearch) -> None:
    """Go through all schedules in a part of the time."""
    search.begin("all schedules")
    late = search.share(EXACT_SHARE)
    requests, given = search.requests, search.order_given

    def found(sequence: Schedule) -> None:
        search.offer(Candidate.of(sequence, search.goal.ranked), "all schedules")

    try:
        best = solve_exactly(requests, given, search.fingerprint, late, found, search.goal.ranked)
    except UnfinishedError as error:
        if not search.closed:
            search.notes.append(f"not all schedules were gone through: {error}")
        return
    if best is None:
        search.infeasible = "no sequence of these requests fits in memory"


def _refute(search: StreamSearch) -> None:
    """Without a sequence, try to prove that there is none: that some request has no plan even alone."""
    unlike = {id(request.tables): request for request in search.requests}
    for request in unlike.values():
        impossible = prove_infeasible(request.tables, search.deadline)
        if impossible is not None:
            search.infeasible = f"request {request.name} has no plan even alone: {impossible.message}"
            return


ANSWERER = StreamAnswerer
