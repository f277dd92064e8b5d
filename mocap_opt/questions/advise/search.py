"""Find the best setting of an engine for the times in a log, and how much better any list could be."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from mocap_opt.baselines.engine_chunks import SEPARATOR, NoFitError, Setting
from mocap_opt.baselines.registry import ENGINE_RULES, built_in_method
from mocap_opt.calibration.logs import Asked, Log, read_log
from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import Objective, objective_of
from mocap_opt.instance.resolve import read_model
from mocap_opt.instance.timings import Timings
from mocap_opt.lower_bound import Bound, Scope
from mocap_opt.lower_bound import best as best_bound
from mocap_opt.questions.advise.counts import most_useful_chunks
from mocap_opt.questions.advise.engines import ENGINES, FIXED, Engine
from mocap_opt.questions.advise.result import Advice, Tried
from mocap_opt.questions.advise.times import Reach, costs_of, reach_of
from mocap_opt.replay.contention_free_makespan import contention_free_makespan
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.solving.api import solve
from mocap_opt.solving.report import relative_gap
from mocap_opt.solving.solution import Solution
from mocap_opt.stopping import Deadline
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.units import exact

TIME_LIMIT_S = 18.0
"""Wall time of advice, seconds."""

SCANNING, COUNTING = 0.15, 0.15
"""Parts of the time left that the scan of a rule's settings and the count of useful chunks may take."""

PER_OCTAVE = 8
"""Base sizes tried in every doubling before the best one's neighbours are."""

SMOOTHINGS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Beside the engine's default."""

MOST_CHUNKS = 4096


def advise(
    log: str | os.PathLike[str] | Timings,
    engine: str,
    stages: int,
    tokens: int,
    *,
    setting: Setting | str | int | None = None,
    form: str | None = None,
    prompt: int | None = None,
    layers: int | None = None,
    model: str | os.PathLike[str] | None = None,
    tp: int | None = None,
    whole: bool = False,
    send_s: float | None = None,
    instance: Instance | None = None,
    quantum: int | None = None,
    longest: int | None = None,
    extrapolate: bool = False,
    time_limit_s: float = TIME_LIMIT_S,
    seed: int = 0,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> Advice:
    """Say what an engine's setting costs, which one is best, and how much any list of chunks could save.

    Parameters
    ----------
    log : path or Timings
        Of chunk times; ``"-"`` is standard input.
    engine : str
        One of `ENGINES`.
    stages, tokens : int
        Of the pipeline; of the prompt.
    setting : Setting, str or int, optional
        In use: a base size, ``"8192"``, and behind a colon a smoothing, ``"8192:0.65"``; the engine's usual
        one by default.
    form : str, optional
        Of the log, one of `mocap_opt.calibration.logs.LOG_FORMS`; told from it by default.
    prompt : int, optional
        Tokens of every prompt served while the log was written, where it does not say.
    layers : int, optional
        Layers of a stage, where the log's times are those of single layers.
    model : str or path, optional
        Whose layers they are, where the log's times are those of single kernels: a preset's name, or a
        Hugging Face ``config.json``.
    tp : int, optional
        Dies of a stage that share its layers, where the log's times are those of single kernels.
    whole : bool
        Whether the log's times are those of the whole model; then each stage takes an equal part.
    send_s : float, optional
        Seconds that a chunk takes from a stage to the next; 0 by default, or what an instance's links give.
    instance : Instance, optional
        Memory, links and limits on chunks to keep to, with this many stages; ample ones by default.
    quantum, longest : int, optional
        Chunks are multiples of `quantum` tokens, and at most `longest`; by default at most 512 steps, and the
        longest chunk measured.
    extrapolate : bool
        Whether times may be used beyond what was measured.
    time_limit_s : float
        Wall time, seconds.
    seed : int
    stop : threading.Event, optional
        Set it from outside to stop early with what is known.
    tell : callable
        Told in words what is being done.

    Raises
    ------
    InputError
        If the log cannot be read, does not say enough, or what is asked does not go with it.

    Examples
    --------
    Chunk times of Llama 3.1 8B on eight stages, a prompt of 16,384 tokens, vLLM at its usual 2,048:

    >>> import mocap_opt
    >>> log = "instances/measured/llama-3.1-8b-rtxpro6000-vllm-tp1.csv"
    >>> advice = mocap_opt.advise(log, "vllm", 8, 16384, quantum=1024)
    >>> round(advice.given.latency_s, 4), round(advice.best.latency_s, 4), round(advice.lower_bound_s, 4)
    (0.2297, 0.1759, 0.1759)
    >>> advice.flags
    ('--enable-chunked-prefill', '--max-num-batched-tokens 1024')
    """
    deadline = Deadline(time_limit_s, stop)
    served = _engine(engine, stages, tokens, quantum, longest)
    found = _read(log, form, Asked(prompt, layers, None if model is None else read_model(model), tp), served)
    if whole:
        found = found.divided(stages)
    given_instance, notes, reach = _instance(
        found, served, stages, tokens, instance, send_s, quantum, longest, extrapolate
    )
    tables = build_tables(given_instance)
    asked = _setting(setting, served, reach)
    tell("settings")
    best = {
        rule: best_setting(tables, rule, deadline.share(SCANNING))
        for rule in dict.fromkeys((served.rule, FIXED))
    }
    rows = [("given", served.rule, asked)]
    if served.sizes_chunks:
        rows.append(("same-size", FIXED, replace(asked, smoothing=None)))
        rows.append(("best-setting", served.rule, best[served.rule]))
    rows.append(("best-size", FIXED, best[FIXED]))
    tried = [_try(name, rule, each, tables) for name, rule, each in rows]
    tell("the best list of chunks")
    narrow = _narrowed(given_instance, tables, tried, deadline.share(COUNTING))
    solution = solve(narrow, time_limit_s=deadline.left_s, seed=seed, stop=stop)
    bound = best_bound(solution.lower_bounds, {Scope.ANY_EXECUTION})
    judged = [_judged(each, tables, solution, bound) for each in tried]
    judged.append(_searched(solution))
    return Advice(served, found.form, (*found.notes, *notes), narrow, solution, tuple(judged))


def _engine(engine: str, stages: int, tokens: int, quantum: int | None, longest: int | None) -> Engine:
    problems = []
    if engine not in ENGINES:
        problems.append(Problem("engine", engine, f"one of {', '.join(ENGINES)}"))
    for name, value, most in (
        ("stages", stages, 512),
        ("tokens", tokens, 2**30),
        ("quantum", quantum, 2**30),
        ("longest", longest, 2**30),
    ):
        if value is not None and not 1 <= value <= most:
            problems.append(Problem(name, f"{value}", f"a whole number from 1 to {most:,}"))
    if problems:
        raise InputError(problems)
    return ENGINES[engine]


def _read(log: str | os.PathLike[str] | Timings, form: str | None, asked: Asked, engine: Engine) -> Log:
    if isinstance(log, Timings):
        return Log("timings", log.source, log)
    return read_log(log, form, asked, engine.name)


def _setting(given: Setting | str | int | None, engine: Engine, reach: Reach) -> Setting:
    """The setting asked about; the usual one is cut to the longest chunk."""
    if given is None:
        return Setting(min(engine.usual, reach.longest))
    if not isinstance(given, Setting):
        method = f"{engine.rule}{SEPARATOR}{given}"
        base, _, smoothing = str(given).partition(SEPARATOR)
        built_in_method(method)  # refuses what is no setting
        given = Setting(int(base), float(smoothing) if smoothing else None)
    if given.base > reach.longest:
        expected = f"a base of at most {reach.longest} tokens, the longest chunk there are times for"
        remedy = "measure longer chunks, or ask for a shorter prompt's setting"
        raise InputError([Problem("setting", f"{given}", expected, remedy)])
    return given


def _instance(
    log: Log,
    engine: Engine,
    stages: int,
    tokens: int,
    given: Instance | None,
    send_s: float | None,
    quantum: int | None,
    longest: int | None,
    extrapolate: bool,
) -> tuple[Instance, list[str], Reach]:
    """The instance to solve, what was done to make it, and its chunks."""
    reach = reach_of(log, tokens, quantum, longest)
    costs, said = costs_of(log, stages, reach, extrapolate)
    notes = [f"times: {said}"]
    chunks = {
        "max_chunks": min(MOST_CHUNKS, -(-tokens // reach.shortest)),
        "quantum": reach.quantum,
        "shortest": min(reach.shortest, tokens),
        "longest": reach.longest,
    }
    notes.append(f"chunks are multiples of {reach.quantum} tokens, {reach.shortest} to {reach.longest} long")
    if given is None:
        data = _ample(engine, stages, tokens, send_s or 0.0)
        notes.append(f"memory and links are ample; a send takes {send_s or 0.0:g} s")
    elif send_s is not None:
        expected = "one of them: the instance's links say how long sends take"
        raise InputError([Problem("send", "a time and an instance", expected)])
    else:
        data = _kept(given, stages, tokens)
    data["costs"], data["chunking"] = costs, {**data.get("chunking", {}), **chunks}
    return Instance.from_dict(data), notes, reach


def _ample(engine: Engine, stages: int, tokens: int, send_s: float) -> dict[str, Any]:
    """An instance in which nothing but times counts: one die a stage, more memory and rate than needed."""
    one = dict.fromkeys(("hidden", "heads", "kv_heads", "head_dim", "ffn", "vocabulary"), 1)
    return {
        "version": 1,
        "name": f"advice-{engine.name}",
        "model": {"name": "times from a log", "layers": stages, **one},
        "wafer": {
            "topology": "mesh",
            "rows": 1,
            "cols": stages,
            "die": {"flops": "1 PFLOP/s", "memory_bytes": "1 PB", "memory_bandwidth": "1 PB/s"},
            "link": {"bandwidth": "1 PB/s", "hop_latency": send_s},
        },
        "pipeline": {"stages": stages, "dies_per_stage": 1},
        "workload": {"tokens": tokens},
    }


def _kept(given: Instance, stages: int, tokens: int) -> dict[str, Any]:
    """An instance's memory and links, with other times."""
    problems = []
    if objective_of(given) is not Objective.LATENCY:
        problems.append(Problem("instance.objective", objective_of(given).value, "the latency of a prompt"))
    if given.pipeline.stages != stages:
        problems.append(
            Problem("instance.pipeline.stages", f"{given.pipeline.stages}", f"{stages}, as asked")
        )
    if problems:
        raise InputError(problems)
    data = given.to_dict()
    data["workload"]["tokens"] = tokens
    data["chunking"].pop("page", None)
    data["attention"] = "causal"
    return data


def best_setting(tables: Tables, rule: str, deadline: Deadline) -> Setting:
    """Scan bases and smoothings of a rule, then the neighbours of the best, without contention.

    Parameters
    ----------
    tables : Tables
    rule : str
        One of `ENGINE_RULES`.
    deadline : Deadline
        Of the scan; it ends with the best so far.

    Returns
    -------
    Setting
        The largest base if none has boundaries.
    """
    engine = ENGINE_RULES[rule]
    known: dict[Setting, int | None] = {}

    def measure(settings: Iterable[Setting]) -> None:
        for each in settings:
            if each in known:
                continue
            if known and deadline():
                return
            try:
                indices = engine.boundaries(tables, each)
            except NoFitError:
                indices = None
            known[each] = None if indices is None else int(contention_free_makespan(tables, indices))

    def best() -> Setting:
        able = {each: value for each, value in known.items() if value is not None}
        return min(able, key=lambda each: (able[each], -each.base), default=next(iter(known)))

    bases = _bases(tables)
    smoothings = [None] if engine.smoothing is None else [engine.smoothing, *SMOOTHINGS]
    measure(Setting(base, smoothings[0]) for base in bases)
    measure(Setting(base, smoothing) for smoothing in smoothings for base in bases)
    around = best()
    step = tables.quantum
    near = [around.base + n * step for n in range(-PER_OCTAVE, PER_OCTAVE + 1)]
    measure(Setting(base, around.smoothing) for base in near if bases[-1] <= base <= bases[0])
    around = best()
    if around.smoothing is not None:
        close = [round(around.smoothing + n / 20, 2) for n in range(-2, 3)]
        measure(Setting(around.base, each) for each in close if 0 < each <= 1)
    return best()


def _bases(tables: Tables) -> list[int]:
    """Base sizes on the grid, eight in every doubling, longest first."""
    least = -(-tables.min_length // tables.quantum) * tables.quantum
    most = min(tables.max_length, tables.tokens)
    found, base = [], float(most)
    while base >= least:
        found.append(int(base) // tables.quantum * tables.quantum)
        base /= 2 ** (1 / PER_OCTAVE)
    return [each for each in dict.fromkeys(found) if each >= least] or [most]


def _try(name: str, rule: str, setting: Setting, tables: Tables) -> Tried:
    """Replay what a rule makes of a setting."""
    method = built_in_method(f"{rule}{SEPARATOR}{setting}")
    assert method is not None
    proposal = method.propose(tables)
    if proposal.plan is None:
        return Tried(name, rule, setting, None, None, None, proposal.reason)
    latency = min(replay(tables, proposal.plan).latency for replay in (replay_lockstep, replay_event))
    return Tried(name, rule, setting, proposal.plan, tables.seconds(latency), None)


def _narrowed(instance: Instance, tables: Tables, tried: Sequence[Tried], deadline: Deadline) -> Instance:
    """The instance with no more chunks than a plan as fast as one of those tried can have."""
    known = [each.latency_s for each in tried if each.latency_s is not None]
    if not known:
        return instance
    latency = math.floor(Fraction(exact(min(known))) / tables.tick_s) + 1
    most = most_useful_chunks(tables, latency, deadline)
    return instance.replace(f"chunking.max_chunks={most}")


def _judged(tried: Tried, tables: Tables, solution: Solution, bound: Bound | None) -> Tried:
    """A way of cutting with its gap to the bound, which covers plans of more chunks too: see the page."""
    if tried.plan is None or bound is None:
        return tried
    assert solution.tables.tick_s == tables.tick_s
    latency = min(replay(tables, tried.plan).latency for replay in (replay_lockstep, replay_event))
    return replace(tried, gap=relative_gap(latency, bound))


def _searched(solution: Solution) -> Tried:
    report = solution.report
    plan = solution.plan
    return Tried("best-list", None, None, plan, report.latency_s, report.gap, report.reason or "")
