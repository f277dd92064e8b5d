"""The command line, called in this process."""

from __future__ import annotations

import pytest

from mocap_opt.cli import main


def exit_code(*arguments: object) -> int:
    """Exit code of a command."""
    with pytest.raises(SystemExit, match=r"\d") as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = exit_code(*arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err
