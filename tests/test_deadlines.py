"""One deadline, handed down: limits and interruptions hold in every long command."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path

import pytest

from mocap_opt import bound, compare, load_instance
from mocap_opt.bounds import Scope
from mocap_opt.bounds.makespan import makespan_bounds
from mocap_opt.bounds.period import PartitionBound, period_bounds
from mocap_opt.cli.main import main
from mocap_opt.errors import ExitCode, InputError
from mocap_opt.instance import Instance
from mocap_opt.questions.max_context import LatencyLimit, LengthFamily, longest_prompt
from mocap_opt.questions.max_context import search as length_search
from mocap_opt.questions.tradeoffs import pareto
from mocap_opt.questions.tradeoffs.pareto import latency_and_period
from mocap_opt.questions.tradeoffs.result import NOT_REACHED
from mocap_opt.questions.tradeoffs.sweep import tradeoff
from mocap_opt.schedule.requests import build_requests
from mocap_opt.solvers.outcome import Status
from mocap_opt.solving import METHOD_NAMES, answerer, comparison, solve
from mocap_opt.solving import latency as driver
from mocap_opt.solving import methods as solving_methods
from mocap_opt.solving.incumbent import Progress
from mocap_opt.solving.period_search import PeriodSearch, best_period
from mocap_opt.stopping import SIGNALS, Deadline, StoppedError, signals_wait
from mocap_opt.tables import build_tables

INSTANCES = Path(__file__).parent.parent / "instances"
TINY = INSTANCES / "tiny-unequal.json"
SLACK = INSTANCES / "tiny-slack.json"
PERIOD = ("objective=period", "pipeline.queue_depth=2")


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def test_parts_of_a_deadline_end_no_later_than_it_and_count_from_its_beginning():
    clock = Clock()
    whole = Deadline(10.0, clock=clock)
    clock.now += 2.0
    half, short, graced = whole.share(0.5), whole.at_most(1.0), whole.extended(1.0)
    assert (whole.left_s, half.left_s, short.left_s, graced.left_s) == (8.0, 4.0, 1.0, 9.0)
    assert whole.at_most(50.0).left_s == 8.0
    assert half.share(0.5).left_s == 2.0
    assert half.elapsed_s == whole.elapsed_s == 2.0
    clock.now += 4.0
    assert half()
    assert half.expired
    assert not half.interrupted
    assert not whole()
    assert half.left_s == 0.0
    clock.now += 10.0
    assert whole.expired
    assert whole.limit_s == 0.0


def test_an_interruption_reaches_every_part_and_a_question_only_its_own():
    stop = threading.Event()
    whole = Deadline(None, stop)
    assert whole.limit_s is None
    answered: list[int] = []
    part = whole.unless(lambda: bool(answered)).share(0.5)
    answered.append(1)
    assert part.interrupted
    assert not whole.expired
    stop.set()
    assert whole.extended(9.0).expired
    assert whole.at_most(1.0).interrupted


def test_bounds_on_a_period_stop_and_what_they_say_then_holds():
    tables = build_tables(load_instance(SLACK, PERIOD))
    found, by_slots = period_bounds(tables, Deadline(None, stopped()))
    assert by_slots == {}
    best = best_period(tables, deadline=Deadline(20.0)).best
    assert best is not None
    assert all(each.ticks <= best.period for each in found)
    for questions in range(1, 12):
        asked = iter([False] * questions)
        late = Deadline().unless(lambda asked=asked: next(asked, True))
        assert all(each.ticks <= best.period for each in period_bounds(tables, late)[0])


@pytest.mark.parametrize("objective", ["period", "stream"])
def test_bound_of_a_period_and_of_a_stream_has_a_limit_and_stops(objective, tmp_path, capsys):
    data = json.loads(SLACK.read_text())
    data["objective"] = objective
    data["pipeline"]["queue_depth"] = 2
    if objective == "stream":
        data["workload"]["requests"] = [{"tokens": data["workload"].pop("tokens")}] * 2
    notes: list[str] = []
    instance = Instance.from_dict(data, SLACK.parent)
    least = bound(instance, time_limit_s=0.0, on_note=notes.append)[1]
    assert notes == ["stopped at the time limit"]
    assert len(least) < len(bound(instance, time_limit_s=60.0)[1])
    assert len(bound(instance, stop=stopped())[1]) == len(least)
    overrides = [part for change in PERIOD for part in ("--set", change)]
    with pytest.raises(SystemExit) as end:
        main(["bound", str(SLACK), *overrides, "--time-limit", "0"])
    assert end.value.code == ExitCode.ANSWERED


def test_bounds_of_a_stream_stop_between_requests():
    data = json.loads(SLACK.read_text())
    data["workload"]["requests"] = [{"tokens": data["workload"].pop("tokens")}] * 2
    requests = build_requests(Instance.from_dict({**data, "objective": "stream"}, SLACK.parent))
    every = makespan_bounds(requests, True)
    fewest = [len(makespan_bounds(requests, True, Deadline(None, stopped())))]
    for questions in (*range(40), 100_000):
        asked = iter([False] * questions)
        fewest.append(len(makespan_bounds(requests, True, lambda asked=asked: next(asked, True))))
    assert fewest == sorted(fewest)
    assert fewest[0] == 0
    assert fewest[-1] == len(every)


def test_a_sweep_without_time_computes_no_bounds_and_a_curve_bounds_no_count(monkeypatch):
    instance = load_instance(SLACK)
    choices = tradeoff(instance, chunks=True, layouts=False, time_limit_s=0.0).choices
    assert {choice.outcome for choice in choices} == {NOT_REACHED}
    assert {choice.bound for choice in choices} == {None}
    period = instance.replace(*PERIOD)
    curve = latency_and_period(period, layouts=False, time_limit_s=0.0)
    assert {variant.outcome for variant in curve.variants} == {NOT_REACHED}
    assert {variant.period_bound for variant in curve.variants} == {None}
    assert curve.period_bound(curve.variants[0].latency_bound or 0) is None
    larger = load_instance(INSTANCES / "gpt3-175b-watos-tight.json", ["objective=period"])
    layouts = latency_and_period(larger, layouts=True, stop=stopped())
    assert {variant.outcome for variant in layouts.variants} == {NOT_REACHED}
    laid_out: list[object] = []
    real = pareto.build_tables
    monkeypatch.setattr(pareto, "build_tables", lambda each: laid_out.append(each) or real(each))
    latency_and_period(larger, layouts=True, time_limit_s=0.0)
    assert len(laid_out) == 1


def test_a_curve_makes_the_bounds_of_a_layout_once_for_all_its_counts(monkeypatch):
    made: list[Scope] = []
    make = PartitionBound.__init__

    def count(self, tables, scope, *late):
        made.append(scope)
        make(self, tables, scope, *late)

    monkeypatch.setattr(PartitionBound, "__init__", count)
    curve = latency_and_period(load_instance(SLACK, PERIOD), layouts=False, time_limit_s=20.0)
    assert len(curve.variants) > 1
    assert len(made) == len(set(made)) == 2


def test_heuristics_and_programs_of_a_period_are_asked_to_stop(monkeypatch):
    tables = build_tables(load_instance(SLACK, PERIOD))
    stop = threading.Event()
    asked: list[bool] = []

    def program(tables, slots, *, time_limit_s, seed, threads, callback):
        asked.append(callback(None))
        stop.set()
        asked.append(callback(None))
        raise StoppedError

    monkeypatch.setattr("mocap_opt.solving.period_search._program_of", lambda solver: program)
    _, by_slots = period_bounds(tables)
    search = PeriodSearch(tables, deadline=Deadline(60.0, stop))
    with pytest.raises(StoppedError):
        search.run_programs(by_slots[Scope.LOCKSTEP], 0)
    assert asked == [False, True]
    search.run_methods(["mocap"])
    assert search.methods == []


def test_periods_and_streams_tell_what_is_being_done(monkeypatch):
    told: list[Progress] = []
    tables = build_tables(load_instance(SLACK, PERIOD))
    best_period(tables, deadline=Deadline(20.0), callback=told.append)
    doing = list(dict.fromkeys(news.doing for news in told))
    assert doing[0] == "bounds on the period"
    assert "mocap" in doing or told[-1].gap is not None
    told.clear()
    data = json.loads(SLACK.read_text())
    data["workload"]["requests"] = [{"tokens": data["workload"].pop("tokens")}] * 2
    stream = Instance.from_dict({**data, "objective": "stream"}, SLACK.parent)
    solve(stream, time_limit_s=20.0, callback=told.append)
    assert told[0].doing == "bounds on the makespan"
    assert None not in [news.doing for news in told]


def test_a_wrong_method_is_told_before_any_work(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("work began")

    monkeypatch.setattr(comparison, "solve", refuse)
    with pytest.raises(InputError, match="no-such-method") as error:
        compare([load_instance(TINY)], ["gpipe", "no-such-method", "nor-this"])
    assert len(error.value.problems) == 2
    assert set(METHOD_NAMES) >= {"gpipe", "mocap"}


def test_the_method_that_ran_when_stopped_is_marked():
    stop = threading.Event()
    frame = compare(
        [load_instance(TINY)],
        ["gpipe", "uniform", "mocap"],
        full=True,
        gap=0.0,
        stop=stop,
        begin=lambda doing: stop.set() if "uniform" in doing else None,
    )
    reasons = frame.set_index("method")["reason"]
    assert reasons.isna()["gpipe"]
    assert reasons["uniform"] == comparison.INTERRUPTED
    assert frame.set_index("method").loc["mocap", "reason"] in (comparison.NOT_RUN, comparison.INTERRUPTED)


def test_a_comparison_without_any_plan_has_the_exit_code_for_that(monkeypatch, capsys):
    def no_plan(*args, **options):
        return solve(*args, **{**options, "stop": stopped()})

    monkeypatch.setattr(comparison, "solve", no_plan)
    with pytest.raises(SystemExit) as end:
        main(["compare", str(TINY), "--methods", "joint", "--json"])
    assert end.value.code == ExitCode.NO_PLAN
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["latency_s"], row["status"]) == (None, Status.UNKNOWN.value)


def test_the_longest_prompt_counts_its_limit_once(monkeypatch):
    family = LengthFamily.of(
        load_instance(INSTANCES / "gpt3-175b-watos-longest.json", ["chunking.quantum=8192"])
    )
    given: list[float] = []
    real = length_search.latency_upper_bound

    def ceiling(family, limit, low, high, asked_to_stop):
        given.append(asked_to_stop.left_s)
        return real(family, limit, low, high, asked_to_stop)

    monkeypatch.setattr(length_search, "latency_upper_bound", ceiling)
    for limit in (LatencyLimit(family, factor=1), LatencyLimit(family, ticks=10**15)):
        longest_prompt(family, "uniform", limit, time_limit_s=30.0)
    late, early = given
    assert late < 30.0
    assert early <= 30.0 * length_search.BOUNDING


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_an_extension_is_loaded_is_served_after_it(number, monkeypatch):
    served: list[int] = []
    before = signal.signal(number, lambda number, frame: served.append(number))
    try:
        with signals_wait():
            signal.raise_signal(number)
            assert served == []
        assert served == [number]
    finally:
        signal.signal(number, before)


def test_an_interruption_during_the_import_of_ortools_is_no_missing_solver(monkeypatch, tmp_path):
    package = tmp_path / "ortools" / "sat" / "python"
    package.mkdir(parents=True)
    for folder in (tmp_path / "ortools", tmp_path / "ortools" / "sat", package):
        (folder / "__init__.py").write_text("")
    # What the start of the extension does with a KeyboardInterrupt.
    (package / "cp_model.py").write_text(
        "import signal\n"
        "try:\n    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt as error:\n    raise ImportError('initialization failed') from error\n"
    )
    for name in [name for name in sys.modules if name.startswith("ortools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "mocap_opt.solvers.cpsat_model", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            import mocap_opt.solvers.cpsat_model  # noqa: F401, PLC0415
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["tiny-unequal", "tiny-hopeless"])
def test_what_is_one_for_all_methods_of_an_instance_is_made_once(name, monkeypatch):
    counted: dict[str, int] = {}

    def count(module, work):
        real = getattr(module, work)

        def counting(*arguments, **options):
            counted[work] = counted.get(work, 0) + 1
            return real(*arguments, **options)

        monkeypatch.setattr(module, work, counting)

    count(answerer, "build_tables")
    count(driver, "infeasible_verdict")
    count(solving_methods, "add_quick_bounds")
    methods = ["gpipe", "uniform", "terapipe", "mocap"]
    answers = compare([load_instance(INSTANCES / f"{name}.json")], methods, full=True, time_limit_s=20.0)
    assert list(answers["method"]) == methods
    assert counted["build_tables"] == 1
    if name == "tiny-hopeless":
        assert set(answers["status"]) == {Status.INFEASIBLE.value}
        assert len(set(answers["reason"])) == 1
        assert counted["infeasible_verdict"] == 1
    else:
        assert counted["add_quick_bounds"] == 1
