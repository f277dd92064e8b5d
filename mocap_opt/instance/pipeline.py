"""The pipeline: how a model is cut into stages and where they lie, given or left to be decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from mocap_opt.errors import InputError, Problem
from mocap_opt.messages import show
from mocap_opt.quantities import (
    BytesOrZero,
    Count,
    CountOrAuto,
    Die,
    Name,
    QueueDepth,
    Section,
    Share,
    Stages,
    StagesOrAuto,
    Tokens,
    by_shape,
    choice,
    field,
)

_StageCount = Annotated[
    Annotated[StagesOrAuto, Tag("<one>")] | Annotated[tuple[Stages, ...], Tag("<list>")],
    Discriminator(by_shape),
]
_StageDies = Annotated[
    Annotated[CountOrAuto, Tag("<one>")] | Annotated[tuple[Count, ...], Tag("<list>")],
    Discriminator(by_shape),
]
_Layers = Annotated[
    Annotated[Literal["balanced", "auto"], *choice("balanced", "auto"), Tag("<one>")]
    | Annotated[tuple[Count, ...], Tag("<list>")],
    Discriminator(by_shape),
]
_Placement = Annotated[
    Annotated[
        Literal["boustrophedon", "path", "auto"], *choice("boustrophedon", "path", "auto"), Tag("<one>")
    ]
    | Annotated[tuple[tuple[Die, ...], ...], Tag("<list>")],
    Discriminator(by_shape),
]
_Degrees = Annotated[
    Annotated[Literal["divide-heads", "any"] | None, *choice("divide-heads", "any", None), Tag("<one>")]
    | Annotated[tuple[Count, ...], Tag("<list>")],
    Discriminator(by_shape),
]

LAYOUT_FIELDS = ("stages", "dies_per_stage", "layers", "placement")
"""Fields of a pipeline that may be left open."""
_EXAMPLES = dict(zip(LAYOUT_FIELDS, ("14", "4", "balanced", "boustrophedon"), strict=True))


@dataclass(frozen=True)
class StageLayout:
    """The dies and the layers of every stage: what a pipeline that leaves something open is decided to be.

    Attributes
    ----------
    dies : tuple of tuple of Die
        Of each stage, in pipeline order; the ranks stand first (see `mocap_opt.wafer.placement.ranks`).
    layers : tuple of int
        How many consecutive layers each stage has.
    """

    dies: tuple[tuple[Die, ...], ...]
    layers: tuple[int, ...]

    @property
    def stages(self) -> int:
        """N, the number of stages."""
        return len(self.dies)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"dies": [[list(die) for die in stage] for stage in self.dies], "layers": list(self.layers)}


class StreamedWeights(Section):
    """Experts that live in a memory off the wafer and are fetched with every chunk."""

    pool: Name = field("one of wafer.pools, where they live", "host")
    streamed_experts: Count = field("routed experts of every layer that live there", 64)
    overlap: Share = field(
        "part of their transfer that overlaps with the chunk's compute; 1: fetched ahead, 0: on demand",
        1,
        default=1.0,
    )


class Pipeline(Section):
    """How the model is cut into stages and where they lie."""

    stages: _StageCount = field('number of pipeline stages; "auto", or a list of numbers to choose from', 14)
    dies_per_stage: _StageDies = field(
        'dies of every stage, or a list with one number per stage; or "auto"', 4, default=1
    )
    layers: _Layers = field(
        '"balanced", a list with the layers of each stage, or "auto"', "balanced", default="balanced"
    )
    placement: _Placement = field(
        '"boustrophedon" (row by row, every other row backwards), "path" (along a longest path through the '
        'living dies), a list with the dies of each stage, or "auto"',
        "boustrophedon",
        default="boustrophedon",
    )
    degrees: _Degrees = field(
        'tensor-parallel degrees a stage can have: "any", "divide-heads" (divisors of model.heads) or a '
        'list; dies beyond the degree are memory only; null: "divide-heads" if something is open, else "any"',
        "divide-heads",
        [1, 2, 4, 8],
        default=None,
    )
    spare_dies: Annotated[Literal["idle", "memory"], *choice("idle", "memory")] = field(
        "what living dies without a stage are: idle, or memory for KV of any stage", "idle", default="idle"
    )
    queue_depth: QueueDepth = field(
        'chunks sent or in flight to a stage and not started there, at most; or "unbounded"', 2, default=2
    )
    staging_per_die: BytesOrZero = field(
        "buffer for KV streamed from elsewhere, per die", "64 MiB", unit="bytes", default=64 * 2**20
    )
    mini_sequence: Tokens | None = field(
        "feed-forward networks compute so many tokens at once, which caps their activations; null: all",
        4096,
        unit="tokens",
        default=None,
    )
    logits: Annotated[Literal["last", "all"], *choice("last", "all")] = field(
        "tokens whose logits the last stage computes and holds: the prompt's last one, or all",
        "last",
        default="last",
    )
    weights: StreamedWeights | None = field(
        "experts that are not kept in the stages' memories; null: all are",
        {"pool": "host", "streamed_experts": 64},
        default=None,
    )

    @property
    def open_fields(self) -> tuple[str, ...]:
        """Names of the fields that leave something to be decided."""
        values = {name: getattr(self, name) for name in LAYOUT_FIELDS}
        return tuple(
            name
            for name, value in values.items()
            if value == "auto" or (name == "stages" and isinstance(value, tuple))
        )

    @property
    def free(self) -> bool:
        """Whether stages, their dies, their layers or their places are left to be decided."""
        return bool(self.open_fields)

    def require_fixed(self, names: Iterable[str] = LAYOUT_FIELDS) -> None:
        """Raise `InputError` if one of these fields leaves something to be decided."""
        if left := [name for name in self.open_fields if name in names]:
            expected = "one layout, since tables and times are those of given stages"
            if len(left) > 1:
                expected += f" (open as well: {', '.join(left[1:])})"
            remedy = (
                f"--set pipeline.{left[0]}={_EXAMPLES[left[0]]}, or a plan with a layout where one is read"
            )
            raise InputError([Problem(f"pipeline.{left[0]}", show(getattr(self, left[0])), expected, remedy)])

    @property
    def count(self) -> int:
        """N, the number of stages; raises `InputError` if it is open."""
        self.require_fixed(("stages",))
        assert isinstance(self.stages, int)
        return self.stages

    @property
    def given_dies(self) -> tuple[int, ...]:
        """Dies of each stage if they and the number of stages are given; nothing otherwise."""
        if isinstance(self.dies_per_stage, tuple):
            return self.dies_per_stage
        if self.dies_per_stage == "auto" or not isinstance(self.stages, int):
            return ()
        return (self.dies_per_stage,) * self.stages

    @property
    def dies(self) -> tuple[int, ...]:
        """Dies of each stage; raises `InputError` if they are open."""
        self.require_fixed(("stages", "dies_per_stage"))
        return self.given_dies

    def counts(self, layers: int, living: int) -> tuple[int, ...]:
        """Numbers of stages that the pipeline allows, ascending.

        Parameters
        ----------
        layers : int
            Of the model.
        living : int
            Living dies of the wafer.
        """
        if isinstance(self.stages, int):
            return (self.stages,)
        if isinstance(self.stages, tuple):
            return tuple(sorted(self.stages))
        each = self.dies_per_stage if isinstance(self.dies_per_stage, int) else 1
        return tuple(range(1, min(layers, living // each, 512) + 1))

    @property
    def degree_rule(self) -> Literal["divide-heads", "any"] | tuple[int, ...]:
        """Which degrees are allowed, null resolved."""
        if self.degrees is not None:
            return self.degrees
        return "divide-heads" if self.free else "any"

    def allowed_degrees(self, dies: int, heads: int) -> tuple[int, ...]:
        """Tensor-parallel degrees that a stage of so many dies may have, ascending.

        Parameters
        ----------
        dies : int
            That the stage owns.
        heads : int
            Query heads of the model.
        """
        rule = self.degree_rule
        if isinstance(rule, tuple):
            return tuple(sorted(degree for degree in rule if degree <= dies))
        return tuple(d for d in range(1, dies + 1) if rule == "any" or heads % d == 0)

    def degree(self, dies: int, heads: int) -> int:
        """Tensor-parallel degree of a stage of so many dies: the largest that is allowed; 0 if none is.

        Parameters
        ----------
        dies : int
            That the stage owns.
        heads : int
            Query heads of the model.
        """
        return dies if self.degree_rule == "any" else max(self.allowed_degrees(dies, heads), default=0)

    def with_layout(self, choice: StageLayout) -> Pipeline:
        """Return the pipeline decided so; whether it may be is for `Instance.with_layout` to say."""
        decided = {
            "stages": choice.stages,
            "dies_per_stage": tuple(len(stage) for stage in choice.dies),
            "layers": choice.layers,
            "placement": choice.dies,
            "degrees": self.degree_rule,
        }
        return self.model_copy(update=decided)

    @property
    def canonical(self) -> dict[str, Any]:
        """Fields of which different values mean the same, each written in one way."""
        written: dict[str, Any] = {"dies_per_stage": list(self.given_dies)} if self.given_dies else {}
        for name in ("stages", "degrees"):
            if isinstance(listed := getattr(self, name), tuple):
                written[name] = sorted(listed)
        return written

    def __str__(self) -> str:
        """Say how many stages of how many dies there are, and what is open."""
        dies = sorted(set(self.given_dies))
        counts = self.stages if isinstance(self.stages, tuple) else (self.stages,)
        said = f"{' or '.join(map(str, counts))} stages".replace("auto", "any number of")
        if dies:
            said += (
                f" of {' to '.join(map(str, dies[:1] + dies[1:][-1:]))} {'die' if dies == [1] else 'dies'}"
            )
        elif isinstance(self.dies_per_stage, int):
            said += f" of {self.dies_per_stage} {'die' if self.dies_per_stage == 1 else 'dies'}"
        if (rule := self.degree_rule) != "any":
            listed = rule.replace("-", " ") if isinstance(rule, str) else " or ".join(map(str, rule))
            said += f", degrees {'that ' if isinstance(rule, str) else ''}{listed}"
        return f"{said}; open: {', '.join(self.open_fields)}" if self.free else said
