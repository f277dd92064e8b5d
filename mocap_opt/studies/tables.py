"""Tables in Markdown and LaTeX, from a DataFrame whose cells are already text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: "\\" + char for char in "&%$#_{}"},
}
_SPECIAL = re.compile("[" + re.escape("".join(_LATEX)) + "]")

PERCENT_COLUMNS = frozenset({"median_gap", "worst_gap"})


def gaps_as_text(gaps: pd.DataFrame) -> pd.DataFrame:
    """Every gap in percent."""
    return gaps.map(format_percent)


def standings_as_text(standings: pd.DataFrame) -> pd.DataFrame:
    """Counts as they are, gaps in percent, means to four digits."""
    forms: Mapping[str, str] = {"mean_ratio": "{:.4f}", "mean_time_s": "{:.3g}"}
    columns = {}
    for name in standings.columns:
        if name in PERCENT_COLUMNS:
            columns[name.replace("_", " ")] = standings[name].map(format_percent)
        else:
            form = forms.get(name, "{:d}")
            title = "mean time, s" if name == "mean_time_s" else name.replace("_", " ")
            columns[title] = standings[name].map(
                lambda value, form=form: "-" if value is None or value != value else form.format(value)
            )
    return type(standings)(columns, index=standings.index)


def rows_as_text(rows: pd.DataFrame) -> pd.DataFrame:
    """Times to five digits, gaps in percent, a dash for what is not known."""

    def text(value: Any, name: str) -> str:
        if value is None or value != value:
            return "-"
        if name == "gap":
            return format_percent(value)
        return f"{value:.5g}" if isinstance(value, float) else str(value)

    columns = {name: rows[name].map(lambda value, name=name: text(value, name)) for name in rows.columns}
    return type(rows)(columns, index=rows.index)


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, its index first, numbers to the right."""
    header = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in safe)) for i in range(len(header))]
    lines = [
        " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in safe
    ]
    rule = " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths))
    return "".join(f"| {line} |\n" for line in (lines[0], rule, *lines[1:]))


def latex(table: pd.DataFrame) -> str:
    """A ``tabular`` for the package booktabs, its index first, numbers to the right."""
    rows = [[str(name), *map(str, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)]

    def line(cells: list[str]) -> str:
        escaped = (_SPECIAL.sub(lambda m: _LATEX[m.group()], cell.replace("\n", " ")) for cell in cells)
        return " & ".join(escaped) + r" \\" + "\n"

    return (
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n\\toprule\n"
        + line([str(table.index.name or ""), *map(str, table.columns)])
        + "\\midrule\n"
        + "".join(map(line, rows))
        + "\\bottomrule\n\\end{tabular}\n"
    )
