"""Boundaries by sequential linear programming."""

from __future__ import annotations

import numpy as np
from builders import make_tables
from random_plans import random_plan
from random_tables import MIDDLING, random_tables

from mocap_opt.replay.contention_free_makespan import contention_free_makespan
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.search.boundary_judges import lockstep_judge
from mocap_opt.search.boundary_slp import boundary_slp_plans
from mocap_opt.search.local_search import improve
from mocap_opt.tables.cost_tables import Tables


def price(tables: Tables, plan: Plan) -> int:
    return contention_free_makespan(tables, plan.grid_indices(tables), plan.remote_pages(tables))


def equal_chunks(tokens: int, chunks: int) -> Plan:
    return Plan(tuple(round(tokens * j / chunks) for j in range(chunks + 1)))


def test_it_balances_equal_stages_as_the_closed_form_does():
    # Phi = x^2 over 1,000 tokens in four chunks: the best longest chunk is Phi(S)/4, the total
    # Phi(S) + (N - 1) Phi(S)/4 = 1,500,000 for three stages; equal chunks take 1,875,000.  Whole
    # boundaries cost a part in a thousand.
    tables = make_tables(3, 1000, linear=0, quadratic=1, max_chunks=4, exact=True)
    start = equal_chunks(1000, 4)
    assert price(tables, start) == 1_875_000
    best = min(price(tables, plan) for plan in boundary_slp_plans(tables, start))
    assert 1_500_000 <= best <= 1.003 * 1_500_000


def test_it_helps_where_stages_are_unequal():
    tables = make_tables(
        5,
        2000,
        linear=[40, 60, 60, 50, 40],
        quadratic=[4, 6, 6, 5, 4],
        constant=900,
        max_chunks=12,
        exact=True,
    )
    start = equal_chunks(2000, 12)
    climbed = price(tables, improve(tables, start)[0])
    rounded = min(boundary_slp_plans(tables, start), key=lambda plan: price(tables, plan))
    both = price(tables, (improve(tables, rounded) or [rounded])[0])
    assert both < climbed < price(tables, start)


def test_in_lockstep_it_lowers_the_time_of_all_slots():
    tables = make_tables(
        6,
        2000,
        linear=[40, 40, 40, 60, 40, 40],
        quadratic=[2, 2, 2, 6, 2, 2],
        constant=900,
        max_chunks=10,
        exact=True,
    )
    judge, start = lockstep_judge(tables), equal_chunks(2000, 10)
    known = judge.of(tables, start)
    by_slots = min(judge.of(tables, plan) for plan in boundary_slp_plans(tables, start, lockstep=True))
    by_recursion = min(judge.of(tables, plan) for plan in boundary_slp_plans(tables, start))
    assert by_slots < by_recursion
    assert by_slots < known


def test_it_keeps_to_the_pooled_memory():
    # Slack memory would make the last chunks short (see above); here slots 3 and 4 hold 2,300 tokens of
    # KV where the last three boundaries of four equal chunks need 1000 + 750 + 500.
    tables = make_tables(3, 1000, linear=0, quadratic=1, max_chunks=4, exact=True, capacity=770)
    plans = boundary_slp_plans(tables, equal_chunks(1000, 4))
    assert plans
    assert all(violations(tables, plan) == [] for plan in plans)
    slack = make_tables(3, 1000, linear=0, quadratic=1, max_chunks=4, exact=True)
    least = min(price(slack, plan) for plan in boundary_slp_plans(slack, equal_chunks(1000, 4)))
    assert least < min(price(tables, plan) for plan in plans) < 1_875_000


def test_it_leaves_alone_what_it_cannot_move():
    tables = make_tables(2, 4, max_chunks=2)
    assert boundary_slp_plans(tables, Plan((0, 4))) == []
    assert {
        plan.boundaries for plan in boundary_slp_plans(tables, Plan((0, 2, 4)), asked_to_stop=lambda: True)
    } == {(0, 2, 4)}


def test_what_it_proposes_is_feasible():
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(30):
        tables = random_tables(rng, MIDDLING)
        plan = random_plan(tables, rng)
        for found in [] if plan is None else boundary_slp_plans(tables, plan):
            assert violations(tables, found) == []
            assert found.chunks == plan.chunks
            seen += 1
    assert seen >= 15
