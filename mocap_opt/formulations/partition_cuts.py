"""What the subproblem of homes tells the master of boundaries: partitions that are ruled out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PartitionCut:
    """Partitions that are left out: all whose boundaries nowhere come before those of one without homes.

    Attributes
    ----------
    boundaries : tuple of int
        Grid indices p_0 .. p_M, empty chunks in front.
    longest : int
        Tokens of the longest chunk at least in what is left out: no reserve of it is smaller.
    """

    boundaries: tuple[int, ...]
    longest: int

    def rules_out(self, boundaries: Sequence[int]) -> bool:
        """Whether a partition, grid indices p_0 .. p_M, is left out, at least with a large reserve."""
        return all(one >= other for one, other in zip(boundaries, self.boundaries, strict=True))

    def others(self, nodes: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
        """Places (j, g) of boundaries one of which a partition that stays must have.

        Parameters
        ----------
        nodes : sequence of sequence of int
            Grid indices that each boundary may take.
        """
        for j, (mark, layer) in enumerate(zip(self.boundaries, nodes, strict=True)):
            for g in layer:
                if g < mark:
                    yield j, g
