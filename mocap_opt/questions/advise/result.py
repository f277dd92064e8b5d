"""What comes of asking: the engine's setting, its best one, the best list, and how good any could be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mocap_opt.baselines.engine_chunks import Setting
from mocap_opt.instance import Instance
from mocap_opt.questions.advise.engines import FIXED, Engine
from mocap_opt.schedule.plan import Plan
from mocap_opt.solving.solution import Solution
from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

WORTH = 1e-3
"""Part of the latency below which one way of cutting counts as no faster than another."""


@dataclass(frozen=True)
class Tried:
    """A way of cutting the prompt.

    Attributes
    ----------
    name : str
        What it stands for, as ``"given"``.
    rule : str or None
        One of the rules of engines; None for the list that a search found.
    setting : Setting or None
    plan : Plan or None
    latency_s, gap : float or None
        Replayed latency, and the part of it that is above the proved bound; None without a plan.
    reason : str
        Why there is no plan.
    """

    name: str
    rule: str | None
    setting: Setting | None
    plan: Plan | None
    latency_s: float | None
    gap: float | None
    reason: str = ""

    @property
    def lengths(self) -> list[int]:
        """Tokens of the chunks; empty without a plan."""
        return [] if self.plan is None else [int(each) for each in np.diff(self.plan.boundaries)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "name": self.name,
            "rule": self.rule,
            "base": None if self.setting is None else self.setting.base,
            "smoothing": None if self.setting is None else self.setting.smoothing,
            "latency_s": self.latency_s,
            "gap": self.gap,
            "chunks": len(self.lengths) or None,
            "lengths": self.lengths,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Advice:
    """Advice on an engine's setting.

    Attributes
    ----------
    engine : Engine
    form : str
        Of the log.
    notes : tuple of str
        What was read, left out, fitted and assumed.
    instance : Instance
        What was solved: the log's times on so many stages.
    solution : Solution
        The search's answer: the best list, the bound.
    tried : tuple of Tried
        ``given``, ``same-size``, ``best-setting``, ``best-size`` and ``best-list``, each once if it differs.

    Examples
    --------
    >>> import mocap_opt
    >>> log = "instances/measured/llama-3.1-8b-rtxpro6000-vllm-tp1.csv"
    >>> advice = mocap_opt.advise(log, "vllm", 8, 16384, quantum=1024)
    >>> [tried.name for tried in advice.tried]
    ['given', 'best-size', 'best-list']
    >>> print(*advice.sentences())
    Set --enable-chunked-prefill --max-num-batched-tokens 1024, which saves 0.05387 s (23.45 %).
    """

    engine: Engine
    form: str
    notes: tuple[str, ...]
    instance: Instance
    solution: Solution
    tried: tuple[Tried, ...]

    def named(self, name: str) -> Tried | None:
        """One way of cutting by name; None if it is not among them."""
        return next((each for each in self.tried if each.name == name), None)

    @property
    def given(self) -> Tried:
        """The setting asked about, or the engine's usual one."""
        return self.tried[0]

    @property
    def lower_bound_s(self) -> float | None:
        """Seconds below which no plan on the grid comes."""
        return self.solution.report.lower_bound_s

    @property
    def best(self) -> Tried | None:
        """The fastest that the engine can be set to: its own rule, or chunks of one size."""
        able = [each for each in self.tried if each.rule is not None and each.latency_s is not None]
        return min(able, key=lambda each: (each.latency_s or 0.0, each.rule != FIXED), default=None)

    @property
    def best_list(self) -> Tried | None:
        """The fastest of all."""
        known = [each for each in self.tried if each.latency_s is not None]
        return min(known, key=lambda each: each.latency_s or 0.0, default=None)

    @property
    def flags(self) -> tuple[str, ...]:
        """Options that set the engine to `best`; empty where nothing has a plan."""
        best = self.best
        if best is None or best.rule is None or best.setting is None:
            return ()
        return self.engine.flags(best.rule, best.setting)

    def saved(self, by: Tried | None) -> tuple[float, float] | None:
        """Seconds that another way saves over the given one, and the part of its latency; None if unknown."""
        given = self.given.latency_s
        if by is None or by.latency_s is None or given is None:
            return None
        return given - by.latency_s, 1 - by.latency_s / given

    def sentences(self) -> Iterator[str]:
        """What to do, in words."""
        given, same, best = self.given, self.named("same-size"), self.best
        if given.latency_s is None:
            yield f"{setting_text(given, self.engine)} has no plan: {given.reason}."
        elif same is not None and same.latency_s is not None and given.rule != FIXED:
            more = given.latency_s / same.latency_s - 1
            base = given.setting.base if given.setting is not None else 0
            if more > WORTH:
                yield (
                    f"Dynamic chunking at a base of {base} is {format_percent(more)} slower than equal "
                    f"chunks of {base} tokens: {given.latency_s:.4g} s against {same.latency_s:.4g} s."
                )
            else:
                yield (
                    f"Dynamic chunking at a base of {base} takes {given.latency_s:.4g} s, equal chunks of "
                    f"{base} tokens {same.latency_s:.4g} s."
                )
        saved = self.saved(best)
        if best is not None and (saved is None or saved[1] > WORTH):
            gain = "" if saved is None else f", which saves {saved[0]:.4g} s ({format_percent(saved[1])})"
            yield f"Set {' '.join(self.flags)}{gain}."
        elif best is not None:
            yield "No other setting of this engine saves a thousandth."
        longest = self.instance.chunking.longest
        edge = longest is not None and longest < self.instance.workload.tokens
        if edge and best is not None and best.setting is not None and best.setting.base == longest:
            yield f"{longest} tokens are the longest chunk there are times for; longer ones may do better."
        saved, all_ = self.saved(self.best_list), self.best_list
        if all_ is not None and saved is not None and all_.rule is None:
            yield (
                f"The best list of chunks would save {saved[0]:.4g} s ({format_percent(saved[1])}); the "
                "engine cannot be given one by its options."
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        report, best = self.solution.report, self.best
        saved = {}
        for name, each in (("best", best), ("best_list", self.best_list)):
            by = self.saved(each)
            saved[name] = None if by is None else {"seconds": by[0], "part": by[1]}
        return {
            "engine": self.engine.name,
            "form": self.form,
            "stages": self.instance.pipeline.stages,
            "tokens": self.instance.workload.tokens,
            "quantum": self.instance.chunking.quantum,
            "tried": [each.to_dict() for each in self.tried],
            "best": None if best is None else best.name,
            "flags": list(self.flags),
            "saved": saved,
            "lower_bound_s": report.lower_bound_s,
            "bound_name": report.bound_name,
            "bound_evidence": report.bound_evidence,
            "status": report.status.value,
            "advice": list(self.sentences()),
            "notes": list(self.notes),
            "fingerprint": self.instance.fingerprint,
            "runtime_s": report.runtime_s,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row for each way of cutting."""
        import pandas as pd  # noqa: PLC0415 - slow to load

        return pd.DataFrame([each.to_dict() for each in self.tried])

    def __str__(self) -> str:
        """Return settings, latencies and gaps, then what to do."""
        lines = [f"{self.engine.title}, {self.instance.pipeline.stages} stages, {self._tokens} tokens"]
        for each in self.tried:
            latency = "no plan" if each.latency_s is None else f"{each.latency_s:.6g} s"
            gap = f"gap {format_percent(each.gap)}" if each.gap is not None else ""
            many = f"{len(each.lengths)} chunks" if each.lengths else ""
            what = f"  {TITLES[each.name]:<14}{setting_text(each, self.engine):<42}"
            lines.append(f"{what}{latency:>12}  {gap:<13}{many}".rstrip())
        bound = "unknown" if self.lower_bound_s is None else f"{self.lower_bound_s:.6g} s"
        lines.append(f"  proved: no list of chunks takes less than {bound}")
        return "\n".join([*lines, *self.sentences()])

    @property
    def _tokens(self) -> str:
        return f"{self.instance.workload.tokens:,}"


TITLES = {
    "given": "given",
    "same-size": "same size",
    "best-setting": "best setting",
    "best-size": "best size",
    "best-list": "best list",
}


def setting_text(tried: Tried, engine: Engine) -> str:
    """Say a way of cutting in words.

    Parameters
    ----------
    tried : Tried
    engine : Engine
    """
    if tried.setting is None or tried.rule is None:
        return "any list of chunks"
    if tried.rule == FIXED:
        return f"chunks of {tried.setting.base} tokens"
    smoothing = engine.engine_rule.smoothed(tried.setting)
    return f"dynamic, base {tried.setting.base}, smoothing {smoothing:g}"
