"""Pictures with matplotlib (the extra ``plots``): functions that draw on the axes they are given."""

from mocap_opt.pictures.plots.charts import bounds, compare, residuals
from mocap_opt.pictures.plots.execution import gantt, memory
from mocap_opt.pictures.plots.figures import (
    bounds_figure,
    compare_figure,
    form_figure,
    gantt_figure,
    memory_figure,
    mesh_figure,
    repair_figure,
    residuals_figure,
    save_figure,
)
from mocap_opt.pictures.plots.forms import fitted_times, residual_map
from mocap_opt.pictures.plots.mesh import mesh
from mocap_opt.pictures.plots.studies import paper_comparison_figure, stages_figure, study_figure
from mocap_opt.pictures.plots.tradeoff import tradeoff, tradeoff_figure

__all__ = [
    "bounds",
    "bounds_figure",
    "compare",
    "compare_figure",
    "fitted_times",
    "form_figure",
    "gantt",
    "gantt_figure",
    "memory",
    "memory_figure",
    "mesh",
    "mesh_figure",
    "paper_comparison_figure",
    "repair_figure",
    "residual_map",
    "residuals",
    "residuals_figure",
    "save_figure",
    "stages_figure",
    "study_figure",
    "tradeoff",
    "tradeoff_figure",
]
