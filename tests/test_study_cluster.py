"""Studies on Dask: workers that die, memory limits, and how many runs a scheduler holds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from dask_processes import cluster
from study_chaos import finished, rows

from mocap_opt.studies import DaskRunner, load_study, run_study, tasks_of
from mocap_opt.studies.execution import FAILED, Outcome, failure, perform
from mocap_opt.studies.store import ResultsStore, StoreError, read_outcomes

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")

from mocap_opt.studies import cluster as dask_runs  # noqa: E402 - needs the extra

INSTANCES = Path(__file__).parent.parent / "instances"


def written(folder: Path, name: str, batches: int, settings: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(
        f"""
methods = ["uniform", "mocap"]
{settings}
[[instances]]
files = ["{INSTANCES}/tiny-slack.json"]
[instances.grid]
"workload.batch" = {list(range(1, batches + 1))}
""",
        encoding="utf-8",
    )
    return path


class Here:
    """Does tasks in this process."""

    def run(self, tasks):
        for task in tasks:
            yield perform(task)


@pytest.fixture
def small():
    """A scheduler and one worker in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp"
    ) as made:
        yield made


def test_a_scheduler_holds_a_window_of_the_runs_and_the_rows_are_those_of_this_process(
    small, tmp_path, monkeypatch
):
    here, there = written(tmp_path, "here", 12), written(tmp_path, "there", 12)
    run_study(load_study(here), Here())
    most = 0
    told: list[int] = []
    plain = dask_runs._Window._fill

    def fill(window):
        nonlocal most
        plain(window)
        most = max(most, len(window.held), len(small.scheduler.tasks))

    monkeypatch.setattr(dask_runs._Window, "_fill", fill)
    runner = DaskRunner(scheduler=small.scheduler_address)
    tally = run_study(load_study(there), runner, listener=lambda tally: told.append(tally.done))
    assert (tally.done, tally.failed) == (24, 0)
    assert told == sorted(set(told))
    assert rows(there) == rows(here)
    # Runs that ended may be there a moment longer.
    assert dask_runs.LEAST_WINDOW <= most <= 2 * dask_runs.LEAST_WINDOW < 24


class Future:
    """What a scheduler says of a run whose workers died."""

    def __init__(self, key):
        self.key, self.status = key, "error"

    def exception(self):
        last_worker = SimpleNamespace(address="tcp://127.0.0.1:1")
        return distributed.scheduler.KilledWorker(self.key, last_worker, 1)


class Client:
    """Notes what is asked."""

    loop = None

    def __init__(self):
        self.asked: list[str] = []

    def submit(self, work, data, *, key, **options):
        self.asked.append(key)
        return Future(key)


def test_a_run_that_only_waited_on_workers_that_died_is_asked_for_again(tmp_path, monkeypatch):
    task = tasks_of(load_study(written(tmp_path, "study", 1)))[0]
    monkeypatch.setattr(distributed, "as_completed", lambda *given, **options: set())
    client = Client()
    window = dask_runs._Window(client, [task], 1, retries=1)
    window._ask(task, 0)
    # It never began: asked for again, but not without end.
    for count in range(1, 3):
        assert window._outcome(Future(client.asked[-1]), None) is None
        assert len(client.asked) == len(set(client.asked)) == count + 1
    assert (
        "its worker died, at last tcp://127.0.0.1:1"
        in window._outcome(Future(client.asked[-1]), None).row["reason"]
    )
    # It began twice, which is all its attempts.
    window._ask(task, 0)
    window.began[task.key] = 2
    lost = window._outcome(Future(client.asked[-1]), None)
    assert lost.row["outcome"] == FAILED
    assert "its worker died in each of 2 attempts" in lost.row["reason"]


def test_runs_are_added_together_or_not_at_all(tmp_path):
    tasks = tasks_of(load_study(written(tmp_path, "study", 2)))
    first, second, third = (failure(task, "because") for task in tasks[:3])
    with ResultsStore(tmp_path / "r.sqlite") as store:
        store.append(first)
        with pytest.raises(StoreError, match="could not be added"):
            store.append(second, first)
        assert store.keys() == {first.key}
        store.append(second, third)
    assert [outcome.key for outcome in read_outcomes(tmp_path / "r.sqlite")] == [
        outcome.key for outcome in (first, second, third)
    ]


def start(study: Path, address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mocap_opt", "study", str(study), "--scheduler", address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_no_row(tmp_path):
    calm, killed = written(tmp_path, "calm", 20), written(tmp_path, "killed", 20)
    run_study(load_study(calm), Here())
    with cluster(tmp_path, lasts_s=0.3) as made:
        first, _ = made.worker(), made.worker()
        driver = start(killed, made.address)
        path = load_study(killed).results_path
        while len(finished(path)) < 12:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.02)
        made.kill(first)
        made.worker()
        said, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, said.decode() + made.said()
        began = Counter(made.attempts())
    outcomes: list[Outcome] = read_outcomes(path)
    assert len({outcome.key for outcome in outcomes}) == len(outcomes) == 40
    assert not any(outcome.failed for outcome in outcomes)
    assert rows(killed) == rows(calm)
    # At most the run that the worker died in was begun twice.
    assert set(began) == {outcome.key for outcome in outcomes}
    assert sum(began.values()) <= 41


@pytest.mark.slow
def test_a_run_over_the_memory_limit_is_tried_again_and_fails_alone(tmp_path):
    calm, greedy = (written(tmp_path, name, 10, "retries = 1") for name in ("calm", "greedy"))
    run_study(load_study(calm), Here())
    with cluster(tmp_path, lasts_s=0.05, greedy=(3,)) as made:
        made.worker("500MB")
        made.worker("500MB")
        driver = start(greedy, made.address)
        said, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, said.decode() + made.said()
        began = Counter(made.attempts())
    outcomes = {outcome.key: outcome for outcome in read_outcomes(load_study(greedy).results_path)}
    failed = [outcome for outcome in outcomes.values() if outcome.failed]
    assert len(outcomes) == 20
    assert [outcome.row["variant"] for outcome in failed] == [{"workload.batch": 3}] * 2
    for outcome in failed:
        assert f"died in each of {began[outcome.key]} attempts" in outcome.row["reason"]
        assert began[outcome.key] >= 2
    kept = [row for row in rows(calm) if row["workload.batch"] != "3"]
    text = [str(row["latency_s"]) for row in rows(greedy) if row["outcome"] != FAILED]
    assert text == [row["latency_s"] for row in kept]
