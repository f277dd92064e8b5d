"""The table of log forms: how each is told from the others, and who reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mocap_opt.calibration.logs import (
    aiconfigurator,
    atom,
    json_rows,
    llmservingsim,
    sglang,
    trtllm,
    vllm,
    vllm_ascend,
)
from mocap_opt.calibration.logs.log import Asked, Log, Row, settled
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_text, source_name
from mocap_opt.instance.timings import COLUMNS, parse_timings


@dataclass(frozen=True)
class LogForm:
    """A form of logs.

    Attributes
    ----------
    what : str
        In words, for help and messages.
    found : callable
        Whether a text has it.
    read : callable
        From a text, its source for messages and what the log leaves out to what it says.
    engine : str or None
        Whose log it is; None: anybody's.
    takes : tuple of str
        Which fields of `Asked` it may need.
    """

    what: str
    found: Callable[[str], bool]
    read: Callable[[str, str, Asked], Log]
    engine: str | None = None
    takes: tuple[str, ...] = ()

    def check(self, asked: Asked, source: str) -> None:
        """Refuse to be told what logs of this form say themselves.

        Parameters
        ----------
        asked : Asked
        source : str
            For messages.

        Raises
        ------
        InputError
        """
        told = [name for name, value in vars(asked).items() if value is not None and name not in self.takes]
        if told:
            option = "--tp" if told[0] == "degree" else f"--{told[0]}"
            value = "" if told[0] == "model" else f" {getattr(asked, told[0])}"
            expected = f"no {option}: {self.what} does not need it"
            raise InputError([Problem(source, f"{option}{value}", expected)])


def _is_csv(text: str) -> bool:
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return any(name.strip() in COLUMNS for name in next(lines, "").split(","))


def _read_csv(text: str, source: str, asked: Asked) -> Log:
    table = parse_timings(text, source)
    stages = [None] * table.length.size if table.stage is None else table.stage.tolist()
    parts = (table.length.tolist(), table.prefix.tolist(), table.seconds.tolist(), stages)
    timings, notes = settled((Row(0, *row) for row in zip(*parts, strict=True)), source, in_time=False)
    return Log("csv", source, timings, notes=tuple(notes))


def _folder_only(text: str, source: str, asked: Asked) -> Log:
    expected = "the folder that holds attention.csv and dense.csv"
    raise InputError([Problem(source, "a file", expected, "name the folder")])


def _kernels_only(text: str, source: str, asked: Asked) -> Log:
    expected = "the folder of a version that holds it and the other tables"
    raise InputError([Problem(source, "a file", expected, "name the folder")])


_FORMS: tuple[tuple[str, str, Callable[[str], bool], Callable[[str, str, Asked], Log], str | None], ...] = (
    ("csv", "table chunk_tokens,prefix_tokens,seconds[,stage]", _is_csv, _read_csv, None),
    ("sglang", "SGLang's server log", sglang.found, sglang.read, "sglang"),
    ("vllm-ascend", "vLLM-Ascend's fits of chunks", vllm_ascend.found, vllm_ascend.read, "vllm-ascend"),
    ("atom", "ATOM's fit of chunks", atom.found, atom.read, "atom"),
    ("vllm", "vLLM's log of iterations", vllm.found, vllm.read, "vllm"),
    ("trtllm-log", "TensorRT-LLM's print_iter_log", trtllm.lines_found, trtllm.read_lines, "trtllm"),
    ("trtllm", "TensorRT-LLM's statistics", trtllm.statistics_found, trtllm.read_statistics, "trtllm"),
    ("json", "JSON objects with named fields", json_rows.found, json_rows.read, None),
    ("llmservingsim", "LLMServingSim's folder of layers", llmservingsim.found, _folder_only, None),
    ("aiconfigurator", "AIConfigurator's folder of kernels", aiconfigurator.found, _kernels_only, None),
)

_TAKES: dict[str, tuple[str, ...]] = dict.fromkeys(("sglang", "vllm", "trtllm-log", "trtllm"), ("prompt",))
_TAKES |= {"llmservingsim": ("layers",), "aiconfigurator": ("model", "layers", "degree")}

LOG_FORMS: dict[str, LogForm] = {
    name: LogForm(what, found, read, engine, _TAKES.get(name, ()))
    for name, what, found, read, engine in _FORMS
}
"""By name, in the order in which they are looked for."""


def read_log(
    path: str | os.PathLike[str],
    form: str | None = None,
    asked: Asked | None = None,
    engine: str | None = None,
) -> Log:
    """Read a log of chunk times.

    Parameters
    ----------
    path : path
        ``"-"`` is standard input; a folder is one of AIConfigurator's or LLMServingSim's.
    form : str, optional
        One of `LOG_FORMS`; told from the text by default.
    asked : Asked, optional
        What the log may leave out.
    engine : str, optional
        Whose setting is wanted: another engine's log is refused unless its form is named.

    Raises
    ------
    InputError
        If the file is unreadable, of no known form or of another engine, or its reader finds it wrong; the
        problem names the line.
    """
    source, asked = source_name(path), asked or Asked()
    if form is not None and form not in LOG_FORMS:
        raise InputError([Problem("format", form, f"one of {', '.join(LOG_FORMS)}")])
    if os.fspath(path) != "-" and Path(path).is_dir():
        kernels = aiconfigurator.is_folder(Path(path))
        LOG_FORMS["aiconfigurator" if kernels else "llmservingsim"].check(asked, source)
        read_folder = aiconfigurator.read_folder if kernels else llmservingsim.read_folder
        return read_folder(Path(path), source, asked)
    text = read_text(path)
    if not text.strip():
        raise InputError([Problem(source, "nothing", "a log of chunk times")])
    if form is not None:
        if not LOG_FORMS[form].found(text):
            expected = f"lines of this form: {LOG_FORMS[form].what}"
            raise InputError([Problem(source, "none", expected, "leave --format out")])
        return _read(LOG_FORMS[form], text, source, asked)
    found = [name for name, each in LOG_FORMS.items() if each.found(text)]
    if not found:
        known = "; ".join(f"{name}: {each.what}" for name, each in LOG_FORMS.items())
        raise InputError([Problem(source, "none", f"a line of a known form ({known})")])
    own = [name for name in found if engine is None or LOG_FORMS[name].engine in (None, engine)]
    if not own:
        expected = f"a log of {engine} or a plain table"
        remedy = f"--format {found[0]} takes its times all the same"
        raise InputError([Problem(source, LOG_FORMS[found[0]].what, expected, remedy)])
    return _read(LOG_FORMS[own[0]], text, source, asked)


def _read(form: LogForm, text: str, source: str, asked: Asked) -> Log:
    form.check(asked, source)
    return form.read(text, source, asked)
