"""Tables that stay whole in a narrow terminal: what does not fit side by side stands below each other."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between columns."""


class FittingTable(Table):
    """A table that wraps between words only, and is printed row by row where that is not enough.

    Rich would cut what is too wide, or break numbers between their digits.
    """

    def __init__(self, title: str = "", *, show_header: bool = True) -> None:
        super().__init__(
            box=None,
            pad_edge=False,
            show_header=show_header,
            title=Text(title) if title else None,
            title_justify="left",
            title_style="bold",
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print as a table if no word has to be broken."""
        widths = self._widths(options.max_width - GAP * (len(self.columns) - 1))
        if widths is not None:
            for column, width in zip(self.columns, widths, strict=True):
                column.width, column.overflow = width, "fold"
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text.assemble((str(self.title), "bold"))
        for number, row in enumerate(zip(*(column.cells for column in self.columns), strict=True)):
            if self.show_header and number:
                yield Text()
            yield from self._row(row)

    def _widths(self, room: int) -> list[int] | None:
        """Widths of the columns, the widest ones wrapped first; None if a word would have to be broken."""
        widths, least = [], []
        for column in self.columns:
            texts = [_plain(cell) for cell in column.cells]
            texts += [_plain(column.header)] if self.show_header else []
            widths.append(max(map(cell_len, texts), default=0))
            words = texts if column.no_wrap else [word for text in texts for word in text.split()]
            least.append(max(map(cell_len, words), default=0))
        if sum(least) > room:
            return None
        while sum(widths) > room:
            widest = max(range(len(widths)), key=lambda k: (widths[k] > least[k], widths[k]))
            widths[widest] -= 1
        return widths

    def _row(self, cells: tuple[object, ...]) -> RenderResult:
        """A row of the table as lines: without headers, its first cell is the name of the others."""
        if not self.show_header:
            name, *values = (_plain(cell) for cell in cells)
            yield Text(name, style="dim", overflow="fold")
            for value in values:
                yield Padding(Text(value, overflow="fold"), (0, 0, 0, 2))
            return
        table = FittingTable(show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for column, cell in zip(self.columns, cells, strict=True):
            table.add_row(Text(_plain(column.header)), Text(_plain(cell)))
        yield table


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
