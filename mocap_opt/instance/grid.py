"""The grid of an instance that leaves its quantum to a rule (formulations/bounds.md, `refinement`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mocap_opt.instance.checks import prompt_divides
from mocap_opt.instance.costs import Measured
from mocap_opt.instance.schema import AUTO_QUANTUM, Chunking, Workload

STEPS_EACH = 32
"""Steps of a chunk of average length, at least: what is left to gain by more is mostly below 0.6 %."""

MOST_STEPS = 4096
"""Steps of the longest prompt, at most: searches and bounds still take seconds."""

MOST_RESIDUALS = 2**24
"""Most entries of the table of what measured times add, stages x (steps + 1)^2."""

MOST_STAGES = 512
"""Stages to allow for where their number is open."""


def with_grid(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Give chunking the quantum of the rule, if it asks for it and what the rule needs is valid.

    Parameters
    ----------
    sections : mapping of str to section
        Those of an instance that are valid by themselves.
    """
    chunking, workload = sections.get("chunking"), sections.get("workload")
    if chunking is None or workload is None or chunking.quantum != AUTO_QUANTUM:
        return dict(sections)
    stages = getattr(sections.get("pipeline"), "stages", None)
    stages = stages if isinstance(stages, int) else MOST_STAGES
    costs = sections.get("costs")
    quantum = ruled_quantum(chunking, workload, costs if isinstance(costs, Measured) else None, stages)
    return {**sections, "chunking": chunking.model_copy(update={"quantum": quantum})}


def ruled_quantum(chunking: Chunking, workload: Workload, measured: Measured | None, stages: int) -> int:
    """Pick the coarsest grid that leaves `STEPS_EACH` steps to a chunk of average length.

    The page (one token, if none is given) times a power of two; the average is that of the longest prompt
    in as many chunks as its limits allow.  Where the limits, `MOST_STEPS` or measured times rule that grid
    out, the next finer one that they allow, else the next coarser one; `MOST_STEPS` gives way to the limits.

    Parameters
    ----------
    chunking : Chunking
    workload : Workload
    measured : Measured or None
        The costs, where times are measured.
    stages : int
    """
    tokens, unit = workload.tokens, chunking.page or 1
    chunks = max(min(chunking.max_chunks, tokens // (chunking.shortest or 1)), 1)
    powers = [unit << n for n in range(max(tokens // unit, 1).bit_length())]
    fine = [quantum for quantum in powers if quantum * STEPS_EACH * chunks <= tokens] or powers[:1]
    coarser = [quantum for quantum in powers if quantum > fine[-1]]
    candidates = [chunking.model_copy(update={"quantum": each}) for each in (*reversed(fine), *coarser)]
    possible = [each for each in candidates if _allowed(each, workload, measured, stages)]
    affordable = [each for each in possible if -(-tokens // each.quantum) <= MOST_STEPS]
    return (affordable or possible or candidates)[0].quantum


def _allowed(chunking: Chunking, workload: Workload, measured: Measured | None, stages: int) -> bool:
    """Whether a grid divides every prompt within the limits, and measured times cover its chunks."""
    if any(prompt_divides(chunking, workload)):
        return False
    if measured is None:
        return True
    steps = -(-workload.tokens // chunking.quantum)
    tables = measured.stages if isinstance(measured.stages, tuple) else (measured.stages,)
    least = max(table.lengths[0] for table in tables)
    short = {chunking.quantum, workload.tokens % chunking.quantum or chunking.quantum}
    return stages * (steps + 1) ** 2 <= MOST_RESIDUALS and (bool(chunking.shortest) or min(short) >= least)
