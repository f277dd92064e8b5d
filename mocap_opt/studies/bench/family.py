"""The benchmark family: four sizes, six variants, made from a seed.

Every number that is not a preset's follows from a size, a variant and the seed, so the files can be
made again byte for byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import write_text_atomically
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.instance import Instance
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout
from mocap_opt.wafer.placement import snake
from mocap_opt.wafer.topology import Die, build_topology

VARIANTS = ("slack", "tight", "tighter", "links", "unequal", "prefix")

TIGHT = 0.8
"""Part of one whole request's cache that the memories can hold."""

TIGHTER = 0.7
"""The same where memory is tighter, unless less than that and `MARGIN` is the least that is feasible."""

MARGIN = 0.05
"""How far, relatively, the tighter share stays above the tightest that fits the pooled memory."""

LINKS_SHARE = 0.75
"""The same where links bind: more KV has to live away from its stage than at `TIGHT`."""


@dataclass(frozen=True)
class Size:
    """What the instances of a size share.

    Attributes
    ----------
    name : str
    stages, chunks, steps : int
        N, M and the number of grid steps.
    quantum, shortest : int
        Grid step and least length of a chunk, tokens.
    model, wafer : str
        Presets.
    dies : int
        Dies of each stage.
    memory : int, bytes
        Of a die, where memory is slack.
    between_stages : str
        Bandwidth of the links between stages where these bind.
    dead : int
        Dead dies where stages are unequal.
    """

    name: str
    stages: int
    chunks: int
    steps: int
    quantum: int
    shortest: int
    model: str
    wafer: str
    dies: int
    memory: str
    between_stages: str
    dead: int

    @property
    def tokens(self) -> int:
        """S, tokens to prefill."""
        return self.steps * self.quantum


SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("S", 4, 8, 32, 2048, 2048, "gpt3-44b", "pjlab-5x4", 1, "80 GB", "1.5 GB/s", 2),
        Size("M", 8, 16, 256, 512, 1024, "gpt3-175b", "watos-c3", 2, "96 GB", "7 GB/s", 2),
        Size("L", 16, 32, 1024, 128, 512, "gpt3-175b", "watos-c3", 2, "70 GB", "15 GB/s", 3),
        Size("XL", 32, 128, 4096, 256, 1024, "gpt3-44b", "watos-c3", 1, "128 GB", "8 GB/s", 4),
    )
}

DESCRIPTIONS = {
    "slack": "Memory is ample.",
    "tight": "The memories hold {share:.3g} of one request's cache, at the reserve of equal chunks.",
    "tighter": "The memories hold {share:.3g} of one request's cache, at the reserve of equal chunks.",
    "links": "The memories hold {share:.3g} of one request's cache; links between stages are so slow that "
    "they cost latency.",
    "unequal": "Uneven layers around dead dies; the memories hold {share:.3g} of one request's cache.",
    "prefix": "Half as many tokens cached before the prompt; beside them the memories hold {share:.3g} of "
    "its cache.",
}


def names(sizes: tuple[str, ...] = tuple(SIZES), variants: tuple[str, ...] = VARIANTS) -> list[str]:
    """Names of the instances of some sizes and variants, size by size.

    Parameters
    ----------
    sizes, variants : tuple of str
        Keys of `SIZES`, and some of `VARIANTS`.
    """
    return [f"{size}-{variant}" for size in sizes for variant in variants]


def make(name: str, seed: int = 0) -> dict[str, Any]:
    """Make one instance.

    Parameters
    ----------
    name : str
        Size, then variant, such as ``"L-tight"``.
    seed : int
        Draws layers and dead dies of the unequal variant; the others do not depend on it.

    Returns
    -------
    dict
        What its JSON file holds.
    """
    label, _, variant = name.partition("-")
    size = SIZES[label]
    wafer: dict[str, Any] = {"preset": size.wafer, "die": {"memory_bytes": size.memory}}
    workload: dict[str, Any] = {"tokens": size.tokens}
    data: dict[str, Any] = {
        "version": 1,
        "name": name,
        "description": "",
        "model": size.model,
        "wafer": wafer,
        "pipeline": {"stages": size.stages, "dies_per_stage": size.dies},
        "workload": workload,
        "chunking": {"max_chunks": size.chunks, "quantum": size.quantum, "shortest": size.shortest},
        "costs": {
            "kind": "roofline",
            "efficiency": 0.5,
            "overhead": "50 us",
            "half_efficiency_tokens": 128,
        },
    }
    if variant == "prefix":
        workload["cached_prefix"] = size.tokens // 2
    if variant == "unequal":
        random = Random(f"{seed} {label}")
        data["pipeline"]["layers"] = uneven_layers(random, Instance.from_dict(data).model.layers, size.stages)
        wafer["dead_dies"] = dead_dies(random, data, size)
    if variant == "links":
        wafer["slow_links"] = slow_links(data, size)
    share: float | None = None
    if variant != "slack":
        instance = Instance.from_dict(data)
        share = TIGHT
        if variant == "links":
            share = LINKS_SHARE
        elif variant == "tighter":
            share = max(TIGHTER, (1 + MARGIN) * tightest_share(instance))
        wafer["die"]["memory_bytes"] = die_memory(instance, share)
    data["description"] = DESCRIPTIONS[variant].format(share=share)
    return data


def uneven_layers(random: Random, layers: int, stages: int) -> list[int]:
    """Draw layers per stage: pairs of stages exchange up to a quarter of theirs, at least one pair does.

    Parameters
    ----------
    random : Random
    layers, stages : int
        To be shared out, and among how many.
    """
    each = layers // stages
    counts = [each] * stages
    order = random.sample(range(stages), stages)
    for pair, (more, less) in enumerate(zip(order[::2], order[1::2], strict=True)):
        moved = random.randint(0 if pair else 1, max(1, each // 4))
        counts[more] += moved
        counts[less] -= moved
    return counts


def dead_dies(random: Random, data: Mapping[str, Any], size: Size) -> list[Die]:
    """Draw dead dies among those the stages would take, until the stages still fit around them.

    Parameters
    ----------
    random : Random
    data : mapping
        The instance so far, as its file would hold it.
    size : Size
    """
    taken = snake(build_topology(Instance.from_dict(data).wafer))[: size.stages * size.dies]
    while True:
        dead = sorted(random.sample(taken, size.dead))
        trial = {**data, "wafer": {**data["wafer"], "dead_dies": dead}}
        try:
            layout(Instance.from_dict(trial))
        except InputError:
            continue
        return dead


def slow_links(data: Mapping[str, Any], size: Size) -> list[dict[str, Any]]:
    """List the links that join two stages, at the size's bandwidth; collectives inside stages stay fast.

    Parameters
    ----------
    data : mapping
        The instance so far, as its file would hold it.
    size : Size
    """
    dies = layout(Instance.from_dict(data)).dies
    owner = {die: stage for stage, owned in enumerate(dies) for die in owned}
    joints = [
        (die, other)
        for die in sorted(owner)
        for other in ((die[0], die[1] + 1), (die[0] + 1, die[1]))
        if owner.get(other, owner[die]) != owner[die]
    ]
    return [{"between": joint, "bandwidth": size.between_stages} for joint in joints]


def equal_chunk(tables: Tables) -> int:
    """Tokens of the longest chunk when as many chunks as allowed are as equal as the grid lets them be."""
    return -(-tables.steps // tables.max_chunks) * tables.quantum


def fixed_bytes(tables: Tables) -> int:
    """Weights, cached prefixes and the reserve of equal chunks, all memories together, bytes."""
    return int((tables.static + tables.prefix_bytes + tables.reserve(equal_chunk(tables))).sum())


def whole_cache(tables: Tables) -> int:
    """KV of the whole request on all stages, bytes."""
    return int(tables.page_bytes.sum() * tables.pages[-1])


def die_memory(instance: Instance, share: float) -> int:
    """Size of a die's memory, bytes, with which the memories hold a part of one request's cache.

    All memories together then have room for ``share`` of the cache on all stages beside weights,
    cached prefixes and the reserve of equal chunks.  Identical stages differ by the embedding and the
    output head only, so each has room for nearly that part of its own cache.

    Parameters
    ----------
    instance : Instance
        Its own memory size does not matter.
    share : float
    """
    tables = build_tables(instance)
    return round((fixed_bytes(tables) + share * whole_cache(tables)) / sum(instance.pipeline.dies))


def tightest_share(instance: Instance) -> float:
    """Least part of one request's cache that all memories, pooled, must hold for a plan to fit.

    For a limit on the length of chunks, the plan whose chunks all are that long but the first has the
    least boundaries of all plans within it, and therefore the least KV in every slot; the least over
    all limits is what some plan needs.  The reserve grows with the limit, and counts.

    Parameters
    ----------
    instance : Instance
        Without a cached prefix; its memory size does not matter.
    """
    tables = build_tables(instance)
    pool = PooledMemory.of(tables)
    shortest = -(-tables.min_length // tables.quantum)
    least: int | None = None
    for longest in range(max(shortest, -(-tables.steps // tables.max_chunks)), tables.steps + 1):
        tokens = longest * tables.quantum
        if tokens > tables.max_length:
            break
        boundaries = least_boundaries(tables.steps, longest, shortest)
        if boundaries is None:
            continue
        peak = int(pool.need(boundaries).max())
        needed = peak + int((tables.static + tables.reserve(tokens)).sum())
        least = needed if least is None else min(least, needed)
    if least is None:
        raise ValueError(f"{instance.name}: no count of chunks keeps to the limits on their length")
    return (least - fixed_bytes(tables)) / whole_cache(tables)


def least_boundaries(steps: int, longest: int, shortest: int) -> IntArray | None:
    """Boundaries of the fewest chunks of at most `longest` grid steps, each as small as can be.

    Parameters
    ----------
    steps : int
        Of the prompt.
    longest, shortest : int
        Of a chunk, grid steps.

    Returns
    -------
    int64[count + 1] or None
        Grid indices; None if so few chunks are already too many for chunks of at least `shortest` steps.
    """
    count = -(-steps // longest)
    if count * shortest > steps:
        return None
    return LengthLimits(steps, shortest, longest, shortest, longest).least_boundaries(count)


def to_text(data: Mapping[str, Any]) -> str:
    """An instance as its file holds it, one line per section."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_family(directory: str | os.PathLike[str], seed: int = 0) -> list[Path]:
    """Write all instances.

    Parameters
    ----------
    directory : path
        Made if it does not exist.
    seed : int

    Returns
    -------
    list of Path
        The files, size by size.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            [Problem(str(folder), (error.strerror or str(error)).lower(), "a directory")]
        ) from None
    paths = [folder / f"{name}.json" for name in names()]
    for path in paths:
        write_text_atomically(path, to_text(make(path.stem, seed)))
    return paths
