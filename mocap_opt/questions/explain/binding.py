"""Which stages, memories, links and ports a run uses up, and where and when."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.questions.explain.critical_path import CriticalPath, event_path, lockstep_path
from mocap_opt.replay.activity import Activity, Interval, event_activity, lockstep_activity
from mocap_opt.replay.evaluation import Assessment, Execution
from mocap_opt.replay.event import EventReplay, run_event
from mocap_opt.replay.usage import event_load, lockstep_load, lockstep_memory

IDLE = "idle"
"""Time of a stage before its first chunk has come and after its last one."""


@dataclass(frozen=True)
class FullestMemory:
    """The memory that comes closest to being full, by the slots that every plan has to keep to.

    Attributes
    ----------
    memory : str
    slot : int
        The first slot in which it holds the most.
    held, capacity : int, bytes
    weights, reserve, prefix, own_kv, hosted_kv : int, bytes
        What it holds then: they add up to `held`.
    """

    memory: str
    slot: int
    held: int
    capacity: int
    weights: int
    reserve: int
    prefix: int
    own_kv: int
    hosted_kv: int


@dataclass(frozen=True)
class Binding:
    """What a run uses up.

    Attributes
    ----------
    execution : Execution
    latency : Fraction, ticks
    stages : tuple of dict of str to Fraction
        Of every stage, ticks by what it does or waits for (`Activity`, `IDLE`), which add up to the latency.
    path : CriticalPath
    memory : FullestMemory
    link, port : tuple of (str, float), or None
        The most loaded one, and the part of its capacity that the whole run uses; None where there is none.
    """

    execution: Execution
    latency: Fraction
    stages: tuple[dict[str, Fraction], ...]
    path: CriticalPath
    memory: FullestMemory
    link: tuple[str, float] | None
    port: tuple[str, float] | None


def binding(assessment: Assessment, execution: Execution) -> Binding:
    """Find what the run of one request uses up.

    Parameters
    ----------
    assessment : Assessment
    execution : Execution
        Which of its two runs.
    """
    schedule, tables = assessment.schedule, assessment.schedule.machine
    if execution is Execution.LOCKSTEP:
        latency = Fraction(assessment.lockstep.latency)
        path = lockstep_path(assessment.lockstep)
        intervals = lockstep_activity(assessment.lockstep)
        load = lockstep_load(assessment.lockstep).overall()
    else:
        recorded: EventReplay = run_event(schedule, log=True)
        latency = recorded.latency
        path = event_path(schedule, recorded)
        intervals = event_activity(schedule, recorded)
        load = event_load(tables, recorded, [0.0, float(latency) or 1.0]).overall()
    link, port = load.link[:, 0], load.port[:, 0]
    busiest = int(link.argmax()) if link.size and link.max() > 0 else None
    fullest = int(port.argmax()) if port.size and port.max() > 0 else None
    return Binding(
        execution,
        latency,
        stage_accounts(intervals, tables.stages, latency),
        path,
        fullest_memory(assessment),
        None if busiest is None else (f"link {tables.links[busiest]}", float(link[busiest])),
        None if fullest is None else (f"port of {tables.memory_name(fullest)}", float(port[fullest])),
    )


def stage_accounts(
    intervals: tuple[Interval, ...], stages: int, latency: Fraction
) -> tuple[dict[str, Fraction], ...]:
    """Ticks of every stage by what it does; idle is what is left of the latency.

    Parameters
    ----------
    intervals : tuple of Interval
    stages : int
    latency : Fraction, ticks
    """
    found = [dict.fromkeys([*(each.value for each in Activity), IDLE], Fraction(0)) for _ in range(stages)]
    for interval in intervals:
        found[interval.stage][interval.activity.value] += interval.end - interval.start
    for account in found:
        account[IDLE] = latency - sum(account.values(), Fraction(0))
    return tuple(found)


def fullest_memory(assessment: Assessment) -> FullestMemory:
    """The memory that holds the largest part of what it can, and what that is."""
    history, tables = lockstep_memory(assessment.lockstep), assessment.schedule.machine
    total, sizes = history.total, history.capacity.tolist()
    k = max(range(len(sizes)), key=lambda k: (Fraction(int(total[k].max()), max(sizes[k], 1)), -k))
    t = int(total[k].argmax())
    return FullestMemory(
        tables.memory_name(k),
        t,
        int(total[k, t]),
        sizes[k],
        int(history.static[k]),
        int(history.reserve[k]),
        int(history.prefix[k, t]),
        int(history.own[k, t]),
        int(history.hosted[k, t]),
    )
