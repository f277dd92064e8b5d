"""What the README and the pages tell people to type works."""

from __future__ import annotations

import glob
import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from documented_commands import blocks, commands, inline_commands, options, resolve, shell_lines

from mocap_opt.cli import main
from mocap_opt.instance import Instance

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = sorted((ROOT / ".docs").rglob("*.md"))
PAGES = [README, *GUIDES, *sorted((ROOT / "formulations").glob("*.md"))]

QUICK = {
    "solve",
    "evaluate",
    "show",
    "check",
    "bound",
    "schema",
    "versions",
    "methods",
    "export",
    "tables",
    "fit",
    "advise",
    "max-length",
    "timings",
    "instance",
}
"""Commands that a reduced time limit keeps short; lines with any other are slow."""

SMALL = re.compile(r"instances/tiny-")
"""What Python on a page reads if it is to run by default."""

CONFIG = "mixtral-8x22b.json"
"""What stands for a reader's own ``config.json``."""

LIMIT_S = 2.0


def shown() -> list[object]:
    return [
        pytest.param(
            line, marks=() if {call[0] for call in commands(line) if call} <= QUICK else pytest.mark.slow
        )
        for page in (README, *GUIDES)
        for line in shell_lines(page)
    ]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of what the README's commands read, to run them in."""
    shutil.copytree(ROOT / "instances", tmp_path / "instances", ignore=shutil.ignore_patterns("*.sqlite*"))
    (tmp_path / ".pictures").mkdir()
    shutil.copy(ROOT / "tests" / "data" / "configs" / CONFIG, tmp_path / "config.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def limited(arguments: list[str]) -> list[str]:
    """The same with globs expanded and less time, where the command takes a limit."""
    command, _ = resolve(arguments)
    if isinstance(command, click.Group):
        command = command.commands["run"]
    made = [name for text in arguments for name in (sorted(glob.glob(text)) or [text])]
    if "--time-limit" in made:
        at = made.index("--time-limit") + 1
        made[at] = str(min(float(made[at]), LIMIT_S))
    elif "--time-limit" in options(command) and "--deterministic-limit" not in made:
        made += ["--time-limit", str(LIMIT_S)]
    return made


def test_the_readme_shows_the_two_commands_to_begin_with():
    lines = shell_lines(README)
    assert any(call[:1] == ["solve"] for line in lines for call in commands(line))
    assert any("pytest" in line for block in blocks(README, ("sh",)) for line in block.splitlines())


def answers(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"\d") as stopped:
        main(limited(arguments))
    out = capsys.readouterr()
    assert stopped.value.code == 0, out.err
    assert out.out


@pytest.mark.parametrize("line", shown())
def test_a_command_of_the_readme_answers(line, copy, capsys):
    for arguments in commands(line):
        answers(arguments, capsys)


def whole(arguments: list[str]) -> bool:
    """Whether a call within a sentence can be run: it names files, no FILE to fill in, no study of hours."""
    if arguments[0] == "study" and not any("tiny" in text for text in arguments):
        return False
    named = any(text.startswith("instances/") for text in arguments)
    return named and not any(re.fullmatch(r"\W?[A-Z]{2,}\W*(\.\w+)?", text) for text in arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [call for page in (README, *GUIDES) for call in inline_commands(page) if whole(call)],
    ids=" ".join,
)
def test_a_command_within_a_sentence_of_the_readme_answers(arguments, copy, capsys):
    answers(arguments, capsys)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_named_on_a_page_exist_with_their_options(page):
    named = [*inline_commands(page), *(call for line in shell_lines(page) for call in commands(line))]
    for arguments in named:
        command, rest = resolve(arguments)
        assert command.name != "cli" or rest == ["--help"], f"mocap-opt {' '.join(arguments)}"
        unknown = {text.partition("=")[0] for text in rest if text.startswith("--")} - options(command)
        assert not unknown, f"mocap-opt {' '.join(arguments)}: {unknown}"


@pytest.mark.parametrize("page", [README, *GUIDES], ids=lambda page: page.stem)
def test_every_line_of_shell_is_one(page):
    for block in blocks(page, ("sh", "bash")):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def code_shown() -> list[object]:
    return [
        pytest.param(code, marks=() if SMALL.search(code) else pytest.mark.slow, id=f"{page.stem}-{number}")
        for page in (README, *GUIDES)
        for number, code in enumerate(blocks(page, ("python",)))
    ]


@pytest.mark.parametrize("code", code_shown())
def test_python_of_readme_and_guides_runs(code, copy, monkeypatch):
    monkeypatch.setattr("mocap_opt.solving.api.TIME_LIMIT_S", LIMIT_S)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("text", [text for page in (README, *GUIDES) for text in blocks(page, ("json",))])
def test_instances_in_readme_and_guides_are_valid(text):
    data = json.loads(text)
    if "model" in data:
        assert Instance.from_dict(data).name == data["name"]
