"""Figures of plans, periods and streams in ``data/schedules.json``, which a new structure must not move.

``python tests/frozen_schedules.py`` writes the file anew; do so only when the problem itself changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from random_plans import random_plan
from random_tables import MIDDLING, TINY_PAIR, random_tables
from stream_oracle import random_stream

from mocap_opt import evaluate
from mocap_opt.instance import Instance, load_instance
from mocap_opt.replay.event import replay_event, run_event
from mocap_opt.replay.lockstep import replay_lockstep, run_lockstep
from mocap_opt.replay.steady_state import run_steady
from mocap_opt.schedule import verify
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import plan_from_dict, plan_to_dict
from mocap_opt.schedule.requests import Request, build_requests
from mocap_opt.schedule.schedule import Schedule
from mocap_opt.schedule.schedule_file import period_from_dict, schedule_to_dict, stream_from_dict
from mocap_opt.schedule.verify import schedule_memory, schedule_violations, smallest_interval
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

FILE = Path(__file__).parent / "data" / "schedules.json"
INSTANCES = Path(__file__).parent.parent / "instances"

SEEDS = range(12)
TINY = ("tiny-pooled", "tiny-prefix", "tiny-shrinking", "tiny-slow-link", "tiny-unequal", "tiny-detour")


def tables_of(seed: int) -> Tables:
    """A small random instance."""
    return random_tables(np.random.default_rng([7, seed]), TINY_PAIR if seed % 3 == 0 else MIDDLING)


def period_tables(seed: int) -> Tables:
    """The same with queues that end."""
    tables = tables_of(seed)
    return replace(tables, queue_depth=1) if tables.queue_depth is None else tables


def requests_of(seed: int) -> tuple[Request, ...]:
    """A tiny random stream."""
    return random_stream(np.random.default_rng([11, seed]))[0]


def _text(values: Any) -> Any:
    """Numbers as JSON holds them: fractions as text."""
    if isinstance(values, list | tuple):
        return [_text(value) for value in values]
    if isinstance(values, np.ndarray):
        return _text(values.tolist())
    return values if values is None or isinstance(values, int | str) else str(values)


def _rules(found: list[verify.Violation]) -> list[list[Any]]:
    return [[v.rule, v.message, v.memory, v.slot, v.bytes_short] for v in found]


def plan_figures(seed: int, file: dict[str, Any]) -> dict[str, Any]:
    """What a plan comes to, read from what its file holds."""
    tables = tables_of(seed)
    plan = plan_from_dict(file, tables)
    broken = verify.violations(tables, plan)
    lockstep = replay_lockstep(tables, plan)
    found = {
        "violations": _rules(broken),
        "memory": verify.memory_use(tables, plan),
        "work": lockstep.work,
        "exchange": lockstep.exchange,
        "bound_by": [*lockstep.work_bound_by, *lockstep.exchange_bound_by],
        "lockstep": lockstep.latency,
    }
    if not broken:
        event = replay_event(tables, plan)
        found |= {
            "event": event.latency,
            "starts": event.start[-1],
            "held": event.memory,
            "waits": event.accounts[-1].total,
        }
    return {key: _text(value) for key, value in found.items()}


def period_figures(seed: int, file: dict[str, Any]) -> dict[str, Any]:
    """What a periodic plan comes to, read from what its file holds."""
    tables = period_tables(seed)
    periodic = period_from_dict(file, tables)
    broken = schedule_violations(periodic)
    lockstep = run_lockstep(periodic)
    found = {
        "violations": _rules(broken),
        "memory": schedule_memory(periodic),
        "work": lockstep.work,
        "exchange": lockstep.exchange,
        "bound_by": [*lockstep.work_bound_by, *lockstep.exchange_bound_by],
        "lockstep": lockstep.period,
        "latency": lockstep.latency,
    }
    if not broken:
        event = run_steady(periodic)
        found |= {
            "event": event.period,
            "estimate": event.estimate,
            "cycle": event.cycle,
            "completions": event.completions[:8],
            "event latency": event.latency,
        }
    return {key: _text(value) for key, value in found.items()}


def stream_figures(seed: int, file: dict[str, Any]) -> dict[str, Any]:
    """What a sequence of requests comes to, read from what its file holds."""
    sequence = stream_from_dict(file, requests_of(seed))
    broken = schedule_violations(sequence)
    lockstep = run_lockstep(sequence)
    found: dict[str, Any] = {
        "order": sequence.order,
        "violations": _rules(broken),
        "memory": schedule_memory(sequence),
        "work": lockstep.work,
        "start": lockstep.start,
        "lockstep": lockstep.completion,
    }
    if not broken:
        event = run_event(sequence)
        found |= {"event": event.completion, "starts": event.start[-1]}
    return {key: _text(value) for key, value in found.items()}


def answer(name: str, objective: str, file: dict[str, Any]) -> dict[str, Any]:
    """What `evaluate` says of a file."""
    fields = evaluate(instance(name, objective), file).report.to_dict()
    left_out = (
        "runtime_s",
        "build_s",
        "solve_s",
        "versions",
        "settings",
        "steps",
        "programs",
        "bound_name",
        "bound_evidence",
    )
    return {
        key: value
        for key, value in json.loads(json.dumps(fields)).items()
        if key not in left_out and "bound" not in key and "gap" not in key and key != "status"
    }


def instance(name: str, objective: str) -> Instance:
    """A shipped instance with an objective, or a stream of three of its prompts."""
    shipped = load_instance(INSTANCES / f"{name}.json")
    if objective == "stream":
        tokens = shipped.workload.tokens
        one = {"tokens": tokens, "prefix": shipped.workload.cached_prefix, "batch": shipped.workload.batch}
        data = shipped.to_dict()
        data["workload"] = {"requests": [dict(one, name=f"r{n}") for n in range(3)]}
        return Instance.from_dict(data)
    # Endless requests need bounded queues.
    return shipped.replace("objective=period", "pipeline.queue_depth=2") if objective == "period" else shipped


def make() -> dict[str, list[dict[str, Any]]]:
    """Plans of today's code with their figures."""
    made: dict[str, list[dict[str, Any]]] = {"plan": [], "period": [], "stream": [], "answer": []}
    for seed in SEEDS:
        rng = np.random.default_rng([3, seed])
        tables = tables_of(seed)
        plan = random_plan(tables, rng)
        if plan is not None:
            for each in (plan, Plan(plan.boundaries)):
                file = plan_to_dict(each, tables.name, tables)
                made["plan"].append({"seed": seed, "file": file, "figures": plan_figures(seed, file)})
        tables = period_tables(seed)
        plan = random_plan(tables, rng)
        periodic = None if plan is None else smallest_interval(tables, plan)
        if periodic is not None:
            for slots in sorted({plan.chunks, periodic.slots, periodic.slots + 1}):
                file = {**plan_to_dict(plan, tables.name, tables), "slots": slots}
                made["period"].append({"seed": seed, "file": file, "figures": period_figures(seed, file)})
        made["stream"] += _streams(seed, rng)
    made["answer"] += _answers()
    return made


def _streams(seed: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    requests = requests_of(seed)
    for idle in (0, 1):
        slot, scheduled = 0, []
        order = rng.permutation(len(requests)).tolist()
        for r in order:
            plan = random_plan(requests[r].tables, rng) or Plan(tuple(requests[r].tables.grid.tolist()))
            scheduled.append(requests[r].scheduled(plan, slot, r))
            slot += plan.chunks + idle
        file = schedule_to_dict(Schedule(tuple(scheduled)), "stream", None)
        yield {"seed": seed, "file": file, "figures": stream_figures(seed, file)}


def _answers() -> Iterator[dict[str, Any]]:
    for name in TINY:
        shipped = instance(name, "latency")
        tables = build_tables(shipped)
        plan = random_plan(tables, np.random.default_rng(5))
        if plan is None:
            continue
        for objective in ("latency", "period", "stream"):
            of = instance(name, objective)
            file = plan_to_dict(plan, name, tables)
            if objective == "period":
                file["slots"] = plan.chunks + tables.stages - 1
            elif objective == "stream":
                requests = build_requests(of)
                apart = plan.chunks + tables.stages - 1
                file = schedule_to_dict(
                    Schedule(tuple(r.scheduled(plan, n * apart, n) for n, r in enumerate(requests))),
                    name,
                    of.fingerprint,
                )
            yield {
                "name": name,
                "objective": objective,
                "file": file,
                "figures": answer(name, objective, file),
            }


if __name__ == "__main__":
    records = make()
    lines = {key: ",\n  ".join(json.dumps(each) for each in value) for key, value in records.items()}
    FILE.write_text("{" + ",\n".join(f'"{key}": [\n  {text}\n ]' for key, text in lines.items()) + "}\n")
    sys.stdout.write(f"{FILE.name}: { ({key: len(value) for key, value in records.items()}) }\n")
