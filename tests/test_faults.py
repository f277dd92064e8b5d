"""Full disks, places that cannot be written, lost processes and solvers: a message, and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mocap_opt.files as files
from mocap_opt.cli import main
from mocap_opt.cli.outputs import line_writer
from mocap_opt.errors import ExitCode, InputError
from mocap_opt.files import STALE_S, write_text_atomically
from mocap_opt.instance import Instance
from mocap_opt.studies import runners
from mocap_opt.studies.bench.family import make
from mocap_opt.studies.bench.rows import measures
from mocap_opt.studies.bench.run import BenchSettings, one_by_one
from mocap_opt.studies.tasks import Task

INSTANCES = Path(__file__).parent.parent / "instances"
TINY = str(INSTANCES / "tiny-slack.json")
NEEDS_SOLVER = str(INSTANCES / "tiny-unequal.json")

# The system refuses to write beyond a few bytes, as it does on a full disk.
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
RUN = "import sys, mocap_opt.__main__ as entry; entry.run()"


def run(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return int(stopped.value.code or 0), shown.out, shown.err


def start(*arguments: str | Path, code: str = RUN, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=120, **options)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


def test_a_full_disk_costs_the_file_and_not_the_answer(tmp_path: Path) -> None:
    """The log ends, the older plan stays, and the message names the place."""
    plan, log = tmp_path / "plan.json", tmp_path / "log"
    plan.write_text("an older plan")
    done = start("solve", TINY, "--out", plan, "--log", log, code=FULL + RUN, stdout=subprocess.PIPE)
    assert done.returncode == ExitCode.BAD_INPUT
    assert f"{log}: file too large; the file ends there, the work goes on" in done.stderr
    assert f"{plan}: expected a place that can be written, got file too large" in done.stderr
    assert plan.read_text() == "an older plan"
    assert log.read_text() == ""
    assert sorted(item.name for item in tmp_path.iterdir()) == ["log", "plan.json"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no device that is always full")
def test_standard_output_on_a_full_disk_is_said_and_the_plan_is_kept(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = start("solve", TINY, "--out", tmp_path / "plan.json", stdout=full)
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr == "mocap-opt: standard output: no space left on device\n"
    assert json.loads((tmp_path / "plan.json").read_text())["boundaries"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("command", [["schema"], ["compare", TINY, "--methods", "gpipe"]], ids=lambda c: c[0])
def test_a_reader_that_has_gone_is_no_error(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = start(*command, stdout=writing)
    finally:
        os.close(writing)
    assert done.returncode == ExitCode.ANSWERED
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["--out", "--log", "--trace"])
def test_results_take_the_place_of_nothing_but_files(option: str, tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "instance.json").write_bytes(Path(TINY).read_bytes())
    (tmp_path / "loop").symlink_to("loop")
    for place, message in (
        ("pipe", "expected the name of a file, got not a regular file"),
        (".", "got a directory"),
        ("file/plan.json", "got "),
        ("missing/plan.json", "got no such directory (create the directory first)"),
        ("instance.json", "expected a file of its own, got a file that is read too"),
        ("loop", "expected a place that can be written"),
    ):
        code, out, err = run("solve", tmp_path / "instance.json", option, tmp_path / place, capsys=capsys)
        assert (code, out) == (ExitCode.BAD_INPUT, "")
        assert message in err
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "instance.json").read_bytes() == Path(TINY).read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "instance.json", "loop", "pipe"]


def test_two_results_do_not_share_a_file(tmp_path: Path, capsys) -> None:
    (tmp_path / "link").symlink_to("x")
    code, _, err = run("solve", TINY, "--out", tmp_path / "x", "--log", tmp_path / "link", capsys=capsys)
    assert code == ExitCode.BAD_INPUT
    assert "link: expected a file of its own, got a file that is written too (choose another name)" in err


def test_a_link_is_followed_to_a_file_only(tmp_path: Path, capsys) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "plan.json").symlink_to("elsewhere/real.json")
    assert run("solve", TINY, "--out", tmp_path / "plan.json", capsys=capsys)[0] == 0
    assert (tmp_path / "plan.json").is_symlink()
    assert json.loads((tmp_path / "elsewhere" / "real.json").read_text())["kind"] == "plan"
    (tmp_path / "device").symlink_to("/dev/null")
    code, _, err = run("solve", TINY, "--out", tmp_path / "device", capsys=capsys)
    assert code == ExitCode.BAD_INPUT
    assert "got not a regular file (write a file and copy it there)" in err
    assert Path("/dev/null").is_char_device()


def test_a_writer_killed_before_the_rename_leaves_the_old_file_and_later_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    code = "import os, signal; import mocap_opt.files as f\n"
    code += "f.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    code += f"f.write_text_atomically({str(path)!r}, 'new')"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = (item for item in tmp_path.iterdir() if item != path)
    # It may be that of a writer at work.
    write_text_atomically(path, "newer")
    assert left.exists()
    os.utime(left, (time.time() - STALE_S - 60,) * 2)
    for other in (tmp_path / f".other{left.suffix}", tmp_path / ".out.json.mine"):
        other.write_text("of another file")
        os.utime(other, (0, 0))
    write_text_atomically(path, "newest")
    assert path.read_text() == "newest"
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        ".other.unfinished", ".out.json.mine", "out.json"
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_an_error_at_any_step_of_a_write_changes_nothing(step: str, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "out").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(InputError, match="expected a place that can be written, got input/output error"):
        write_text_atomically(tmp_path / "out", "new")
    monkeypatch.undo()
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("out", "old")]


def test_lines_end_where_one_could_not_be_written(tmp_path: Path) -> None:
    path, told = tmp_path / "lines", []
    with line_writer(path, told.append) as write:
        write("whole\n")
        size = path.stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 3, before[1]))
        try:
            write("cut off\n")
            write("not tried\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        write("nor afterwards\n")
    assert path.read_text() == "whole\n"
    assert len(told) == 1
    assert "the file ends there, the work goes on" in told[0]


# An import hook that lets no module of a name in.
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == {module!r}:
            raise ModuleNotFoundError('No module named ' + name, name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize(("solver", "module"), [("highs", "highspy"), ("cpsat", "ortools")])
def test_a_missing_solver_is_exit_code_5(solver: str, module: str) -> None:
    code = BLOCKED.format(module=module) + RUN
    done = start("solve", NEEDS_SOLVER, "--method", f"plain-{solver}", code=code, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (ExitCode.SOLVER_UNAVAILABLE, "")
    assert module in done.stderr
    assert "pip install" in done.stderr


def test_a_benchmark_whose_run_is_killed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = runners._Worker.ask

    def killed(worker, line, within_s, curve):
        if line is not None:
            worker.process.kill()
        return ask(worker, line, within_s, curve)

    monkeypatch.setattr(runners._Worker, "ask", killed)
    asked = BenchSettings().ask("auto", "best", 60.0)
    (left,) = one_by_one(60.0).run([Task.of("latency", Instance.from_dict(make("S-tight")), asked)])
    assert measures(left)["status"] == "failed"
    assert "killed by SIGKILL" in measures(left)["reason"]


@pytest.mark.parametrize(
    "command",
    [
        ["solve", TINY],
        ["solve", TINY, "--method", "plain-cpsat"],
        ["solve", TINY, "--method", "mocap"],
        ["solve", TINY, "--set", "objective=period", "--set", "pipeline.queue_depth=2"],
        ["max-length", TINY, "--equal-chunks"],
        ["compare", TINY, "--methods", "mocap,joint"],
        ["tradeoff", TINY, "--chunks", "auto"],
    ],
    ids=lambda command: "-".join(command[:1] + command[2:]),
)
def test_no_time_at_all_gives_an_answer_or_exit_code_4(command: list[str], capsys) -> None:
    code, out, err = run(*command, "--time-limit", "0", capsys=capsys)
    assert code in (ExitCode.ANSWERED, ExitCode.NO_PLAN)
    assert out
    assert "interrupted" not in err
