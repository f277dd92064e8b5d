"""What helps where no plan exists: every change that is named has a plan."""

from __future__ import annotations

import re

import pytest

from mocap_opt import Instance, build_tables, load_instance, solve
from mocap_opt.solve.remedies import closest_shortage, remedies
from mocap_opt.stopping import Deadline, never


def hopeless() -> Instance:
    return load_instance("instances/gpt3-175b-watos-hopeless.json")


def test_an_infeasible_verdict_names_the_shortage_and_remedies_that_hold() -> None:
    solution = solve(hopeless(), time_limit_s=20)
    assert "short" in solution.report.reason or "exceeds" in solution.report.reason
    named = [note for note in solution.report.notes if note.startswith("would fit")]
    assert named
    for note in named:
        (override,) = re.findall(r"--set (\S+?)\)", note)
        assert solve(hopeless().replace(override), time_limit_s=5).plan is not None


def test_nothing_is_named_once_asked_to_stop() -> None:
    assert remedies(hopeless(), Deadline(0.0)) == []


def test_a_verdict_without_a_memory_of_its_own_says_where_close_plans_are_short() -> None:
    said = closest_shortage(build_tables(hopeless()), never)
    assert "no single memory is short in every plan" in said


@pytest.mark.parametrize("name", ["tiny-hopeless"])
def test_tiny_instances_get_an_answer_too(name: str) -> None:
    report = solve(load_instance(f"instances/{name}.json"), time_limit_s=5).report
    assert report.status.value == "infeasible"
