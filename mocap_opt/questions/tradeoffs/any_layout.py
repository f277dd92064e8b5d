"""Reading an instance whose layout will be swept, and therefore need not fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mocap_opt.errors import InputError
from mocap_opt.files import read_json
from mocap_opt.instance import Instance
from mocap_opt.instance.overrides import apply_overrides
from mocap_opt.instance.schema import Pipeline

ONE_STAGE = {"stages": 1, "dies_per_stage": 1}
"""The layout that fits whenever any does."""


def load_for_any_layout(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Instance:
    """Read an instance file for a sweep of layouts.

    Parameters
    ----------
    path : path
    overrides : iterable of str
        As for `mocap_opt.load_instance`.

    Returns
    -------
    Instance
        With its own layout if that fits the wafer and the layers, otherwise with one stage on one die.

    Raises
    ------
    InputError
        If something else is wrong than that the layout does not fit, or it is missing.
    """
    data, folder = apply_overrides(read_json(path), overrides), Path(path).parent
    try:
        return Instance.from_dict(data, folder)
    except InputError:
        pipeline = data.get("pipeline", {})
        if not _only_too_large(pipeline):
            raise
        try:
            return Instance.from_dict({**data, "pipeline": {**pipeline, **ONE_STAGE}}, folder)
        except InputError:
            # Other things are wrong as well; all of them are listed with the layout as it is.
            pass
        raise


def _only_too_large(pipeline: Any) -> bool:
    """Whether a pipeline is well formed but for its size, and laid out by rules."""
    if not isinstance(pipeline, Mapping):
        return False
    try:
        read = Pipeline.model_validate({"stages": 1, **pipeline})
    except (ValidationError, InputError):
        return False
    return read.layers == "balanced" and read.placement == "boustrophedon"
