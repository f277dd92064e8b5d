"""How messages about inputs show values, name places and guess what was meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice

from mocap_opt.errors import Problem

MOST_PROBLEMS = 200
_SHOWN = 60


def show(value: object) -> str:
    """Write a value as JSON for a message: on one line, printable, shortened."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length():,} bits"
    if isinstance(value, float) and 1e6 <= abs(value) < 1e24 and value.is_integer():
        return _engineering(value)
    try:
        text = json.dumps(_start(value), ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = ascii(type(value).__name__)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def said_once(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Texts in order, each once, after the names of all who say it.

    Parameters
    ----------
    lines : iterable of (str, str)
        Names and texts.
    """
    names: dict[str, dict[str, None]] = {}
    for name, text in lines:
        names.setdefault(text, {})[name] = None
    return [f"{', '.join(who)}: {text}" for text, who in names.items()]


def _start(value: object) -> object:
    """As much of a value as can be seen of it, since a wrong file may hold any amount."""
    if isinstance(value, str):
        return value[:_SHOWN]
    if isinstance(value, list | tuple):
        return [_start(item) for item in value[:_SHOWN]]
    if isinstance(value, dict):
        return {key: _start(item) for key, item in islice(value.items(), _SHOWN)}
    return value


def _engineering(value: float) -> str:
    """Write a large number with an exponent that is a multiple of 3: ``70e9``."""
    power = (len(str(abs(int(value)))) - 1) // 3 * 3
    return f"{value / 10**power:.15g}e{power}"


def join_path(*parts: object) -> str:
    """Path of a field, ``wafer.dead_dies[2]``; keys that are not plain names are quoted."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            plain = re.fullmatch(r"[\w$-]{1,60}", str(part), re.ASCII)
            path += ("." if path else "") + (str(part) if plain else show(part))
    return path


def close_to(given: object, known: Iterable[str]) -> str:
    """Return ``did you mean "..."?`` if one of `known` resembles what was given, else nothing.

    Parameters
    ----------
    given : object
    known : iterable of str
    """
    near = difflib.get_close_matches(str(given)[:100].lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else ""


def capped(problems: Sequence[Problem], source: str) -> list[Problem]:
    """Keep the first `MOST_PROBLEMS` and say how many more there are: a wrong file may have millions.

    Parameters
    ----------
    problems : sequence of Problem
    source : str
        What they are about, for the last one.
    """
    more = len(problems) - MOST_PROBLEMS
    return [*problems[:MOST_PROBLEMS], uncounted(more, source)] if more > 0 else list(problems)


def uncounted(more: int, source: str) -> Problem:
    """Return the problem that there are more problems than are worth naming.

    Parameters
    ----------
    more : int
        How many, at least.
    source : str
        What they are about.
    """
    return Problem(source, f"at least {more:,} more problems", "none", "is this the right file?")
