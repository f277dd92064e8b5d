"""The page on one's own model and wafer, followed as it stands: its files, its commands, its figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import command_line
import pytest
from documented_commands import blocks, commands, shell_lines

from mocap_opt.instance import MODELS
from mocap_opt.instance.hf_config import model_from_config

FILE = Path(__file__).parent.parent / "formulations" / "own_instance.md"
PAGE = FILE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.-]+)`:\n\n```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
LINES = shell_lines(FILE)


def run(line: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    (arguments,) = commands(line)
    code, out, _ = command_line.run(*arguments, *more, capsys=capsys)
    return code, out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_to_a_certified_schedule(folder, capsys):
    assert [commands(line)[0][0] for line in LINES] == [
        "check",
        "show",
        "solve",
        "evaluate",
        "report",
        "solve",
    ]
    check, show, solve, evaluate, report, hopeless = LINES
    assert run(check, capsys)[1].startswith("my-instance.json: ok\n")
    shown = run(show, capsys)[1]
    (share,) = re.findall(r"here ([\d.]+ %) of the room", PAGE)
    assert f"is {share} of the room" in shown
    assert "dies without a stage" in shown

    code, out = run(solve, capsys, "--json")
    answer = json.loads(out)
    assert (code, answer["status"]) == (0, "optimal")
    assert answer["latency_s"] * (1 - 1e-4) <= answer["lower_bound_s"] <= answer["latency_s"]
    (printed,) = (text for text in blocks(FILE, ("",)) if text.startswith("Plans tried"))
    assert f"latency            {answer['latency_s']:.3f} s" in printed
    assert f"lower bound        {answer['lower_bound_s']:.3f} s" in printed

    judged = json.loads(run(evaluate, capsys, "--json")[1])
    assert (judged["fingerprint"], judged["latency_s"]) == (answer["fingerprint"], answer["latency_s"])
    assert judged["gap"] <= 1e-4
    assert run(report, capsys)[0] == 0
    assert answer["instance"] in (folder / "report.html").read_text(encoding="utf-8")

    code, out = run(hopeless, capsys)
    assert code == 3
    assert "GB short" in " ".join(out.split())


def test_the_model_and_the_wafer_are_not_shipped():
    instance = json.loads(FILES["my-instance.json"])
    model, _ = model_from_config(json.loads(FILES["config.json"]))
    sizes = ("layers", "hidden", "heads", "ffn", "vocabulary")
    assert all(any(other[name] != model[name] for name in sizes) for other in MODELS.values())
    assert "preset" not in instance["wafer"]
