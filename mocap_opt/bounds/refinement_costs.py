"""What a chunk between any two tokens costs at least, a quadratic function of its ends.

Statement and proof: ``formulations/bounds.md``, `refinement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor, isqrt, lcm

from mocap_opt.flow_shop.chunk_times import send_per_token
from mocap_opt.instance import Instance
from mocap_opt.tables.build import stage_times
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.curves import straight
from mocap_opt.tables.layout import layout
from mocap_opt.tables.stage_costs import own_bytes


def rounding(terms: Iterable[Fraction]) -> Fraction:
    """Ticks that rounding to the nearest takes off an entry of a table at most."""
    return Fraction(any(each.denominator > 1 for each in terms), 2)


@dataclass(frozen=True)
class StageTerms:
    """Terms of one stage's tables before rounding, ticks; none is negative but ``block[0]``.

    Attributes
    ----------
    phi : tuple of Fraction
        Of x and x^2.
    block : tuple of Fraction
        Full blocks, of l and l^2.
    prefix, length, memory, send : tuple of Fraction
        Of 1 and the start, the length, the end, the length.
    """

    phi: tuple[Fraction, Fraction]
    block: tuple[Fraction, Fraction]
    prefix: tuple[Fraction, Fraction]
    length: tuple[Fraction, Fraction]
    memory: tuple[Fraction, Fraction]
    send: tuple[Fraction, Fraction]

    @classmethod
    def of(cls, instance: Instance, tables: Tables) -> list[StageTerms]:
        """Terms of every stage.

        Parameters
        ----------
        instance : Instance
            Whose times are not measured, and not bent by windows or shares.
        tables : Tables
            Of `instance`.
        """
        laid_out, tick = layout(instance), tables.tick_s
        found, nothing = [], (Fraction(0), Fraction(0))
        for i in range(tables.stages):
            times = stage_times(instance, laid_out, i)
            scaled = [
                [c / tick for c in (*straight(part), Fraction(0), Fraction(0))]
                for part in (times.compute, times.full_block, times.prefix_cost, times.length_cost)
            ]
            memory, send = nothing, nothing
            if instance.costs.kind == "roofline":
                fixed, slope = straight(own_bytes(instance, laid_out, i))
                memory = fixed / int(tables.port_rate[i]), slope / int(tables.port_rate[i])
            if i < tables.stages - 1:
                send = Fraction(int(tables.hop_ticks[i, i + 1])), send_per_token(tables, i)
            phi, block, prefix, length = scaled
            found.append(
                cls(
                    (phi[1], phi[2]),
                    (block[1], block[2]),
                    (prefix[0], prefix[1]),
                    (length[0], length[1]),
                    memory,
                    send,
                )
            )
        return found

    @cached_property
    def lost(self) -> Fraction:
        """Ticks that the rounded tau may be below that of these terms; sends apart."""
        return 2 * rounding(self.phi) + rounding(self.block) + rounding(self.prefix) + rounding(self.length)


@dataclass(frozen=True)
class ChunkFunction:
    """constant + end b + end_square b^2 + start a + start_square a^2 + both a b, in parts of a tick.

    Rises with b, and is concave in a: then it exceeds a limit between two starts if it does so at both.

    Attributes
    ----------
    scale : int
        Parts of a tick.
    constant, end, end_square, start, start_square, both : int
    """

    scale: int
    constant: int
    end: int
    end_square: int
    start: int
    start_square: int
    both: int

    @classmethod
    def of(cls, coefficients: Sequence[Fraction]) -> ChunkFunction:
        """Take six coefficients in ticks, in the order of the attributes."""
        scale = lcm(*(each.denominator for each in coefficients))
        return cls(scale, *(int(each * scale) for each in coefficients))

    def at(self, start: int, end: int) -> int:
        """Ticks at least of the chunk from `start` to `end`, tokens.

        Parameters
        ----------
        start, end : int
            Tokens.
        """
        by_end = self.constant + (self.end + self.end_square * end) * end
        return (by_end + (self.start + self.both * end + self.start_square * start) * start) // self.scale

    def least_start(self, end: int, limit: int, first: int) -> int | None:
        """Least start from `first` on of a chunk within a limit that ends at `end` or later.

        Parameters
        ----------
        end : int
            Tokens.
        limit : int
            Ticks.
        first : int
            Tokens.

        Returns
        -------
        int or None
            None if every start exceeds the limit.
        """
        above = self.constant + (self.end + self.end_square * end) * end - (limit + 1) * self.scale + 1
        slope, bend = self.start + self.both * end, -self.start_square
        if above + (slope - bend * first) * first <= 0:
            return first
        if not bend:
            return None if slope >= 0 else -(above // slope)
        root = (slope + isqrt(max(slope * slope + 4 * bend * above, 0))) // (2 * bend)
        start = max(root, first)
        while above + (slope - bend * start) * start > 0:
            start += 1
        return start


def chunk_functions(
    stages: Iterable[StageTerms], senders: Iterable[StageTerms]
) -> tuple[ChunkFunction, ChunkFunction]:
    """What a chunk takes at least on some stages and to be sent by some: by compute, and by memory.

    Parameters
    ----------
    stages, senders : iterable of StageTerms
    """
    compute, memory = [Fraction(0)] * 6, [Fraction(0)] * 6
    for stage in stages:
        for sums in (compute, memory):
            sums[0] += stage.prefix[0] + stage.length[0] - stage.lost
            sums[1] += stage.length[1]
            sums[3] += stage.prefix[1] - stage.length[1]
        memory[0] += stage.memory[0]
        memory[1] += stage.memory[1]
        (linear, square), (block, block_square) = stage.phi, stage.block
        compute[1] += linear + block
        compute[2] += square + block_square
        compute[3] -= linear + block
        compute[4] -= square - block_square
        compute[5] -= 2 * block_square
    for sender in senders:
        for sums in (compute, memory):
            sums[0] += sender.send[0] - (sender.send[1].denominator > 1)
            sums[1] += sender.send[1]
            sums[3] -= sender.send[1]
    return ChunkFunction.of(compute), ChunkFunction.of(memory)


def least_phi(first: StageTerms, last: StageTerms, tokens: int) -> Fraction:
    """Least compute time of a prompt whose beginning is on one stage and whose rest on another.

    Parameters
    ----------
    first, last : StageTerms
    tokens : int
    """
    linear, square = (a - b for a, b in zip(first.phi, last.phi, strict=True))
    splits = [Fraction(0), Fraction(tokens)]
    if square > 0:
        splits.append(min(max(-linear / (2 * square), Fraction(0)), Fraction(tokens)))
    rest = last.phi[0] * tokens + last.phi[1] * tokens**2
    lost = rounding(first.phi) + rounding(last.phi)
    return rest + min(linear * x + square * x * x for x in splits) - 2 * lost


def least_by_count(each: Fraction, shared: Fraction, fewest: int, most: int) -> Fraction:
    """Least of ``each m + shared / m`` over the counts m from `fewest` to `most`.

    Parameters
    ----------
    each, shared : Fraction
        The second is not negative.
    fewest, most : int
    """
    best = most if each <= 0 else isqrt(floor(shared / each))
    counts = {min(max(best + more, fewest), most) for more in (0, 1)}
    return min(each * count + shared / count for count in counts)
