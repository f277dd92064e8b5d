"""``chunking.quantum: "auto"``: the rule, its limits, and where the grid it picked is said."""

from __future__ import annotations

import json
from math import isqrt
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from command_line import exit_code
from toy_instances import preset, toy

import mocap_opt
from mocap_opt.bounds.crossing import crossing_pooled_memory
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, json_schema, load_instance
from mocap_opt.instance.grid import MOST_RESIDUALS, MOST_STEPS, STEPS_EACH
from mocap_opt.instance.schema import Chunking
from mocap_opt.schedule.plan_file import plan_from_dict, plan_to_dict
from mocap_opt.tables import build_tables

INSTANCES = Path(__file__).parent.parent / "instances"
AUTO = "chunking.quantum=auto"


def grid(**chunking: Any) -> tuple[int, int]:
    """Quantum and page of a toy instance with 128k tokens."""
    made = toy(workload={"tokens": "128k"}, chunking={"quantum": "auto", "page": None, **chunking})
    return made.chunking.quantum, made.chunking.page_tokens


@pytest.mark.parametrize(
    ("chunking", "expected"),
    [
        ({"max_chunks": 32}, (128, 128)),  # 4096 tokens a chunk, 32 steps
        ({"max_chunks": 33}, (64, 64)),
        ({"max_chunks": 32, "page": 48}, (96, 48)),
        ({"max_chunks": 32, "page": 256}, (256, 256)),  # no grid is finer than the page
        ({"max_chunks": 4096, "shortest": 4096}, (128, 128)),  # at most 32 chunks fit
        ({"max_chunks": 4096}, (32, 32)),  # at most 4096 steps
        ({"max_chunks": 1}, (4096, 4096)),
        ({"max_chunks": 32, "exact": True}, (128, 128)),
        ({"max_chunks": 2, "longest": "64k", "shortest": "64k"}, (2048, 2048)),
        ({"max_chunks": 3, "longest": 43691, "shortest": 43690}, (1, 1)),  # no other grid divides
    ],
)
def test_the_rule(chunking: dict[str, Any], expected: tuple[int, int]):
    assert grid(**chunking) == expected


def test_no_grid_of_the_rule_breaks_a_limit():
    random = Random(5)
    made = 0
    for _ in range(100):
        chunking: dict[str, Any] = {
            "max_chunks": random.choice((1, 2, 3, 7, 32, 500)),
            "page": random.choice((None, 1, 3, 16, 1000)),
            "shortest": random.choice((None, 5, 1000)),
            "longest": random.choice((None, 2000, 40_000)),
            "exact": random.random() < 0.3,
        }
        workload = {"tokens": random.randint(1, 60_000)}
        powers = [(chunking["page"] or 1) << n for n in range(17)]
        fixed = [_made(workload, {**chunking, "quantum": quantum}) for quantum in powers]
        auto = _made(workload, {**chunking, "quantum": "auto"})
        # The rule finds a grid wherever one of its grids is allowed.
        possible = {each.fingerprint: each.chunking.quantum for each in fixed if each is not None}
        assert (auto is None) == (not possible)
        if auto is not None:
            made += 1
            assert possible[auto.fingerprint] == auto.chunking.quantum
            fine = workload["tokens"] // auto.chunking.quantum > MOST_STEPS
            assert not fine or all(workload["tokens"] // each > MOST_STEPS for each in possible.values())
    assert made > 40


def _made(workload: dict[str, Any], chunking: dict[str, Any]) -> Instance | None:
    try:
        return toy(workload=workload, chunking=chunking)
    except InputError:
        return None


def test_measured_times_bound_the_grid_on_both_sides():
    path = INSTANCES / "llama-3.1-70b-pjlab-measured.json"
    free = load_instance(path, [AUTO])
    assert 20 * (free.workload.tokens // free.chunking.quantum + 1) ** 2 <= MOST_RESIDUALS
    shortest_measured = load_instance(path, [AUTO, "chunking.shortest=null"])
    assert shortest_measured.chunking.quantum >= 1024  # the least length that was measured
    for instance in (free, shortest_measured):
        assert build_tables(instance).steps < isqrt(MOST_RESIDUALS // 20)


@pytest.mark.parametrize("name", ["gpt3-175b-watos-tight", "llama-3.1-70b-pjlab-128k"])
def test_little_is_left_to_a_finer_grid(name: str):
    # The page says 0.2 to 1.2 %; half the steps of the rule leave about twice as much.
    path = INSTANCES / f"{name}.json"
    auto = load_instance(path, [AUTO])
    step = auto.chunking.quantum
    assert auto.workload.tokens >= STEPS_EACH * step * auto.chunking.max_chunks
    values = [_bound(load_instance(path, [f"chunking.quantum={quantum}"])) for quantum in (step, step // 2)]
    assert 1 <= values[0] / values[1] < 1.005


def _bound(instance: Instance) -> float:
    tables = build_tables(instance)
    bound = crossing_pooled_memory(tables)
    assert bound is not None
    return tables.seconds(bound.ticks)


def test_the_grid_is_said_and_read_back():
    instance = preset("llama-3.1-8b", "pjlab-5x4", 4, 1, chunking={"max_chunks": 4, "quantum": "auto"})
    assert instance.grid_by_rule == {"quantum": 1024, "page": 1024}
    assert "128 steps of 1k tokens by rule, pages of 1k" in str(instance)
    # A file with the figure is the same instance; variants keep the grid.
    plain = Instance.from_dict(instance.to_dict())
    assert (plain.fingerprint, plain.grid_by_rule) == (instance.fingerprint, None)
    assert instance.replace("chunking.max_chunks=32").chunking.quantum == 1024
    assert instance.replace("chunking.max_chunks=32", AUTO).chunking.quantum == 128
    report = mocap_opt.solve(instance, "uniform-greedy").report
    assert report.notes[0] == "chunking.quantum auto: steps of 1024 tokens, pages of 1024"
    assert not any("auto" in note for note in mocap_opt.solve(plain, "uniform-greedy").report.notes)


def test_plan_files_name_the_grid(tmp_path: Path):
    file, out = INSTANCES / "tiny-slack.json", tmp_path / "plan.json"
    for overrides, named in (([], False), (["--set", AUTO], True)):
        assert exit_code("solve", file, "--out", out, *overrides) == 0
        data = json.loads(out.read_text(encoding="utf-8"))
        assert ({"quantum": 1, "page": 1}.items() <= data.items()) is named
        assert exit_code("evaluate", file, out, *overrides) == 0
    tables = build_tables(load_instance(file))
    plan = plan_from_dict(data, tables)
    assert plan_to_dict(plan, "tiny-slack", tables, {"quantum": 1, "page": 1}) == data
    with pytest.raises(InputError, match=r"quantum: .*expected"):
        plan_from_dict({**data, "quantum": -1}, tables)


def test_auto_is_a_word_of_the_schema_and_nothing_near_it():
    data = {
        "version": 1,
        "name": "auto",
        "model": "llama-3.1-8b",
        "wafer": "pjlab-5x4",
        "pipeline": {"stages": 4},
        "workload": {"tokens": "128k"},
    }
    validator = jsonschema.Draft202012Validator(json_schema())
    for quantum, valid in (
        ("auto", True),
        (64, True),
        ("1k", True),
        (0, False),
        ("automatic", False),
        (None, False),
    ):
        given = {**data, "chunking": {"max_chunks": 4, "quantum": quantum}}
        assert validator.is_valid(given) is valid
        if valid:
            Instance.from_dict(given)
        else:
            with pytest.raises(InputError, match=r"chunking\.quantum"):
                Instance.from_dict(given)


def test_sections_need_a_number():
    instance = toy()
    sections = {key: getattr(instance, key) for key in Instance.model_fields}
    chunking = Chunking.model_validate({"max_chunks": 3, "quantum": "auto"})
    with pytest.raises(InputError, match=r"chunking\.quantum: expected a number of tokens"):
        Instance(**{**sections, "chunking": chunking})
