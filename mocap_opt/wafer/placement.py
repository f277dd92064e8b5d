"""Which dies and which layers each stage owns."""

from __future__ import annotations

from collections.abc import Sequence

from mocap_opt.errors import InputError, Problem
from mocap_opt.wafer.topology import Die, Topology, node_name


def snake(topology: Topology) -> tuple[Die, ...]:
    """List the living dies on the boustrophedon path: even rows forwards, odd rows backwards."""
    return tuple(sorted(topology.dies, key=lambda die: (die[0], die[1] if die[0] % 2 == 0 else -die[1])))


def place_on_snake(topology: Topology, sizes: Sequence[int]) -> tuple[tuple[Die, ...], ...]:
    """Give each stage the next dies on the boustrophedon path.

    A stage takes the next ``sizes[i]`` consecutive living dies that form one piece; where dead
    parts break a run apart, its first die is left unused and the next run is tried.

    Parameters
    ----------
    topology : Topology
    sizes : sequence of int
        Dies of each stage.

    Returns
    -------
    tuple of tuple of Die
        Each stage's dies row by row.  That is the order of their tensor-parallel ranks too: equal
        ranks of stages above each other, or side by side, then take the same way in parallel.

    Raises
    ------
    InputError
        If the path ends before every stage has its dies.
    """
    path = snake(topology)
    start = 0
    stages: list[tuple[Die, ...]] = []
    for stage, size in enumerate(sizes):
        while start + size <= len(path) and not topology.connected(path[start : start + size]):
            start += 1
        if start + size > len(path):
            raise InputError([_no_room(stage, sizes)])
        stages.append(tuple(sorted(path[start : start + size])))
        start += size
    return tuple(stages)


def ranks(topology: Topology, dies: Sequence[Die], degree: int) -> tuple[Die, ...]:
    """Return the dies of a stage that compute; the others add memory only.

    The first die, then again and again the earliest one that a living link joins to those taken: the
    first `degree` dies where they form one piece.

    Parameters
    ----------
    topology : Topology
    dies : sequence of Die
        Of the stage, one piece.
    degree : int
        How many compute, at most ``len(dies)``.
    """
    if degree == len(dies):
        return tuple(dies)
    taken = [dies[0]]
    while len(taken) < degree:
        taken.append(next(die for die in dies if die not in taken and topology.connected((*taken, die))))
    return tuple(die for die in dies if die in taken)


def check_connected(topology: Topology, stages: Sequence[Sequence[Die]]) -> None:
    """Make sure that every stage is one piece.

    Parameters
    ----------
    topology : Topology
    stages : sequence of sequence of Die
        Dies of each stage.

    Raises
    ------
    InputError
        Listing every stage that is not.
    """
    problems = [
        Problem(
            f"pipeline.placement[{stage}]",
            " ".join(node_name(die) for die in dies),
            "a connected set of dies",
            "choose dies that living links join without leaving the stage",
        )
        for stage, dies in enumerate(stages)
        if not topology.connected(dies)
    ]
    if problems:
        raise InputError(problems)


def balanced_layers(layers: int, stages: int) -> tuple[int, ...]:
    """Spread layers evenly; the remainder goes one each to the middle stages.

    The first stage also holds the embedding and the last the output head, so they are spared: with
    ``r`` layers over, stages ``(N - r) // 2`` to ``(N - r) // 2 + r - 1`` get one more.

    Parameters
    ----------
    layers : int
    stages : int
        At most `layers`.
    """
    each, over = divmod(layers, stages)
    first = (stages - over) // 2
    return tuple(each + (first <= stage < first + over) for stage in range(stages))


def _no_room(stage: int, sizes: Sequence[int]) -> Problem:
    return Problem(
        "pipeline.placement",
        f"no connected run of {sizes[stage]} living dies left for stage {stage}",
        f"room for {len(sizes)} stages on the boustrophedon path",
        "use fewer stages, fewer dies per stage, or list the dies of every stage in pipeline.placement",
    )
