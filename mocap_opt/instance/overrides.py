"""Fields of an instance by dotted path: as people change them, and as people write them.

``pipeline.stages=28`` and ``wafer.die.memory_bytes=20GB`` change a field; `fields` lists all of them so.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import parse_json
from mocap_opt.messages import show
from mocap_opt.units import format_bandwidth, format_bytes, format_flops, format_seconds, format_tokens

EXAMPLE = "write pipeline.stages=28"
_JSON_START = re.compile(
    r'\s*(?:[\[{"]|-?[0-9.]+(?:[eE][+-]?[0-9]+)?\s*$|(?:null|true|false|NaN|-?Infinity)\s*$)'
)


def _value(text: str, source: str) -> Any:
    """Read JSON where it looks like JSON, otherwise take the bare text (a size, a name)."""
    return parse_json(text, source) if _JSON_START.match(text) else text.strip()


def parse_override(override: str) -> tuple[tuple[str | int, ...], Any]:
    """Split ``path=value``; ``a[2].b`` and ``a.2.b`` mean the same.

    Raises
    ------
    InputError
        If there is no path or the value is broken JSON.
    """
    path, equals, text = override.partition("=")
    path = path.strip()
    if not equals or not re.fullmatch(r"\w+(?:\.\w+|\[[0-9]+\])*", path, re.ASCII) or len(path) > 200:
        raise InputError([Problem("override", show(override), "path=value", EXAMPLE)])
    parts = path.replace("[", ".").replace("]", "").split(".")
    # More digits than any list has places would only cost time to read.
    steps = tuple(int(part) if part.isdecimal() and len(part) < 9 else part for part in parts)
    return steps, _value(text, path)


def _expanded(section: str, value: Any) -> Any:
    """Turn a model or wafer given by name into an object that can be changed."""
    return {"preset": value} if section in ("model", "wafer") and isinstance(value, str) else value


def _set(data: dict[str, Any], steps: tuple[str | int, ...], value: Any, path: str) -> None:
    here: Any = data
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        if isinstance(here, list):
            if not isinstance(step, int) or step >= len(here):
                raise InputError([Problem(path, show(step), f"an index below {len(here)}", EXAMPLE)])
        elif isinstance(here, dict):
            step = str(step)
            if not last:
                here[step] = (
                    _expanded(step, here[step]) if depth == 0 and step in here else here.get(step, {})
                )
                # A null section is an absent one.
                here[step] = {} if here[step] is None else here[step]
        else:
            reached = ".".join(map(str, steps[:depth]))
            raise InputError(
                [Problem(path, show(here), f"an object at {reached}", f"set {reached} as a whole")]
            )
        if last:
            here[step] = value
        else:
            here = here[step]


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Copy of `data` with the overrides applied in order.

    Parameters
    ----------
    data : mapping
        An instance as JSON holds it; left as it is.
    overrides : iterable of str
        Each ``path=value``.

    Raises
    ------
    InputError
        Listing every override that cannot be read or applied; whether the values are valid is
        for the instance to say.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    problems: list[Problem] = []
    for override in overrides:
        try:
            steps, value = parse_override(override)
            _set(changed, steps, value, override.partition("=")[0].strip())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return changed


WRITTEN: dict[str, Callable[[Any], str]] = {
    "bytes": format_bytes,
    "s": format_seconds,
    "bytes/s": format_bandwidth,
    "FLOP/s": format_flops,
    "tokens": lambda tokens: format_tokens(int(tokens)) if tokens == int(tokens) else f"{tokens:g}",
}
"""How people write figures of a unit."""


def fields(section: BaseModel, path: str = "") -> list[tuple[str, str]]:
    """Dotted paths and values of an instance, as ``--set`` takes them, figures with their units.

    Parameters
    ----------
    section : BaseModel
        An instance, or a section of it.
    path : str
        Where it stands.
    """
    rows = []
    for key, held in type(section).model_fields.items():
        value, here = getattr(section, key), f"{path}.{key}" if path else key
        if isinstance(value, BaseModel):
            rows += fields(value, here)
            continue
        extra = held.json_schema_extra
        unit = extra.get("unit") if isinstance(extra, dict) else None
        write = WRITTEN.get(unit, plain) if isinstance(unit, str) else plain
        rows.append((here, write(value) if isinstance(value, int | float) else plain(value)))
    return rows


def plain(value: Any) -> str:
    """A value without a unit as people write it; equal neighbours in a longer list are counted."""
    if value is None or value == "" or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
    if isinstance(value, list | tuple):
        listed = [f"({plain(each)})" if isinstance(each, list | tuple) else plain(each) for each in value]
        # Two numbers are a die.
        runs = ((each, len(list(run))) for each, run in groupby(listed)) if len(value) > 2 else ()
        return ", ".join(each if n == 1 else f"{each} x{n}" for each, n in runs) or ", ".join(listed)
    if isinstance(value, BaseModel):
        return ", ".join(f"{key} {each}" for key, each in fields(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(each)}" for key, each in value.items())
    return str(value)
