"""Share requests out over pipelines and plan the stream of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Method, Proposal
from mocap_opt.replay.evaluation import Execution
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.search.assignment_enumeration import enumerable, least_makespan, renumbered
from mocap_opt.search.pipeline_clock import PipelineClock
from mocap_opt.search.pipeline_moves import Key, Lists, balance, first_free, longest_first
from mocap_opt.search.stream_candidate import Pricer
from mocap_opt.search.stream_divisions import families, within
from mocap_opt.search.stream_enumeration import UnfinishedError
from mocap_opt.solving.pipelines_search import PipelinesSearch
from mocap_opt.solving.schedule_search import StreamSearch
from mocap_opt.solving.stream_planner import plan_stream, spread_trials, unlike_tables
from mocap_opt.stopping import AskedToStop

EXACT_SHARE = 0.5
"""Part of the time that going through all schedules of few requests may take."""

STARTING_SHARE = 0.5
"""Part of the time left that common longest chunks may take."""

TRIALS = 28
"""Common longest chunks that are tried; those that cut no request otherwise count once."""

BALANCING_SHARE = 0.2
"""Part of the time left that balancing one assignment may take."""

REALISED = 3
"""Common longest chunks of a family whose assignments are placed and replayed, the best by the clock."""

MOST_REFINED = 40
"""Requests of a pipeline up to which its stream is planned again by itself."""


def plan_pipelines(search: PipelinesSearch, *, seed: int = 0) -> None:
    """Look for an assignment of least makespan.

    Few requests are solved exactly in lockstep.  Otherwise, and besides, requests are cut by a common longest
    chunk, shared out, and the shares balanced, all by the clock of `mocap_opt.search.pipeline_clock`; what is
    best by it is placed and replayed.  Then the stream of the pipeline that ends last is planned by itself.

    Parameters
    ----------
    search : PipelinesSearch
        Takes what is found.
    seed : int
        For the streams planned.
    """
    if enumerable(search.requests, search.order_given):
        _exactly(search)
    if search.infeasible is None and not search.closed:
        search.begin("common longest chunks")
        for streams in _starts(search):
            search.offer(streams, "common longest chunk, balanced")
    if search.infeasible is None and search.best is not None and not search.done():
        search.begin("streams of pipelines")
        _refine(search, seed)


def _exactly(search: PipelinesSearch) -> None:
    search.begin("all schedules of all subsets")
    late = search.deadline.share(EXACT_SHARE)
    try:
        found = least_makespan(
            search.requests, search.pipelines, search.order_given, search.fingerprint, late
        )
    except UnfinishedError as error:
        search.notes.append(f"not all schedules were gone through: {error}")
        return
    if found is None:
        search.infeasible = "no assignment of these requests fits in memory"
        return
    search.offer(found.pipelines, "all schedules of all subsets")


def clocks(search: PipelinesSearch) -> Iterator[list[PipelineClock]]:
    """Requests cut by common longest chunks, a clock for each that is tried, by family of divisions.

    Parameters
    ----------
    search : PipelinesSearch
    """
    kinds, of = unlike_tables(search.requests)
    for family in families(kinds):
        chosen = [family[kind] for kind in of]
        first = PipelineClock(search.requests, [options[0].indices for options in chosen])
        alike: dict[tuple[bytes, ...], PipelineClock] = {}
        for trial in spread_trials(chosen, TRIALS):
            cuts = [within(options, trial).indices for options in chosen]
            alike.setdefault(tuple(cut.tobytes() for cut in cuts), first.cut_like(cuts))
        yield list(alike.values())


def realised(
    pricer: Pricer, lists: Lists, cuts: Sequence[IntArray], plans: Sequence[Plan] | None = None
) -> list[Schedule | None] | None:
    """Give every pipeline's requests homes and slots; None if some do not fit in memory.

    Parameters
    ----------
    pricer : Pricer
        Of all requests.
    lists : list of list of int
    cuts : sequence of int64[chunks + 1]
        Of every request.
    plans : sequence of Plan, optional
        Of every request, with these cuts, to keep the homes of; else homes are greedy.
    """
    streams: list[Schedule | None] = []
    for order in lists:
        kept = None if plans is None else [plans[r] for r in order]
        made = pricer.candidate(order, [cuts[r] for r in order], kept) if order else None
        if order and made is None:
            return None
        streams.append(None if made is None else made.sequence)
    return streams


def _starts(search: PipelinesSearch) -> Iterator[list[Schedule | None]]:
    """Assignments of the best trials of every family, balanced, until time is short."""
    pricer = Pricer(search.requests, search.fingerprint)
    late, found = search.deadline.share(STARTING_SHARE), False
    for tried in clocks(search):
        for clock, lists in _shared(search, tried, late)[:REALISED]:
            even = balance(clock, lists, _key(search, clock), search.share(BALANCING_SHARE))
            streams = realised(pricer, even, clock.cuts)
            if streams is not None:
                found = True
                yield streams
            if search.done() or (late() and found):
                return
        if search.deadline.expired or (late() and found):
            return


def _shared(
    search: PipelinesSearch, tried: Sequence[PipelineClock], late: AskedToStop
) -> list[tuple[PipelineClock, Lists]]:
    """The better of first free and longest first for every clock, the best clock first."""
    arrivals = _arrivals(search)
    priced: list[tuple[int, int, Lists]] = []
    for n, clock in enumerate(tried):
        both = (
            [sorted(each, key=_key(search, clock)) for each in first_free(clock, search.pipelines, arrivals)],
            longest_first(clock, search.pipelines, _key(search, clock)),
        )
        priced.append(min((max(map(clock.end, lists)), n, lists) for lists in both))
        if late():
            break
    return [(tried[n], lists) for _, n, lists in sorted(priced, key=lambda each: each[:2])]


def _refine(search: PipelinesSearch, seed: int) -> None:
    """Plan the stream of the pipeline that ends last by itself, as long as that brings its end forward."""
    tried: set[frozenset[int]] = set()
    while not search.done() and search.best is not None:
        best = search.best
        execution = min(Execution, key=lambda each: search.cost(best, each))
        ends = [-1 if part is None else max(part.completion_in(execution)) for part in best.parts]
        last = max(range(len(ends)), key=lambda p: (ends[p], -p))
        stream = best.assignment.pipelines[last]
        if stream is None:
            return
        members = frozenset(stream.order)
        if members in tried or not 1 < len(members) <= MOST_REFINED:
            return
        tried.add(members)
        replanned = _replanned(search, sorted(members), seed)
        if replanned is None:
            return
        streams = list(best.assignment.pipelines)
        streams[last] = replanned
        if not search.offer(streams, "stream of one pipeline"):
            return


def _replanned(search: PipelinesSearch, members: list[int], seed: int) -> Schedule | None:
    """The best stream found of some requests, by themselves."""
    inner = StreamSearch(
        [search.requests[r] for r in members],
        search.order_given,
        search.fingerprint,
        deadline=search.share(0.5),
        gap=search.gap,
        threads=search.threads,
    )
    plan_stream(inner, seed=seed)
    return None if inner.best is None else renumbered(inner.best.schedule, members)


def plan_first_free(search: PipelinesSearch, name: str) -> None:
    """Send requests where they leave first, in the order of their release, by the best common longest chunk.

    Parameters
    ----------
    search : PipelinesSearch
        Takes what is found.
    name : str
        For the report.
    """
    numbers, pricer = _arrivals(search), Pricer(search.requests, search.fingerprint)
    for tried in clocks(search):
        shared = [(first_free(clock, search.pipelines, numbers), clock) for clock in tried]
        shared.sort(key=lambda each: max(map(each[1].end, each[0])))
        for lists, clock in shared[:REALISED]:
            streams = realised(pricer, lists, clock.cuts)
            if streams is not None:
                search.offer(streams, name)
        if search.best is not None or search.deadline.expired:
            return


def plan_by_method(search: PipelinesSearch, method: Method) -> str:
    """Send requests, planned by a heuristic, where they leave first; return why that cannot be done.

    Parameters
    ----------
    search : PipelinesSearch
        Takes what is found.
    method : Method
    """
    plans, reason = planned_by(search, method)
    if reason:
        return reason
    cuts = [p.grid_indices(r.tables) for p, r in zip(plans, search.requests, strict=True)]
    lists = first_free(PipelineClock(search.requests, cuts), search.pipelines, _arrivals(search))
    streams = realised(Pricer(search.requests, search.fingerprint), lists, cuts, plans)
    if streams is None:
        return "its plans of the requests do not fit in memory one after the other"
    search.offer(streams, method.name)
    return ""


def _arrivals(search: PipelinesSearch) -> list[int]:
    """Requests in the order in which they come: as listed, or by release where the order is free."""
    numbers = range(len(search.requests))
    return sorted(numbers, key=lambda r: (0 if search.order_given else search.requests[r].release, r))


def _key(search: PipelinesSearch, clock: PipelineClock) -> Key:
    """The order of a pipeline: as listed, or where it is free by release, of equal ones the most work first.

    Chunks of neighbours that take about as long keep each other waiting least.
    """
    if search.order_given:
        return lambda r: (r,)
    return lambda r: (search.requests[r].release, -clock.work(r), r)


def planned_by(search: PipelinesSearch, method: Method) -> tuple[list[Plan], str]:
    """A heuristic's plan of every request, and why there is none if there is none.

    Parameters
    ----------
    search : PipelinesSearch
    method : Method
    """
    plans: list[Plan] = []
    known: dict[int, Proposal] = {}
    for request in search.requests:
        key = id(request.tables)
        if key not in known:
            known[key] = method.propose(request.tables, search.deadline)
        plan = known[key].plan
        if plan is None:
            return [], f"request {request.name}: {known[key].reason}"
        plans.append(plan)
    return plans, ""
