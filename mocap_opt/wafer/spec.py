"""The machine as an instance file describes it, and machines by name.

Numbers are FLOP/s, bytes, bytes/s and seconds.  ``link.bandwidth`` is what one directed link
carries: one edge of a die on a mesh or torus, one way of a die's port on a switch.  The description of
a named machine says where its figures come from and which are uncertain, so that no result rests on
them unknowingly.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from mocap_opt.quantities import (
    Bandwidth,
    Bytes,
    Description,
    Die,
    Ends,
    Flops,
    Label,
    Name,
    Seconds,
    Section,
    Side,
    by_shape,
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


_Places = Annotated[
    Annotated[Literal["every"], *choice("every"), Tag("<one>")] | Annotated[tuple[Die, ...], Tag("<list>")],
    Discriminator(by_shape),
]


class PoolSpec(Section):
    """A memory off the wafer, for KV of any stage."""

    name: Name = field("name of the pool and of its links", "host")
    memory_bytes: Bytes = field("size of the memory", 1e12, "1 TB", unit="bytes")
    memory_bandwidth: Bandwidth = field("speed of the memory", 2e11, "200 GB/s", unit="bytes/s")
    link: LinkSpec = field("what its link each way at a die, or at the switch, has")
    at: _Places = field('dies that have links to it; "every": all living ones', [[0, 0]], default="every")


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
    pools: tuple[PoolSpec, ...] = field(
        "memories off the wafer, for KV",
        [
            {
                "name": "host",
                "memory_bytes": "1 TB",
                "memory_bandwidth": "200 GB/s",
                "link": {"bandwidth": "32 GB/s", "hop_latency": "2 us"},
                "at": [[0, 0]],
            }
        ],
        default=(),
    )

    def holds(self, die: tuple[int, int]) -> bool:
        """Whether the wafer has such a die, dead or alive."""
        return die[0] < self.rows and die[1] < self.cols

    @property
    def living_dies(self) -> int:
        """How many dies work."""
        return self.rows * self.cols - len({die for die in self.dead_dies if self.holds(die)})


TERA = 10**12
GIGA = 10**9

WAFERS: dict[str, dict[str, Any]] = {
    "watos-c3": {
        "description": (
            "56 dies. Figures from arXiv 2512.12279 as others report them. Assumed: the 7 x 8 "
            "arrangement; 4 TB/s per die read as 1 TB/s each way on each of four edges. Derived: 15 ns "
            "per hop."
        ),
        "topology": "mesh",
        "rows": 7,
        "cols": 8,
        "die": {"flops": 708 * TERA, "memory_bytes": 70 * GIGA, "memory_bandwidth": 2 * TERA},
        "link": {"bandwidth": 1 * TERA, "hop_latency": 15e-9},
    },
    "temp-6x8": {
        "description": (
            "48 dies. Figures from arXiv 2512.14256 as others report them; 1800 TFLOP/s per die is "
            "disputed. Assumed: 4 TB/s per die read as 1 TB/s each way per edge; 15 ns per hop."
        ),
        "topology": "mesh",
        "rows": 6,
        "cols": 8,
        "die": {"flops": 1800 * TERA, "memory_bytes": 72 * GIGA, "memory_bandwidth": 1 * TERA},
        "link": {"bandwidth": 1 * TERA, "hop_latency": 15e-9},
    },
    "pjlab-5x4": {
        "description": (
            "20 dies, from the configuration published with PJLAB-CHIP/LLMEngineOnWafer. Assumed: 80 GB "
            "per die; 4.5 TB/s per die read as 1.125 TB/s each way per edge."
        ),
        "topology": "mesh",
        "rows": 5,
        "cols": 4,
        "die": {"flops": 261 * TERA, "memory_bytes": 80 * GIGA, "memory_bandwidth": 900 * GIGA},
        "link": {"bandwidth": 1125 * GIGA, "hop_latency": 10e-9},
    },
    "dojo-tile": {
        "description": (
            "25 dies with 0.44 GB of SRAM each and no DRAM, where large models cannot fit. Figures as "
            "reported by the press. Assumed: SRAM bandwidth of 354 cores x 400 GB/s (recalled, not "
            "checked); 15 ns per hop."
        ),
        "topology": "mesh",
        "rows": 5,
        "cols": 5,
        "die": {"flops": 362 * TERA, "memory_bytes": 440 * 10**6, "memory_bandwidth": 141_600 * GIGA},
        "link": {"bandwidth": 4 * TERA, "hop_latency": 15e-9},
    },
    "wse-3": {
        "description": (
            "One die of 900,000 cores, for comparison only: a pipeline of one stage. 44 GB of SRAM and 21 "
            "PB/s as others report them; 125 PFLOP/s counts sparsity and, like the fabric's 214 Pb/s, is "
            "recalled and not checked. A single die has no links."
        ),
        "topology": "mesh",
        "rows": 1,
        "cols": 1,
        "die": {"flops": 125_000 * TERA, "memory_bytes": 44 * GIGA, "memory_bandwidth": 21_000 * TERA},
        "link": {"bandwidth": 26_750 * TERA, "hop_latency": 1e-9},
    },
    "cloudmatrix-384": {
        "description": (
            "384 NPUs behind a non-blocking switch. Figures from arXiv 2506.12708 as others report them; "
            "392 GB/s per package one way is recalled and not checked. Assumed: 500 ns per hop, two hops "
            "from NPU to NPU. Pool host: the DRAM of 192 host CPUs on the same switch, 160 GB/s each "
            "(recalled, not checked) and 512 GB each (assumed), as one memory."
        ),
        "topology": "switch",
        "rows": 1,
        "cols": 384,
        "die": {"flops": 752 * TERA, "memory_bytes": 128 * GIGA, "memory_bandwidth": 3200 * GIGA},
        "link": {"bandwidth": 392 * GIGA, "hop_latency": 500e-9},
        "pools": [
            {
                "name": "host",
                "memory_bytes": 192 * 512 * GIGA,
                "memory_bandwidth": 192 * 160 * GIGA,
                "link": {"bandwidth": 192 * 160 * GIGA, "hop_latency": 500e-9},
            }
        ],
    },
    "tpu-v5p": {
        "description": (
            "A two-dimensional 8 x 8 slice (assumed) of the three-dimensional torus. Chip figures from "
            "the vendor's page: 1200 GB/s per chip in both directions together, read as 100 GB/s each way "
            "on each of six ports, of which the slice uses four. Assumed: 500 ns per hop."
        ),
        "topology": "torus",
        "rows": 8,
        "cols": 8,
        "die": {"flops": 459 * TERA, "memory_bytes": 95 * GIGA, "memory_bandwidth": 2765 * GIGA},
        "link": {"bandwidth": 100 * GIGA, "hop_latency": 500e-9},
    },
    "tpu-v6e-16x16": {
        "description": (
            "256 chips in a 16 x 16 torus. Figures from the vendor's page: 800 GB/s per chip in both "
            "directions together over four ports, read as 100 GB/s each way per port. Assumed: 500 ns per "
            "hop."
        ),
        "topology": "torus",
        "rows": 16,
        "cols": 16,
        "die": {"flops": 918 * TERA, "memory_bytes": 32 * GIGA, "memory_bandwidth": 1638 * GIGA},
        "link": {"bandwidth": 100 * GIGA, "hop_latency": 500e-9},
    },
    "h100-x8": {
        "description": (
            "Eight GPUs, all to all through a switch. All figures are recalled and not checked: 900 GB/s "
            "per GPU in both directions together, read as 450 GB/s each way. Assumed: 500 ns per hop, two "
            "hops from GPU to GPU."
        ),
        "topology": "switch",
        "rows": 1,
        "cols": 8,
        "die": {"flops": 989 * TERA, "memory_bytes": 80 * GIGA, "memory_bandwidth": 3350 * GIGA},
        "link": {"bandwidth": 450 * GIGA, "hop_latency": 500e-9},
    },
    "a100-80gb": {
        "description": (
            "One GPU. 312 TFLOP/s (bf16, dense), 80 GB and 2039 GB/s from the vendor's data sheet; 600 GB/s "
            "of NVLink in both directions together, read as 300 GB/s each way. A single die has no links."
        ),
        "topology": "mesh",
        "rows": 1,
        "cols": 1,
        "die": {"flops": 312 * TERA, "memory_bytes": 80 * GIGA, "memory_bandwidth": 2039 * GIGA},
        "link": {"bandwidth": 300 * GIGA, "hop_latency": 500e-9},
    },
    "kv260": {
        "description": (
            "One edge FPGA with 4 GB of DDR4 at 19.2 GB/s. Fitted: 188 GFLOP/s, the speed at which TeLLMe v2 "
            "(arXiv 2510.15926) reaches its 0.45 to 0.96 s for 64 to 128 tokens of BitNet 0.73B, all losses "
            "included, so with costs.efficiency 1. A single die has no links."
        ),
        "topology": "mesh",
        "rows": 1,
        "cols": 1,
        "die": {"flops": 188 * GIGA, "memory_bytes": 4 * GIGA, "memory_bandwidth": 19.2 * GIGA},
        "link": {"bandwidth": 1 * GIGA, "hop_latency": 1e-6},
    },
    "ascend-910b": {
        "description": (
            "Eight NPUs, each linked to every other one, read as a switch. All figures are recalled and not "
            "checked: 376 TFLOP/s, 64 GB, 1.6 TB/s, 196 GB/s each way per NPU. Assumed: 500 ns per hop."
        ),
        "topology": "switch",
        "rows": 1,
        "cols": 8,
        "die": {"flops": 376 * TERA, "memory_bytes": 64 * GIGA, "memory_bandwidth": 1600 * GIGA},
        "link": {"bandwidth": 196 * GIGA, "hop_latency": 500e-9},
    },
}
"""Wafers and the machines they are compared with, by preset name."""
