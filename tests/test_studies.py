"""Study files, their runs, the results file, and runs in local processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from study_chaos import ALONE, finished, rows, run_disturbed, start, workers_of

from mocap_opt.errors import InputError
from mocap_opt.instance import load_instance
from mocap_opt.solvers import cpsat
from mocap_opt.solving import STEPS, solve
from mocap_opt.solving.steps import Raises
from mocap_opt.studies import (
    DaskRunner,
    LocalRunner,
    Settings,
    load_study,
    results,
    run_study,
    tasks_of,
    write_frame,
)
from mocap_opt.studies.execution import Outcome, failure, pack_curve, perform, unpack_curve
from mocap_opt.studies.store import ResultsStore, StoreError, read_outcomes

INSTANCES = Path(__file__).parent.parent / "instances"
SMALL = f"""
methods = ["uniform", "mocap"]
[[instances]]
files = ["{INSTANCES}/tiny-slack.json", "{INSTANCES}/tiny-unequal.json"]
[instances.grid]
"workload.batch" = [1, 2, 3, 4, 5]
"""


def written(folder: Path, text: str, name: str = "study") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def runner(cores: int = 2, *, grace_s: float = 60.0, retries: int = 3) -> LocalRunner:
    return LocalRunner(cores, grace_s=grace_s, retries=retries)


class Counting(LocalRunner):
    """Counts how many runs are under way at a time; does none."""

    most = 0
    running = 0

    def _attempt(self, task, worker, threads):
        with self._guard:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.05)
        with self._guard:
            self.running -= 1
        return failure(task, "not done"), None


class Here:
    """Does tasks in this process."""

    def run(self, tasks):
        for task in tasks:
            yield perform(task)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("methods", "method", r"study\.toml: method: expected no such key.*did you mean \"methods\""),
        ('"uniform", "mocap"', '"uniform", "mocpa"', r'methods: expected one of .*got "mocpa"'),
        ('"uniform", "mocap"', '"mocap", "mocap"', r'methods: expected each value once, got "mocap" twice'),
        ('"uniform", "mocap"', '"auto", "joint"', "the same method"),
        ('"uniform", "mocap"', "3", r"methods\[0\]: expected .*got 3"),
        ("[1, 2, 3, 4, 5]", "[1, 1]", r"grid\.workload\.batch: expected each value once, got 1 twice"),
        ("[1, 2, 3, 4, 5]", "4", r"grid\.workload\.batch: expected a list of values"),
        ("[1, 2, 3, 4, 5]", "[0]", r"workload\.batch=0: workload\.batch: expected"),
        ("tiny-unequal.json", "tiny-none-*.json", "expected a glob that matches a file"),
        ("tiny-unequal.json", "tiny-slack.json", "expected each instance once"),
        ("[[instances]]", "seeds = [true]\n[[instances]]", r"seeds\[0\]"),
        (
            "[[instances]]",
            "time_limits_s = [nan]\n[[instances]]",
            r"time_limits_s\[0\]: .* a finite number",
        ),
        ("[[instances]]", 'seeds = ["x"]\n[[instances]]', r'seeds\[0\]: expected a whole number .*got "x"'),
        ("[[instances]]", "seeds = 3\n[[instances]]", r"seeds: expected a list .*got 3"),
        ("[[instances]]", "gap = 2\n[[instances]]", r"gap: expected a number <= 1.*got 2"),
        ("[[instances]]", "threads = 0\n[[instances]]", r"threads: expected a number >= 1 .*got 0"),
        (
            "[[instances]]",
            "deterministic_limit = -1\n[[instances]]",
            r"deterministic_limit: .* number >= 0",
        ),
        (
            "[[instances]]",
            'without = ["ladder"]\n[[instances]]',
            'without: expected "joint" among the methods.*no method with steps',
        ),
        (
            '"uniform", "mocap"]',
            '"uniform", "mocap", "joint"]\nonly = [["laddr"]]',
            'only: expected one of .*got "laddr"',
        ),
        (
            '"uniform", "mocap"]',
            '"uniform", "mocap", "joint"]\nwithout = ["ladder", "ladder"]',
            'without: expected each value once, got "ladder" twice',
        ),
        ("[[instances]]", "solvers = []\n[[instances]]", r"solvers: expected a list of at least 1"),
        ("[[instances]]", "[[instances", "expected valid TOML"),
    ],
)
def test_a_bad_study_file_is_refused_with_the_place(old, new, message, tmp_path):
    assert old in SMALL
    with pytest.raises(InputError, match=message):
        tasks_of(load_study(written(tmp_path, SMALL.replace(old, new))))


def test_runs_are_the_product_but_a_heuristic_runs_once_under_the_longest_limit(tmp_path):
    text = f"""
    methods = ["mocap", "joint"]
    solvers = ["highs", "cpsat"]
    seeds = [0, 1, 2]
    time_limits_s = [1, 5.0]
    [[instances]]
    files = ["{INSTANCES}/tiny-slack.json"]
    [instances.grid]
    workload.batch = [1, 2]
    """
    tasks = tasks_of(load_study(written(tmp_path, text)))
    assert len(tasks) == 2 * (1 + 2 * 3 * 2)
    assert len({task.key for task in tasks}) == len(tasks)
    assert [t.settings.time_limit_s for t in tasks if t.settings.method == "mocap"] == [5.0, 5.0]
    assert {t.variant["workload.batch"] for t in tasks} == {1, 2}


def test_the_joint_method_runs_again_without_steps_and_with_some_alone(tmp_path):
    text = f"""
    methods = ["mocap", "plain-highs", "joint"]
    solvers = ["highs", "cpsat"]
    without = ["ladder", "decomposed_program"]
    only = [["first_heuristics", "decomposed_program"]]
    [[instances]]
    files = ["{INSTANCES}/tiny-slack.json"]
    """
    tasks = tasks_of(load_study(written(tmp_path, text)))
    asked = [(t.settings.method, t.settings.solver, t.settings.without, t.settings.only) for t in tasks]
    steps = [(None, None), ("ladder", None), ("decomposed_program", None)]
    steps.append((None, "first_heuristics,decomposed_program"))
    joint = [("joint", solver, *each) for solver in ("highs", "cpsat") for each in steps]
    assert asked == [("mocap", "auto", None, None), ("plain-highs", "auto", None, None), *joint]
    assert len({task.key for task in tasks}) == len(tasks)
    alone = perform(tasks[5]).row
    assert [run["step"] for run in alone["steps"]] == ["first_heuristics", "decomposed_program"]


def test_the_study_of_programs_lists_runs_at_all_sizes():
    tasks = tasks_of(load_study(INSTANCES / "studies" / "programs.toml"))
    assert {task.name[:2] for task in tasks} >= {"S-", "M-", "L-", "XL"}
    assert {task.settings.solver for task in tasks} >= {"highs", "cpsat"}
    left_out = {task.settings.without for task in tasks}
    proves = {step.name for step in STEPS if step.raises in (Raises.BOUND, Raises.BOTH)}
    # In lockstep the contention-free program never runs.
    assert left_out == {None, *proves} - {"contention_free_program"}


def test_threads_and_a_deterministic_limit_reach_the_solve_and_the_key(tmp_path, monkeypatch):
    text = SMALL.replace('["uniform", "mocap"]', '["joint"]').replace("[1, 2, 3, 4, 5]", "[1]")
    plain = tasks_of(load_study(written(tmp_path, text)))[0]
    limited = "threads = 2\ndeterministic_limit = 0.5\n"
    task = tasks_of(load_study(written(tmp_path, text.replace("[[inst", limited + "[[inst"))))[0]
    assert task.key != plain.key
    asked: dict[str, object] = {}

    def solve(*arguments, **options):
        asked.update(options)
        raise RuntimeError("enough")

    monkeypatch.setattr("mocap_opt.studies.execution.solve", solve)
    row = perform(task).row
    assert (asked["threads"], asked["deterministic_limit"]) == (2, 0.5)
    assert (row["threads"], row["deterministic_limit"]) == (2, 0.5)


def test_a_solver_uses_the_threads_it_is_given_and_the_pool_no_more_than_the_cores(tmp_path, monkeypatch):
    seen: list[int] = []
    instance = load_instance(INSTANCES / "tiny-unequal.json")

    def watched(program, *, limits, **options):
        seen.append(limits.threads)
        return cpsat_solve(program, limits=limits, **options)

    cpsat_solve = cpsat.solve
    monkeypatch.setattr("mocap_opt.solvers.cpsat.solve", watched)
    for threads in (1, 2):
        solve(instance, "plain-cpsat", threads=threads)
    assert seen == [1, 2]
    # Two cores hold two runs of one thread, one of two, and one of three, which has them to itself.
    for threads, at_once in ((1, 2), (2, 1), (3, 1)):
        settings = Settings("uniform", "auto", "best", 0, 60.0, 1e-4, threads)
        tasks = [
            replace(task, settings=settings) for task in tasks_of(load_study(written(tmp_path, SMALL)))[:4:2]
        ]
        pool = Counting(2, grace_s=60, retries=0)
        assert len(list(pool.run(tasks))) == 2
        assert pool.most <= at_once


def test_a_key_changes_with_the_versions_and_not_with_names(tmp_path, monkeypatch):
    def keys() -> list[str]:
        return [task.key for task in tasks_of(load_study(written(tmp_path, SMALL)))]

    before = keys()
    assert keys() == before
    monkeypatch.setattr("mocap_opt.studies.tasks.versions", lambda: {"mocap-opt": "9"})
    assert not set(keys()) & set(before)


def test_curves_survive_packing():
    curve = [(0.12345678, None, 1.5), (2.0, 3.0, 1.75)]
    assert unpack_curve(pack_curve(curve)) == [(0.1235, None, 1.5), (2.0, 3.0, 1.75)]


def test_a_run_that_fails_is_a_row_with_its_reason(tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("mocap_opt.studies.execution.solve", broken)
    file = load_study(written(tmp_path, SMALL))
    tally = run_study(file, Here())
    assert (tally.done, tally.failed) == (20, 20)
    assert set(results(file.path)["reason"]) == {"RuntimeError: no such luck"}
    monkeypatch.undo()
    assert run_study(file, Here()).done == 0
    assert run_study(file, Here(), retry_failed=True).failed == 0
    assert set(results(file.path)["outcome"]) == {"ok"}


def test_two_drivers_at_once_are_refused_and_readers_are_not(tmp_path):
    path = tmp_path / "r.sqlite"
    with ResultsStore(path) as store:
        store.append(Outcome("a", {"outcome": "ok"}))
        with pytest.raises(StoreError, match="another process is running this study"):
            ResultsStore(path)
        assert [outcome.key for outcome in read_outcomes(path)] == ["a"]
    with ResultsStore(path) as store:
        assert store.keys() == {"a"}


def test_a_full_disk_loses_nothing_finished(tmp_path):
    path = tmp_path / "r.sqlite"
    with ResultsStore(path) as store:
        store.append(Outcome("a", {"outcome": "ok"}))
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"could not be added .*full.*; the runs before it are safe"):
            store.append(Outcome("b", {"outcome": "ok", "reason": "x" * 100_000}))
        store._database.execute("PRAGMA max_page_count = 1000000")
        store.append(Outcome("c", {"outcome": "ok"}))
    assert [outcome.key for outcome in read_outcomes(path)] == ["a", "c"]


@pytest.mark.parametrize("content", [b"no database at all, but text\n" * 50, "other"])
def test_another_file_is_not_taken_for_results(content, tmp_path):
    path = tmp_path / "r.sqlite"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine (x)")
        other.commit()
        other.close()
    before = path.read_bytes()
    for use in (ResultsStore, read_outcomes):
        with pytest.raises(InputError, match=r"r\.sqlite: expected a results file"):
            use(path)
    assert path.read_bytes() == before


def test_a_run_over_its_limit_is_killed_and_one_whose_worker_dies_is_tried_again(tmp_path):
    tasks = tasks_of(load_study(written(tmp_path, SMALL)))[:2]
    seen: list[int] = []

    def kill_first() -> None:
        while not seen:
            seen.extend(workers_of(os.getpid()))
            time.sleep(0.01)
        os.kill(seen[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_first)
    killer.start()
    found = list(runner(1).run(tasks))
    killer.join()
    assert seen
    assert [outcome.failed for outcome in found] == [False, False]

    def kill_all(stop: threading.Event) -> None:
        while not stop.is_set():
            for worker in workers_of(os.getpid()):
                os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)

    stop = threading.Event()
    killer = threading.Thread(target=kill_all, args=(stop,))
    killer.start()
    (lost,) = runner(1, retries=1).run(tasks[:1])
    stop.set()
    killer.join()
    assert "died in each of 2 attempts" in lost.row["reason"]


def test_a_run_over_its_limit_is_killed(tmp_path):
    # No time at all: the timer beats any run.
    text = SMALL.replace("[[instances]]", "time_limits_s = [0]\n[[instances]]", 1)
    tasks = tasks_of(load_study(written(tmp_path, text)))[:1]
    (outcome,) = runner(1, grace_s=0).run(tasks)
    assert outcome.row["reason"] == "killed: still running 0 s after its limit of 0 s"


def test_csv_and_parquet_hold_every_row(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    file = load_study(written(tmp_path, SMALL))
    run_study(file, Here())
    frame = results(file.path)
    assert len(frame) == 20
    assert list(frame["workload.batch"][:4]) == [1, 1, 2, 2]
    assert (frame["gap_wanted"] == 1e-4).all()
    assert ((frame["latency_s"] - frame["lower_bound_s"]) / frame["latency_s"]).to_list() == pytest.approx(
        frame["gap"].to_list(), abs=1e-9
    )
    for name, read in (("r.csv", pd.read_csv), ("r.parquet", pd.read_parquet)):
        write_frame(frame, tmp_path / name)
        again = read(tmp_path / name)
        assert list(again.columns) == list(frame.columns)
        assert again["latency_s"].to_list() == frame["latency_s"].to_list()
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        write_frame(frame, tmp_path / "r.xls")


def test_a_driver_killed_between_and_within_writes_loses_nothing_and_repeats_nothing(tmp_path):
    # Its runs are done in the driver itself: most of the time goes into starting processes.
    text = SMALL.replace("[1, 2, 3, 4, 5]", "[1, 2, 3]")
    calm, killed = written(tmp_path, text, "calm"), written(tmp_path, text, "killed")
    run_study(load_study(calm), Here())
    path = load_study(killed).results_path
    held: set[str] = set()
    for way in ("cut", "kill"):
        size = path.stat().st_size if path.exists() else 20_000
        driver = start(killed, 1, cut_at=size + 6000 if way == "cut" else None, code=ALONE)
        if way == "kill":
            while len(finished(path)) < len(held) + 2:
                time.sleep(0.005)
            driver.kill()
        assert driver.wait(timeout=300) == (-signal.SIGKILL if way == "kill" else -signal.SIGXFSZ)
        now = finished(path)
        assert held < now
        held = now
    tally = run_study(load_study(killed), Here())
    assert (tally.before, tally.done) == (len(held), 12 - len(held))
    assert rows(killed) == rows(calm)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_study_killed_eight_times_has_the_rows_of_an_undisturbed_one(seed, tmp_path):
    calm, killed = written(tmp_path, SMALL, "calm"), written(tmp_path, SMALL, "killed")
    run_study(load_study(calm), Here())
    events = run_disturbed(killed, kills=8, seed=seed, total=20, latest_s=0.05)
    assert (events.total, events.cut_writes, events.worker, events.driver) == (8, 2, 2, 4)
    assert not events.lost
    assert rows(killed) == rows(calm)


@pytest.mark.slow
def test_a_study_of_200_runs_killed_20_times_has_the_rows_of_an_undisturbed_one(tmp_path):
    text = SMALL.replace("[1, 2, 3, 4, 5]", str(list(range(1, 51))))
    calm, killed = written(tmp_path, text, "calm"), written(tmp_path, text, "killed")
    run_study(load_study(calm), runner())
    events = run_disturbed(killed, kills=20, seed=1, total=200, latest_s=0.2)
    assert (events.total, events.cut_writes) == (20, 5)
    assert not events.lost
    assert rows(killed) == rows(calm)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_rows(tmp_path):
    pytest.importorskip("distributed", reason="the extra cluster is not installed")

    here, there = written(tmp_path, SMALL, "here"), written(tmp_path, SMALL, "there")
    run_study(load_study(here), Here())
    tally = run_study(load_study(there), DaskRunner(workers=2))
    assert (tally.done, tally.failed) == (20, 0)
    assert rows(there) == rows(here)


def test_an_outcome_can_be_a_failure_and_says_so(tmp_path):
    task = tasks_of(load_study(written(tmp_path, SMALL)))[0]
    outcome = failure(task, "because")
    assert outcome.failed
    assert outcome.row["reason"] == "because"
