"""Forms of chunk times beside what was measured."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from mocap_opt.calibration import FormFit, Timings
from mocap_opt.pictures.plots.style import chunk_colours

MOST_PREFIXES = 6
"""Prefixes with a line of their own."""

MOST_CELLS = 150
"""Cells up to which each says its residual."""

MOST_TICKS = 10
"""Lengths or prefixes named on an axis."""

LEAST_SCALE = 0.5
"""Percent that full colour stands for at least: smaller residuals stay pale."""


def short(tokens: float) -> str:
    """Tokens as people say them: 384, 1.5k, 1,920, 1M.

    Parameters
    ----------
    tokens : float
    """
    for size, letter in ((2**20, "M"), (2**10, "k")):
        if tokens >= size and tokens % (size / 2) == 0:
            return f"{tokens / size:.4g}{letter}"
    return f"{tokens:,g}" if tokens < 10**6 else f"{tokens:.3g}".replace("e+0", "e")


def fitted_times(ax: Axes, fit: FormFit, stage: int | None = None) -> Axes:
    """Draw measured times as points and fitted ones as lines over the length, a colour per prefix.

    Parameters
    ----------
    ax : Axes
    fit : FormFit
    stage : int, optional
        Where timings name stages.

    Returns
    -------
    Axes
        The same.
    """
    part = _timings(fit, stage)
    prefixes = np.unique(part.prefix)
    shown = prefixes[np.unique(np.linspace(0, prefixes.size - 1, MOST_PREFIXES).round().astype(int))]
    line = np.geomspace(part.length.min(), part.length.max(), 300)
    for colour, prefix in zip(chunk_colours(shown.size), shown.tolist(), strict=True):
        here = part.prefix == prefix
        ax.plot(part.length[here], 1e3 * part.seconds[here], "o", color=colour, ms=4)
        ax.plot(line, 1e3 * fit.predict(line, prefix, stage), "-", color=colour, lw=1, label=short(prefix))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    _name_lengths(ax, np.unique(part.length))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _leading(value) in (2, 5) else "")
    ax.set_xlabel("chunk length, tokens")
    ax.set_ylabel("time of a stage, ms")
    ax.grid(color="#E5E5E5", lw=0.6)
    ax.legend(title="tokens before", loc="best")
    ax.set_title("measured (points) and fitted (lines)")
    return ax


def _leading(value: float) -> int:
    """First digit of a number above 0."""
    return round(float(value / 10 ** np.floor(np.log10(value) + 1e-9)))


def _name_lengths(ax: Axes, lengths: np.ndarray) -> None:
    """Name lengths on a logarithmic axis, as far apart as their names are wide."""
    named = [lengths[-1]]
    for length in lengths[-2::-1]:
        if named[-1] / length >= (lengths[-1] / lengths[0]) ** (1 / MOST_TICKS):
            named.append(length)
    ax.xaxis.set_major_locator(FixedLocator([float(length) for length in named]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: short(value))


def residual_map(ax: Axes, fit: FormFit, stage: int | None = None) -> Axes:
    """Colour what is left over, (measured - fitted) / measured, by length and prefix.

    Parameters
    ----------
    ax : Axes
    fit : FormFit
    stage : int, optional
        Where timings name stages.

    Returns
    -------
    Axes
        The same; chunks that were not measured stay white.
    """
    part = _timings(fit, stage)
    off = 100 * fit.residuals_by_stage()[stage]
    lengths, row = np.unique(part.length, return_inverse=True)
    prefixes, column = np.unique(part.prefix, return_inverse=True)
    total, count = np.zeros((2, lengths.size, prefixes.size))
    np.add.at(total, (row, column), off)
    np.add.at(count, (row, column), 1)
    mean = np.ma.masked_array(total / np.maximum(count, 1), count == 0)
    scale = max(LEAST_SCALE, float(np.abs(mean).max()))
    image = ax.imshow(mean, cmap="RdBu_r", vmin=-scale, vmax=scale, origin="lower", aspect="auto")
    if mean.size <= MOST_CELLS:
        digits = 1 if scale >= 1 else 2
        for (i, j), value in np.ndenumerate(mean):
            if count[i, j]:
                colour = "white" if abs(value) > 0.6 * scale else "#333333"
                rounded = round(float(value), digits) + 0.0
                ax.text(j, i, f"{rounded:.{digits}f}", ha="center", va="center", fontsize=7, color=colour)
    for axis, values in ((ax.xaxis, prefixes), (ax.yaxis, lengths)):
        step = -(-values.size // (2 * MOST_TICKS))
        axis.set_ticks(range(0, values.size, step), [short(value) for value in values[::step].tolist()])
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xlabel("tokens before the chunk")
    ax.set_ylabel("chunk length, tokens")
    held = "" if fit.held_out_rms is None else f", left out {100 * fit.held_out_rms:.2f} %"
    rms = float(np.sqrt(np.mean(off**2)))
    ax.set_title(f"measured - fitted, % of measured: RMS {rms:.2f} %{held}")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.outline.set_visible(False)
    return ax


def _timings(fit: FormFit, stage: int | None) -> Timings:
    """Of one stage.

    Raises
    ------
    KeyError
        If there are none.
    """
    return fit.timings.by_stage()[stage]
