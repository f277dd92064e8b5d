"""Methods made of a boundary rule and a home rule; rules of serving engines have a base chunk size."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial

from mocap_opt import errors
from mocap_opt.arrays import IntArray
from mocap_opt.baselines.engine_chunks import SEPARATOR, EngineRule, NoFitError, Setting
from mocap_opt.errors import InputError, MocapError, Problem
from mocap_opt.homes.proposal import (
    BoundaryRule,
    HomeRule,
    Method,
    Proposal,
    Propose,
    Selection,
    best_offered,
)
from mocap_opt.memory_budget import OverBudgetError
from mocap_opt.replay.contention_free_makespan import contention_free_makespan
from mocap_opt.stopping import AskedToStop, never, stop_if
from mocap_opt.tables.cost_tables import Tables


def compose(boundaries: BoundaryRule, homes: HomeRule) -> Propose:
    """Place the KV of a rule's candidates and keep the best that is feasible.

    Candidates are tried by their estimate with all KV at home, which homes elsewhere never lower,
    so the trial ends when that estimate reaches the best plan's.  Among equals the candidate the
    rule names first wins.

    Parameters
    ----------
    boundaries : callable
        Lists the candidates.
    homes : callable
        Where the KV of one lives.
    """
    return best_offered(partial(_offer_candidates, boundaries, homes))


def _offer_candidates(
    boundaries: BoundaryRule, homes: HomeRule, selection: Selection, asked_to_stop: AskedToStop
) -> None:
    tables = selection.tables
    candidates = boundaries(tables, asked_to_stop)
    bounds: list[int] = []
    for indices in candidates:
        stop_if(asked_to_stop)
        bounds.append(contention_free_makespan(tables, indices))
    for n in sorted(range(len(candidates)), key=lambda n: (bounds[n], n)):
        if selection.best is not None and bounds[n] >= selection.best:
            break
        stop_if(asked_to_stop)
        if not selection.known(candidates[n]):
            selection.offer(candidates[n], homes(tables, candidates[n], asked_to_stop))


def guarded(propose: Propose) -> Propose:
    """Wrap a heuristic: what would outgrow the memory budget, or fails, is "no plan, because".

    Errors that this package raises on purpose (a solver cannot be loaded) are for the caller, and in tests
    unexpected ones too (`mocap_opt.errors.raise_unexpected`).
    """
    return partial(_guarded, propose)


def _guarded(propose: Propose, tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
    try:
        return propose(tables, asked_to_stop)
    except OverBudgetError as error:
        return Proposal(None, str(error))
    except (MocapError, AssertionError):
        raise
    except Exception as error:
        if errors.raise_unexpected:
            raise
        return Proposal(None, f"failed: {errors.described(error)}")


_SMOOTHING = re.compile(r"0|1|0?\.[0-9]{1,6}|1\.0{1,6}", re.ASCII)


def base_candidates(tables: Tables) -> list[int]:
    """Base sizes that are tried where none is given: S / m tokens, rounded up, for every count m."""
    return list(dict.fromkeys(-(-tables.tokens // count) for count in range(1, tables.max_chunks + 1)))


def engine_method(
    name: str, summary: str, rule: EngineRule, homes: HomeRule, setting: Setting | None = None
) -> Method:
    """Make a method of an engine's rule.

    Parameters
    ----------
    name, summary : str
    rule : EngineRule
    homes : callable
        Where KV lives.
    setting : Setting, optional
        The best of `base_candidates` by default, with the rule's own smoothing.

    Returns
    -------
    Method
        Its proposals note the base size, and why other bases have no fit where none has one.
    """
    return Method(name, summary, partial(_engine_proposal, name, rule, homes, setting))


@dataclass(frozen=True)
class _EngineCandidates:
    """The boundary rule of an engine's rule over settings, and what came of each."""

    rule: EngineRule
    settings: list[Setting]
    named: dict[tuple[int, ...], Setting] = field(default_factory=dict)
    unfit: list[str] = field(default_factory=list)

    def __call__(self, tables: Tables, asked_to_stop: AskedToStop = never) -> list[IntArray]:
        found = []
        for setting in self.settings:
            stop_if(asked_to_stop)
            try:
                indices = self.rule.boundaries(tables, setting)
            except NoFitError as error:
                self.unfit.append(str(error))
                continue
            if indices is not None:
                # Of settings with the same chunks the first is named, that with the largest base.
                self.named.setdefault(tuple(tables.grid[indices].tolist()), setting)
                found.append(indices)
        return found


def _engine_proposal(
    name: str,
    rule: EngineRule,
    homes: HomeRule,
    setting: Setting | None,
    tables: Tables,
    asked_to_stop: AskedToStop = never,
) -> Proposal:
    tried = [setting] if setting is not None else [Setting(base) for base in base_candidates(tables)]
    candidates = _EngineCandidates(rule, tried)
    proposal = compose(candidates, homes)(tables, asked_to_stop)
    if proposal.plan is None:
        no_fit = candidates.unfit and not candidates.named
        return Proposal(None, candidates.unfit[0] if no_fit else proposal.reason, proposal.notes)
    used = candidates.named[proposal.plan.boundaries]
    chosen = "given" if setting is not None else f"the best of {len(tried)}"
    smoothing = f", smoothing {rule.smoothed(used):g}" if rule.smoothing is not None else ""
    note = f"{name}: base size {used.base} tokens{smoothing}, {chosen}"
    return Proposal(proposal.plan, notes=(*proposal.notes, note))


def split_setting(name: str) -> tuple[str, str | None]:
    """Split the name of a method into the rule and what stands behind the separator, None without one."""
    rule, separator, setting = name.partition(SEPARATOR)
    return rule, setting if separator else None


def read_setting(name: str, text: str, rule: EngineRule) -> Setting:
    """Read a base size, and behind another separator a smoothing factor.

    Parameters
    ----------
    name : str
        Of the whole method, for messages.
    text : str
    rule : EngineRule

    Raises
    ------
    InputError
        If the base is no whole number of tokens from 1 to 10^9, the smoothing none from 0 to 1, or the rule
        has none.
    """
    base, separator, smoothing = text.partition(SEPARATOR)
    if not (base.isascii() and base.isdigit() and 1 <= int(base[:12]) <= 10**9):
        raise InputError(
            [Problem("method", repr(name), "a base size in tokens, such as sglang-dynamic:8192")]
        )
    if not separator:
        return Setting(int(base))
    if rule.smoothing is None:
        expected = f"a base size alone, such as {name.partition(SEPARATOR)[0]}:8192"
        raise InputError([Problem("method", repr(name), expected, "this rule has no smoothing")])
    if not _SMOOTHING.fullmatch(smoothing):
        expected = "a smoothing from 0 to 1 behind the base size, such as sglang-dynamic:8192:0.65"
        raise InputError([Problem("method", repr(name), expected)])
    return Setting(int(base), float(smoothing))
