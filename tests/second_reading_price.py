"""What the second reading of HiGHS's claims costs on the benchmark family.

    python tests/second_reading_price.py --size S --method joint --time-limit 60

Each instance is solved for its static schedule with HiGHS.  A row says how that ended, what confirmed the
claims of its programs, and the seconds of CPU of the whole solve and of the second readings among them.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from unittest import mock

from mocap_opt import solve
from mocap_opt.instance import Instance
from mocap_opt.solvers import highs
from mocap_opt.studies.bench.family import make, names


def price(name: str, method: str, time_limit_s: float) -> tuple[Any, float, float]:
    """Report, CPU seconds of the solve, and of second readings among them."""
    spent, read_again = 0.0, highs._read_again

    def timed(*arguments: Any) -> highs.Reading:
        nonlocal spent
        began = time.process_time()
        try:
            return read_again(*arguments)
        finally:
            spent += time.process_time() - began

    began = time.process_time()
    with mock.patch.object(highs, "_read_again", timed):
        solution = solve(
            Instance.from_dict(make(name, 0)),
            method,
            execution="lockstep",
            solver="auto" if method == "plain-highs" else "highs",
            time_limit_s=time_limit_s,
        )
    return solution.report, time.process_time() - began, spent


def main() -> None:
    """Print a row for every instance of a size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="S")
    parser.add_argument("--method", default="joint", choices=("joint", "plain-highs"))
    parser.add_argument("--time-limit", type=float, default=60.0)
    options = parser.parse_args()
    print("instance   status       CPU, s  second readings, s  confirmed by")
    for name in names((options.size,)):
        report, cpu_s, second_s = price(name, options.method, options.time_limit)
        confirmed = ", ".join(run.confirmed_by or "-" for run in report.programs)
        print(f"{name:10} {report.status.value:11} {cpu_s:7.2f} {second_s:18.2f}  {confirmed}", flush=True)


if __name__ == "__main__":
    main()
