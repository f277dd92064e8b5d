"""Tables as JSON: every integer that programs, bounds and replays read, for programs that are not ours.

The format is written down in ``formulations/notation.md``, the fields in
:mod:`mocap_opt.tables.table_fields`.
Reading is exact: integers are JSON integers of any size up to 64 bits, fractions are texts ``"p/q"``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, source_name, write_text_atomically
from mocap_opt.messages import MOST_PROBLEMS, capped, close_to, join_path, show
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.fixed_messages import Entry, MessageKind
from mocap_opt.tables.table_fields import AXES, FIELDS, Field
from mocap_opt.tables.table_shapes import TOGETHER, WITHOUT_STAGE

VERSION = 1
MAX_BYTES = 256 * 2**20
"""Largest file that is read: 20 million numbers and more."""

OPTIONAL = tuple(field.name for field in FIELDS if field.kind.endswith(" or none"))
"""Fields that a file may leave out."""

_FRACTION = re.compile(r"[0-9]{1,40}(?:/(?!0+$)[0-9]{1,40})?")


def tables_to_dict(tables: Tables, fingerprint: str | None = None) -> dict[str, Any]:
    """Return tables as JSON holds them; `tables_from_dict` reads them back.

    Parameters
    ----------
    tables : Tables
    fingerprint : str, optional
        Of the instance they were made from.
    """
    return {
        "version": VERSION,
        "kind": "tables",
        "fingerprint": fingerprint,
        "dimensions": _dimensions(tables),
        "fields": {
            field.name: _described(field, value)
            for field in FIELDS
            if not (_nothing(value := getattr(tables, field.name)) and field.name in OPTIONAL)
        },
    }


def _dimensions(tables: Tables) -> dict[str, int]:
    stages, points = tables.stages, tables.steps + 1
    sizes = {"stage": stages, "point": points, "length": points, "tail": 2, "link": len(tables.links)}
    optional = {"pool": len(tables.pools), "window": 0 if tables.ring_span is None else tables.ring_span.size}
    optional |= {"message": len(tables.messages), "entry": len(Entry) if tables.messages else 0}
    sizes |= optional
    return {axis: sizes.get(axis, tables.memories) for axis in AXES if optional.get(axis, 1)}


def _nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, tuple) and not value)


def _described(field: Field, value: Any) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif field.kind == "fraction":
        value = str(value)
    elif isinstance(value, tuple):
        value = list(value)
    about: dict[str, Any] = {"unit": field.unit} if field.unit else {}
    if field.axes:
        about["axes"] = list(field.axes)
    return {**about, "meaning": field.meaning, "value": value}


def tables_from_dict(data: Mapping[str, Any]) -> Tables:
    """Read tables.

    Units and axes, where the file gives them, must be those of `FIELDS`; texts about meanings are
    not looked at.

    Raises
    ------
    InputError
        Listing every problem.
    """
    read = _Reader()
    read.keys(data, ("version", "kind", "fingerprint", "dimensions", "fields"), ("version", "kind", "fields"))
    if "version" in data and (isinstance(data["version"], bool) or data["version"] != VERSION):
        read.problem("version", show(data["version"]), str(VERSION))
    if "kind" in data and data["kind"] != "tables":
        read.problem("kind", show(data["kind"]), '"tables"')
    fields = data.get("fields")
    if not isinstance(fields, dict):
        if "fields" in data:
            read.problem("fields", show(fields), "an object with the fields")
        raise InputError(capped(read.problems, "tables"))
    names = tuple(field.name for field in FIELDS)
    required = tuple(field.name for field in FIELDS if field.name not in OPTIONAL)
    read.keys(fields, names, required, "fields")
    values = {field.name: read.field(field, fields[field.name]) for field in FIELDS if field.name in fields}
    if not read.problems:
        read.sizes(data.get("dimensions"))
    if not read.problems:
        read.problems.extend(_contradictions(values))
    if read.problems:
        raise InputError(capped(read.problems, "tables"))
    return Tables(**values)


class _Reader:
    """Reads the fields one by one and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        # Size of every axis met so far, and the field that set it.
        self.size: dict[str, tuple[int, str]] = {"tail": (2, "")}

    def problem(self, path: str, found: str, expected: str, remedy: str = "") -> None:
        """Note a problem.

        Parameters
        ----------
        path, found, expected, remedy : str
            As of `Problem`.
        """
        self.problems.append(Problem(path, found, expected, remedy))

    def keys(
        self, data: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...], *path: object
    ) -> None:
        """Note unknown keys and missing ones.

        Parameters
        ----------
        data : mapping
        known, required : tuple of str
        *path
            Where it stands.
        """
        for key in islice((key for key in data if key not in known), MOST_PROBLEMS):
            remedy = close_to(key, known) or "remove it"
            self.problem(join_path(*path, key), show(data[key]), "no such key", remedy)
        for key in required:
            if key not in data:
                self.problem(join_path(*path, key), "nothing", "this required key")

    def field(self, field: Field, entry: Any) -> Any:
        """Value of a field, or None with a problem noted.

        Parameters
        ----------
        field : Field
        entry
            What the file has under its name.
        """
        path = join_path("fields", field.name)
        if not isinstance(entry, dict) or "value" not in entry:
            self.problem(path, show(entry), 'an object with the key "value"')
            return None
        self.keys(entry, ("unit", "axes", "meaning", "value"), (), "fields", field.name)
        for key, expected in (("unit", field.unit), ("axes", list(field.axes))):
            if key in entry and entry[key] != expected:
                self.problem(f"{path}.{key}", show(entry[key]), show(expected))
        value, path = entry["value"], f"{path}.value"
        if field.axes:
            return self._array(field, value, path)
        return self._single(field, value, path)

    def _single(self, field: Field, value: Any, path: str) -> Any:
        match field.kind.removesuffix(" or none"):
            case "text":
                good, expected = isinstance(value, str), "a text"
            case "boolean":
                good, expected = isinstance(value, bool), "true or false"
            case "fraction":
                good = isinstance(value, str) and re.fullmatch(_FRACTION, value) is not None
                expected = 'a fraction, such as "1/1000"'
                value = Fraction(value) if good else None
            case _:
                null = value is None and field.kind.endswith("null")
                good = null or (_whole(value) and field.least <= value < 2**63)
                expected = f"a whole number from {field.least}" + (
                    ", or null" if field.kind.endswith("null") else ""
                )
        if not good:
            self.problem(path, show(value), expected)
            return None
        return value

    def _array(self, field: Field, value: Any, path: str) -> IntArray | tuple[str, ...] | None:
        layer: list[Any] = [value]
        for depth, axis in enumerate(field.axes):
            where = f"{path}, level {depth + 1}" if depth else path
            for item in layer:
                if not isinstance(item, list):
                    self.problem(where, show(item), f"a list over axis {axis}")
                    return None
                size, setter = self.size.setdefault(axis, (len(item), field.name))
                if len(item) != size:
                    since = f", as in {setter}" if setter else ""
                    self.problem(where, f"{len(item)}", f"{size} entries over axis {axis}{since}")
                    return None
            layer = [entry for item in layer for entry in item]
        if field.kind.startswith("texts"):
            wrong = [entry for entry in layer if not isinstance(entry, str)]
            if wrong or len(set(layer)) < len(layer):
                self.problem(path, show(wrong[0]) if wrong else "one of them twice", "different texts")
                return None
            return tuple(layer)
        wrong = [n for n in layer if not (_whole(n) and field.least <= n < 2**63)]
        if wrong:
            self.problem(path, show(wrong[0]), f"whole numbers from {field.least} to 2^63 - 1")
            return None
        # Shares over no link do not say how many memories they run from and to.
        known = (axis if axis in self.size else "memory" for axis in field.axes)
        shape = tuple(self.size[axis][0] for axis in known)
        return np.array(layer, dtype=np.int64).reshape(shape)

    def sizes(self, given: Any) -> None:
        """Require that axes over the same things are equally long, and as long as the file says."""
        pools = self.size.get("pool", (0, ""))[0]
        same = (("stage", ("memory", "from", "to"), pools), ("point", ("length",), 0))
        for axis, others, more in same:
            size = self.size[axis][0] + more
            for other in others:
                if self.size[other][0] != size:
                    self.problem(
                        join_path("fields", self.size[other][1]),
                        f"{self.size[other][0]}",
                        f"{size} entries over axis {other}, as over axis {axis}" + " and pool" * bool(more),
                    )
        found = {axis: size for axis, (size, _) in self.size.items()}
        if given is not None and given != found:
            self.problem("dimensions", show(given), show(found), "it must agree with the fields")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _contradictions(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What each field may be on its own and all of them together may not."""
    grid, quantum, page = values["grid"], values["quantum"], values["page"]

    def _problem(name: str, found: object, expected: str) -> Problem:
        return Problem(f"fields.{name}.value", show(found), expected)

    if quantum % page:
        yield _problem("page", page, f"a divisor of the quantum ({quantum})")
    if grid.size < 2 or grid[-1] == 0:
        yield _problem("grid", grid.tolist(), "at least one step")
    elif not np.array_equal(grid[:-1], np.arange(grid.size - 1) * quantum) or not (
        0 < grid[-1] - grid[-2] <= quantum
    ):
        yield _problem(
            "grid", grid.tolist(), f"multiples of the quantum ({quantum}) and a last step not longer"
        )
    for name in WITHOUT_STAGE:
        if name in values and values[name][len(values["phi"]) :].any():
            yield _problem(name, values[name].tolist(), "0 in memories without a stage")
    yield from _wrong_messages(values)
    ready = values.get("available")
    if ready is not None and (ready[0] != 0 or (np.diff(ready) < 0).any()):
        yield _problem("available", ready.tolist(), "0 first, and no number below the one before it")
    for first, *others in TOGETHER:
        for name in others:
            if (name in values) != (first in values):
                here, gone = (first, name) if first in values else (name, first)
                yield _problem(here, "given", f"{gone} with it, or neither")
    if values["tick_s"] <= 0:
        yield _problem("tick_s", str(values["tick_s"]), "more than 0")
    if values["overlap"] > 1:
        yield _problem("overlap", str(values["overlap"]), "at most 1")
    if (values["share"] > values["share_denominator"]).any():
        most = int(values["share"].max())
        yield _problem("share", most, f"at most share_denominator ({values['share_denominator']})")


def _wrong_messages(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Fixed messages of a kind or between memories that there are not."""
    rows, stages, memories = values.get("fixed_messages"), len(values["phi"]), len(values["capacity"])
    if rows is None:
        return
    for n, row in enumerate(rows.tolist()):
        path = f"fields.fixed_messages.value[{n}]"
        if len(row) != len(Entry):
            yield Problem(path, show(row), f"{len(Entry)} entries")
        elif row[Entry.KIND] not in list(MessageKind) or row[Entry.STAGE] >= stages:
            yield Problem(path, show(row), "a kind from 0 to 2 and a stage")
        else:
            ends = {row[Entry.SOURCE], row[Entry.TARGET]}
            if len(ends) < 2 or row[Entry.STAGE] not in ends or max(ends) >= memories:
                yield Problem(path, show(row), "the stage's own memory at one end, another at the other")


def load_tables(path: str | os.PathLike[str]) -> Tables:
    """Read a file of tables.

    Raises
    ------
    InputError
        Listing every problem, each with the file's name.
    """
    data = read_json(path, max_bytes=MAX_BYTES)
    try:
        return tables_from_dict(data)
    except InputError as error:
        source = source_name(path)
        raise InputError(
            [Problem(f"{source}: {p.path}", p.found, p.expected, p.remedy) for p in error.problems]
        ) from None


def save_tables(path: str | os.PathLike[str], tables: Tables, fingerprint: str | None = None) -> None:
    """Write a file of tables, whole or not at all; one line for every innermost row of numbers.

    Parameters
    ----------
    path : path
    tables : Tables
    fingerprint : str, optional
        Of the instance they were made from.

    Raises
    ------
    InputError
        If the place cannot be written.
    """
    data = tables_to_dict(tables, fingerprint)
    fields = data.pop("fields")
    head = json.dumps(data, indent=2).removesuffix("\n}")
    body = ",\n".join(_lines(fields.items()))
    write_text_atomically(path, f'{head},\n  "fields": {{\n{body}\n  }}\n}}\n')


def _lines(fields: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    for name, entry in fields:
        about = json.dumps({**entry, "value": None}).removesuffix("null}")
        yield f"    {json.dumps(name)}: {about}{_rows(entry['value'], '      ')}}}"


def _rows(value: Any, indent: str) -> str:
    if not (isinstance(value, list) and value and isinstance(value[0], list)):
        return json.dumps(value)
    inner = f",\n{indent}".join(_rows(item, indent + "  ") for item in value)
    return f"[\n{indent}{inner}]"
