"""What an explanation says, in sections that a terminal, a notebook and JSON show alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mocap_opt.questions.explain.binding import IDLE, Binding
from mocap_opt.questions.explain.losses import ToldBound
from mocap_opt.questions.explain.worth import Worth
from mocap_opt.replay.activity import Activity
from mocap_opt.units import decimal_bytes, format_chunks, format_percent
from mocap_opt.units import format_seconds_aligned as seconds

if TYPE_CHECKING:
    from mocap_opt.solving.solution import Solution

WIDTH = 80
MOST_SHARES, MOST_STAGES = 8, 12
"""Rows that are shown of the chain's causes, and of the stages: those that matter most."""

SHORT = {
    Activity.COMPUTE.value: "computing",
    Activity.KV.value: "KV",
    Activity.SEND.value: "sending",
    Activity.ACTIVATIONS.value: "activations",
    Activity.QUEUE.value: "queue",
    Activity.ADMISSION.value: "admission",
    Activity.BARRIER.value: "barrier",
    IDLE: "idle",
}
"""Columns of what stages do."""


@dataclass(frozen=True)
class Part:
    """A section of text.

    Attributes
    ----------
    title : str
    headers : tuple of str
        Of the table; empty where there is none.
    rows : tuple of tuple of str
    lines : tuple of str
        Sentences below the table.
    """

    title: str
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a plan takes as long as it does, what would help, and why the bound stops where it does.

    Attributes
    ----------
    solution : Solution
        That is explained.
    binding : Binding or None
        What its run uses up; None without a plan.
    paid : tuple of (str, Fraction)
        What the plan pays as rules are added one by one, ticks.
    bounds : tuple of ToldBound
        Weakest first.
    sentences : tuple of str
        On the gap.
    worths : tuple of Worth
        What changes would bring.
    notes : tuple of str

    Examples
    --------
    >>> import mocap_opt
    >>> solution = mocap_opt.solve(mocap_opt.load_instance("instances/tiny-slow-link.json"))
    >>> found = mocap_opt.explain(solution, each_s=0)
    >>> found.to_dict()["fullest_memory"]["held"]
    41
    """

    solution: Solution
    binding: Binding | None = None
    paid: tuple[tuple[str, Fraction], ...] = ()
    bounds: tuple[ToldBound, ...] = ()
    sentences: tuple[str, ...] = ()
    worths: tuple[Worth, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def parts(self) -> list[Part]:
        """The sections in order."""
        if self.binding is None:
            reason = self.solution.report.reason or "no plan is known"
            title = f"{self.solution.report.instance}: no plan to explain"
            return [Part(title, lines=(reason, *self.solution.report.violations, *self.notes))]
        found = [self._head(), self._chain(), self._stages(), self._paid(), self._bounds()]
        if self.worths:
            found.append(self._worths())
        return found

    def _seconds(self, ticks: Fraction) -> str:
        return seconds(self.solution.tables.seconds(ticks))

    def _share(self, ticks: Fraction) -> str:
        assert self.binding is not None
        return format_percent(float(ticks / self.binding.latency)) if self.binding.latency else "-"

    def _head(self) -> Part:
        report, held = self.solution.report, self.binding
        assert held is not None
        memory = held.memory
        rows = [("latency", f"{self._seconds(held.latency)}, {held.execution.value}")]
        if report.lower_bound_s is not None:
            rows.append(("bound", f"{seconds(report.lower_bound_s)}: gap {format_percent(report.gap)}"))
        count = len(report.boundaries or [0]) - 1
        rows.append((f"{count} chunk{'s' if count != 1 else ''}", format_chunks(report.boundaries or [])))
        contents = (
            ("weights", memory.weights),
            ("reserve", memory.reserve),
            ("cached prefix", memory.prefix),
            ("KV of its stage", memory.own_kv),
            ("KV of others", memory.hosted_kv),
        )
        listed = ", ".join(f"{name} {decimal_bytes(size)}" for name, size in contents if size)
        full = format_percent(memory.held / max(memory.capacity, 1))
        rows.append(("fullest memory", f"{memory.memory} in slot {memory.slot}: {full} ({listed})"))
        for name, most in (("busiest link", held.link), ("busiest port", held.port)):
            said = (
                "nothing is moved"
                if most is None
                else f"{most[0]}: {format_percent(most[1])} of its capacity"
            )
            rows.append((name, said))
        return Part(report.instance, rows=tuple(rows), lines=self.notes)

    def _chain(self) -> Part:
        assert self.binding is not None
        shares = self.binding.path.shares()
        rows = [
            (cause.value, where or "-", self._seconds(ticks), self._share(ticks))
            for cause, where, ticks in shares[:MOST_SHARES]
        ]
        if rest := sum((ticks for *_, ticks in shares[MOST_SHARES:]), Fraction(0)):
            rows.append(("others", "-", self._seconds(rest), self._share(rest)))
        turns = [turn for turn, *_ in self.binding.path.turns]
        lines = [
            f"{turns.count(turn)} times on that chain a chunk waits for {turn.value}."
            for turn in dict.fromkeys(turns)
        ]
        return Part(
            "What makes the latency: a longest chain",
            ("cause", "where", "time", "share"),
            tuple(rows),
            tuple(lines),
        )

    def _stages(self) -> Part:
        assert self.binding is not None
        stages = self.binding.stages
        used = [name for name in SHORT if any(account[name] for account in stages)]
        order = sorted(range(len(stages)), key=lambda i: (-stages[i][Activity.COMPUTE.value], i))
        shown = sorted(order[:MOST_STAGES])
        rows = tuple((str(i), *(self._share(stages[i][name]) for name in used)) for i in shown)
        left = len(stages) - len(shown)
        lines = (f"{left} more stages compute less than these.",) if left else ()
        return Part("What stages do", ("stage", *(SHORT[name] for name in used)), rows, lines)

    def _paid(self) -> Part:
        rows = tuple(
            (name, self._seconds(ticks), self._share(ticks))
            for n, (name, ticks) in enumerate(self.paid)
            if ticks or not n
        )
        return Part("What the plan pays, rule by rule", ("rule", "adds", "share"), rows)

    def _bounds(self) -> Part:
        rows = tuple(
            (
                each.name + " (lockstep)" * each.lockstep_only,
                seconds(each.value_s),
                format_percent(max(each.below, 0.0)) if each.below >= 0 else "-",
                f"{each.words}; leaves out: {each.leaves_out}",
            )
            for each in self.bounds
        )
        headers = ("bound", "value", "open", "what it counts")
        return Part("Why the bound stops where it does", headers, rows, self.sentences)

    def _worths(self) -> Part:
        rows, lines = [], []
        for each in self.worths:
            if each.why_not:
                lines.append(f"{each.change.words}: {each.why_not}")
                continue
            rows.append(
                (
                    each.change.words,
                    seconds(each.value_s),
                    format_percent(each.at_least),
                    format_percent(each.at_most),
                )
            )
        lines.append(
            "Each row is the changed instance solved anew: at least is by its best plan found, at most by "
            "its own proved bound.  None is a dual."
        )
        headers = ("change", "latency", "saves at least", "at most")
        return Part("What a change would bring", headers, tuple(rows), tuple(lines))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; times in seconds."""
        report, tables = self.solution.report, self.solution.tables
        found: dict[str, Any] = {
            "instance": report.instance,
            "fingerprint": report.fingerprint,
            "status": report.status.value,
            "reason": report.reason,
            "latency_s": report.value_s,
            "execution": report.execution,
            "lower_bound_s": report.lower_bound_s,
            "gap": report.gap,
            "notes": list(self.notes),
        }
        held = self.binding
        if held is None:
            return found
        found |= {
            "critical_path": [
                {"cause": cause.value, "where": where, "seconds": tables.seconds(ticks)}
                for cause, where, ticks in held.path.shares()
            ],
            "chain": [
                {
                    "cause": leg.cause.value,
                    "where": leg.resource,
                    "stage": leg.stage,
                    "chunk": leg.chunk,
                    "start_s": tables.seconds(leg.start),
                    "end_s": tables.seconds(leg.end),
                }
                for leg in held.path.legs
            ],
            "turns": [{"for": turn.value, "stage": i, "chunk": j} for turn, i, j in held.path.turns],
            "stages": [
                {name: tables.seconds(ticks) for name, ticks in account.items()} for account in held.stages
            ],
            "fullest_memory": asdict(held.memory),
            "busiest_link": _loaded(held.link),
            "busiest_port": _loaded(held.port),
            "paid": [{"rule": name, "seconds": tables.seconds(ticks)} for name, ticks in self.paid],
            "bounds": [each.to_dict() for each in self.bounds],
            "gap_in_words": list(self.sentences),
            "changes": [each.to_dict() for each in self.worths],
        }
        return found

    def __str__(self) -> str:
        """All sections as text of 80 columns."""
        return "\n\n".join("\n".join(_text(part)) for part in self.parts)

    def __repr__(self) -> str:
        """The instance and how much is explained."""
        return f"<Explanation of {self.solution.report.instance}: {len(self.parts)} parts>"

    def _repr_html_(self) -> str:
        """The sections as tables, for notebooks."""
        found = []
        for part in self.parts:
            head = "".join(f"<th>{escape(cell)}</th>" for cell in part.headers)
            rows = "".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in part.rows
            )
            lines = "".join(f"<p>{escape(line)}</p>" for line in part.lines)
            found.append(f"<h4>{escape(part.title)}</h4><table><tr>{head}</tr>{rows}</table>{lines}")
        return "".join(found)


def _loaded(most: tuple[str, float] | None) -> dict[str, Any] | None:
    return None if most is None else {"name": most[0], "share": most[1]}


def _text(part: Part) -> list[str]:
    """A section as lines; the last cell of a row goes below it where it does not fit beside the others."""
    lines = [part.title, "-" * len(part.title)]
    rows = [row for row in (part.headers, *part.rows) if row]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) if rows else 0)]
    below = sum(widths) + 2 * len(widths) - 2 > WIDTH
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if below and len(row) == 2:
            head = cells[0] + "  "
            lines += wrap(row[1], WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
        elif below:
            lines.append("  ".join(cells[:-1]).rstrip())
            lines += wrap(row[-1], WIDTH, initial_indent="    ", subsequent_indent="    ")
        else:
            lines.append("  ".join(cells).rstrip())
    for sentence in part.lines:
        lines += wrap(sentence, WIDTH)
    return lines
