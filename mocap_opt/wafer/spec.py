"""The machine as an instance file describes it: dies, links, and which of them fail."""

from __future__ import annotations

from typing import Annotated, Literal

from mocap_opt.quantities import (
    Bandwidth,
    Bytes,
    Description,
    Die,
    Ends,
    Flops,
    Label,
    Seconds,
    Section,
    Side,
    choice,
    field,
)


class DieSpec(Section):
    """One die and its memory."""

    flops: Flops = field("peak speed", 708e12, "708 TFLOP/s", unit="FLOP/s")
    memory_bytes: Bytes = field("size of the memory", 70e9, "70 GB", unit="bytes")
    memory_bandwidth: Bandwidth = field("speed of the memory", 2e12, "2 TB/s", unit="bytes/s")


class LinkSpec(Section):
    """A link in one direction: a die's edge, or its port on a switch."""

    bandwidth: Bandwidth = field("bytes per second in one direction", 1e12, "1 TB/s", unit="bytes/s")
    hop_latency: Seconds = field("latency of one hop", 15e-9, "15 ns", unit="s")


class SlowLink(Section):
    """A link that is slower than the others, in both directions."""

    between: Ends = field("the two dies it joins", [[0, 3], [0, 4]])
    bandwidth: Bandwidth = field("bytes per second in one direction", 5e11, "500 GB/s", unit="bytes/s")


class WaferSpec(Section):
    """The machine: dies in rows and columns, and their links."""

    name: Label = field("label for reports; means nothing", "watos-c3", default="")
    description: Description = field("free text; means nothing", default="")
    topology: Annotated[Literal["mesh", "torus", "switch"], *choice("mesh", "torus", "switch")] = field(
        "how the dies are linked", "mesh"
    )
    rows: Side = field("rows of dies", 7)
    cols: Side = field("columns of dies; a switch is one row of its dies", 8)
    die: DieSpec = field("what every die has")
    link: LinkSpec = field("what every link has")
    dead_dies: tuple[Die, ...] = field("dies that do not work", [[0, 3]], default=())
    dead_links: tuple[Ends, ...] = field(
        "links that do not work, in either direction", [[[0, 3], [0, 4]]], default=()
    )
    slow_links: tuple[SlowLink, ...] = field(
        "links with a bandwidth of their own",
        [{"between": [[0, 3], [0, 4]], "bandwidth": "500 GB/s"}],
        default=(),
    )
