"""A region of partitions that a best-first search has yet to look at or to split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mocap_opt.bounds.partition_pricing import PartitionRegion, Weights


@dataclass(order=True, frozen=True)
class OpenRegion:
    """A region and what is known of it.

    Attributes
    ----------
    value : int, ticks
        No plan of the region is faster, unless the search left it out for good reasons.
    order : int
        Tells regions of equal value apart.
    region : PartitionRegion
    weights : Weights or None
        What proved the value, for this region or one around it; None if no program was solved.
    """

    value: int
    order: int
    region: PartitionRegion = field(compare=False)
    weights: Weights | None = field(compare=False)

    @property
    def note(self) -> str:
        """Which plans decide the bound."""
        region = self.region
        counts = f"{region.fewest}..{region.positions}" if region.optional else f"{region.fewest}"
        return f"{counts} chunks, the longest of {region.short}..{region.long} steps"


def halves_of_counts(region: PartitionRegion) -> tuple[tuple[int, int], tuple[int, int]]:
    """The fewer and the more chunks, least and greatest count of each half."""
    middle = (region.fewest + region.positions) // 2
    return (region.fewest, middle), (middle + 1, region.positions)


def halves_of_lengths(region: PartitionRegion, middle: int) -> tuple[PartitionRegion, PartitionRegion]:
    """Partitions whose longest chunk has at most so many steps, and those where it has more."""
    return replace(region, long=middle), replace(region, short=middle + 1)
