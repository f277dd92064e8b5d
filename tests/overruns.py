"""By how much solves exceed their time limit: ``python tests/overruns.py --limits 1,2,5,10 --sizes L,XL``.

Every instance of the benchmark family under every limit, each in a process of its own.  The time of a solve
counts from before the tables are built; the limit is kept if it is exceeded by at most 5 % + 2 s.  Exit code
1 if a limit was not kept.  Other work on the machine lengthens what cannot be interrupted.
"""

from __future__ import annotations

import argparse
import sys

from mocap_opt.instance import Instance
from mocap_opt.studies.bench.family import SIZES, make, names
from mocap_opt.studies.bench.run import BenchSettings, one_by_one
from mocap_opt.studies.tasks import Task

VARIANTS = ("slack", "tight", "tighter", "links", "unequal", "prefix")


def allowed(limit_s: float) -> float:
    """How long a solve may take, seconds."""
    return 1.05 * limit_s + 2.0


def main() -> int:
    """Measure, print a table in seconds, and say whether all limits were kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limits", default="1,2,5,10")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--method", default="auto")
    arguments = parser.parse_args()
    limits = [float(limit) for limit in arguments.limits.split(",")]
    print(f"{'limit, s':12s}" + "".join(f"{limit:>16g}" for limit in limits), flush=True)
    late = 0
    for name in names(arguments.sizes.split(","), VARIANTS):
        cells = []
        for limit in limits:
            asked = BenchSettings().ask(arguments.method, "best", limit)
            task = Task.of("latency", Instance.from_dict(make(name, 0)), asked)
            (done,) = one_by_one(9 * limit + 60).run([task])
            if done.failed:
                cells.append("failed")
                late += 1
                continue
            report = done.row
            gap = "no plan" if report["latency_s"] is None else f"{100 * (report['gap'] or 0.0):.2f} %"
            over = report["runtime_s"] > allowed(limit)
            late += over
            cells.append(f"{report['runtime_s']:.2f}{'!' if over else ''} {gap}")
        print(f"{name:12s}" + "".join(f"{cell:>16s}" for cell in cells), flush=True)
    print(f"{late} over 1.05 x limit + 2 s")
    return int(late > 0)


if __name__ == "__main__":
    sys.exit(main())
