"""Rules of serving engines, whose one setting is a base chunk size: given, or the best one."""

from __future__ import annotations

from collections.abc import Callable

from mocap_opt.arrays import IntArray
from mocap_opt.baselines.compose import compose
from mocap_opt.errors import InputError, Problem
from mocap_opt.homes.proposal import HomeRule, Method, Proposal
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables

SEPARATOR = ":"
"""Between a rule and its base size in the name of a method, as in ``sglang-dynamic:8192``."""

EngineRule = Callable[[Tables, int], IntArray | None]
"""From the tables and a base size in tokens to boundaries as grid indices; None if limits are missed."""


class NoFitError(ValueError):
    """The engine's fit fails on these times; the message says why."""


def base_candidates(tables: Tables) -> list[int]:
    """Base sizes that are tried where none is given: S / m tokens, rounded up, for every count m."""
    return list(dict.fromkeys(-(-tables.tokens // count) for count in range(1, tables.max_chunks + 1)))


def engine_method(
    name: str, summary: str, rule: EngineRule, homes: HomeRule, base: int | None = None
) -> Method:
    """Make a method of an engine's rule.

    Parameters
    ----------
    name, summary : str
    rule : callable
    homes : callable
        Where KV lives.
    base : int, optional
        Tokens; the best of `base_candidates` by default.

    Returns
    -------
    Method
        Its proposals note the base size, and why other bases have no fit where none has one.
    """

    def propose(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        bases: dict[tuple[int, ...], int] = {}
        unfit: list[str] = []

        def candidates(tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
            found = []
            for size in base_candidates(tables) if base is None else [base]:
                stop_if(asked_to_stop)
                try:
                    indices = rule(tables, size)
                except NoFitError as error:
                    unfit.append(str(error))
                    continue
                if indices is not None:
                    # Of bases with the same chunks the largest is named.
                    bases.setdefault(tuple(tables.grid[indices].tolist()), size)
                    found.append(indices)
            return found

        proposal = compose(candidates, homes)(tables, asked_to_stop)
        if proposal.plan is None:
            return Proposal(None, unfit[0] if unfit and not bases else proposal.reason, proposal.notes)
        size = bases[proposal.plan.boundaries]
        chosen = "given" if base is not None else f"the best of {len(base_candidates(tables))}"
        return Proposal(proposal.plan, notes=(*proposal.notes, f"{name}: base size {size} tokens, {chosen}"))

    return Method(name, summary, propose)


def split_base(name: str) -> tuple[str, str | None]:
    """Split the name of a method into the rule and what stands behind the separator, None without one."""
    rule, separator, base = name.partition(SEPARATOR)
    return rule, base if separator else None


def read_base(name: str, base: str) -> int:
    """Read a base size.

    Parameters
    ----------
    name : str
        Of the whole method, for messages.
    base : str

    Raises
    ------
    InputError
        If it is no whole number of tokens from 1 to 10^9.
    """
    if not (base.isascii() and base.isdigit() and 1 <= int(base[:12]) <= 10**9):
        raise InputError(
            [Problem("method", repr(name), "a base size in tokens, such as sglang-dynamic:8192")]
        )
    return int(base)
