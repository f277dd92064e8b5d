"""Stages that a table cannot tell apart."""

from __future__ import annotations

import numpy as np

from mocap_opt.tables import IntArray


def stage_classes(*tables: IntArray) -> IntArray:
    """Number stages so that equal rows of all tables get equal numbers, int64[stage].

    Parameters
    ----------
    tables : int64[stage, ...]
    """
    flat = np.concatenate([table.reshape(table.shape[0], -1) for table in tables], axis=1)
    _, numbers = np.unique(flat, axis=0, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64).reshape(-1)
