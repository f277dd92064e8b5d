"""Instances with measured chunk times that rise and fall with the length, some with a hub of narrow links."""

from __future__ import annotations

from random import Random
from typing import Any

from mocap_opt.instance import Instance
from mocap_opt.studies.bench.family import die_memory
from mocap_opt.tables.layout import layout

QUANTUM = 1024
"""Grid step, tokens."""

SHAPES = ((4, 8, 32), (5, 12, 64), (6, 12, 64), (8, 16, 128))
"""Stages x chunks x grid steps that are drawn."""


def measured_times(random: Random, steps: int) -> dict[str, Any]:
    """A table of timings: a parabola with stairs up and down, as tiles and kernel switches make them."""
    lengths = [QUANTUM * k for k in range(1, steps + 1)]
    prefixes = [0, steps * QUANTUM // 2, steps * QUANTUM]
    stairs = [random.uniform(0.8, 1.3) for _ in lengths]
    linear, square = random.uniform(1e-5, 4e-5), random.uniform(1e-10, 1e-9)
    seconds = [
        [
            round(stair * (5e-3 + linear * length + square * length * (prefix + length / 2)), 9)
            for prefix in prefixes
        ]
        for stair, length in zip(stairs, lengths, strict=True)
    ]
    return {"lengths": lengths, "prefixes": prefixes, "seconds": seconds}


def narrow_hub(data: dict[str, Any], hub: int, bandwidth: str, columns: int = 4) -> list[dict[str, Any]]:
    """Every link of a stage's only die, at a low bandwidth."""
    ((row, column),) = layout(Instance.from_dict(data)).dies[hub]
    around = [(row, column + 1), (row + 1, column), (row, column - 1), (row - 1, column)]
    inside = [(r, c) for r, c in around if 0 <= r < 5 and 0 <= c < columns]
    return [{"between": [[row, column], list(other)], "bandwidth": bandwidth} for other in inside]


def measured_instance(
    seed: int, shape: tuple[int, int, int] | None = None, hub: bool | None = None, depth: int | None = None
) -> dict[str, Any]:
    """Draw an instance.

    Parameters
    ----------
    seed : int
    shape : tuple of int, optional
        Stages, chunks, grid steps; drawn from `SHAPES` unless given.
    hub : bool, optional
        Whether one stage has narrow links; drawn unless given.
    depth : int, optional
        Of the queues; 1, 2 or 4 are drawn unless given.

    Returns
    -------
    dict
        What its JSON file holds.
    """
    random = Random(seed)
    stages, chunks, steps = shape or random.choice(SHAPES)
    hub = random.random() < 0.5 if hub is None else hub
    alike = random.random() < 0.5
    tables = [measured_times(random, steps) for _ in range(1 if alike else stages)]
    data: dict[str, Any] = {
        "version": 1,
        "name": f"measured-{seed}",
        "model": "gpt3-44b",
        "wafer": {"preset": "pjlab-5x4"},
        "pipeline": {"stages": stages, "queue_depth": depth or random.choice((1, 2, 4))},
        "workload": {"tokens": steps * QUANTUM},
        "chunking": {"max_chunks": chunks, "quantum": QUANTUM},
        "costs": {"kind": "measured", "stages": tables[0] if alike else tables},
    }
    if hub:
        speed = f"{random.choice((0.5, 1, 2))} GB/s"
        data["wafer"]["slow_links"] = narrow_hub(data, random.randrange(1, stages - 1), speed)
    memory = die_memory(Instance.from_dict(data), random.uniform(0.7, 0.95))
    data["wafer"]["die"] = {"memory_bytes": memory}
    return data


def hub_instance(bandwidth: str = "10 GB/s") -> dict[str, Any]:
    """6 stages x 12 chunks x 64 steps with measured times, whose third stage has narrow links all around.

    Memory is short by a fifth of the cache, and what has to leave a stage is in the way of other traffic
    there; the programs are the steps that see both memory and what the links carry.

    Parameters
    ----------
    bandwidth : str
        Of the narrow links.  At 4 GB/s forced traffic decides the latency, at 16 GB/s hardly.
    """
    data = measured_instance(1, (6, 12, 64), hub=False, depth=1)
    data["name"] = "narrow-hub"
    del data["wafer"]["die"]
    data["wafer"]["slow_links"] = narrow_hub(data, 2, bandwidth)
    data["wafer"]["die"] = {"memory_bytes": die_memory(Instance.from_dict(data), 0.8)}
    return data
