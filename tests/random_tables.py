"""Random instances, tiny ones for brute force and middling ones, with known variety.

What a tiny instance is drawn to exercise can be read from its name (its traits) and from
`classify`, which asks brute force what its optimum turns on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from builders import AMPLE, make_tables
from oracle import Optimum, brute_force, local_optimum
from random_network import Network, random_network

from mocap_opt.tables.cost_tables import Tables


@dataclass(frozen=True)
class Size:
    """What sizes to draw; ranges include both ends."""

    stages: tuple[int, int]
    steps: tuple[int, int]
    max_chunks: tuple[int, int]
    quanta: tuple[int, ...] = (1, 2, 4)
    most_pages: int | None = None


TINY_PAIR = Size(stages=(2, 2), steps=(2, 6), max_chunks=(2, 4), most_pages=8)
TINY_TRIPLE = Size(stages=(3, 3), steps=(2, 4), max_chunks=(2, 4), most_pages=5)
MIDDLING = Size(stages=(4, 8), steps=(16, 40), max_chunks=(8, 16), quanta=(1, 2, 4, 8))


def random_instances(seed: int, count: int) -> list[Tables]:
    """Tiny instances, about two thirds of two stages and a third of three."""
    rng = np.random.default_rng(seed)
    sizes = [TINY_TRIPLE if rng.random() < 0.35 else TINY_PAIR for _ in range(count)]
    return [random_tables(rng, size, f"tiny {n}") for n, size in enumerate(sizes)]


def random_tables(rng: np.random.Generator, size: Size = MIDDLING, name: str = "random") -> Tables:
    """One instance; its name ends in its traits, separated by commas."""
    stages = _between(rng, size.stages)
    quantum, page, tokens = _lengths(rng, size)
    steps = -(-tokens // quantum)
    most = min(_between(rng, size.max_chunks), steps)
    exact = bool(rng.random() < 0.25)
    unequal = bool(rng.random() < 0.5)
    prefix = int(rng.integers(1, 2 * quantum + 1)) if rng.random() < 0.25 else 0

    def draw(low: int, high: int, alike: bool = False) -> list[int]:
        if unequal and not alike:
            return [int(x) for x in rng.integers(low, high + 1, stages)]
        return [int(rng.integers(low, high + 1))] * stages

    token_bytes = draw(2, 12)
    tables = make_tables(
        stages,
        tokens,
        quantum=quantum,
        page=page,
        max_chunks=most,
        exact=exact,
        prefix=prefix,
        linear=draw(1, 16),
        quadratic=draw(0, 3),
        constant=draw(0, 30),
        per_token=draw(0, 2),
        full_pair=draw(0, 2) if rng.random() < 0.2 else 0,
        prefix_time=draw(0, 3) if rng.random() < 0.2 else 0,
        token_bytes=token_bytes,
        activation_bytes=draw(0, 2, alike=True),
        overlap=[Fraction(1), Fraction(1, 2), Fraction(0), Fraction(2, 3)][
            _pick(rng, (0.6, 0.15, 0.1, 0.15))
        ],
        **_limits(rng, quantum, tokens, most),
    )
    tables, network = _with_network(rng, tables)
    tables = _with_ports(rng, tables, token_bytes)
    tables = _with_memory(rng, tables)
    traits = {
        "unequal stages": unequal,
        "prefix": prefix > 0,
        "dead link": network.dead > 0,
        "split routes": network.share_denominator > 1,
        "short last step": tokens % quantum > 0,
        "small page": page < quantum,
        "exact count": exact,
        "overlap < 1": tables.overlap < 1,
        "length limits": tables.min_length > 1 or tables.max_length < tokens,
    }
    return replace(tables, name=", ".join([name, *(trait for trait, there in traits.items() if there)]))


def _lengths(rng: np.random.Generator, size: Size) -> tuple[int, int, int]:
    """Quantum, page and tokens; no more pages than brute force can bear."""
    while True:
        quantum = int(rng.choice(size.quanta))
        page = int(rng.choice([d for d in range(1, quantum + 1) if quantum % d == 0 and quantum // d <= 2]))
        tokens = _between(rng, size.steps) * quantum
        if quantum > 1 and rng.random() < 0.4:
            tokens -= int(rng.integers(1, quantum))
        if size.most_pages is None or -(-tokens // page) <= size.most_pages:
            return quantum, page, tokens


def _limits(rng: np.random.Generator, quantum: int, tokens: int, chunks: int) -> dict[str, int]:
    """Now and then limits on a chunk's length; some leave no partition at all."""
    limits = {}
    if rng.random() < 0.12:
        limits["min_length"] = int(rng.integers(1, 2 * quantum + 1))
    if rng.random() < 0.15:
        limits["max_length"] = max(quantum, -(-tokens // chunks)) + int(rng.integers(0, quantum + 1))
    return limits


def _with_network(rng: np.random.Generator, tables: Tables) -> tuple[Tables, Network]:
    """Dies, links and routes; sends follow from them."""
    # Rates at which moving a page takes about as long as computing it.
    rate = AMPLE if rng.random() < 0.2 else int(rng.integers(1, 4))
    network = random_network(
        rng,
        tables.stages,
        rate=rate,
        slow=float(rng.choice([0.0, 0.3])),
        dead=float(rng.choice([0.0, 0.35])),
        hop=int(rng.integers(0, 4)),
        wide=float(rng.choice([0.0, 0.5])),
    )
    send = np.zeros_like(tables.send)
    for i in range(tables.stages - 1):
        capacity = network.link_rate * network.share_denominator
        bits = tables.activation_bytes[i] * network.share[:, i, i + 1, None, None] * tables.lengths[None]
        send[i] = network.hop_ticks[i, i + 1] - (-bits // capacity[:, None, None]).min(axis=0, initial=0)
    send[:, :, 0] = 0
    changed = replace(
        tables,
        send=send,
        links=network.links,
        link_rate=network.link_rate,
        share_denominator=network.share_denominator,
        share=network.share,
        hop_ticks=network.hop_ticks,
    )
    return changed, network


def _with_ports(rng: np.random.Generator, tables: Tables, token_bytes: list[int]) -> Tables:
    """Memory ports; the memory side of the roofline is the stage's own traffic over its port."""
    if rng.random() < 0.25:
        return tables
    rate = rng.integers(1, 9, tables.stages)
    weights = rng.integers(0, 60, tables.stages)
    context = np.array(token_bytes)[:, None] * (tables.prefix + tables.grid)[None]
    traffic = weights[:, None] + context
    return replace(tables, port_rate=rate, own_traffic=traffic, memory_side=-(-traffic // rate[:, None]))


def _with_memory(rng: np.random.Generator, tables: Tables) -> Tables:
    """Capacities around what a whole request needs: ample, lopsided, scarce or hopeless."""
    stages, kv = tables.stages, tables.page_bytes * tables.pages[-1]
    depth = [1, 2, None][_pick(rng, (0.4, 0.3, 0.3))]
    working = rng.integers(0, 3, stages) if rng.random() < 0.6 else np.zeros(stages, dtype=np.int64)
    static, staging = rng.integers(0, 40, stages), rng.integers(0, 10, stages)
    tables = replace(tables, queue_depth=depth, working_bytes=working, static=static, staging=staging)
    typical = -(-tables.tokens // tables.max_chunks)
    needed = static + tables.reserve(typical) + tables.prefix_bytes
    match _pick(rng, (0.22, 0.36, 0.23, 0.19)):
        case 0:
            part = rng.uniform(1.0, 1.6, stages)
        case 1:
            part = rng.uniform(1.1, 1.9, stages)
            part[rng.integers(stages)] = rng.uniform(0.2, 0.9)
        case 2:
            part = rng.uniform(0.7, 1.1, stages)
        case _:
            part = rng.uniform(0.2, 0.7, stages)
    return replace(tables, capacity=needed + np.ceil(part * kv).astype(np.int64))


def _between(rng: np.random.Generator, limits: tuple[int, int]) -> int:
    return int(rng.integers(limits[0], limits[1] + 1))


def _pick(rng: np.random.Generator, chances: tuple[float, ...]) -> int:
    return int(rng.choice(len(chances), p=chances))


# --- what an instance turns on -----------------------------------------------------------------


@dataclass(frozen=True)
class Traits:
    """What the lockstep optimum of an instance turns on.

    Attributes
    ----------
    optimum : Optimum or None
        None: infeasible.
    needs_remote : bool
        With all KV at home there is no plan, or only dearer ones.
    contended : bool
        With links and ports of unlimited rate (sends and chunk times unchanged) it would be lower.
    fewer_chunks : bool
        The optimal plan found has fewer than M chunks.
    drawn : frozenset of str
        Traits that the instance was drawn with, from its name.
    """

    optimum: Optimum | None
    needs_remote: bool
    contended: bool
    fewer_chunks: bool
    drawn: frozenset[str]


def classify(tables: Tables) -> Traits:
    """Ask brute force; up to three runs of it."""
    drawn = frozenset(tables.name.split(", ")[1:])
    best = brute_force(tables)
    if best is None:
        return Traits(None, False, False, False, drawn)
    local = local_optimum(tables)
    unlimited = brute_force(with_unlimited_rates(tables))
    assert unlimited is not None
    return Traits(
        best,
        needs_remote=local is None or local.value > best.value,
        contended=unlimited.value < best.value,
        fewer_chunks=best.plan.chunks < tables.max_chunks,
        drawn=drawn,
    )


def with_unlimited_rates(tables: Tables) -> Tables:
    """Links and ports that never bind; what is tabulated stays as it is."""
    return replace(
        tables,
        link_rate=np.full_like(tables.link_rate, AMPLE),
        port_rate=np.full_like(tables.port_rate, AMPLE),
    )
