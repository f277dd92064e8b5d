"""A first instance from a model's ``config.json`` and a few settings, for Python and for commands."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, source_name
from mocap_opt.instance.hf_config import model_from_config, path_of_config
from mocap_opt.instance.hf_reader import Config
from mocap_opt.instance.instance import VERSION, Instance, load_instance
from mocap_opt.instance.overrides import apply_overrides, parse_override
from mocap_opt.instance.resolve import merge, resolve
from mocap_opt.messages import show
from mocap_opt.wafer.spec import WaferSpec

SETTINGS: Mapping[str, str] = {
    "wafer": "wafer",
    "stages": "pipeline.stages",
    "tokens": "workload.tokens",
    "dies_per_stage": "pipeline.dies_per_stage",
    "batch": "workload.batch",
    "max_chunks": "chunking.max_chunks",
    "quantum": "chunking.quantum",
    "page": "chunking.page",
}
"""What may be said beside a configuration, and the field of the instance that it is."""

REQUIRED: Mapping[str, str] = {"wafer": "watos-c3", "stages": "14", "tokens": "128k"}
"""Settings without a default, and examples."""

DEFAULTS: Mapping[str, Any] = {
    "pipeline": {"degrees": "divide-heads"},
    "chunking": {"max_chunks": 32, "quantum": "auto"},
}
"""What a first instance has unless told otherwise, beside the defaults of its fields."""


def option_of(setting: str) -> str:
    """The option of the command line for a setting."""
    return "--" + setting.replace("_", "-")


def is_instance(data: object) -> bool:
    """Whether something read from a file is meant as an instance, not as the configuration of a model."""
    return isinstance(data, Mapping) and "model_type" not in data and bool({"wafer", "pipeline"} & {*data})


def _name(source: str) -> str:
    """A name for reports from that of the file, or of its folder where the file has the usual name."""
    path = Path(source)
    stem = path.parent.name if path.name == "config.json" and path.parent.name else path.stem
    return re.sub(r"[^\w.+-]+", "-", stem, flags=re.ASCII).strip("-")[:60] or "config"


def _overrides(settings: Mapping[str, object], overrides: Iterable[str]) -> list[str]:
    """Settings as overrides before those given, which may not be about the same field."""
    given = list(overrides)
    places = {parse_override(each)[0] for each in given}
    problems, found = [], []
    for setting, value in settings.items():
        path = SETTINGS[setting]
        if tuple(path.split(".")) in places:
            problems.append(
                Problem(option_of(setting), f"--set {path} with it", "one of the two", "leave one out")
            )
        found.append(f"{path}={value}")
    if problems:
        raise InputError(problems)
    return found + given


def _dies_per_stage(data: Mapping[str, Any]) -> int | str:
    """As many dies for every stage as the wafer has; left to the search where the stages are."""
    stages = data["pipeline"].get("stages")
    if not isinstance(stages, int) or isinstance(stages, bool) or stages < 1:
        return "auto" if stages == "auto" or isinstance(stages, list) else 1
    resolved, _, _ = resolve({"wafer": data["wafer"]}, Path())
    try:
        wafer = WaferSpec.model_validate(resolved.get("wafer"))
    except ValueError:
        # Reported where the instance is made.
        return 1
    return max(wafer.living_dies // stages, 1)


def first_instance(
    config: Config, name: str, settings: Mapping[str, object], overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """Make an instance, as a file holds it, of a configuration and settings.

    Parameters
    ----------
    config : mapping
        A parsed ``config.json``.
    name : str
        Of the instance.
    settings : mapping
        Some of `SETTINGS`; values as people write them, such as ``"128k"``.
    overrides : iterable of str
        Further fields, such as ``"costs.efficiency=0.4"``.

    Raises
    ------
    InputError
        If the configuration cannot be read, a setting is missing, or one is given twice.
    """
    data = {"version": VERSION, "name": name, "model": {}, **DEFAULTS}
    changed = apply_overrides(data, _overrides(settings, overrides))
    missing = [each for each in REQUIRED if not _reached(changed, SETTINGS[each])]
    if missing:
        told = [(option_of(each), f"add {option_of(each)} {REQUIRED[each]}") for each in missing]
        raise InputError(
            [Problem(place, "nothing", "a value beside a config.json", remedy) for place, remedy in told]
        )
    given = changed["model"]
    if not isinstance(given, Mapping) or {"preset", "config"} & {*given}:
        expected = "single figures: the model is that of the config.json"
        raise InputError([Problem("model", show(given), expected, "write model.layers=40")])
    figures, precision = model_from_config(config, given.get("ignore", ()))
    changes = {key: value for key, value in given.items() if key != "ignore"}
    changed["model"] = {
        key: value for key, value in merge({**figures, "name": name}, changes).items() if value is not None
    }
    if precision or "precision" in changed:
        changed["precision"] = merge(precision, changed.get("precision") or {})
    if isinstance(changed["pipeline"], dict) and "dies_per_stage" not in changed["pipeline"]:
        changed["pipeline"]["dies_per_stage"] = _dies_per_stage(changed)
    order = [key for key in Instance.model_fields if key in changed]
    return {key: changed[key] for key in dict.fromkeys([*order, *changed])}


def _reached(data: Mapping[str, Any], path: str) -> bool:
    """Whether a field is there."""
    here: Any = data
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            return False
        here = here[key]
    return True


def read_first_instance(
    path: str | os.PathLike[str], settings: Mapping[str, object], overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """As `first_instance`, of a file, or of the ``config.json`` in a model's directory.

    Parameters
    ----------
    path : path
        ``-`` is standard input.
    settings : mapping
    overrides : iterable of str

    Raises
    ------
    InputError
        As `first_instance`, or if the file is an instance.
    """
    config = read_json(path_of_config(os.fspath(path)))
    if is_instance(config):
        source = source_name(path)
        raise InputError(
            [
                Problem(
                    option_of(each),
                    f"{source}, an instance, with it",
                    "a config.json with it",
                    f"write --set {SETTINGS[each]}={value}",
                )
                for each, value in settings.items()
            ]
            or [Problem(source, "an instance", "a config.json")]
        )
    return first_instance(config, _name(source_name(path)), settings, overrides)


def load_first(
    path: str | os.PathLike[str], overrides: Iterable[str], settings: Mapping[str, object]
) -> Instance:
    """Read an instance file or, where there are settings, make an instance of a ``config.json``.

    Parameters
    ----------
    path : path
    overrides : iterable of str
        As for `mocap_opt.load_instance`.
    settings : mapping
        As for `first_instance`; empty for an instance file.

    Raises
    ------
    InputError
        Listing every problem.
    """
    if not settings:
        return load_instance(path, overrides)
    return Instance.from_dict(read_first_instance(path, settings, overrides))


def instance_from_config(
    config: str | os.PathLike[str] | Config,
    *,
    wafer: str | Mapping[str, Any],
    stages: int | str,
    tokens: int | str,
    name: str | None = None,
    overrides: Iterable[str] = (),
    **settings: object,
) -> Instance:
    """Make a first instance of a Hugging Face ``config.json``.

    Parameters
    ----------
    config : path or mapping
        The file, the folder of the model, or what the file holds.
    wafer : str or mapping
        A preset, or figures.
    stages : int or "auto"
    tokens : int or str
        Of the prompt, such as ``"128k"``.
    name : str, optional
        Of the instance; by default that of the file.
    overrides : iterable of str
        Further fields, such as ``"costs.efficiency=0.4"``.
    **settings
        ``dies_per_stage`` (by default as many as the wafer has for every stage), ``batch`` (1),
        ``max_chunks`` (32), ``quantum`` (by a rule) and ``page`` (one quantum).

    Raises
    ------
    InputError
        Listing every problem.

    Examples
    --------
    >>> import mocap_opt
    >>> model = {"model_type": "llama", "num_hidden_layers": 8, "hidden_size": 1024}
    >>> model |= {"intermediate_size": 4096, "num_attention_heads": 8, "vocab_size": 32000}
    >>> instance = mocap_opt.instance_from_config(model, wafer="watos-c3", stages=4, tokens="32k")
    >>> instance.pipeline.dies_per_stage
    14
    """
    unknown = sorted(settings.keys() - SETTINGS.keys())
    if unknown:
        raise InputError([Problem(each, "a setting", "one of " + ", ".join(SETTINGS)) for each in unknown])
    said = {"wafer": _written(wafer), "stages": stages, "tokens": tokens, **settings}
    said = {key: value for key, value in said.items() if value is not None}
    if isinstance(config, Mapping):
        return Instance.from_dict(first_instance(config, name or "config", said, overrides))
    made = read_first_instance(config, said, overrides)
    return Instance.from_dict(made if name is None else {**made, "name": name})


def _written(value: object) -> object:
    return json.dumps(value) if isinstance(value, Mapping) else value
