"""Chunk times from logs: of serving engines, of profilers, and plain tables; one reader for each form.

Forms, their sources and what each does not say: ``formulations/advise.md``.
"""

from mocap_opt.calibration.logs.log import Asked, Law, Log
from mocap_opt.calibration.logs.registry import LOG_FORMS, LogForm, read_log

__all__ = ["LOG_FORMS", "Asked", "Law", "Log", "LogForm", "read_log"]
