"""What readers of logs share: rows with their lines, prompts told apart, repeats and outliers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mocap_opt.errors import InputError, Problem
from mocap_opt.instance.schema import ModelSpec
from mocap_opt.instance.timings import MOST_SECONDS, MOST_STAGES, MOST_TOKENS, Timings
from mocap_opt.messages import MOST_PROBLEMS, capped

FloatArray = npt.NDArray[np.float64]

WARM_UP = 3.0
"""The first timing counts as warm-up if it takes so many times the next one, which is nearly as long."""

LONGEST_LINE = 4000
"""Characters: patterns are looked for in lines up to this, so that no file takes long to be refused."""

NEARLY = 0.8
"""Part of the first chunk's length from which on the next one is nearly as long."""


class Row(NamedTuple):
    """A timing as a log has it: line from 1, tokens, seconds, stage."""

    line: int
    length: int
    prefix: int
    seconds: float
    stage: int | None = None


class Iteration(NamedTuple):
    """A step of an engine: what it worked on, and how long it took if the log says so."""

    line: int
    tokens: int
    prompts: int
    generating: int
    seconds: float | None
    prefix: int | None = None


@dataclass(frozen=True)
class Asked:
    """What a log may leave out and its reader has to be told.

    Attributes
    ----------
    prompt : int or None
        Tokens of every prompt that was served while the log was written, cached ones included.
    layers : int or None
        Layers of a stage, where times are those of single layers.
    model : ModelSpec or None
        Whose layers they are, where times are those of single kernels.
    degree : int or None
        Dies of a stage that share its layers (tensor parallelism), where times are those of single kernels.
    """

    prompt: int | None = None
    layers: int | None = None
    model: ModelSpec | None = None
    degree: int | None = None


@dataclass(frozen=True)
class Law:
    """A formula that an engine fitted itself; all that some logs hold.

    Attributes
    ----------
    text : str
        With its coefficients, for notes.
    seconds : callable
        From lengths and prefixes in tokens, arrays of one shape, to seconds.
    least, most : int
        Lengths of chunks that it is used for, tokens: logs do not say which were timed.
    """

    text: str
    seconds: Callable[[FloatArray, FloatArray], FloatArray]
    least: int = 1024
    most: int = 32_768


@dataclass(frozen=True, eq=False)
class Log:
    """What a log says of chunk times.

    Attributes
    ----------
    form, source : str
        Form of the log, and where it comes from.
    timings : Timings or None
        Repeats averaged; None if the log holds a formula only.
    law : Law or None
    notes : tuple of str
        What was left out, averaged or assumed.
    """

    form: str
    source: str
    timings: Timings | None
    law: Law | None = None
    notes: tuple[str, ...] = ()

    def divided(self, parts: int) -> Log:
        """Times of one stage from times of the whole model on equal stages.

        Parameters
        ----------
        parts : int
            Stages.
        """
        timings, law = self.timings, self.law
        if timings is not None:
            timings = replace(timings, seconds=timings.seconds / parts)
        if law is not None:
            whole = law.seconds
            text = f"({law.text}) / {parts}"
            law = replace(law, text=text, seconds=lambda length, prefix: whole(length, prefix) / parts)
        note = f"times are those of the whole model, divided by {parts} stages"
        return replace(self, timings=timings, law=law, notes=(*self.notes, note))


def short_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1; those longer than any line an engine logs of a step are left out."""
    return ((n, line) for n, line in enumerate(text.splitlines(), 1) if len(line) <= LONGEST_LINE)


def chunks_of_prompts(
    steps: Sequence[Iteration], asked: Asked, source: str, *, idle_last: bool = False
) -> tuple[list[Row], list[str]]:
    """Tell the chunks of prompts from the steps of an engine, each with the tokens before it.

    The times of steps of several prompts, or that generate too, are left out.  A prompt ends where its
    chunks add up to the length asked, or else where a step only generates; where the log has no such step,
    the length has to be asked.

    Parameters
    ----------
    steps : sequence of Iteration
    asked : Asked
    source : str
        For messages.
    idle_last : bool
        Whether the time of a prompt's last chunk contains what the engine waited for the next one.

    Returns
    -------
    rows : list of Row
    notes : list of str

    Raises
    ------
    InputError
        If no step has a prompt alone, prompts cannot be told apart, or chunks exceed the prompt.
    """
    alone = [step for step in steps if _alone(step)]
    if not alone:
        expected = "steps that work on one prompt alone"
        remedy = "serve one prompt at a time while logging"
        raise InputError([Problem(source, f"{len(steps)} steps, none of them", expected, remedy)])
    told = all(step.prefix is not None for step in alone)
    if not told and asked.prompt is None and all(step.prompts for step in steps):
        found = f"{len(steps)} steps of prompts and nothing between them"
        remedy = "say how many tokens every prompt had: --prompt TOKENS"
        raise InputError([Problem(source, found, "to know where prompts end", remedy)])
    rows: list[Row] = []
    before: int | None = 0
    for step in steps:
        if step.prompts != 1:
            # Several prompts at once: how far each got is not told until one ends.
            before = None if step.prompts else (before if asked.prompt else 0)
            continue
        start = before if step.prefix is None else step.prefix
        if start is None:
            continue
        end = start + step.tokens
        if asked.prompt is not None and end > asked.prompt:
            expected = f"chunks that add up to --prompt {asked.prompt}"
            raise InputError([Problem(f"{source}, line {step.line}", f"{end} tokens", expected)])
        ended = end == asked.prompt
        if _alone(step) and step.seconds is not None and not (idle_last and ended):
            rows.append(Row(step.line, step.tokens, start, step.seconds))
        before = 0 if ended else end
    left = len(steps) - len(alone)
    notes = [f"{left} steps of several prompts or with generation left out"] if left else []
    if not told and asked.prompt is None:
        notes.append(
            "a prompt is taken to end where a step only generates; --prompt TOKENS says it otherwise"
        )
    return rows, notes


def _alone(step: Iteration) -> bool:
    return step.prompts == 1 and not step.generating and step.tokens > 0


def settled(rows: Iterable[Row], source: str, *, in_time: bool = True) -> tuple[Timings, list[str]]:
    """Average repeats by the median and drop a first timing that warmed the engine up.

    Parameters
    ----------
    rows : iterable of Row
        In the order of the log.
    source : str
    in_time : bool
        Whether the order is that of time, so that the first one may be warm-up.

    Returns
    -------
    timings : Timings
    notes : list of str

    Raises
    ------
    InputError
        With the line, if a length, a prefix or a time is out of range; if there is none, or some rows
        name a stage and others do not.
    """
    kept, notes = list(rows), []
    problems = [problem for row in kept for problem in _wrong(row, source)][: MOST_PROBLEMS + 1]
    if not kept:
        problems.append(Problem(source, "no timing", "lines with the times of chunks"))
    if len({row.stage is None for row in kept}) > 1:
        problems.append(
            Problem(f"{source}, stage", "some lines with one", "a stage on every line, or on none")
        )
    if problems:
        raise InputError(capped(problems, source))
    if in_time and len(kept) > 1 and _warms_up(kept[0], kept[1]):
        first = kept.pop(0)
        notes.append(f"line {first.line}: {first.seconds:.4g} s taken for warm-up and dropped")
    shapes: dict[tuple[int, int, int], list[float]] = {}
    for row in kept:
        place = -1 if row.stage is None else row.stage
        shapes.setdefault((place, row.length, row.prefix), []).append(row.seconds)
    repeats = len(kept) - len(shapes)
    if repeats:
        notes.append(f"{repeats} repeats of chunks: of each chunk the median of its times")
    keys = np.array(sorted(shapes), dtype=np.int64)
    seconds = np.array([float(np.median(shapes[key])) for key in sorted(shapes)])
    stage = None if kept[0].stage is None else keys[:, 0]
    return Timings(source, keys[:, 1], keys[:, 2], seconds, stage), notes


def _warms_up(first: Row, second: Row) -> bool:
    alike = second.length >= NEARLY * first.length and second.prefix >= first.prefix
    return alike and first.seconds > WARM_UP * second.seconds


def _wrong(row: Row, source: str) -> list[Problem]:
    where = f"{source}, line {row.line}"
    problems = []
    if not 1 <= row.length <= MOST_TOKENS:
        problems.append(Problem(where, f"{row.length} tokens", f"a chunk of 1 to {MOST_TOKENS:,} tokens"))
    if not 0 <= row.prefix <= MOST_TOKENS:
        problems.append(Problem(where, f"{row.prefix} tokens before it", f"from 0 to {MOST_TOKENS:,}"))
    if not 0 < row.seconds <= MOST_SECONDS:
        problems.append(Problem(where, f"{row.seconds:g} s", f"a time above 0, up to {MOST_SECONDS:g} s"))
    if row.stage is not None and not 0 <= row.stage < MOST_STAGES:
        problems.append(Problem(where, f"stage {row.stage}", f"a stage from 0 to {MOST_STAGES - 1}"))
    return problems
