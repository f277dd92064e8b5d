"""Why a plan takes as long as it does, what would make it faster, and why the bound stops where it does."""

from __future__ import annotations

from mocap_opt.questions.explain.question import explain
from mocap_opt.questions.explain.result import Explanation

__all__ = ["Explanation", "explain"]
