"""Twenty seeded instances unlike the shipped ones, and a table of what solving them leaves open.

Queues of depth 1 and unbounded, overlap 0, 0.5 and 0.123457, times by the roofline and measured ones that
rise and fall with the length, ample and short memory, some with a hub of narrow links; 5 to 24 stages.

    python tests/varied_instances.py --time-limit 60 [--seeds 0-19]
"""

from __future__ import annotations

import argparse
import statistics
from random import Random
from typing import Any

from random_measured import QUANTUM, measured_times, narrow_hub

import mocap_opt
from mocap_opt.instance import Instance
from mocap_opt.studies.bench.family import die_memory

NUMBER = 20
"""Instances of the set."""

OVERLAPS = ("0", "0.5", "0.123457")


def varied_instance(seed: int) -> dict[str, Any]:
    """Draw an instance.

    Parameters
    ----------
    seed : int
        Depth, overlap, kind of times and hub take turns; the rest is drawn.

    Returns
    -------
    dict
        What its JSON file holds.
    """
    random = Random(f"varied {seed}")
    stages, chunks, steps = (
        random.randint(5, 24),
        random.choice((8, 12, 16, 24)),
        random.choice((32, 64, 128)),
    )
    measured, hub = seed // 2 % 2 == 1, seed % 5 == 4
    data: dict[str, Any] = {
        "version": 1,
        "name": f"varied-{seed}",
        "model": "gpt3-44b",
        "wafer": {"preset": "pjlab-5x4", "cols": 5},
        "pipeline": {"stages": stages, "queue_depth": "unbounded" if seed % 2 else 1},
        "workload": {"tokens": steps * QUANTUM},
        "chunking": {"max_chunks": chunks, "quantum": QUANTUM},
        "overlap": float(OVERLAPS[seed % 3]),
        "costs": {"kind": "roofline", "efficiency": 0.5, "overhead": "50 us", "half_efficiency_tokens": 256},
    }
    if measured:
        alike = random.random() < 0.5
        tables = [measured_times(random, steps) for _ in range(1 if alike else stages)]
        data["costs"] = {"kind": "measured", "stages": tables[0] if alike else tables}
    if hub:
        speed = f"{random.choice((1, 2, 4))} GB/s"
        data["wafer"]["slow_links"] = narrow_hub(data, random.randrange(1, stages - 1), speed, columns=5)
    share = random.choice((0.75, 0.85, 0.95, 1.2))
    data["wafer"]["die"] = {"memory_bytes": die_memory(Instance.from_dict(data), share)}
    return data


def main() -> None:
    """Solve the instances and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--seeds", default=f"0-{NUMBER - 1}")
    args = parser.parse_args()
    first, _, last = args.seeds.partition("-")
    gaps = []
    print(f"{'name':11s} {'N':>3s} {'M':>3s} {'G':>4s} {'Q':>4s} {'f':>9s} {'gap':>8s}  bound, plan")
    for seed in range(int(first), int(last or first) + 1):
        instance = Instance.from_dict(varied_instance(seed))
        answer = mocap_opt.solve(instance, time_limit_s=args.time_limit)
        report, tables = answer.report, answer.tables
        gaps.append(report.gap)
        size = f"{tables.stages:3d} {tables.max_chunks:3d} {tables.steps:4d} {tables.queue_depth or '-':>4}"
        gap = "none" if report.gap is None else f"{report.gap:.3%}"
        by = f"{report.bound_name}, {report.found_by}"
        print(f"{tables.name:11s} {size} {float(tables.overlap):9g} {gap:>8s}  {by}", flush=True)
    known = [gap for gap in gaps if gap is not None]
    if known:
        print(f"{len(known)} of {len(gaps)}: median {statistics.median(known):.3%}, most {max(known):.3%}")


if __name__ == "__main__":
    main()
