"""Tokens chosen among the whole prompt (formulations/prompt_selection.md)."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise
from math import ceil

import numpy as np
import oracle
import pytest
from command_line import run
from random_profiles import tight
from toy_instances import toy

import mocap_opt
from mocap_opt import InputError, Plan, build_tables, prompt_selection, replay_event, replay_lockstep
from mocap_opt.bounds import Scope, lower_bounds
from mocap_opt.questions import prompt_selection as question
from mocap_opt.solvers.outcome import Status
from mocap_opt.stopping import Deadline
from mocap_opt.tables.prompt_parts import prompt_parts

CHOICE = {"layers": [2, 3], "keep": 0.5, "selection": "prompt"}
TEN = {"kind": "coefficients", "stages": {"linear": 10e-9}}
STEPS = {"quantum": 1, "page": 1}


def small(**changes):
    base = {"model": {"profile": [CHOICE]}, "workload": {"tokens": 4}, "chunking": STEPS}
    return toy(**{**base, **changes})


def random_choice(rng, most=4):
    """Two to four stages of a layer or two, a choice at one of their boundaries, windows behind it."""
    stages = int(rng.integers(2, most + 1))
    layers = stages * int(rng.integers(1, 3))
    at = int(rng.integers(1, stages)) * layers // stages
    keep = float(rng.choice([1.0, 0.75, 0.5, 0.3]))
    entry = {"layers": [at, layers - 1], "keep": keep, "selection": "prompt"}
    if rng.random() < 0.3:
        entry["windows"] = [{"kv_heads": 1, "tokens": int(rng.integers(1, 6))}]
    quantum = int(rng.integers(1, 3))
    return toy(
        model={"layers": layers, "profile": [entry]},
        pipeline={"stages": stages, "staging_per_die": int(rng.integers(0, 50))},
        workload={"tokens": int(rng.integers(3, most + 3)), "batch": int(rng.integers(1, 3))},
        chunking={"quantum": quantum, "page": 1, "max_chunks": int(rng.integers(1, 4))},
        overlap=float(rng.choice([0, 0.5, 1])),
        wafer={"link": {"bandwidth": float(rng.choice([1e9, 1e8, 1e7]))}},
    )


def answer_of(tables):
    return question._answer(tables, Deadline(1.0), 0.0, 0, 1, None)


def test_the_worked_example():
    found = prompt_selection(small(costs=TEN), gap=0, by_chunk=False)
    assert [each.latency for each in (found.first, found.second)] == [
        Fraction(40, 10**9),
        Fraction(20, 10**9),
    ]
    assert found.parts.kept == 2
    assert found.latency_s == found.lower_bound_s == 60e-9
    assert found.status is Status.OPTIMAL
    assert found.gap == 0
    slow = small(costs=TEN, wafer={"link": {"bandwidth": 5e8}}, tick="2 ns")
    found = prompt_selection(slow, gap=0, by_chunk=False)
    assert found.latency_s == found.lower_bound_s == 84e-9


def test_choosing_in_each_chunk_overlaps_the_halves():
    found = prompt_selection(small(), gap=0)
    assert found.chunkwise is not None
    assert found.chunkwise.report.latency_s < found.latency_s
    assert found.to_dict()["selection_by_chunk"]["latency_s"] == found.chunkwise.report.latency_s


def test_tables_of_both_problems_by_hand():
    instance = small(
        pipeline={"stages": 4, "layers": [1, 1, 1, 1]}, workload={"tokens": 7}, wafer={"cols": 4, "rows": 2}
    )
    plain = small(model={"profile": []}, pipeline={"stages": 4}, workload={"tokens": 7})
    whole, parts = build_tables(plain), prompt_parts(instance)
    assert (parts.stage, parts.kept, parts.first.stages, parts.second.stages) == (2, 4, 2, 2)
    assert (parts.first.phi == whole.phi[:2]).all()
    assert parts.second.tokens == ceil(0.5 * 7)
    # Behind the choice: the same stages with four tokens.
    assert (parts.second.phi == build_tables(plain.replace("workload.tokens=4")).phi[2:]).all()
    assert not parts.first.send[-1].any()
    assert not parts.second.send[-1].any()
    assert (parts.first.send[0] == whole.send[0]).all()
    idle = whole.static + whole.staging
    # 4 hidden elements of two bytes a token wait: all seven at stage 2, then the four that are kept.
    assert parts.first.static.tolist() == [*whole.static[:2], idle[2] + 7 * 8, idle[3]]
    assert parts.second.static.tolist() == [whole.static[2] + 4 * 8, whole.static[3], idle[0], idle[1]]
    assert parts.second.capacity.tolist() == whole.capacity[[2, 3, 0, 1]].tolist()
    assert (parts.second.hop_ticks == whole.hop_ticks[[2, 3, 0, 1]][:, [2, 3, 0, 1]]).all()
    assert (parts.second.share[:, 0, 2] == whole.share[:, 2, 0]).all()
    (message,) = parts.first.messages
    assert (message.stage, message.source, message.target, message.per_page) == (1, 1, 2, 8)
    assert parts.second.fixed_messages is None


def test_later_shares_are_of_what_the_choice_keeps():
    model = {"profile": [{**CHOICE, "layers": [2, 2]}, {"layers": [3, 3], "keep": 0.25}]}
    second = prompt_parts(small(model=model, workload={"tokens": 8})).second
    alone = small(model={"profile": [{"layers": [3, 3], "keep": 0.5}]}, workload={"tokens": 4})
    assert (second.phi[0] == build_tables(alone).phi[1]).all()


def test_brute_force_and_no_plan_beats_the_bounds():
    check_random(0, 5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 110))
def test_brute_force_at_length(seed):
    check_random(seed, 10)


def check_random(seed, cases):
    rng = np.random.default_rng(seed)
    for _ in range(cases):
        parts = prompt_parts(random_choice(rng, 2 + int(rng.random() < 0.3)))
        for each in (parts.first, parts.second):
            tables = tight(rng, each)
            best = oracle.brute_force(tables)
            found = answer_of(tables)
            if best is None:
                assert found.best is None
                continue
            assert found.bound is not None
            assert found.best is not None
            assert found.bound.ticks <= best.value
            latency = found.best.latency_in(None)
            assert found.bound.ticks <= latency
            if found.closed:
                assert latency <= best.value


@pytest.mark.parametrize("seed", range(4))
def test_no_pair_of_plans_beats_the_sum_of_the_bounds(seed):
    """Every way to cut both halves with KV at home, replayed; and a recursion that is written here."""
    parts = prompt_parts(random_choice(np.random.default_rng(seed)))
    total = reached = 0
    for tables in (parts.first, parts.second):
        total += max(each.ticks for each in lower_bounds(tables) if each.scope is not Scope.LOCKSTEP)
        plans = [Plan.from_arrays(tables, cut) for cut in cuts_of(tables)]
        times = [min(replay_lockstep(tables, p).latency, replay_event(tables, p).latency) for p in plans]
        for plan, time in zip(plans, times, strict=True):
            assert time >= crossing(tables, plan.grid_indices(tables).tolist())
        reached += min(times)
    assert total <= reached


def cuts_of(tables):
    inner = range(1, tables.steps)
    return [
        (0, *cut, tables.steps)
        for count in range(min(tables.max_chunks, tables.steps))
        for cut in combinations(inner, count)
    ]


def crossing(tables, cut):
    """When the last chunk is through with nothing in its way; activations that are handed over included."""
    before, done = [Fraction(0)] * (len(cut) - 1), Fraction(0)
    for stage in range(tables.stages):
        done = Fraction(0)
        for j, (a, b) in enumerate(pairwise(cut)):
            over = Fraction(0)
            for message in tables.messages:
                if message.stage == stage:
                    size = message.per_page * int(tables.pages[b] - tables.pages[a])
                    parts = tables.share[:, message.source, message.target]
                    over = max(
                        Fraction(size * int(part), tables.share_denominator * int(rate))
                        for part, rate in zip(parts, tables.link_rate, strict=True)
                    )
            took = int(tables.compute_time(stage, a, b)) + (1 - tables.overlap) * over
            done = max(done, before[j]) + max(took, over)
            before[j] = done + int(tables.send_time(stage, a, b))
    return done


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"workload": {"tokens": 4, "cached_prefix": 2}}, "workload.cached_prefix"),
        ({"objective": "period"}, "objective"),
        ({"workload": {"requests": [{"tokens": 4}]}}, "workload.requests"),
        ({"chunking": {**STEPS, "exact": True}}, "chunking.exact"),
        ({"chunking": {**STEPS, "shortest": 3}}, "chunking.shortest"),
        ({"decode": {"between_tokens": "1 s"}}, "decode"),
        ({"workload": {"tokens": 4, "available": [[0, 0.0], [4, 0.1]]}}, "workload.available"),
        ({"model": {"profile": [{**CHOICE, "layers": [0, 3]}]}}, "whole prompt to choose"),
        ({"model": {"profile": [{"layers": [0, 1], "keep": 0.5}, CHOICE]}}, "choose among all tokens"),
        ({"model": {"profile": [{**CHOICE, "layers": [2, 2]}, {**CHOICE, "layers": [3, 3]}]}}, "one entry"),
    ],
)
def test_what_two_problems_in_sequence_do_not_know_is_refused(changes, match):
    with pytest.raises(InputError, match=match):
        small(**changes)


def test_the_choice_falls_on_a_stage_boundary():
    with pytest.raises(InputError, match="first layer of a stage behind the first: 2"):
        prompt_selection(small(model={"profile": [{**CHOICE, "layers": [1, 3]}]}))
    with pytest.raises(InputError, match="selection"):
        prompt_selection(small(model={"profile": []}))


@pytest.mark.parametrize("ask", ["solve", "bound", "compare", "build_tables", "virtual_stages", "max_length"])
def test_other_questions_refuse_it(ask):
    given = [small()] if ask == "compare" else small()
    with pytest.raises(InputError, match=r"model.profile\[0\].selection.*prompt"):
        getattr(mocap_opt, ask)(given)


def test_the_default_leaves_fingerprints_alone():
    written = {"layers": [2, 3], "keep": 0.5, "selection": "chunk"}
    left_out = small(model={"profile": [{"layers": [2, 3], "keep": 0.5}]})
    assert small(model={"profile": [written]}).fingerprint == left_out.fingerprint
    assert small().fingerprint != left_out.fingerprint


def test_the_command(tmp_path, capsys):
    path = tmp_path / "toy.json"
    path.write_text(small(costs=TEN).model_dump_json())
    code, out, _ = run("solve", path, "--time-limit", "5", capsys=capsys)
    assert code == 0
    assert "before the choice" in out
    assert run("check", path, capsys=capsys)[0] == 0
    code, _, said = run("solve", path, "--out", tmp_path / "plan.json", capsys=capsys)
    assert code == 2
    assert "--out" in said
    assert run("bound", path, capsys=capsys)[0] == 2
