"""Measured chunk times as tables: exact where measured, between by interpolation, split soundly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from builders import make_tables
from test_measured_residual import with_residual

from mocap_opt.bounds.crossing import least_with_crossing
from mocap_opt.bounds.heads_and_tails import Setting
from mocap_opt.bounds.stage_work import chunk_costs
from mocap_opt.calibration.fit import features
from mocap_opt.calibration.least_squares import nonnegative_least_squares
from mocap_opt.errors import InputError
from mocap_opt.flow_shop.partitions import cheapest_by_count
from mocap_opt.instance import Instance
from mocap_opt.instance.grid import MOST_RESIDUALS
from mocap_opt.questions.max_context.instance_family import LengthFamily
from mocap_opt.schedule.requests import build_requests
from mocap_opt.tables import build_tables
from mocap_opt.tables.cost_tables import Tables
from mocap_opt.tables.measured import largest_envelope

LENGTHS, PREFIXES = [1024, 2048, 4096], [0, 4096, 8192]
TIMES = [[0.010, 0.030, 0.040], [0.018, 0.040, 0.064], [0.034, 0.080, 0.120]]


def measured(stages: Any = None, **changes: Any) -> Instance:
    table = {"lengths": LENGTHS, "prefixes": PREFIXES, "seconds": TIMES}
    data = {
        "version": 1,
        "name": "measured",
        "model": "llama-3.1-8b",
        "wafer": "pjlab-5x4",
        "pipeline": {"stages": 2},
        "workload": {"tokens": "8k"},
        "chunking": {"max_chunks": 8, "quantum": 1024, "shortest": 1024, "longest": 4096},
        "costs": {"kind": "measured", "stages": stages or table},
        "tick": "1 us",
    }
    return Instance.from_dict(data | changes)


def allowed(tables: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.triu_indices(tables.steps + 1, 1)
    keep = tables.length_allowed[(b == tables.steps).astype(int), b - a]
    return a[keep], b[keep]


def test_times_are_exact_where_measured_and_bilinear_between() -> None:
    tables = build_tables(measured())
    # In microseconds: 1, 2 and 4 steps of 1024 tokens after 0 and 4 of them.
    for row, steps in enumerate((1, 2, 4)):
        for column, start in enumerate((0, 4)):
            assert tables.tau(0, start, start + steps) == round(1e6 * TIMES[row][column])
    # 1024 after 1024: a quarter of the way from 10 to 30 ms.
    assert tables.tau(1, 1, 2) == 15_000
    # 3072 after 2048: halfway in both, (18 + 40 + 34 + 80) / 4 ms.
    assert tables.tau(0, 2, 5) == 43_000
    assert not tables.own_traffic.any()


def test_a_cached_prefix_counts_as_tokens_before() -> None:
    tables = build_tables(measured(workload={"tokens": "4k", "cached_prefix": "4k"}))
    assert tables.tau(0, 0, 2) == 40_000
    # 1024 after 4096 + 3072: three quarters of the way from 30 to 40 ms.
    assert tables.tau(0, 3, 4) == 37_500


def test_the_parts_are_below_the_times_and_never_negative() -> None:
    tables = build_tables(measured())
    assert tables.residual is not None
    for part in (tables.phi, tables.prefix_cost, tables.length_cost, tables.residual):
        assert (part >= 0).all()
    assert (np.diff(tables.phi, axis=1) >= 0).all()
    a, b = allowed(tables)
    # Most of the time is in the envelope, whose structure bounds can use.
    assert tables.residual[0, a, b].sum() < 0.2 * tables.tau(0, a, b).sum()
    outside = np.ones(tables.residual.shape[1:], dtype=bool)
    outside[a, b] = False
    assert not tables.residual[:, outside].any()


def test_times_that_rise_are_interpolated_by_times_that_rise() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        drawn = rng.uniform(0.001, 0.02, (3, 3)).cumsum(axis=0).cumsum(axis=1)
        table = {"lengths": LENGTHS, "prefixes": PREFIXES, "seconds": drawn.tolist()}
        tables = build_tables(measured(table))
        for steps in range(1, 5):
            starts = np.arange(tables.steps - steps + 1)
            assert (np.diff(tables.tau(0, starts, starts + steps)) >= 0).all()
        for start in range(tables.steps - 1):
            ends = np.arange(start + 1, min(start + 4, tables.steps) + 1)
            assert (np.diff(tables.tau(0, start, ends)) >= 0).all()


def test_stages_may_differ_and_equal_ones_are_alike() -> None:
    one = {"lengths": LENGTHS, "prefixes": PREFIXES, "seconds": TIMES}
    slow = {**one, "seconds": (2 * np.array(TIMES)).tolist()}
    same, listed, unlike = (build_tables(measured(stages)) for stages in (one, [one, one], [one, slow]))
    a, b = allowed(same)
    for stage in (0, 1):
        assert np.array_equal(same.tau(stage, a, b), listed.tau(stage, a, b))
    assert np.array_equal(unlike.tau(0, a, b), same.tau(0, a, b))
    assert np.abs(unlike.tau(1, a, b) - 2 * same.tau(0, a, b)).max() <= 1


def test_each_request_of_a_stream_has_times_of_its_own_prefix() -> None:
    requests = [{"tokens": "4k"}, {"tokens": "4k", "prefix": "4k"}]
    first, second = build_requests(measured(workload={"requests": requests}, objective="stream"))
    assert (first.tables.tau(0, 0, 1), second.tables.tau(0, 0, 1)) == (10_000, 30_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"chunking": {"max_chunks": 8, "quantum": 1024, "longest": 8192}},
            "costs.stages.lengths: expected measurements that reach from 1,024 to 8,192 tokens, got 1,024",
        ),
        ({"chunking": {"max_chunks": 16, "quantum": 512, "longest": 4096}}, "reach from 512 to 4,096"),
        (
            {"workload": {"tokens": "8k", "cached_prefix": "2k"}},
            "costs.stages.prefixes: expected measurements",
        ),
        ({"workload": {"tokens": "16k"}}, "reach from 0 to 15,360 tokens, got 0 to 8,192"),
        ({"workload": {"tokens": 8000}}, "costs.stages.lengths"),
    ],
)
def test_chunks_outside_the_measurements_are_refused(changes: dict[str, Any], message: str) -> None:
    changes = {"chunking": {"max_chunks": 16, "quantum": 1024, "longest": 4096}} | changes
    with pytest.raises(InputError, match=re.escape(message)):
        build_tables(measured(**changes))


def test_a_grid_too_fine_for_a_residual_is_refused() -> None:
    instance = measured(workload={"tokens": "8k"}, chunking={"max_chunks": 2, "quantum": 1, "longest": "8k"})
    assert MOST_RESIDUALS < 2 * 8193**2
    with pytest.raises(InputError, match=r"chunking\.quantum: expected at most 2,8\d\d steps for 2 stages"):
        build_tables(instance)


def test_a_time_of_less_than_a_tick_leaves_everything_to_the_residual() -> None:
    tiny = {"lengths": LENGTHS, "prefixes": PREFIXES, "seconds": np.full((3, 3), 1e-7).tolist()}
    tables = build_tables(measured(tiny))
    a, b = allowed(tables)
    assert not tables.tau(0, a, b).any()


def test_shorter_prompts_have_the_same_times() -> None:
    instance = measured(chunking={"max_chunks": 2, "quantum": 1024, "shortest": 1024, "longest": 4096})
    family = LengthFamily.of(instance)
    for tokens in (2048, 4096, 8192):
        short, direct = family.at(tokens), build_tables(instance.replace(f"workload.tokens={tokens}"))
        a, b = allowed(direct)
        assert np.array_equal(short.tau(0, a, b), direct.tau(0, a, b))


def test_lengths_beyond_the_measurements_are_refused() -> None:
    with pytest.raises(InputError, match="max-length: expected measured times") as caught:
        LengthFamily.of(measured())
    assert [problem.path for problem in caught.value.problems] == ["costs.stages.prefixes", "max-length"]


# --- the envelope ------------------------------------------------------------------------------


def chunks(points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    grid = np.arange(points, dtype=np.int64) * 64
    a, b = np.triu_indices(points, 1)
    return a, b, grid, np.stack([grid, grid[-1] - grid[::-1]])


def test_times_of_the_form_are_found_to_a_part_in_a_million() -> None:
    a, b, grid, lengths = chunks(40)
    h, x = 256 + grid[a], grid[b] - grid[a]
    times = 700_000 + 90 * h + 4_000 * x + 3 * (2 * h * x + x * x)
    envelope = largest_envelope(times, a, b, grid, lengths, 256)
    below = times - envelope.times(a, b)
    assert (below >= 0).all()
    assert (below <= 3 + 1e-6 * times).all()


def test_any_times_stay_above_their_envelope() -> None:
    rng = np.random.default_rng(8)
    for points in (2, 3, 8, 20, 90):
        a, b, grid, lengths = chunks(points)
        for most in (1, 3, 10**4, 10**12):
            times = rng.integers(0 if most == 3 else 1, most + 1, a.size) + rng.integers(0, most) * (b - a)
            envelope = largest_envelope(times, a, b, grid, lengths, int(rng.integers(0, 500)))
            assert (envelope.times(a, b) <= times).all()
            assert (envelope.phi >= 0).all()
            assert (envelope.length_cost >= 0).all()


def test_no_lowered_fit_is_a_larger_envelope() -> None:
    rng = np.random.default_rng(9)
    a, b, grid, lengths = chunks(30)
    for _ in range(5):
        columns = features(grid[b] - grid[a], 100 + grid[a])
        true = columns @ np.array([1e6, 2e3, 0.5, 30.0])
        times = np.rint(true * np.exp(0.05 * rng.standard_normal(true.size))).astype(np.int64)
        fitted = columns @ nonnegative_least_squares(columns / times[:, None], np.ones(times.size))
        lowered = fitted / times / (fitted / times).max()
        found = largest_envelope(times, a, b, grid, lengths, 100).times(a, b) / times
        assert found.mean() > lowered.mean()


# --- the bound over partitions -----------------------------------------------------------------


def partitions(tables: Tables) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Starts and ends of the chunks of every partition."""
    for count in tables.counts:
        for inner in combinations(range(1, tables.steps), count - 1):
            cuts = np.array([0, *inner, tables.steps])
            tail = (cuts[1:] == tables.steps).astype(int)
            if tables.length_allowed[tail, np.diff(cuts)].all():
                yield cuts[:-1], cuts[1:]


def ragged(seed: int) -> list[Tables]:
    rng = np.random.default_rng(seed)
    return [
        with_residual(
            rng,
            make_tables(
                3,
                7,
                max_chunks=5,
                quadratic=[1, 2, 0],
                constant=3,
                min_length=n % 3 + 1,
                activation_bytes=n % 4,
            ),
        )
        for n in range(15)
    ]


def test_the_cheapest_partition_by_count_is_that_of_enumeration() -> None:
    for tables in ragged(5):
        found = cheapest_by_count(chunk_costs(tables, tables.send, 0, 2)[0], tables.counts)
        sums: dict[int, list[int]] = {}
        for start, end in partitions(tables):
            least = np.minimum(tables.tau(0, start, end), tables.tau(2, start, end))
            sums.setdefault(start.size, []).append(int(least.sum()))
        assert found == {count: min(each) for count, each in sums.items()}


def test_the_bound_is_the_least_over_all_partitions() -> None:
    for tables in ragged(6):
        setting = Setting(tables)
        for s, e in ((0, 2), (1, 1), (0, 1)):
            times, crossing = chunk_costs(tables, setting.send, s, e)
            least = min(
                int(times[end, end - start - 1].sum() + crossing[end, end - start - 1].max())
                for start, end in partitions(tables)
            )
            ends = int(setting.heads_and_tails.head[s, 1] + setting.heads_and_tails.tail[e, tables.steps - 1])
            assert least_with_crossing(setting, s, e) == least + ends
            stopped = least_with_crossing(setting, s, e, lambda: True)
            assert stopped is not None
            assert stopped <= least + ends
