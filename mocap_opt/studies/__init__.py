"""Studies: many runs, done once each, whatever happens meanwhile.

>>> from mocap_opt import studies
>>> file = studies.load_study("instances/studies/tiny.toml")
>>> len(studies.tasks_of(file))
96

`run_study` does all that are not yet done, with a `LocalRunner` or a `DaskRunner`; `results` reads them as a
DataFrame.
"""

from mocap_opt.studies.cluster import DaskRunner
from mocap_opt.studies.driver import Runner, Tally, run_study
from mocap_opt.studies.frames import results, write_frame
from mocap_opt.studies.runners import LocalRunner, available_cores
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
