"""What each step of a solve took of its share, and what gaps are left: ``python tests/step_shares.py``.

Solves the instances S and M of the benchmark family, one whose hub has narrow links, and twenty random
ones with measured, non-monotone times (`random_measured`) under several time limits, each in a process of
its own.  A table says for each instance the gap at each limit, the step that exceeded its share the most,
and how many steps got no time.  Marked are

- ``!`` a step that took more than its share by over 5 % and `LATE_S` seconds,
- ``late`` an open gap whose programs, if any were planned, were given less than the part of the limit
  that `mocap_opt.solving.steps.RESERVED` keeps for them, but for `LATE_S`,
- ``stuck`` a gap that a longer limit left as it was although steps had been skipped for want of time.

Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from random_measured import hub_instance, measured_instance

from mocap_opt.solving.search_state import PROGRAM_STEPS
from mocap_opt.solving.steps import RESERVED
from mocap_opt.studies.bench.family import SIZES, VARIANTS, make, names

LATE_S = 1.0
"""What a step may exceed its share by: the last question of a solver or a large linear program."""

CLOSED = 1e-4
"""A gap that counts as none."""


def instances(random: int) -> dict[str, dict[str, Any]]:
    """What is solved, by name."""
    found = {name: make(name) for name in names(tuple(size for size in SIZES if size in "SM"), VARIANTS)}
    hub = hub_instance()
    found[hub["name"]] = hub
    for seed in range(random):
        data = measured_instance(seed)
        found[data["name"]] = data
    return found


def solved(path: Path, limit: float) -> dict[str, Any]:
    """The report of a solve under a limit."""
    command = [
        sys.executable,
        "-m",
        "mocap_opt.cli",
        "solve",
        str(path),
        "--time-limit",
        str(limit),
        "--json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 3, 4):
        raise RuntimeError(run.stderr[-500:])
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def latest(report: dict[str, Any]) -> tuple[float, str]:
    """By how many seconds a step exceeded its share at most, and which."""
    late = [
        (step["cost_s"] - step["allowed_s"], step["step"])
        for step in report["steps"]
        if step["allowed_s"] is not None
    ]
    return max(late, default=(0.0, ""))


def starved(report: dict[str, Any]) -> list[str]:
    """Steps that did not run because time was up."""
    return [step["step"] for step in report["steps"] if step["skipped"] == "time was up"]


def late(report: dict[str, Any], limit: float) -> bool:
    """Whether planned programs came too late."""
    runs = [step for step in report["steps"] if step["step"] in PROGRAM_STEPS.values()]
    given = [step["allowed_s"] or 0.0 for step in runs if step["runs"] or step["skipped"] == "time was up"]
    return bool(given) and sum(given) < RESERVED * limit - LATE_S


def main() -> int:
    """Measure, print the table, and say whether every share was kept and no gap was stuck."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limits", default="5,10,20")
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    limits = sorted(float(limit) for limit in arguments.limits.split(","))
    print("instance      " + "".join(f"{f'{limit:g} s: gap, latest step, skipped':>46}" for limit in limits))
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, data in instances(arguments.random).items():
            if arguments.only not in name:
                continue
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(data))
            cells, before = [], None
            for limit in limits:
                report = solved(path, limit)
                (excess, step), skipped = latest(report), starved(report)
                gap = report["gap"]
                behind = late(report, limit) and (gap is None or gap > CLOSED)
                over = excess > LATE_S + 0.05 * limit
                stuck = (
                    before is not None and gap is not None and gap > CLOSED and before[1] and gap >= before[0]
                )
                wrong += over + bool(stuck) + behind
                text = "no plan" if gap is None else f"{100 * gap:.3f} %"
                marks = f"{'!' * over} {len(skipped)}{' stuck' * bool(stuck)}{' late' * behind}"
                cells.append(f"{text} {excess:+.2f} {step}{marks}")
                before = (1.0 if gap is None else gap, skipped)
            print(f"{name:14}" + "".join(f"{cell:>46}" for cell in cells), flush=True)
    print(f"{wrong} shares exceeded or gaps stuck")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
