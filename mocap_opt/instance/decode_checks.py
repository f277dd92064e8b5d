"""Rules about tokens that are decoded with chunks, and about what decoding has for itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mocap_opt.errors import Problem
from mocap_opt.instance.costs import Costs, Roofline
from mocap_opt.instance.decode import Decode
from mocap_opt.instance.schema import Chunking, Workload
from mocap_opt.messages import show
from mocap_opt.units import exact


def _times_by_roofline(decode: Decode | None, costs: Costs) -> Iterator[Problem]:
    """Refuse riders and shares where it is not known what of a chunk's time is compute."""
    if decode is None or isinstance(costs, Roofline):
        return
    for key, given in (("tokens", decode.tokens), ("share", decode.share)):
        if given:
            expected = 'costs of kind "roofline", which say what a token takes'
            yield Problem(f"decode.{key}", f'costs of kind "{costs.kind}"', expected, "leave it out")


def _riders_consistent(decode: Decode | None, chunking: Chunking, workload: Workload) -> Iterator[Problem]:
    """Require tokens where there is a context, and a budget that some chunk keeps to."""
    if decode is None:
        return
    if decode.context and not decode.tokens:
        expected = "decode.tokens with it"
        yield Problem("decode.context", str(decode.context), expected, "give them, or leave it out")
    batch = max([request.batch for request in workload.requests] or [workload.batch])
    least = batch * max(min(chunking.quantum, workload.tokens), chunking.shortest or 1)
    if decode.budget is not None and decode.budget < least:
        expected = f"at least {least}, the tokens of the shortest chunk"
        yield Problem("decode.budget", str(decode.budget), expected, "raise it, or lower chunking.quantum")


def _share_leaves_some(decode: Decode | None) -> Iterator[Problem]:
    """Require that chunks keep some of everything, and a concave curve from nothing to all."""
    if decode is None or decode.share is None:
        return
    share = decode.share
    for key in ("compute", "bandwidth"):
        if getattr(share, key) == 1:
            expected = "less than 1: chunks need some"
            yield Problem(f"decode.share.{key}", "1", expected, "lower it")
    points = [(exact(x), exact(y)) for x, y in share.curve]
    path, found = "decode.share.curve", show([list(point) for point in share.curve])
    ends = [*points[0], *points[-1]] if points else []
    if len(points) < 2 or ends != [0, 0, 1, 1]:
        yield Problem(path, found, "points from [0, 0] to [1, 1]", "write [[0, 0], [0.5, 0.8], [1, 1]]")
    elif any(a[0] >= b[0] for a, b in pairwise(points)):
        yield Problem(path, found, "ascending parts", "sort the points")
    else:
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
        if any(a < b for a, b in pairwise(slopes)) or slopes[-1] < 0:
            yield Problem(path, found, "a concave curve that never falls", "a larger part gains less")


DECODE_CHECKS = (
    (("decode", "costs"), _times_by_roofline),
    (("decode", "chunking", "workload"), _riders_consistent),
    (("decode",), _share_leaves_some),
)
