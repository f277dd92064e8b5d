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
        Each stage's dies in path order, which is also the order of its tensor-parallel ranks.

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
            raise InputError([_no_room(stage, sizes, len(path))])
        stages.append(path[start : start + size])
        start += size
    return tuple(stages)


def place_explicitly(
    topology: Topology, placement: Sequence[Sequence[Sequence[int]]], sizes: Sequence[int]
) -> tuple[tuple[Die, ...], ...]:
    """Check a placement given die by die.

    Parameters
    ----------
    topology : Topology
    placement : sequence of sequence of (row, column)
        Dies of each stage, in the order of the tensor-parallel ranks.
    sizes : sequence of int
        Dies each stage is said to have.

    Raises
    ------
    InputError
        Listing every stage with the wrong number of dies, dies that are dead or off the wafer,
        dies given twice, and stages that are not one piece.
    """
    stages = tuple(tuple((int(die[0]), int(die[1])) for die in dies) for dies in placement)
    problems: list[Problem] = []
    if len(stages) != len(sizes):
        problems.append(
            Problem("pipeline.placement", f"{len(stages)}", f"dies of {len(sizes)} stages", "list each stage")
        )
    living, owner = set(topology.dies), dict[Die, int]()
    for stage, dies in enumerate(stages):
        path = f"pipeline.placement[{stage}]"
        if stage < len(sizes) and len(dies) != sizes[stage]:
            expected = f"{sizes[stage]} dies, as pipeline.dies_per_stage says"
            problems.append(Problem(path, f"{len(dies)}", expected, "change either"))
        for die in dies:
            if die not in living:
                remedy = "choose another die, or revive it"
                problems.append(Problem(path, node_name(die), "a living die of the wafer", remedy))
            elif die in owner:
                found = f"{node_name(die)}, which stage {owner[die]} has"
                problems.append(Problem(path, found, "dies of its own", "give each die to one stage"))
            owner.setdefault(die, stage)
        if dies and set(dies) <= living and not topology.connected(dies):
            found = " ".join(node_name(die) for die in dies)
            remedy = "choose dies that living links join without leaving the stage"
            problems.append(Problem(path, found, "a connected set of dies", remedy))
    if problems:
        raise InputError(problems)
    return stages


def balanced_layers(layers: int, stages: int) -> tuple[int, ...]:
    """Spread layers evenly; the remainder goes one each to the middle stages.

    The first stage also holds the embedding and the last the output head, so they come last in
    line: with ``r`` layers over, stages ``(N - r) // 2`` to ``(N - r) // 2 + r - 1`` get one more.

    Raises
    ------
    InputError
        If there are fewer layers than stages.
    """
    if layers < stages:
        remedy = f"use at most {layers} stages"
        raise InputError(
            [Problem("pipeline.stages", str(stages), f"<= {layers} layers of the model", remedy)]
        )
    each, over = divmod(layers, stages)
    first = (stages - over) // 2
    return tuple(each + (first <= stage < first + over) for stage in range(stages))


def _no_room(stage: int, sizes: Sequence[int], living: int) -> Problem:
    wanted = sum(sizes)
    if wanted > living:
        expected = f"at most {living} dies, as many as are alive"
        remedy = "use fewer stages or fewer dies per stage"
        return Problem("pipeline.dies_per_stage", f"{wanted} dies in all", expected, remedy)
    return Problem(
        "pipeline.placement",
        f"no connected run of {sizes[stage]} living dies left for stage {stage}",
        f"room for {len(sizes)} stages on the boustrophedon path",
        "use fewer stages, fewer dies per stage, or list the dies of every stage in pipeline.placement",
    )
