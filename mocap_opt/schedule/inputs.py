"""What users may hand in: instances and plans as they are, or as the dicts that JSON files hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mocap_opt.instance import Instance
from mocap_opt.instance.objectives import require_supported
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.plan_file import plan_from_dict
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables

if TYPE_CHECKING:
    GivenInstance: TypeAlias = Instance | Mapping[str, Any]
    GivenPlan: TypeAlias = Plan | Mapping[str, Any]
    GivenTables: TypeAlias = Tables | Instance | Mapping[str, Any]


def as_instance(given: GivenInstance) -> Instance:
    """Return the instance, read from a dict if it is one; paths in it are relative to the working directory.

    Raises
    ------
    InputError
        Listing every problem.
    """
    return given if isinstance(given, Instance) else Instance.from_dict(given)


def as_tables(given: GivenTables, question: str | None = None) -> Tables:
    """Return the tables of what users hand in.

    Parameters
    ----------
    given : Tables, Instance or mapping
    question : str, optional
        What they are for; refused where the instance's objective does not go with it.

    Raises
    ------
    InputError
        Listing every problem.
    """
    if isinstance(given, Tables):
        return given
    instance = as_instance(given)
    if question is not None:
        require_supported(instance, question)
    return build_tables(instance)


def as_plan(given: GivenPlan, tables: Tables) -> Plan:
    """Return the plan, read from a dict if it is one.

    Parameters
    ----------
    given : Plan or mapping
        A mapping is read as the content of a plan file.
    tables : Tables
        Of the instance that the plan is for.

    Raises
    ------
    InputError
        Listing every problem.
    """
    return given if isinstance(given, Plan) else plan_from_dict(given, tables)
