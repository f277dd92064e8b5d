"""The requests of an instance as tables, all on one tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.schedule import ScheduledRequest
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.layout import layout
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


@dataclass(frozen=True, eq=False)
class Request:
    """A request before it is planned.

    Attributes
    ----------
    tables : Tables
        Requests of the same tokens, prefix and batch share theirs.
    release : int, ticks
        Rounded up: no execution starts it earlier.
    name : str
    due : int or None, ticks
        When it must have left to count, of requests with a limit; rounded down.
    weight : int
        What it counts for.
    """

    tables: Tables
    release: int
    name: str
    due: int | None = None
    weight: int = 1

    def scheduled(self, plan: Plan, slot: int, number: int) -> ScheduledRequest:
        """Give it its turn.

        Parameters
        ----------
        plan : Plan
        slot : int
            Its first slot on the first stage.
        number : int
            Which request of the instance it is.
        """
        return ScheduledRequest(self.tables, plan, slot, self.release, self.name, number)


def alone(instance: Instance, number: int) -> Instance:
    """Return the instance whose one prompt is a request of the stream.

    Parameters
    ----------
    instance : Instance
        Of a stream.
    number : int
        Position of the request in ``instance.workload.requests``.
    """
    request = instance.workload.requests[number]
    workload = instance.workload.model_copy(
        update={
            "tokens": request.tokens,
            "cached_prefix": request.prefix,
            "batch": request.batch,
            "requests": (),
            "order": "given",
            "pipelines": 1,
        }
    )
    return instance.model_copy(update={"workload": workload, "objective": "latency"})


def longest_alone(instance: Instance) -> Instance:
    """Return the instance itself, or for a stream that of its longest request alone."""
    requests = instance.workload.requests
    if not requests:
        return instance
    return alone(instance, max(range(len(requests)), key=lambda number: requests[number].tokens))


def build_requests(instance: Instance) -> tuple[Request, ...]:
    """Turn the requests of an instance into tables, in the order listed.

    The tick depends on the wafer's rates only, so that all tables have the same.

    Raises
    ------
    InputError
        As `mocap_opt.tables.build_tables`.
    """
    laid_out = layout(instance)
    known: dict[tuple[int, int, int], Tables] = {}
    found: list[Request] = []
    for number, request in enumerate(instance.workload.requests):
        key = request.tokens, request.prefix, request.batch
        if key not in known:
            known[key] = build_tables(alone(instance, number), laid_out)
        tables = known[key]
        release = -(-exact(request.release) // tables.tick_s)
        due = None
        if request.slo is not None:
            due = int((exact(request.release) + exact(request.slo)) // tables.tick_s)
        found.append(Request(tables, int(release), request.name or f"#{number}", due, request.weight))
    return tuple(found)
