"""One request of a stream: what every field means, its unit, its default and an example."""

from __future__ import annotations

from mocap_opt.quantities import Batch, Instant, Label, Section, Tokens, TokensOrZero, field


class StreamRequest(Section):
    """One request of a stream."""

    tokens: Tokens = field("tokens to prefill", 131072, "128k", unit="tokens")
    prefix: TokensOrZero = field("tokens already cached before them", "16k", unit="tokens", default=0)
    batch: Batch = field("prompts of this length processed side by side", 8, default=1)
    release: Instant = field("when it arrives; it is not started earlier", "1.5 s", unit="s", default=0.0)
    slo: Instant | None = field(
        "with objective goodput: it counts if it has left within this time of its release",
        "2 s",
        unit="s",
        default=None,
    )
    weight: Batch = field("with objective goodput: what it counts for", 1, 3, default=1)
    name: Label = field("label for reports; means nothing", "chat 17", default="")
