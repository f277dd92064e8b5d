"""Where an instance's memory and time go, before anything is scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.schedule.requests import longest_alone
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import Layout, layout
from mocap_opt.tables.reserve import rings, touched_pages

WIDE = 4
"""From this tensor-parallel degree on engines lose efficiency that one number hides."""

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


def overview(instance: Instance, boundaries: Sequence[int] | None = None) -> dict[str, Any]:
    """Sizes, memory and time of an instance, per stage.

    The reserve and the times are those of given chunks, or else of equal chunks, as many as the instance
    allows; of a stream, those of its longest request alone.

    Parameters
    ----------
    instance : Instance
    boundaries : sequence of int, optional
        Those of a plan of the instance, tokens; 0 first, the prompt's length last.

    Returns
    -------
    dict
        ``sizes``, ``stages`` (a list of one dict per stage, bytes and seconds), ``unused_dies`` and
        ``memory_pressure``: the KV of the whole request over the room for it, all stages together.  Stages
        also have a ``degree`` where some own more dies than compute.

    Raises
    ------
    InputError
        If the pipeline does not fit the wafer.
    """
    instance = longest_alone(instance)
    laid_out = layout(instance)
    tables = build_tables(instance, laid_out)
    cuts = _equal_cuts(tables) if boundaries is None else np.searchsorted(tables.grid, boundaries)
    longest = int(np.diff(tables.grid[cuts]).max())
    rows = [_stage_row(tables, laid_out, i, cuts, longest) for i in range(tables.stages)]
    if laid_out.ranks != laid_out.dies:
        rows = [{**row, "degree": len(ranks)} for row, ranks in zip(rows, laid_out.ranks, strict=True)]
    pools = [_pool_row(tables, laid_out, k, longest) for k in range(tables.stages, tables.memories)]
    room = sum(max(0, row["kv_room_bytes"]) for row in [*rows, *pools])
    need = sum(row["kv_bytes"] for row in rows)
    return {
        "sizes": {
            "stages": tables.stages,
            "most_chunks": tables.max_chunks,
            "grid_steps": tables.steps,
            "tokens": tables.tokens,
            "cached_prefix": tables.prefix,
            "tick_s": float(tables.tick_s),
            "memories": tables.memories,
            "links": len(tables.links),
            "equal_chunk_tokens" if boundaries is None else "longest_chunk_tokens": longest,
        },
        "stages": rows,
        **({"pools": pools} if pools else {}),
        "unused_dies": [list(die) for die in laid_out.unused],
        "memory_pressure": need / room if room else None,
    }


def open_questions(instance: Instance) -> dict[str, Any]:
    """What an instance leaves to be decided.

    Returns
    -------
    dict
        ``fields`` (names of those that are open), ``stages`` (numbers to choose from), ``degrees``
        (those that a stage may have) and ``living_dies``.
    """
    pipeline, living = instance.pipeline, instance.wafer.living_dies
    counts = pipeline.counts(instance.model.layers, living)
    each = pipeline.dies_per_stage
    given = pipeline.given_dies or ((each,) if isinstance(each, int) else ())
    sizes = given or range(1, living - counts[0] + 2)
    return {
        "fields": list(pipeline.open_fields),
        "stages": list(counts),
        "degrees": sorted({pipeline.degree(dies, instance.model.heads) for dies in sizes} - {0}),
        "living_dies": living,
    }


def efficiency_note(instance: Instance) -> str | None:
    """What one number for the efficiency of all degrees means for wide stages; None where it does not matter.

    Parameters
    ----------
    instance : Instance
        Told of those that choose dies or degrees: there the efficiency of wide stages decides.
    """
    pipeline, costs = instance.pipeline, instance.costs
    if costs.kind != "roofline" or isinstance(costs.efficiency, dict):
        return None
    if not pipeline.free and pipeline.degrees is None:
        return None
    widest = max(open_questions(instance)["degrees"])
    if widest < WIDE:
        return None
    return (
        f"costs.efficiency is {costs.efficiency:g} at every degree: {widest} dies compute {widest} times as "
        'fast as one, which flatters wide stages; a table by degree, {"1": 0.6, "8": 0.41}, would not'
    )


def ring_note(tables: Tables) -> str | None:
    """Where rings hold as many pages as KV in full, in words; None where none does.

    Parameters
    ----------
    tables : Tables
    """
    if tables.ring_span is None or tables.ring_bytes is None:
        return None
    cuts = _equal_cuts(tables)
    longest = int(np.diff(tables.grid[cuts]).max())
    spans = [
        f"{span:,} tokens on stages {', '.join(map(str, np.flatnonzero(sizes)))}"
        for span, sizes in zip(tables.ring_span.tolist(), tables.ring_bytes.T, strict=True)
        if touched_pages(tables, span, longest) == touched_pages(tables, span + tables.tokens, longest)
    ]
    if not spans:
        return None
    return (
        f"with chunks of {longest:,} tokens rings hold every page of prefix and prompt where windows span "
        f'{"; ".join(spans)}: hold "all" takes no more there, and that KV may move'
    )


def dies_text(row: dict[str, Any]) -> str:
    """How many dies a stage owns; as a sum where some of them are memory only."""
    owned, degree = len(row["dies"]), row.get("degree", len(row["dies"]))
    return str(owned) if degree == owned else f"{degree}+{owned - degree}"


def _equal_cuts(tables: Tables) -> np.ndarray:
    chunks = max(tables.counts, default=tables.max_chunks)
    return np.unique(np.round(np.linspace(0, tables.steps, chunks + 1)).astype(np.int64))


def _pool_row(tables: Tables, laid_out: Layout, k: int, longest: int) -> dict[str, Any]:
    """Sizes of a memory without a stage."""
    reserve = int(tables.reserve(longest)[k])
    return {
        "memory": k,
        "name": tables.memory_name(k),
        "dies": [list(die) for dies in laid_out.pools[k - tables.stages :][:1] for die in dies],
        "memory_bytes": int(tables.capacity[k]),
        "reserve_bytes": reserve,
        "kv_room_bytes": int(tables.capacity[k] - tables.static[k]) - reserve,
    }


def _stage_row(tables: Tables, laid_out: Layout, i: int, cuts: np.ndarray, longest: int) -> dict[str, Any]:
    reserve = int(tables.reserve(longest)[i])
    used = int(tables.static[i]) + reserve + int(tables.prefix_bytes[i])
    times = tables.tau(i, cuts[:-1], cuts[1:])
    compute = tables.phi[i, cuts[1:]] - tables.phi[i, cuts[:-1]]
    tail = (cuts[1:] == tables.steps).astype(np.int64)
    beside = tables.full_block[i, tail, np.diff(cuts)]
    if tables.residual is not None:
        compute = compute + tables.residual[i, cuts[:-1], cuts[1:]]
    return {
        "stage": i,
        "dies": [list(die) for die in laid_out.dies[i]],
        "layers": len(laid_out.layers[i]),
        "memory_bytes": int(tables.capacity[i]),
        "weight_bytes": int(tables.static[i]),
        "reserve_bytes": reserve,
        "prefix_bytes": int(tables.prefix_bytes[i]),
        "kv_room_bytes": int(tables.capacity[i]) - used,
        "kv_bytes": int(tables.page_bytes[i] * tables.pages[-1]),
        "kv_bytes_per_token": int(tables.page_bytes[i]) / tables.page,
        **({} if tables.ring_span is None else {"ring_bytes": int(rings(tables, longest)[i])}),
        "work_s": tables.seconds(int(times.sum())),
        "compute_s": tables.seconds(int(compute.sum())),
        "chunk_costs_s": tables.seconds(int(_length_costs(tables, i, cuts).sum())),
        "memory_bound_chunks": int((tables.memory_side[i, cuts[1:]] > compute + beside).sum()),
        "send_s": tables.seconds(int(tables.send_time(i, cuts[:-1], cuts[1:]).sum())),
    }


def _length_costs(tables: Tables, i: int, cuts: np.ndarray) -> np.ndarray:
    tail = (cuts[1:] == tables.steps).astype(np.int64)
    costs: np.ndarray = tables.length_cost[i, tail, np.diff(cuts)]
    return costs
