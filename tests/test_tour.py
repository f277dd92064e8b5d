"""The tour runs, shows commands that can be typed, and their real output, in 80 columns."""

from __future__ import annotations

import importlib.util
import json

from command_line import exit_code, run
from documented_commands import options, resolve

from mocap_opt import Instance
from mocap_opt.cli import tour


def test_the_tour_shows_commands_and_their_output_in_eighty_columns(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("tour", "--no-pause", "--out", "shown", capsys=capsys)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    typed = out.replace(" \\\n   ", "").splitlines()
    for step in tour.steps(tmp_path / "shown"):
        assert step.title in out
    assert "$ mocap-opt solve shown/tour.json --out shown/plan.json" in typed
    # What is shown is what the command says: the by-hand optimum, and what twice the link brings.
    assert "latency            12.000 us" in out
    assert "twice the GB/s of links" in out
    assert (tmp_path / "shown" / "plan.json").exists()
    drawn = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "shown" / "gantt.png").exists() == drawn
    assert "Where to go next" in out


def test_every_command_of_the_tour_exists_with_its_options(tmp_path) -> None:
    for step in tour.steps(tmp_path):
        for arguments in step.commands:
            command, rest = resolve(list(arguments))
            assert {word for word in rest if word.startswith("--")} <= options(command)
    for _, line in tour.NEXT:
        resolve(line.split()[1:])


def test_the_instance_of_the_tour_is_one_that_is_known_by_hand() -> None:
    instance = Instance.from_dict(tour.INSTANCE)
    with open("instances/tiny-slow-link.json", encoding="utf-8") as file:
        assert instance.fingerprint == Instance.from_dict(json.load(file)).fingerprint


def test_long_commands_are_continued_so_that_a_shell_takes_them() -> None:
    lines = tour.typed(("solve", "x" * 40, "--out", "y" * 40))
    assert len(lines) == 2
    assert lines[0].endswith(" \\")


def test_a_pause_that_nobody_can_end_is_not_asked_again(monkeypatch) -> None:
    def closed(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    assert not tour._go_on()


def test_ctrl_c_in_a_pause_ends_the_tour_politely(tmp_path, monkeypatch, capsys) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(tour, "_go_on", interrupted)
    monkeypatch.setattr(tour, "_pausing", lambda no_pause: True)
    monkeypatch.chdir(tmp_path)
    assert exit_code("tour", "--out", "shown") == 0
    out = capsys.readouterr().out
    assert "The tour ends here" in out
    assert "2. Solve" not in out


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("tour", "--out", tmp_path / "file", capsys=capsys)
    assert code == 2
    assert "a folder that can be made" in err
