"""Work that is asked to stop ends soon, with something whole or nothing; questions are counted, not time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from builders import make_tables

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.registry import HOME_RULES
from mocap_opt.bounds import BOUNDS, branch_on_boundaries, lower_bounds, prove_infeasible
from mocap_opt.bounds.crossing_search import PairSearch
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.homes.home_search import improve_grouped_homes, improve_homes
from mocap_opt.homes.link_balancing_lp import link_balancing_lp
from mocap_opt.instance import Instance
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_judges import contention_free_judge
from mocap_opt.search.boundary_slp import boundary_slp_plans
from mocap_opt.search.local_search import improve
from mocap_opt.search.replayed_boundary_search import improve_boundaries
from mocap_opt.solving.incumbent import SearchState
from mocap_opt.solving.joint import solve_jointly
from mocap_opt.solving.report import covering, relative_gap
from mocap_opt.solving.search_state import JointSearch
from mocap_opt.solving.start_steps import AGAIN, first_heuristics
from mocap_opt.solving.strategy import choose
from mocap_opt.stopping import STOPPED, Deadline, StoppedError
from mocap_opt.studies.bench.family import make
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

LATE = 8
"""Questions that may follow the first yes: those on the way out."""

PATIENCE = (0, 1, 5, 40)
"""Questions answered with no before the first yes."""


class Question:
    """Says no so many times and yes from then on."""

    def __init__(self, patience: int) -> None:
        self.patience, self.asked = patience, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked > self.patience

    @property
    def late(self) -> int:
        """Questions after the first yes."""
        return max(0, self.asked - self.patience - 1)


@cache
def tables_of(name: str) -> Tables:
    return build_tables(Instance.from_dict(make(name, 0)))


@cache
def start(name: str) -> Plan:
    plan = METHODS["search-greedy"].propose(tables_of(name)).plan
    assert plan is not None
    return plan


def price(tables: Tables) -> Callable[[Plan], Fraction]:
    return lambda plan: Fraction(replay_lockstep(tables, plan).latency)


@pytest.mark.parametrize("name", METHODS)
def test_a_heuristic_that_is_stopped_has_a_whole_plan_or_none(name):
    tables = tables_of("M-links")
    asked = 0
    for patience in PATIENCE:
        stop = Question(patience)
        proposal = METHODS[name].propose(tables, stop)
        asked = max(asked, stop.asked)
        assert stop.late <= LATE
        if proposal.plan is not None:
            assert violations(tables, proposal.plan) == []
        if stop.asked > patience:
            assert STOPPED in (*proposal.notes, proposal.reason)
    assert asked > 1


@pytest.mark.parametrize(
    "rule", [*(HOME_RULES[name] for name in ("greedy", "spread", "program")), link_balancing_lp]
)
def test_a_home_rule_that_is_stopped_places_nothing(rule):
    tables = tables_of("M-links")
    indices = start("M-links").grid_indices(tables)
    stop = Question(0)
    with pytest.raises(StoppedError, match=STOPPED):
        rule(tables, indices, stop)
    assert stop.late <= LATE


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("size", ["S-unequal", "M-links"])
def test_a_bound_that_is_stopped_still_holds(name, size):
    tables = tables_of(size)
    latency = replay_lockstep(tables, start(size)).latency
    for patience in PATIENCE[:4]:
        stop = Question(patience)
        bound = BOUNDS[name](tables, asked_to_stop=stop)
        assert stop.late <= LATE
        assert bound is None or bound.ticks <= latency


def test_once_stopped_no_other_bound_is_begun():
    stop = Question(0)
    assert [bound.name for bound in lower_bounds(tables_of("M-unequal"), False, stop)] == ["stage_work"]
    assert stop.asked <= 2


SEARCHES: dict[str, Callable[[Tables, Plan, Question], Any]] = {
    "improve": lambda tables, plan, stop: improve(tables, plan, asked_to_stop=stop),
    "boundary_slp_plans": lambda tables, plan, stop: boundary_slp_plans(tables, plan, asked_to_stop=stop),
    "improve_homes": lambda tables, plan, stop: improve_homes(
        tables, plan, price(tables), target=Fraction(0), asked_to_stop=stop
    ),
    "improve_grouped_homes": lambda tables, plan, stop: improve_grouped_homes(
        tables, plan, price(tables), target=Fraction(0), asked_to_stop=stop
    ),
    "improve_boundaries": lambda tables, plan, stop: improve_boundaries(
        tables, plan, price(tables), judge=contention_free_judge(tables), asked_to_stop=stop
    ),
    "branch_on_boundaries": lambda tables, plan, stop: branch_on_boundaries(tables, asked_to_stop=stop),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_is_stopped_hands_over_what_it_has(name):
    tables, plan = tables_of("M-links"), start("M-links")
    for patience in PATIENCE[:3]:
        stop = Question(patience)
        found = SEARCHES[name](tables, plan, stop)
        assert stop.asked > patience
        assert stop.late <= LATE
        entries = found if isinstance(found, list) else [found]
        plans = [entry for entry in entries if isinstance(entry, Plan)]
        assert all(violations(tables, entry) == [] for entry in plans)


def test_crossing_tables_are_given_up_between_rows():
    setting = Setting(tables_of("M-unequal"))
    stop = Question(10)
    with pytest.raises(StoppedError, match=STOPPED):
        PairSearch.of(setting, 0, setting.tables.stages - 1, stop)
    assert stop.asked == 11


def test_a_proof_of_infeasibility_that_is_stopped_proves_nothing():
    tables = make_tables(3, 60, max_chunks=6, capacity=15)
    assert prove_infeasible(tables) is not None
    assert prove_infeasible(tables, lambda: True) is None


def test_without_time_the_first_plan_is_still_looked_for():
    state = SearchState(tables_of("M-tight"), Deadline(0.0), 0.0)
    search = JointSearch(state, choose(state.tables, None, "auto", by_size=True))
    first_heuristics(search, lambda: True)
    assert [name for name, _ in search.starts] == [AGAIN[0]]
    assert state.best is not None


def test_asked_to_stop_from_outside_not_even_the_first_plan_is():
    state = SearchState(tables_of("M-tight"), Deadline(60.0), 0.0)
    state.deadline.stop.set()
    reason, used = solve_jointly(state, choose(state.tables, None, "auto", by_size=True), seed=0)
    assert (reason, used) == ("no plan found", None)
    assert state.best is None


@pytest.mark.parametrize("name", ["S-unequal", "M-links"])
def test_a_solve_stopped_at_any_news_keeps_what_it_had(name):
    tables = tables_of(name)
    for patience in (1, 2, 3):
        stop, news = threading.Event(), []

        def listen(progress, stop=stop, news=news, patience=patience) -> None:
            # Steps that begin before there is a plan are news too.
            if progress.latency_s is not None:
                news.append(progress)
            if len(news) == patience:
                stop.set()

        state = SearchState(tables, Deadline(60.0, stop), 0.0, listen)
        solve_jointly(state, choose(tables, None, "auto", by_size=True), seed=0)
        assert state.best is not None
        assert violations(tables, state.best.plan) == []
        assert tables.seconds(state.best.latency) == min(p.latency_s for p in news)
        assert relative_gap(state.best.latency, state.headline) == state.current_gap()
        assert state.headline is None or state.headline.scope in covering(None)
