"""What every field of `Tables` is: its axes, unit, meaning and rounding, in one place.

The page ``formulations/notation.md`` shows the same rows, and files of tables carry them.
"""

from __future__ import annotations

from dataclasses import dataclass

AXES = {
    "stage": "stages 0 .. N-1, in pipeline order",
    "memory": "memories: 0 .. N-1, the dies of each stage together, then those without a stage",
    "pool": "memories without a stage, N and on; no axis where there are none",
    "window": "spans of windows whose KV lives in rings, ascending; no axis where there are none",
    "from": "stage or memory that a transfer leaves",
    "to": "stage or memory that a transfer enters",
    "point": "grid points 0 .. G, the places where boundaries may be",
    "tail": "1 for the chunk that ends at the last grid point, 0 for all others",
    "length": "length of a chunk in grid steps, 0 .. G; entry 0 is never read",
    "link": "living directed links, in the order of the field links",
    "message": "messages that no plan chooses; no axis where there are none",
    "entry": "kind (0 streamed weights, 1 export, 2 prefix load), stage, source memory, target memory, bytes "
    "with every chunk, bytes per page of the chunk, bytes with the first chunk; none where message is none",
}
"""Names of axes and what they run over."""


@dataclass(frozen=True)
class Field:
    """A field of `Tables` as the file holds it.

    Attributes
    ----------
    name : str
    kind : str
        ``integers``, ``integer``, ``integer or null``, ``boolean``, ``fraction``, ``text``, ``texts``,
        ``integers or none``, ``texts or none``, ``boolean or none``, ``integer or none`` (fields that files
        may leave out).
    axes : tuple of str
        Names in `AXES`, outermost first; none for a single value.
    unit : str
        Empty for numbers without one.
    meaning : str
    rounded : str
        Which way: ``up``, ``down``, ``nearest``, or empty where nothing is rounded.
    least : int
        Smallest value allowed.
    """

    name: str
    kind: str
    axes: tuple[str, ...]
    unit: str
    meaning: str
    rounded: str = ""
    least: int = 0


def _table(name: str, axes: str, unit: str, meaning: str, rounded: str = "", least: int = 0) -> Field:
    return Field(name, "integers", tuple(axes.split()), unit, meaning, rounded, least)


FIELDS = (
    Field("name", "text", (), "", "name of the instance, for messages"),
    Field("tick_s", "fraction", (), "s", "length of a tick"),
    Field("max_chunks", "integer", (), "chunks", "M, the most chunks a plan may use", least=1),
    Field("exact_chunks", "boolean", (), "", "whether a plan must use exactly M chunks"),
    Field("quantum", "integer", (), "tokens", "q, a step of the grid", least=1),
    Field("page", "integer", (), "tokens", "size of a page, which divides q", least=1),
    Field("min_length", "integer", (), "tokens", "a non-empty chunk is at least this long", least=1),
    Field("max_length", "integer", (), "tokens", "a chunk is at most this long", least=1),
    Field("prefix", "integer", (), "tokens", "P, cached before the prompt"),
    _table("grid", "point", "tokens", "where boundaries may be: 0, q, 2 q, ..., S"),
    _table("phi", "stage point", "ticks", "Phi_i, compute time of all tokens before a position", "nearest"),
    _table(
        "full_block",
        "stage tail length",
        "ticks",
        "fb_i, extra time of attention counted in full blocks",
        "nearest",
    ),
    _table("memory_side", "stage point", "ticks", "mem_i, own_traffic / port_rate, by the chunk's end", "up"),
    _table("prefix_cost", "stage point", "ticks", "gamma_i (P + a), by the chunk's start", "nearest"),
    _table("length_cost", "stage tail length", "ticks", "c_i, overhead and collectives", "nearest"),
    _table(
        "send",
        "stage tail length",
        "ticks",
        "hop_ticks + the largest over links of lambda l act / link_rate; 0 after the last stage",
        "up",
    ),
    _table("activation_bytes", "stage", "bytes per token", "act, the message to the next stage", "up"),
    _table("page_bytes", "stage", "bytes", "kappa_i x page, KV of a page", "up"),
    _table("prefix_bytes", "memory", "bytes", "ceil(P / page) x page_bytes, KV of the cached prefix"),
    _table("capacity", "memory", "bytes", "C_k, size of the memory"),
    _table("static", "memory", "bytes", "static_k, always there: weights", "up"),
    _table("staging", "memory", "bytes", "staging buffers, part of the reserve"),
    _table(
        "working_bytes",
        "memory",
        "bytes per token",
        "activations a stage holds per token of its queues, all dies",
        "up",
    ),
    Field(
        "queue_depth",
        "integer or null",
        (),
        "chunks",
        "Q, depth of the queues between stages; null if unbounded",
        least=1,
    ),
    _table(
        "own_traffic",
        "stage point",
        "bytes",
        "w_i + kappa_i (P + b), by the chunk's end; already part of memory_side",
        "up",
    ),
    _table("port_rate", "memory", "bytes per tick", "R_k, memory bandwidth", "down", least=1),
    Field("links", "texts", ("link",), "", "names of the living directed links"),
    _table("link_rate", "link", "bytes per tick", "B_e, bandwidth", "down", least=1),
    Field(
        "share_denominator",
        "integer",
        (),
        "",
        "what the numbers in share are divided by; least common multiple of the d_i",
        least=1,
    ),
    _table(
        "share",
        "link from to",
        "",
        "part of a transfer that crosses the link, lambda x share_denominator, exact",
    ),
    _table("hop_ticks", "from to", "ticks", "latency: hops of the longest route x that of a hop", "nearest"),
    Field(
        "overlap", "fraction", (), "", "f, the part of a chunk's KV transfers that overlaps with its compute"
    ),
    Field(
        "residual",
        "integers or none",
        ("stage", "point", "point"),
        "ticks",
        "r_i, what a chunk takes beyond the other tables, by its start and end; left out if not measured",
        "nearest",
    ),
    Field("pools", "texts or none", ("pool",), "", "names of the memories without a stage; left out if none"),
    Field(
        "fixed_messages",
        "integers or none",
        ("message", "entry"),
        "",
        "what stages move beside KV: streamed weights, exports, loaded prefixes; left out if none",
        "up",
    ),
    Field(
        "available",
        "integers or none",
        ("point",),
        "ticks",
        "avail(x), when the tokens before a position exist; left out if from the start on",
        "up",
    ),
    Field(
        "loop",
        "boolean or none",
        (),
        "",
        "whether chunk j enters stage 0 only once chunk j - N has left stage N-1; left out if not",
    ),
    Field(
        "between_tokens",
        "integer or none",
        (),
        "ticks",
        "the most that tau and send of a chunk on all stages may add up to; left out if unlimited",
        "down",
    ),
    Field(
        "buffer_bytes",
        "integers or none",
        ("memory",),
        "bytes per token",
        "activations of feed-forward networks per token of the queues; left out without mini-sequences",
        "up",
    ),
    Field(
        "buffer_limit",
        "integers or none",
        ("memory",),
        "bytes",
        "the most of them that is held at once; left out without mini-sequences",
        "up",
    ),
    Field(
        "logit_bytes",
        "integers or none",
        ("memory",),
        "bytes per token",
        "logits per token of the queues, held instead where they take more; left out without mini-sequences",
        "up",
    ),
    Field(
        "ring_span",
        "integers or none",
        ("window",),
        "tokens",
        "w', what windows span whose KV lives in rings; left out if none",
        least=1,
    ),
    Field(
        "ring_bytes",
        "integers or none",
        ("memory", "window"),
        "bytes",
        "a page of the rings of each span; left out if none",
        "up",
    ),
    Field(
        "rider_bytes",
        "integers or none",
        ("tail", "length"),
        "bytes",
        "what tokens decoded with a chunk add to its message; left out if none",
    ),
)
"""All fields of `Tables`, in the order of the file."""
