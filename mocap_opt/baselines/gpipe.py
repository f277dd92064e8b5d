"""GPipe: the whole request is one micro-batch."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.flow_shop.chunk_lengths import LengthLimits
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables


def gpipe(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
    """One chunk, if the limits allow it.

    Parameters
    ----------
    tables : Tables
    asked_to_stop : callable
        Asked once; `StoppedError` is raised when it says so.

    Returns
    -------
    list of int64[2]
        Grid indices; empty if the limits allow no single chunk.

    Source: Huang et al., GPipe (arXiv 1811.06965), with the request as the micro-batch.
    """
    stop_if(asked_to_stop)
    if 1 not in LengthLimits.of(tables).counts(tables):
        return []
    return [np.array([0, tables.steps], dtype=np.int64)]
