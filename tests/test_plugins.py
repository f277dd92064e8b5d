"""Methods and programs of other packages: found, run, verified, and blamed when they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import exit_code
from plugin_distribution import ENTRY_POINTS, MODULE, install

import mocap_opt
from mocap_opt.baselines.registry import find_method
from mocap_opt.errors import InputError
from mocap_opt.plugins import FORMULATIONS, HEURISTICS, PluginError, plugins
from mocap_opt.solving.catalogue import catalogue
from mocap_opt.studies import LocalRunner, load_study, results, run_study, tasks_of

INSTANCES = Path(__file__).parent.parent / "instances"
SLACK = INSTANCES / "tiny-slack.json"


def broken(body: str) -> str:
    """A module whose heuristic, and program, does this."""
    program = "BAD = mocap_opt.Formulation('bad', bad, bad)"
    return f"{MODULE}\ndef bad(*arguments, **options):\n    {body}\n\n{program}\n"


BAD = """
[mocap_opt.heuristics]
bad = tiny_plugin:bad
[mocap_opt.formulations]
bad-program = tiny_plugin:BAD
"""


def test_plugins_are_found_without_being_imported(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, module="raise RuntimeError('imported')")
    assert [plugin.name for plugin in plugins(HEURISTICS)] == ["halves", "patient"]
    assert [plugin.name for plugin in plugins(FORMULATIONS)] == ["again"]
    assert "tiny_plugin" not in sys.modules


def test_a_plugin_solves_evaluates_and_compares_like_a_built_in_method(tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path / "site")
    plan = tmp_path / "plan.json"
    assert exit_code("solve", SLACK, "--method", "halves", "--out", plan, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    # Two chunks of two tokens, 23 us each, and a byte on the link: as the built-in rule places them.
    assert report["boundaries"] == [0, 2, 4]
    assert report["versions"]["tiny-plugin"] == "1.5"
    assert exit_code("evaluate", SLACK, plan, "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["latency_s"] == report["latency_s"]
    assert exit_code("compare", SLACK, "--methods", "halves,patient,again,mocap", "--json") == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"halves", "patient", "again", "mocap"}
    assert rows["halves"]["gap"] > 0
    # The program of the plugin is the lockstep program: its bound covers lockstep and meets its plan.
    assert rows["again"]["lockstep_gap"] == 0
    assert rows["again"]["solver"] == "highs"


def test_a_plugin_takes_part_in_studies_in_their_workers(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "site")
    file = tmp_path / "study.toml"
    file.write_text(
        f'methods = ["halves", "again", "mocap"]\nseeds = [0, 1]\n[[instances]]\nfiles = ["{SLACK}"]\n'
    )
    study = load_study(file)
    # A heuristic runs once, a program once for every seed.
    assert [task.settings.method for task in tasks_of(study)] == ["halves", "again", "again", "mocap"]
    tally = run_study(study, LocalRunner(1, grace_s=60, retries=0))
    assert (tally.done, tally.failed) == (4, 0)
    frame = results(file).set_index("method")
    assert frame.loc["halves", "boundaries"] == [0, 2, 4]
    assert frame.loc["halves", "versions"]["tiny-plugin"] == "1.5"


def test_a_key_changes_with_the_version_of_the_plugin_it_needs(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "site")
    file = tmp_path / "study.toml"
    file.write_text(f'methods = ["halves", "mocap"]\n[[instances]]\nfiles = ["{SLACK}"]\n')

    def keys() -> list[str]:
        from mocap_opt.studies import tasks  # noqa: PLC0415

        tasks._plugin_versions.cache_clear()
        return [task.key for task in tasks_of(load_study(file))]

    before = keys()
    metadata = tmp_path / "site" / "tiny_plugin-1.5.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.5", "Version: 2.0"))
    after = keys()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_models_of_plugins_are_handed_out(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path)
    model = mocap_opt.build_model(mocap_opt.load_instance(SLACK), "again")
    assert model.name == "joint"


def test_a_plugin_of_period_and_longest_prompt(tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path)
    assert (
        exit_code(
            "solve",
            SLACK,
            "--method",
            "halves",
            "--set",
            "objective=period",
            "--set",
            "pipeline.queue_depth=2",
            "--json",
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["found_by"] == "halves"
    assert exit_code("max-length", SLACK, "--method", "halves", "--latency-limit", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tokens"] > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no idea')", "failed: ValueError: no idea"),
        ("raise SystemExit(3)", "failed: SystemExit: 3"),
        ("return None", "gave None, not a Proposal"),
        ("return 3", "gave a int, not a Proposal"),
        ("return Proposal(3)", "gave a plan that is none"),
        ("return Proposal(mocap_opt.Plan((0, 1.5, 4)))", "gave a plan that is none: TypeError"),
    ],
)
def test_what_goes_wrong_in_a_heuristic_names_the_plugin(body, message, tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path, module=broken(body), entry_points=BAD)
    assert exit_code("solve", SLACK, "--method", "bad") == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "tiny-plugin 1.5 (entry point bad = tiny_plugin:bad of mocap_opt.heuristics)" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("(0, 4, 4)", "must not be empty"),
        ("(0, 2)", "the last boundary is 2"),
        ("(1, 4)", "the first boundary is 1"),
        ("(0, 4), (mocap_opt.Home(0, 0, 7, 1),)", "memories are 0 to 1"),
        ("(0, 4), (mocap_opt.Home(0, 0, 1, 9),)", "9 pages placed elsewhere"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_no_plan(plan, message, tmp_path, monkeypatch, capsys):
    body = f"return Proposal(mocap_opt.Plan({plan}))"
    install(monkeypatch, tmp_path, module=broken(body), entry_points=BAD)
    assert exit_code("solve", SLACK, "--method", "bad", "--json") == 4
    report = json.loads(capsys.readouterr().out)
    assert report["status"] == "unknown"
    assert "its plan breaks" in report["reason"]
    assert message in report["reason"]


def outcome(status: str, stop: str, plan: str = "None", **numbers: object) -> str:
    given = "".join(f", {name}={value}" for name, value in numbers.items())
    return (
        "from mocap_opt.solvers.outcome import ProgramResult, SolveOutcome, Status, StopReason; "
        f"return ProgramResult({plan}, SolveOutcome('mine', Status.{status}, StopReason.{stop}{given}))"
    )


def test_a_bound_that_a_plan_beats_is_refused_and_the_plugin_blamed(tmp_path, monkeypatch, capsys):
    body = outcome("UNKNOWN", "TIME_LIMIT", bound=10**9)
    module = broken(body).replace("bad, bad)", "bad, bad, Scope.ANY_EXECUTION)")
    install(monkeypatch, tmp_path, module=module, entry_points=BAD)
    assert exit_code("solve", SLACK, "--method", "bad-program") == 2
    assert "tiny-plugin 1.5" in (shown := capsys.readouterr().err)
    assert "proved a bound that is none: 1000000000 ticks, but a plan takes" in shown


def test_a_bound_that_only_a_later_plan_beats_is_blamed_on_the_plugin_too(tmp_path, monkeypatch):
    # On this instance the fast heuristics need 14 us and the best plan 12 us.
    name = "tiny-slow-link"
    instance = mocap_opt.load_instance(INSTANCES / f"{name}.json")
    fast = min(
        mocap_opt.solve(instance, m).assessment.latency for m in ("search-greedy", "uniform-greedy", "mocap")
    )
    best = mocap_opt.solve(instance, "plain-cpsat").assessment.latency
    if best == fast:
        pytest.fail("the instance no longer tells the two apart")
    body = outcome("UNKNOWN", "TIME_LIMIT", bound=int(fast))
    module = broken(body).replace("bad, bad)", "bad, bad, Scope.ANY_EXECUTION)")
    install(monkeypatch, tmp_path, module=module, entry_points=BAD)
    with pytest.raises(PluginError, match=r"tiny-plugin 1\.5 .*proved a bound that is none: a feasible plan"):
        mocap_opt.compare([instance], ["bad-program", "plain-cpsat"])


def test_a_program_that_says_there_is_no_plan_is_not_believed(tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path, module=broken(outcome("INFEASIBLE", "INFEASIBLE")), entry_points=BAD)
    assert exit_code("compare", SLACK, "--methods", "bad-program,mocap", "--json") == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["bad-program"]["status"] == "unknown"
    assert "not taken for a proof" in rows["bad-program"]["reason"]
    assert rows["mocap"]["status"] == "optimal"


def test_a_program_without_a_scope_bounds_nothing(tmp_path, monkeypatch):
    module = MODULE.replace(", Scope.LOCKSTEP", "")
    install(monkeypatch, tmp_path, module=module)
    solution = mocap_opt.solve(mocap_opt.load_instance(SLACK), "again")
    assert solution.plan is not None
    assert "again" not in {bound.name for bound in solution.lower_bounds}


def test_what_goes_wrong_in_a_program_names_the_plugin(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, module=broken("raise KeyError('x')"), entry_points=BAD)
    instance = mocap_opt.load_instance(SLACK)
    with pytest.raises(PluginError, match=r"tiny-plugin 1\.5 .*bad-program.* failed: KeyError: 'x'"):
        mocap_opt.solve(instance, "bad-program")
    with pytest.raises(PluginError, match=r"failed to build its model: KeyError"):
        mocap_opt.build_model(instance, "bad-program")


@pytest.mark.parametrize(
    ("module", "entry", "message"),
    [
        ("import no_such_module_anywhere", "tiny_plugin:halves", "cannot be loaded: ModuleNotFoundError"),
        ("x = (", "tiny_plugin:halves", "cannot be loaded: SyntaxError"),
        ("raise SystemExit", "tiny_plugin:halves", "cannot be loaded: SystemExit"),
        ("", "tiny_plugin:halves", "cannot be loaded: AttributeError"),
        ("", "no_such_module_anywhere:halves", "cannot be loaded: ModuleNotFoundError"),
        ("halves = 3", "tiny_plugin:halves", "is a int, not a function"),
        ("", "what is this", "cannot be loaded"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_harms_nothing_else(
    module, entry, message, tmp_path, monkeypatch, capsys
):
    install(monkeypatch, tmp_path, module=module, entry_points=f"[mocap_opt.heuristics]\nhalves = {entry}\n")
    assert exit_code("solve", SLACK, "--method", "halves") == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "tiny-plugin 1.5 (entry point halves" in shown
    assert exit_code("--help") == 0
    assert exit_code("solve", "--help") == 0
    assert exit_code("solve", SLACK, "--method", "mocap") == 0
    capsys.readouterr()
    assert exit_code("methods", "--json") == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "halves"]
    assert message in row["problem"]


def test_metadata_that_is_none_harms_nothing_else(tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path, entry_points="[mocap_opt.heuristics]\nno equals sign\n")
    assert exit_code("solve", SLACK, "--method", "mocap") == 0
    with pytest.raises(InputError, match=r"method: expected one of .*got 'halves'"):
        mocap_opt.solve(mocap_opt.load_instance(SLACK), "halves")
    capsys.readouterr()
    assert exit_code("methods") == 0
    assert "cannot be read" in " ".join(capsys.readouterr().out.split())


def test_a_built_in_name_wins_and_the_clash_is_said(tmp_path, monkeypatch, capsys):
    entry_points = "[mocap_opt.heuristics]\nmocap = tiny_plugin:halves\n"
    install(monkeypatch, tmp_path, entry_points=entry_points)
    assert exit_code("solve", SLACK, "--method", "mocap", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["boundaries"] == [0, 1, 2, 3, 4]
    assert "mocap is the built-in method, not that of tiny-plugin 1.5" in shown.err
    hidden = [entry for entry in catalogue() if entry.name == "mocap" and entry.problem]
    assert [entry.origin for entry in hidden] == ["tiny-plugin 1.5"]
    assert find_method("mocap") is mocap_opt.METHODS["mocap"]


def test_two_plugins_of_one_name_are_an_error_that_names_both(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "a")
    install(monkeypatch, tmp_path / "b", name="other-plugin")
    with pytest.raises(
        PluginError, match=r"halves is the name of 2 plugins.*other-plugin 1\.5.*tiny-plugin 1\.5"
    ):
        mocap_opt.solve(mocap_opt.load_instance(SLACK), "halves")
    # A distribution that is on the path twice is one.
    install(monkeypatch, tmp_path / "c")
    assert len([plugin for plugin in plugins(HEURISTICS) if plugin.name == "halves"]) == 2


def test_the_list_of_methods_says_where_each_comes_from(tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path)
    assert exit_code("methods", "--json") == 0
    rows = {(row["kind"], row["name"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["method", "halves"]["origin"] == "tiny-plugin 1.5"
    assert rows["method", "halves"]["summary"] == "Two chunks of about the same length."
    assert rows["model", "again"]["origin"] == rows["method", "again"]["origin"] == "tiny-plugin 1.5"
    assert all(
        row["origin"] == "mocap-opt" and row["summary"]
        for (_, name), row in rows.items()
        if name not in ("halves", "patient", "again")
    )
    assert {name for kind, name in rows if kind == "method"} >= set(mocap_opt.METHODS)


def test_the_joint_method_does_not_depend_on_plugins(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, module="raise RuntimeError('imported')", entry_points=ENTRY_POINTS)
    solution = mocap_opt.solve(mocap_opt.load_instance(SLACK), "joint")
    assert solution.report.status.value == "optimal"
    assert "tiny-plugin" not in solution.report.versions


def test_the_command_works_in_a_process_of_its_own(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path)
    command = [sys.executable, "-m", "mocap_opt.cli", "solve", str(SLACK), "--method", "halves"]
    assert "2 x2" in subprocess.check_output(command, text=True)


def line_of(folder: Path, text: str) -> int:
    lines = (folder / "tiny_plugin.py").read_text().splitlines()
    return 1 + next(number for number, line in enumerate(lines) if text in line)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("raise ValueError('no idea')", "no idea"),
        # The innermost line of the plugin, not that of the library which it calls.
        ("import json; json.loads('{')", "json.loads"),
    ],
)
def test_a_failing_plugin_is_shown_with_file_and_line(body, text, tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path, module=broken(body), entry_points=BAD)
    assert exit_code("solve", SLACK, "--method", "bad") == 2
    shown = capsys.readouterr().err
    assert f"tiny_plugin.py:{line_of(tmp_path, text)}" in shown
    assert "Traceback" not in shown


def test_a_plugin_that_fails_on_import_is_shown_with_file_and_line(tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path, module=f"{MODULE}\n1 / 0\n", entry_points=BAD)
    assert exit_code("compare", SLACK, "--methods", "bad") == 2
    assert f"tiny_plugin.py:{line_of(tmp_path, '1 / 0')}" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_failing_plugin_is_traced_back_when_asked(place, tmp_path, monkeypatch, capsys):
    install(monkeypatch, tmp_path, module=broken("raise ValueError('no idea')"), entry_points=BAD)
    command = ["solve", SLACK, "--method", "bad"]
    assert exit_code(*(["--verbose", *command] if place == "before" else [*command, "--verbose"])) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "raise ValueError('no idea')" in shown
