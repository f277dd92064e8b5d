"""What a stage's memory holds beside weights and KV with homes: activations, and KV in rings.

Statement and proof: ``formulations/profiles.md``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.instance.layer_profile import LayerShare
from mocap_opt.tables.attention import stage_shares
from mocap_opt.tables.rounding import Rounding, whole
from mocap_opt.tables.stage_costs import feed_forward_width, kv_bytes_of_layer
from mocap_opt.units import exact

if TYPE_CHECKING:
    from mocap_opt.instance import Instance
    from mocap_opt.tables.layout import Layout


def _elements(instance: Instance) -> Fraction:
    """Bytes of an element of the activations of a token position, all prompts of the batch."""
    return exact(instance.precision.activations) * instance.workload.batch


def logit_elements(instance: Instance, layout: Layout, stage: int) -> int:
    """Logits that a stage computes for a token: the vocabulary on the last stage, where all are asked for.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    last = stage == layout.stages - 1 and instance.pipeline.logits == "all"
    return instance.model.vocabulary if last else 0


def working_bytes(instance: Instance, layout: Layout, stage: int) -> int:
    """Bytes of activations per token of a stage's queues, all its dies.

    The first layer keeps s of the tokens; of those, each die has 2 hidden and 2 FFN / d, or on the last
    stage the logits if they take more.  Where mini-sequences cap what feed-forward networks need, this is the
    hidden part alone and `buffer_tables` the rest.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.
    stage : int
    """
    d, keep = len(layout.ranks[stage]), stage_shares(instance, layout.layers[stage])[0].keep
    elements = 2 * instance.model.hidden * d
    if instance.pipeline.mini_sequence is None:
        elements += max(2 * feed_forward_width(instance.model), logit_elements(instance, layout, stage))
    return whole(keep * elements * _elements(instance), Rounding.UP, "activations")


def buffer_tables(instance: Instance, layout: Layout) -> dict[str, IntArray]:
    """What feed-forward networks need of mini-sequences, and logits; nothing without mini-sequences.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.

    Returns
    -------
    dict
        ``buffer_bytes``, ``buffer_limit`` and ``logit_bytes`` of `mocap_opt.tables.cost_tables.Tables`.
    """
    most = instance.pipeline.mini_sequence
    if most is None:
        return {}
    each, none = _elements(instance), [0] * len(layout.pool_names)
    wide = 2 * feed_forward_width(instance.model)
    keep = [stage_shares(instance, layers)[0].keep for layers in layout.layers]
    logits = [logit_elements(instance, layout, i) for i in range(layout.stages)]
    columns = {
        "buffer_bytes": [s * wide * each for s in keep],
        "buffer_limit": [most * wide * each for _ in keep],
        "logit_bytes": [s * n * each for s, n in zip(keep, logits, strict=True)],
    }
    return {
        name: np.array([*(whole(v, Rounding.UP, "activations") for v in values), *none], dtype=np.int64)
        for name, values in columns.items()
    }


def _ring_bytes(share: LayerShare, each: Fraction) -> dict[int, Fraction]:
    """Bytes per token position that a layer keeps in rings, by the tokens that their windows span."""
    spans: dict[int, Fraction] = {}
    for group in share.groups:
        if group.ring:
            span = share.span(group)
            spans[span] = spans.get(span, Fraction(0)) + share.keep * each * group.part
    return spans


def ring_tables(instance: Instance, layout: Layout) -> dict[str, IntArray]:
    """Rings of KV of which memory holds a window; nothing if there are none.

    Parameters
    ----------
    instance : Instance
    layout : Layout
        Of `instance`.

    Returns
    -------
    dict
        ``ring_span`` and ``ring_bytes`` of `mocap_opt.tables.cost_tables.Tables`.
    """
    stages = []
    for i, layers in enumerate(layout.layers):
        each, total = kv_bytes_of_layer(instance, layout, i), dict[int, Fraction]()
        for share in stage_shares(instance, layers):
            for span, size in _ring_bytes(share, each).items():
                total[span] = total.get(span, Fraction(0)) + size
        stages.append(total)
    spans = sorted({span for total in stages for span in total})
    if not spans:
        return {}
    page, none = instance.chunking.page_tokens, [dict[int, Fraction]()] * len(layout.pool_names)
    rows = [
        [whole(total.get(span, Fraction(0)) * page, Rounding.UP, "KV of a page") for span in spans]
        for total in (*stages, *none)
    ]
    return {
        "ring_span": np.array(spans, dtype=np.int64),
        "ring_bytes": np.array(rows, dtype=np.int64),
    }
