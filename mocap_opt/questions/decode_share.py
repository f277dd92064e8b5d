"""How much of a machine decoding needs beside chunks (formulations/decode.md): its step, the best share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance import Instance
from mocap_opt.instance.decode import DecodeShare
from mocap_opt.tables.layout import layout
from mocap_opt.tables.riders import rider_flops, rider_kv
from mocap_opt.tables.stage_costs import layer_weight_bytes
from mocap_opt.units import exact

PARTS = 10**6
"""Shares have six decimals."""


@dataclass(frozen=True)
class ShareRow:
    """The least compute that decoding needs, for one part of the memory bandwidth.

    Attributes
    ----------
    bandwidth : float
        Beta, decoding's part of the memory bandwidth.
    compute : float or None
        1 - s, the least part of the compute with which its step meets the limit; None if none does.
    step_s : float or None
        Its step with that, seconds.
    """

    bandwidth: float
    compute: float | None
    step_s: float | None


def decode_step(instance: Instance, share: DecodeShare) -> Fraction | None:
    """Time of decoding one token of every request, on all stages one after the other, seconds.

    Of a stage the larger of FLOPs / (V g(1 - s)) and bytes / (beta R); collectives and sends aside.

    Parameters
    ----------
    instance : Instance
        Whose ``decode.tokens`` and ``decode.context`` are the load; costs of the roofline.
    share : DecodeShare
        What decoding has for itself.

    Returns
    -------
    Fraction or None
        None if it has no compute or no bandwidth.

    Raises
    ------
    InputError
        If the instance decodes nothing, or its costs are not those of the roofline.
    """
    return _step_of(_loads(instance), share)


Load = tuple[Fraction, Fraction]
"""Seconds of computing and of reading on a stage, with all of the machine."""


def _loads(instance: Instance) -> list[Load]:
    """What decoding takes on every stage."""
    costs, decode = instance.costs, instance.decode
    if decode is None or not decode.tokens or costs.kind != "roofline":
        expected = 'tokens to decode, and costs of kind "roofline"'
        raise InputError([Problem("decode.tokens", "none", expected, "give decode.tokens")])
    laid_out, die, loads = layout(instance), instance.wafer.die, list[Load]()
    for i in range(laid_out.stages):
        degree = len(laid_out.ranks[i])
        peak = degree * exact(die.flops) * costs.efficiency_at(degree)
        moved = layer_weight_bytes(instance, laid_out.layers[i]) + rider_kv(instance, laid_out, i)[1]
        computing = rider_flops(instance, laid_out, i) / peak
        loads.append((computing, moved / (degree * exact(die.memory_bandwidth))))
    return loads


def _step_of(loads: Sequence[Load], share: DecodeShare) -> Fraction | None:
    """Step with a share; None if it has no compute or no bandwidth."""
    speed, part = share.speed(exact(share.compute)), exact(share.bandwidth)
    if not speed or not part:
        return None
    return sum((max(computing / speed, reading / part) for computing, reading in loads), Fraction(0))


def best_shares(
    instance: Instance,
    limit_s: float,
    bandwidths: Sequence[float],
    curve: Sequence[tuple[float, float]] = ((0.0, 0.0), (1.0, 1.0)),
) -> list[ShareRow]:
    """For parts of the memory bandwidth, the least compute with which decoding's step meets a limit.

    Chunks get what is left: no chunk is slower with more compute, so this is the best share for each part of
    the bandwidth, and no program is needed.

    Parameters
    ----------
    instance : Instance
        As for `decode_step`.
    limit_s : float, seconds
        The most that a step may take.
    bandwidths : sequence of float
        Parts of the bandwidth for decoding, below 1.
    curve : sequence of (float, float)
        Speed by the part of the compute, as ``decode.share.curve``.

    Raises
    ------
    InputError
        As for `decode_step`.
    """
    limit, loads, rows = exact(limit_s), _loads(instance), list[ShareRow]()

    def _step(parts: int, bandwidth: float) -> Fraction | None:
        share = DecodeShare(compute=parts / PARTS, bandwidth=bandwidth, curve=tuple(curve))
        return _step_of(loads, share)

    for bandwidth in bandwidths:
        low, high = 0, PARTS - 1
        whole = _step(high, bandwidth)
        if whole is None or whole > limit:
            rows.append(ShareRow(bandwidth, None, None))
            continue
        while high - low > 1:  # with no compute there is no step
            middle = (low + high) // 2
            taken = _step(middle, bandwidth)
            low, high = (low, middle) if taken is not None and taken <= limit else (middle, high)
        reached = _step(high, bandwidth)
        rows.append(ShareRow(bandwidth, high / PARTS, None if reached is None else float(reached)))
    return rows
