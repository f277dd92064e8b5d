"""Decoding beside prefill: a load that is given, and what it asks of chunks (formulations/decode.md)."""

from __future__ import annotations

from mocap_opt.quantities import Elapsed, Flag, Section, field


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
