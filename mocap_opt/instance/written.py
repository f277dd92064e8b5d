"""An instance as people write it: dotted paths, figures with their units."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from pydantic import BaseModel

from mocap_opt.units import format_bandwidth, format_bytes, format_flops, format_seconds, format_tokens

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
    return str(value)
