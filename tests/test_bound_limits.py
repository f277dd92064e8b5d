"""`bound` keeps a time limit, and says which bounds it cut short."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_measured import measured_instance

from mocap_opt import bound, load_instance
from mocap_opt.baselines import METHODS
from mocap_opt.bounds import BOUNDS, enumerated_partitions
from mocap_opt.bounds.crossing import crossing_pooled_memory
from mocap_opt.bounds.enumerated_partitions import PartitionEnumeration, TooManyError, least_partitions
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.pooled_memory import PooledMemory
from mocap_opt.errors import InputError
from mocap_opt.instance import Instance
from mocap_opt.replay.event import replay_event
from mocap_opt.tables import build_tables

TINY = Path(__file__).parent.parent / "instances" / "tiny-slack.json"


def test_without_time_the_first_bound_alone_is_computed_and_the_rest_are_named():
    notes: list[str] = []
    _, bounds, _ = bound(load_instance(TINY), time_limit_s=0.0, on_note=notes.append)
    assert [each.name for each in bounds] == ["stage_work"]
    begun = [note for note in notes if "not begun, time was up" in note]
    assert [note.partition(":")[0] for note in begun] == list(BOUNDS)[1:]


def test_a_negative_limit_is_refused():
    with pytest.raises(InputError, match="time_limit_s"):
        bound(load_instance(TINY), time_limit_s=-1.0)


def dead_ends():
    """Measured times that rise and fall: many endings lead nowhere."""
    return build_tables(Instance.from_dict(measured_instance(3, shape=(5, 12, 64), depth=1)))


def test_dead_ends_of_a_listing_are_limited(monkeypatch):
    tables = dead_ends()
    monkeypatch.setattr(enumerated_partitions, "MOST_ENDINGS", 500)
    proved = crossing_pooled_memory(tables).ticks
    asked = 0

    def count():
        nonlocal asked
        asked += 1
        return False

    with pytest.raises(TooManyError, match="500"):
        list(PartitionEnumeration(Setting(tables), PooledMemory.of(tables)).below(2 * proved, count))
    assert asked > 500  # before each ending, and while chunks are deleted


def test_a_listing_that_meets_too_many_dead_ends_tries_a_lower_target(monkeypatch):
    tables = dead_ends()
    monkeypatch.setattr(enumerated_partitions, "MOST_ENDINGS", 200)
    found = least_partitions(tables)
    plan = METHODS["search-greedy"].propose(tables).plan
    assert found is None or found.bound().ticks <= replay_event(tables, plan).latency
