"""Whatever stands in a file, it is read or refused with its place; no traceback, and no other exit code.

600 inputs in the usual run; 20,000 others, with a table of what became of them, by

    python -m pytest -m slow tests/test_fuzz.py
"""

from __future__ import annotations

import io
import json
import zlib
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from fuzzing import MODEL, READERS, STREAM, contents
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from mocap_opt.cli import main
from mocap_opt.errors import ExitCode, InputError
from mocap_opt.messages import MOST_PROBLEMS

SEED = 20_260_622
CLI_SHARE = 8
"""One in so many inputs goes through the command line too."""

FEW, MANY = (-(-count // len(READERS)) for count in (600, 20_000))


def read(name: str, path: Path) -> str:
    """What the reader makes of a file."""
    try:
        READERS[name].read(path)
    except InputError as error:
        check(error)
        return "refused"
    return "read"


def check(error: InputError) -> None:
    """A message that any terminal can print, with places, and not without end."""
    assert 1 <= len(error.problems) <= 2 * MOST_PROBLEMS
    assert all(problem.path and problem.expected for problem in error.problems)
    text = str(error)
    assert text.isascii()
    assert all(char.isprintable() or char == "\n" for char in text)
    assert len(text.splitlines()) == len(error.problems)
    # Paths are shown whole.
    assert max(map(len, text.splitlines())) < 20_000


def command(name: str, path: Path) -> str:
    """What the command line makes of a file."""
    out, err = io.StringIO(), io.StringIO()
    arguments = READERS[name].command(path, path.parent)
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
        main(arguments)
    code = ExitCode(stopped.value.code or 0)
    assert "Traceback" not in err.getvalue()
    if code is ExitCode.BAD_INPUT:
        assert out.getvalue() == ""
        first, *problems = err.getvalue().splitlines()
        assert first.startswith("mocap-opt: ")
        assert first.endswith("in the input:")
        assert problems
        assert all(line.startswith("  ") and ": expected " in line for line in problems)
    return f"exit code {int(code)}"


def fuzz(name: str, folder: Path, count: int, number: int) -> Counter[str]:
    """Try a reader on so many inputs; what became of them."""
    (folder / "stream.json").write_text(json.dumps(STREAM))
    (folder / "model.json").write_text(json.dumps(MODEL))
    path = folder / f"input{READERS[name].suffix}"
    outcomes: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        content = data.draw(contents(READERS[name]), label="content")
        path.write_bytes(content)
        outcomes[read(name, path)] += 1
        if zlib.crc32(content) % CLI_SHARE == 0:
            outcomes[command(name, path)] += 1

    attempt()
    return outcomes


@pytest.mark.parametrize("name", READERS)
def test_any_input_is_read_or_refused(name: str, tmp_path: Path) -> None:
    outcomes = fuzz(name, tmp_path, FEW, SEED)
    assert outcomes["read"] + outcomes["refused"] >= FEW
    assert outcomes["read"] >= FEW / 100
    assert outcomes["refused"] >= FEW / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_inputs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = fuzz(name, tmp_path, MANY, SEED + 1)
    with capsys.disabled():
        print(f"\n{name}: " + ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items())))
    assert outcomes["read"] + outcomes["refused"] >= MANY


def test_seeds_are_valid(tmp_path: Path) -> None:
    """So that what is refused is refused for its changes."""
    (tmp_path / "stream.json").write_text(json.dumps(STREAM))
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    for name, reader in READERS.items():
        for content in reader.seeds:
            if name == "override" and ("dead_dies" in content or "stages" in content):
                continue
            path = tmp_path / f"seed{reader.suffix}"
            path.write_text(reader.form(content))
            assert read(name, path) == "read", (name, content)
