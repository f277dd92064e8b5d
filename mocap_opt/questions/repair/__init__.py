"""After a fault: what a layout and a plan lose, and the best layout for what is left.

Mathematics: ``formulations/layouts.md``, section Repair.
"""

from mocap_opt.questions.repair.losses import StageLoss, losses
from mocap_opt.questions.repair.search import SEARCH, Repair, repair

__all__ = ["SEARCH", "Repair", "StageLoss", "losses", "repair"]
