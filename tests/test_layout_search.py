"""The search over layouts against every layout of tiny instances, and its certificate."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from layout_oracle import every_layout, random_free
from oracle import brute_force, least_price

from mocap_opt import bound, compare, evaluate, solve
from mocap_opt.errors import InputError
from mocap_opt.instance import load_instance
from mocap_opt.layouts.space import LayoutBox, Shape
from mocap_opt.schedule.plan_file import save_plan
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.layout_search import Node, _first_lists
from mocap_opt.tables import build_tables

TINY = 20.0
"""Seconds of a solve; tiny instances are settled long before."""


def disagreement(seed: int, *, memories: bool = False) -> str | None:
    """What a search says that no layout, solved by itself, does; None if they agree."""
    instance = random_free(np.random.default_rng(seed), f"random {seed}", memories=memories)
    answer = solve(instance, time_limit_s=TINY)
    found, least = [], []
    for choice in every_layout(instance):
        fixed = instance.with_layout(choice)
        optimum = brute_force(tables := build_tables(fixed), least_price)
        if optimum is not None:
            least.append(optimum.value * tables.tick_s)
            found.append(solve(fixed, time_limit_s=TINY).report.latency_s)
    if not found:
        return None if answer.report.latency_s is None else "a plan where there is none"
    if answer.report.latency_s is None or answer.plan.layout is None:
        return f"no plan where there is one: {answer.report.reason}"
    if answer.report.lower_bound_s > float(min(least)) * (1 + 1e-12):
        return f"a bound of {answer.report.lower_bound_s}, beaten by {float(min(least))}"
    if answer.report.latency_s > min(found) * (1 + 1e-3):
        return f"{answer.report.latency_s} where {min(found)} is possible"
    return None


def test_a_search_finds_what_the_best_layout_takes():
    assert [disagreement(seed) for seed in (0, 3, 4, 7)] == [None] * 4
    assert [disagreement(seed, memories=True) for seed in (1, 2, 15, 37)] == [None] * 4


@pytest.mark.slow
def test_searches_agree_with_all_layouts():
    for memories in (False, True):
        assert {n: found for n in range(300) if (found := disagreement(n, memories=memories))} == {}


def test_a_plan_carries_its_layout_and_can_be_judged_alone(tmp_path):
    instance = random_free(np.random.default_rng(4), "alone")
    answer = solve(instance, time_limit_s=TINY)
    path = tmp_path / "plan.json"
    save_plan(path, answer.plan, instance.name, answer.tables)
    again = evaluate(instance, json.loads(path.read_text()))
    assert again.report.latency_s == answer.report.latency_s
    assert answer.report.fingerprint == instance.fingerprint == answer.plan.fingerprint


def test_a_certificate_says_what_it_covers():
    instance = random_free(np.random.default_rng(4), "covers")
    report = solve(instance, time_limit_s=TINY).report
    said = report.to_dict()["layouts"]
    assert said["covers"].startswith(f"all layouts with {instance.pipeline.stages} stages")
    assert said["gap"] == pytest.approx(report.gap, abs=1e-6)
    assert report.bound_name == "layouts"
    assert "layouts" in dict(report.figure_texts)


def test_the_same_seed_gives_the_same_plan():
    instance = random_free(np.random.default_rng(7), "twice")
    assert solve(instance, time_limit_s=TINY).plan == solve(instance, time_limit_s=TINY).plan


def test_bounds_of_a_free_instance_hold_for_all_layouts():
    instance = random_free(np.random.default_rng(3), "bounds")
    tables, bounds, impossible = bound(instance, time_limit_s=TINY)
    assert impossible is None
    known = bounds[-1].ticks * tables.tick_s
    for choice in every_layout(instance):
        found = brute_force(fixed := build_tables(instance.with_layout(choice)), least_price)
        assert found is None or known <= found.value * fixed.tick_s


def test_a_search_ends_when_asked_to():
    stop = threading.Event()
    stop.set()
    instance = load_instance("instances/gpt3-175b-watos-dead-dies.json", ["pipeline.layers=auto"])
    assert solve(instance, time_limit_s=60, stop=stop).report.status is Status.UNKNOWN


@pytest.mark.parametrize("seed", [7, 9, 13])
def test_a_search_that_begins_with_a_layout_ends_with_one_as_fast(seed):
    instance = random_free(np.random.default_rng(seed), "begun")
    known, optima = [], []
    for choice in every_layout(instance):
        fixed = instance.with_layout(choice)
        found = brute_force(tables := build_tables(fixed), least_price)
        if found is not None:
            optima.append(float(found.value * tables.tick_s))
            known.append(solve(fixed, time_limit_s=TINY))
    assert len(set(optima)) > 1
    for each in known:
        report = solve(instance, time_limit_s=TINY, known=each).report
        assert report.lower_bound_s <= min(optima) * (1 + 1e-12)
        assert report.latency_s <= min(each.report.latency_s, min(optima) * (1 + 1e-3))


def test_a_search_that_is_stopped_keeps_the_layout_it_began_with():
    instance = random_free(np.random.default_rng(4), "kept")
    known, stop = solve(instance, time_limit_s=TINY), threading.Event()
    stop.set()
    report = solve(instance, time_limit_s=TINY, stop=stop, known=known).report
    assert report.latency_s == known.report.latency_s
    assert report.lower_bound_s < known.report.latency_s


def test_a_search_begins_with_answers_to_its_own_question_only():
    instance = random_free(np.random.default_rng(4), "asked")
    known = solve(instance, time_limit_s=TINY)
    with pytest.raises(InputError, match=r"known: expected an answer with a plan.*lockstep"):
        solve(instance, execution="lockstep", known=known)
    with pytest.raises(InputError, match=r"known: expected an answer with a plan"):
        solve(random_free(np.random.default_rng(7), "other"), known=known)
    with pytest.raises(InputError, match=r"got an answer without a feasible plan"):
        solve(instance, known=replace(known, assessment=None))


def test_first_lists_have_small_stages_first_and_extra_layers_last():
    box = LayoutBox((4, 4, 3), (1, 1, 1), (8, 8, 8), 9)
    shape = Shape((4, 5, 3), (4, 4, 3), ordered=False)
    first, *others = _first_lists(Node(Fraction(0), 0, shape, box))
    assert first == (Shape((3, 4, 5), (3, 4, 4)), (2, 3, 4))
    assert {each for each, _ in others} == {shape}


def test_other_objectives_ask_for_a_layout():
    changes = ["pipeline.layers=auto", "objective=period"]
    instance = load_instance("instances/gpt3-175b-watos-dead-dies.json", changes)
    with pytest.raises(InputError, match=r"pipeline\.layers.*latency"):
        solve(instance, time_limit_s=1)
    with pytest.raises(InputError, match=r"pipeline\.layers.*latency"):
        bound(instance, time_limit_s=1)


def test_a_comparison_sets_any_layout_beside_the_one_given():
    instance = random_free(np.random.default_rng(4), "compared")
    fixed = {**instance.to_dict(), "pipeline": {"stages": 1, "dies_per_stage": 1}}
    fixed["wafer"]["die"]["memory_bytes"] = 10**9
    frame = compare([fixed], ["uniform"], layout="auto", time_limit_s=TINY)
    assert list(frame["method"]) == ["uniform", "joint, any layout"]
    assert frame["latency_s"][1] < frame["latency_s"][0]
    assert frame["lower_bound_s"][1] <= frame["latency_s"][1]
    with pytest.raises(InputError, match=r"pipeline\.\w+: expected one layout"):
        compare([instance], ["uniform", "joint"], time_limit_s=TINY)


@pytest.mark.slow
def test_dead_dies_at_eight_stages():
    """Matched layers on a path: 21.326 s known; all lists and orders of two degrees within 5 %."""
    changes = ["pipeline.dies_per_stage=auto", "pipeline.layers=auto", "pipeline.placement=path"]
    instance = load_instance("instances/gpt3-175b-watos-dead-dies.json", [*changes, "pipeline.degrees=any"])
    report = solve(instance, time_limit_s=120).report
    assert report.latency_s <= 21.4
    assert report.gap <= 0.05


def test_instances_with_a_layout_are_answered_as_before():
    instance = load_instance("instances/tiny-slack.json")
    report = solve(instance, time_limit_s=TINY).report
    assert "layouts" not in report.to_dict()
    assert Fraction(report.latency_s) > 0
