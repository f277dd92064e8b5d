"""Optional libraries: a clear message instead of an ImportError."""

from __future__ import annotations

import importlib

from mocap_opt.errors import MocapError


class ExtraMissingError(MocapError):
    """An optional library is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> None:
    """Import an optional library.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of this package that installs it.

    Raises
    ------
    ExtraMissingError
        If it cannot be imported.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ExtraMissingError(
            f"{module} cannot be imported ({error}): install it with  pip install 'mocap-opt[{extra}]'"
        ) from None
