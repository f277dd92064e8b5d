"""Typed reading of a ``config.json``, with everything that is wrong gathered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mocap_opt.errors import Problem
from mocap_opt.messages import show

PATH = "model.config"

Config = Mapping[str, Any]


class ConfigReader:
    """Reads typed fields and gathers what is wrong with them.

    Attributes
    ----------
    config : mapping
    path : str
        Where the mapping stands, for messages.
    problems : list of Problem
    """

    def __init__(self, config: Config, path: str = PATH, problems: list[Problem] | None = None) -> None:
        self.config = config
        self.path = path
        self.problems: list[Problem] = [] if problems is None else problems

    def under(self, key: str) -> ConfigReader:
        """A reader of the object under `key`, with the same list of problems; empty where there is none."""
        value = self.config.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(key, "an object")
        return ConfigReader(value if isinstance(value, Mapping) else {}, f"{self.path}.{key}", self.problems)

    def refuse(self, key: str, expected: str, remedy: str = "") -> None:
        """Note that the value under `key`, or that there is none, is not what was expected."""
        found = show(self.config[key]) if key in self.config else "nothing"
        self.problems.append(Problem(f"{self.path}.{key}", found, expected, remedy))

    def whole(self, key: str, default: int | None = None, least: int = 1, most: int = 10**7) -> int:
        """Whole number under `key`; `default` where it is absent or null."""
        value = self.config.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.refuse(
                key, f"a whole number {f'>= {least}' if most == 10**7 else f'from {least} to {most}'}"
            )
            return max(least, 1)
        return value

    def names(self, key: str) -> list[str]:
        """Texts in a list under `key`, or in lists in it; none where it is absent or null."""
        found: list[str] = []
        pending = [self.config.get(key) or []]
        while pending:
            value = pending.pop()
            if isinstance(value, list):
                pending += reversed(value)
            elif isinstance(value, str):
                found.append(value)
            else:
                self.refuse(key, "a list of names of modules")
                return []
        return found
