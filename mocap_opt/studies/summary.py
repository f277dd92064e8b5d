"""What the runs of a study say together: gaps, wins, times, profiles, gaps over time.

A *contender* is a method with its solver and time limit; seeds are repetitions, of which the median
counts.  All gaps on an instance are against the best bound that any run of the study proved for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mocap_opt.instance.objectives import OBJECTIVES, Objective
from mocap_opt.studies.execution import FAILED, Curve, Outcome

if TYPE_CHECKING:
    import pandas as pd

TIE = 1e-9
"""Latencies within this factor of the best share the win."""

TIME_SHIFT_S = 1.0
"""Shift of the mean of times, seconds."""


def contender_names(frame: pd.DataFrame) -> pd.Series[str]:
    """The contender of each row: the method, its steps, and solver and limit where a method has several."""
    names = frame["method"].astype(str)
    for column, form in (("without", " without {}"), ("only", " only {}")):
        if column in frame:
            chosen = frame[column].notna()
            names = names.where(
                ~chosen, names + frame[column].map(form.format, na_action="ignore").astype(str)
            )
    for column, form in (("solver", "{}"), ("time_limit_s", "{:g} s")):
        several = frame.groupby("method")[column].transform("nunique") > 1
        names = names.where(~several, names + " " + frame[column].map(form.format))
    return names


def instance_labels(frame: pd.DataFrame) -> pd.Series[str]:
    """Instance and variant of each row, ``tiny-slack batch=2``; the last part of a path will do."""

    def _label(name: str, variant: dict[str, Any]) -> str:
        return " ".join([name, *(f"{path.split('.')[-1]}={value}" for path, value in variant.items())])

    import pandas as pd  # noqa: PLC0415 - slow to load

    labels = [_label(n, v) for n, v in zip(frame["instance"], frame["variant"], strict=True)]
    return pd.Series(labels, index=frame.index, dtype=object)


def _pivot(frame: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """Median over seeds, instances downwards and contenders across, both in order of appearance."""
    made = frame.assign(_value=values, _instance=instance_labels(frame), _contender=contender_names(frame))
    table = made.pivot_table(
        index="_instance", columns="_contender", values="_value", aggfunc="median", dropna=False, sort=False
    )
    table = table.reindex(index=made["_instance"].unique(), columns=made["_contender"].unique())
    return table.rename_axis(index="instance", columns=None)


def minimised(frame: pd.DataFrame) -> pd.Series[float]:
    """Return what every run's objective minimises, seconds; NaN where there is no plan."""
    import pandas as pd  # noqa: PLC0415 - slow to load

    asked = frame["objective"] if "objective" in frame else pd.Series(None, index=frame.index, dtype=object)
    found = pd.Series(float("nan"), index=frame.index)
    for objective, record in OBJECTIVES.items():
        if (column := record.fields[0]) in frame:
            found = found.mask(asked.fillna(Objective.LATENCY) == objective, frame[column].astype(float))
    return found


def latencies(frame: pd.DataFrame) -> pd.DataFrame:
    """Latency by instance and contender, seconds; NaN where a contender has none.

    Parameters
    ----------
    frame : DataFrame
        As `mocap_opt.studies.results` gives it.
    """
    return _pivot(frame, minimised(frame))


def run_times(frame: pd.DataFrame) -> pd.DataFrame:
    """Wall time by instance and contender, seconds; NaN where a contender has no plan and no proof."""
    answered = frame["status"].isin(["optimal", "feasible", "infeasible"])
    return _pivot(frame, frame["runtime_s"].astype(float).where(answered))


def gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """(latency - best bound) / latency by instance and contender; NaN where either is unknown."""
    latency = minimised(frame)
    bound = frame["lower_bound_s"].astype(float).groupby(frame["fingerprint"]).transform("max")
    return _pivot(frame, (latency - bound) / latency)


def standings(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per contender.

    Returns
    -------
    DataFrame
        ``runs``, ``failed``; ``answered``: instances with a plan; ``optimal``: runs proved optimal;
        ``wins``: instances on which no contender is faster (ties count for each); ``median_gap`` and
        ``worst_gap`` over instances with a plan; ``mean_ratio``: geometric mean of the latency over
        the best one, same instances; ``mean_time_s``: shifted geometric mean of the wall time over
        all runs, failed ones counted at their limit.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    names = contender_names(frame)
    latency, gap = latencies(frame), gaps(frame)
    ratios = ratios_to_best(latency.to_numpy())
    times = frame["runtime_s"].astype(float).fillna(frame["time_limit_s"].astype(float))
    rows = []
    for column, name in enumerate(latency.columns):
        mine = frame[names == name]
        ratio = ratios[np.isfinite(ratios[:, column]), column]
        known = gap[name].dropna()
        rows.append(
            {
                "contender": name,
                "runs": len(mine),
                "failed": int((mine["outcome"] == FAILED).sum()),
                "answered": int(latency[name].notna().sum()),
                "optimal": int((mine["status"] == "optimal").sum()),
                "wins": int((ratio <= 1 + TIE).sum()),
                "median_gap": known.median() if len(known) else None,
                "worst_gap": known.max() if len(known) else None,
                "mean_ratio": float(np.exp(np.log(ratio).mean())) if len(ratio) else None,
                "mean_time_s": shifted_geometric_mean(times[mine.index], TIME_SHIFT_S),
            }
        )
    return pd.DataFrame(rows).set_index("contender")


def contributions(frame: pd.DataFrame) -> pd.DataFrame:
    """Which step supplied the reported plan and the bound on it, a row per run of a method with steps.

    Parameters
    ----------
    frame : DataFrame
        As `mocap_opt.studies.results` gives it.

    Returns
    -------
    DataFrame
        ``contender``, ``plan_by`` and ``bound_by``: names of steps, missing where no step did; ``bound``: the
        bound's name; ``gap``.  The index is the instance.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    steps = frame["steps"] if "steps" in frame else pd.Series(None, index=frame.index, dtype=object)
    shown = frame[steps.map(lambda runs: isinstance(runs, list) and bool(runs)).astype(bool)]

    def _supplied(runs: list[dict[str, Any]], which: str) -> str | None:
        return next((run["step"] for run in runs if run.get(which)), None)

    made = {
        "contender": contender_names(frame)[shown.index],
        "plan_by": shown["steps"].map(lambda runs: _supplied(runs, "final_plan")) if len(shown) else None,
        "bound_by": shown["steps"].map(lambda runs: _supplied(runs, "final_bound")) if len(shown) else None,
        "bound": shown.get("bound_name"),
        "gap": shown["gap"],
    }
    return pd.DataFrame(made).set_index(instance_labels(frame)[shown.index].rename("instance"))


def contribution_counts(table: pd.DataFrame) -> pd.DataFrame:
    """On how many runs each step supplied the plan, and the bound.

    Parameters
    ----------
    table : DataFrame
        As `contributions` gives it.

    Returns
    -------
    DataFrame
        ``plans`` and ``bounds`` by step, most first.
    """
    import pandas as pd  # noqa: PLC0415 - slow to load

    counts = {"plans": table["plan_by"].value_counts(), "bounds": table["bound_by"].value_counts()}
    found = pd.DataFrame(counts).fillna(0).astype(int).rename_axis("step")
    return found.sort_values(["bounds", "plans"], ascending=False, kind="stable")


def gap_at(curve: Curve, bound_s: float | None, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gap of a run at given times.

    Parameters
    ----------
    curve : Curve
    bound_s : float or None
        The bound to measure against, seconds; None: the run's own at each time.
    times : float64[time]
        Seconds, rising.

    Returns
    -------
    float64[time]
        1 before the first plan.
    """
    found = np.ones(len(times))
    for elapsed, latency, own in curve:
        bound = own if bound_s is None else bound_s
        if latency is not None and bound is not None:
            found[times >= elapsed] = (latency - bound) / latency if latency else 0.0
    return found


def median_gaps(
    frame: pd.DataFrame, outcomes: Sequence[Outcome], times: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[np.float64]]:
    """Median gap of each contender over time, against the best bound known on each instance.

    Parameters
    ----------
    frame : DataFrame
        The rows of `outcomes`, in their order.
    outcomes : sequence of Outcome
    times : float64[time]
        Seconds, rising.

    Returns
    -------
    dict of float64[time]
        By contender; over its runs on instances with a bound that are not proved infeasible.
    """
    bounds = frame["lower_bound_s"].astype(float).groupby(frame["fingerprint"]).transform("max")
    names = contender_names(frame)
    # Proved infeasible by one run is infeasible for all.
    hopeless = (frame["status"] == "infeasible").groupby(frame["fingerprint"]).transform("any")
    found: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in names.unique()}
    for index, outcome in enumerate(outcomes):
        if not hopeless.iloc[index] and not np.isnan(bounds.iloc[index]):
            found[names.iloc[index]].append(gap_at(outcome.curve, float(bounds.iloc[index]), times))
    return {name: np.median(curves, axis=0) for name, curves in found.items() if curves}


def shifted_geometric_mean(values: Iterable[float], shift: float = 1.0) -> float | None:
    """exp(mean(log(values + shift))) - shift, the usual mean of solution times.

    The shift keeps values far below it from deciding [1]_.

    Parameters
    ----------
    values : iterable of float
        All above ``-shift``; seconds for times.
    shift : float
        In the unit of the values, above 0.

    Returns
    -------
    float or None
        In the unit of the values; None without values.

    Raises
    ------
    ValueError
        If the shift is not above 0, or a value is not finite or not above ``-shift``.

    References
    ----------
    .. [1] T. Achterberg, Constraint Integer Programming, PhD thesis, TU Berlin, 2007, appendix A.3.
    """
    given = np.asarray(list(values), dtype=np.float64)
    if not (shift > 0 and np.isfinite(given).all() and (given > -shift).all()):
        raise ValueError(f"expected finite values above -shift and a shift above 0, got shift {shift:g}")
    if not given.size:
        return None
    return float(np.exp(np.log(given + shift).mean()) - shift)


def ratios_to_best(costs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Each cost over the least one on its instance.

    Parameters
    ----------
    costs : float64[instance, contender]
        At least 0; NaN where a contender has no answer.

    Returns
    -------
    float64[instance, contender]
        At least 1; infinite where there is no answer, NaN in a row without any answer.  A least
        cost of 0 gives 1 to those that reach it and infinity to the others.
    """
    given = np.asarray(costs, dtype=np.float64)
    answered = ~np.isnan(given)
    least = np.where(answered, given, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(given == least, 1.0, given / least)
    ratios = np.where(answered, ratios, np.inf)
    return np.where(np.isinf(least), np.nan, ratios)


def performance_profile(costs: npt.ArrayLike, factors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Share of the instances on which a contender is within each factor of the best one.

    Parameters
    ----------
    costs : float64[instance, contender]
        At least 0; NaN where a contender has no answer.  Instances that no one answered are left out.
    factors : float64[factor]
        At least 1.

    Returns
    -------
    float64[contender, factor]
        Between 0 and 1, never falling along the factors.

    References
    ----------
    .. [1] E. D. Dolan and J. J. More, "Benchmarking optimization software with performance profiles",
       Mathematical Programming 91 (2002), 201-213.
    """
    ratios = ratios_to_best(costs)
    ratios = ratios[~np.isnan(ratios).any(axis=1)]
    within = ratios[:, :, None] <= np.asarray(factors, dtype=np.float64)
    return within.mean(axis=0) if len(ratios) else np.zeros(within.shape[1:])
