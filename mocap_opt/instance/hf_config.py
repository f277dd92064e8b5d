"""A model from its Hugging Face ``config.json``.

What the cost model cannot express is refused by the name of the field that asks for it; fields
that change no cost (rotary scaling, dropout, token numbers, ...) are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json
from mocap_opt.instance.hf_families import FAMILIES
from mocap_opt.instance.hf_family import Family
from mocap_opt.instance.hf_fields import TOWERS, unknown_fields
from mocap_opt.instance.hf_figures import REMEDY, figures
from mocap_opt.instance.hf_quantization import kv_bytes, read_quantization
from mocap_opt.instance.hf_reader import PATH, Config, ConfigReader
from mocap_opt.instance.hf_wrappers import REFUSED_FAMILIES, WRAPPERS
from mocap_opt.instance.schema import ModelSpec
from mocap_opt.messages import MOST_PROBLEMS, capped, join_path, show

NAMED_TYPES = {
    "bfloat16": 2.0,
    "float16": 2.0,
    "half": 2.0,
    "float32": 4.0,
    "float": 4.0,
    "float8_e4m3fn": 1.0,
    "float8_e5m2": 1.0,
}
"""Bytes of what ``dtype`` (``torch_dtype`` until transformers 4.56) may name."""

ASSUMED = 2.0
"""Bytes of a number where no type is named."""

MOST_NAMED = 100
"""Unused fields that a model's description names."""

INSIDE = ("dtype", "torch_dtype", "quantization_config", "tie_word_embeddings")
"""What a file with a tower may say of the language model outside of its own object."""


def _names(ignore: object) -> list[str]:
    """The fields that are to be ignored."""
    names = [name for name in ignore if isinstance(name, str)] if isinstance(ignore, list | tuple) else []
    if not isinstance(ignore, list | tuple) or len(names) != len(ignore):
        expected = "a list of names of fields of the config.json"
        raise InputError([Problem("model.ignore", show(ignore), expected, 'write ["rope_scaling"]')])
    return names


def _without(config: Config, ignore: Sequence[str]) -> Config:
    """A file without some fields, which must be there."""
    inner = {key for key, _ in WRAPPERS.values() if isinstance(config.get(key), Mapping)}
    lost = {*ignore} - {*config}.union(*(config[key] for key in inner))
    if lost:
        expected = "a field of the config.json"
        raise InputError(
            [Problem("model.ignore", show(name), expected, "leave it out") for name in sorted(lost)]
        )
    return {
        key: {k: v for k, v in value.items() if k not in ignore} if key in inner else value
        for key, value in config.items()
        if key not in ignore
    }


def _language_model(config: Config) -> tuple[Family | None, ConfigReader, ConfigReader]:
    """The family, and readers of the language model's object and of the whole file."""
    outer = ConfigReader(config)
    given = config.get("model_type")
    key, inner = WRAPPERS.get(given, ("", given)) if isinstance(given, str) else ("", given)
    read = outer
    if key and isinstance(config.get(key), Mapping):
        read = outer.under(key)
        inner = read.config.get("model_type", inner)
    family = FAMILIES.get(inner) if isinstance(inner, str) else None
    if family is None:
        why = REFUSED_FAMILIES.get(inner) if isinstance(inner, str) else None
        names = ", ".join((*FAMILIES, *WRAPPERS))
        expected = f"one of {names}" if why is None else f"a family without {why}, which cannot be expressed"
        read.refuse("model_type", expected, "give the model's figures instead")
        return None, read, outer
    read = ConfigReader({**family.defaults, **read.config}, read.path, outer.problems)
    if read.path != outer.path:
        outside = frozenset({"model_type", key, *INSIDE})
        for name, expected in islice(unknown_fields(config, outside | family.understood), MOST_PROBLEMS + 1):
            outer.refuse(name, expected, REMEDY)
        for name in sorted({*config} & family.read_fields - outside):
            if config[name] is not None and config[name] != read.config.get(name):
                outer.refuse(name, f"{show(read.config.get(name))}, as in {key}")
    return family, read, outer


def _precision(read: ConfigReader, model: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Bytes of numbers as a checkpoint stores them, and where each was read."""
    key = "dtype" if read.config.get("dtype") is not None else "torch_dtype"
    named = read.config.get(key)
    found: dict[str, Any] = {}
    told: list[str] = []
    if named is not None:
        size = NAMED_TYPES.get(str(named).removeprefix("torch."))
        if size is None:
            read.refuse(key, f"one of {', '.join(NAMED_TYPES)}", "or leave it out and give precision")
        else:
            found = {"weights": size, "kv": size, "activations": size}
            told.append(f"precision of {named} ({key})")
    if read.config.get("quantization_config") is None:
        return found, told
    if named is None:
        told.append(f"{ASSUMED:g} bytes taken for what is not quantised (no dtype is named)")
    kept = found.get("weights", ASSUMED)
    quantization = read_quantization(read, kept)
    kv = None if quantization is None else kv_bytes(read)
    if read.problems or quantization is None:
        return found, told
    try:
        means, account = quantization.bytes_per_weight(ModelSpec.model_validate(model))
    except ValidationError:
        # Reported where the model's figures are checked.
        return found, told
    least, most = min(means), max(means)
    found |= {"weights": most if least == most else means, "embedding": kept}
    span = f"{most:.6g}" if least == most else f"{least:.6g} to {most:.6g}"
    told.append(
        f"weights of {span} bytes, scales included (quantization_config, {quantization.method}), {account}"
    )
    if kv is not None:
        found["kv"] = kv
        told.append(f"KV of {kv:g} bytes (kv_cache_scheme)")
    return found, told


def _notes(
    family: Family, read: ConfigReader, outer: ConfigReader, told: list[str], ignored: Sequence[str]
) -> str:
    """What was read besides figures, and which fields the cost model does not use."""
    notes = [f"from a {outer.config.get('model_type')} config.json"]
    if told:
        notes.append("where precision is not given: " + ", ".join(told))
    if read.config.get("tie_word_embeddings", outer.config.get("tie_word_embeddings")) is True:
        notes.append(
            "embedding and head counted apart (tie_word_embeddings: each end of the pipeline has one)"
        )
    towers = [key for key in TOWERS if outer.config.get(key)]
    if towers:
        notes.append(f"prefill of the language model only: {', '.join(towers)} passed over")
    if family.left_out:
        notes.append(f"not counted: {family.left_out}")
    if ignored:
        notes.append("ignored as asked: " + ", ".join(ignored))
    used = family.read_fields | {"tie_word_embeddings", *TOWERS, *(key for key, _ in WRAPPERS.values())}
    unused = sorted(({*read.config} | {*outer.config}) - used)
    if unused:
        more = ["..."] if len(unused) > MOST_NAMED else []
        notes.append("not used: " + ", ".join([*map(join_path, unused[:MOST_NAMED]), *more]))
    return "; ".join(notes)


def model_from_config(config: Config, ignore: object = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the fields of a `ModelSpec` and of a `PrecisionSpec` from a parsed ``config.json``.

    Parameters
    ----------
    config : mapping
    ignore : list of str
        Fields to read the file without.

    Returns
    -------
    model : dict
        With a description that says what was read from where, and what was not used.
    precision : dict
        Bytes per element, as far as the file says; of the weights one number, or one per layer.

    Raises
    ------
    InputError
        Listing all fields that are missing, malformed, not understood or beyond the cost model.
    """
    ignored = _names(ignore)
    family, read, outer = _language_model(_without(config, ignored))
    if family is None:
        raise InputError(capped(outer.problems, PATH))
    spec = {"name": f"{config['model_type']} config", **figures(family, read)}
    told_by = {key: outer.config[key] for key in INSIDE if outer.config.get(key) is not None}
    precision, told = _precision(ConfigReader({**told_by, **read.config}, read.path, outer.problems), spec)
    if outer.problems:
        raise InputError(capped(outer.problems, PATH))
    return spec | {"description": _notes(family, read, outer, told, ignored)}, precision


def read_config(path: object, base_dir: Path, ignore: object = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a ``config.json``, or the one in a model's directory.

    Parameters
    ----------
    path : str
        Relative paths start from `base_dir`.
    base_dir : Path
    ignore : list of str
        Fields to read the file without.

    Raises
    ------
    InputError
        If there is no such file, or as `model_from_config`.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        raise InputError([Problem(PATH, show(path), "the path of a config.json", 'write "config.json"')])
    return model_from_config(read_json(path_of_config(base_dir / path)), ignore)


def path_of_config(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The file itself, or the ``config.json`` in a model's directory."""
    try:
        is_directory = os.fspath(path) != "-" and Path(path).is_dir()
    except (OSError, ValueError):
        is_directory = False
    return Path(path) / "config.json" if is_directory else path
