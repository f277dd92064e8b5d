"""The layout that a plan holds, where its instance leaves the pipeline open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.pipeline import StageLayout
from mocap_opt.instance.problems import from_validation
from mocap_opt.quantities import Count, Die, Section, field

if TYPE_CHECKING:
    from mocap_opt.instance import Instance


class _Layout(Section):
    dies: tuple[tuple[Die, ...], ...] = field("dies of each stage", [[[0, 0], [0, 1]], [[0, 2]]])
    layers: tuple[Count, ...] = field("layers of each stage", [5, 3])


class _PlanFile(Section):
    layout: _Layout | None = field("dies and layers of every stage", default=None)


def layout_in(data: Mapping[str, Any]) -> StageLayout | None:
    """Return the layout that a plan file holds, if it holds one.

    Raises
    ------
    InputError
        Listing everything that is wrong with it.
    """
    try:
        held = _PlanFile.model_validate({"layout": data.get("layout")}).layout
    except ValidationError as error:
        raise InputError(from_validation(error, _PlanFile)) from None
    return None if held is None else StageLayout(held.dies, held.layers)


def decided(instance: Instance, plan: object) -> Instance:
    """Return the instance with the layout of a plan, or as it is where neither leaves anything open.

    Parameters
    ----------
    instance : Instance
    plan : Plan, Schedule or mapping
        As `mocap_opt.solving.api.evaluate` takes it.

    Raises
    ------
    InputError
        If the instance leaves something open and the plan does not say it, or listing every reason why
        the plan's layout is not one of the instance's.
    """
    if isinstance(plan, Mapping):
        layout = layout_in(plan)
    else:
        requests = getattr(plan, "requests", None)
        layout = getattr(requests[0].plan if requests else plan, "layout", None)
    if layout is not None:
        return instance.with_layout(layout)
    if instance.pipeline.free:
        expected = f"a layout, as the instance leaves pipeline.{instance.pipeline.open_fields[0]} open"
        remedy = "plans that `mocap-opt solve` makes for it hold one"
        raise InputError([Problem("layout", "nothing", expected, remedy)])
    return instance


def with_compact(data: Mapping[str, Any], key: str) -> str:
    """Write JSON with an indent, but what stands at one key, if anything does, on one line.

    Parameters
    ----------
    data : mapping
    key : str
        At the top.
    """
    if key not in data:
        return json.dumps(data, indent=2)
    text = json.dumps({**data, key: None}, indent=2)
    return text.replace(f'"{key}": null', f'"{key}": {json.dumps(data[key])}', 1)
