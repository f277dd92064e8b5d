"""The event-driven replay against SimGrid, which reads nothing but the exported file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from random_plans import random_plan
from random_pools import with_random_pools
from random_tables import TINY_TRIPLE, Size, random_tables
from test_event_twin import heavier

import mocap_opt
from mocap_opt.cli.main import main
from mocap_opt.replay.event import run_event
from mocap_opt.replay.replay_file import replay_to_dict, save_replay
from mocap_opt.schedule.schedule import Schedule, first_requests, identical_requests
from mocap_opt.schedule.verify import schedule_violations

HERE = Path(__file__).parent
INSTANCES = HERE.parent / "instances"
SMALL = Size(stages=(3, 5), steps=(4, 9), max_chunks=(3, 6))
AGREE = 1e-9

GIVEN = {
    "contention": ("bench/S-links.json", ()),
    "detour": ("tiny-detour.json", ()),
    "pooled": ("tiny-pooled.json", ()),
    "prefix": ("llama-3.1-70b-watos-prefix.json", ()),
    "unlike stages": ("llama-3.1-70b-watos-uneven.json", ()),
    "dead dies": ("gpt3-175b-watos-dead-dies.json", ()),
    "memory-only dies": ("gpt3-175b-watos-heads.json", ()),
    "overlap": ("bench/S-links.json", ("overlap=0.5",)),
    "unbounded queues": ("gpt3-175b-watos-tight.json", ("pipeline.queue_depth=unbounded",)),
    "queues of one": ("gpt3-175b-watos-tight.json", ("pipeline.queue_depth=1",)),
    "torus": ("gpt3-175b-watos-tight.json", ("wafer.topology=torus",)),
    "measured": ("llama-3.1-70b-pjlab-measured.json", ()),
    "spare dies": ("gpt3-175b-watos-dead-dies.json", ("pipeline.spare_dies=memory",)),
    "stream": (
        "tiny-slack.json",
        ('workload.requests=[{"tokens": 4}, {"tokens": 3, "release": "20 us"}, {"tokens": 2}]',),
    ),
    "period": ("gpt3-175b-watos-slack.json", ("objective=period",)),
    "decode loop": ("tiny-slack.json", ("decode.loop=true",)),
}
"""Features with instances that have them."""

RANDOM = 14


@cache
def simgrid() -> str | None:
    """A Python that has SimGrid: this one, or the system's."""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin") or ""):
        if python and subprocess.run([python, "-c", "import simgrid"], capture_output=True).returncode == 0:
            return python
    return None


needs_simgrid = pytest.mark.skipif("simgrid() is None", reason="SimGrid (python3-simgrid) is not installed")


def foreign(data: dict, folder: Path, link_factor: float = 1.0) -> dict:
    save_replay(folder / "replay.json", data)
    command = [simgrid(), HERE / "simgrid_replay.py", folder / "replay.json", str(link_factor)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def largest_difference(data: dict, found: dict) -> float:
    """Of all starts and ends, as a part of the latency."""
    ours, theirs = (np.array([each["start"], each["end"]], dtype=float) for each in (data["expected"], found))
    return float(np.abs(ours - theirs).max() / ours.max())


def given(name: str) -> dict:
    file, overrides = GIVEN[name]
    instance = mocap_opt.load_instance(INSTANCES / file, overrides)
    solution = mocap_opt.solve(instance, "auto" if file.startswith("tiny") else "search-greedy")
    return replay_to_dict(first_requests(solution.schedule), instance.name, instance.fingerprint)


FAST = {"contention", "detour", "overlap", "unbounded queues", "stream", "decode loop", "memory-only dies"}


@needs_simgrid
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in GIVEN]
)
def test_simgrid_times_every_chunk_as_the_replay_does(name, tmp_path):
    data = given(name)
    assert largest_difference(data, foreign(data, tmp_path)) < AGREE


def random_schedule(seed: int) -> Schedule:
    """Of a random plan with scattered homes, heavy messages, and now and then several requests."""
    rng = np.random.default_rng([7, seed])
    while True:
        tables = random_tables(rng, [TINY_TRIPLE, SMALL][seed % 2])
        tables = heavier(tables, int(rng.choice([20, 100, 400])))
        tables = replace(tables, overlap=Fraction(int(rng.integers(0, 5)), 4))
        if seed % 3 == 0:
            tables = with_random_pools(rng, tables)
        plan = random_plan(tables, rng, scatter=0.6)
        if plan is None:
            continue
        schedule = Schedule.of(tables, plan)
        if seed % 4 == 3:
            schedule = identical_requests(tables, plan, 3, plan.chunks + tables.stages)
        # Several requests keep more activations than one.
        if not schedule_violations(schedule):
            return schedule


@needs_simgrid
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed < 5 else pytest.mark.slow) for seed in range(RANDOM)]
)
def test_simgrid_agrees_on_random_plans(seed, tmp_path):
    data = replay_to_dict(random_schedule(seed), "random", None)
    assert largest_difference(data, foreign(data, tmp_path)) < AGREE


def test_random_plans_share_links_and_ports_and_wait_for_them():
    # Or agreeing on them would say little.
    replays = [run_event(random_schedule(seed)) for seed in range(RANDOM)]
    assert sum(any(account.kv_total for account in replay.accounts) for replay in replays) >= RANDOM // 3


@needs_simgrid
def test_links_one_percent_faster_are_noticed(tmp_path):
    data = given("contention")
    assert largest_difference(data, foreign(data, tmp_path, 1.01)) > 1e-4


def test_a_plan_is_exported_by_the_command(tmp_path, capsys):
    instance, plan, out = INSTANCES / "tiny-pooled.json", tmp_path / "plan.json", tmp_path / "replay.json"
    solution = mocap_opt.solve(mocap_opt.load_instance(instance))
    solution.save(plan)
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(instance), str(plan), "--to", str(out)])
    assert "replay of tiny-pooled, 2 stages x 2 chunks" in capsys.readouterr().out
    data = json.loads(out.read_text(encoding="utf-8"))
    assert data == replay_to_dict(solution.schedule, "tiny-pooled", solution.report.fingerprint)
    assert data["expected"]["end"][-1][-1] * float(Fraction(data["tick_s"])) == pytest.approx(
        solution.report.event_latency_s
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--to", "replay.json"],
            "PLAN: expected the plan whose replay is written to a .json file, got none",
        ),
        (["PLAN", "--to", "model.mps"], "--to: expected a name that ends in .json for the replay of a PLAN"),
        (["PLAN", "--to", "r.json", "--program", "joint"], "--program: expected no such option with a PLAN"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = tmp_path / "plan.json"
    mocap_opt.solve(mocap_opt.load_instance(INSTANCES / "tiny-pooled.json")).save(plan)
    given = [str(plan) if each == "PLAN" else each for each in arguments]
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(INSTANCES / "tiny-pooled.json"), *given])
    assert said in capsys.readouterr().err
