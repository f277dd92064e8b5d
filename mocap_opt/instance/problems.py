"""What pydantic reports, as problems that name the field, what it holds and what to write."""

from __future__ import annotations

import typing
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mocap_opt.errors import Problem
from mocap_opt.instance.costs import COST_KINDS
from mocap_opt.messages import MOST_PROBLEMS, close_to, join_path, show, uncounted

Loc = tuple[int | str, ...]


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _models_in(annotation: object) -> Iterator[tuple[str | None, type[BaseModel]]]:
    """Yield the sections an annotation may hold, each with its tag where it has one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield None, annotation
        return
    tag = next((getattr(extra, "tag", None) for extra in getattr(annotation, "__metadata__", ())), None)
    for argument in typing.get_args(annotation):
        for inner, model in _models_in(argument):
            yield inner or tag, model


def _section(annotation: object, tags: list[str]) -> type[BaseModel] | None:
    found = list(_models_in(annotation))
    chosen = [model for tag, model in found if tag in tags] or [model for _, model in found]
    return chosen[0] if chosen else None


def _locate(root: type[BaseModel], loc: Loc) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Section that holds the last named part of `loc`, and its field there, if any."""
    section: type[BaseModel] | None = root
    held: FieldInfo | None = None
    parent: type[BaseModel] | None = None
    for position, part in enumerate(loc):
        if isinstance(part, int) or _is_tag(part):
            continue
        parent, held = section, (section.model_fields.get(part) if section else None)
        tags = [str(p) for p in loc[position + 1 :] if _is_tag(p)]
        section = _section(held.annotation, tags) if held else None
    return parent, held


def _write(held: FieldInfo | None) -> str:
    examples = held.examples if held else None
    return f"write {' or '.join(show(example) for example in examples)}" if examples else ""


def unknown_key(root: type[BaseModel], loc: Loc, value: object) -> Problem:
    """Return the problem of a key that no field has, with the nearest one that exists.

    Parameters
    ----------
    root : type
        Model whose fields `loc` starts from.
    loc : tuple of (int or str)
        The key, last, and where it stands.
    value : object
        What it holds.
    """
    key = str(loc[-1])
    section, _ = _locate(root, loc)
    known = list(section.model_fields) if section else []
    remedy = close_to(key, known)
    if not remedy:
        elsewhere = [path for path in field_paths(root) if path.split(".")[-1] == key]
        nearest = min(elsewhere, key=lambda path: path.count("."), default=None)
        remedy = f"it belongs at {nearest}" if nearest else "remove it"
    path = join_path(*(part for part in loc if not _is_tag(part)))
    return Problem(path, show(value), f"no such key; the keys here are {', '.join(known)}", remedy)


def field_paths(root: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted paths of all fields, sections included.

    Parameters
    ----------
    root : type
        A section.
    prefix : str
        Put before every path.
    """
    paths = []
    for key, held in root.model_fields.items():
        paths.append(prefix + key)
        for _, model in _models_in(held.annotation):
            paths += field_paths(model, f"{prefix}{key}.")
    return list(dict.fromkeys(paths))


def _problem(error: ErrorDetails, root: type[BaseModel], prefix: Loc) -> Problem:
    loc: Loc = (*prefix, *error["loc"])
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    path = join_path(*(part for part in loc if not _is_tag(part)))
    _, held = _locate(root, loc)
    meaning = f" ({held.description})" if held and held.description else ""
    if kind == "extra_forbidden":
        return unknown_key(root, loc, value)
    if kind == "missing":
        return Problem(path, "nothing", f"this required key{meaning}", _write(held))
    if kind == "mocap":
        # An item of a list is not what the field's example shows.
        example = "" if isinstance(loc[-1], int) else _write(held)
        return Problem(path, show(value), str(context["expected"]), str(context["remedy"]) or example)
    if kind == "mocap_kind":
        given = value.get("kind") if isinstance(value, dict) else None
        return Problem(
            f"{path}.kind",
            show(given),
            str(context["expected"]),
            close_to(given, COST_KINDS) or 'write "roofline"',
        )
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(path, show(value), f"an object{meaning}", _write(held))
    if kind in ("tuple_type", "list_type"):
        return Problem(path, show(value), f"a list{meaning}", _write(held))
    return Problem(path, show(value), _expected(error) + meaning, _write(held))


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "true or false",
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number >= {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number <= {le}",
    "literal_error": "{expected}",
    "too_short": "a list of at least {min_length}",
    "string_too_short": "a text of at least {min_length} characters",
}


def _expected(error: ErrorDetails) -> str:
    """What should stand there, in words that fit after "expected"."""
    words = _EXPECTED.get(error["type"])
    return error["msg"] if words is None else words.format(**error.get("ctx", {}))


def from_validation(error: ValidationError, root: type[BaseModel], prefix: Loc = ()) -> list[Problem]:
    """Return one problem per error.

    Parameters
    ----------
    error : ValidationError
    root : type
        Model whose fields the paths start from.
    prefix : tuple
        Where in `root` the validated value stands.
    """
    # Naming a problem takes a while (suggestions), and a wrong file may have any number of them.
    errors = error.errors(include_url=False)
    named = [_problem(details, root, prefix) for details in errors[:MOST_PROBLEMS]]
    if len(errors) > MOST_PROBLEMS:
        named.append(uncounted(len(errors) - MOST_PROBLEMS, join_path(*prefix)))
    return named


def missing(root: type[BaseModel], key: str) -> Problem:
    """Return the problem of a required section that is not there.

    Parameters
    ----------
    root : type
        Model that has the section.
    key : str
    """
    held = root.model_fields[key]
    return Problem(key, "nothing", f"this required key ({held.description})", _write(held))
