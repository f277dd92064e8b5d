"""Local search on sequences of requests: one thing changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mocap_opt.arrays import IntArray
from mocap_opt.search.stream_candidate import Candidate, Pricer
from mocap_opt.search.stream_divisions import Options

MOVES_OF_ORDER = 0.5
"""Part of the moves that change the order, where it is free."""

NEAR = 4
"""Places by which half of these move a request at most."""

PERTURBED = 4
"""Moves of a perturbation, at most, per unit of strength."""

TRIES = 20
"""Random moves tried for each move of a perturbation until one is feasible."""


def lockstep_rank(candidate: Candidate) -> tuple[int, int]:
    """Rank of a sequence in lockstep.

    Parameters
    ----------
    candidate : Candidate
    """
    return candidate.rank


@dataclass(frozen=True, eq=False)
class Moves:
    """What may be changed of the sequences of a stream.

    Attributes
    ----------
    pricer : Pricer
    options : sequence of Options
        Divisions of every request, by its number in the stream.
    order_given : bool
    rng : numpy.random.Generator
    """

    pricer: Pricer
    options: Sequence[Options]
    order_given: bool
    rng: np.random.Generator

    def improve(
        self, start: Candidate, over: Callable[[], bool], rank: Callable[[Candidate], Any] = lockstep_rank
    ) -> Candidate:
        """Local search: make one random move at a time and keep what is no worse.

        Parameters
        ----------
        start : Candidate
        over : callable
            Checked between moves.
        rank : callable
            What makes one better than another, by default in lockstep.

        Returns
        -------
        Candidate
            Never of a worse rank; after 20 R + 40 moves without success.
        """
        best, misses, patience = start, 0, 20 * len(start.order) + 40
        least = rank(best)
        while misses < patience and not over():
            made = self._moved(best)
            if made is None or (found := rank(made)) > least:
                misses += 1
                continue
            # Equal ranks are taken, to cross plateaus, but count as misses.
            misses = 0 if found < least else misses + 1
            best, least = made, found
        return best

    def perturb(self, start: Candidate, strength: int = 1) -> Candidate:
        """Perturb a sequence by 2 to `PERTURBED` x strength random feasible moves, whatever they cost.

        Parameters
        ----------
        start : Candidate
        strength : int
            From 1 on.
        """
        perturbed = start
        for _ in range(int(self.rng.integers(2, strength * PERTURBED + 1))):
            made = (self._moved(perturbed) for _ in range(TRIES))
            perturbed = next((candidate for candidate in made if candidate is not None), perturbed)
        return perturbed

    def _moved(self, best: Candidate) -> Candidate | None:
        free = not self.order_given and len(best.order) > 1
        return self._reordered(best) if free and self.rng.random() < MOVES_OF_ORDER else self._divided(best)

    def _reordered(self, best: Candidate) -> Candidate | None:
        """Two requests swapped, or one taken out and put in elsewhere; near places are tried more often."""
        rng, count = self.rng, len(best.order)
        at = int(rng.integers(count))
        far = (
            int(rng.integers(1, count)) if rng.random() < 0.5 else int(rng.integers(1, min(count, NEAR + 1)))
        )
        to = (at + far) % count if rng.random() < 0.5 else (at - far) % count
        turns = list(zip(best.order, best.indices, best.kept, strict=True))
        if rng.random() < 0.5:
            turns[at], turns[to] = turns[to], turns[at]
        else:
            turns.insert(to, turns.pop(at))
        order, cuts, kept = zip(*turns, strict=True)
        return self.pricer.candidate(order, cuts, kept)

    def _divided(self, best: Candidate) -> Candidate | None:
        """Another division of one request, or one of its boundaries moved."""
        rng, at = self.rng, int(self.rng.integers(len(best.order)))
        cuts, kept = list(best.indices), list(best.kept)
        if rng.random() < 0.5 or cuts[at].size <= 2:
            others = self.options[best.order[at]]
            cut: IntArray | None = others[int(rng.integers(len(others)))].indices
        else:
            cut = self._shifted(best.order[at], cuts[at])
        if cut is None or np.array_equal(cut, cuts[at]):
            return None
        cuts[at], kept[at] = cut, None
        return self.pricer.candidate(best.order, cuts, kept)

    def _shifted(self, request: int, cut: IntArray) -> IntArray | None:
        """One boundary moved; None if chunks then break a limit."""
        moved = cut.copy()
        moved[int(self.rng.integers(1, moved.size - 1))] += int(self.rng.choice([-4, -2, -1, 1, 2, 4]))
        lengths = np.diff(moved)
        if lengths.min() < 1:
            return None
        tail = np.zeros(lengths.size, dtype=np.int64)
        tail[-1] = 1
        allowed = self.pricer.requests[request].tables.length_allowed[tail, lengths].all()
        return moved if allowed else None
