"""Decoding beside prefill: a load that is given, and what it asks of chunks (formulations/decode.md)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from mocap_opt.quantities import Elapsed, Flag, Section, Share, Tokens, TokensOrZero, field
from mocap_opt.units import exact


class DecodeShare(Section):
    """What of a die decoding has for itself; chunks have the rest."""

    compute: Share = field("part of the compute that decoding has, 1 - s", 0.3, default=0.0)
    bandwidth: Share = field("part of the memory bandwidth that decoding has, beta", 0.2, default=0.0)
    curve: tuple[tuple[Share, Share], ...] = field(
        "speed by the part of the compute, [[part, speed], ...], both of the whole: concave, from [0, 0] to "
        "[1, 1], linear between points",
        [[0, 0], [0.5, 0.8], [1, 1]],
        default=((0.0, 0.0), (1.0, 1.0)),
    )

    def speed(self, part: Fraction) -> Fraction:
        """g, the speed that a part of the compute reaches, both of the whole.

        Parameters
        ----------
        part : Fraction
            From 0 to 1.
        """
        points = [(exact(x), exact(y)) for x, y in self.curve]
        for (low, slow), (high, fast) in pairwise(points):
            if part <= high:
                return slow + (fast - slow) * (part - low) / (high - low)
        return points[-1][1]

    @property
    def prefill_speed(self) -> Fraction:
        """g(s), of which chunks are computed."""
        return self.speed(1 - exact(self.compute))

    @property
    def prefill_bandwidth(self) -> Fraction:
        """1 - beta, with which chunks are read."""
        return 1 - exact(self.bandwidth)


class Decode(Section):
    """Tokens that are decoded while prompts are prefilled; nothing here is decided."""

    loop: Flag = field(
        "whether chunk j enters the first stage only once chunk j - N has left the last one, N the number of "
        "stages, as it brings the tokens to decode next",
        True,
        default=True,
    )
    between_tokens: Elapsed | None = field(
        "the most time from one token of a request to its next: a chunk's time on all stages and to them; "
        "null: no limit",
        "0.2 s",
        unit="s",
        default=None,
    )
    tokens: TokensOrZero = field("tokens decoded with every chunk", 27, unit="tokens", default=0)
    context: TokensOrZero = field(
        "tokens that these attend to, of all of them together", "54k", unit="tokens", default=0
    )
    budget: Tokens | None = field(
        "the most tokens of a chunk and those decoded with it; null: no limit",
        512,
        unit="tokens",
        default=None,
    )
    share: DecodeShare | None = field(
        "what decoding has for itself beside chunks; null: nothing", {"compute": 0.3}, default=None
    )
