"""Plans as JSON: boundaries and homes in tokens, never times.

::

    {"version": 1, "kind": "plan", "instance": "name", "fingerprint": "0123456789abcdef",
     "boundaries": [0, 4096, 8192],
     "homes": [{"stage": 0, "chunk": 1, "memory": 2, "tokens": 1024}]}

Of an instance that leaves its pipeline open, a plan also holds the dies and the layers of every stage,
``"layout": {"dies": [[[0, 0], [0, 1]], [[0, 2]]], "layers": [5, 3]}``, and the fingerprint is that of the
open instance.

Where a rule picked the grid of the instance, ``"quantum"`` and ``"page"`` say which it was, tokens.
``tokens`` of a home are pages times the page, so a partial page at the end of the prompt counts
as a whole one.  Whether a plan keeps to the instance's counts, lengths and memories is for
:mod:`mocap_opt.schedule.verify` to say; what is refused here cannot be read as a plan of the instance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, source_name, write_text_atomically
from mocap_opt.messages import capped, show
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_layout import layout_in, with_compact
from mocap_opt.schedule.plan_reader import PlanReader
from mocap_opt.tables.cost_tables import Tables

VERSION = 1
# A home takes about 60 bytes: room for 64 stages and 1024 chunks with a few homes each.
MAX_BYTES = 64 * 2**20

_GRID_KEYS = ("quantum", "page")
_KEYS = ("version", "kind", "instance", "fingerprint", "layout", *_GRID_KEYS, "boundaries", "homes")


def plan_from_dict(data: Mapping[str, Any], tables: Tables) -> Plan:
    """Read a plan of the instance that `tables` describe.

    Parameters
    ----------
    data : mapping
        What a plan file holds: version, kind, boundaries, homes in tokens; optional name, fingerprint, grid.
    tables : Tables
        Of the instance: tokens, quantum, page, stages.

    Raises
    ------
    InputError
        Listing every problem.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> data = {"version": 1, "kind": "plan", "boundaries": [0, 1, 4]}
    >>> mocap_opt.plan_from_dict(data, mocap_opt.build_tables(instance)).chunks
    2
    """
    if "kind" not in data and "wafer" in data:
        remedy = "`mocap-opt solve --out` writes plans"
        raise InputError([Problem("kind", "an instance", '"plan"', remedy)])
    read = PlanReader(tables)
    read.keys(data, _KEYS, ("version", "kind", "boundaries"))
    if "version" in data and (isinstance(data["version"], bool) or data["version"] != VERSION):
        read.problem("version", show(data["version"]), str(VERSION))
    if "kind" in data and data["kind"] != "plan":
        read.problem("kind", show(data["kind"]), '"plan"')
    read.text(data, "instance")
    for key in (key for key in _GRID_KEYS if key in data):
        if (size := read.tokens(data[key], key)) is not None and size < 1:
            read.problem(key, show(data[key]), "at least 1 token")
    fingerprint = read.text(data, "fingerprint")
    layout = None
    try:
        layout = layout_in(data)
    except InputError as error:
        read.problems += error.problems
    if layout is not None and layout.stages != tables.stages:
        read.problem("layout.dies", f"{layout.stages} stages", f"{tables.stages}, as the instance has")
    boundaries = read.boundaries(data["boundaries"]) if "boundaries" in data else None
    homes = read.homes(data.get("homes", []), boundaries)
    if read.problems or boundaries is None:
        raise InputError(capped(read.problems, "plan"))
    return Plan(boundaries, homes, fingerprint, layout)


def plan_to_dict(
    plan: Plan, name: str, tables: Tables, grid: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return a plan of the instance called `name` as JSON holds it; `plan_from_dict` reads it back.

    Parameters
    ----------
    plan : Plan
    name : str
        The instance's name, for people who read the file.
    tables : Tables
        Of the instance, for the tokens of a page.
    grid : mapping, optional
        `Instance.grid_by_rule`, written along.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> tables = mocap_opt.build_tables(instance)
    >>> mocap_opt.plan_to_dict(mocap_opt.Plan((0, 1, 4)), instance.name, tables)["boundaries"]
    [0, 1, 4]
    """
    return {
        "version": VERSION,
        "kind": "plan",
        "instance": name,
        "fingerprint": plan.fingerprint,
        **({} if plan.layout is None else {"layout": plan.layout.to_dict()}),
        **(grid or {}),
        "boundaries": list(plan.boundaries),
        "homes": [
            {
                "stage": home.stage,
                "chunk": home.chunk,
                "memory": home.memory,
                "tokens": home.pages * tables.page,
            }
            for home in plan.homes
        ],
    }


def load_plan(path: str | os.PathLike[str], tables: Tables) -> Plan:
    """Read a plan file.

    Whether the plan was made for this instance is not asked: compare ``plan.fingerprint``.

    Parameters
    ----------
    path : path
    tables : Tables
        Of the instance that the plan is for.

    Raises
    ------
    InputError
        Listing every problem, each with the file's name.

    Examples
    --------
    >>> import tempfile, mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> tables, place = mocap_opt.build_tables(instance), tempfile.mkdtemp()
    >>> mocap_opt.save_plan(f"{place}/plan.json", mocap_opt.Plan((0, 1, 4)), instance.name, tables)
    >>> mocap_opt.load_plan(f"{place}/plan.json", tables).boundaries
    (0, 1, 4)
    """
    data = read_json(path, max_bytes=MAX_BYTES)
    with naming(f"{source_name(path)}: "):
        return plan_from_dict(data, tables)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put the place, a file or an object in it, before the path of every problem."""
    try:
        yield
    except InputError as error:
        found = [Problem(f"{place}{p.path}", p.found, p.expected, p.remedy) for p in error.problems]
        raise InputError(found) from None


def save_plan(
    path: str | os.PathLike[str], plan: Plan, name: str, tables: Tables, grid: Mapping[str, int] | None = None
) -> None:
    """Write a plan file, whole or not at all.

    Parameters
    ----------
    path : path
    plan : Plan
    name : str
        The instance's name, for people who find the file.
    tables : Tables
        The instance's, for the size of a page.
    grid : mapping, optional
        `Instance.grid_by_rule`, written along.

    Raises
    ------
    InputError
        If the place cannot be written.

    Examples
    --------
    >>> import tempfile, mocap_opt
    >>> solution = mocap_opt.solve(mocap_opt.load_instance("instances/tiny-slack.json"), "mocap")
    >>> path = tempfile.mkdtemp() + "/plan.json"
    >>> mocap_opt.save_plan(path, solution.plan, "tiny-slack", solution.tables)
    >>> mocap_opt.load_plan(path, solution.tables) == solution.plan
    True
    """
    data = plan_to_dict(plan, name, tables, grid)
    # One home a line: such files are compared with one another.
    homes = ",".join(f"\n    {json.dumps(home)}" for home in data.pop("homes"))
    head = with_compact({**data, "boundaries": None}, "layout").removesuffix("null\n}")
    closing = "\n  ]" if homes else "]"
    write_text_atomically(
        path, f'{head}{json.dumps(data["boundaries"])},\n  "homes": [{homes}{closing}\n}}\n'
    )
