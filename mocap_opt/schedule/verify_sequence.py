"""Is a sequence of requests feasible?  The specification, with no solver in it.

Mathematics: ``formulations/streams.md``.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.schedule.sequence import RequestSequence
from mocap_opt.schedule.verify import Violation, cache_use, violations
from mocap_opt.units import format_shortage


def sequence_memory(sequence: RequestSequence) -> IntArray:
    """Bytes in every memory in every slot.

    Weights, the reserve, and of every request its prefix on stage k while k works on it and the
    KV cache whose home is k, each from its slot to that of the last chunk on its stage.

    Returns
    -------
    int64[memory, slot], bytes

    Raises
    ------
    ValueError
        If a boundary is not on its grid.
    """
    use = np.repeat((sequence.machine.static + sequence.reserve)[:, None], sequence.slots, axis=1)
    for request in sequence:
        cache = cache_use(request.tables, request.plan)
        use[:, request.slot : request.slot + cache.shape[1]] += cache
    return use


def sequence_violations(sequence: RequestSequence) -> list[Violation]:
    """Everything that makes a sequence infeasible; an empty list means feasible.

    Returns
    -------
    list of Violation
        The rules of `mocap_opt.schedule.verify.violations` for every request, ``"slots"`` (each request
        starts once the first stage has had all chunks of the one before), ``"release"`` (no
        negative time) and ``"capacity"`` over all requests together.
    """
    found: list[Violation] = []
    for number, request in enumerate(sequence):
        # Memory is judged below, over all requests.
        alone = (v for v in violations(request.tables, request.plan) if v.rule != "capacity")
        found += [replace(v, message=f"request {number}: {v.message}") for v in alone]
    malformed = any(v.rule in ("boundaries", "grid", "homes") for v in found)
    if sequence.requests[0].slot < 0:
        found.append(
            Violation("slots", f"request 0 starts in slot {sequence.requests[0].slot}, before slot 0")
        )
    for number, (before, after) in enumerate(pairwise(sequence), start=1):
        free = before.slot + before.plan.chunks
        if after.slot < free:
            text = f"request {number} starts in slot {after.slot}, but request {number - 1} needs the first "
            found.append(Violation("slots", f"{text}stage until slot {free}"))
    found += [
        Violation("release", f"request {number} is released at {request.release}, before time 0")
        for number, request in enumerate(sequence)
        if request.release < 0
    ]
    if not malformed and not any(v.rule == "slots" for v in found):
        found += _capacity(sequence)
    return found


def _capacity(sequence: RequestSequence) -> list[Violation]:
    use, capacity = sequence_memory(sequence), sequence.machine.capacity
    found = []
    for memory, slot in np.argwhere(use > capacity[:, None]).tolist():
        needed, there = int(use[memory, slot]), int(capacity[memory])
        text = f"memory {memory}, slot {slot}: {format_shortage(needed, there)}"
        found.append(Violation("capacity", text, memory, slot, needed - there))
    return found
