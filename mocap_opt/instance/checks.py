"""Rules across fields: one function each, listed in `CHECKS` with the sections it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice, pairwise
from typing import Any

from mocap_opt.errors import Problem
from mocap_opt.instance.admission_checks import ADMISSION_CHECKS
from mocap_opt.instance.costs import Costs, Measured, Roofline
from mocap_opt.instance.decode_checks import DECODE_CHECKS
from mocap_opt.instance.message_checks import MESSAGE_CHECKS
from mocap_opt.instance.objectives import Objective
from mocap_opt.instance.pipeline_checks import PIPELINE_CHECKS, die_on_wafer
from mocap_opt.instance.profile_checks import PROFILE_CHECKS
from mocap_opt.instance.schema import Chunking, ModelSpec, PrecisionSpec, Workload
from mocap_opt.instance.timing_checks import TIMING_CHECKS
from mocap_opt.messages import MOST_PROBLEMS, show
from mocap_opt.wafer.spec import WaferSpec
from mocap_opt.wafer.topology import neighbours

MAX_REQUESTS = 10_000


def _heads_divide(model: ModelSpec) -> Iterator[Problem]:
    """Require that query heads share key-value heads evenly."""
    if model.heads % model.kv_heads:
        yield Problem(
            "model.kv_heads", str(model.kv_heads), f"a divisor of heads ({model.heads})", "see config.json"
        )


def _feed_forward_given(model: ModelSpec) -> Iterator[Problem]:
    """Require the width of the plain layers' feed-forward network, if there are such layers."""
    dense = model.layers if model.experts is None else len(model.experts.dense(model.layers))
    if dense and model.ffn == 0:
        yield Problem("model.ffn", "0", f">= 1, for {dense} layers without experts", "write 28672")


def _experts_consistent(model: ModelSpec) -> Iterator[Problem]:
    """Refuse more working experts than experts, and layers of experts that are not the model's."""
    experts = model.experts
    if experts is None:
        return
    if experts.active > experts.count:
        expected = f"at most experts.count ({experts.count})"
        yield Problem("model.experts.active", str(experts.active), expected, "lower it")
    if experts.dense_layers > model.layers:
        expected = f"at most model.layers ({model.layers})"
        yield Problem("model.experts.dense_layers", str(experts.dense_layers), expected, "lower it")
    if experts.shared_ffn is not None and not experts.shared:
        expected = "null where experts.shared is 0"
        yield Problem("model.experts.shared_ffn", str(experts.shared_ffn), expected, "give experts.shared")
    listed = experts.layers
    if listed is None:
        return
    if not listed or listed[-1] >= model.layers or any(a >= b for a, b in pairwise(listed)):
        expected = f"at least one number, ascending, below model.layers ({model.layers})"
        yield Problem("model.experts.layers", show(list(listed)), expected, "see config.json")
    if experts.dense_layers:
        remedy = "remove dense_layers"
        yield Problem("model.experts.dense_layers", str(experts.dense_layers), "0 beside layers", remedy)


def _dead_dies_on_wafer(wafer: WaferSpec) -> Iterator[Problem]:
    """Require that dead dies lie on the wafer, each named once."""
    seen: set[tuple[int, int]] = set()
    for n, die in enumerate(wafer.dead_dies):
        yield from die_on_wafer(wafer, die, f"wafer.dead_dies[{n}]")
        if die in seen:
            yield Problem(f"wafer.dead_dies[{n}]", str(list(die)), "each die once", "remove it")
        seen.add(die)


def _some_die_lives(wafer: WaferSpec) -> Iterator[Problem]:
    """Refuse a wafer whose dies are all dead."""
    if wafer.living_dies == 0:
        yield Problem("wafer.dead_dies", "all of them", "at least one living die", "remove some")


def _links_exist(wafer: WaferSpec) -> Iterator[Problem]:
    """Require that dead and slow links are links, each named once."""
    listed = [(f"wafer.dead_links[{n}]", ends) for n, ends in enumerate(wafer.dead_links)]
    listed += [(f"wafer.slow_links[{n}].between", slow.between) for n, slow in enumerate(wafer.slow_links)]
    seen: dict[frozenset[tuple[int, int]], str] = {}
    for path, (a, b) in listed:
        here = frozenset((a, b))
        if b not in neighbours(wafer.topology, wafer.rows, wafer.cols, a) or not wafer.holds(a):
            remedy = (
                "a switch links no two dies; list the die under wafer.dead_dies"
                if wafer.topology == "switch"
                else f"name two neighbours of the {wafer.rows} x {wafer.cols} {wafer.topology}"
            )
            yield Problem(path, f"{list(a)} and {list(b)}", "two dies with a link between them", remedy)
        elif here in seen:
            yield Problem(
                path, f"{list(a)} and {list(b)}", f"each link once, it is at {seen[here]} too", "remove one"
            )
        seen.setdefault(here, path)


def _slow_links_are_slow(wafer: WaferSpec) -> Iterator[Problem]:
    """Refuse a slow link that is faster than the others."""
    for n, slow in enumerate(wafer.slow_links):
        if slow.bandwidth > wafer.link.bandwidth:
            expected = f"at most wafer.link.bandwidth ({wafer.link.bandwidth:g})"
            yield Problem(f"wafer.slow_links[{n}].bandwidth", f"{slow.bandwidth:g}", expected, "lower it")


def _pools_are_joined(wafer: WaferSpec) -> Iterator[Problem]:
    """Require names that tell pools and links apart, and links at living dies, each listed once."""
    for n, pool in enumerate(wafer.pools):
        path = f"wafer.pools[{n}]"
        if pool.name in [other.name for other in wafer.pools[:n]] or {*",>"} & {*pool.name}:
            yield Problem(f"{path}.name", show(pool.name), "a name of its own without , and >", "rename it")
        if isinstance(pool.at, str):
            continue
        if wafer.topology == "switch" or not pool.at:
            expected = '"every" behind a switch, which has the link' if pool.at else "at least one die"
            yield Problem(f"{path}.at", show(pool.at), expected, 'write "every"')
        for place, die in enumerate(pool.at):
            yield from die_on_wafer(wafer, die, f"{path}.at[{place}]")
            if die in wafer.dead_dies or die in pool.at[:place]:
                expected = "a living die, listed once"
                yield Problem(f"{path}.at[{place}]", str(list(die)), expected, "choose another")


def _switch_is_one_row(wafer: WaferSpec) -> Iterator[Problem]:
    """Put the dies of a switch, which has no geometry, in one row."""
    if wafer.topology == "switch" and wafer.rows != 1:
        yield Problem(
            "wafer.rows", str(wafer.rows), "1 for a switch", f"write 1, and cols {wafer.rows * wafer.cols}"
        )


def _page_divides_quantum(chunking: Chunking) -> Iterator[Problem]:
    """Require that chunks can end at page boundaries."""
    if chunking.quantum % chunking.page_tokens:
        expected = f"a divisor of quantum ({chunking.quantum})"
        yield Problem("chunking.page", str(chunking.page), expected, f"write {chunking.quantum}, or null")


def _shortest_below_longest(chunking: Chunking) -> Iterator[Problem]:
    """Require that the limits on a chunk's length leave room."""
    if (
        chunking.shortest is not None
        and chunking.longest is not None
        and chunking.shortest > chunking.longest
    ):
        expected = f"at most longest ({chunking.longest})"
        yield Problem("chunking.shortest", str(chunking.shortest), expected, "lower it, or raise longest")


def prompt_divides(chunking: Chunking, workload: Workload) -> Iterator[Problem]:
    """Require that some division of every prompt keeps to the count and to the limits.

    Parameters
    ----------
    chunking : Chunking
    workload : Workload
    """
    requests = [request.tokens for request in workload.requests]
    for tokens in dict.fromkeys(requests or [workload.tokens]):
        yield from _length_divides(chunking, tokens)


def _length_divides(chunking: Chunking, tokens: int) -> Iterator[Problem]:
    quantum = chunking.quantum
    steps = -(-tokens // quantum)
    if chunking.exact and chunking.max_chunks > steps:
        expected = f"at most {steps}, the steps of {quantum} tokens in {tokens}"
        yield Problem("chunking.max_chunks", str(chunking.max_chunks), expected, "lower it, or lower quantum")
        return
    shortest, longest = chunking.length_limits(tokens)
    if shortest > longest:
        if chunking.shortest is not None and chunking.shortest > tokens:
            expected = f"at most workload.tokens ({tokens})"
            yield Problem("chunking.shortest", str(chunking.shortest), expected, "lower it")
        return
    counts = range(chunking.max_chunks if chunking.exact else 1, min(chunking.max_chunks, steps) + 1)
    if not any(_divides(tokens, quantum, shortest, longest, count) for count in counts):
        count = f"{'exactly' if chunking.exact else 'at most'} {chunking.max_chunks}"
        expected = f"limits that divide {tokens} tokens into {count} chunks on the grid of {quantum}"
        found = f"lengths of {shortest} to {longest}"
        yield Problem("chunking", found, expected, "change max_chunks, shortest, longest or quantum")


def _divides(tokens: int, quantum: int, shortest: int, longest: int, count: int) -> bool:
    """Say whether `count` chunks within the limits, all but the last of whole steps, make up the prompt."""
    least, most = max(-(-shortest // quantum), 1), longest // quantum
    if count > 1 and least > most:
        return False
    # All but the last take any whole number of steps from (count-1) least to (count-1) most, and
    # must leave between `shortest` and `longest` for the last.
    fewest = max((count - 1) * least, -(-(tokens - longest) // quantum))
    return fewest <= min((count - 1) * most, (tokens - shortest) // quantum)


def _stream_consistent(workload: Workload, objective: str) -> Iterator[Problem]:
    """Require requests where the objective is about them, and one source of every figure."""
    requests = workload.requests
    if not requests:
        if Objective(objective).record.of_requests:
            remedy = 'list them, as [{"tokens": "64k"}], or leave objective out'
            yield Problem("workload.requests", "none", f'requests, for objective "{objective}"', remedy)
        if workload.order != "given":
            yield Problem(
                "workload.order", f'"{workload.order}"', "workload.requests with it", "leave it out"
            )
        return
    if objective == "period":
        remedy = 'write "stream", or leave workload.requests out'
        yield Problem("objective", '"period"', '"stream" where there are requests', remedy)
    longest = max(request.tokens for request in requests)
    if workload.tokens != longest:
        expected = f"{longest}, the longest of workload.requests"
        yield Problem("workload.tokens", str(workload.tokens), expected, "leave it out")
    for key, default in (("cached_prefix", 0), ("batch", 1)):
        if getattr(workload, key) != default:
            expected = "a value for each request instead"
            remedy = f"write it into workload.requests as {key.removeprefix('cached_')}"
            yield Problem(f"workload.{key}", str(getattr(workload, key)), expected, remedy)
    if len(requests) > MAX_REQUESTS:
        expected = f"at most {MAX_REQUESTS:,} requests"
        yield Problem("workload.requests", f"{len(requests):,} requests", expected, "plan them in parts")


def _precisions_listed(model: ModelSpec, precision: PrecisionSpec) -> Iterator[Problem]:
    """Require one number per layer in a list of bytes of weights."""
    listed = precision.weights
    if isinstance(listed, tuple) and len(listed) != model.layers:
        expected = f"one number, or one for each of model.layers ({model.layers})"
        yield Problem("precision.weights", f"{len(listed)} numbers", expected, "give precision.weights")


def _attention_counted_once(costs: Costs, attention: str) -> Iterator[Problem]:
    """Refuse a count of attention where coefficients or measured times already contain one."""
    if isinstance(costs, Roofline) or attention == "causal":
        return
    given, remedy = "coefficients", "put the extra into the quadratic coefficient"
    if isinstance(costs, Measured):
        given, remedy = "measured", "measured times contain it"
    yield Problem("attention", f'"{attention}"', f'"causal" where costs are {given}', remedy)


def _lattices_are_whole(costs: Costs) -> Iterator[Problem]:
    """Require ascending lengths and prefixes, and a time for each pair of them."""
    if not isinstance(costs, Measured):
        return
    tables = costs.stages if isinstance(costs.stages, tuple) else (costs.stages,)
    for i, table in enumerate(tables):
        path = f"costs.stages[{i}]" if isinstance(costs.stages, tuple) else "costs.stages"
        for name, points in (("lengths", table.lengths), ("prefixes", table.prefixes)):
            if not points:
                yield Problem(f"{path}.{name}", "none", "at least one", "measure some")
            elif any(a >= b for a, b in pairwise(points)):
                yield Problem(f"{path}.{name}", show(list(points)), "ascending numbers", "sort them")
        if len(table.seconds) != len(table.lengths):
            found, expected = f"{len(table.seconds)} lists", f"one for each of {len(table.lengths)} lengths"
            yield Problem(f"{path}.seconds", found, expected, "add or remove some")
        for n, row in enumerate(table.seconds):
            if len(row) != len(table.prefixes):
                found, expected = f"{len(row)} times", f"one for each of {len(table.prefixes)} prefixes"
                yield Problem(f"{path}.seconds[{n}]", found, expected, "add or remove some")


CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Problem]]], ...] = (
    (("model",), _heads_divide),
    (("model",), _feed_forward_given),
    (("model",), _experts_consistent),
    *PROFILE_CHECKS,
    (("wafer",), _dead_dies_on_wafer),
    (("wafer",), _some_die_lives),
    (("wafer",), _links_exist),
    (("wafer",), _slow_links_are_slow),
    (("wafer",), _pools_are_joined),
    (("wafer",), _switch_is_one_row),
    (("chunking",), _page_divides_quantum),
    (("chunking",), _shortest_below_longest),
    (("chunking", "workload"), prompt_divides),
    (("workload", "objective"), _stream_consistent),
    *ADMISSION_CHECKS,
    *PIPELINE_CHECKS,
    *TIMING_CHECKS,
    *DECODE_CHECKS,
    *MESSAGE_CHECKS,
    (("model", "precision"), _precisions_listed),
    (("costs", "attention"), _attention_counted_once),
    (("costs",), _lattices_are_whole),
)


def across(sections: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of every rule whose sections are there, a limited number of each.

    Parameters
    ----------
    sections : mapping of str to section
        The sections that are valid by themselves.
    """
    return [
        problem
        for names, rule in CHECKS
        if all(name in sections for name in names)
        for problem in islice(rule(*(sections[name] for name in names)), MOST_PROBLEMS + 1)
    ]
