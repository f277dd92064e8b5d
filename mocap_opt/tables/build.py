"""An instance as integer tables."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.availability import available_at
from mocap_opt.instance.layer_profile import prompt_selection
from mocap_opt.instance.objectives import SELECTION_ANSWERED
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.curves import Curve, plus, scaled, tabulate_stages
from mocap_opt.tables.held_memory import buffer_tables, ring_tables, working_bytes
from mocap_opt.tables.layout import Layout, layout
from mocap_opt.tables.measured import measured_tables
from mocap_opt.tables.message_tables import with_fixed_messages
from mocap_opt.tables.prefetch import with_prefetch
from mocap_opt.tables.riders import rider_kv, rider_messages, with_riders
from mocap_opt.tables.rounding import (
    LIMIT,
    Polynomial,
    Rounding,
    check_tick,
    choose_tick,
    rate_per_tick,
    whole,
)
from mocap_opt.tables.sends import hop_ticks, send_times
from mocap_opt.tables.stage_costs import (
    StageTimes,
    coefficient_times,
    die_bandwidth,
    kv_bytes_per_token,
    messages,
    own_bytes,
    roofline_times,
    static_bytes,
)
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


def build_tables(instance: Instance, laid_out: Layout | None = None) -> Tables:
    """Turn an instance into ticks, bytes and pages; every number is rounded once, here.

    Parameters
    ----------
    instance : Instance
    laid_out : Layout, optional
        The instance's own `layout`, if it is already known.

    Returns
    -------
    Tables

    Raises
    ------
    InputError
        If the pipeline does not fit the wafer, if the tick is too short for the rates, if a number
        reaches 2^62, if the instance is a stream (see `mocap_opt.schedule.requests`), or if tokens are chosen
        among the whole prompt (see `mocap_opt.tables.prompt_parts`).

    Examples
    --------
    Two like stages, a constant of 3 us and 10 us per token, ticks of 1 us:

    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-pooled.json")
    >>> tables = mocap_opt.build_tables(instance)
    >>> tables.grid.tolist(), int(tables.tau(0, 0, 2)), float(tables.tick_s)
    ([0, 1, 2, 3, 4], 23, 1e-06)
    """
    if requests := instance.workload.requests:
        expected = "one prompt; a stream is for check, show, solve, evaluate and bound"
        raise InputError([Problem("workload.requests", f"{len(requests)} requests", expected)])
    if (entry := prompt_selection(instance.model)) is not None:
        path, expected = f"model.profile[{entry}].selection", '"chunk" here'
        raise InputError([Problem(path, '"prompt"', expected, SELECTION_ANSWERED)])
    laid_out = layout(instance) if laid_out is None else laid_out
    workload, chunking = instance.workload, instance.chunking
    topology, shares = laid_out.topology, laid_out.shares
    memories = (*laid_out.ranks, *laid_out.pools)
    port_bandwidth = [len(dies) * die_bandwidth(instance) for dies in memories]
    port_bandwidth += [exact(pool.memory_bandwidth) for pool in laid_out.attached]
    links = [(e.name, e.bandwidth) for e in topology.links]
    links += [(e.name, e.bandwidth) for e in laid_out.pool_links]
    link_bandwidth = [bandwidth for _, bandwidth in links]
    rates = [*port_bandwidth, *link_bandwidth]
    tick = choose_tick(rates) if instance.tick is None else check_tick(exact(instance.tick), rates)
    port_rate = np.array([rate_per_tick(rate, tick) for rate in port_bandwidth], dtype=np.int64)
    link_rate = [rate_per_tick(rate, tick) for rate in link_bandwidth]

    grid = np.array([*range(0, workload.tokens, chunking.quantum), workload.tokens], dtype=np.int64)
    steps = np.arange(grid.size, dtype=np.int64)
    lengths = np.stack([steps * chunking.quantum, workload.tokens - grid[::-1]])
    message = messages(instance, laid_out)
    behind = [exact(pool.link.hop_latency) for pool in laid_out.attached]
    hops = hop_ticks(shares, topology.hop_latency, tick, behind)
    riding = rider_messages(instance)
    send = send_times(shares, hops, message, link_rate, riding)
    own = own_traffic(instance, laid_out, grid)
    shortest, longest = chunking.length_limits(workload.tokens)
    queue = instance.pipeline.queue_depth
    tables = Tables(
        name=instance.name,
        tick_s=tick,
        max_chunks=chunking.max_chunks,
        exact_chunks=chunking.exact,
        quantum=chunking.quantum,
        page=chunking.page_tokens,
        min_length=shortest,
        max_length=riding.riders.longest(longest),
        prefix=workload.cached_prefix,
        grid=grid,
        # Up, and of the very bytes and rates that replays use: then a chunk's own traffic alone
        # never takes longer than the chunk's tau.
        memory_side=-(-own // port_rate[: laid_out.stages, None]),
        # Up for the same reason: then links that nobody else uses never take longer than send.
        send=tabulate_stages(send, lengths, Rounding.UP, "send time in ticks"),
        activation_bytes=np.array(message, dtype=np.int64),
        queue_depth=queue if isinstance(queue, int) else None,
        own_traffic=own,
        port_rate=port_rate,
        links=tuple(name for name, _ in links),
        link_rate=np.array(link_rate, dtype=np.int64),
        share_denominator=shares.denominator,
        share=shares.numerators,
        hop_ticks=hops,
        overlap=exact(instance.overlap),
        pools=laid_out.pool_names,
        rider_bytes=riding.tabulate(lengths) if riding.riders.tokens else None,
        **_start_tables(instance, tick, grid),
        **with_prefetch(
            instance,
            laid_out,
            tick,
            port_rate,
            lengths,
            _compute_tables(instance, laid_out, tick, grid, lengths),
        ),
        **memory_tables(instance, laid_out),
    )
    tables = with_fixed_messages(instance, laid_out, tables)
    _check_totals(tables)
    return tables


def _compute_tables(
    instance: Instance, laid_out: Layout, tick: Fraction, grid: IntArray, lengths: IntArray
) -> dict[str, Any]:
    """Tabulate Phi, full blocks, gamma and c, each rounded once to the nearest tick.

    Returns
    -------
    dict
        ``phi``, ``full_block``, ``prefix_cost`` and ``length_cost`` of `Tables`; where times are
        measured, ``residual`` too.
    """
    if instance.costs.kind == "measured":
        return measured_tables(instance, laid_out.stages, tick, grid, lengths)
    times = [stage_times(instance, laid_out, i) for i in range(laid_out.stages)]

    def _rounded(curves: Iterable[Polynomial | Curve], at: IntArray, what: str) -> IntArray:
        in_ticks = [scaled(each, 1 / tick) for each in curves]
        return tabulate_stages(in_ticks, at, Rounding.NEAREST, f"{what} in ticks")

    return {
        "phi": _rounded((t.compute for t in times), grid, "compute time"),
        "full_block": _rounded((t.full_block for t in times), lengths, "full-block time"),
        "prefix_cost": _rounded((t.prefix_cost for t in times), grid, "prefix cost"),
        "length_cost": _rounded((t.length_cost for t in times), lengths, "fixed costs"),
    }


def _start_tables(instance: Instance, tick: Fraction, grid: IntArray) -> dict[str, Any]:
    """When chunks may start and how long they may take: what of it an instance asks for.

    Returns
    -------
    dict
        ``available``, ``loop`` and ``between_tokens`` of `Tables`.
    """
    found: dict[str, Any] = {}
    if (available := instance.workload.available) is not None:
        times = [time / tick for time in available_at(available, grid.tolist())]
        found["available"] = np.array(
            [whole(time, Rounding.UP, "availability in ticks") for time in times], dtype=np.int64
        )
    if (decode := instance.decode) is not None:
        found["loop"] = decode.loop
        if decode.between_tokens is not None:
            found["between_tokens"] = int(exact(decode.between_tokens) // tick)
    return found


def memory_tables(instance: Instance, laid_out: Layout) -> dict[str, Any]:
    """Return the sizes of memories and of what they hold, rounded up to whole bytes.

    Parameters
    ----------
    instance : Instance
    laid_out : Layout
        Of `instance`.

    Returns
    -------
    dict
        ``page_bytes``, ``prefix_bytes``, ``capacity``, ``static``, ``staging`` and
        ``working_bytes`` of `Tables`; what mini-sequences and rings add, where there are any.
    """
    stages, page = range(laid_out.stages), instance.chunking.page_tokens
    dies, none = [len(owned) for owned in (*laid_out.dies, *laid_out.pools)], [0] * len(laid_out.pool_names)
    attached = [exact(pool.memory_bytes) for pool in laid_out.attached]
    kappa = [kv_bytes_per_token(instance, laid_out, i) for i in stages]
    weights = [static_bytes(instance, laid_out, i) + rider_kv(instance, laid_out, i)[0] for i in stages]
    page_bytes = _sizes((each * page for each in kappa), "KV of a page")
    prefix_pages = -(-instance.workload.cached_prefix // page)
    return {
        "page_bytes": page_bytes,
        "prefix_bytes": _sizes(
            [*(each * prefix_pages for each in page_bytes.tolist()), *none], "KV of the prefix"
        ),
        "capacity": _sizes([*(d * instance.wafer.die.memory_bytes for d in dies), *attached], "memory"),
        "static": _sizes([*weights, *none], "weights"),
        "staging": _sizes(
            [*(d * instance.pipeline.staging_per_die for d in dies), *(0 for _ in attached)],
            "staging buffers",
        ),
        "working_bytes": _sizes(
            [*(working_bytes(instance, laid_out, i) for i in stages), *none], "activations"
        ),
        **buffer_tables(instance, laid_out),
        **ring_tables(instance, laid_out),
    }


def stage_times(instance: Instance, laid_out: Layout, stage: int) -> StageTimes:
    """Return a stage's compute times, from the roofline or from coefficients, exact, in seconds.

    Parameters
    ----------
    instance : Instance
        Whose times are not measured.
    laid_out : Layout
        Of `instance`.
    stage : int
    """
    costs = instance.costs
    if costs.kind == "roofline":
        return with_riders(instance, laid_out, stage, roofline_times(instance, costs, laid_out, stage))
    if costs.kind == "coefficients":
        return coefficient_times(instance, costs.of_stage(stage))
    raise TypeError("measured times are no polynomials")


def own_traffic(instance: Instance, laid_out: Layout, grid: IntArray) -> IntArray:
    """Bytes a chunk moves through its stage's own memory port, int64[stage, G + 1], by the chunk's end.

    Weights + kappa (P + b); nothing where times are given as coefficients or measured: they contain it.

    Parameters
    ----------
    instance : Instance
    laid_out : Layout
        Of `instance`.
    grid : int64[G + 1], tokens
    """
    if instance.costs.kind != "roofline":
        return np.zeros((laid_out.stages, grid.size), dtype=np.int64)
    moved = [
        plus(own_bytes(instance, laid_out, i), rider_kv(instance, laid_out, i)[1], ())
        for i in range(laid_out.stages)
    ]
    return tabulate_stages(moved, grid, Rounding.UP, "memory traffic in bytes")


def _sizes(values: Iterable[Fraction | int], what: str) -> IntArray:
    """Round sizes up to whole bytes, int64[stage].

    Raises
    ------
    InputError
        If one reaches 2^62.
    """
    return np.array([whole(Fraction(value), Rounding.UP, what) for value in values], dtype=np.int64)


def _check_totals(tables: Tables) -> None:
    """Make sure that sums over a whole plan fit int64 wherever they are formed.

    Raises
    ------
    InputError
        If one memory could be asked for 2^62 bytes, or all chunk and send times together reach
        2^62 ticks.
    """
    pages = int(tables.pages[-1])
    each = [tables.static, tables.staging, tables.prefix_bytes]
    longest = [tables.memory_side, tables.prefix_cost, tables.length_cost, tables.send, tables.full_block]
    if tables.residual is not None:
        longest.append(tables.residual)
    chunk = sum(int(table.max()) for table in longest) + int(tables.hop_ticks.max())
    totals = {
        "bytes in a memory": sum(tables.page_bytes.tolist()) * pages
        + sum(int(table.max()) for table in each)
        + _most_held(tables),
        "ticks of all chunks": tables.stages * (int(tables.phi.max()) + tables.max_chunks * chunk)
        + (0 if tables.available is None else int(tables.available[-1])),
    }
    remedy = "use fewer tokens, a smaller batch or a longer tick"
    problems = [
        Problem(f"workload: {what}", f"up to {float(total):.3g}", "less than 2^62", remedy)
        for what, total in totals.items()
        if total >= LIMIT
    ]
    if problems:
        raise InputError(problems)


def _most_held(tables: Tables) -> int:
    """Bytes of activations and rings that a memory could be asked for at most."""
    per_token = [tables.working_bytes, tables.buffer_bytes, tables.logit_bytes]
    most = sum(int(each.max()) for each in per_token if each is not None) * tables.tokens
    rings = tables.ring_bytes
    prefix = -(-tables.prefix // tables.page)
    return most + (0 if rings is None else int(rings.sum(axis=1).max()) * (int(tables.pages[-1]) + prefix))
