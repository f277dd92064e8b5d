"""Ctrl-C and SIGTERM at any moment: a whole answer and a documented exit code, in real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mocap_opt import compare, load_instance
from mocap_opt.cli.live import call_until_signalled, terminated_like_interrupted
from mocap_opt.cli.outputs import load_progress
from mocap_opt.errors import ExitCode
from mocap_opt.questions.max_context import LengthFamily, longest_equal
from mocap_opt.questions.tradeoffs.sweep import tradeoff
from mocap_opt.replay.event import replay_event
from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan_file import load_plan
from mocap_opt.schedule.verify import violations
from mocap_opt.solving import Progress
from mocap_opt.tables import build_tables

FAMILY = Path(__file__).parent.parent / "instances" / "bench"
SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Says when signals are about to be served; before that Python itself is still starting.
ENTRY = "import sys, mocap_opt.__main__ as entry; print('ready', flush=True, file=sys.stderr); entry.run()"


# Says besides whenever its live line, which is told even where it is not shown, hears of a plan.
TELLING = """
import sys
from mocap_opt.solving.progress_display import Line
heard = Line.tell
def tell(line, news):
    if news.latency_s is not None:
        print('told of a plan', flush=True, file=sys.stderr)
    heard(line, news)
Line.tell = tell
"""


def signalled(
    arguments: list[str], number: signal.Signals, delay_s: float, before: str = ""
) -> subprocess.Popen[str]:
    """A process of the command line that has been sent a signal a while after it was ready for one."""
    process = subprocess.Popen(
        [sys.executable, "-c", before + ENTRY, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    time.sleep(0.05 + delay_s)
    process.send_signal(number)
    return process


def interrupt(name: str, number: signal.Signals, delay_s: float, folder: Path) -> None:
    """Interrupt a solve after a while, and check all that it leaves."""
    file, out, log = FAMILY / f"{name}.json", folder / "plan.json", folder / "log"
    options = ["--json", "--gap", "0", "--time-limit", "300", "--out", str(out), "--log", str(log)]
    process = signalled(["solve", str(file), *options], number, delay_s)
    answer, said = process.communicate(timeout=120)
    assert "Traceback" not in said
    assert process.returncode in (ExitCode.ANSWERED, ExitCode.NO_PLAN), said
    if log.exists() and log.read_text():
        assert log.read_text().endswith("}\n")
        load_progress(log)
    if process.returncode == ExitCode.NO_PLAN:
        assert not out.exists()
        assert "before any plan" in said if answer == "" else json.loads(answer)["latency_s"] is None
        return
    report = json.loads(answer)
    tables = build_tables(load_instance(file))
    plan = load_plan(out, tables)
    assert violations(tables, plan) == []
    assert report["boundaries"] == list(plan.boundaries)
    latency = min(replay_lockstep(tables, plan).latency, replay_event(tables, plan).latency)
    assert report["latency_s"] == tables.seconds(latency)
    assert load_progress(log)[-1].latency_s == report["latency_s"]


@pytest.mark.parametrize("seed", range(2))
def test_a_signal_at_a_random_moment_leaves_a_whole_answer(seed, tmp_path):
    rng = np.random.default_rng(seed)
    interrupt("M-unequal", SIGNALS[seed % 2], float(rng.uniform(0, 2)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_many_signals_at_random_moments(seed, tmp_path):
    rng = np.random.default_rng([7, seed])
    names = sorted(path.stem for path in FAMILY.glob("*.json"))
    interrupt(str(rng.choice(names)), SIGNALS[seed % 2], float(rng.uniform(0, 15)), tmp_path)


def test_signals_after_the_work_change_nothing():
    with terminated_like_interrupted():
        assert call_until_signalled(lambda stop: stop.is_set()) is False
        for number in (*SIGNALS, *SIGNALS):
            signal.raise_signal(number)


def test_the_second_signal_ends_the_work():
    def work(stop) -> None:
        signal.raise_signal(signal.SIGINT)
        stop.wait()
        signal.raise_signal(signal.SIGTERM)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt, match="a second signal"):
        call_until_signalled(work)


def stream_of(folder: Path) -> Path:
    """Three prompts of unlike lengths on the machine of a bench instance."""
    data = json.loads((FAMILY / "M-tight.json").read_text())
    tokens = data["workload"].pop("tokens")
    data["workload"]["requests"] = [{"tokens": tokens}, {"tokens": tokens}, {"tokens": tokens}]
    data["objective"] = "stream"
    path = folder / "stream.json"
    path.write_text(json.dumps(data))
    return path


def long_commands(folder: Path) -> dict[str, tuple[str, ...]]:
    """Commands that take minutes, each with ``--json``."""
    unequal, tight = str(FAMILY / "M-unequal.json"), str(FAMILY / "M-tight.json")
    return {
        "compare": ("compare", unequal, tight, "--methods", "uniform,mocap,joint", "--gap", "0"),
        "tradeoff": ("tradeoff", tight, "--chunks", "auto", "--time-limit", "200", "--gap", "0"),
        "curve": ("tradeoff", tight, "--objective", "period", "--time-limit", "200"),
        "longest": ("max-length", tight, "--latency-factor", "1.1", "--time-limit", "200"),
        "equal": ("max-length", unequal, "--equal-chunks", "--set", "chunking.quantum=64"),
        "period": ("solve", tight, "--set", "objective=period", "--time-limit", "200", "--gap", "0"),
        "stream": ("solve", str(stream_of(folder)), "--time-limit", "200", "--gap", "0"),
        "bound": ("bound", unequal),
    }


FOUND = {
    "compare": lambda told: [row for row in told if row["latency_s"] is not None],
    "tradeoff": lambda told: told["best"],
    "curve": lambda told: told["points"],
    "longest": lambda told: told["tokens"],
    "equal": lambda told: told["tokens"],
    "period": lambda told: told["period_s"],
    "stream": lambda told: told["makespan_s"],
    "bound": lambda told: told["bounds"],
}
"""What was found, of each command's answer."""


def stop_command(name: str, number: signal.Signals, delay_s: float, folder: Path) -> bool:
    """Stop a command after a while and check its answer; whether it had found something."""
    process = signalled([*long_commands(folder)[name], "--json"], number, delay_s, TELLING)
    answer, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert process.returncode in (ExitCode.ANSWERED, ExitCode.NO_PLAN), said
    if answer == "":
        # It had not begun: the files were being read.
        assert "interrupted before any plan was found" in said
        assert process.returncode == ExitCode.NO_PLAN
        return False
    found = bool(FOUND[name](json.loads(answer)))
    assert found or "told of a plan" not in said
    assert (process.returncode == ExitCode.ANSWERED) == (found or name == "bound")
    return found


class StopAtTheFirstPlan(threading.Event):
    """Set once a plan is told of."""

    def tell(self, news: Progress) -> None:
        if news.latency_s is not None:
            self.set()


def test_a_comparison_that_is_stopped_keeps_what_it_found_and_begins_nothing_more():
    stop = StopAtTheFirstPlan()
    instance = load_instance(FAMILY / "S-unequal.json")
    frame = compare(
        [instance], ["gpipe", "mocap", "joint", "uniform"], full=True, gap=0.0, stop=stop, callback=stop.tell
    )
    found = frame.set_index("method")
    assert found.loc["mocap", "latency_s"] > 0
    assert "not run: interrupted" in found.loc[["joint", "uniform"], "reason"].tolist()


def test_a_sweep_that_is_stopped_keeps_what_it_found():
    stop = threading.Event()
    instance = load_instance(FAMILY / "S-tight.json")
    found = tradeoff(instance, chunks=True, layouts=False, gap=0.0, tell=lambda choice: stop.set(), stop=stop)
    outcomes = [choice.outcome for choice in found.choices]
    assert outcomes[0] in ("infeasible", "solved", "no plan")
    assert set(outcomes[1:]) <= {"not reached", "infeasible", "pruned"}


def test_the_longest_prompt_on_equal_chunks_keeps_its_proved_bound_when_stopped():
    family = LengthFamily.of(load_instance("instances/gpt3-175b-watos-longest.json"))
    asked = iter([False, False, False])
    found = longest_equal(family, "joint", asked_to_stop=lambda: next(asked, True))
    assert found.upper_bound_tokens == longest_equal(family, "joint").upper_bound_tokens
    assert found.stopped_by is not None
    assert "time was up" in found.stopped_by.reason


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_many_commands_stopped_at_random_moments(seed, tmp_path):
    rng = np.random.default_rng([11, seed])
    name = sorted(FOUND)[seed % len(FOUND)]
    stop_command(name, SIGNALS[seed // len(FOUND) % 2], float(rng.uniform(0, 12)), tmp_path)
