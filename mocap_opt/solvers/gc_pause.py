"""Building without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Model = TypeVar("Model")


def without_collection(build: Callable[Given, Model]) -> Callable[Given, Model]:
    """Build a model with the cyclic collector switched off.

    A model is millions of objects that all live on, and the collector would look through them again and
    again: of 3.5 s to build the lockstep program at 8 x 6 x 256 it takes 1.6 s.
    """

    @wraps(build)
    def built(*args: Given.args, **options: Given.kwargs) -> Model:
        enabled = gc.isenabled()
        gc.disable()
        try:
            return build(*args, **options)
        finally:
            if enabled:
                gc.enable()

    return built
