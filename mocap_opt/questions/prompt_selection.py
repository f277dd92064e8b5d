"""Tokens chosen among the whole prompt: two problems in sequence (formulations/prompt_selection.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mocap_opt.bounds import Bound
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.memory_budget import memory_budget
from mocap_opt.replay.evaluation import Assessment
from mocap_opt.schedule.inputs import as_instance
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving.api import solve
from mocap_opt.solving.incumbent import Progress, SearchState
from mocap_opt.solving.methods import check_limits, run_method
from mocap_opt.solving.solution import TIME_LIMIT_S, Solution
from mocap_opt.stopping import Deadline
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.prompt_parts import PromptParts, prompt_parts

if TYPE_CHECKING:
    from mocap_opt.schedule.inputs import GivenInstance

EACH = 0.4
"""Part of the time that each of the two problems gets; the comparison gets what is left."""


@dataclass(frozen=True, eq=False)
class PartAnswer:
    """One of the two problems, answered.

    Attributes
    ----------
    tables : Tables
    best : Assessment or None
        The best plan found, verified and replayed.
    bound : Bound or None
        No plan is faster in any execution.
    closed : bool
        Whether plan and bound meet, within the gap asked for.
    infeasible : str or None
        The proof that there is no plan.
    notes : tuple of str
    """

    tables: Tables
    best: Assessment | None
    bound: Bound | None
    closed: bool
    infeasible: str | None
    notes: tuple[str, ...]

    @property
    def latency(self) -> Fraction | None:
        """Exact, seconds."""
        ticks = None if self.best is None else self.best.latency_in(None)
        return None if ticks is None else ticks * self.tables.tick_s

    @property
    def floor(self) -> Fraction | None:
        """The bound, exact, seconds."""
        return None if self.bound is None else self.bound.ticks * self.tables.tick_s

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        plan = None if self.best is None else self.best.plan
        return {
            "name": self.tables.name,
            "stages": self.tables.stages,
            "tokens": self.tables.tokens,
            "latency_s": _number(self.latency),
            "lower_bound_s": _number(self.floor),
            "bound_name": None if self.bound is None else self.bound.name,
            "infeasible": self.infeasible,
            "boundaries": None if plan is None else list(plan.boundaries),
            "homes": None
            if plan is None
            else [
                {"stage": h.stage, "chunk": h.chunk, "memory": h.memory, "tokens": h.pages * self.tables.page}
                for h in plan.homes
            ],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class PromptSelectionAnswer:
    """Both problems, and the same shares with every chunk choosing among its own tokens.

    Attributes
    ----------
    instance : Instance
    parts : PromptParts
    first, second : PartAnswer
        Before the choice and behind it.
    chunkwise : Solution or None
        The instance with selection "chunk"; None if it was not asked for or time was up.
    """

    instance: Instance
    parts: PromptParts
    first: PartAnswer
    second: PartAnswer
    chunkwise: Solution | None

    @property
    def latency_s(self) -> float | None:
        """The sum of both latencies, seconds; None without a plan of each."""
        return _number(_sum(self.first.latency, self.second.latency))

    @property
    def lower_bound_s(self) -> float | None:
        """The sum of both bounds, seconds: no pair of plans is faster in any execution."""
        return _number(_sum(self.first.floor, self.second.floor))

    @property
    def gap(self) -> float | None:
        """(latency - bound) / latency; None while one is unknown."""
        latency = _sum(self.first.latency, self.second.latency)
        floor = _sum(self.first.floor, self.second.floor)
        if latency is None or floor is None:
            return None
        return float((latency - floor) / latency) if latency else 0.0

    @property
    def status(self) -> Status:
        """Optimal if both problems are; infeasible if one is."""
        both = (self.first, self.second)
        if any(each.infeasible is not None for each in both):
            return Status.INFEASIBLE
        if any(each.best is None for each in both):
            return Status.UNKNOWN
        return Status.OPTIMAL if all(each.closed for each in both) else Status.FEASIBLE

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        other = None if self.chunkwise is None else self.chunkwise.report
        return {
            "instance": self.instance.name,
            "fingerprint": self.instance.fingerprint,
            "status": self.status.value,
            "selection": "prompt",
            "stage": self.parts.stage,
            "kept_tokens": self.parts.kept,
            "latency_s": self.latency_s,
            "lower_bound_s": self.lower_bound_s,
            "gap": self.gap,
            "parts": [self.first.to_dict(), self.second.to_dict()],
            "selection_by_chunk": None
            if other is None
            else {"latency_s": other.latency_s, "lower_bound_s": other.lower_bound_s, "gap": other.gap},
        }


def _number(seconds: Fraction | None) -> float | None:
    return None if seconds is None else float(seconds)


def _sum(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if one is None or other is None else one + other


def prompt_selection(
    instance: GivenInstance,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    gap: float = 1e-4,
    seed: int = 0,
    threads: int | None = None,
    memory_budget_bytes: int | None = None,
    by_chunk: bool = True,
    stop: threading.Event | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> PromptSelectionAnswer:
    """Plan a prompt whose later layers wait until tokens are chosen among all of it (FastKV).

    Parameters
    ----------
    instance : Instance or mapping
        With ``selection: "prompt"`` in its profile.
    time_limit_s : float
        Wall time, seconds.
    gap : float
        Stop once (latency - bound) / latency of a problem is at most this.
    seed : int
    threads : int, optional
        Of a program's solver.
    memory_budget_bytes : int, optional
        What would take more memory is left out; 4 GiB by default.
    by_chunk : bool
        Whether the instance is solved with selection "chunk" as well, to compare.
    stop : threading.Event, optional
        Set it from outside to stop early with the best so far.
    callback : callable, optional
        Called with a `Progress` of the problem that is being solved, as `mocap_opt.solve` does.

    Raises
    ------
    InputError
        If nothing is chosen among the whole prompt, or if the choice does not fall on a stage boundary.

    Examples
    --------
    Two stages, 10 ns per token on each, and the second one works on half of the four tokens:

    >>> import mocap_opt
    >>> instance = {
    ...     "version": 1, "name": "halves", "model": {
    ...         "layers": 2, "hidden": 4, "heads": 2, "kv_heads": 1, "head_dim": 2, "ffn": 8,
    ...         "vocabulary": 16, "profile": [{"layers": [1, 1], "keep": 0.5, "selection": "prompt"}]},
    ...     "wafer": {"topology": "mesh", "rows": 1, "cols": 2, "link": {"bandwidth": 1e9, "hop_latency": 0},
    ...         "die": {"flops": 1e9, "memory_bytes": "1 MB", "memory_bandwidth": 1e9}},
    ...     "pipeline": {"stages": 2, "dies_per_stage": 1, "staging_per_die": 0},
    ...     "workload": {"tokens": 4}, "chunking": {"max_chunks": 4, "quantum": 1},
    ...     "costs": {"kind": "coefficients", "stages": {"linear": 1e-8}}}
    >>> found = mocap_opt.prompt_selection(instance)
    >>> found.status.value, found.latency_s, found.lower_bound_s
    ('optimal', 6e-08, 6e-08)
    """
    instance = as_instance(instance)
    require_supported(instance, "prompt_selection")
    check_limits(seed, threads, time_limit_s=time_limit_s, gap=gap)
    deadline = Deadline(time_limit_s, stop)
    parts = prompt_parts(instance)
    with memory_budget(memory_budget_bytes):
        first, second = (
            _answer(tables, deadline.at_most(EACH * time_limit_s), gap, seed, threads, callback)
            for tables in (parts.first, parts.second)
        )
    other = None
    if by_chunk and not deadline.expired:
        other = solve(
            selected_by_chunk(instance, parts.entry),
            time_limit_s=deadline.left_s,
            gap=gap,
            seed=seed,
            threads=threads,
            memory_budget_bytes=memory_budget_bytes,
            stop=stop,
            callback=callback,
        )
    return PromptSelectionAnswer(instance, parts, first, second, other)


def selected_by_chunk(instance: Instance, entry: int) -> Instance:
    """The instance with every chunk choosing among its own tokens.

    Parameters
    ----------
    instance : Instance
    entry : int
        The entry of the profile that chooses among the whole prompt.
    """
    data = instance.to_dict()
    data["model"]["profile"][entry]["selection"] = "chunk"
    return type(instance).from_dict(data)


def _answer(
    tables: Tables,
    deadline: Deadline,
    gap: float,
    seed: int,
    threads: int | None,
    callback: Callable[[Progress], None] | None,
) -> PartAnswer:
    state = SearchState(tables, deadline, gap, callback, threads=threads)
    reason, _ = run_method(state, "auto", None, "auto", seed, (), ())
    proof = state.infeasible_reason
    notes = tuple(state.notes) if reason is None else (*state.notes, reason)
    said = None if proof is None else proof if isinstance(proof, str) else proof.message
    return PartAnswer(tables, state.best, state.headline, state.closed(), said, notes)
