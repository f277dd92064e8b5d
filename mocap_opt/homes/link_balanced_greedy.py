"""Homes that share out the links: where links are scarce the nearest memory is not the best one."""

from __future__ import annotations

from mocap_opt.arrays import IntArray
from mocap_opt.homes.link_load import Roads
from mocap_opt.homes.proposal import Homes
from mocap_opt.homes.slot_placement import SlotPlacement
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables


def spread(tables: Tables, indices: IntArray, asked_to_stop: AskedToStop = never) -> Homes:
    """Home first; what does not fit goes where it lengthens the slots least.

    Slots are worked through in order, as in `mocap_opt.homes.greedy.greedy`.  Bytes moved in slot t
    cross the links to their home in that slot, and those back in every later slot of their stage.  Among
    the memories with room to spare (room left after all that their own stage is still to produce), then
    among all with room, the one is taken with which the slots, each as long as its longest chunk and its
    busiest link or port, add up to the least; a small part (`mocap_opt.homes.link_load.BUSY`) of the
    total time of its busiest one counts too.

    Parameters
    ----------
    indices : int64[chunks + 1]
        Grid indices of the boundaries.
    """
    placing = SlotPlacement.begin(tables, indices)
    if isinstance(placing, Homes):
        return placing
    return spread_out(placing, Roads(tables, indices), asked_to_stop)


def spread_out(placing: SlotPlacement, roads: Roads, asked_to_stop: AskedToStop = never) -> Homes:
    """Place everything so, from nothing placed yet."""
    for t in placing.slots:
        stop_if(asked_to_stop)
        for i, left in placing.keep(t):
            failed = roads.share_out(placing, i, t, left)
            if failed is not None:
                return failed
    return Homes(placing.pages)
