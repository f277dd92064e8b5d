"""Instances of the period with brute force of the tiny ones, and plans to try bounds and replays on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from period_oracle import PeriodOptimum, brute_force_period
from random_plans import descend, random_plan
from random_tables import random_instances, random_tables

from mocap_opt.formulations.presolve import slot_range
from mocap_opt.homes.greedy import home_orders
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.verify import smallest_interval
from mocap_opt.search.period_homes import InOrder
from mocap_opt.search.period_local_search import improve
from mocap_opt.tables.cost_tables import Tables

COUNT = 200


def bounded(tables: Tables) -> Tables:
    """The same instance with a queue depth: the period needs one."""
    return replace(tables, queue_depth=1) if tables.queue_depth is None else tables


@cache
def instances() -> list[Tables]:
    return [bounded(tables) for tables in random_instances(seed=9, count=COUNT)]


@cache
def optima(number: int) -> dict[int, PeriodOptimum | None]:
    """Brute force by W."""
    tables = instances()[number]
    return {slots: brute_force_period(tables, slots) for slots in slot_range(tables)}


def least(found: dict[int, PeriodOptimum | None]) -> PeriodOptimum | None:
    return min((each for each in found.values() if each), key=lambda each: each.value, default=None)


@cache
def adversaries() -> tuple[tuple[Tables, Schedule], ...]:
    return tuple(_adversaries())


def _adversaries() -> Iterator[tuple[Tables, Schedule]]:
    """Random and locally optimal feasible plans of middling instances."""
    rng = np.random.default_rng(4)
    for number in range(14):
        tables = bounded(random_tables(rng, name=f"instance {number}"))
        for turn in range(4):
            plan = random_plan(tables, rng)
            if plan is None:
                break
            if turn % 2:
                plan, _ = descend(
                    tables, plan, lambda t, p: int(np.sum(t.tau(0, *_ends(t, p)))), rng, steps=8
                )
            periodic = smallest_interval(tables, plan)
            if periodic is not None:
                if turn == 3 and number % 2:
                    periodic, _ = improve(tables, periodic, InOrder(home_orders(tables)[0]), rng=rng)
                yield tables, periodic


def _ends(tables: Tables, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    index = plan.grid_indices(tables)
    return index[:-1], index[1:]
