"""Heuristics that cannot run, or fail, have no plan and say why."""

from __future__ import annotations

from mocap_opt import failures
from mocap_opt.errors import MocapError
from mocap_opt.homes.proposal import Proposal, Propose
from mocap_opt.memory_budget import OverBudgetError
from mocap_opt.stopping import AskedToStop, never
from mocap_opt.tables.cost_tables import Tables


def guarded(propose: Propose) -> Propose:
    """Wrap a heuristic: what would outgrow the memory budget, or fails, is "no plan, because".

    Errors that this package raises on purpose (a solver cannot be loaded) are for the caller, and in tests
    unexpected ones too (`mocap_opt.failures`).
    """

    def ask(tables: Tables, asked_to_stop: AskedToStop = never) -> Proposal:
        try:
            return propose(tables, asked_to_stop)
        except OverBudgetError as error:
            return Proposal(None, str(error))
        except (MocapError, AssertionError):
            raise
        except Exception as error:
            if failures.surface:
                raise
            return Proposal(None, f"failed: {failures.described(error)}")

    return ask
