"""The comparison with the paper in figures: ratios, their means, who has no plan; as Markdown tables.

A time's ratio is that of `gpipe` over the method's, a length's is the method's over that of `terapipe`;
more is better.  Means of ratios are geometric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mocap_opt.solvers.outcome import Status
from mocap_opt.studies.frames import markdown
from mocap_opt.studies.paper_comparison.family import METHODS
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_REDUCTION = 0.764
PUBLISHED_SPEED_UP = 4.24
PUBLISHED_THROUGHPUT = 3.24
PUBLISHED_LENGTH = 1.31
"""The paper's: latency and throughput against GPipe on average, length against TeraPipe at best."""

OTHERS = METHODS[1:]
"""The methods that have a ratio of their own."""


def label(quantity: str, requests: int | None) -> str:
    """A question in words.

    Parameters
    ----------
    quantity : str
        One of `mocap_opt.studies.paper_comparison.frame.QUANTITIES`.
    requests : int or None
        Of a finite run.
    """
    if quantity == "run":
        return f"throughput, {requests} requests"
    names = {
        "latency": "latency",
        "period": "throughput, without end",
        "equal-length": "longest prompt, equal chunks",
        "limited-length": "longest prompt, limited latency",
    }
    return names[quantity]


def values(frame: pd.DataFrame) -> pd.DataFrame:
    """Values by question (rows: label, instance, stages) and method, with the bound as a last column.

    NaN where a method has no plan.
    """
    keyed = frame.assign(question=_questions(frame))
    order = sorted(keyed["question"].unique(), key=_rank)
    index = ["question", "instance", "stages"]
    table = keyed.pivot(index=index, columns="method", values="value").reindex(columns=list(METHODS))
    table["bound"] = keyed.groupby(index)["bound"].first()
    return table.sort_index(level="question", key=lambda level: level.map(order.index), sort_remaining=False)


def _rank(question: str) -> tuple[int, int]:
    """Latency, finite runs by length, without end, lengths."""
    digits = "".join(filter(str.isdigit, question))
    kinds = ("latency", "throughput, ", "longest prompt, equal", "longest")
    kind = next(n for n, start in enumerate(kinds) if question.startswith(start))
    return kind, int(digits or 10**9)


def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """Ratios by question and method; ``bound`` is the ratio that no method can exceed.

    NaN where the method, or the one it is compared with, has no plan.
    """
    table = values(frame)
    longest = _longest(table)
    found = table.rdiv(table["gpipe"], axis=0)
    found.loc[longest] = table[longest].div(table["terapipe"][longest], axis=0)
    return found


def common(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in which every method of `OTHERS` has a ratio, so that means are over the same instances."""
    kept: pd.DataFrame = table.dropna(subset=list(OTHERS))
    return kept


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """Whether no ratio is missing, by question and method."""
    found: pd.DataFrame = table.notna().groupby(level="question", sort=False).all()
    return found


def means(frame: pd.DataFrame) -> pd.DataFrame:
    """Geometric means by question and method, over `common` instances, whose number is ``instances``.

    NaN where one of them has no ratio (``gpipe``, ``bound``).
    """
    table = common(ratios(frame))
    grouped = table.transform(np.log).groupby(level="question", sort=False)
    found = grouped.mean().transform(np.exp)[_complete(table)]
    found.insert(0, "instances", grouped.size())
    return found


def best_cases(frame: pd.DataFrame) -> pd.DataFrame:
    """Greatest ratios by question and method, over `common` instances."""
    table = common(ratios(frame))
    return table.groupby(level="question", sort=False).max()[_complete(table)]


def mean_reductions(frame: pd.DataFrame) -> pd.Series[float]:
    """Mean of 1 - latency / that of `gpipe` by method, over `common` instances: the paper's measure."""
    table = common(ratios(frame))
    latency = table[table.index.get_level_values("question") == "latency"]
    found: pd.Series[float] = (1 - 1 / latency).mean()
    return found


def by_stages(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """Geometric means of a method's ratios by number of stages and question, over `common` instances.

    Parameters
    ----------
    frame : DataFrame
    method : str
        One of `OTHERS`.
    """
    table = common(ratios(frame))[[method]]
    order = list(dict.fromkeys(table.index.get_level_values("question")))
    logarithms = table.transform(np.log).groupby(level=["stages", "question"]).mean()
    found: pd.DataFrame = logarithms[method].unstack().apply(np.exp)
    return found.reindex(columns=order).sort_index()


def plans(frame: pd.DataFrame) -> pd.DataFrame:
    """Who has no plan, and what the joint method adds to `mocap`, by question.

    Returns
    -------
    DataFrame
        ``instances``; by method, the number of instances it has no plan for; ``infeasible``: those on
        which no method can have one, proved; ``over_mocap``, ``best_over_mocap``: mean and greatest
        ratio of joint over `mocap` where both have a plan; ``mean_gap``, ``worst_gap``: of joint where
        it has a plan and there is a bound.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    joint = frame[frame["method"] == METHODS[-1]]
    proved = joint["status"] == Status.INFEASIBLE.value
    hopeless = _questions(joint)[proved].value_counts()
    rows = {}
    for question, table in values(frame).groupby(level="question", sort=False):
        longest = str(question).startswith("longest")
        over = table["joint"] / table["mocap"] if longest else table["mocap"] / table["joint"]
        gap = 1 - (table["joint"] / table["bound"] if longest else table["bound"] / table["joint"])
        rows[question] = {
            "instances": len(table),
            **{name: int(table[name].isna().sum()) for name in METHODS},
            "infeasible": int(hopeless.get(question, 0)),
            "over_mocap": float(np.exp(np.log(over).mean())),
            "best_over_mocap": over.max(),
            "mean_gap": gap.clip(lower=0).mean(),
            "worst_gap": gap.clip(lower=0).max(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _longest(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows are lengths."""
    return np.array([question.startswith("longest") for question in table.index.get_level_values("question")])


def _questions(frame: pd.DataFrame) -> pd.Series[str]:
    """The label of every row."""
    requests = frame["requests"].astype(object).where(frame["requests"].notna(), None)
    found = frame["quantity"].astype(object).copy()
    found[:] = [label(quantity, count) for quantity, count in zip(frame["quantity"], requests, strict=True)]
    return found


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

    shown = [*OTHERS, "bound"]
    mean_ratios, best = means(frame), best_cases(frame)
    reductions = mean_reductions(frame)
    rows: dict[str, list[str]] = {}

    def _add(name: str, paper: str, values: list[str], question: str) -> None:
        rows[name] = [paper, *values, str(mean_ratios.loc[question, "instances"])]

    for question in mean_ratios.index:
        mean = [_times(mean_ratios.loc[question, name]) for name in shown]
        top = [_times(best.loc[question, name]) for name in shown]
        if question == "latency":
            paper = f"{format_percent(PUBLISHED_REDUCTION, 1)} mean"
            _add(
                "latency, mean reduction",
                paper,
                [format_percent(reductions[name], 1) for name in shown],
                question,
            )
            _add("latency, mean", f"{PUBLISHED_SPEED_UP}x mean", mean, question)
        else:
            paper = DASH if question.startswith("longest") else f"{PUBLISHED_THROUGHPUT}x mean"
            _add(f"{question}, mean", paper, mean, question)
        paper = f"{PUBLISHED_LENGTH}x best" if question.startswith("longest") else DASH
        _add(f"{question}, best", paper, top, question)
    columns = ["paper", *OTHERS, "no method above", "instances"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table.index.name = "ratio"
    return table


def plan_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Instances without a plan, what joint adds to `mocap`, and its gaps, as text."""
    found = plans(frame)
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
    found = by_stages(frame, METHODS[-1])
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
