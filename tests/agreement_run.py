"""HiGHS, CP-SAT and brute force on random tiny instances: do they agree on the lockstep optimum?

    python tests/agreement_run.py --count 5000 --seed 0

Half of the instances are those of `random_tables` (whole ticks, networks with dead and slow links), half
those of `random_tight` (continuous times, tight memory).  Each is solved by brute force, by the lockstep
program of HiGHS as it stands (no start), and by that of CP-SAT; homes are whole pages in all three.  What is
counted besides agreement: how often HiGHS with presolve, by itself, says something else than HiGHS
without; how often a second reading changed an answer or was left without a verdict; and what the
readings cost in seconds of CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from oracle import brute_force
from random_tables import TINY_PAIR, TINY_TRIPLE, random_tables
from random_tight import random_tight

from mocap_opt.formulations import joint, joint_cpsat
from mocap_opt.formulations.pyomo_solution import no_plan, run_program
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.verify import violations
from mocap_opt.solvers import highs
from mocap_opt.solvers.highs import ABSOLUTE_GAP, solve_mip
from mocap_opt.solvers.limits import Limits
from mocap_opt.solvers.outcome import ProgramResult, Status, StopReason
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.tables.cost_tables import Tables

TIME_LIMIT_S = 60.0
ONE_WORKER_S = 10.0
WORKERS = 8


@dataclass
class Findings:
    """What a run came to.

    Attributes
    ----------
    counts : Counter of str
    cpu_s : Counter of str
        Seconds of CPU by what they were spent on.
    disagreements : list of str
        Names of the instances, each with what was said.
    """

    counts: Counter[str] = field(default_factory=Counter)
    cpu_s: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def timed(self, name: str, work: Any) -> Any:
        """Do something and add the CPU time it took."""
        began = time.process_time()
        result = work()
        self.cpu_s[name] += time.process_time() - began
        return result


def instances(count: int, seed: int, first: int = 0) -> Iterator[Tables]:
    """As many tiny instances; the name of each tells how to get it again."""
    for number in range(first, first + count):
        rng = np.random.default_rng([seed, number])
        name = f"{seed}/{number}"
        if number % 2:
            yield random_tight(rng, name)
        else:
            yield random_tables(rng, TINY_TRIPLE if rng.random() < 0.35 else TINY_PAIR, name)


def examine(tables: Tables, found: Findings) -> None:
    """Solve one instance three ways and note whether the answers are one."""
    best = found.timed("brute force", lambda: brute_force(tables))
    cpsat = found.timed(
        "cpsat", lambda: joint_cpsat.solve_joint(tables, time_limit_s=ONE_WORKER_S, threads=1)
    )
    if cpsat.outcome.stop is StopReason.TIME_LIMIT:
        # A single worker can get stuck for minutes on an instance that several close in an instant.
        found.counts["cpsat: one worker stuck, several asked"] += 1
        cpsat = found.timed(
            "cpsat", lambda: joint_cpsat.solve_joint(tables, time_limit_s=TIME_LIMIT_S, threads=WORKERS)
        )
    limits = Limits(TIME_LIMIT_S)
    model = found.timed("building", lambda: joint.build(tables))
    if model is None:
        answer = no_plan(limits, "")
        found.counts["no program: no boundaries are allowed"] += 1
    else:
        answer = found.timed("highs", lambda: run_program(model, tables, None, limits))
        _compare_readings(model, found)
    found.counts["infeasible" if best is None else "feasible"] += 1
    found.counts["remote homes at the optimum"] += best is not None and bool(best.plan.homes)
    found.counts["several chunks at the optimum"] += best is not None and best.plan.chunks > 1
    optimum = None if best is None else int(best.value)
    for name, result in (("highs", answer), ("cpsat", cpsat)):
        wrong = _wrong(tables, optimum, result)
        if wrong:
            found.disagreements.append(f"{tables.name}: {name}: {wrong}")
    if answer.outcome.stop is StopReason.UNCONFIRMED:
        contradicted = answer.outcome.bound is None and answer.outcome.objective is not None
        found.counts["second reading: answer changed" if contradicted else "second reading: no verdict"] += 1
    elif answer.outcome.confirmed_by is not None:
        found.counts[f"confirmed by {answer.outcome.confirmed_by}"] += 1


def _wrong(tables: Tables, optimum: int | None, result: ProgramResult) -> str:
    """What a solver says that is not so; empty if nothing."""
    outcome = result.outcome
    if outcome.bound is not None and (optimum is None or outcome.bound > optimum):
        return f"bound {outcome.bound}, optimum {optimum}"
    if outcome.stop is StopReason.UNCONFIRMED:
        return ""
    if optimum is None:
        return "" if outcome.status is Status.INFEASIBLE else f"{outcome.status.value}, but infeasible"
    if outcome.status is not Status.OPTIMAL:
        return f"{outcome.status.value} ({outcome.stop.value}), optimum {optimum}"
    assert result.plan is not None
    if violations(tables, result.plan):
        return "a plan that is not feasible"
    latency = replay_lockstep(tables, result.plan).latency
    # Where times are continuous, HiGHS proves its optimum up to its absolute gap, less than a tick each slot.
    slack = 0 if outcome.solver == "cpsat" else _slack(tables, optimum)
    return "" if optimum <= latency <= optimum + slack else f"{latency}, optimum {optimum}"


def _slack(tables: Tables, optimum: int) -> int:
    """Ticks by which the model's optimum may miss that of the tables: rounding, and HiGHS's absolute gap."""
    whole = optimum <= 2**20
    slots = tables.stages + tables.max_chunks - 1
    return 0 if whole else 2 * slots + int(ABSOLUTE_GAP * max(1, optimum))


def _compare_readings(model: Any, found: Findings) -> None:
    """Whether presolve, left to itself, would have said something else."""
    program = compile_model(model).program
    first = found.timed("one reading, without presolve", lambda: solve_mip(program, confirm=False)).outcome
    with mock.patch.object(highs, "FIRST_READING", {"presolve": "on"}):
        presolved = found.timed(
            "one reading, with presolve", lambda: solve_mip(program, confirm=False)
        ).outcome
    found.timed("both readings", lambda: solve_mip(program))
    same = first.status is presolved.status and (
        first.objective is None
        or abs(first.objective - presolved.objective) <= 1e-6 * max(1.0, abs(first.objective))
    )
    found.counts["presolve alone says something else"] += not same


def run(count: int, seed: int, first: int = 0) -> Findings:
    """Examine so many instances."""
    found = Findings()
    for tables in instances(count, seed, first):
        examine(tables, found)
    return found


def main() -> None:
    """Print the findings as JSON; exit with 1 on a disagreement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to share out a run")
    chosen = parser.parse_args()
    found = run(chosen.count, chosen.seed, chosen.first)
    cpu = {name: round(seconds, 2) for name, seconds in found.cpu_s.items()}
    shown = {"counts": dict(found.counts), "cpu_s": cpu, "disagreements": found.disagreements}
    print(json.dumps({**vars(chosen), **shown}, indent=2))
    raise SystemExit(bool(found.disagreements))


if __name__ == "__main__":
    main()
