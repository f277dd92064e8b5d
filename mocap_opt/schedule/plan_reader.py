"""Reads the parts of a plan file and says what is wrong with them, all of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from mocap_opt import units
from mocap_opt.errors import Problem
from mocap_opt.messages import MOST_PROBLEMS, close_to, join_path, show
from mocap_opt.schedule.plan import Home
from mocap_opt.tables.cost_tables import Tables

_HOME_KEYS = ("stage", "chunk", "memory", "tokens")


class PlanReader:
    """Reads the parts of a plan and gathers what is wrong with them."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.problems: list[Problem] = []

    def problem(self, path: str, found: str, expected: str, remedy: str = "") -> None:
        """Note one thing wrong with the plan.

        Parameters
        ----------
        path : str
            Field path, such as ``homes[3].tokens``.
        found, expected, remedy : str
            As in `mocap_opt.errors.Problem`.
        """
        self.problems.append(Problem(path, found, expected, remedy))

    def keys(
        self, data: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...], *path: object
    ) -> None:
        """Note unknown keys and missing required ones.

        Parameters
        ----------
        data : mapping
        known, required : tuple of str
            Keys that it may have, and those of them that it must have.
        *path : object
            Where it stands: field names and list positions, outermost first; none at the top.
        """
        # A suggestion takes a while to find, and a wrong file may hold any number of keys.
        for key in islice((key for key in data if key not in known), MOST_PROBLEMS):
            remedy = close_to(key, known) or "remove it"
            expected = f"no such key; the keys here are {', '.join(known)}"
            self.problem(join_path(*path, key), show(data[key]), expected, remedy)
        for key in required:
            if key not in data:
                self.problem(join_path(*path, key), "nothing", "this required key")

    def tokens(self, value: object, path: str) -> int | None:
        """Read a whole number of tokens; None, with a problem noted, if it is none.

        Parameters
        ----------
        value : object
            As read from JSON.
        path : str
            Its field path.
        """
        try:
            return units.parse_tokens(value)
        except ValueError as error:
            self.problem(path, show(value), str(error))
            return None

    def index(self, value: object, path: str, count: int, noun: str) -> int | None:
        """Read an index; None, with a problem noted, if it is out of range or no whole number.

        Parameters
        ----------
        value : object
            As read from JSON.
        path : str
            Its field path.
        count : int
            Indices run from 0 to count - 1.
        noun : str
            What is counted, for the message.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            self.problem(path, show(value), f"a {noun} from 0 to {count - 1}")
            return None
        return value

    def text(self, data: Mapping[str, Any], key: str) -> str | None:
        """Read an optional text; None if it is absent, null or, with a problem noted, not printable.

        Parameters
        ----------
        data : mapping
        key : str
            A key of `data` at the top of the file.
        """
        value = data.get(key)
        if value is not None and (not isinstance(value, str) or len(value) > 200 or not value.isprintable()):
            self.problem(key, show(value), "a printable text of at most 200 characters, or null")
            return None
        return value

    def boundaries(self, value: object) -> tuple[int, ...] | None:
        """Read the boundaries, if they are those of some division of the prompt along the grid."""
        if not isinstance(value, list) or len(value) < 2:
            expected = f"a list of tokens from 0 to {self.tables.tokens}"
            self.problem(
                "boundaries", show(value), expected, f"write [0, {self.tables.tokens}] for one chunk"
            )
            return None
        if len(value) > self.tables.steps + 1:
            expected = f"at most {self.tables.steps + 1} boundaries, one for each grid point"
            self.problem("boundaries", f"{len(value):,}", expected)
            return None
        before = len(self.problems)
        read = [self.tokens(item, f"boundaries[{n}]") for n, item in enumerate(value)]
        points = [point for point in read if point is not None]
        if len(points) < len(read):
            return None
        if points[0] != 0:
            self.problem("boundaries[0]", str(points[0]), "0, the start of the prompt")
        if points[-1] != self.tables.tokens:
            expected = f"{self.tables.tokens}, the end of the prompt"
            self.problem(f"boundaries[{len(points) - 1}]", str(points[-1]), expected)
        for n in range(1, len(points)):
            if points[n] <= points[n - 1]:
                expected = f"more than the boundary before ({points[n - 1]})"
                self.problem(f"boundaries[{n}]", str(points[n]), expected, "leave empty chunks out")
            elif n < len(points) - 1 and points[n] % self.tables.quantum:
                expected = f"a multiple of the quantum ({self.tables.quantum})"
                self.problem(f"boundaries[{n}]", str(points[n]), expected)
        return tuple(points) if len(self.problems) == before else None

    def home(self, value: object, n: int, chunks: int | None) -> Home | None:
        """Read one home; None, with the problems noted, if it cannot be read.

        Parameters
        ----------
        value : object
            As read from JSON.
        n : int
            Its position in the list of homes.
        chunks : int or None
            Chunks of the plan; None if the boundaries cannot be read.
        """
        path = f"homes[{n}]"
        if not isinstance(value, dict):
            self.problem(path, show(value), f"an object with {', '.join(_HOME_KEYS)}")
            return None
        before = len(self.problems)
        self.keys(value, _HOME_KEYS, _HOME_KEYS, "homes", n)
        stages = self.tables.stages
        most = self.tables.steps if chunks is None else chunks
        stage = self.index(value["stage"], f"{path}.stage", stages, "stage") if "stage" in value else None
        memory = (
            self.index(value["memory"], f"{path}.memory", self.tables.memories, "memory")
            if "memory" in value
            else None
        )
        chunk = self.index(value["chunk"], f"{path}.chunk", most, "chunk") if "chunk" in value else None
        tokens = self.tokens(value["tokens"], f"{path}.tokens") if "tokens" in value else None
        if stage is not None and stage == memory:
            remedy = "leave it out: what has no other home lives there"
            self.problem(f"{path}.memory", str(memory), "another memory than the stage's own", remedy)
        page = self.tables.page
        if tokens is not None and (tokens <= 0 or tokens % page):
            self.problem(f"{path}.tokens", str(tokens), f"a multiple of the page ({page}), > 0")
        if len(self.problems) > before or stage is None or chunk is None or memory is None or tokens is None:
            return None
        return Home(stage, chunk, memory, tokens // page)

    def homes(self, value: object, boundaries: tuple[int, ...] | None) -> tuple[Home, ...]:
        """Read the homes that can be read, sorted; stops after `MOST_PROBLEMS` problems.

        Parameters
        ----------
        value : object
            As read from JSON.
        boundaries : tuple of int or None
            Tokens; None if they cannot be read: then pages are not compared with the chunks.
        """
        if not isinstance(value, list):
            self.problem("homes", show(value), "a list of homes", "write [] if all KV lives in its own stage")
            return ()
        chunks = None if boundaries is None else len(boundaries) - 1
        read = []
        for n, item in enumerate(value):
            read.append((n, self.home(item, n, chunks)))
            if len(self.problems) > MOST_PROBLEMS:
                break
        first: dict[tuple[int, int, int], int] = {}
        placed: dict[tuple[int, int], int] = {}
        homes = []
        for n, home in read:
            if home is None:
                continue
            here = (home.stage, home.chunk, home.memory)
            if here in first:
                found = f"stage {home.stage}, chunk {home.chunk}, memory {home.memory} again"
                self.problem(f"homes[{n}]", found, f"what homes[{first[here]}] does not place", "add them up")
            first.setdefault(here, n)
            placed[here[:2]] = placed.get(here[:2], 0) + home.pages
            homes.append(home)
        if boundaries is not None:
            self.placed(placed, boundaries)
        return tuple(sorted(homes))

    def placed(self, placed: Mapping[tuple[int, int], int], boundaries: tuple[int, ...]) -> None:
        """Require that no chunk has more pages in other memories than it produces.

        Parameters
        ----------
        placed : mapping of (stage, chunk) to int
            Pages in memories of other stages.
        boundaries : tuple of int
            Tokens, of all chunks.
        """
        page = self.tables.page
        produced = np.diff([-(-point // page) for point in boundaries])
        for (stage, chunk), pages in placed.items():
            if pages > produced[chunk]:
                expected = (
                    f"at most {produced[chunk] * page} tokens of stage {stage}, chunk {chunk}, elsewhere"
                )
                self.problem("homes", f"{pages * page}", expected, "the chunk is no longer")
