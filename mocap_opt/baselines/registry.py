"""Every heuristic by name: one line each."""

from __future__ import annotations

from dataclasses import replace

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.atom import atom_dynamic
from mocap_opt.baselines.bpipe import mirror, mirrored
from mocap_opt.baselines.compose import compose
from mocap_opt.baselines.engine_rule import EngineRule, engine_method, read_base, split_base
from mocap_opt.baselines.gpipe import gpipe
from mocap_opt.baselines.guarded import guarded
from mocap_opt.baselines.mbkr import mbkr
from mocap_opt.baselines.mocap import mocap
from mocap_opt.baselines.seq1f1b import flops_balanced
from mocap_opt.baselines.sglang import sglang_dynamic
from mocap_opt.baselines.terapipe import terapipe
from mocap_opt.baselines.uniform import uniform, uniform_any_count
from mocap_opt.chunking.bottleneck_search import search
from mocap_opt.homes.greedy import greedy
from mocap_opt.homes.link_balanced_greedy import spread
from mocap_opt.homes.live_kv import pooled_shortage
from mocap_opt.homes.local import local
from mocap_opt.homes.placement_program import program, refine_homes
from mocap_opt.homes.proposal import BoundaryRule, HomeRule, Method, Shortage
from mocap_opt.homes.thresholds import greatest_thresholds
from mocap_opt.tables.cost_tables import Tables

BOUNDARY_RULES: dict[str, BoundaryRule] = {
    "gpipe": gpipe,
    "uniform": uniform,
    "uniform-any-count": uniform_any_count,
    "flops-balanced": flops_balanced,
    "terapipe": terapipe,
}

HOME_RULES: dict[str, HomeRule] = {
    "local": local,
    "mbkr": mbkr,
    "mirror": mirror,
    "greedy": greedy,
    "spread": spread,
    "program": program,
}


ENGINE_RULES: dict[str, tuple[str, EngineRule]] = {
    "sglang-dynamic": ("SGLang's dynamic chunking", sglang_dynamic),
    "atom-dynamic": ("ATOM's dynamic chunking", atom_dynamic),
}
"""Rules with a base size, which may be given behind their name: ``sglang-dynamic:8192``."""


def _mirror_shortage(tables: Tables, indices: IntArray, longest: int | None = None) -> Shortage | None:
    return greatest_thresholds(tables, indices, mirrored(tables.stages), longest)[1]


_METHODS = (
    Method("gpipe", "one chunk, KV at home", compose(gpipe, local)),
    Method("uniform", "equal chunks, as many as allowed, KV at home", compose(uniform, local)),
    Method("uniform-best", "equal chunks, best count, KV at home", compose(uniform_any_count, local)),
    Method(
        "flops-balanced",
        "equal compute per chunk (Seq1F1B), best count, KV at home",
        compose(flops_balanced, local),
    ),
    *(
        engine_method(name, f"{what}, best base size, KV at home", rule, local)
        for name, (what, rule) in ENGINE_RULES.items()
    ),
    Method("terapipe", "TeraPipe's dynamic program, best count, KV at home", compose(terapipe, local)),
    Method("uniform-greedy", "equal chunks, best count, greedy homes", compose(uniform_any_count, greedy)),
    Method("terapipe-greedy", "TeraPipe's dynamic program, greedy homes", compose(terapipe, greedy)),
    Method("mocap", "LBCP chunks and MBKR homes, iterated, best count", mocap),
    Method(
        "search-mirror",
        "searched chunks, best count, BPipe's mirror as homes",
        search(_mirror_shortage, mirror),
    ),
    Method(
        "search-greedy",
        "searched chunks, best count, pooled memory, greedy homes",
        search(pooled_shortage, greedy),
    ),
    Method(
        "search-spread",
        "the chunks of search-greedy, homes that share out the links",
        refine_homes(search(pooled_shortage, greedy), spread),
    ),
    Method(
        "search-program",
        "the chunks of search-greedy, homes by the placement program",
        refine_homes(search(pooled_shortage, greedy)),
    ),
)

METHODS: dict[str, Method] = {
    method.name: replace(method, propose=guarded(method.propose)) for method in _METHODS
}


def built_in_name(name: str) -> str:
    """Name under which a built-in method is listed: without the base size of an engine's rule.

    Raises
    ------
    InputError
        If what stands behind an engine's rule is no base size.
    """
    rule, base = split_base(name)
    if base is None or rule not in ENGINE_RULES:
        return name
    read_base(name, base)
    return rule


def built_in_method(name: str) -> Method | None:
    """A built-in heuristic by name, with its base size if it is an engine's rule that has one.

    Raises
    ------
    InputError
        As `built_in_name`.
    """
    rule, base = split_base(name)
    if base is None or rule not in ENGINE_RULES:
        return METHODS.get(name)
    what, boundaries = ENGINE_RULES[rule]
    size = read_base(name, base)
    method = engine_method(name, f"{what}, base size {size}, KV at home", boundaries, local, size)
    return replace(method, propose=guarded(method.propose))
