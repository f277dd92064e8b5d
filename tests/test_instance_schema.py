"""The JSON schema of instances, and what fields say of themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from instance_variants import VARIANTS
from malformed import changed

from mocap_opt.errors import InputError
from mocap_opt.instance import Instance, json_schema, load_instance
from mocap_opt.instance.checks import CHECKS
from mocap_opt.instance.problems import field_paths

SHIPPED = sorted((Path(__file__).parents[1] / "instances").glob("*.json"))


SCHEMA = json_schema()


def schema_errors(data: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [error.json_path for error in validator.iter_errors(data)]


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize("name", VARIANTS)
def test_schema_accepts(name: str) -> None:
    assert schema_errors(VARIANTS[name]) == []
    assert schema_errors(Instance.from_dict(VARIANTS[name]).to_dict()) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_instances(path: Path) -> None:
    instance = load_instance(path)
    assert instance.name == path.stem
    assert schema_errors(json.loads(path.read_text())) == []


def test_some_instances_are_shipped() -> None:
    assert SHIPPED


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pipeline.stage", 3),
        ("stages", 3),
        ("pipeline.stages", "two"),
        ("pipeline.stages", 0),
        ("wafer.die.memory_bytes", "70 Gb"),
        ("wafer.die.memory_bytes", 0),
        ("wafer.dead_dies", [[0]]),
        ("wafer.topology", "ring"),
        ("wafer", "watos"),
        ("wafer", {"preset": "watos-c3", "die": {"memory": 3}}),
        ("wafer", {"rows": 3}),
        ("model", {"config": 3}),
        ("costs.kind", "table"),
        ("costs.efficiency", 1.5),
        ("pipeline.layers", "even"),
        ("pipeline.queue_depth", "infinite"),
        ("precision.kv", "bf61"),
        ("version", 2),
        ("workload", {}),
    ],
)
def test_schema_refuses(path: str, value: Any) -> None:
    assert schema_errors(changed((path, value)))
    with pytest.raises(InputError, match=path.partition(".")[0]):
        Instance.from_dict(changed((path, value)))


def test_every_field_has_a_meaning_and_every_quantity_a_unit() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for key, held in definition["properties"].items():
            assert held.get("description"), (name, key)
            texts = [option for option in held.get("anyOf", []) if "pattern" in option]
            assert not texts or held.get("unit"), (name, key)


def test_examples_of_the_fields_are_valid() -> None:
    """Remedies quote them, so they must work."""
    for name, definition in SCHEMA["$defs"].items():
        for key, held in definition["properties"].items():
            validator = jsonschema.Draft202012Validator({**held, "$defs": SCHEMA["$defs"]})
            for example in held.get("examples", []):
                assert validator.is_valid(example), (name, key, example)


def test_field_paths() -> None:
    paths = field_paths(Instance)
    assert {"wafer.die.memory_bytes", "model.experts.count", "costs.stages.linear", "costs.overhead"} <= set(
        paths
    )


def test_checks_read_sections_that_exist() -> None:
    assert {name for names, _ in CHECKS for name in names} <= set(Instance.model_fields)
    rules = [rule for _, rule in CHECKS]
    assert len(set(rules)) == len(rules)
