"""How the requests of instances/pipelines were drawn; run as a script it writes the files again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

PLACE = Path(__file__).parent.parent / "instances" / "pipelines"
TRACE_SEED, JOBS_SEED = 2, 0


def long_requests(count: int, gap_s: float, seed: int = TRACE_SEED) -> list[dict[str, Any]]:
    """Long requests: 32k tokens and an exponential part, in whole 4k; exponential gaps between arrivals."""
    rng = np.random.default_rng(seed)
    tokens = 4096 * np.minimum(np.round(8 + rng.exponential(4.0, count)), 31).astype(int)
    arrivals = np.round(np.concatenate([[0.0], np.cumsum(rng.exponential(gap_s, count - 1))]), 3)
    return [
        {"name": f"r{n}", "tokens": int(size), **({"release": float(at)} if at else {})}
        for n, (size, at) in enumerate(zip(tokens, arrivals, strict=True))
    ]


def jobs(count: int = 1319, seed: int = JOBS_SEED) -> list[dict[str, Any]]:
    """Jobs like answers to GSM8K: log-normal, mean 300 tokens, sigma 0.4, in whole 16, at most 1,024."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(np.log(300) - 0.4**2 / 2, 0.4, count)
    tokens = np.minimum(np.maximum(16, 16 * np.round(sizes / 16)), 1024).astype(int)
    return [{"tokens": int(size)} for size in tokens]


def _trace(name: str, about: str, workload: dict[str, Any], objective: str) -> dict[str, Any]:
    return {
        "version": 1,
        "name": name,
        "description": about,
        "model": "llama-3.1-70b",
        "wafer": "watos-c3",
        "pipeline": {"stages": 8, "dies_per_stage": 1},
        "workload": workload,
        "chunking": {"max_chunks": 32, "quantum": 4096},
        "objective": objective,
    }


def instances() -> dict[str, dict[str, Any]]:
    """Every file's content by its name."""
    long = long_requests(48, 0.0)
    timed = [{**each, "slo": 30.0} for each in long_requests(64, 0.8)]
    made = [
        _trace(
            "trace-4-pipelines",
            "48 generated long requests, all there at 0, on four pipelines of 8 dies each.",
            {"requests": long, "order": "free", "pipelines": 4},
            "stream",
        ),
        _trace(
            "trace-goodput",
            "64 generated long requests, one every 0.8 s, each to be answered within 30 s, on two pipelines.",
            {"requests": timed, "order": "free", "pipelines": 2},
            "goodput",
        ),
        {
            "version": 1,
            "name": "jobs-200-pipelines",
            "description": "1,319 jobs of generated lengths, 20 ms a token, on 200 pipelines of one stage.",
            "model": "llama-3.1-8b",
            "wafer": "watos-c3",
            "pipeline": {"stages": 1, "dies_per_stage": 1},
            "workload": {"requests": jobs(), "order": "free", "pipelines": 200},
            "chunking": {"max_chunks": 1, "quantum": 16},
            "costs": {"kind": "coefficients", "stages": {"linear": 0.02}},
            "objective": "stream",
        },
    ]
    return {each["name"]: each for each in made}


def as_text(instance: dict[str, Any]) -> str:
    """The file: one request a line."""
    requests = instance["workload"]["requests"]
    held = {**instance, "workload": {**instance["workload"], "requests": None}}
    lines = ",\n".join(f"    {json.dumps(each)}" for each in requests)
    return json.dumps(held, indent=2).replace('"requests": null', f'"requests": [\n{lines}\n    ]') + "\n"


if __name__ == "__main__":
    for name, instance in instances().items():
        (PLACE / f"{name}.json").write_text(as_text(instance), encoding="utf-8")
