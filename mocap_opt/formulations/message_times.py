"""How long a chunk's activations take on their own, link rows included."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mocap_opt.arrays import IntArray
from mocap_opt.tables.cost_tables import Tables


def message_times(tables: Tables, stage: npt.ArrayLike, start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
    """Least exchange time of a slot in which nothing but this message is sent.

    The largest of the tabulated send and, over the links the message crosses, its bytes over the
    link's rate, rounded up, plus its hops.  0 after the last stage.

    Parameters
    ----------
    tables : Tables
    stage, start, end : array_like of int
        Stage and grid indices of the chunk's ends, ``start < end``; broadcast together.

    Returns
    -------
    int64 array, ticks
    """
    i, a, b = np.broadcast_arrays(stage, start, end)
    ticks = np.array(tables.send_time(i, a, b))
    lengths = tables.grid[b] - tables.grid[a]
    for sender in range(tables.stages - 1):
        mine = i == sender
        share = tables.share[:, sender, sender + 1]
        rates = tables.share_denominator * tables.link_rate.astype(object)
        for e in np.flatnonzero(share):
            size = lengths[mine].astype(object) * (int(share[e]) * int(tables.activation_bytes[sender]))
            busy = np.array(-(-size // rates[e]), dtype=np.int64) + tables.hop_ticks[sender, sender + 1]
            ticks[mine] = np.maximum(ticks[mine], busy)
    return np.where(i < tables.stages - 1, ticks, 0)
