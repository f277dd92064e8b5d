"""Fit one form of chunk times to the timings of one stage: tiles, windows, breaks and floors included.

Coefficients by least squares that are nowhere negative; what is not linear (the tile, the window, the
break, which chunks the floor holds up) is searched (formulations/calibration.md, forms).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mocap_opt.calibration.form_columns import Columns, FloatArray, LengthKind, knots_of
from mocap_opt.calibration.least_squares import nonnegative_least_squares
from mocap_opt.instance.timings import Timings

Mask = npt.NDArray[np.bool_]

TILES = (32, 64, 96, 128, 160, 192, 224, 256, 320, 384, 512)
"""Tiles of matrix products that are tried, tokens."""

MOST_PLACES = 10
"""Windows and breaks that are tried, each."""

LIKELY = 2
"""Breaks that are tried with floors; a fit without says which."""

MANY_ROWS = 200
"""Rows from which on windows are chosen likewise: with few, a floor that is left out shifts them."""

STARTS = 4
"""First guesses which chunks the floor holds up."""

MOST_ROUNDS = 10
"""Times that chunks change sides between the floor and the rest."""


@dataclass(frozen=True)
class Form:
    """A form of chunk times, before anything is fitted.

    Attributes
    ----------
    name : str
    formula : str
        For a chunk of l tokens after h.
    length : {"affine", "tiles", "free"}
        What the length alone costs.
    floor : bool
        Whether what depends on the prefix takes a least time, as launches do.
    windowed : bool
        Whether attention to at most w tokens is a term beside attention to all.
    sloped : bool
        Whether what a token of prefix costs is a free function of the length as well.
    by_position : bool
        Whether what a token costs is a free function of its position, beside what attention to all costs.
    switched : bool
        Whether coefficients are others once h + l exceeds a break.
    """

    name: str
    formula: str
    length: LengthKind = "affine"
    floor: bool = False
    windowed: bool = False
    sloped: bool = False
    by_position: bool = False
    switched: bool = False


@dataclass(frozen=True, eq=False)
class Branch:
    """Columns and their coefficients, float64[column], at least 0; seconds."""

    columns: Columns
    coefficients: FloatArray

    def seconds(self, length: FloatArray, prefix: FloatArray) -> FloatArray:
        """Sum of columns times coefficients, float64[row].

        Parameters
        ----------
        length, prefix : float64[row], tokens
        """
        total: FloatArray = self.columns.of(length, prefix) @ self.coefficients
        return total


@dataclass(frozen=True, eq=False)
class Regime:
    """What the length costs + the greater of a floor and the rest, for chunks that end at `until` or before.

    Attributes
    ----------
    rest : Branch
    common, floor : Branch or None
        Both or neither: without a floor, what the length costs is part of the rest.
    until : float, tokens
        Prefix and chunk together; infinite for the last regime.
    """

    rest: Branch
    common: Branch | None = None
    floor: Branch | None = None
    until: float = np.inf

    def seconds(self, length: FloatArray, prefix: FloatArray) -> FloatArray:
        """Times of chunks, float64[row].

        Parameters
        ----------
        length, prefix : float64[row], tokens
        """
        found = self.rest.seconds(length, prefix)
        if self.floor is not None:
            found = np.maximum(found, self.floor.seconds(length, prefix))
        return found if self.common is None else found + self.common.seconds(length, prefix)


@dataclass(frozen=True, eq=False)
class FittedStage:
    """A form fitted to one stage: one regime, or one before each break and one after the last.

    Attributes
    ----------
    form : Form
    regimes : tuple of Regime
        In ascending order of `until`.
    """

    form: Form
    regimes: tuple[Regime, ...]

    def seconds(self, length: npt.ArrayLike, prefix: npt.ArrayLike) -> FloatArray:
        """Times of chunks, float64 of the common shape.

        Parameters
        ----------
        length, prefix : array_like, tokens
        """
        x, h = np.broadcast_arrays(np.asarray(length, dtype=float), np.asarray(prefix, dtype=float))
        flat_x, flat_h = x.ravel(), h.ravel()
        found, begun = np.zeros(flat_x.size), np.full(flat_x.size, False)
        for regime in self.regimes:
            here = ~begun & (flat_x + flat_h <= regime.until)
            found[here] = regime.seconds(flat_x[here], flat_h[here])
            begun |= here
        return found.reshape(x.shape)

    @property
    def parameters(self) -> dict[str, float]:
        """Coefficients and what was searched, by name; of regimes before a break with the break behind."""
        found: dict[str, float] = {}
        for regime in self.regimes:
            behind = f"@{regime.until:g}" if np.isfinite(regime.until) else ""
            for before, branch in (("", regime.common), ("floor_", regime.floor), ("", regime.rest)):
                if branch is None:
                    continue
                names = [f"{before}{name}{behind}" for name in branch.columns.names()]
                found |= dict(zip(names, branch.coefficients.tolist(), strict=True))
            columns = regime.rest.columns
            if columns.kind == "tiles":
                found[f"tile{behind}"] = float(columns.tile)
            if columns.window is not None:
                found[f"window{behind}"] = float(columns.window)
        breaks = [regime.until for regime in self.regimes[:-1]]
        return found | {f"break_{n + 1}": float(at) for n, at in enumerate(breaks)}

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return len(self.parameters)


def fit_form(form: Form, timings: Timings, breaks: Sequence[int] = ()) -> FittedStage:
    """Fit a form to the timings of one stage; residuals count as parts of the times.

    Parameters
    ----------
    form : Form
    timings : Timings
        Of one stage.
    breaks : sequence of int, tokens
        Of a switched form, where they are known; else one is searched.
    """
    rows = _Rows.of(timings)
    if not form.switched:
        return FittedStage(form, (_fit_regime(form, rows),))
    if breaks:
        return _switched(form, rows, sorted(breaks))
    cheap = replace(form, floor=False)
    ranked = sorted(_places(rows), key=lambda at: rows.misfit(_switched(cheap, rows, [at])))
    tried = [_switched(form, rows, [at]) for at in ranked[:LIKELY]]
    if not tried:
        return FittedStage(form, (_fit_regime(form, rows),))
    return min(tried, key=rows.misfit)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Timings of one stage as floats."""

    length: FloatArray
    prefix: FloatArray
    time: FloatArray

    @classmethod
    def of(cls, timings: Timings) -> _Rows:
        return cls(timings.length.astype(float), timings.prefix.astype(float), timings.seconds)

    def only(self, kept: Mask) -> _Rows:
        return _Rows(self.length[kept], self.prefix[kept], self.time[kept])

    def misfit(self, found: FittedStage | Regime) -> float:
        """Sum of squared residuals, as parts of the times."""
        off = found.seconds(self.length, self.prefix) / self.time - 1
        return float(off @ off)

    def weighted(self, columns: Columns) -> FloatArray:
        """Columns as parts of the times."""
        part: FloatArray = columns.of(self.length, self.prefix) / self.time[:, None]
        return part

    def solve(self, columns: Columns) -> Branch:
        ones = np.ones(self.time.size)
        return Branch(columns, nonnegative_least_squares(self.weighted(columns), ones))


def _places(rows: _Rows) -> list[int]:
    """Where a window or a break may lie: ends of first chunks, and prefixes, inside what was measured."""
    context = rows.length + rows.prefix
    seen = np.unique(np.concatenate([context[rows.prefix == rows.prefix.min()], rows.prefix]))
    seen = seen[(seen > context.min()) & (seen < context.max())]
    if seen.size > MOST_PLACES:
        seen = seen[np.unique(np.linspace(0, seen.size - 1, MOST_PLACES).round().astype(int))]
    return [int(at) for at in seen]


def _switched(form: Form, rows: _Rows, breaks: Sequence[int]) -> FittedStage:
    """A regime before each break, and one after the last; one without chunks is left to the next.

    Only the last has a floor: before a break there are seldom chunks enough to tell one.
    """
    context, before = rows.length + rows.prefix, 0.0
    regimes: list[Regime] = []
    for until in [*map(float, breaks), np.inf]:
        here = rows.only((context > before) & (context <= until))
        if here.time.size:
            floor = form.floor and not np.isfinite(until)
            regimes.append(replace(_fit_regime(replace(form, floor=floor), here), until=until))
            before = until
    return FittedStage(form, (*regimes[:-1], replace(regimes[-1], until=np.inf)))


def _fit_regime(form: Form, rows: _Rows) -> Regime:
    """The best over tiles and windows."""
    choices = list(_choices(form, rows))
    if form.floor and len(choices) > LIKELY and rows.time.size >= MANY_ROWS:
        choices = sorted(choices, key=lambda each: rows.misfit(Regime(rows.solve(each))))[:LIKELY]
    fit = _fit_with_floor if form.floor else _fit_without_floor
    return min((fit(form, rows, columns) for columns in choices), key=rows.misfit)


def _choices(form: Form, rows: _Rows) -> Iterator[Columns]:
    """Columns of the rest with every tile and window that are tried."""
    common = Columns(
        form.length,
        slope=form.sloped,
        places=np.append(knots_of(rows.prefix), np.inf) if form.by_position else None,
        knots=knots_of(rows.length),
    )
    windows: list[int | None] = [*_places(rows)] if form.windowed else []
    for window in windows or [None]:
        for tile in TILES if form.length == "tiles" else (1,):
            yield replace(common, tile=tile, window=window)


def _fit_without_floor(form: Form, rows: _Rows, columns: Columns) -> Regime:
    return Regime(rows.solve(columns))


def _fit_with_floor(form: Form, rows: _Rows, columns: Columns) -> Regime:
    """What the length costs + the greater of a floor and the rest, chunks changing sides.

    All coefficients are fitted together, each chunk with that side which is the greater one for it,
    from several first guesses: the floor holds up the chunks after the shortest prefixes, or the fastest
    ones.  The best fit that occurs is kept, and that without a floor if no other is better.
    """
    best = Regime(rows.solve(columns))
    least = rows.misfit(best)
    free = form.length == "free"
    alone = Columns("free" if free else "affine", floor=True, knots=columns.knots)
    rest, floor = replace(columns, kind="affine") if free else columns, Columns("affine", floor=True)
    sides, common = (rows.weighted(rest), rows.weighted(floor)), rows.weighted(alone) * free
    width, ones = sides[0].shape[1], np.ones(rows.time.size)
    for guess in _guesses(form, rows):
        held = guess
        for _ in range(MOST_ROUNDS):
            if not held.any() or held.all():
                break
            chosen = [sides[0] * ~held[:, None], sides[1] * held[:, None], common]
            found = nonnegative_least_squares(np.concatenate(chosen, axis=1), ones)
            lower, upper = sides[0] @ found[:width], sides[1] @ found[width : width + 1]
            off = np.maximum(lower, upper) + common @ found[width + 1 :] - 1
            if float(off @ off) < least:
                least = float(off @ off)
                shared = Branch(alone, found[width + 1 :]) if free else None
                best = Regime(Branch(rest, found[:width]), shared, Branch(floor, found[width : width + 1]))
            if (held == (upper > lower)).all():
                break
            held = upper > lower
    return best


def _guesses(form: Form, rows: _Rows) -> Iterator[Mask]:
    """Chunks that the floor may hold up, to begin with."""
    by = rows.prefix if form.length == "free" else rows.time
    seen = np.unique(by)
    if seen.size > 1:
        places = np.unique(np.linspace(0, seen.size - 2, STARTS).round().astype(int))
        yield from (by <= at for at in seen[places])
