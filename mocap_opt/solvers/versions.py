"""Versions of everything an answer may depend on, read without importing any of it."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("mocap-opt", "pyomo", "highspy", "ortools", "numpy", "scipy", "pandas", "pydantic")
"""Distributions reported by `versions`, besides Python itself."""


@cache
def installed_version(package: str) -> str | None:
    """Version of an installed distribution, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_version() -> str:
    """Version of this package; "unknown" where its code is used without being installed."""
    return installed_version("mocap-opt") or "unknown"


def versions() -> dict[str, str | None]:
    """Versions of Python and of `PACKAGES`, in that order; None for what is not installed."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in PACKAGES}}
