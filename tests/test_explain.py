"""Explanations: a chain that makes the latency, accounts that add up, changes of known worth."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from command_line import run

import mocap_opt
from mocap_opt import InputError, Plan, load_instance
from mocap_opt.bounds import BOUNDS
from mocap_opt.bounds.plain_words import PLAIN_WORDS
from mocap_opt.bounds.refinement import refinement
from mocap_opt.formulations.registry import BUILT_IN
from mocap_opt.questions.explain.binding import binding
from mocap_opt.questions.explain.changes import changes
from mocap_opt.questions.explain.critical_path import Cause, Turn
from mocap_opt.questions.explain.losses import paid_by_rule
from mocap_opt.questions.explain.worth import worth
from mocap_opt.replay.activity import Activity
from mocap_opt.replay.evaluation import Execution, assess
from mocap_opt.schedule.verify import violations
from mocap_opt.solving.layout_leaves import ALL_LAYOUTS

SLOW_LINK = "instances/tiny-slow-link.json"
POOLED = "instances/tiny-pooled.json"
NO_PLAN_OF_ITS_OWN = {"kv_placement", "chunk_partition"}
"""Programs whose bounds are of given boundaries, or of no latency."""


def tight_plans():
    """Instances and plans in which chunks wait for each other in every way, from fixed seeds."""
    rng = np.random.default_rng(5)
    base = load_instance("instances/tiny-slack.json").replace("workload.tokens=12", "chunking.max_chunks=6")
    for _ in range(12):
        changed = [
            f"pipeline.queue_depth={rng.integers(1, 3)}",
            f"wafer.link.bandwidth={rng.integers(1, 3)}e6",
            f"costs.stages.linear={rng.integers(1, 4)}e-6",
            f"overlap={rng.choice([0, 0.5, 1])}",
            "wafer.die.memory_bytes=1000",
        ]
        tables = mocap_opt.build_tables(base.replace(*changed))
        inner = np.sort(rng.choice(np.arange(1, tables.steps), size=4, replace=False))
        index = np.array([0, *inner, tables.steps])
        pages = np.zeros((tables.stages, 5, tables.memories), dtype=np.int64)
        for i in range(tables.stages):
            for j in range(5):
                if rng.random() < 0.5:
                    pages[i, j, 1 - i] = tables.pages[index[j + 1]] - tables.pages[index[j]]
        plan = Plan.from_arrays(tables, index, pages)
        if not violations(tables, plan):
            yield tables, plan


@pytest.mark.parametrize("execution", list(Execution))
def test_the_chain_covers_the_latency_without_a_hole(execution) -> None:
    seen, turned = 0, set()
    for tables, plan in tight_plans():
        held = binding(assess(tables, plan), execution)
        legs = held.path.legs
        assert legs[0].start == 0
        assert legs[-1].end == held.latency
        assert all(a.end == b.start for a, b in pairwise(legs))
        assert sum((ticks for *_, ticks in held.path.shares()), Fraction(0)) == held.latency
        for account in held.stages:
            assert sum(account.values(), Fraction(0)) == held.latency
            assert min(account.values()) >= 0
        seen += bool(held.path.of_cause(Cause.KV))
        turned |= {turn for turn, *_ in held.path.turns}
    assert seen
    assert execution is Execution.LOCKSTEP or Turn.QUEUE in turned


def test_what_stages_do_is_what_the_replay_accounts_for() -> None:
    for tables, plan in tight_plans():
        found = assess(tables, plan)
        for account, known in zip(binding(found, Execution.EVENT).stages, found.event.accounts, strict=True):
            assert account[Activity.COMPUTE.value] == known.computing
            assert account[Activity.KV.value] == known.kv_total
            assert account[Activity.QUEUE.value] == known.queue_room
            assert account[Activity.ADMISSION.value] == known.admission


def test_what_a_plan_pays_adds_up() -> None:
    for tables, plan in tight_plans():
        found = assess(tables, plan)
        parts = paid_by_rule(tables, plan, found.latency)
        assert sum((ticks for _, ticks in parts), Fraction(0)) == found.latency
        assert all(ticks >= 0 for _, ticks in parts)


def changed(found: mocap_opt.Explanation, name: str):
    return next(each for each in found.worths if each.change.name == name)


def test_a_slow_link_binds_and_twice_its_rate_is_worth_what_it_is_by_hand() -> None:
    """One chunk of 4 us, its send, 4 us: 12 us.  At 2 MB/s two chunks of 2 us with sends of 1 us: 7 us."""
    found = mocap_opt.explain(mocap_opt.solve(load_instance(SLOW_LINK)), each_s=15)
    held = found.binding
    assert held is not None
    assert held.path.of_cause(Cause.SEND) == 4
    assert held.link is not None
    assert held.link[1] == pytest.approx(8 / 12)
    twice = changed(found, "link_bandwidth")
    assert twice.change.overrides == ("wafer.link.bandwidth=2000000",)
    assert twice.value_s == pytest.approx(7e-6)
    assert twice.at_least == twice.at_most == pytest.approx(5 / 12)
    # With 46 B all KV is at home: two chunks, 2 + 2 + 2 + 2 us.
    assert changed(found, "memory_bytes").value_s == pytest.approx(8e-6)
    assert changed(found, "none").at_most == 0
    assert changed(found, "dies_per_stage").why_not


def test_bounds_of_a_changed_instance_are_its_own() -> None:
    """At twice the rate the optimum lies below the bound of the instance as it is."""
    instance = load_instance(SLOW_LINK)
    solution = mocap_opt.solve(instance)
    link = next(each for each in changes(instance) if each.name == "link_bandwidth")
    assert solution.plan is not None
    asked = {"execution": "best", "time_limit_s": 2, "seed": 0, "gap": 1e-4, "stop": None}
    found = worth(instance, link, solution.plan, solution.report.value_s, **asked)
    assert found.lower_bound_s < solution.report.lower_bound_s


def test_a_full_memory_is_named_with_its_slot_and_what_it_holds() -> None:
    """Each memory holds 29 B: 7 of weights, 16 of reserve, KV of three tokens."""
    found = mocap_opt.explain(mocap_opt.solve(load_instance(POOLED)), each_s=0)
    assert found.binding is not None
    memory = found.binding.memory
    assert (memory.held, memory.capacity) == (29, 29)
    assert (memory.weights, memory.reserve, memory.own_kv + memory.hosted_kv) == (7, 16, 6)
    assert found.worths == ()


def test_a_given_plan_is_told_from_the_best_one() -> None:
    instance = load_instance("instances/tiny-unequal.json")
    best = mocap_opt.solve(instance).report.value_s
    poor = mocap_opt.evaluate(instance, Plan((0, 3)))
    found = mocap_opt.explain(poor, each_s=2)
    none = changed(found, "none")
    assert none.value_s == pytest.approx(best)
    assert none.at_least == pytest.approx(1 - best / poor.report.value_s)


def test_a_poor_plan_is_set_against_every_bound_of_its_instance() -> None:
    """Quick bounds stop at 8 us; those of a solve reach 12 us, which the explanation knows."""
    instance = load_instance(SLOW_LINK)
    poor = mocap_opt.evaluate(instance, mocap_opt.solve(instance, "mocap").plan)
    assert poor.report.lower_bound_s == pytest.approx(8e-6)
    found = mocap_opt.explain(poor, each_s=15)
    assert found.solution.report.lower_bound_s == pytest.approx(12e-6)
    assert changed(found, "none").value_s == pytest.approx(12e-6)
    assert changed(found, "none").at_least == changed(found, "none").at_most == pytest.approx(2 / 14)


def test_an_interrupted_explanation_gives_what_is_known() -> None:
    stop = threading.Event()
    solution = mocap_opt.solve(load_instance(SLOW_LINK))
    found = mocap_opt.explain(solution, stop=stop, tell=lambda doing: stop.set())
    assert found.binding is not None
    not_tried = [each for each in found.worths if "interrupted" in each.why_not]
    assert len(not_tried) >= 3


def test_a_layout_that_was_left_open_is_explained_as_decided() -> None:
    instance = load_instance("instances/gpt3-175b-watos-slack.json").replace(
        "pipeline.stages=[4,8]", "chunking.quantum=16k", "chunking.max_chunks=8"
    )
    found = mocap_opt.explain(mocap_opt.solve(instance, time_limit_s=5), each_s=0.2)
    assert "decided" in found.notes[0]
    assert changed(found, "flops").at_most is not None


def test_a_plan_keeps_its_homes_on_a_finer_grid() -> None:
    instance = load_instance(POOLED).replace("chunking.quantum=2", "chunking.page=null", "workload.tokens=8")
    finer = next(each for each in changes(instance) if each.name == "quantum")
    assert finer.overrides == ("chunking.quantum=1", "chunking.page=1")
    plan = Plan((0, 4, 8), (mocap_opt.Home(0, 0, 1, 1),))
    assert finer.carried(plan).homes == (mocap_opt.Home(0, 0, 1, 2),)


def test_every_bound_of_a_prompt_is_told_in_plain_words() -> None:
    branching = {"traffic_branching", "slot_traffic_branching", "refinement", ALL_LAYOUTS}
    assert {*BOUNDS, *BUILT_IN, *branching} - NO_PLAN_OF_ITS_OWN <= PLAIN_WORDS.keys()


def test_other_objectives_are_refused_with_one_message(capsys) -> None:
    code, _, err = run("explain", POOLED, "--set", "objective=period", capsys=capsys)
    assert code == 2
    assert 'expected "latency" for explain' in err
    with pytest.raises(InputError, match="latency"):
        mocap_opt.explain(
            mocap_opt.solve(
                load_instance(POOLED).replace("objective=period", "pipeline.queue_depth=2"), "gpipe"
            )
        )


def test_the_command_prints_json_and_text_of_eighty_columns(tmp_path, capsys) -> None:
    code, out, _ = run("explain", SLOW_LINK, "--each", 0, "--json", capsys=capsys)
    assert code == 0
    told = json.loads(out)
    assert told["latency_s"] == pytest.approx(12e-6)
    assert {leg["cause"] for leg in told["chain"]} == {"computing", "sending activations"}
    assert told["changes"] == []
    code, out, _ = run("explain", SLOW_LINK, "--each", 0, "--out", tmp_path / "why.txt", capsys=capsys)
    assert (code, out) == (0, "")
    written = (tmp_path / "why.txt").read_text()
    assert max(map(len, written.splitlines())) <= 80
    assert "What makes the latency" in written
    plan = tmp_path / "plan.json"
    run("solve", SLOW_LINK, "--out", plan, capsys=capsys)
    code, out, _ = run("explain", SLOW_LINK, plan, "--each", 0, capsys=capsys)
    assert code == 0
    assert "What makes the latency" in out


def test_options_mean_something_with_a_plan_too(tmp_path, capsys) -> None:
    """The instance is solved, so that the plan of a heuristic is set against the best bound."""
    plan = tmp_path / "plan.json"
    run("solve", SLOW_LINK, "--method", "mocap", "--out", plan, capsys=capsys)
    code, out, _ = run("explain", SLOW_LINK, plan, "--each", 0, "--json", capsys=capsys)
    assert code == 0
    told = json.loads(out)
    assert (told["latency_s"], told["lower_bound_s"]) == (pytest.approx(14e-6), pytest.approx(12e-6))
    code, _, err = run("explain", SLOW_LINK, plan, "--execution", "lockstep", capsys=capsys)
    assert code == 2
    assert "leave it out" in err


def test_an_infeasible_instance_is_said_to_be_one(capsys) -> None:
    code, out, _ = run("explain", "instances/tiny-hopeless.json", capsys=capsys)
    assert code == 3
    assert "short" in out


def test_a_long_tick_leaves_refinement_without_a_crash() -> None:
    """Rounding may take more off than a crossing of few ticks has: the bound is then 0, not below."""
    instance = load_instance(SLOW_LINK).replace("wafer.link.bandwidth=1100000", "tick=null")
    found = refinement(instance, mocap_opt.build_tables(instance)).bound
    assert found is not None
    assert found.ticks >= 0
