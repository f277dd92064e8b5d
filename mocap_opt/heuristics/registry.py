"""Every heuristic by name: one line each."""

from __future__ import annotations

from mocap_opt.heuristics.atom_dynamic import atom_dynamic
from mocap_opt.heuristics.compose import compose
from mocap_opt.heuristics.flops_balanced import flops_balanced
from mocap_opt.heuristics.gpipe import gpipe
from mocap_opt.heuristics.greedy import greedy
from mocap_opt.heuristics.local import local
from mocap_opt.heuristics.mbkr import mbkr
from mocap_opt.heuristics.mirror import mirror, mirrored
from mocap_opt.heuristics.mocap import mocap
from mocap_opt.heuristics.occupancy import pooled_shortage
from mocap_opt.heuristics.program import program, refine_homes
from mocap_opt.heuristics.proposal import BoundaryRule, HomeRule, Method, Shortage
from mocap_opt.heuristics.search import search
from mocap_opt.heuristics.sglang_dynamic import sglang_dynamic
from mocap_opt.heuristics.spread import spread
from mocap_opt.heuristics.terapipe import terapipe
from mocap_opt.heuristics.thresholds import greatest_thresholds
from mocap_opt.heuristics.uniform import uniform, uniform_any_count
from mocap_opt.tables import IntArray, Tables

BOUNDARY_RULES: dict[str, BoundaryRule] = {
    "gpipe": gpipe,
    "uniform": uniform,
    "uniform-any-count": uniform_any_count,
    "flops-balanced": flops_balanced,
    "sglang-dynamic": sglang_dynamic,
    "atom-dynamic": atom_dynamic,
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
    Method(
        "sglang-dynamic",
        "SGLang's dynamic chunking, best base size, KV at home",
        compose(sglang_dynamic, local),
    ),
    Method(
        "atom-dynamic",
        "ATOM's dynamic chunking, best token budget, KV at home",
        compose(atom_dynamic, local),
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

METHODS: dict[str, Method] = {method.name: method for method in _METHODS}
