"""The instance: everything that is given, validated before anything is derived from it; its JSON schema."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import PrivateAttr, TypeAdapter, ValidationError, model_validator

from mocap_opt import units
from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json
from mocap_opt.instance.checks import across
from mocap_opt.instance.costs import Costs, Roofline
from mocap_opt.instance.decode import Decode
from mocap_opt.instance.grid import with_grid
from mocap_opt.instance.layout_checks import layout_problems
from mocap_opt.instance.objectives import OBJECTIVES, Objective
from mocap_opt.instance.overrides import apply_overrides
from mocap_opt.instance.pipeline import Pipeline, StageLayout
from mocap_opt.instance.problems import from_validation, missing, unknown_key
from mocap_opt.instance.resolve import PRESETS, resolve
from mocap_opt.instance.schema import AUTO_QUANTUM, Chunking, ModelSpec, PrecisionSpec, Workload
from mocap_opt.messages import MOST_PROBLEMS, capped, show, uncounted
from mocap_opt.quantities import Description, Name, Section, Share, Tick, choice, field
from mocap_opt.wafer.spec import WaferSpec

VERSION = 1


class Instance(Section):
    """A model on a machine, a prompt, and the rules for cutting and placing it.

    Read one with `load_instance` or `from_dict`; both list everything that is wrong at once.
    Sizes are bytes, times seconds, rates per second.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json")
    >>> instance.replace("workload.batch=2").workload.batch
    2
    >>> mocap_opt.Instance.from_dict(instance.to_dict()) == instance
    True
    """

    version: Annotated[Literal[1], *choice(VERSION)] = field("version of this file format", VERSION)
    name: Name = field("short name for reports", "llama-70b-128k")
    description: Description = field("what this instance is for", default="")
    model: ModelSpec = field("the model: a preset's name, a config.json, or figures", "llama-3.1-70b")
    precision: PrecisionSpec = field("bytes per element", default_factory=PrecisionSpec)
    wafer: WaferSpec = field("the machine: a preset's name or figures", "watos-c3")
    pipeline: Pipeline = field("stages and where they lie", {"stages": 14, "dies_per_stage": 4})
    workload: Workload = field("the prompt", {"tokens": "128k"})
    chunking: Chunking = field("which divisions of the prompt are allowed", {"max_chunks": 32})
    costs: Costs = field("what a chunk costs", {"kind": "roofline"}, default_factory=Roofline)
    overlap: Share = field("part of a chunk's KV transfers that overlaps with its compute", 1, default=1.0)
    attention: Annotated[Literal["causal", "full_block"], *choice("causal", "full_block")] = field(
        "whether a chunk counts attention among its own tokens causally or as a full block",
        "causal",
        default="causal",
    )
    objective: Annotated[str, *choice(*(each.value for each in Objective))] = field(
        "what is minimised: " + ", or ".join(record.meaning for record in OBJECTIVES.values()),
        "latency",
        default="latency",
    )
    decode: Decode | None = field(
        "decoding beside prefill; null: none", {"between_tokens": "0.2 s"}, default=None
    )
    tick: Tick = field(
        "unit of time that everything is rounded to; null: chosen by the rates",
        "1 ns",
        unit="s",
        default=None,
    )

    _free: Instance | None = PrivateAttr(default=None)
    _grid_by_rule: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Not a ValueError, so pydantic lets it through with all its problems.
        if self.chunking.quantum == AUTO_QUANTUM:
            expected = "a number of tokens where an instance is made of sections"
            raise InputError([Problem("chunking.quantum", '"auto"', expected, "use Instance.from_dict")])
        if problems := across({key: getattr(self, key) for key in type(self).model_fields}):
            raise InputError(problems)
        return self

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base_dir: str | os.PathLike[str] | None = None) -> Instance:
        """Build an instance from what a JSON file holds.

        Parameters
        ----------
        data : mapping
        base_dir : path, optional
            Directory that paths in `data` are relative to; the working directory by default.

        Raises
        ------
        InputError
            Listing every problem.
        """
        if not isinstance(data, Mapping):
            raise InputError([Problem("instance", show(data), "an object")])
        if data.get("kind") in ("plan", "sequence", "tables") and "wafer" not in data:
            raise InputError([Problem("kind", show(data["kind"]), "an instance", "it has no key kind")])
        if "model_type" in data and not {"wafer", "pipeline"} & {*data}:
            expected = "an instance; this is a model's config.json"
            remedy = "add --wafer, --stages and --tokens, or name the file in an instance, under model.config"
            raise InputError([Problem("model_type", show(data["model_type"]), expected, remedy)])
        given = {key: value for key, value in data.items() if key != "$schema"}
        resolved, failed, problems = resolve(given, Path(base_dir or "."))
        given_sections, invalid = _validate(resolved, failed)
        sections = with_grid(given_sections)
        problems += invalid + across(sections)
        if problems:
            raise InputError(capped(problems, "instance"))
        instance = cls(**sections)
        instance._grid_by_rule = given_sections["chunking"].quantum == AUTO_QUANTUM
        return instance

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain figures, defaults included, as JSON holds it; `from_dict` reads it back."""
        plain: dict[str, Any] = json.loads(self.model_dump_json())
        return plain

    def replace(self, *overrides: str) -> Instance:
        """Return a variant.

        Parameters
        ----------
        *overrides : str
            Such as ``"pipeline.stages=28"``; paths in them are relative to the working directory.

        Raises
        ------
        InputError
            If an override cannot be read or the variant is not valid.
        """
        return Instance.from_dict(apply_overrides(self.to_dict(), overrides))

    def with_layout(self, choice: StageLayout) -> Instance:
        """Return the instance with one of the layouts that it allows, decided; its fingerprint stays.

        Raises
        ------
        InputError
            Listing every reason why the layout is not one of the instance's.
        """
        if problems := layout_problems(self, choice):
            raise InputError(capped(problems, "layout"))
        if not self.pipeline.free:
            return self
        decided = self.model_copy(update={"pipeline": self.pipeline.with_layout(choice)})
        decided._free = self
        return decided

    @property
    def decided(self) -> StageLayout | None:
        """The layout that `with_layout` decided; None where the instance gives it or leaves it open."""
        placed, layers = self.pipeline.placement, self.pipeline.layers
        if self._free is None or isinstance(placed, str) or isinstance(layers, str):
            return None
        return StageLayout(placed, layers)

    @property
    def grid_by_rule(self) -> dict[str, int] | None:
        """Quantum and page, tokens, where the quantum was left to the rule; variants keep them as given."""
        chunking = self.chunking
        return {"quantum": chunking.quantum, "page": chunking.page_tokens} if self._grid_by_rule else None

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of everything that means something.

        Names and descriptions are left out, and different ways of writing the same (null or one
        quantum for the page, one number or a list for the dies, a default written out, the order
        of dead parts) count as the same.  One whose layout was decided by `with_layout` has that of the
        instance that left it open.
        """
        if self._free is not None:
            return self._free.fingerprint
        # Without defaults, so that a field added later leaves the fingerprints of older files alone.
        content: dict[str, Any] = json.loads(self.model_dump_json(exclude_defaults=True))
        for labelled in (content, content["model"], content["wafer"]):
            labelled.pop("name", None)
            labelled.pop("description", None)
        content["chunking"]["page"] = self.chunking.page_tokens
        content["pipeline"].update(self.pipeline.canonical)
        if self.pipeline.degree_rule == ("divide-heads" if self.pipeline.free else "any"):
            content["pipeline"].pop("degrees", None)
        wafer = content["wafer"]
        wafer["dead_dies"] = sorted(wafer.get("dead_dies", []))
        wafer["dead_links"] = sorted(sorted(ends) for ends in wafer.get("dead_links", []))
        slow = [{**link, "between": sorted(link["between"])} for link in wafer.get("slow_links", [])]
        wafer["slow_links"] = sorted(slow, key=lambda link: str(link["between"]))
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """Describe the instance by its sizes, on a few lines."""
        model, wafer, chunking, work = self.model, self.wafer, self.chunking, self.workload
        steps = -(-work.tokens // chunking.quantum)
        flops, memory = units.format_flops(wafer.die.flops), units.format_bytes(wafer.die.memory_bytes)
        cached = units.format_tokens(work.cached_prefix)
        quantum, page = units.format_tokens(chunking.quantum), units.format_tokens(chunking.page_tokens)
        rows = {
            "model": f"{model.name or 'unnamed'}: {model.layers} layers, hidden {model.hidden:,}, "
            f"{model.heads} heads on {_kept(model)}{_seen(model)}",
            "wafer": f"{wafer.name or 'unnamed'}: {wafer.topology} of {wafer.rows} x {wafer.cols} dies, "
            f"{flops} and {memory} each, links of {units.format_bandwidth(wafer.link.bandwidth)}",
            "pipeline": str(self.pipeline),
            "stream": f"{len(work.requests)} requests, order {work.order}, of at most "
            f"{units.format_tokens(work.tokens)} tokens",
            "prompt": f"{units.format_tokens(work.tokens)} tokens"
            + (f" after {cached} cached" if work.cached_prefix else "")
            + f", batch {work.batch}",
            "chunks": f"{'exactly' if chunking.exact else 'at most'} {chunking.max_chunks}, "
            f"{steps:,} steps of {quantum} tokens{' by rule' if self._grid_by_rule else ''}, pages of {page}",
        }
        del rows["prompt" if work.requests else "stream"]
        lines = [f"  {key:<8}  {value}" for key, value in rows.items()]
        return "\n".join([f"{self.name} ({self.fingerprint})", *lines])


def _kept(model: ModelSpec) -> str:
    """What of a token's keys and values is kept, in words."""
    if model.latent is None:
        return f"{model.kv_heads} KV heads"
    return f"a KV latent of {model.latent.kv_rank} + {model.latent.rope_dim}"


def _seen(model: ModelSpec) -> str:
    """How many layers keep or see part of the tokens, in words; nothing if none does."""
    if model.sparse is not None:
        return f", of which a query sees {model.sparse.top_k:,} positions"
    layers = sum(entry.layers[1] + 1 - entry.layers[0] for entry in model.profile)
    return f", {layers} layers keep or see part of the tokens" if layers else ""


@cache
def _adapter(key: str) -> TypeAdapter[Any]:
    held = Instance.model_fields[key]
    annotation: Any = Annotated[held.annotation, held]
    return TypeAdapter(annotation)


def _validate(resolved: Mapping[str, Any], failed: frozenset[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Validate each section by itself, so that one bad section hides nothing about the others."""
    sections: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, held in Instance.model_fields.items():
        if key in resolved:
            try:
                sections[key] = _adapter(key).validate_python(resolved[key])
            except ValidationError as error:
                problems += from_validation(error, Instance, (key,))
        elif key not in failed:
            if held.is_required():
                problems.append(missing(Instance, key))
            else:
                sections[key] = held.get_default(call_default_factory=True)
    unknown = [key for key in resolved if key not in Instance.model_fields]
    problems += [unknown_key(Instance, (key,), resolved[key]) for key in unknown[:MOST_PROBLEMS]]
    if len(unknown) > MOST_PROBLEMS:
        problems.append(uncounted(len(unknown) - MOST_PROBLEMS, "instance"))
    return sections, problems


def load_instance(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Instance:
    """Read an instance file.

    Parameters
    ----------
    path : path
        A JSON file; paths in it are relative to its directory.
    overrides : iterable of str
        Changes applied in order before anything is checked, such as ``"pipeline.stages=28"`` or
        ``"wafer.die.memory_bytes=20GB"``.

    Raises
    ------
    InputError
        Listing every problem of the file and of the overrides.

    Examples
    --------
    >>> import mocap_opt
    >>> instance = mocap_opt.load_instance("instances/tiny-slack.json", ["workload.tokens=8"])
    >>> instance.name, instance.workload.tokens, instance.pipeline.stages
    ('tiny-slack', 8, 2)
    """
    data = apply_overrides(read_json(path), overrides)
    return Instance.from_dict(data, Path(path).parent)


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
            from_config = _from("config", path, section, definitions)
            from_config["properties"]["ignore"] = {
                "type": "array",
                "items": {"type": "string"},
                "description": "fields of the file to read it without, as they cost nothing",
            }
            options.append(from_config)
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
