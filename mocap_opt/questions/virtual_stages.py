"""What virtual stages gain over the ordinary pipeline, with proofs (formulations/virtual_stages.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocap_opt.arrays import IntArray
from mocap_opt.bounds.virtual_stages import any_arrangement, any_order, given_chunks_bound
from mocap_opt.errors import InputError, Problem
from mocap_opt.flow_shop.virtual_pipeline import Shape, VirtualPipeline
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.lower_bound import Bound
from mocap_opt.messages import show
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.search.virtual_chunks import ChunkSearch, fixed_sizes, partitions_to_try
from mocap_opt.search.virtual_orders import Found, best_orders
from mocap_opt.solving.api import solve
from mocap_opt.solving.solution import TIME_LIMIT_S, Solution
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout
from mocap_opt.tables.rounding import Rounding, whole
from mocap_opt.units import exact, format_percent, format_seconds

if TYPE_CHECKING:
    from mocap_opt.schedule.inputs import GivenInstance

ORDINARY = 0.35
"""Part of the time for the ordinary pipeline."""

SIZES = 0.3
"""Part of what is then left for chunks of one size, and again for partitions that are tried first."""

BOUNDS = 0.3
"""Part of what is left then for bounds; before them boundaries are moved."""

REFUSED = ("fixed_messages", "available", "between_tokens", "rider_bytes")
"""Tables that say more of chunks than virtual stages know."""


@dataclass(frozen=True)
class SizeRow:
    """Chunks of one size on both pipelines.

    Attributes
    ----------
    size, chunks : int
        Tokens of a chunk but the last; their number.
    ordinary, virtual : int, ticks
        Latencies.
    bound : int, ticks
        No order of the devices is faster with these chunks on virtual stages.
    """

    size: int
    chunks: int
    ordinary: int
    virtual: int
    bound: int


@dataclass(frozen=True, eq=False)
class VirtualAnswer:
    """Virtual stages beside the ordinary pipeline.

    Attributes
    ----------
    instance : Instance
    pipeline : VirtualPipeline
    shape : Shape
    ordinary : Solution
        The best plan of the ordinary pipeline, chunks of any sizes, with its bound.
    sizes : tuple of SizeRow
        Sizes of chunks that limits allow and whose plans fit, ascending; all of them if time allows.
    best : Found or None
        The best plan found on virtual stages.
    bound : Bound or None
        On every plan for these virtual stages.
    alike : Bound or None
        On every arrangement, ordinary ones too.
    short : str or None
        The memory that some plan lacked.
    """

    instance: Instance
    pipeline: VirtualPipeline
    shape: Shape
    ordinary: Solution
    sizes: tuple[SizeRow, ...]
    best: Found | None
    bound: Bound | None
    alike: Bound | None
    short: str | None

    @property
    def fixed(self) -> SizeRow | None:
        """The size that is fastest on virtual stages."""
        return min(self.sizes, key=lambda row: row.virtual, default=None)

    def seconds(self, ticks: int | None) -> float | None:
        """Ticks as seconds; None for None.

        Parameters
        ----------
        ticks : int or None
        """
        return None if ticks is None else self.pipeline.tables.seconds(ticks)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What is proved of chunks of one size and of any sizes on virtual stages, in words."""
        proved = min((row.bound for row in self.sizes), default=None)
        found = None if self.best is None else self.best.latency
        bound = None if self.bound is None else self.bound.ticks
        row = self.fixed
        one = "chunks of one size" if row is None else f"chunks of one size, {row.size} tokens"
        return (
            self._verdict(one, None if row is None else row.virtual, proved),
            self._verdict("chunks of any sizes", found, bound),
        )

    def _verdict(self, what: str, latency: int | None, bound: int | None) -> str:
        report, value, floor = self.ordinary.report, self.seconds(latency), self.seconds(bound)
        if value is None or report.latency_s is None:
            return f"{what} on virtual stages: no plan to compare" + (
                f" ({self.short})" if self.short else ""
            )
        change = value / report.latency_s - 1
        words = "slower" if change > 0 else "faster"
        said = f"{what} on virtual stages: {format_seconds(value)}, {format_percent(abs(change))} {words}"
        said += " than the best ordinary plan found"
        if report.lower_bound_s is not None and value < report.lower_bound_s:
            return f"{said}; proved: faster than every ordinary plan"
        if floor is not None and floor > report.latency_s:
            return f"{said}; proved: in no order of the devices faster"
        return f"{said}; {'not settled by the bounds' if change > 0 else 'not proved of all ordinary plans'}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        report, best = self.ordinary.report, self.best
        return {
            "instance": self.instance.name,
            "fingerprint": self.instance.fingerprint,
            "shape": str(self.shape),
            "runs": self.pipeline.runs,
            "layers": list(self.pipeline.layers),
            "overhead_s": self.seconds(self.pipeline.overhead),
            "ordinary": {
                "latency_s": report.latency_s,
                "lower_bound_s": report.lower_bound_s,
                "gap": report.gap,
                "chunks": None if self.ordinary.plan is None else self.ordinary.plan.chunks,
            },
            "sizes": [
                {
                    "size": row.size,
                    "chunks": row.chunks,
                    "ordinary_latency_s": self.seconds(row.ordinary),
                    "latency_s": self.seconds(row.virtual),
                    "lower_bound_s": self.seconds(row.bound),
                }
                for row in self.sizes
            ],
            "best": None
            if best is None
            else {
                "latency_s": self.seconds(best.latency),
                "rule": best.rule,
                "boundaries": list(best.plan.boundaries),
                "orders": [[list(task) for task in order] for order in best.plan.orders],
            },
            "lower_bound_s": None if self.bound is None else self.seconds(self.bound.ticks),
            "any_arrangement_lower_bound_s": None if self.alike is None else self.seconds(self.alike.ticks),
            "verdicts": list(self.verdicts),
        }


def virtual_pipeline(
    instance: Instance, tables: Tables, shape: Shape | str, runs: int, overhead_s: float = 0.0
) -> VirtualPipeline:
    """The virtual stages of an instance on its devices; embedding and head go with the first and last one.

    Parameters
    ----------
    instance : Instance
    tables : Tables
        Of `instance`.
    shape : Shape or str
    runs : int
    overhead_s : float
        What every chunk takes longer on every virtual stage, seconds.

    Raises
    ------
    InputError
        If something is asked for that virtual stages do not know.
    """
    problems = [
        Problem(f"tables: {name}", "given", "none with virtual stages", "leave it out")
        for name in REFUSED
        if getattr(tables, name) is not None
    ]
    if tables.loop:
        problems.append(Problem("tables: loop", "true", "no loop with virtual stages", "leave it out"))
    if instance.model.profile:
        expected = "layers that are alike, since virtual stages exchange them between devices"
        problems.append(Problem("model.profile", "given", expected, "leave it out"))
    if shape not in tuple(Shape):
        expected = " or ".join(f'"{each}"' for each in Shape)
        problems.append(Problem("shape", show(shape), expected))
    if not isinstance(runs, int) or isinstance(runs, bool) or runs < 2:
        problems.append(Problem("runs", show(runs), "a whole number >= 2", "1 is the ordinary pipeline"))
    if not 0 <= overhead_s < 1e6:
        problems.append(Problem("overhead", show(overhead_s), "seconds, 0 or more"))
    if problems:
        raise InputError(problems)
    overhead = whole(exact(overhead_s) / tables.tick_s, Rounding.NEAREST, "overhead")
    layers = [len(each) for each in layout(instance).layers]
    pipeline = VirtualPipeline.of(tables, shape, runs, layers, overhead=overhead)
    head = instance.model.vocabulary * instance.model.hidden * exact(instance.precision.of_ends)
    static = pipeline.static.copy()
    size = whole(head, Rounding.UP, "weights")
    static[-1] -= size
    static[pipeline.device[-1]] += size
    return pipeline.with_static(static)


def virtual_stages(
    instance: GivenInstance,
    shape: Shape | str = Shape.V,
    runs: int = 2,
    *,
    overhead_s: float = 0.0,
    time_limit_s: float = TIME_LIMIT_S,
    seed: int = 0,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> VirtualAnswer:
    """Set virtual stages beside the ordinary pipeline on the same devices, each with its bounds.

    Parameters
    ----------
    instance : Instance or mapping
        A prompt, its layout given.
    shape : Shape or str
        ``"v"`` or ``"interleaved"``.
    runs : int
        v, virtual stages of a device.
    overhead_s : float
        What every chunk takes longer on every virtual stage, seconds.
    time_limit_s : float
        Wall time, seconds; the first size of chunks and the first round of bounds take what they need.
    seed : int
    stop : threading.Event, optional
        Set it from outside to stop early with the best so far.
    tell : callable
        Told in words what is being done.

    Raises
    ------
    InputError
        If the instance is no prompt with a given layout, or asks for what virtual stages do not know.

    Examples
    --------
    Two devices, four layers: v = 2 runs of one layer each, laid out as a V.  The send between the runs costs
    more here than the shorter warm-up saves:

    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json").replace("model.layers=4")
    >>> answer = mocap_opt.virtual_stages(instance)
    >>> answer.best.run.latency, answer.bound.ticks, answer.ordinary.report.latency_s
    (64, 64, 6.6e-05)
    """
    instance = as_instance(instance)
    require_supported(instance, "virtual")
    deadline = Deadline(time_limit_s, stop)
    tables = build_tables(instance)
    pipeline = virtual_pipeline(instance, tables, shape, runs, overhead_s)
    tell("the ordinary pipeline")
    ordinary = solve(instance, time_limit_s=deadline.share(ORDINARY).left_s, seed=seed, stop=stop)
    tell("chunks of one size")
    search = ChunkSearch(pipeline, seed)
    rows = _size_rows(pipeline, search, fixed_sizes(tables), deadline.share(SIZES))
    tell("chunks of any sizes")
    known = [] if ordinary.plan is None else [ordinary.plan.grid_indices(tables)]
    search.try_all([*known, *partitions_to_try(tables)], deadline.share(SIZES))
    search.improve(deadline.share(1 - BOUNDS))
    tell("bounds")
    return VirtualAnswer(
        instance,
        pipeline,
        Shape(shape),
        ordinary,
        rows,
        search.best,
        any_order(pipeline, deadline.share(0.7)),
        any_arrangement(tables, deadline),
        search.short,
    )


def _size_rows(
    pipeline: VirtualPipeline, search: ChunkSearch, sizes: Mapping[int, IntArray], deadline: Deadline
) -> tuple[SizeRow, ...]:
    """Rows of sizes whose plans fit on virtual stages, powers of two first; the search keeps their plans."""
    one = VirtualPipeline.of(pipeline.tables, Shape.V, 1)
    rows: list[SizeRow] = []
    for size in sorted(sizes, key=lambda size: (size & (size - 1) > 0, size)):
        indices = sizes[size]
        if rows and deadline():
            break
        found = best_orders(pipeline, indices)
        if not search.offer(found):
            continue
        rows.append(
            SizeRow(
                size,
                indices.size - 1,
                best_orders(one, indices).latency,
                found.latency,
                given_chunks_bound(pipeline, indices),
            )
        )
    return tuple(sorted(rows, key=lambda row: row.size))
