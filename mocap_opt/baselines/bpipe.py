"""BPipe's mirror, a rule made for training, as a foil."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.thresholds import threshold_homes
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def mirrored(stages: int) -> IntArray:
    """Partner N - 1 - i of every stage, int64[stage]; the middle one of an odd N has itself."""
    return np.arange(stages, dtype=np.int64)[::-1].copy()


def mirror(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Keep KV local up to a threshold, send the rest to the mirrored stage.

    Source: BPipe's pairing of the first stage with the last (Kim et al., ICML 2023).  In prefill
    the stages near the middle are paired with neighbours that fill at the same time.
    """
    return threshold_homes(tables, indices, mirrored(tables.stages), asked_to_stop)
