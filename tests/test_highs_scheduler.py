"""Others may run HiGHS in this process, before or between our runs, with other threads than ours."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import highspy
import mocap_opt

instance = mocap_opt.load_instance("instances/tiny-pooled.json")
for _ in range(2):
    highspy.Highs.resetGlobalScheduler(True)
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 2)
    x = other.addVariable(lb=0, ub=4, type=highspy.HighsVarType.kInteger)
    other.maximize(x)
    print(mocap_opt.solve(instance, "plain-highs", execution="lockstep").report.status.value)
"""


def test_ours_runs_after_others_with_more_threads(request) -> None:
    run = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(run, capture_output=True, text=True, cwd=request.config.rootpath, check=False)
    assert done.stdout.split() == ["optimal", "optimal"], done.stderr
