"""Typed reading of a ``config.json``, with everything that is wrong gathered, and of names of its modules."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mocap_opt.errors import Problem
from mocap_opt.instance.models import Matrix
from mocap_opt.messages import join_path, show

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
        """Note that the value under `key`, or that there is none, is not what was expected; once a field.

        Parameters
        ----------
        key : str
        expected : str
        remedy : str
            As of `Problem`.
        """
        found, place = (
            show(self.config[key]) if key in self.config else "nothing",
            f"{self.path}.{join_path(key)}",
        )
        if all(problem.path != place for problem in self.problems):
            self.problems.append(Problem(place, found, expected, remedy))

    def whole(self, key: str, default: int | None = None, least: int = 1, most: int = 10**7) -> int:
        """Whole number under `key`; `default` where it is absent or null.

        Parameters
        ----------
        key : str
        default : int, optional
            None: the key is required.
        least, most : int
            Range of what is accepted.
        """
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


REMEDY = "leave quantization_config out and give precision.weights and precision.embedding"

_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
_MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}
_SLOW = re.compile(r"\)[*+{]|(?:[*+{].*){6}")


class Names:
    """Names of modules as quantisers list them: whole names, parts between dots, globs, ``re:`` patterns.

    Experts are taken together: what holds for one of them holds for all.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.plain: dict[str, str] = {}
        self.patterns: dict[str, re.Pattern[str]] = {}
        self.seen: set[str] = set()
        for key in keys:
            if key.startswith("re:"):
                self.patterns[key] = re.compile(key[3:])
            elif any(sign in key for sign in "*?["):
                self.patterns[key] = re.compile(f"{fnmatch.translate(key)}|{fnmatch.translate(f'{key}.*')}")
            else:
                for part in _separate(re.sub(r"\bexperts\.\d+", "experts.0", key)):
                    self.plain[part] = key

    @classmethod
    def read(cls, read: ConfigReader, key: str, listed: Iterable[str]) -> Names:
        """Take those names that can be matched in reasonable time, and note the others as problems.

        Parameters
        ----------
        read : ConfigReader
        key : str
            Where the names stand.
        listed : iterable of str
        """
        good = []
        for name in listed:
            try:
                re.compile(name[3:] if name.startswith("re:") else "")
                # A repeated group, or many repeats, can take for ever to fail.
                if not name.startswith("re:") or not _SLOW.search(name):
                    good.append(name)
                    continue
            except (re.error, OverflowError, RecursionError):
                pass
            expected = "a simple pattern of names of modules"
            read.problems.append(Problem(f"{read.path}.{key}", show(name), expected, REMEDY))
        return cls(good)

    def have(self, called: Iterable[str]) -> bool:
        """Whether a matrix is among them.

        Parameters
        ----------
        called : iterable of str
            All its names, from the root of the model.
        """
        found: set[str] = set()
        for name in called:
            parts = name.split(".")
            ranges = (".".join(parts[a:b]) for a in range(len(parts)) for b in range(a + 1, len(parts) + 1))
            found |= {self.plain[part] for part in ranges if part in self.plain}
            found |= {key for key, pattern in self.patterns.items() if pattern.match(name)}
        self.seen |= found
        return bool(found)


def _separate(key: str) -> list[str]:
    """The modules that a fused one is made of."""
    for fused, parts in _FUSED.items():
        if key.endswith(fused):
            return [key.removesuffix(fused) + part for part in parts]
    return [key]


_ROOTS = ("model.layers", "language_model.model.layers", "model.language_model.layers")


def full_names(layer: int, matrix: Matrix) -> list[str]:
    """What a matrix is called in checkpoints, also in those of Mixtral, Llama 4 and models with a tower.

    Parameters
    ----------
    layer : int
        From 0.
    matrix : Matrix
    """
    name = matrix.name
    parts = name.replace("mlp.", "block_sparse_moe.").split(".")
    mixtral = ".".join([*parts[:-1], _MIXTRAL.get(parts[-1], parts[-1])])
    shared = name.replace("shared_experts", "shared_expert")
    spellings = dict.fromkeys([name, mixtral, shared, shared.replace("mlp.", "feed_forward.")])
    return [f"{root}.{layer}.{spelling}" for root in _ROOTS for spelling in spellings]
