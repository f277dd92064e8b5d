"""The words used here and what the field calls them; ``formulations/README.md`` shows the same table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word and its meaning.

    Attributes
    ----------
    name : str
    field : str
        The standard term of scheduling, optimisation or serving; empty where `name` is that term.
    meaning : str
    """

    name: str
    field: str
    meaning: str


TERMS = (
    Term(
        "stage",
        "machine of a flow shop",
        "consecutive layers on neighbouring dies; stages run in a fixed order",
    ),
    Term(
        "chunk",
        "sublot of a job (lot streaming)",
        "consecutive tokens of a prompt that pass the stages as one",
    ),
    Term(
        "boundary",
        "sublot size decision",
        "the token at which a chunk begins or ends; a multiple of the quantum",
    ),
    Term("partition", "lot sizing", "all boundaries of a prompt"),
    Term(
        "home",
        "storage assignment",
        "the memory in which KV cache of a chunk on a stage lives until it is freed",
    ),
    Term("plan", "solution", "boundaries and homes: decisions, never times"),
    Term(
        "slot",
        "position in the permutation",
        "in slot t stage i works on chunk t - i; an order, not yet a time",
    ),
    Term("lockstep", "synchronous flow shop", "an execution with a barrier after every slot"),
    Term("event-driven", "semi-active schedule", "an execution without barriers: whatever can start does"),
    Term(
        "queue depth",
        "limited buffer (blocking)",
        "chunks that may be sent to a stage and not yet started there",
    ),
    Term(
        "admission",
        "resource-induced precedence",
        "KV waits until all that slot order frees before it has been freed",
    ),
    Term(
        "reserve", "fixed resource demand", "memory kept for activations and staging, the same in all slots"
    ),
    Term(
        "tables", "integer data", "times in ticks, sizes in bytes and pages: rounded once, read by everything"
    ),
    Term("interval", "initiation interval", "slots from one of endless identical requests to the next (W)"),
    Term("period", "cycle time", "seconds from one of endless identical requests to the next"),
    Term("scope", "coverage of a bound", "which executions a lower bound holds for: lockstep, or any"),
    Term(
        "evidence",
        "certificate",
        "what a bound rests on: closed form, search, safe arithmetic, a solver's word",
    ),
    Term("gap", "relative optimality gap", "(latency - bound) / latency, the bound covering that latency"),
    Term("optimal", "within tolerance", "a gap of at most 1e-4 unless --gap says otherwise"),
    Term("ticks", "time unit", "the integer unit of time of an instance, 1 ns unless rates ask for another"),
)
"""In the order in which a newcomer meets them."""
