"""Completion in shells: commands, methods and instance files, asked as a shell asks, and in bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_distribution import install

from mocap_opt.cli import main
from mocap_opt.solving import METHOD_NAMES
from mocap_opt.solving.plain import PLAIN_METHODS

ROOT = Path(__file__).parent.parent
VARIABLE = "_MOCAP_OPT_COMPLETE"


def completed(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash is told when TAB is pressed at the end of a line: ``kind,value``."""
    words = line.split(" ")
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit, match="0"):
        main([])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mocap-opt so", ["plain,solve"]),
        ("mocap-opt exp", ["plain,explain", "plain,export"]),
        ("mocap-opt to", ["plain,tour"]),
        ("mocap-opt explain x.json --ea", ["plain,--each"]),
        ("mocap-opt study ta", ["plain,table"]),
        ("mocap-opt solve x.json --method moc", ["plain,mocap"]),
        ("mocap-opt solve x.json --method plain-", [f"plain,{name}" for name in PLAIN_METHODS]),
        ("mocap-opt solve x.json --time-", ["plain,--time-limit"]),
        ("mocap-opt compare x.json --methods gpipe,moc", ["plain,gpipe,mocap"]),
        ("mocap-opt compare x.json --methods mocap,moc", []),
        ("mocap-opt plot x.json --kind ga", ["plain,gantt"]),
        ("mocap-opt max-length x.json --method jo", ["plain,joint"]),
        # The shell completes names of files itself.
        ("mocap-opt solve instances/tiny-sl", ["file,instances/tiny-sl"]),
        ("mocap-opt evaluate x.json pl", ["file,pl"]),
        ("mocap-opt solve x.json --out pl", ["file,pl"]),
    ],
)
def test_what_a_line_can_go_on_with(line, found, capsys, monkeypatch):
    assert completed(line, capsys, monkeypatch) == found


def test_methods_of_plugins_are_completed_without_being_imported(tmp_path, capsys, monkeypatch):
    install(monkeypatch, tmp_path, module="raise RuntimeError('imported')")
    assert completed("mocap-opt solve x.json --method ha", capsys, monkeypatch) == ["plain,halves"]
    every = completed("mocap-opt solve x.json --method ", capsys, monkeypatch)
    assert set(every) >= {f"plain,{name}" for name in (*METHOD_NAMES, "again")}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_for_each_shell_prints_a_script(shell, capsys, monkeypatch):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f"{VARIABLE}={shell}_source mocap-opt" in capsys.readouterr().out
    monkeypatch.setenv(VARIABLE, f"{shell}_source")
    with pytest.raises(SystemExit, match="0"):
        main([])
    script = capsys.readouterr().out
    assert f"{VARIABLE}={shell}_complete" in script
    assert "mocap-opt" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_itself_completes_commands_and_instance_files(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mocap-opt").write_text(f"#!{sys.executable}\nfrom mocap_opt.cli import main\nmain()\n")
    (folder / "mocap-opt").chmod(0o755)
    # compopt works only while a completion is going on, so that one says what it was asked for.
    script = f"""
    eval "$({VARIABLE}=bash_source mocap-opt)"
    compopt() {{ asked=" $1 $2"; }}
    try() {{
        asked=""
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _mocap_opt_completion mocap-opt "${{COMP_WORDS[$COMP_CWORD]}}" ""
        echo "[${{COMPREPLY[*]}}]$asked"
    }}
    try mocap-opt so
    try mocap-opt solve instances/tiny-sla
    """
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    out = subprocess.run(
        [bash, "-c", script], text=True, capture_output=True, env=environment, cwd=ROOT, check=True
    )
    first, second = out.stdout.splitlines()
    assert first == "[solve]"
    # No word of its own, and the shell's files are asked for.
    assert second == "[] -o default"
