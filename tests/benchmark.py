"""Time what users wait for: ``python tests/benchmark.py``.

Instances are GPT-3 175B on the watos-c3 wafer, one prompt of 128k tokens a batch entry, with the room for
KV in each memory set to a part of one request's cache.
Time of the process (a machine shared with others still slows it down), least of five runs after one to warm
up; solves and long replays: a single run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mocap_opt.baselines import METHODS
from mocap_opt.baselines.terapipe import terapipe_slices
from mocap_opt.formulations.joint_cpsat import solve_joint
from mocap_opt.instance import Instance, load_instance
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import violations
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

FAMILY = Path(__file__).parent.parent / "instances" / "bench"

SIZES = {
    # stages, dies of each, chunks, grid step
    "S 4 x 8 x 32": (4, 14, 8, 4096),
    "L 16 x 32 x 1024": (16, 3, 32, 128),
    "XL 32 x 128 x 4096": (32, 1, 128, 32),
}
ROOFLINE = {"kind": "roofline", "efficiency": 0.5, "overhead": "50 us", "half_efficiency_tokens": 128}


def tables_of(stages: int, dies: int, chunks: int, quantum: int, part: float | None) -> Tables:
    """Tables of one size; `part` of one request's cache fits in each memory, None for ample room."""
    instance = Instance.from_dict(
        {
            "version": 1,
            "name": "benchmark",
            "model": "gpt3-175b",
            "wafer": "watos-c3",
            "pipeline": {"stages": stages, "dies_per_stage": dies},
            "workload": {"tokens": "128k"},
            "chunking": {"max_chunks": chunks, "quantum": quantum, "shortest": quantum},
            "costs": ROOFLINE,
        }
    )
    tables = build_tables(instance)
    if part is None:
        return tables
    kv = int(tables.page_bytes[0] * tables.pages[-1])
    fixed = tables.static + tables.reserve(2 * tables.tokens // chunks)
    return replace(tables, capacity=fixed + int(part * kv))


def scattered(tables: Tables, chunks: int, memories: int = 6) -> Plan:
    """Equal chunks, parts of every one at random in up to `memories` memories, whatever fits there."""
    rng = np.random.default_rng(0)
    indices = np.linspace(0, tables.steps, chunks + 1).round().astype(int)
    pages = np.zeros((tables.stages, chunks, tables.stages), dtype=np.int64)
    for i, j in np.ndindex(tables.stages, chunks):
        left = int((tables.pages[indices[j + 1]] - tables.pages[indices[j]]) * rng.uniform(0.2, 0.9))
        for k in rng.permutation(tables.stages)[:memories]:
            pages[i, j, k] = rng.integers(0, left + 1) if k != i else 0
            left -= int(pages[i, j, k])
    return Plan.from_arrays(tables, indices, pages)


def timed(work: Callable[[], object], runs: int = 5) -> float:
    """Least time of the process, milliseconds."""
    times = []
    for _ in range(runs + (runs > 1)):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return min(times[1:] or times)


def main() -> None:
    """Print a line per size, room and task, and mocap on the shipped family of L and XL."""
    for path in sorted(FAMILY.glob("*L-*.json")):
        tables = build_tables(load_instance(path))
        milliseconds = timed(lambda t=tables: METHODS["mocap"].propose(t))
        print(f"{path.stem:30s} {'mocap':48s} {milliseconds:9.1f} ms", flush=True)
    for name, (stages, dies, chunks, quantum) in SIZES.items():
        for part in (None, 0.9, 0.8):
            tables = tables_of(stages, dies, chunks, quantum, part)
            label = f"{name:20s} {'slack' if part is None else f'room {part}':9s}"
            plan = METHODS["search-greedy"].propose(tables).plan
            rows = {"mocap": timed(lambda t=tables: METHODS["mocap"].propose(t))}
            if part is None:
                rows["terapipe"] = timed(lambda t=tables: METHODS["terapipe"].propose(t), runs=1)
                rows["terapipe, exact"] = timed(lambda t=tables: terapipe_slices(t, epsilon=0), runs=1)
            if part is None and chunks == 32:
                ample = replace(tables, capacity=100 * tables.capacity)
                everywhere = scattered(ample, chunks)
                homes = f"({len(everywhere.homes)} scattered homes)"
                rows[f"verify {homes}"] = timed(lambda t=tables, p=everywhere: violations(t, p))
                rows[f"lockstep replay {homes}"] = timed(lambda t=tables, p=everywhere: replay_lockstep(t, p))
                rows[f"event-driven replay {homes}"] = timed(
                    lambda t=ample, p=everywhere: replay_event(t, p), runs=1
                )
            if plan is not None:
                homes = f"({plan.chunks} chunks, {len(plan.homes)} homes)"
                rows["search-greedy"] = timed(lambda t=tables: METHODS["search-greedy"].propose(t))
                rows["search-spread"] = timed(lambda t=tables: METHODS["search-spread"].propose(t))
                rows["verify"] = timed(lambda t=tables, p=plan: violations(t, p))
                rows["lockstep replay"] = timed(lambda t=tables, p=plan: replay_lockstep(t, p))
                rows[f"event-driven replay {homes}"] = timed(lambda t=tables, p=plan: replay_event(t, p))
            if chunks == 8:
                rows["joint, CP-SAT, to optimality"] = timed(
                    lambda t=tables, p=plan: solve_joint(t, p, time_limit_s=60, gap=0.0, seed=0), runs=1
                )
            for task, milliseconds in rows.items():
                print(f"{label} {task:48s} {milliseconds:9.1f} ms", flush=True)


if __name__ == "__main__":
    main()
