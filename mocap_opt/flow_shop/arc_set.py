"""Chunks that may stand at each position, as the arcs of a layered graph of boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray


@dataclass(frozen=True, eq=False)
class ArcSet:
    """Arcs from (j, a) to (j + 1, b): chunk [a, b) may stand at position j.

    A partition is a path from (0, 0) to (M, G); with fewer than M chunks it begins with loops at 0, the
    empty chunks.

    Attributes
    ----------
    steps : int
        G, grid steps.
    starts, ends : tuple of int64[arc]
        Grid indices by position, in ascending order of (start, end); (0, 0) is an empty chunk.
    """

    steps: int
    starts: tuple[IntArray, ...]
    ends: tuple[IntArray, ...]

    @classmethod
    def of(cls, steps: int, arcs: Sequence[tuple[IntArray, IntArray]]) -> ArcSet:
        """Sort the arcs of each position, keep one of equal ones, and drop those on no path.

        Parameters
        ----------
        steps : int
            G.
        arcs : sequence of (int64[arc], int64[arc])
            Starts and ends by position.
        """
        codes = [np.unique(a * (steps + 1) + b) for a, b in arcs]
        return cls(steps, *_decoded(steps, codes)).connected()

    @property
    def positions(self) -> int:
        """M, the number of positions."""
        return len(self.starts)

    @property
    def size(self) -> int:
        """Arcs over all positions, the empty chunks among them."""
        return sum(starts.size for starts in self.starts)

    @property
    def empty(self) -> bool:
        """Whether there is no path, that is, no partition."""
        return not all(starts.size for starts in self.connected().starts)

    @cached_property
    def nodes(self) -> tuple[IntArray, ...]:
        """Grid indices that each boundary p_0 .. p_M may take, ascending."""
        return (*(np.unique(starts) for starts in self.starts), np.unique(self.ends[-1]))

    def windows(self) -> list[tuple[int, int]]:
        """Least and greatest grid index of each boundary; of a set that is not empty."""
        return [(int(layer[0]), int(layer[-1])) for layer in self.nodes]

    def connected(self) -> ArcSet:
        """The arcs on paths from (0, 0) to (M, G)."""
        reached = np.zeros(self.steps + 1, dtype=np.bool_)
        reached[0] = True
        forward: list[npt.NDArray[np.bool_]] = []
        for start, end in zip(self.starts, self.ends, strict=True):
            forward.append(reached[start])
            reached = np.zeros_like(reached)
            reached[end[forward[-1]]] = True
        needed = np.zeros_like(reached)
        needed[-1] = True
        kept: list[npt.NDArray[np.bool_]] = []
        for j in reversed(range(self.positions)):
            kept.append(forward[j] & needed[self.ends[j]])
            needed = np.zeros_like(needed)
            needed[self.starts[j][kept[-1]]] = True
        return self.where(kept[::-1])

    def where(self, kept: Sequence[npt.NDArray[np.bool_]]) -> ArcSet:
        """The arcs that are kept, whether or not they still are on a path.

        Parameters
        ----------
        kept : sequence of bool[arc]
            By position.
        """
        return ArcSet(
            self.steps,
            tuple(start[mask] for start, mask in zip(self.starts, kept, strict=True)),
            tuple(end[mask] for end, mask in zip(self.ends, kept, strict=True)),
        )

    def within(self, other: ArcSet) -> ArcSet:
        """The arcs of both, as far as they are on paths.

        Parameters
        ----------
        other : ArcSet
            Of as many positions.
        """
        mine, theirs = self._codes(), other._codes()
        return self.where([np.isin(a, b) for a, b in zip(mine, theirs, strict=True)]).connected()

    def joined(self, other: ArcSet) -> ArcSet:
        """The arcs of either.

        Parameters
        ----------
        other : ArcSet
            Of as many positions.
        """
        codes = [np.union1d(a, b) for a, b in zip(self._codes(), other._codes(), strict=True)]
        return ArcSet(self.steps, *_decoded(self.steps, codes))

    def partitions(self, most: int) -> list[IntArray] | None:
        """All paths, boundaries int64[M + 1] with leading zeros, in lexicographic order.

        Parameters
        ----------
        most : int

        Returns
        -------
        list of int64[M + 1] or None
            None if there are more than `most`.
        """
        graph = self.connected()
        paths = np.zeros((1, 1), dtype=np.int64) if graph.size else np.zeros((0, 1), dtype=np.int64)
        for start, end in zip(graph.starts, graph.ends, strict=True):
            first = np.searchsorted(start, paths[:, -1], side="left")
            past = np.searchsorted(start, paths[:, -1], side="right")
            if int((past - first).sum()) > most:
                return None
            ways = [np.arange(x, y) for x, y in zip(first, past, strict=True)]
            arcs = np.concatenate([np.empty(0, dtype=np.int64), *ways]).astype(np.int64)
            paths = np.column_stack([np.repeat(paths, past - first, axis=0), end[arcs]])
        return list(paths)

    def _codes(self) -> list[IntArray]:
        """One number for each arc, ascending."""
        return [a * (self.steps + 1) + b for a, b in zip(self.starts, self.ends, strict=True)]


def _decoded(steps: int, codes: Sequence[IntArray]) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...]]:
    """Starts and ends that numbers of arcs stand for."""
    pairs = [np.divmod(code, steps + 1) for code in codes]
    return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
