"""A JSON schema of instance files, so that editors can complete and check them."""

from __future__ import annotations

import copy
from typing import Any

from mocap_opt.instance.instance import Instance
from mocap_opt.instance.resolve import PRESETS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _referred(schema: dict[str, Any], definitions: dict[str, Any]) -> str | None:
    """Name of the object a property refers to, if it is one."""
    options = schema.get("anyOf", [schema])
    names = [option["$ref"].removeprefix("#/$defs/") for option in options if "$ref" in option]
    return names[0] if names and definitions[names[0]].get("type") == "object" else None


def _partial(name: str, definitions: dict[str, Any]) -> str:
    """Add a variant of an object in which nothing is required, objects below included; return its name."""
    partial = f"Partial{name}"
    if partial not in definitions:
        variant = copy.deepcopy(definitions[name])
        variant.pop("required", None)
        definitions[partial] = variant
        for key, held in variant["properties"].items():
            if inner := _referred(held, definitions):
                variant["properties"][key] = _redirect(held, inner, _partial(inner, definitions))
    return partial


def _redirect(schema: Any, old: str, new: str) -> Any:
    """Turn the references of `schema` to one definition to another."""
    if isinstance(schema, dict):
        if schema.get("$ref") == f"#/$defs/{old}":
            return {**schema, "$ref": f"#/$defs/{new}"}
        return {key: _redirect(value, old, new) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_redirect(value, old, new) for value in schema]
    return schema


def _from(source: str, value: dict[str, Any], section: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a section taken from a preset or a file, with changes."""
    base = copy.deepcopy(definitions[_partial(PRESETS[section][1].__name__, definitions)])
    base["properties"] = {source: value, **base["properties"]}
    base["required"] = [source]
    base["title"] = f"{section} from a {source}"
    return dict(base)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of an instance file.

    It accepts what files may hold, quantities as text and names of presets included, and refuses
    unknown keys; rules across fields are beyond it.
    """
    schema: dict[str, Any] = Instance.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    for section, (known, kind) in PRESETS.items():
        names = {"enum": list(known)}
        options: list[dict[str, Any]] = [names, _from("preset", names, section, definitions)]
        if section == "model":
            path = {"type": "string", "minLength": 1, "description": "path of a Hugging Face config.json"}
            options.append(_from("config", path, section, definitions))
        options.append({"$ref": f"#/$defs/{kind.__name__}"})
        held = schema["properties"][section]
        held.pop("$ref", None)
        held["anyOf"] = options
    schema["properties"]["$schema"] = {"type": "string"}
    return {
        "$schema": DIALECT,
        "title": "mocap-opt instance",
        **{k: v for k, v in schema.items() if k != "title"},
    }
