"""What a fit of timings leaves over, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mocap_opt.calibration.fit import Fit
from mocap_opt.pictures.plots.style import chunk_colours

MOST_LENGTHS = 8
"""Lengths with an entry of their own in the legend."""


def residuals(ax: Axes, fits: Sequence[Fit]) -> Axes:
    """Draw (measured - fitted) / measured against the prefix, a colour per chunk length.

    Parameters
    ----------
    ax : Axes
    fits : sequence of Fit
        Stages are drawn on top of each other.

    Returns
    -------
    Axes
        The same.
    """
    length = np.concatenate([fit.timings.length for fit in fits])
    prefix = np.concatenate([fit.timings.prefix for fit in fits])
    off = 100 * np.concatenate([fit.residuals for fit in fits])
    lengths = np.unique(length)
    named = set(lengths[np.unique(np.linspace(0, lengths.size - 1, MOST_LENGTHS).astype(int))].tolist())
    for colour, tokens in zip(chunk_colours(lengths.size), lengths.tolist(), strict=True):
        here = length == tokens
        label = f"{tokens:,} tokens" if tokens in named else None
        ax.plot(prefix[here], off[here], "o", color=colour, ms=4, alpha=0.85, label=label)
        # Through the means: what is left over in common is not noise.
        at = np.unique(prefix[here])
        means = [float(off[here & (prefix == p)].mean()) for p in at.tolist()]
        ax.plot(at, means, "-", color=colour, lw=0.8)
    ax.axhline(0, color="#444444", lw=0.8, zorder=0)
    ax.set_xlabel("tokens before the chunk")
    ax.set_ylabel("measured - fitted, % of measured")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.legend(title="chunk length", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
