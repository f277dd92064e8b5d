"""Programs as files: what other solvers read is what HiGHS is given here, and they agree on the optimum."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import highspy
import numpy as np
import pyscipopt
import pytest
from builders import make_tables
from command_line import exit_code
from random_tables import random_instances
from scipy import sparse

from mocap_opt.errors import InputError
from mocap_opt.formulations.contention_free import solve_contention_free
from mocap_opt.formulations.export import PROGRAMS, export_program
from mocap_opt.formulations.joint import solve_joint
from mocap_opt.formulations.period import solve_period
from mocap_opt.instance import load_instance
from mocap_opt.solvers.outcome import Status
from mocap_opt.solvers.pyomo_form import compile_model
from mocap_opt.solving.period_search import HEURISTICS, PeriodSearch
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

INSTANCES = Path(__file__).resolve().parent.parent / "instances"
SOLVE = {"joint": solve_joint, "contention_free": solve_contention_free}
SUFFIXES = (".mps", ".lp")
BOTH = [(program, suffix) for program in SOLVE for suffix in SUFFIXES]


def tables_of(name: str, *overrides: str) -> Tables:
    return build_tables(load_instance(INSTANCES / f"{name}.json", overrides))


def read_by_highs(path: Path) -> highspy.Highs:
    highs = highspy.Highs()
    highs.silent()
    # Not even a warning.
    assert highs.readModel(str(path)) == highspy.HighsStatus.kOk
    return highs


def solved_by_highs(path: Path) -> float | None:
    highs = read_by_highs(path)
    highs.setOptionValue("presolve", "off")
    highs.run()
    if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return None
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return highs.getInfo().objective_function_value


def solved_by_scip(path: Path) -> float | None:
    model = pyscipopt.Model()
    model.hideOutput()
    model.readProblem(str(path))
    model.optimize()
    if model.getStatus() == "infeasible":
        return None
    assert model.getStatus() == "optimal"
    return model.getObjVal()


SOLVERS = {"highs": solved_by_highs, "scip": solved_by_scip}


# --- the optimum -------------------------------------------------------------------------------


@pytest.mark.parametrize(("program", "suffix"), BOTH)
@pytest.mark.parametrize(
    ("name", "optima"),
    # Worked out in test_tiny_instances; the contention-free optimum by the solvers of this project.
    [("tiny-pooled", {"joint": 73, "contention_free": 71}), ("tiny-slack", {}), ("tiny-slow-link", {})],
)
def test_highs_and_scip_find_the_optimum_of_the_program(name, optima, program, suffix, tmp_path):
    tables, path = tables_of(name), tmp_path / f"model{suffix}"
    expected = SOLVE[program](tables).outcome
    assert expected.status is Status.OPTIMAL
    assert expected.objective == optima.get(program, expected.objective)
    export = export_program(path, tables, program)
    assert export is not None
    assert (export.unit, export.whole) == (1, True)
    for solve in SOLVERS.values():
        assert solve(path) == pytest.approx(expected.objective, abs=1e-6)


@pytest.mark.parametrize(("program", "suffix"), BOTH)
def test_random_instances_keep_their_optimum_and_infeasible_ones_stay_so(program, suffix, tmp_path):
    statuses = []
    for tables in random_instances(41, 12):
        expected, path = SOLVE[program](tables).outcome, tmp_path / f"model{suffix}"
        if export_program(path, tables, program) is None:
            assert expected.status is Status.INFEASIBLE
            continue
        statuses.append(expected.status)
        for solve in SOLVERS.values():
            assert solve(path) == (expected.objective and pytest.approx(expected.objective, abs=1e-6))
    assert statuses.count(Status.OPTIMAL) >= 5
    assert set(statuses) <= {Status.OPTIMAL, Status.INFEASIBLE}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_program_without_a_solution_reads_as_one(suffix, tmp_path):
    # Pages of stage 0 are two bytes, and only one fits in each memory: three of its four.
    tables = make_tables(3, 4, max_chunks=2, capacity=[3, 3, 3], token_bytes=[2, 1, 1])
    path = tmp_path / f"model{suffix}"
    assert solve_joint(tables).outcome.status is Status.INFEASIBLE
    assert export_program(path, tables, "joint") is not None
    assert [solve(path) for solve in SOLVERS.values()] == [None, None]


# --- the file ----------------------------------------------------------------------------------


@dataclass
class Read:
    """A program as HiGHS reads it, columns by name, rows by name."""

    columns: dict[str, tuple]
    rows: dict[str, tuple]
    entries: dict[tuple[str, str], float]

    @classmethod
    def of(cls, path: Path) -> Read:
        lp = read_by_highs(path).getLp()
        names, rows = list(lp.col_names_), list(lp.row_names_)
        matrix = lp.a_matrix_
        parts = (np.array(matrix.value_), np.array(matrix.index_), np.array(matrix.start_))
        form = sparse.csc_array if matrix.format_ == highspy.MatrixFormat.kColwise else sparse.csr_array
        coo = form(parts, shape=(len(rows), len(names))).tocoo()
        whole = [kind == highspy.HighsVarType.kInteger for kind in lp.integrality_]
        columns = zip(lp.col_lower_, lp.col_upper_, lp.col_cost_, whole, strict=True)
        sides = zip(lp.row_lower_, lp.row_upper_, strict=True)
        return cls(
            dict(zip(names, columns, strict=True)),
            dict(zip(rows, sides, strict=True)),
            {(rows[r], names[c]): v for r, c, v in zip(*coo.coords, coo.data, strict=True) if v},
        )


def plain(name: str) -> str:
    """Name of a component as the writers change it."""
    return name.replace("[", "(").replace("]", ")").replace(",", "_")


@pytest.mark.parametrize(("program", "suffix"), BOTH)
@pytest.mark.parametrize("name", ["tiny-pooled", "gpt3-175b-watos-tight"])
def test_files_hold_the_program_to_the_last_digit_under_its_names(name, program, suffix, tmp_path):
    # The large one has times in units of many ticks, and coefficients that are no integers.
    tables = tables_of(name, *(["chunking.max_chunks=4", "chunking.quantum=8192"] if "gpt3" in name else []))
    path = tmp_path / f"model{suffix}"
    export = export_program(path, tables, program)
    model = PROGRAMS[program][0](tables)
    compiled = compile_model(model)
    own, read = compiled.program, Read.of(path)
    assert export is not None
    assert (export.rows, export.columns, export.nonzeros) == (own.rows, own.columns, own.nonzeros)
    assert export.whole == (name == "tiny-pooled")
    names = [plain(variable.name) for variable in compiled.variables]
    wanted = zip(own.column_lower, own.column_upper, own.cost, own.integer.tolist(), strict=True)
    assert read.columns == dict(zip(names, wanted, strict=True))
    # The writers say in a row's name which side it limits: c_e_x_, c_l_x_, c_u_x_.
    rows = [plain(row) for row in compiled.constraints]
    assert sorted(row[4:-1] for row in read.rows) == sorted(rows)
    assert {row[:4] for row in read.rows} <= {"c_e_", "c_l_", "c_u_"}
    sides = dict(zip(rows, zip(own.row_lower, own.row_upper, strict=True), strict=True))
    assert {row[4:-1]: bounds for row, bounds in read.rows.items()} == sides
    coo = own.matrix.tocoo()
    entries = {(rows[r], names[c]): v for r, c, v in zip(*coo.coords, coo.data, strict=True)}
    assert {(row[4:-1], column): v for (row, column), v in read.entries.items()} == entries


def test_the_head_says_what_the_numbers_mean(tmp_path):
    path = tmp_path / "model.lp"
    export_program(path, tables_of("tiny-pooled"), "joint", fingerprint="0123")
    head = path.read_text().splitlines()[:5]
    assert head[0] == "\\ joint program of tiny-pooled, instance 0123"
    assert head[1].startswith("\\ Objective: lockstep latency in ticks of 1 us. Times are whole ticks")
    export_program(path, tables_of("gpt3-175b-watos-slack", "chunking.max_chunks=4"), "contention_free")
    second = path.read_text().splitlines()[1]
    assert re.search(r"contention-free latency in units of \d+ ticks of 1 ns\. Times are continuous", second)


def test_odd_names_of_instances_do_no_harm(tmp_path):
    path = tmp_path / "model.mps"
    tables = make_tables(2, 2, name="é\nROWS\n " + "x" * 500)
    export_program(path, tables, "joint")
    assert path.read_text().isascii()
    assert max(len(line) for line in path.read_text().splitlines()) < 200
    assert solved_by_highs(path) == solve_joint(tables).outcome.objective


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(("program", "suffix"), BOTH)
def test_the_command_writes_the_program_and_says_what_it_wrote(program, suffix, tmp_path, capsys):
    path, file = tmp_path / f"model{suffix}", INSTANCES / "tiny-slack.json"
    assert exit_code("export", file, "--to", path, "--program", program, "--set", "overlap=0.5") == 0
    shown = capsys.readouterr()
    assert f"{program} program of tiny-slack" in shown.out
    assert "latency in ticks of 1 us" in shown.out
    expected = SOLVE[program](tables_of("tiny-slack", "overlap=0.5")).outcome.objective
    assert solved_by_highs(path) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny.json", "--to", "model.txt"], 'ends in .mps or .lp, got "model.txt"'),
        (["tiny.json", "--to", "model"], "ends in .mps or .lp"),
        (["tiny.json", "--to", "model.mps.gz"], "ends in .mps or .lp"),
        (["tiny.json", "--to", "no/such/folder/model.lp"], "no such directory"),
        (["tiny.json", "--to", "model.lp", "--program", "magic"], "magic"),
        (["tiny.json", "--to", "model.lp", "--set", "overlap=2"], "overlap"),
        (["no-such-file.json", "--to", "model.lp"], "no-such-file.json"),
        (["tiny.json"], "--to"),
    ],
)
def test_bad_calls_are_exit_code_2_and_leave_no_file(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.json").write_text((INSTANCES / "tiny-slack.json").read_text())
    monkeypatch.chdir(tmp_path)
    assert exit_code("export", *arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.json"]


PERIOD = ("--set", "objective=period", "--set", "pipeline.queue_depth=1")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("interval", [2, 3, 4])
def test_the_period_program_of_an_interval_keeps_its_optimum(interval, suffix, tmp_path, capsys):
    path, file = tmp_path / f"model{suffix}", INSTANCES / "tiny-slack.json"
    assert exit_code("export", file, "--to", path, "--interval", interval, *PERIOD) == 0
    shown = capsys.readouterr().out
    assert f"period program of tiny-slack for requests {interval} slots apart" in shown
    assert "objective: lockstep period in ticks" in shown
    expected = solve_period(tables_of("tiny-slack", "pipeline.queue_depth=1"), interval).outcome
    assert expected.status is Status.OPTIMAL
    for solve in SOLVERS.values():
        assert solve(path) == pytest.approx(expected.objective, abs=1e-6)


def test_the_interval_is_that_of_the_best_heuristic_unless_given(tmp_path, capsys):
    path, file = tmp_path / "model.lp", INSTANCES / "tiny-slack.json"
    assert exit_code("export", file, "--to", path, *PERIOD) == 0
    search = PeriodSearch(tables_of("tiny-slack", "pipeline.queue_depth=1"))
    search.run_methods(HEURISTICS)
    interval = search.best.schedule.interval
    assert f"requests {interval} slots apart" in capsys.readouterr().out
    assert f"tiny-slack, requests {interval} slots apart" in path.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--program", "period"], "--program: expected joint or joint_layers or contention_free with"),
        (["--interval", "3"], "--interval: expected no such option with objective latency"),
        (["--program", "joint", *PERIOD], "--program: expected period with objective period"),
    ],
)
def test_programs_of_another_objective_are_refused(arguments, message, tmp_path, capsys):
    assert exit_code("export", INSTANCES / "tiny-slack.json", "--to", tmp_path / "x.lp", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_interval_goes_with_the_period_only(tmp_path):
    tables = tables_of("tiny-slack", "pipeline.queue_depth=1")
    for program, interval in (("joint", 3), ("period", None)):
        with pytest.raises(ValueError, match="interval"):
            export_program(tmp_path / "x.lp", tables, program, interval=interval)


def test_programs_beyond_the_stated_size_are_refused_unless_forced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mocap_opt.formulations.export.MOST_NONZEROS", 50)
    path = tmp_path / "model.lp"
    assert exit_code("export", INSTANCES / "tiny-slack.json", "--to", path) == 2
    assert "at most 50 non-zeros" in capsys.readouterr().err
    assert not path.exists()
    assert exit_code("export", INSTANCES / "tiny-slack.json", "--to", path, "--force") == 0
    assert path.exists()
    with pytest.raises(InputError, match="at most 7 non-zeros"):
        export_program(path, tables_of("tiny-slack"), "joint", most_nonzeros=7)


def test_an_instance_without_a_program_says_so(tmp_path, capsys):
    path = tmp_path / "model.lp"
    assert exit_code("export", INSTANCES / "tiny-hopeless.json", "--to", path) == 3
    assert "no boundaries" in capsys.readouterr().err
    assert not path.exists()
