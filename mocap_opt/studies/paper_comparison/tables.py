"""The headline study in words: Markdown tables made from its rows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocap_opt.studies.paper_comparison import ratios
from mocap_opt.studies.paper_comparison.family import METHODS
from mocap_opt.studies.tables import markdown
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

DASH = "-"

ASSUMPTIONS = (
    "Wafers, models, lengths, stages and chunk counts are this project's choice; the paper's are not public.",
    "`gpipe` takes a whole request as one micro-batch; requests follow each other through the stages.",
    "`mocap` is the natural reading of the paper's text: its thresholds are not public.",
    "Times are a roofline at half the peak rate, with 50 us per chunk and short chunks inefficient.",
    "Queues are two chunks deep, so memory is kept for four of the longest chunk's activations; that is "
    "why one whole request as a chunk often does not fit.",
    "The paper does not say how many requests its throughput is over; here they are 2, 5, 10 and without "
    "end.  A heuristic repeats its plan for one request.",
    "The longest prompt is compared on equal chunks, as many as stages and twice as many, where TeraPipe "
    "keeps all KV at home; and under 1.1 times the latency `mocap` would have with memory unlimited.",
)
"""What the published figures leave open and had to be decided."""


def _times(value: float) -> str:
    return DASH if value != value else f"{value:.2f}x"


def ratio_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Means and best cases beside the paper's, as text; ``no method above`` follows from the bounds."""
    import pandas as pd  # noqa: PLC0415 - slow to load

    shown = [*ratios.OTHERS, "bound"]
    means, best = ratios.means(frame), ratios.best_cases(frame)
    reductions = ratios.mean_reductions(frame)
    rows: dict[str, list[str]] = {}

    def add(name: str, paper: str, values: list[str], question: str) -> None:
        rows[name] = [paper, *values, str(means.loc[question, "instances"])]

    for question in means.index:
        mean = [_times(means.loc[question, name]) for name in shown]
        top = [_times(best.loc[question, name]) for name in shown]
        if question == "latency":
            paper = f"{format_percent(ratios.PUBLISHED_REDUCTION, 1)} mean"
            add(
                "latency, mean reduction",
                paper,
                [format_percent(reductions[name], 1) for name in shown],
                question,
            )
            add("latency, mean", f"{ratios.PUBLISHED_SPEED_UP}x mean", mean, question)
        else:
            paper = DASH if question.startswith("longest") else f"{ratios.PUBLISHED_THROUGHPUT}x mean"
            add(f"{question}, mean", paper, mean, question)
        paper = f"{ratios.PUBLISHED_LENGTH}x best" if question.startswith("longest") else DASH
        add(f"{question}, best", paper, top, question)
    columns = ["paper", *ratios.OTHERS, "no method above", "instances"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index.name = "ratio"
    return table


def plan_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Instances without a plan, what joint adds to `mocap`, and its gaps, as text."""
    found = ratios.plans(frame)
    text = found[["instances"]].astype(str)
    for name in METHODS:
        text[f"no {name}"] = found[name].astype(str)
    text["infeasible"] = found["infeasible"].astype(str)
    text["joint over mocap, mean"] = found["over_mocap"].map(_ratio)
    text["best"] = found["best_over_mocap"].map(_ratio)
    text["joint's gap, mean"] = found["mean_gap"].map(format_percent)
    text["worst"] = found["worst_gap"].map(format_percent)
    text.index.name = "question"
    return text


def _ratio(value: float) -> str:
    return DASH if value != value else f"{value:.3f}x"


def stage_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean ratios of joint over `gpipe` by number of stages, as text."""
    found = ratios.by_stages(frame, METHODS[-1])
    times = [name for name in found.columns if not name.startswith("longest")]
    text = found[times].map(_times)
    text.index = text.index.map(str)
    text.index.name = "stages"
    return text


def report(frame: pd.DataFrame) -> str:
    """All three tables in Markdown, each with a line that says what it holds, and the assumptions."""
    return "\n".join(
        [
            "Ratios over `gpipe` (lengths: over `terapipe`), where every method but it has one:\n",
            markdown(ratio_table(frame)),
            "Instances without a plan by method, and joint against `mocap` wherever both have one:\n",
            markdown(plan_table(frame)),
            "Mean ratios of joint over `gpipe` by number of stages:\n",
            markdown(stage_table(frame)),
            "Assumed:\n",
            "".join(f"- {assumption}\n" for assumption in ASSUMPTIONS),
        ]
    )
