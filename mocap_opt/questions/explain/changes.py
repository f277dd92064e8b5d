"""Changes to an instance whose worth is asked: a little more of every resource, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING

from mocap_opt.schedule.plan import Home, Plan

if TYPE_CHECKING:
    from mocap_opt.instance import Instance

MORE = Decimal("1.1")
"""Ten per cent more."""


@dataclass(frozen=True)
class Change:
    """A variant of an instance.

    Attributes
    ----------
    name : str
        Short, for JSON.
    words : str
        What is changed.
    overrides : tuple of str
        As ``--set`` takes them; empty if it cannot be made.
    why_not : str
        Why it cannot be made; ``""`` if it can.
    page_parts : int
        Pages of the variant in one of the instance's.
    instead : Change or None
        What to ask where the rates do not fit the tick of the instance.
    """

    name: str
    words: str
    overrides: tuple[str, ...] = ()
    why_not: str = ""
    page_parts: int = 1
    instead: Change | None = None

    def carried(self, plan: Plan) -> Plan:
        """The same chunks and homes as a plan of the variant.

        Parameters
        ----------
        plan : Plan
            Of the instance.
        """
        homes = tuple(replace(home, pages=home.pages * self.page_parts) for home in plan.homes)
        return Plan(plan.boundaries, tuple[Home, ...](homes))


def changes(instance: Instance) -> Iterator[Change]:
    """Every change that is asked of one prompt.

    Parameters
    ----------
    instance : Instance
        With its layout given or decided.
    """
    die, wafer = instance.wafer.die, instance.wafer
    yield _one_more_chunk(instance)
    yield _wider_stages(instance)
    links = [("wafer.link.bandwidth", wafer.link.bandwidth)]
    links += [(f"wafer.slow_links[{n}].bandwidth", each.bandwidth) for n, each in enumerate(wafer.slow_links)]
    if wafer.rows * wafer.cols == 1:
        yield Change("link_bandwidth", "10 % more GB/s of links", why_not="a single die has no links")
    else:
        yield _faster("link_bandwidth", "GB/s of links", links)
    yield _faster(
        "memory_bandwidth", "memory bandwidth", [("wafer.die.memory_bandwidth", die.memory_bandwidth)]
    )
    yield Change(
        "memory_bytes",
        "10 % more GB of memory",
        (f"wafer.die.memory_bytes={ceil(Decimal(repr(die.memory_bytes)) * MORE)}",),
    )
    if instance.costs.kind == "roofline":
        yield Change("flops", "10 % more FLOP/s", (f"wafer.die.flops={_more(die.flops)}",))
    else:
        kind = instance.costs.kind
        yield Change("flops", "10 % more FLOP/s", why_not=f"chunk times are given as {kind}, not by FLOP/s")
    yield _finer_grid(instance)
    if isinstance(instance.pipeline.queue_depth, int):
        deeper = instance.pipeline.queue_depth + 1
        yield Change("queue_depth", "queues one chunk deeper", (f"pipeline.queue_depth={deeper}",))


def _faster(name: str, what: str, rates: Sequence[tuple[str, float]]) -> Change:
    """Ten per cent more of some rates; twice as much where ticks are too short for that."""
    ten, twice = (
        tuple(f"{path}={_more(rate, factor)}" for path, rate in rates) for factor in (MORE, Decimal(2))
    )
    return Change(name, f"10 % more {what}", ten, instead=Change(name, f"twice the {what}", twice))


def _more(value: float, factor: Decimal = MORE) -> str:
    """More of a figure, exactly, as JSON takes it."""
    return f"{(Decimal(repr(value)) * factor).normalize():f}"


def _one_more_chunk(instance: Instance) -> Change:
    chunking, words = instance.chunking, "one more chunk"
    if chunking.max_chunks >= -(-instance.workload.tokens // chunking.quantum):
        return Change("max_chunks", words, why_not="every step of the grid may be a chunk already")
    return Change("max_chunks", words, (f"chunking.max_chunks={chunking.max_chunks + 1}",))


def _wider_stages(instance: Instance) -> Change:
    """The next number of dies that every stage may have with a higher tensor-parallel degree."""
    pipeline, name, words = instance.pipeline, "dies_per_stage", "one more die per stage"
    if not isinstance(pipeline.dies_per_stage, int) or not isinstance(pipeline.placement, str):
        return Change(name, words, why_not="the dies of every stage are given one by one")
    if instance.costs.kind != "roofline":
        return Change(name, words, why_not=f"chunk times are given as {instance.costs.kind}, not by dies")
    now, heads = pipeline.dies_per_stage, instance.model.heads
    degree = pipeline.degree(now, heads)
    most = instance.wafer.living_dies // pipeline.count
    wider = next((n for n in range(now + 1, most + 1) if pipeline.degree(n, heads) > degree), None)
    if wider is None:
        reason = (
            f"no wider stages of a higher degree: {most} dies are there for each of {pipeline.count} stages"
        )
        return Change(name, words, why_not=reason)
    if wider > now + 1:
        words = f"{wider - now} more dies per stage, the next degree allowed"
    return Change(name, words, (f"pipeline.dies_per_stage={wider}",))


def _finer_grid(instance: Instance) -> Change:
    """Boundaries at twice as many places; pages stay as large as they may."""
    name, words = "quantum", "a grid twice as fine"
    quantum, page = instance.chunking.quantum, instance.chunking.page_tokens
    if quantum % 2:
        return Change(name, words, why_not=f"a quantum of {quantum} cannot be halved")
    if instance.costs.kind == "measured":
        return Change(name, words, why_not="chunk times are known only where they were measured")
    kept = (quantum // 2) % page == 0
    smaller = page if kept else page // 2
    overrides = (f"chunking.quantum={quantum // 2}", f"chunking.page={smaller}")
    return Change(name, words, overrides, page_parts=1 if kept else 2)
