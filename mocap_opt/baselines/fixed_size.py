"""Chunks of one size, the last is the rest: what an engine does that does not size chunks.

Source: vLLM ``--max-num-batched-tokens``, TensorRT-LLM ``max_num_tokens`` with chunked context, SGLang
``--chunked-prefill-size`` without dynamic chunking.
"""

from __future__ import annotations

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.engine_chunks import EngineRule, Setting, successive_chunks
from mocap_opt.tables.cost_tables import Tables


def fixed_size(tables: Tables, setting: Setting) -> IntArray | None:
    """Boundaries of a size, rounded down to the grid and moved inside the limits, or None.

    Parameters
    ----------
    tables : Tables
    setting : Setting
        Its smoothing means nothing here.
    """
    return successive_chunks(tables, setting.base, _whole_size, alignment=1)


def _whole_size(history: int, base: int) -> float:
    return float(base)


RULE = EngineRule("chunks of one size", fixed_size)
