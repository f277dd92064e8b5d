"""The longest prompt where the answer is known, its tables, its upper bounds, and its command."""

from __future__ import annotations

import csv
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from builders import make_tables
from test_cli import run, run_json
from toy_instances import toy

from mocap_opt.baselines import METHODS
from mocap_opt.errors import InputError
from mocap_opt.instance import load_instance
from mocap_opt.questions.max_context import LatencyLimit, LengthFamily, longest_equal, longest_prompt
from mocap_opt.questions.max_context.instance_family import last_found, shorten
from mocap_opt.questions.max_context.upper_bounds import (
    PathWeightShift,
    latency_upper_bound,
    memory_upper_bound,
)
from mocap_opt.replay.evaluation import assess
from mocap_opt.tables import build_tables

LONGEST = Path(__file__).resolve().parent.parent / "instances" / "gpt3-175b-watos-longest.json"


def identical(stages: int, chunks: int, capacity: int) -> LengthFamily:
    """One byte of KV per token and stage, nothing else in memory."""
    return LengthFamily(make_tables(stages, 2 * capacity, max_chunks=chunks, capacity=capacity))


# Capacities at which every answer is a whole number of chunks.
RATIOS = [
    (8, 8, 72, "mocap", Fraction(4, 3)),
    (8, 8, 72, "joint", Fraction(16, 9)),  # 1.78
    (16, 16, 816, "mocap", Fraction(4, 3)),
    (16, 16, 816, "joint", Fraction(32, 17)),  # 1.88
    (16, 16, 496, "search-mirror", Fraction(32, 31)),  # 1.03
    (16, 32, 1568, "joint", Fraction(64, 49)),  # 1.31
    (16, 32, 1568, "mocap", Fraction(32, 28)),  # M / (M - N/4)
]


@pytest.mark.parametrize(("stages", "chunks", "capacity", "method", "ratio"), RATIOS)
def test_ratios_on_equal_chunks(stages, chunks, capacity, method, ratio):
    family = identical(stages, chunks, capacity)
    assert longest_equal(family, "uniform").tokens == capacity
    found = longest_equal(family, method)
    assert found.tokens == ratio * capacity
    if method == "joint":
        assert found.upper_bound_tokens == found.tokens
        assert found.stopped_by is not None
        # Slot M - 1 is the fullest: every stage has reached its last or nearest chunks.
        assert (found.stopped_by.memory, found.stopped_by.slot) == (None, chunks - 1)


def test_worked_example_of_the_page():
    # Two stages of 6 bytes, one byte a token, two chunks of c: at home the first stage holds 2 c <= 6;
    # pooled, slot 1 holds 2 c + c <= 12.
    family = identical(2, 2, 6)
    assert longest_equal(family, "uniform").tokens == 6
    joint = longest_equal(family, "joint")
    assert (joint.tokens, joint.upper_bound_tokens) == (8, 8)
    assert joint.stopped_by is not None
    assert (joint.stopped_by.tokens, joint.stopped_by.slot, joint.stopped_by.bytes_short) == (10, 1, 3)


def test_slices_are_the_tables_of_shorter_prompts():
    instance = toy(workload={"tokens": 40, "cached_prefix": 6}, attention="full_block")
    for steps in (1, 4, 10):
        cut = shorten(build_tables(instance), steps)
        built = build_tables(instance.replace(f"workload.tokens={4 * steps}"))
        for field in fields(cut):
            assert np.array_equal(getattr(cut, field.name), getattr(built, field.name)), field.name


def test_a_short_last_step_has_no_slices():
    with pytest.raises(ValueError, match="cannot cut 10 tokens in steps of 4 down to 1"):
        shorten(build_tables(toy()), 1)


def test_bisection_without_monotony_ends_between_an_answer_and_none():
    answers = {1, 2, 3, 9, 10, 16}
    assert last_found(lambda n: n if n in answers else None, 1, 20, monotone=False) in [
        (n, n) for n in answers if n + 1 not in answers
    ]
    assert last_found(lambda n: n if n <= 13 else None, 1, 20) == (13, 13)
    assert last_found(lambda n: None, 1, 20) is None
    assert last_found(lambda n: n, 3, 2) is None


def test_exceptional_lengths_are_part_of_the_upper_bound():
    # Chunks of exactly 2 tokens: an odd prompt cannot be cut, which says nothing about the next even one.
    tables = make_tables(2, 12, max_chunks=4, min_length=2, max_length=2, capacity=20)
    assert memory_upper_bound(LengthFamily(tables)) == 8


def test_shift_measures_what_later_chunks_save():
    steady = make_tables(2, 8, linear=3, quadratic=1)
    assert PathWeightShift.of(steady).slack == 0
    falling = make_tables(2, 4, max_chunks=3)
    phi = np.array([[0, 10, 18, 25, 30]] * 2, dtype=np.int64)  # steps of 10, 8, 7, 5
    changed = shorten(falling, 4)
    object.__setattr__(changed, "phi", phi)
    # Two steps take 18, 15 and 12: 6 less at most; a path has 3 + 2 - 1 nodes.
    assert PathWeightShift.of(changed).slack == 6 * 4
    assert PathWeightShift.of(make_tables(2, 8, min_length=2)).slack is None


def test_latency_upper_bound_against_every_length():
    family = LengthFamily(make_tables(3, 24, max_chunks=4, linear=5, quadratic=1, constant=3, capacity=30))
    limit = LatencyLimit(family, ticks=Fraction(900))
    top = latency_upper_bound(family, limit, 0, 24)
    within = [
        s
        for s in range(1, 25)
        if any(
            (plan := method.propose(family.at(s)).plan) is not None
            and assess(family.at(s), plan).latency <= 900
            for name, method in METHODS.items()
            if name != "search-program"
        )
    ]
    assert 0 < max(within) <= top < 24


def test_a_limit_is_one_of_two():
    family = identical(2, 2, 6)
    with pytest.raises(ValueError, match="either ticks or a factor"):
        LatencyLimit(family)


def test_without_a_limit_the_question_is_refused(capsys):
    with pytest.raises(InputError, match="a giant chunk wins"):
        longest_prompt(identical(2, 2, 6), "joint", None)
    code, out, err = run("max-length", LONGEST, capsys=capsys)
    assert (code, out) == (2, "")
    assert "--equal-chunks" in err


def test_several_limits_and_unfit_methods_are_refused(capsys):
    code, _, err = run("max-length", LONGEST, "--equal-chunks", "--latency-factor", "1.1", capsys=capsys)
    assert code == 2
    assert "at most one of them" in err
    code, _, err = run("max-length", LONGEST, "--equal-chunks", "--method", "terapipe", capsys=capsys)
    assert code == 2
    assert "on equal chunks one of uniform, mocap" in err


def test_joint_holds_a_third_more_than_mocap_where_memory_binds(capsys):
    lengths = {}
    for method in ("mocap", "joint"):
        size = ["--set", "chunking.quantum=256", "--set", "chunking.shortest=256"]
        code, answer = run_json(
            "max-length", LONGEST, "--equal-chunks", "--method", method, *size, capsys=capsys
        )
        assert code == 0
        lengths[method] = answer["tokens"]
    assert lengths["joint"] >= 1.3 * lengths["mocap"]
    assert answer["upper_bound_tokens"] <= 1.05 * lengths["joint"]
    assert answer["stopped_by"]["proved"]
    assert answer["lockstep_latency_s"] > 0
    assert answer["event_latency_s"] > 0


def test_latency_factor_curve_and_plan(tmp_path, capsys):
    curve, plan = tmp_path / "curve.csv", tmp_path / "plan.json"
    size = [f"chunking.{key}=16384" for key in ("quantum", "shortest")]
    options = [part for change in size for part in ("--set", change)]
    where = ["--curve", curve, "--out", plan, "--method", "mocap"]
    code, answer = run_json("max-length", LONGEST, "--latency-factor", "1.1", *options, *where, capsys=capsys)
    assert code == 0
    assert answer["tokens"] <= answer["upper_bound_tokens"]
    with curve.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["tokens"]) for row in rows] == [point["tokens"] for point in answer["curve"]]
    assert int(rows[-1]["tokens"]) == answer["tokens"]
    assert all(0 <= float(row["gap"]) < 1 for row in rows)
    options += ["--set", f"workload.tokens={answer['tokens']}"]
    code, judged = run_json("evaluate", LONGEST, plan, *options, capsys=capsys)
    assert code == 0
    assert judged["latency_s"] == answer["latency_s"]


def test_kv_that_fits_nowhere_is_exit_code_3(capsys):
    code, answer = run_json(
        "max-length", LONGEST, "--equal-chunks", "--set", "wafer.die.memory_bytes=1GB", capsys=capsys
    )
    assert code == 3
    assert (answer["tokens"], answer["upper_bound_tokens"]) == (None, 0)
    assert (answer["stopped_by"]["memory"], answer["stopped_by"]["slot"]) == (None, 15)
    assert answer["stopped_by"]["bytes_short"] > 0


def test_too_fine_a_grid_is_refused():
    instance = load_instance(LONGEST, ["chunking.quantum=16", "chunking.shortest=16"])
    with pytest.raises(InputError, match=r"chunking.quantum: expected at least \d+ tokens, got 16"):
        LengthFamily.of(instance)


def test_a_search_that_is_stopped_returns_what_it_has():
    family = LengthFamily(make_tables(3, 24, max_chunks=4, linear=5, quadratic=1, constant=3, capacity=30))
    limit = LatencyLimit(family, ticks=Fraction(900))
    whole = longest_prompt(family, "joint", limit, curve_points=4)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    cut = longest_prompt(family, "joint", limit, curve_points=4, asked_to_stop=stop)
    assert asked > 3
    assert cut.best is None or cut.tokens <= whole.tokens
    assert cut.upper_bound_tokens >= whole.upper_bound_tokens
    assert cut.stopped_by is not None
    assert cut.stopped_by.proved or "time was up" in cut.stopped_by.reason
    none = longest_prompt(family, "joint", limit, time_limit_s=0.0)
    assert none.tokens in (None, 1), "the shortest length is asked about in any case"
