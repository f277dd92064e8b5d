"""A path through the living dies that skips as few as possible, and stages as runs along it.

Such a path is Hamiltonian where there is one.  Dies of a mesh are coloured like a chess board and steps
change the colour, so where dead dies leave the colours unequal by more than one, some die is skipped.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from mocap_opt.errors import InputError, Problem, SolverUnavailableError
from mocap_opt.stopping import signals_wait
from mocap_opt.wafer.placement import place_on_snake, snake
from mocap_opt.wafer.topology import Die, Topology

EFFORT = 2.0
"""Deterministic time CP-SAT may spend on a path: 0.01 is enough for a wafer of 56 dies."""


@dataclass(frozen=True)
class DiePath:
    """A path through living dies.

    Attributes
    ----------
    dies : tuple of Die
        Each is linked with the next.
    most : int
        No path has more dies than this.
    """

    dies: tuple[Die, ...]
    most: int


@cache
def longest_path(topology: Topology, seed: int = 0) -> DiePath:
    """Find a path through as many living dies as possible.

    That is the boustrophedon path where nothing dead interrupts it, and any order of the dies of a
    switch; else a longest circuit through one further node, which stands before the first and behind
    the last die, found by CP-SAT.

    Parameters
    ----------
    topology : Topology
    seed : int
        Others than 0 look for other paths; each is the same on every run.

    Returns
    -------
    DiePath
        From the end that comes first row by row.

    Raises
    ------
    SolverUnavailableError
        If CP-SAT is needed and cannot be loaded.
    """
    plain = snake(topology)
    if topology.kind == "switch" or (not seed and _longest_run(topology, plain) == plain):
        return DiePath(plain, len(plain))
    return _circuit(topology, seed)


def place_on_path(topology: Topology, sizes: Sequence[int]) -> tuple[tuple[Die, ...], ...]:
    """Give each stage the next dies on the longest path.

    Parameters
    ----------
    topology : Topology
    sizes : sequence of int
        Dies of each stage.

    Returns
    -------
    tuple of tuple of Die
        Each stage's dies row by row, as on the boustrophedon path.

    Raises
    ------
    InputError
        If the path has fewer dies than the stages want.
    """
    path = longest_path(topology)
    if sum(sizes) > len(path.dies):
        raise InputError([_too_short(path, topology, sizes)])
    return runs_along(path.dies, sizes)


def runs_along(path: Sequence[Die], sizes: Sequence[int]) -> tuple[tuple[Die, ...], ...]:
    """Cut consecutive runs off a path; the dies of each are listed row by row.

    Parameters
    ----------
    path : sequence of Die
        At least as long as the runs together.
    sizes : sequence of int
        Dies of each run.
    """
    left = iter(path)
    return tuple(tuple(sorted(next(left) for _ in range(size))) for size in sizes)


PLACEMENTS: Mapping[str, Callable[[Topology, Sequence[int]], tuple[tuple[Die, ...], ...]]] = {
    "boustrophedon": place_on_snake,
    "path": place_on_path,
}
"""Rules that lay stages of given sizes out, by their names in ``pipeline.placement``."""


def _longest_run(topology: Topology, path: Sequence[Die]) -> tuple[Die, ...]:
    """The longest piece of a sequence of dies in which each is linked with the next."""
    starts = [0, *(n for n, hop in enumerate(pairwise(path), 1) if hop not in topology.link_index), len(path)]
    start, end = max(pairwise(starts), key=lambda piece: piece[1] - piece[0])
    return tuple(path[start:end])


def _circuit(topology: Topology, seed: int) -> DiePath:
    """Solve for the path: every die is on the circuit or a loop of its own."""
    try:
        with signals_wait():
            from ortools.sat.python import cp_model  # noqa: PLC0415 - only wafers with dead parts need it
    except ImportError as error:
        raise SolverUnavailableError(f'pipeline.placement "path" needs ortools: {error}') from error
    dies = list(topology.dies)
    if seed:
        random.Random(seed).shuffle(dies)
    node = {die: n for n, die in enumerate(dies, 1)}
    hops = [(node[die], node[other]) for die in dies for other in topology.successors[die] if other]
    ends = [hop for n in node.values() for hop in ((0, n), (n, 0), (n, n))]
    model = cp_model.CpModel()
    taken = {hop: model.new_bool_var(f"{hop[0]}>{hop[1]}") for hop in hops + ends}
    model.add_circuit([(*hop, literal) for hop, literal in taken.items()])
    model.minimize(sum(taken[n, n] for n in node.values()))
    start = _longest_run(topology, snake(topology))
    stops = [0, *(node[die] for die in start), 0]
    known = {*pairwise(stops), *((n, n) for n in node.values() if n not in stops)}
    for hop, literal in taken.items():
        model.add_hint(literal, hop in known)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = EFFORT
    solver.parameters.catch_sigint_signal = False
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return DiePath(start, len(dies))
    after = {a: b for (a, b), literal in taken.items() if solver.value(literal) and a != b}
    found, here = [], after[0]
    while here:
        found.append(dies[here - 1])
        here = after[here]
    # The bound is whole; what floats add to it is taken off before it is rounded up.
    fewest = max(0, -int(-(solver.best_objective_bound - 1e-6) // 1))
    return DiePath(tuple(min(found, found[::-1])), len(dies) - fewest)


def _too_short(path: DiePath, topology: Topology, sizes: Sequence[int]) -> Problem:
    proved = "the longest" if len(path.dies) == path.most else "the longest found"
    return Problem(
        "pipeline.placement",
        f"{sum(sizes)} dies for {len(sizes)} stages, and a path through {len(path.dies)} of "
        f"{len(topology.dies)} living dies ({proved})",
        "no more dies than the path has",
        "use fewer stages, fewer dies per stage, or list the dies of every stage in pipeline.placement",
    )
