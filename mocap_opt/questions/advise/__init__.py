"""From a log of chunk times to the one setting that a serving engine has.

Forms of logs, rules and a worked example: ``formulations/advise.md``.
"""

from mocap_opt.questions.advise.engines import ENGINES, Engine
from mocap_opt.questions.advise.result import Advice, Tried
from mocap_opt.questions.advise.search import advise

__all__ = ["ENGINES", "Advice", "Engine", "Tried", "advise"]
