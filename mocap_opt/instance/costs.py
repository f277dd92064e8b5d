"""The section `costs` of an instance: what a chunk costs, by one of three kinds.

Sections are those of `mocap_opt.instance.schema`, and so are the rules for unions.
"""

from __future__ import annotations

from fractions import Fraction
from math import log
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Tag
from pydantic.config import JsonDict

from mocap_opt import units
from mocap_opt.quantities import (
    BytesOrZero,
    Efficiency,
    Elapsed,
    FractionalTokens,
    Seconds,
    Section,
    Tokens,
    TokensOrZero,
    by_shape,
    choice,
    field,
)


class Roofline(Section):
    """Chunk times from FLOPs, memory traffic and fixed overheads."""

    kind: Annotated[Literal["roofline"], *choice("roofline")] = field(
        "how costs are given", "roofline", default="roofline"
    )
    efficiency: Efficiency = field(
        "part of the peak speed that matrix products and attention reach; or a table by tensor-parallel "
        "degree, linear in the logarithm of the degree between entries and constant beyond them",
        0.5,
        {"1": 0.6, "2": 0.57, "4": 0.5, "8": 0.41},
        default=0.5,
    )
    overhead: Seconds = field("fixed time of a chunk on a stage", "20 us", unit="s", default=20e-6)
    half_efficiency_tokens: FractionalTokens = field(
        "matrix products of l tokens take as long as l plus this many would at full efficiency",
        128,
        unit="tokens",
        default=0.0,
    )
    prefix_cost: Seconds = field(
        "time every chunk pays on every stage per token before it", "1 ns", unit="s per token", default=0.0
    )
    tile_tokens: Tokens | None = field(
        "matrix products compute the tokens of a chunk in tiles of so many; null: as many as there are",
        128,
        unit="tokens",
        default=None,
    )
    prefetch_per_die: BytesOrZero = field(
        "buffer into which a die reads weights and KV ahead while it waits for an all-reduce",
        "104 MB",
        unit="bytes",
        default=0,
    )

    def efficiency_at(self, degree: int) -> Fraction:
        """Efficiency of a stage of this tensor-parallel degree; interpolated ones have nine decimals."""
        if not isinstance(self.efficiency, dict):
            return units.exact(self.efficiency)
        known = sorted(self.efficiency)
        below = max((entry for entry in known if entry <= degree), default=known[0])
        above = min((entry for entry in known if entry >= degree), default=known[-1])
        low, high = self.efficiency[below], self.efficiency[above]
        if low == high:
            return units.exact(low)
        return units.exact(round(low + (high - low) * log(degree / below) / log(above / below), 9))


class StageCoefficients(Section):
    """Time of a chunk of x tokens after a prefix of L tokens: c + gamma L + b x + a (2 L x + x^2)."""

    constant: Seconds = field("c, per chunk", "20 us", unit="s", default=0.0)
    linear: Seconds = field("b, per token", 1e-6, unit="s per token", default=0.0)
    quadratic: Seconds = field("a, per token squared", 1e-12, unit="s per token^2", default=0.0)
    prefix: Seconds = field("gamma, per token of prefix", 1e-9, unit="s per token", default=0.0)


_StageCosts = Annotated[
    Annotated[StageCoefficients, Tag("<one>")] | Annotated[tuple[StageCoefficients, ...], Tag("<list>")],
    Discriminator(by_shape),
]


class Coefficients(Section):
    """Chunk times from coefficients, as serving engines fit them."""

    kind: Annotated[Literal["coefficients"], *choice("coefficients")] = field(
        "how costs are given", "coefficients"
    )
    stages: _StageCosts = field(
        "coefficients of every stage, or a list with those of each", {"linear": 1e-6, "quadratic": 1e-12}
    )

    def of_stage(self, stage: int) -> StageCoefficients:
        """Coefficients of one stage."""
        return self.stages if isinstance(self.stages, StageCoefficients) else self.stages[stage]


class MeasuredTimes(Section):
    """Times of a stage on a lattice; between its points they are interpolated."""

    lengths: tuple[Tokens, ...] = field(
        "lengths of chunks that were measured, ascending", [1024, 2048], unit="tokens"
    )
    prefixes: tuple[TokensOrZero, ...] = field(
        "tokens before them, cached ones included, ascending", [0, 8192], unit="tokens"
    )
    seconds: tuple[tuple[Elapsed, ...], ...] = field(
        "a list for each length with the time after each prefix", [[0.02, 0.03], [0.04, 0.05]], unit="s"
    )


_StageTimes = Annotated[
    Annotated[MeasuredTimes, Tag("<one>")] | Annotated[tuple[MeasuredTimes, ...], Tag("<list>")],
    Discriminator(by_shape),
]


def _file_or_stages(schema: JsonDict) -> None:
    """A file of timings may stand for the times."""
    path: JsonDict = {"type": "string", "minLength": 1, "description": "path of a CSV file of timings"}
    properties = schema["properties"]
    if isinstance(properties, dict):
        properties["file"] = path
    schema["required"] = ["kind"]
    schema["anyOf"] = [{"required": ["file"]}, {"required": ["stages"]}]


class Measured(Section):
    """Chunk times as measured, all in all; a file of timings may stand for them."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_file_or_stages)

    kind: Annotated[Literal["measured"], *choice("measured")] = field("how costs are given", "measured")
    stages: _StageTimes = field("times of every stage, or a list with those of each")

    def of_stage(self, stage: int) -> MeasuredTimes:
        """Times of one stage."""
        return self.stages if isinstance(self.stages, MeasuredTimes) else self.stages[stage]


COST_KINDS = ("roofline", "coefficients", "measured")


def _cost_kind(value: object) -> str | None:
    kind = value.get("kind", "roofline") if isinstance(value, dict) else getattr(value, "kind", "roofline")
    return f"<{kind}>" if kind in COST_KINDS else None


Costs = Annotated[
    Annotated[Roofline, Tag("<roofline>")]
    | Annotated[Coefficients, Tag("<coefficients>")]
    | Annotated[Measured, Tag("<measured>")],
    Discriminator(
        _cost_kind,
        custom_error_type="mocap_kind",
        custom_error_message="unknown kind",
        custom_error_context={"expected": '"roofline", "coefficients" or "measured"'},
    ),
]
