"""Names become figures: presets of models and wafers, and Hugging Face configurations."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.hf_config import read_config
from mocap_opt.instance.models import MODELS
from mocap_opt.instance.schema import ModelSpec
from mocap_opt.instance.timings import lattice, read_timings
from mocap_opt.messages import close_to, show
from mocap_opt.quantities import Section
from mocap_opt.wafer.spec import WAFERS, WaferSpec

CHANGED = " (changed)"
PRESETS: Mapping[str, tuple[Mapping[str, dict[str, Any]], type[Section]]] = {
    "model": (MODELS, ModelSpec),
    "wafer": (WAFERS, WaferSpec),
}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`: objects are merged, anything else is replaced.

    Parameters
    ----------
    base, changes : mapping
    """
    merged = dict(base)
    for key, value in changes.items():
        under = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        merged[key] = merge(under, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def _preset(section: str, name: object, path: str) -> dict[str, Any]:
    known = PRESETS[section][0]
    if not isinstance(name, str) or name not in known:
        expected = f"the name of a {section}: {', '.join(known)}"
        raise InputError(
            [Problem(path, show(name), expected, close_to(name, known) or "or give its figures")]
        )
    return {"name": name, **copy.deepcopy(known[name])}


def _mark_changes(section: str, given: dict[str, Any]) -> dict[str, Any]:
    """Mark the label where it names a preset that the figures are not those of."""
    known, kind = PRESETS[section]
    name = given.get("name")
    if not isinstance(name, str) or name not in known:
        return given
    labels = {"name": "", "description": ""}
    try:
        same = kind.model_validate({**given, **labels}) == kind.model_validate({**known[name], **labels})
    except ValidationError:
        return given
    return given if same else {**given, "name": name + CHANGED}


def _expand(section: str, given: object, base_dir: Path) -> object:
    readers: dict[str, Callable[[object], dict[str, Any]]] = {
        "preset": lambda name: _preset(section, name, f"{section}.preset")
    }
    if section == "model":
        readers["config"] = lambda path: read_config(path, base_dir, figures.pop("ignore", ()))[0]
    figures: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    if isinstance(given, str):
        return _preset(section, given, section)
    if not isinstance(given, Mapping):
        if isinstance(given, Section):
            return given
        expected = f"the name of a {section}, or an object with {', '.join(readers)} or its figures"
        raise InputError(
            [Problem(section, show(given), expected, f"write {show(next(iter(PRESETS[section][0])))}")]
        )
    sources = [key for key in readers if key in given]
    if len(sources) > 1:
        raise InputError(
            [Problem(section, " and ".join(sources), "one source of figures", "remove one of them")]
        )
    if sources:
        source = sources[0]
        base = readers[source](figures.pop(source))
        figures = merge(base, figures)
    return _mark_changes(section, figures)


def _with_precision(data: Mapping[str, Any], base_dir: Path) -> dict[str, Any]:
    """Lay what an instance says of the precision over what the configuration of its model says."""
    model, given = data.get("model"), data.get("precision", {})
    if not isinstance(model, Mapping) or "config" not in model or not isinstance(given, Mapping):
        return dict(data)
    try:
        _, precision = read_config(model["config"], base_dir, model.get("ignore", ()))
    except InputError:
        # Reported where the model's figures are read.
        return dict(data)
    return {**data, "precision": {**precision, **given}}


def _measured(costs: Mapping[str, Any], base_dir: Path) -> dict[str, Any]:
    """Read the file of timings that measured costs name."""
    path = costs["file"]
    if not isinstance(path, str) or not path or "\0" in path:
        raise InputError([Problem("costs.file", show(path), "the path of a CSV file", 'write "timings.csv"')])
    if "stages" in costs:
        raise InputError([Problem("costs", "file and stages", "one source of times", "remove one of them")])
    return {**{key: value for key, value in costs.items() if key != "file"}} | {
        "stages": lattice(read_timings(base_dir / path))
    }


def resolve(data: Mapping[str, Any], base_dir: Path) -> tuple[dict[str, Any], frozenset[str], list[Problem]]:
    """Replace the names of models and wafers by their figures, and those of timings by times.

    Parameters
    ----------
    data : mapping
        An instance as read from JSON.
    base_dir : Path
        Directory that paths in it are relative to.

    Returns
    -------
    dict, frozenset of str, list of Problem
        The instance in figures; the sections that could not be resolved (left out); why.
    """
    resolved = _with_precision(data, base_dir)
    failed: set[str] = set()
    problems: list[Problem] = []
    for section in PRESETS:
        if section in resolved:
            try:
                resolved[section] = _expand(section, resolved[section], base_dir)
            except InputError as error:
                problems += error.problems
                failed.add(section)
                del resolved[section]
    costs = resolved.get("costs")
    if isinstance(costs, Mapping) and costs.get("kind") == "measured" and "file" in costs:
        try:
            resolved["costs"] = _measured(costs, base_dir)
        except InputError as error:
            problems += error.problems
            failed.add("costs")
            del resolved["costs"]
    return resolved, frozenset(failed), problems


def read_model(given: str | os.PathLike[str]) -> ModelSpec:
    """Return a model by its preset's name, or of a Hugging Face ``config.json``.

    Parameters
    ----------
    given : str or path
        Relative paths start from the working directory.

    Raises
    ------
    InputError
        If there is no such preset or file, or the file is wrong.
    """
    name = os.fspath(given)
    if name in PRESETS["model"][0]:
        return ModelSpec.model_validate(_preset("model", name, "model"))
    if not Path(name).exists():
        known = ", ".join(PRESETS["model"][0])
        raise InputError([Problem("--model", show(name), f"the path of a config.json, or one of {known}")])
    return ModelSpec.model_validate(read_config(name, Path())[0])
