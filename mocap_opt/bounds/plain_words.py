"""Bounds in plain words: what each counts, and what it leaves out, so that it may lie below every plan.

Statements and proofs: ``formulations/bounds.md`` and the pages of programs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlainBound:
    """A bound for people who do not know its name.

    Attributes
    ----------
    words : str
        What is counted.
    leaves_out : str
        What a plan has to pay that the bound does not count.
    """

    words: str
    leaves_out: str


_TABLE = {
    "stage_work": (
        "all work of the busiest stage, the first chunk's way to it, the last chunk's way from it",
        "memory, KV traffic, and that long chunks hold up the other stages",
    ),
    "streaming": (
        "bytes of KV that no plan can keep at home, over the fastest way out",
        "that they share links with each other, and when they move",
    ),
    "fixed_messages": (
        "bytes that every plan moves, over the links and ports they need",
        "memory, KV that the plan places, and queues",
    ),
    "crossing": (
        "work of two end stages, and the longest chunk's way through those between",
        "memory, KV traffic, and stages that are slow for other chunks",
    ),
    "crossing_pooled_memory": (
        "work of two end stages and the longest chunk's way, if chunks fit all memories as one",
        "KV traffic, and that each memory fills on its own",
    ),
    "path_relaxation": (
        "a mixture of chains of chunks and sends, all memories as one",
        "KV traffic, and that boundaries are whole grid steps",
    ),
    "boundary_branching": (
        "a mixture of chains, with boundaries in ever smaller intervals, all memories as one",
        "KV traffic, and that each memory fills on its own",
    ),
    "traffic_branching": (
        "a mixture of chains, links and single memories, with boundaries in ever smaller intervals",
        "that pages of KV are whole, and when their bytes move",
    ),
    "slot_mixture": (
        "a mixture of stages, slot by slot, all memories as one",
        "KV traffic, and that boundaries are whole grid steps",
    ),
    "slot_branching": (
        "a mixture of stages, slot by slot, with boundaries in ever smaller intervals",
        "KV traffic, and that each memory fills on its own",
    ),
    "slot_traffic_branching": (
        "a mixture of stages, links and single memories, slot by slot",
        "that pages of KV are whole",
    ),
    "state_space": (
        "chunk after chunk, for each boundary and stage the least of all ways to it",
        "that one division is taken for all stages, and KV traffic",
    ),
    "slot_state_space": (
        "slot after slot, for each boundary and stage the least of all ways to it",
        "that one division is taken for all slots, and KV traffic",
    ),
    "enumerated_partitions": (
        "every division of the prompt that comes near, one by one",
        "KV traffic, and that each memory fills on its own",
    ),
    "energetic_traffic": (
        "every division that comes near, with the time links have for KV that is forced out",
        "that pages of KV are whole, and in which order bytes move",
    ),
    "ladder": (
        "compute and sends of like stages in lockstep, exactly, with a price on memory",
        "KV traffic, and what a price misses of memory",
    ),
    "blocking_ladder": (
        "compute and sends of like stages that queues of depth 1 hold together, with a price on memory",
        "KV traffic, and what a price misses of memory",
    ),
    "availability": (
        "chains that begin when tokens come to exist",
        "memory, KV traffic, and full queues",
    ),
    "contention_free": (
        "the program of boundaries and homes in which chunks do not meet on links",
        "that messages share links, but for sums over the run",
    ),
    "decomposition": (
        "the program of boundaries, with links and memories as far as its cuts know them",
        "homes, where cuts do not know them yet",
    ),
    "joint": (
        "the program of boundaries and homes with all rules of lockstep",
        "what its solver has not searched when it ends",
    ),
    "joint_layers": (
        "the program of layers, boundaries and homes with all rules of lockstep",
        "what its solver has not searched when it ends",
    ),
    "layouts": (
        "the least over all layouts, whole sets of them at once",
        "in sets not opened: KV traffic and where stages lie",
    ),
    "refinement": (
        "two end stages and the longest chunk, on any finer grid with any count",
        "KV traffic, and stages that are slow for other chunks",
    ),
    "compute_total": (
        "all work of the busiest stage for one request",
        "that chunks of requests that overlap wait for each other, and memory",
    ),
    "link_load": (
        "bytes that each request moves over the busiest link",
        "memory, and when they move",
    ),
    "queue_cycles": (
        "cycles of chunks and full queues that come again with every request",
        "memory and KV traffic",
    ),
    "listed_partitions": (
        "every division of the prompt that comes near, one by one",
        "what homes of KV cost each of them",
    ),
    "period_program": (
        "the lockstep program of every distance between requests",
        "distances that are not whole slots, which lockstep does not have",
    ),
    "work_and_memory": (
        "work of stages together with memory, over all divisions that fit all memories as one",
        "KV traffic, and that each memory fills on its own",
    ),
    "slots_and_memory": (
        "work of stages, slot by slot, together with memory, over all divisions",
        "KV traffic, and that each memory fills on its own",
    ),
    "own_times": (
        "each request as if it were alone on the wafer",
        "that requests wait for each other",
    ),
    "one_machine": (
        "all requests through the busiest stage, shortest remaining work first",
        "memory, KV traffic, and that long chunks hold up the other stages",
    ),
    "request_alone": (
        "the request that would be last out even if it were alone",
        "that requests share pipelines",
    ),
    "shared_work": (
        "work that comes after some instant, shared out evenly over the pipelines, with the ways in and out",
        "that a request runs on one pipeline, and memory",
    ),
    "pigeonhole": (
        "that of more long requests than pipelines two share one",
        "memory, KV traffic, and all other requests",
    ),
    "shared_path": (
        "work of the end stages, shared out over the pipelines, and the way of a chunk through each",
        "that a request runs on one pipeline, and memory",
    ),
    "late_alone": (
        "requests that would be late even if they were alone",
        "that requests share the wafer",
    ),
    "intervals": (
        "work that must be done between releases and deadlines, request by request",
        "memory, KV traffic, and that long chunks hold up the other stages",
    ),
}

PLAIN_WORDS = {name: PlainBound(*said) for name, said in _TABLE.items()}
"""By name, in the order of ``formulations/bounds.md``, then programs."""

UNKNOWN = PlainBound("a bound that a plugin or a program brings", "what its page says")


def plain_words(name: str) -> PlainBound:
    """What a bound counts and leaves out.

    Parameters
    ----------
    name : str
        As reports give it.
    """
    return PLAIN_WORDS.get(name, UNKNOWN)
