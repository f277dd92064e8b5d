"""Running a study while its processes are killed, some of them in the middle of a write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mocap_opt.errors import InputError
from mocap_opt.studies import load_study, results
from mocap_opt.studies.frames import TIMING
from mocap_opt.studies.store import read_outcomes

PLAIN = "from mocap_opt.cli import main; import sys; main(['study', *sys.argv[2:]])"
# The system ends the driver inside write(2) at the first byte beyond the limit: a torn write.
CUT = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""
# Runs done in the driver, without worker processes.
ALONE = """
import sys
from mocap_opt.studies import load_study, run_study
from mocap_opt.studies.execution import perform
class Here:
    def run(self, tasks):
        return (perform(task) for task in tasks)
run_study(load_study(sys.argv[2]), Here())
"""


@dataclass
class Events:
    """What was done to a study."""

    driver: int = 0
    worker: int = 0
    cut_writes: int = 0
    lost: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return self.driver + self.worker + self.cut_writes


def finished(path: Path) -> set[str]:
    try:
        return {outcome.key for outcome in read_outcomes(path)}
    except InputError:
        return set()


def workers_of(driver: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == driver and b"studies.worker" in line:
                found.append(int(entry.name))
    return found


def start(
    study: Path, cores: int, *, cut_at: int | None = None, code: str = PLAIN
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code if cut_at is None else CUT + code, str(cut_at), str(study)]
    return subprocess.Popen([*command, "--cores", str(cores)], stdout=subprocess.DEVNULL)


def run_disturbed(
    study: Path, *, kills: int, seed: int, total: int, latest_s: float, cores: int = 2
) -> Events:
    """Run a study to its end, `kills` times disturbed, at points spread over its runs."""
    rng = np.random.default_rng(seed)
    path = load_study(study).results_path
    events = Events()
    known: set[str] = set()
    # One in four a torn write, the others kills of a worker or the driver, in random order.
    kinds = rng.permutation([("cut", "worker", "driver", "driver")[i % 4] for i in range(kills)])
    driver: subprocess.Popen[bytes] | None = None
    for index, kind in enumerate(kinds):
        if kind == "cut":
            if driver is not None:
                driver.kill()
                driver.wait()
            # Small enough that the runs left must go beyond it.
            size = path.stat().st_size if path.exists() else 0
            driver = start(study, cores, cut_at=size + int(rng.integers(1, 4096)))
            assert driver.wait(timeout=300) == -signal.SIGXFSZ
            events.cut_writes += 1
            driver = None
        else:
            driver = driver or start(study, cores)
            wanted = (index + int(rng.integers(0, 2))) * total // (kills + 1)
            while len(finished(path)) < wanted or not workers_of(driver.pid):
                assert driver.poll() is None, "the study ended before it was disturbed"
                time.sleep(0.02)
            time.sleep(rng.uniform(0, latest_s))
            victims = workers_of(driver.pid) if kind == "worker" else [driver.pid]
            os.kill(int(rng.choice(victims)), signal.SIGKILL)
            if kind == "driver":
                driver.wait()
                driver = None
            setattr(events, kind, getattr(events, kind) + 1)
        now = finished(path)
        events.lost |= known - now
        known |= now
    driver = driver or start(study, cores)
    assert driver.wait(timeout=1800) == 0
    return events


def rows(study: Path) -> list[dict[str, str]]:
    """Every row as text, columns of wall time aside."""
    frame = results(study).drop(columns=list(TIMING)).astype(str)
    return [{str(k): v for k, v in record.items()} for record in frame.to_dict("records")]
