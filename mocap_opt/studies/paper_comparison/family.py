"""The instances of the comparison with the paper, stated here and nowhere else, and the runs over them.

The paper's wafer, models, lengths, stage and chunk counts are not public, so this family is this
project's own: three models of different attention and width, two wafers, from 4 to 20 stages that use
nearly all dies, prompts from 32k to 256k tokens in 8 to 32 chunks, alone or as many side by side as
the wafer holds.  Nothing in it was chosen for the ratio it gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mocap_opt.instance import Instance
from mocap_opt.studies.tasks import Settings, Task

METHODS = ("gpipe", "uniform", "terapipe", "mocap", "joint")
"""The methods compared; the ratios are over the first, those of lengths over ``terapipe``."""

MODELS = ("gpt3-175b", "llama-3.1-70b", "qwen3-235b-a22b")
"""Full-head attention, grouped-query attention, a mixture of experts."""

LAYOUTS = {"watos-c3": ((4, 14), (8, 7), (16, 3)), "pjlab-5x4": ((4, 5), (10, 2), (20, 1))}
"""Stages and dies of each, by wafer."""

WORKLOADS = (("32k", 8, 512), ("128k", 16, 1024), ("256k", 32, 2048))
"""Tokens, most chunks and grid step of the prompts that come alone."""

MOST_SIDE_BY_SIDE = {
    ("gpt3-175b", "watos-c3"): (5, 5, 4),
    ("gpt3-175b", "pjlab-5x4"): (2, 1, 2),
    ("llama-3.1-70b", "watos-c3"): (34, 32, 32),
    ("llama-3.1-70b", "pjlab-5x4"): (20, 20, 17),
    ("qwen3-235b-a22b", "watos-c3"): (33, 53, 48),
    ("qwen3-235b-a22b", "pjlab-5x4"): (28, 30, 24),
}
"""Prompts of 128k in 32 chunks for which `mocap` just finds room, in the order of `LAYOUTS`.

At this batch memory binds, and whoever keeps all KV at home may have no plan."""

REQUESTS = (2, 5, 10)
"""Lengths of the finite runs of identical requests, which lie between one (latency) and no end (period)."""


@dataclass(frozen=True)
class Case:
    """One instance of the family.

    Attributes
    ----------
    model, wafer : str
        Presets.
    stages, dies_per_stage : int
    tokens : str
    batch : int
        Prompts side by side.
    max_chunks, quantum : int
        M and the grid step, tokens, which is also the shortest chunk.
    quantities : tuple of str
        What is asked of it: ``"latency"``, ``"period"``, ``"run"``, ``"equal-length"`` and
        ``"limited-length"``.
    """

    model: str
    wafer: str
    stages: int
    dies_per_stage: int
    tokens: str
    batch: int
    max_chunks: int
    quantum: int
    quantities: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique within the family."""
        prompt = self.tokens if self.quantities == TIMES else self.quantities[0]
        return (
            f"{self.model}-{self.wafer}-{self.stages}x{self.dies_per_stage}"
            f"-{prompt}-b{self.batch}-m{self.max_chunks}"
        )

    def data(self) -> dict[str, Any]:
        """The instance as its file would hold it."""
        return {
            "version": 1,
            "name": self.name,
            "model": self.model,
            "wafer": self.wafer,
            "pipeline": {"stages": self.stages, "dies_per_stage": self.dies_per_stage},
            "workload": {"tokens": self.tokens, "batch": self.batch},
            "chunking": {"max_chunks": self.max_chunks, "quantum": self.quantum, "shortest": self.quantum},
            "costs": {
                "kind": "roofline",
                "efficiency": 0.5,
                "overhead": "50 us",
                "half_efficiency_tokens": 128,
            },
        }


TIMES = ("latency", "period", "run")
EQUAL = ("equal-length",)
LIMITED = ("limited-length",)
ANY = "128k"
"""Stands in instances whose prompt's length is the question, and means nothing."""


def _cases() -> Iterator[Case]:
    for model in MODELS:
        for wafer, layouts in LAYOUTS.items():
            for (stages, dies), most in zip(layouts, MOST_SIDE_BY_SIDE[model, wafer], strict=True):
                for tokens, chunks, quantum in WORKLOADS:
                    yield Case(model, wafer, stages, dies, tokens, 1, chunks, quantum, TIMES)
                yield Case(model, wafer, stages, dies, "128k", most, 32, 1024, TIMES)
                for chunks in (stages, 2 * stages):
                    yield Case(model, wafer, stages, dies, ANY, most, chunks, 256, EQUAL)
                yield Case(model, wafer, stages, dies, ANY, most, 2 * stages, 2048, LIMITED)


FAMILY = tuple(_cases())
"""Every instance of the study."""

QUICK = (
    Case("gpt3-175b", "watos-c3", 4, 14, "32k", 1, 4, 4096, TIMES),
    Case("llama-3.1-70b", "pjlab-5x4", 4, 5, "32k", 1, 4, 4096, TIMES),
    Case("gpt3-175b", "pjlab-5x4", 4, 5, "128k", 2, 8, 8192, TIMES),
    Case("gpt3-175b", "watos-c3", 4, 14, ANY, 4, 4, 8192, EQUAL),
    Case("gpt3-175b", "watos-c3", 4, 14, ANY, 4, 4, 16384, LIMITED),
)
"""A family of seconds, to see everything work; its averages mean nothing."""

TIME_LIMIT_S = 12.0
"""Wall time of one run of the joint method; heuristics stop by themselves."""

GAP = 1e-4

GRACE_S = 120.0
"""A run is killed so long after its limit: bounds and replays are not always cut short."""


def tasks_of_case(case: Case, time_limit_s: float = TIME_LIMIT_S) -> Iterator[Task]:
    """List the runs of one instance: each quantity, with each method.

    Parameters
    ----------
    case : Case
    time_limit_s : float
        Wall time of a run of the joint method.

    Yields
    ------
    Task
        Whose ``variant`` holds ``quantity``, ``requests`` (of a finite run) and the case's fields.
    """
    for quantity in case.quantities:
        for requests in REQUESTS if quantity == "run" else (None,):
            instance = Instance.from_dict(_instance_data(case, requests))
            kind = quantity if quantity == "latency" else f"paper-{quantity}"
            variant = {"quantity": quantity, "requests": requests, **_fields(case)}
            for method in METHODS:
                settings = Settings(method, "auto", "best", 0, time_limit_s, GAP, 1)
                yield Task.of(kind, instance, settings, variant)


def _instance_data(case: Case, requests: int | None) -> dict[str, Any]:
    data = case.data()
    if requests is not None:
        data["workload"] = {"requests": [data["workload"]] * requests}
        data["objective"] = "stream"
    return data


def _fields(case: Case) -> dict[str, Any]:
    names = ("model", "wafer", "stages", "dies_per_stage", "tokens", "batch", "max_chunks")
    fields = {name: getattr(case, name) for name in names}
    # Where the length is the question, the one in the instance means nothing.
    return fields if "latency" in case.quantities else {**fields, "tokens": None}


def tasks_of_family(cases: Iterable[Case], time_limit_s: float = TIME_LIMIT_S) -> list[Task]:
    """List the runs of a family, case by case; parameters as for `tasks_of_case`.

    Parameters
    ----------
    cases : iterable of Case
    time_limit_s : float
    """
    return [task for case in cases for task in tasks_of_case(case, time_limit_s)]
