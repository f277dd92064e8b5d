"""All KV at its own stage."""

from __future__ import annotations

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.thresholds import threshold_homes
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def local(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Every page at its own stage, or the first memory row this breaks most."""
    return threshold_homes(tables, indices, np.arange(tables.stages), asked_to_stop)
