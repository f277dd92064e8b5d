"""Nothing outgrows the memory budget: it is asked for before it is allocated, and declined in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mocap_opt import bound, errors, load_instance, solve
from mocap_opt.baselines.compose import guarded
from mocap_opt.baselines.terapipe import slice_times
from mocap_opt.bounds.crossing_search import Crossing
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.cli.main import main
from mocap_opt.errors import InputError
from mocap_opt.formulations.chunk_graph import chunk_graph
from mocap_opt.homes.proposal import Proposal
from mocap_opt.instance import Instance
from mocap_opt.memory_budget import (
    DEFAULT_BYTES,
    LEAST_BYTES,
    OverBudgetError,
    budget_bytes,
    memory_budget,
    require_memory,
)
from mocap_opt.solving import STEPS
from mocap_opt.tables import build_tables

INSTANCES = Path(__file__).parent.parent / "instances"
FINE = ["chunking.quantum=1", "workload.tokens=16k"]
"""A grid whose square is 2 GB a table."""


def fine() -> Instance:
    return load_instance(INSTANCES / "gpt3-175b-watos-slack.json", FINE)


def test_a_budget_holds_in_its_block_and_is_refused_where_it_is_too_small():
    assert budget_bytes() == DEFAULT_BYTES
    with memory_budget(10**9):
        assert budget_bytes() == 10**9
        require_memory("a table", 10**7)
        with pytest.raises(OverBudgetError, match=r"a table would take 8 GB, too much for .* of 1 GB"):
            require_memory("a table", 10**9)
    assert budget_bytes() == DEFAULT_BYTES
    with pytest.raises(InputError, match=r"memory_budget: expected at least 268\.4 MB, got 1 MB"):
        solve(load_instance(INSTANCES / "tiny-slack.json"), memory_budget_bytes=10**6)


@pytest.mark.parametrize(
    "make",
    [
        lambda tables: slice_times(tables, tables.steps),
        lambda tables: Crossing.of(tables, Setting(tables).send, 0, 1),
        chunk_graph,
    ],
    ids=["slice_times", "crossings", "chunk_graph"],
)
def test_tables_of_chunks_are_declined_before_they_are_made(make, monkeypatch):
    tables = build_tables(fine())
    with memory_budget(LEAST_BYTES), pytest.raises(OverBudgetError, match="would take"):
        make(tables)


def test_a_heuristic_that_would_outgrow_it_has_no_plan_because():
    found = solve(fine(), "terapipe", time_limit_s=20, memory_budget_bytes=10**9)
    assert found.plan is None
    assert "the table of slice times would take" in found.report.reason
    assert found.report.lower_bound_s is not None


def test_a_heuristic_that_fails_has_no_plan_because(monkeypatch):
    def fails(tables, asked_to_stop=None):
        raise MemoryError("Unable to allocate 38.7 GiB")

    with pytest.raises(MemoryError, match=r"38\.7"):
        guarded(fails)(None)
    monkeypatch.setattr(errors, "raise_unexpected", False)
    answer = guarded(fails)(None)
    assert answer.plan is None
    assert answer.reason.startswith("failed: MemoryError: Unable to allocate 38.7 GiB (")
    assert guarded(lambda tables, asked_to_stop: Proposal(None, "as it was"))(None).reason == "as it was"


def test_a_solve_goes_on_without_what_would_outgrow_it():
    chosen = ["first_heuristics", "quick_bounds", "other_heuristics", "boundary_branching"]
    found = solve(fine(), time_limit_s=30, memory_budget_bytes=LEAST_BYTES, only=chosen)
    assert found.plan is not None
    assert {run.step for run in found.report.steps} == set(chosen) <= {step.name for step in STEPS}


def test_bounds_that_would_outgrow_it_are_noted(capsys):
    notes: list[str] = []
    instance = load_instance(INSTANCES / "gpt3-175b-watos-slack.json", ["chunking.quantum=24"])
    _, bounds, _ = bound(instance, quick=True, memory_budget_bytes=LEAST_BYTES, on_note=notes.append)
    assert "stage_work" in {each.name for each in bounds}
    assert [note.partition(":")[0] for note in notes] == ["crossing", "crossing_pooled_memory"]
    assert all("would take" in note for note in notes)


def test_the_option_takes_sizes_and_refuses_others(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["solve", str(INSTANCES / "tiny-slack.json"), "--memory-budget", "4 Gb"])
    assert "in bytes (B), not bits (b)" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["bound", str(INSTANCES / "tiny-slack.json"), "--memory-budget", "1 MB"])
    assert "expected at least 268.4 MB" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["bound", str(INSTANCES / "tiny-slack.json"), "--memory-budget", "4 GB"])
