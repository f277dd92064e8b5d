"""Pictures with matplotlib (the extra ``plots``): functions that draw on the axes they are given."""

from mocap_opt.plotting.bounds import bounds
from mocap_opt.plotting.calibration import residuals
from mocap_opt.plotting.compare import compare
from mocap_opt.plotting.figures import (
    bounds_figure,
    compare_figure,
    gantt_figure,
    memory_figure,
    mesh_figure,
    residuals_figure,
    save_figure,
)
from mocap_opt.plotting.gantt import gantt
from mocap_opt.plotting.headline import headline_figure, stages_figure
from mocap_opt.plotting.memory import memory
from mocap_opt.plotting.mesh import mesh
from mocap_opt.plotting.studies import study_figure

__all__ = [
    "bounds",
    "bounds_figure",
    "compare",
    "compare_figure",
    "gantt",
    "gantt_figure",
    "headline_figure",
    "memory",
    "memory_figure",
    "mesh",
    "mesh_figure",
    "residuals",
    "residuals_figure",
    "save_figure",
    "stages_figure",
    "study_figure",
]
