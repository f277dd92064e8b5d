"""Cases with known answers that speak of lockstep or of memory alone."""

from fractions import Fraction

import numpy as np
import oracle
import pytest
from builders import make_tables

from mocap_opt.replay.lockstep import replay_lockstep
from mocap_opt.schedule.plan import Plan
from mocap_opt.schedule.verify import memory_use, violations

# --- memory: M equal chunks, pages of one token, `pages` of them to a chunk ----------------------


def equal_chunks(stages, chunks, pages, capacity=10**9):
    return make_tables(
        stages, chunks * pages, quantum=pages, page=1, max_chunks=chunks, token_bytes=1, capacity=capacity
    )


def paired_plan(tables, partner):
    """Stages exchange KV with a partner so that the pair's peak is as low as it can be.

    Stage a, d slots ahead of its partner b, peaks when b is d chunks short of that; half the
    difference goes to b.  When a is done, b returns as much: from its last d chunks, which are
    all later than that.
    """
    pages = np.zeros((tables.stages, tables.max_chunks, tables.stages), dtype=np.int64)
    size = tables.quantum
    for a in range(tables.stages):
        b = partner(a)
        if b > a:
            for owner, other in ((a, b), (b, a)):
                left = (b - a) * size // 2
                for j in range(tables.max_chunks - 1, -1, -1):
                    pages[owner, j, other] = min(left, size)
                    left -= pages[owner, j, other]
    return Plan.from_arrays(tables, range(tables.max_chunks + 1), pages)


@pytest.mark.parametrize(("stages", "chunks"), [(4, 2), (4, 4), (8, 4), (8, 8), (16, 16), (16, 32)])
def test_own_or_partner_lowers_the_peak_from_m_to_m_less_a_quarter_of_n(stages, chunks):
    tables = equal_chunks(stages, chunks, pages=1)
    local = memory_use(tables, Plan(tuple(range(chunks + 1))))
    assert local.max(axis=1).tolist() == [chunks] * stages
    paired = memory_use(tables, paired_plan(tables, lambda i: (i + stages // 2) % stages))
    assert paired.max() == chunks - stages // 4
    # Length grows by M / (M - N/4), 4/3 at M = N.
    if chunks == stages:
        assert Fraction(int(local.max()), int(paired.max())) == Fraction(4, 3)


@pytest.mark.parametrize(("stages", "chunks"), [(4, 4), (8, 8), (8, 12)])
def test_no_own_or_partner_plan_does_better(stages, chunks):
    # Whatever the homes, the pair holds 2 M - N/2 chunks when its earlier stage runs its last one.
    rng, half = np.random.default_rng(60), stages // 2
    tables = equal_chunks(stages, chunks, pages=2)
    for _ in range(20):
        pages = np.zeros((stages, chunks, stages), dtype=np.int64)
        for i in range(stages):
            pages[i, :, (i + half) % stages] = rng.integers(0, 3, chunks)
        use = memory_use(tables, Plan.from_arrays(tables, range(chunks + 1), pages))
        for i in range(half):
            assert use[[i, i + half], i + chunks - 1].sum() == 2 * (2 * chunks - half)
        assert use.max() >= 2 * (chunks - stages // 4)


def test_the_mirror_pairing_gains_three_percent():
    # Stages 7 and 8 of 16 run one slot apart: 2 M - 1 chunks for two, so M - 1/2: 16 / 15.5 = 1.03.
    tables = equal_chunks(16, 16, pages=2)
    use = memory_use(tables, paired_plan(tables, lambda i: 15 - i))
    assert use.max() == 2 * 16 - 1
    assert round(32 / int(use.max()), 2) == 1.03
    assert use[[7, 8], 7 + 15].sum() == 2 * (2 * 16 - 1)


def fill_in_slot_order(tables):
    """Put KV wherever there is room when it is made; None as soon as there is none."""
    stages, chunks, size = tables.stages, tables.max_chunks, tables.quantum
    room = tables.capacity.copy()
    pages = np.zeros((stages, chunks, stages), dtype=np.int64)
    for t in range(stages + chunks - 1):
        for i in range(stages):
            if t == i + chunks:
                room += pages[i].sum(axis=0)
        for i in range(stages):
            if 0 <= t - i < chunks:
                left = size
                for k in [i, *(k for k in range(stages) if k != i)]:
                    pages[i, t - i, k] = min(left, room[k])
                    left -= pages[i, t - i, k]
                    room[k] -= pages[i, t - i, k]
                if left:
                    return None
    return Plan.from_arrays(tables, range(chunks + 1), pages)


@pytest.mark.parametrize(
    ("stages", "chunks", "gain"), [(8, 8, 1.78), (16, 16, 1.88), (16, 32, 1.31), (4, 2, None), (8, 3, None)]
)
def test_pooled_memory(stages, chunks, gain):
    # Slot M - 1 holds M + (M - 1) + ... + (M - N + 1) chunks of all stages together, none below 0.
    pages = 2 * stages
    pooled = sum(max(chunks - i, 0) for i in range(stages)) * pages
    each = pooled // stages
    tables = equal_chunks(stages, chunks, pages, capacity=each)
    plan = fill_in_slot_order(tables)
    assert violations(tables, plan) == []
    use = memory_use(tables, plan)
    assert use[:, chunks - 1].sum() == stages * each
    if gain is not None:
        assert round(chunks * pages / each, 2) == gain
    # One page less anywhere and slot M - 1 cannot hold it.
    less = [each] * (stages - 1) + [each - 1]
    assert fill_in_slot_order(equal_chunks(stages, chunks, pages, capacity=less)) is None


def test_slot_m_minus_1_binds_the_pool_for_any_lengths():
    rng = np.random.default_rng(61)
    for _ in range(60):
        stages, chunks = (int(x) for x in rng.integers(1, [8, 12]))
        marks = np.cumsum([0, *rng.integers(1, 9, chunks)])
        tables = make_tables(stages, int(marks[-1]), max_chunks=chunks)
        pooled = memory_use(tables, Plan(tuple(int(p) for p in marks))).sum(axis=0)
        assert pooled.argmax() <= chunks - 1
        assert pooled[chunks - 1] == pooled.max() == sum(marks[max(chunks - i, 0)] for i in range(stages))


def test_with_unlike_kv_another_slot_may_bind():
    # Stage 1's pages are ten times as large: slot 1 of 2 chunks holds 2 + 10, slot 2 holds 20.
    use = memory_use(make_tables(2, 2, token_bytes=[1, 10]), Plan((0, 1, 2)))
    assert use.sum(axis=0).tolist() == [1, 12, 20]


@pytest.mark.parametrize("short", [0, 1])
def test_whole_page_homes_exist_whenever_the_pool_is_large_enough(short):
    # Brute force on every partition of 4 pages: feasible homes exist if and only if slot M - 1 fits.
    for capacity in ([3, 3], [4, 2], [1, 6], [0, 7], [2, 2]):
        tables = make_tables(2, 4, max_chunks=3, capacity=[capacity[0], capacity[1] - short])
        for marks in oracle.partitions(tables):
            pooled = marks[-1] + marks[-2]
            there = next(oracle.feasible_homes(tables, marks), None) is not None
            assert there == (pooled <= sum(capacity) - short)


# --- time: identical stages, tau = Phi(b) - Phi(a) + c, nothing else ----------------------------


def chunk_times(tables, marks):
    return [int(tables.tau(0, a, b)) for a, b in oracle.chunks_of(marks)]


def random_marks(rng, chunks):
    return tuple(int(p) for p in np.cumsum([0, *rng.integers(1, 12, chunks)]))


def priced(marks, stages, constant=7):
    tables = make_tables(stages, marks[-1], max_chunks=len(marks), quadratic=1, constant=constant)
    return replay_lockstep(tables, Plan(marks)).latency, chunk_times(tables, marks)


def test_every_window_of_n_slots_pays_its_longest_chunk():
    rng, zigzag = np.random.default_rng(62), 0
    for _ in range(200):
        stages, chunks = (int(x) for x in rng.integers(1, [9, 14]))
        latency, times = priced(random_marks(rng, chunks), stages)
        windows = [times[max(t - stages + 1, 0) : t + 1] for t in range(chunks + stages - 1)]
        assert latency == sum(max(window) for window in windows)
        closed_form = sum(times) + (stages - 1) * max(times)
        assert latency >= closed_form
        zigzag += latency > closed_form
    assert zigzag > 100


def test_zigzag_by_hand():
    # Times 1, 3, 1, 3 on 2 stages: 1 + 3 + 3 + 3 + 3 = 13; without barriers 8 + 3 = 11.
    # Phi = x: lengths 1, 3, 1, 3.
    tables = make_tables(2, 8, linear=1)
    assert replay_lockstep(tables, Plan((0, 1, 4, 5, 8))).latency == 13


@pytest.mark.parametrize("shape", ["rise", "fall", "rise then fall"])
def test_unimodal_chunk_times_cost_what_the_closed_form_says(shape):
    # Phi(S) + m c + (N - 1) (D + c), D the longest difference of Phi.
    rng = np.random.default_rng(63)
    for _ in range(60):
        stages, chunks = (int(x) for x in rng.integers(1, [9, 12]))
        lengths = np.sort(rng.integers(1, 30, chunks))
        if shape == "fall":
            lengths = lengths[::-1]
        elif shape == "rise then fall":
            lengths = np.concatenate([lengths[::2], lengths[1::2][::-1]])
        # Phi = 5 x: times are unimodal as the lengths are.
        marks = tuple(int(p) for p in np.cumsum([0, *lengths]))
        tables = make_tables(stages, marks[-1], max_chunks=chunks, linear=5, constant=7)
        expected = 5 * marks[-1] + chunks * 7 + (stages - 1) * (5 * int(lengths.max()) + 7)
        assert replay_lockstep(tables, Plan(marks)).latency == expected


def longest_difference(tables, chunks):
    """TeraPipe's D for a count: walk back from S, each time to the least start within D."""
    phi = tables.phi[0].tolist()
    for trial in sorted({b - a for a in phi for b in phi if b > a}):
        at = tables.steps
        for owed in range(chunks - 1, -1, -1):
            least = next(g for g in range(at + 1) if phi[at] - phi[g] <= trial)
            at = max(least, owed)
        if at == 0:
            return trial
    raise AssertionError


@pytest.mark.parametrize("stages", [2, 3])
def test_slack_memory_optimum_is_the_closed_form(stages):
    for constant in (0, 3, 20):
        for exact in (False, True):
            tables = make_tables(
                stages, 8, max_chunks=4, exact=exact, linear=3, quadratic=1, constant=constant, token_bytes=0
            )
            counts = [4] if exact else [1, 2, 3, 4]
            whole = int(tables.phi[0, -1])
            expected = min(
                whole + m * constant + (stages - 1) * (longest_difference(tables, m) + constant)
                for m in counts
            )
            assert oracle.brute_force(tables, oracle.contention_free_price).value == expected
            assert oracle.brute_force(tables).value >= expected
