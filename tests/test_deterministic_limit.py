"""Under a deterministic limit, the same seed gives the same plan in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from mocap_opt.baselines import METHODS
from mocap_opt.formulations import contention_free, contention_free_cpsat, joint, joint_cpsat
from mocap_opt.solvers.outcome import Progress
from mocap_opt.tables import build_tables
from tests.toy_instances import preset, toy

SOLVES = {
    "joint highs": joint.solve_joint,
    "joint cpsat": joint_cpsat.solve_joint,
    "contention_free highs": contention_free.solve_contention_free,
    "contention_free cpsat": contention_free_cpsat.solve_contention_free,
}
INSTANCES = {
    "tiny": toy(),
    "4 x 8 x 32": preset(
        "gpt3-175b", "watos-c3", 4, 14, chunking={"max_chunks": 8, "quantum": 4096, "shortest": 4096}
    ),
}


def answer(solve: str, size: str, limit: float) -> str:
    """All that a run found and proved, from the worst plan a heuristic makes."""
    tables = build_tables(INSTANCES[size])
    start = METHODS["uniform"].propose(tables).plan

    def busy(progress: Progress) -> bool:
        # What reaches callbacks depends on the clock; it must not matter.
        hashlib.sha256(os.urandom(2**20)).digest()
        return False

    result = SOLVES[solve](tables, start, seed=3, deterministic_limit=limit, callback=busy)
    outcome = result.outcome
    return repr((result.plan, outcome.objective, outcome.bound, outcome.stop, outcome.nodes))


def answers(size: str, limit: float) -> list[str]:
    """Of every program with every solver."""
    return [answer(solve, size, limit) for solve in SOLVES]


@pytest.mark.parametrize(
    ("size", "limit"), [("tiny", 1.0), pytest.param("4 x 8 x 32", 0.02, marks=pytest.mark.slow)]
)
def test_the_same_seed_and_limit_give_the_same_answer_in_two_processes(size: str, limit: float):
    script = (
        f"from tests.test_deterministic_limit import answers; print(*answers({size!r}, {limit}), sep='\\n')"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.count("Plan(") == len(SOLVES)
    assert run.stdout.splitlines() == answers(size, limit)


@pytest.mark.parametrize("solve", ["joint highs", "joint cpsat", "contention_free cpsat"])
def test_the_limit_ends_the_search_early(solve: str):
    assert "StopReason.NODE_LIMIT" in answer(solve, "4 x 8 x 32", 0.002)
