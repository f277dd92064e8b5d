"""The table that `mocap_opt.compare` returns: a DataFrame that notebooks show rounded, gaps in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from mocap_opt.units import format_percent

if TYPE_CHECKING:
    import pandas as pd


def comparison_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Make the table.

    Parameters
    ----------
    rows : sequence of mapping
        Of reports.
    columns : sequence of str, optional
        Those to keep, in this order; all by default.
    """
    made: pd.DataFrame = _frame_class()(list(rows))
    if columns is not None:
        made = made.reindex(columns=list(columns))
    return made.astype({"chunks": "Int64"}) if "chunks" in made else made


def comparison_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a comparison as plain dicts; None where nothing is known.

    Parameters
    ----------
    table : DataFrame
        As `comparison_frame` makes it.
    """
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


@cache
def _frame_class() -> type[pd.DataFrame]:
    import pandas as pd  # noqa: PLC0415 - slow to import, and only this table needs it

    class Comparison(pd.DataFrame):
        """Rows of methods on instances, see `mocap_opt.compare`."""

        @property
        def _constructor(self) -> type[pd.DataFrame]:
            return Comparison

        def _repr_html_(self) -> str | None:
            shown = pd.DataFrame(self).astype(object)
            for name in shown.columns:
                text = str(name)
                if text == "gap" or text.endswith("_gap"):
                    shown[name] = shown[name].map(format_percent)
                elif text.endswith("_s"):
                    shown[name] = shown[name].map(_seconds)
            html: str = shown.where(shown.notna(), "-").to_html(index=False, border=0)
            return html

    return Comparison


def _seconds(value: Any) -> str:
    return "-" if value is None or value != value else f"{value:.4g}"
