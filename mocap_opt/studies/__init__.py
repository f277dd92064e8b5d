"""Studies: many runs, done once each, whatever happens meanwhile.

>>> from mocap_opt import studies
>>> file = studies.load_study("instances/studies/tiny.toml")  # doctest: +SKIP
>>> studies.run_study(file, studies.LocalRunner(2, grace_s=30, retries=3))  # doctest: +SKIP
>>> frame = studies.results("instances/studies/tiny.toml")  # doctest: +SKIP
"""

from mocap_opt.studies.driver import Runner, Tally, run_study
from mocap_opt.studies.frames import results, write_frame
from mocap_opt.studies.runners import DaskRunner, LocalRunner, available_cores
from mocap_opt.studies.schema import Study, StudyFile, load_study
from mocap_opt.studies.tasks import Settings, Task, tasks_of

__all__ = [
    "DaskRunner",
    "LocalRunner",
    "Runner",
    "Settings",
    "Study",
    "StudyFile",
    "Tally",
    "Task",
    "available_cores",
    "load_study",
    "results",
    "run_study",
    "tasks_of",
    "write_frame",
]
