"""What runs say together: scores by hand, tables that are tables, pictures of the right numbers, commands."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from table_cells import cells_of_latex, cells_of_markdown

from mocap_opt.pictures import plots
from mocap_opt.pictures.plots import studies as study_pictures
from mocap_opt.studies import frames as tables
from mocap_opt.studies import summary
from mocap_opt.studies.execution import FAILED, OK, Outcome
from mocap_opt.studies.frames import frame_of
from mocap_opt.studies.summary import (
    contribution_counts,
    contributions,
    performance_profile,
    ratios_to_best,
    shifted_geometric_mean,
)

INSTANCES = Path(__file__).parent.parent / "instances"
NAN = math.nan


def outcome(
    instance: str,
    method: str,
    latency: float | None,
    bound: float | None,
    runtime: float | None,
    *,
    status: str = "feasible",
    **other: object,
) -> Outcome:
    """A finished run, or a failed one if it has a reason."""
    settings = {"solver": "auto", "seed": 0, "time_limit_s": 7.0, "variant": {}, **other}
    curve = settings.pop("curve", [])
    failed = "reason" in settings
    row = {
        "outcome": FAILED if failed else OK,
        "instance": instance,
        "fingerprint": f"{instance}{sorted(settings['variant'].items())}",
        "method": method,
        "status": None if failed else status,
        "latency_s": latency,
        "lower_bound_s": bound,
        "runtime_s": runtime,
        "gap": None,
        **settings,
    }
    return Outcome(f"{instance}{method}{settings}", row, curve)


# On A the best bound is 9, of the slow method; on B both are as fast; on C only the slow one has a plan.
RUNS = [
    outcome("A", "fast", 10.0, 8.0, 1.0, curve=[(0.5, 12.0, 8.0), (1.0, 10.0, 8.0)]),
    outcome("A", "slow", 12.0, 9.0, 5.0, curve=[(4.0, 12.0, 9.0)]),
    outcome("B", "fast", 20.0, 20.0, 3.0, status="optimal", curve=[(2.0, 20.0, 20.0)]),
    outcome("B", "slow", 20.0, None, 5.0, curve=[(2.0, 20.0, None)]),
    outcome("C", "fast", None, None, None, reason="its worker died"),
    outcome("C", "slow", 5.0, 4.0, 5.0, curve=[(3.0, 5.0, 4.0)]),
]
FRAME = frame_of(RUNS)


# --- scores ------------------------------------------------------------------------------------------


def test_shifted_geometric_means_by_hand():
    # (1 + 1)(3 + 1)(0 + 1) = 8, the cube root is 2.
    assert shifted_geometric_mean([1.0, 3.0, 0.0]) == pytest.approx(1.0)
    assert shifted_geometric_mean([90.0, 0.0], shift=10.0) == pytest.approx(math.sqrt(1000) - 10)
    assert shifted_geometric_mean([5.0], shift=3.0) == pytest.approx(5.0)
    assert shifted_geometric_mean([]) is None


@pytest.mark.parametrize(("values", "shift"), [([1.0], 0.0), ([-1.0], 1.0), ([math.inf], 1.0), ([NAN], 1.0)])
def test_means_of_what_has_none_are_refused(values, shift):
    with pytest.raises(ValueError, match="finite values above -shift"):
        shifted_geometric_mean(values, shift)


def test_ratios_to_the_best_by_hand():
    costs = [[10, 12], [20, 20], [NAN, 5], [NAN, NAN], [0, 3]]
    inf = math.inf
    expected = [[1, 1.2], [1, 1], [inf, 1], [NAN, NAN], [1, inf]]
    assert np.allclose(ratios_to_best(costs), expected, equal_nan=True)


def test_performance_profiles_by_hand():
    costs = [[10, 12], [20, 20], [NAN, 5], [NAN, NAN]]
    shares = performance_profile(costs, [1.0, 1.19, 1.2, 100.0])
    # The instance without any answer is left out; the fast method never answers C.
    assert np.allclose(shares, [[2 / 3] * 4, [2 / 3, 2 / 3, 1, 1]])
    assert performance_profile([[NAN, NAN]], [1.0]).tolist() == [[0.0], [0.0]]


def test_profiles_never_fall_and_the_best_is_somewhere_first():
    rng = np.random.default_rng(3)
    costs = np.where(rng.random((40, 3)) < 0.2, NAN, rng.lognormal(size=(40, 3)))
    shares = performance_profile(costs, np.geomspace(1, 50, 30))
    assert (np.diff(shares, axis=1) >= 0).all()
    assert shares[:, 0].sum() == pytest.approx(1.0)
    assert (shares <= 1).all()


# --- summary -----------------------------------------------------------------------------------------


def test_gaps_are_against_the_best_bound_that_any_run_proved():
    gaps = summary.gaps(FRAME)
    assert list(gaps.index) == ["A", "B", "C"]
    assert np.allclose(gaps.to_numpy(), [[0.1, 0.25], [0, 0], [NAN, 0.2]], equal_nan=True)


def test_standings_by_hand():
    rows = summary.standings(FRAME)
    fast, slow = rows.loc["fast"], rows.loc["slow"]
    assert fast[["runs", "failed", "answered", "optimal", "wins"]].tolist() == [3, 1, 2, 1, 2]
    assert slow[["runs", "failed", "answered", "optimal", "wins"]].tolist() == [3, 0, 3, 0, 2]
    assert (fast["median_gap"], fast["worst_gap"]) == (pytest.approx(0.05), pytest.approx(0.1))
    assert (slow["median_gap"], slow["worst_gap"]) == (pytest.approx(0.2), pytest.approx(0.25))
    assert (fast["mean_ratio"], slow["mean_ratio"]) == (pytest.approx(1), pytest.approx(1.2 ** (1 / 3)))
    # The failed run counts at its limit of 7 s: (1 + 1)(3 + 1)(7 + 1) = 64, the cube root is 4.
    assert (fast["mean_time_s"], slow["mean_time_s"]) == (pytest.approx(3), pytest.approx(5))


def test_contributions_by_hand():
    def steps(plan, bound):
        return [
            {"step": name, "final_plan": name == plan, "final_bound": name == bound}
            for name in ("first", "last")
        ]

    runs = [
        outcome("A", "joint", 10.0, 9.0, 1.0, steps=steps("first", "last"), bound_name="ladder"),
        outcome("B", "joint", 10.0, None, 1.0, steps=steps("last", None), bound_name=None),
        outcome("A", "mocap", 12.0, 9.0, 1.0, steps=[], bound_name="crossing"),
        outcome("B", "mocap", None, None, None, reason="its worker died"),
    ]
    table = contributions(frame_of(runs))
    assert list(table.index) == ["A", "B"]
    assert list(table["plan_by"]) == ["first", "last"]
    assert list(table["bound_by"].dropna()) == ["last"]
    counts = contribution_counts(table)
    assert counts.to_dict("index") == {"last": {"plans": 1, "bounds": 1}, "first": {"plans": 1, "bounds": 0}}
    assert contributions(frame_of(runs[2:])).empty
    assert contributions(FRAME).empty
    assert contribution_counts(contributions(FRAME)).empty


def test_seeds_are_repetitions_of_which_the_median_counts():
    runs = [
        outcome("A", "m", latency, 1.0, 1.0, seed=seed) for seed, latency in enumerate((10.0, 14.0, 30.0))
    ]
    assert summary.latencies(frame_of(runs)).loc["A", "m"] == 14.0


def test_contenders_and_instances_are_told_apart_by_what_differs():
    runs = [
        outcome("A", "joint", 1.0, 1.0, 1.0, solver=solver, variant={"workload.batch": batch})
        for solver in ("highs", "cpsat")
        for batch in (1, 2)
    ] + [outcome("A", "mocap", 1.0, 1.0, 1.0, variant={"workload.batch": 1})]
    frame = frame_of(runs)
    assert list(dict.fromkeys(summary.contender_names(frame))) == ["joint highs", "joint cpsat", "mocap"]
    assert list(summary.gaps(frame).index) == ["A batch=1", "A batch=2"]
    limits = [outcome("A", "joint", 1.0, 1.0, 1.0, time_limit_s=limit) for limit in (1.0, 10.0)]
    assert list(summary.contender_names(frame_of(limits))) == ["joint 1 s", "joint 10 s"]


def test_run_times_count_answers_only():
    times = summary.run_times(FRAME)
    assert np.allclose(times.to_numpy(), [[1, 5], [3, 5], [NAN, 5]], equal_nan=True)


def test_gaps_over_time_by_hand():
    times = np.array([0.1, 0.5, 1.0, 2.0, 5.0])
    assert summary.gap_at(RUNS[0].curve, 9.0, times) == pytest.approx([1, 0.25, 0.1, 0.1, 0.1])
    # Without a bound to measure against, the run's own at each time.
    assert summary.gap_at(RUNS[0].curve, None, times) == pytest.approx([1, 1 / 3, 0.2, 0.2, 0.2])
    medians = summary.median_gaps(FRAME, RUNS, times)
    assert medians["fast"] == pytest.approx([1, 1, 1, 0.1, 0.1])
    assert medians["slow"] == pytest.approx([1, 1, 1, 1, 0.2])


def test_an_infeasible_instance_is_no_gap():
    runs = [
        outcome("D", "a", None, None, 1.0, status="infeasible"),
        outcome("D", "b", None, None, 1.0, status="unknown"),
        outcome("E", "a", 2.0, 1.0, 1.0, curve=[(0.0, 2.0, 1.0)]),
        outcome("E", "b", 2.0, 1.0, 1.0, curve=[(0.0, 2.0, 1.0)]),
    ]
    frame = frame_of(runs)
    assert summary.gaps(frame).loc["D"].isna().all()
    medians = summary.median_gaps(frame, runs, np.array([1.0]))
    assert {name: values.tolist() for name, values in medians.items()} == {"a": [0.5], "b": [0.5]}
    # A proof that there is no plan is an answer in time, a run without either is none.
    assert np.isnan(summary.run_times(frame).loc["D", "b"])
    assert summary.run_times(frame).loc["D", "a"] == 1.0


# --- tables ------------------------------------------------------------------------------------------


def test_tables_hold_the_same_cells_in_markdown_and_latex():
    text = tables.gaps_as_text(summary.gaps(FRAME))
    expected = [
        ["instance", "fast", "slow"],
        ["A", "10.00 %", "25.00 %"],
        ["B", "0.00 %", "0.00 %"],
        ["C", "-", "20.00 %"],
    ]
    assert cells_of_markdown(tables.markdown(text)) == expected
    assert cells_of_latex(tables.latex(text)) == expected


def test_standings_are_written_with_their_units():
    cells = cells_of_markdown(tables.markdown(tables.standings_as_text(summary.standings(FRAME))))
    by_name = dict(zip(cells[0], cells[1], strict=True))
    assert by_name["contender"] == "fast"
    assert by_name["median gap"] == "5.00 %"
    assert by_name["mean ratio"] == "1.0000"
    assert by_name["mean time, s"] == "3"
    assert by_name["wins"] == "2"


NASTY = "a|b_c & 50 % \\ $x^2$ {y} ~ #\nz"


def nasty() -> object:
    gaps = summary.gaps(frame_of([outcome(NASTY, NASTY, 2.0, 1.0, 1.0)]))
    return tables.gaps_as_text(gaps)


def test_odd_names_stay_in_their_cell():
    plain = NASTY.replace("\n", " ")
    assert cells_of_markdown(tables.markdown(nasty()))[1] == [plain, "50.00 %"]
    (header, row) = cells_of_latex(tables.latex(nasty()))
    assert len(header) == len(row) == 2
    assert row[0].startswith("a|b_c & 50 %")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_compiles(tmp_path):
    body = tables.latex(nasty())
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "t.tex").write_text(document)
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


# --- pictures ----------------------------------------------------------------------------------------


def axes():
    return Figure().add_subplot()


def test_a_profile_draws_the_shares():
    ax = study_pictures.profile(axes(), summary.latencies(FRAME))
    drawn = {line.get_label(): line for line in ax.lines}
    assert set(drawn) == {"fast", "slow"}
    assert drawn["fast"].get_ydata() == pytest.approx([2 / 3] * 3)
    assert drawn["slow"].get_xdata()[:2] == pytest.approx([1, 1.2])
    assert drawn["slow"].get_ydata() == pytest.approx([2 / 3, 1, 1])
    assert ax.get_ylabel() == "share of 3 instances"
    assert "latency over the best" in ax.get_xlabel()


def test_gaps_are_drawn_where_they_are_and_unknown_ones_not_at_all():
    ax = study_pictures.gap_per_instance(axes(), summary.gaps(FRAME))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A", "B", "C"]
    drawn = {line.get_label(): line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 3}
    assert drawn["slow"] == pytest.approx([0.25, study_pictures.LEAST_GAP, 0.2])
    assert np.isnan(drawn["fast"][2])
    # The first instance is on top.
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_gaps_over_time_are_steps_between_improvements():
    times = np.array([0.1, 1.0, 2.0])
    ax = study_pictures.gap_over_time(axes(), times, summary.median_gaps(FRAME, RUNS, times))
    drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert drawn["fast"] == pytest.approx([1, 1, 0.1])
    assert ax.get_xlabel().startswith("wall time of a run, s")


@pytest.mark.parametrize("kind", ["profile", "time-profile", "gaps", "gap-over-time"])
@pytest.mark.parametrize("runs", [RUNS, RUNS[:1]], ids=["many", "one"])
def test_every_kind_is_drawn_of_many_runs_and_of_one(kind, runs, tmp_path):
    figure = plots.study_figure("study", kind, frame_of(runs), runs)
    plots.save_figure(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 2000


@pytest.mark.parametrize("kind", ["profile", "time-profile", "gaps", "gap-over-time"])
def test_where_no_run_has_an_answer_there_is_nothing_to_draw(kind):
    with pytest.raises(study_pictures.NothingToDrawError, match="study: no run has an answer"):
        plots.study_figure("study", kind, frame_of(RUNS[4:5]), RUNS[4:5])


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'pie' is no picture of a study"):
        plots.study_figure("study", "pie", FRAME, RUNS)
