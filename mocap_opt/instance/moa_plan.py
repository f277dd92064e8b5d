"""Plans of MoA (arXiv 2406.14909) as layer profiles: a window for every head that grows with the prompt.

The project publishes them as JSON: ``{"alphas": [[...], ...], "betas": [[...], ...]}``, a number for each
head of each layer.  A head holds alpha + beta N of N positions, at least 128 and in multiples of 64, the
first 64 among them (thu-nics/MoA, `moa_config_to_cache_config`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil
from typing import Any

from mocap_opt.errors import InputError, Problem
from mocap_opt.files import read_json, source_name
from mocap_opt.messages import show

LEAST = 128
"""Positions that a head holds at least."""

SPLIT = 64
"""Heads hold a multiple of so many positions."""


def window_tokens(alpha: float, beta: float, tokens: int) -> int:
    """Positions that a head holds.

    Parameters
    ----------
    alpha, beta : float
    tokens : int
        N, of the whole prompt.
    """
    wanted = min(int(alpha + tokens * beta), tokens)
    return ceil(max(wanted, LEAST) / SPLIT) * SPLIT


def moa_profile(
    plan: Mapping[str, Any] | str | os.PathLike[str], kv_heads: int, tokens: int
) -> list[dict[str, Any]]:
    """Return the profile of a plan at the length of a prompt, as ``model.profile`` holds it.

    Windows slide here; the plan keeps the first 64 positions in place of as many old ones, which costs the
    same.

    Parameters
    ----------
    plan : mapping or path
        What a file of a plan holds, or the file.
    kv_heads : int
        Key-value heads of the model.  Plans of models with grouped queries have a window for each query
        head, whose keys and values they hold apart: there it is the number of query heads.
    tokens : int
        Of the prompt, its cached prefix included.

    Returns
    -------
    list of dict
        One entry for consecutive layers that are alike; none for layers that see everything.

    Raises
    ------
    InputError
        If it is no plan, or one for another number of heads.
    """
    where = "plan" if isinstance(plan, Mapping) else source_name(plan)
    data = plan if isinstance(plan, Mapping) else read_json(plan)
    alphas, betas = (_numbers(data, key, where) for key in ("alphas", "betas"))
    if [len(row) for row in alphas] != [len(row) for row in betas]:
        found = f"{sum(map(len, betas))} numbers"
        raise InputError([Problem(f"{where}: betas", found, "as many numbers as alphas, layer by layer")])
    counts = {len(row) for row in alphas}
    if counts != {kv_heads}:
        expected = f"windows of {kv_heads} heads, the model's kv_heads, in every layer"
        remedy = "with grouped queries set model.kv_heads to model.heads, as the plan's own engine does"
        raise InputError([Problem(f"{where}: alphas", f"{sorted(counts)} heads", expected, remedy)])
    windows = [
        Counter(window_tokens(alpha, beta, tokens) for alpha, beta in zip(*rows, strict=True))
        for rows in zip(alphas, betas, strict=True)
    ]
    return _entries(windows, tokens)


def _numbers(data: Any, key: str, where: str) -> list[list[float]]:
    """A list of lists of numbers, by layer and head."""
    rows = data.get(key) if isinstance(data, Mapping) else None
    fine = isinstance(rows, list) and rows and all(isinstance(row, list) for row in rows)
    if not fine or not all(type(n) in (int, float) for row in rows or () for n in row):
        expected = "a list with a list of numbers for each layer, one per head"
        raise InputError([Problem(f"{where}: {key}", show(rows), expected, "give a plan of MoA")])
    return [list(row) for row in rows or ()]


def _entries(windows: Sequence[Counter[int]], tokens: int) -> list[dict[str, Any]]:
    """Profile entries of layers, each with heads by window."""
    entries, first = [], 0
    for seen, layers in groupby(windows):
        last = first + len(list(layers)) - 1
        groups = [{"kv_heads": n, "tokens": w} for w, n in sorted(seen.items()) if w < tokens]
        if groups:
            entries.append({"layers": [first, last], "windows": groups})
        first = last + 1
    return entries


def kv_density(profile: Sequence[Mapping[str, Any]], layers: int, kv_heads: int, tokens: int) -> float:
    """Return the part of all KV that is held at the end of a prompt: windows over positions, on average.

    Parameters
    ----------
    profile : sequence of mapping
        From `moa_profile`.
    layers, kv_heads : int
        Of the model.
    tokens : int
        Of the prompt.
    """
    less = sum(
        (entry["layers"][1] + 1 - entry["layers"][0]) * group["kv_heads"] * (tokens - group["tokens"])
        for entry in profile
        for group in entry["windows"]
    )
    return 1 - float(less) / (layers * kv_heads * tokens)
